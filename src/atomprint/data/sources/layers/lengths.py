"""Fitting a layer to bond lengths: distance least squares.

Meier and Villiger, Z. Kristallogr. 129, 411 (1969): atoms and cell move so that distances come as
near as they can to prescribed ones, each with a weight.
"""

import numpy as np
import numpy.typing as npt

from atomprint.ground.elements import covalent_radius
from atomprint.structures.crystal import FloatArray
from atomprint.structures.search import search

IntArray = npt.NDArray[np.int64]

_BOND = 1.25
"""Pairs of the native layer count as bonds up to this multiple of the sum of covalent radii."""
_REACH = 1.8
"""Pairs up to this multiple keep their angles: their distances grow as the bonds do in the mean."""
_ANGLE_WEIGHT = 0.25
_STAY = 0.02
"""Weight of staying where one is (Å for Å): what no distance decides is left as it is."""


def fit_to_lengths(
    positions: FloatArray, cell: FloatArray, native: IntArray, numbers: IntArray
) -> tuple[FloatArray, FloatArray, float]:
    """Positions and cell of a layer with other elements, and how far its bonds are off.

    Parameters
    ----------
    positions, cell
        Å; of the native layer, ``c`` along z and free of the plane.
    native, numbers
        Its atomic numbers, and the new ones.

    Returns
    -------
    positions, cell, misfit
        The misfit is the root mean square of length by wanted length minus 1, of bonds.
    """
    from scipy.optimize import least_squares

    old, new = covalent_radius[native], covalent_radius[numbers]
    n = len(native)
    found = search(positions, cell[None], np.array([0, n]), _REACH * 2.0 * float(old.max()))
    i = np.repeat(np.arange(n), np.diff(found.first))
    j, shifts = found.neighbor_index, found.shifts.astype(np.float64)
    length = np.sqrt((found.vectors**2).sum(axis=1))
    touch = old[i] + old[j]
    # Each pair once, and none too far away.
    once = (i < j) | ((i == j) & (shifts @ np.array([1e6, 1e3, 1.0]) > 0))
    keep = once & (length < _REACH * touch)
    i, j, shifts, length, touch = i[keep], j[keep], shifts[keep], length[keep], touch[keep]
    bonded = length < _BOND * touch
    growth = (new[i] + new[j] - touch)[bonded]
    wanted = length * (1.0 + growth.sum() / length[bonded].sum())
    wanted[bonded] = length[bonded] + growth
    weight = np.where(bonded, 1.0, _ANGLE_WEIGHT)
    scale = 1.0 + growth.sum() / length[bonded].sum()
    flat = np.array([scale, scale, 1.0])
    frac = positions @ np.linalg.inv(cell)
    heights = (positions[:, 2] - positions[:, 2].mean()) * scale

    def built(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        own = cell * flat
        own[0, 0], own[1, 0], own[1, 1] = x[3 * n :]
        plane = x[: 2 * n].reshape(n, 2)
        xyz = plane @ own[:2]
        xyz[:, 2] = x[2 * n : 3 * n]
        return xyz, own

    start = np.concatenate(
        [frac[:, :2].ravel(), heights, [cell[0, 0] * scale, cell[1, 0] * scale, cell[1, 1] * scale]]
    )
    # Fractional coordinates are weighed as Å, by the size of the cell.
    stay = _STAY * np.concatenate([np.full(2 * n, cell[0, 0]), np.ones(n + 3)])

    def residuals(x: FloatArray) -> FloatArray:
        xyz, own = built(x)
        d = xyz[j] - xyz[i] + shifts @ own
        off = (np.sqrt((d**2).sum(axis=1)) / wanted - 1.0) * weight * 2.0
        return np.concatenate([off, stay * (x - start)])

    x = least_squares(residuals, start, method="lm", max_nfev=400 * len(start)).x
    xyz, own = built(x)
    d = xyz[j] - xyz[i] + shifts @ own
    off = np.sqrt((d[bonded] ** 2).sum(axis=1)) / wanted[bonded] - 1.0
    return xyz, own, float(np.sqrt((off**2).mean()))
