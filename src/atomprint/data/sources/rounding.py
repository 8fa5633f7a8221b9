"""Crystals that are made are rounded, so that all machines make the same ones."""

import numpy as np

from atomprint.structures.crystal import Crystal


def rounded(crystal: Crystal) -> Crystal:
    """Wrapped, and to 1e-4 Å and 1e-6 of a cell: machines that add in another order agree."""
    cell = np.round(crystal.cell, 4)
    frac = np.round(crystal.frac % 1.0, 6) % 1.0
    return Crystal.make(crystal.id, crystal.numbers, cell, frac=frac)
