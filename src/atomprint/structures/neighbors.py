"""Neighbours of every atom within a cutoff, all periodic images included.

The search itself is vesin's (https://luthaf.fr/vesin), one crystal at a time; this module fixes
the conventions: full list, strict ``r < cutoff``, an atom's own images are neighbours, and edges
sorted by centre, then by neighbour.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from vesin import NeighborList

from atomprint.structures.crystal import FloatArray

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
    search = NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    center, neighbor, shifts, distance = search.compute(positions, cell, True, quantities="ijSd")
    inside = distance < cutoff
    if not inside.all():
        center, neighbor, shifts = center[inside], neighbor[inside], shifts[inside]
    order = np.argsort(center.astype(np.int64) * len(positions) + neighbor.astype(np.int64))
    return Neighbors(
        center[order].astype(np.int64),
        neighbor[order].astype(np.int64),
        shifts[order].astype(np.int64),
    )
