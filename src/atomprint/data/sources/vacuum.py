"""What is periodic in two directions only, in a cell with vacuum above it."""

import numpy as np

from atomprint.structures.crystal import FloatArray

LEAST, MOST = 19.5, 28.0
"""Å; vacuum of nine tenths of the layers of JARVIS-DFT (median 22 Å, most of them above 20)."""


def draw_vacuum(least: float, most: float, rng: np.random.Generator) -> float:
    """Å of vacuum: most often little more than the least."""
    if most <= least:
        return least
    return float(rng.triangular(least, least + 0.12 * (most - least), most))


def in_vacuum(
    positions: FloatArray, first: FloatArray, second: FloatArray, vacuum: float
) -> tuple[FloatArray, FloatArray]:
    """Positions and cell of a layer with its plane in x and y and vacuum along z.

    Parameters
    ----------
    positions
        Å, ``(n_atoms, 3)``, unwrapped along the normal.
    first, second
        Lattice vectors in the plane, Å.
    vacuum
        Å from the topmost atom to the lowest one of the next image.

    Returns
    -------
    positions, cell
        The layer in the middle of the cell; ``a`` along x, ``c`` along z.
    """
    x = first / np.linalg.norm(first)
    z = np.cross(first, second)
    z /= np.linalg.norm(z)
    frame = np.stack([x, np.cross(z, x), z], axis=1)
    turned = positions @ frame
    heights = turned[:, 2]
    length = heights.max() - heights.min() + vacuum
    cell = np.stack([first @ frame, second @ frame, [0.0, 0.0, length]])
    turned[:, 2] += length / 2 - (heights.max() + heights.min()) / 2
    return turned, cell
