"""Crystals for training: splits, batches, sources."""
