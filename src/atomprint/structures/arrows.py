"""Vectors from atoms to their neighbours, compiled."""

from typing import Any

import numpy as np

from atomprint.ground.compiled import compiled


@compiled()
def find_arrows(
    positions: Any,
    cells: Any,
    crystal_index: Any,
    center: Any,
    neighbor: Any,
    shifts: Any,
    arrows: Any,
    lengths: Any,
) -> None:
    """Write ``positions[neighbor] + shift @ cell - positions[center]`` and its length.

    Parameters
    ----------
    positions, cells, crystal_index
        Of the atoms, ``(n_atoms, 3)`` and ``(n_atoms,)``; ``cells`` ``(n_crystals, 3, 3)``; Å.
    center, neighbor, shifts
        Of the edges, ``(n_edges,)`` and ``(n_edges, 3)``.
    arrows, lengths
        What is written, ``(n_edges, 3)`` and ``(n_edges,)``, Å: computed in float64.
    """
    for e in range(len(center)):
        i, j = center[e], neighbor[e]
        cell = crystal_index[i]
        squared = 0.0
        for k in range(3):
            value = np.float64(positions[j, k]) - np.float64(positions[i, k])
            for m in range(3):
                value += np.float64(shifts[e, m]) * np.float64(cells[cell, m, k])
            arrows[e, k] = value
            squared += value * value
        lengths[e] = np.sqrt(squared)
