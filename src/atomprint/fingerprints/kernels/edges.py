"""What fused kernels read: the neighbours of a run of atoms, as flat NumPy arrays."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.ground.compiled import compiled

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]
"""float32 or float64: kernels compute in the type of the block's vectors."""


@dataclass(frozen=True)
class EdgeBlock:
    """The neighbours of a run of atoms (the centres), whose crystals may be many.

    Attributes
    ----------
    numbers
        Atomic numbers of the centres, ``(n_centers,)``.
    first
        Edges of centre i are ``first[i]`` to ``first[i + 1]``, ``(n_centers + 1,)``.
    neighbor_numbers
        Atomic numbers of the neighbours, ``(n_edges,)``.
    vectors
        From the centre to the neighbour in Å, ``(n_edges, 3)``, C-contiguous, float32 or float64.
        Every pair below ``cutoff`` is there, and none at or above it.
    cutoff
        In Å. A kernel with a smaller cutoff of its own skips edges by their length.
    crystal_index
        Which crystal of the block each centre belongs to, ``(n_centers,)``.
    composition
        Number of atoms of every element in each whole crystal, ``(n_crystals, 119)``.
    volumes
        Cell volumes in Å³, ``(n_crystals,)`` float64.
    """

    numbers: Ints
    first: Ints
    neighbor_numbers: Ints
    vectors: Floats
    cutoff: float
    crystal_index: Ints
    composition: Ints
    volumes: npt.NDArray[np.float64]

    @property
    def n_centers(self) -> int:
        """Rows that a fingerprint of this block has."""
        return len(self.numbers)

    @property
    def n_edges(self) -> int:
        """Edges in the block."""
        return len(self.vectors)

    @cached_property
    def slots(self) -> tuple[Ints, Ints]:
        """Elements of the neighbours, ascending (hydrogen if there are none), and each one's place.

        The place of a neighbour's element among those present is what kernels sort by,
        ``(n_edges,)``.
        """
        elements, slots = _slots(self.neighbor_numbers)
        return elements, slots


@compiled()
def _slots(neighbor_numbers: Any) -> Any:
    is_present = np.zeros(119, np.bool_)
    for number in neighbor_numbers:
        is_present[number] = True
    if neighbor_numbers.shape[0] == 0:
        is_present[1] = True
    elements = np.flatnonzero(is_present)
    slot_of = np.zeros(119, np.int64)
    for slot in range(elements.shape[0]):
        slot_of[elements[slot]] = slot
    return elements, take(slot_of, neighbor_numbers)


@compiled()
def take(values: Any, index: Any) -> Any:
    """Return ``values[index]``, without Python's lock, which NumPy holds for that."""
    out = np.empty(index.shape[0], values.dtype)
    for k in range(index.shape[0]):
        out[k] = values[index[k]]
    return out


def rows_for(block: EdgeBlock, n_columns: int, out: Floats | None) -> Floats:
    """Where a block's rows are written: in ``out``, or in a new array when that is None."""
    if out is None:
        return np.empty((block.n_centers, n_columns), dtype=block.vectors.dtype)
    return out


@compiled()
def bring_back(positions: Any, cells: Any, inverses: Any, first_atom: Any) -> None:
    """Bring atoms that are outside their cells back into them, in place: far away they cost digits.

    Parameters
    ----------
    positions
        Of all crystals one after the other, ``(n_atoms, 3)``; changed.
    cells, inverses
        Lattice vectors as rows, and the inverses of these matrices, ``(n_crystals, 3, 3)``.
    first_atom
        Atoms of crystal c are ``first_atom[c]`` to ``first_atom[c + 1]``.
    """
    for c in range(cells.shape[0]):
        cell, inverse = cells[c], inverses[c]
        for i in range(first_atom[c], first_atom[c + 1]):
            x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
            for axis in range(3):
                frac = x * inverse[0, axis] + y * inverse[1, axis] + z * inverse[2, axis]
                whole = np.floor(frac)
                if whole != 0:
                    for k in range(3):
                        positions[i, k] -= whole * cell[axis, k]
