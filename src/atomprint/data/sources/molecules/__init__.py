"""Organic molecules: fragments joined by rules, in boxes and packed into crystals."""
