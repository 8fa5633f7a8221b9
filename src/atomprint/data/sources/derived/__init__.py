"""Crystals made from other crystals: strained, rattled, with defects, with elements exchanged."""
