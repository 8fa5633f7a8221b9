"""Neighbours of every atom of one crystal within a cutoff, all periodic images included.

The conventions: full list, strict ``r < cutoff``, an atom's own images are neighbours, and edges
sorted by centre, then by neighbour, then by lattice translation.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atomprint.structures.crystal import FloatArray
from atomprint.structures.search import search

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The neighbour list of one crystal.

    Attributes
    ----------
    center_index, neighbor_index
        Shape ``(n_edges,)``; sorted by centre, then neighbour.
    shifts
        Shape ``(n_edges, 3)``: the lattice translation S of the neighbour, so that the edge
        vector is ``positions[neighbor] + S @ cell - positions[center]``.
    """

    center_index: IntArray
    neighbor_index: IntArray
    shifts: IntArray


def find_neighbors(positions: FloatArray, cell: FloatArray, cutoff: float) -> Neighbors:
    """Find every ordered pair with distance below the cutoff.

    Parameters
    ----------
    positions
        Cartesian positions in Å, shape ``(n_atoms, 3)``; need not lie inside the cell.
    cell
        Lattice vectors as rows in Å, shape ``(3, 3)``.
    cutoff
        In Å; pairs at exactly this distance are left out.
    """
    found = search(positions, cell[None], np.array([0, len(positions)]), cutoff)
    center = np.repeat(np.arange(len(positions)), np.diff(found.first))
    return Neighbors(center, found.neighbor_index, found.shifts)
