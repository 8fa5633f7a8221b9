"""Broken inputs for everything that reads files: ``python fuzz/run.py --seconds 60``."""
