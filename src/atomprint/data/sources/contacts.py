"""How close atoms are: against the sum of their covalent radii."""

import numpy as np
import numpy.typing as npt

from atomprint.ground.elements import covalent_radius
from atomprint.structures.crystal import FloatArray
from atomprint.structures.search import search

IntArray = npt.NDArray[np.int64]

CLOSEST = 0.7
"""Smallest distance by the sum of covalent radii (Cordero et al., Dalton Trans. 2832, 2008). Of
6,500 crystals of the Materials Project 0.1 % have a shorter one, 1 % one below 0.76."""


def pairs_within(
    positions: FloatArray, cell: FloatArray, cutoff: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Every ordered pair below a cutoff in Å: both atoms, and the vectors, ``(n_pairs, 3)``."""
    found = search(positions, cell[None], np.array([0, len(positions)]), cutoff, with_shifts=False)
    center = np.repeat(np.arange(len(positions)), np.diff(found.first))
    return center, found.neighbor_index, found.vectors


def too_close(
    numbers: IntArray, positions: FloatArray, cell: FloatArray, closest: float = CLOSEST
) -> bool:
    """Whether two atoms are closer than this fraction of the sum of their covalent radii."""
    radii = covalent_radius[numbers]
    i, j, vectors = pairs_within(positions, cell, 2.0 * closest * float(radii.max()))
    limit = closest * (radii[i] + radii[j])
    return bool(((vectors**2).sum(axis=1) < limit**2).any())
