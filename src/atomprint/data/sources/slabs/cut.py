"""Cutting a crystal along a lattice plane: which cells, where, and what that breaks."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from atomprint.data.sources.contacts import pairs_within
from atomprint.ground.elements import covalent_radius
from atomprint.structures.crystal import Crystal, FloatArray

IntArray = npt.NDArray[np.int64]
Miller = tuple[int, int, int]

_BOND = 1.3
"""Pairs count as bonds up to this multiple of the sum of covalent radii."""
_SOFTNESS = 0.37
"""Å over which a bond's strength falls by e, as in bond valences."""
_SAME_PLANE = 0.3
"""Å; atoms with no larger gap in height are not cut apart."""
_SAME_HEIGHT = 0.25
"""Å; heights that differ less are those of a mirrored slab."""


@lru_cache(maxsize=8)
def planes(largest: int) -> tuple[Miller, ...]:
    """Miller indices up to this size, without a common divisor, one of every plane and its back."""
    found = []
    grid = range(-largest, largest + 1)
    for h in grid:
        for k in grid:
            for m in grid:
                if np.gcd.reduce([h, k, m]) == 1 and (h, k, m) > (0, 0, 0):
                    found.append((h, k, m))
    return tuple(found)


@lru_cache(maxsize=4)
def _translations(reach: int) -> IntArray:
    grid = np.arange(-reach, reach + 1)
    return np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)


def oriented(cell: FloatArray, plane: Miller) -> IntArray | None:
    """Lattice vectors of a cell of the same volume: two short ones in the plane, one out of it.

    Rows are counted in lattice vectors. None for cells so skewed that short vectors do not do.
    """
    normal = np.array(plane)
    every = _translations(int(np.abs(normal).max()) + 2)
    length = np.linalg.norm(every @ cell, axis=1)
    order = np.argsort(length, kind="stable")
    height = every[order] @ normal
    inside = every[order][height == 0][1:]  # the first is zero
    out = every[order][height == 1]
    first = inside[0]
    # Two vectors span the plane's lattice if their product is the normal, once.
    spans = np.abs(np.cross(first, inside) - normal).sum(1) == 0
    back = np.abs(np.cross(first, inside) + normal).sum(1) == 0
    good = np.flatnonzero(spans | back)
    if not len(good) or not len(out):
        return None
    second = inside[good[0]] * (1 if spans[good[0]] else -1)
    return np.stack([first, second, out[0]])


@dataclass(frozen=True)
class Repeat:
    """A crystal in a cell with two vectors in a plane.

    Attributes
    ----------
    numbers
        Atomic numbers.
    frac
        Coordinates in that cell, in [0, 1).
    cell
        Å; rows.
    spacing
        Å between this plane and the next.
    cuts
        Heights, in parts of the spacing, between planes of atoms.
    broken
        Strength of the bonds that each cut breaks, by area (Å⁻²).
    """

    numbers: IntArray
    frac: FloatArray
    cell: FloatArray
    spacing: float
    cuts: FloatArray
    broken: FloatArray


def look_along(crystal: Crystal, plane: Miller, charges: FloatArray | None = None) -> Repeat | None:
    """Turn a crystal to a plane, and find where it can be cut; None if it cannot.

    Where oxidation states are known, bonds are those between unlike charges.
    """
    matrix = oriented(crystal.cell, plane)
    if matrix is None:
        return None
    cell = matrix @ crystal.cell
    frac: FloatArray = (crystal.positions @ np.linalg.inv(cell)).round(9) % 1.0
    normal = np.cross(cell[0], cell[1])
    area = float(np.linalg.norm(normal))
    spacing = abs(float(np.linalg.det(cell))) / area
    heights = np.sort(frac[:, 2])
    gaps = np.diff(heights, append=heights[0] + 1.0)
    wide = np.flatnonzero(gaps * spacing > _SAME_PLANE)
    cuts = (heights[wide] + gaps[wide] / 2) % 1.0
    if not len(cuts):
        return None
    radii = covalent_radius[crystal.numbers]
    i, j, vectors = pairs_within(frac @ cell, cell, _BOND * 2.0 * float(radii.max()))
    distance = np.sqrt((vectors**2).sum(axis=1))
    touch = radii[i] + radii[j]
    bonded = distance < _BOND * touch
    if charges is not None:
        bonded &= charges[i] * charges[j] < 0
    i, rise = i[bonded], vectors[bonded] @ (normal / area) / spacing
    strength = np.exp((touch - distance)[bonded] / _SOFTNESS)
    start = frac[i, 2][:, None] - cuts
    crossed = np.abs(np.floor(start + rise[:, None]) - np.floor(start))
    broken = (strength @ crossed / (2.0 * area)).astype(np.float64)
    return Repeat(crystal.numbers, frac, cell, spacing, cuts, broken)


def stack(repeat: Repeat, cut: float, n: int) -> tuple[IntArray, FloatArray]:
    """Atoms of ``n`` repeats above a cut: numbers, and positions in Å with heights unwrapped."""
    frac = repeat.frac.copy()
    frac[:, 2] = (frac[:, 2] - cut) % 1.0
    shifts = np.arange(n)[:, None, None] * np.array([0.0, 0.0, 1.0])
    whole = (frac[None] + shifts).reshape(-1, 3)
    return np.tile(repeat.numbers, n), whole @ repeat.cell


def dipole(repeat: Repeat, cut: float, charges: FloatArray) -> float:
    """Dipole of one repeat above a cut along the normal, by its positive charge (Å).

    Zero for what Tasker calls type 1 and 2 (J. Phys. C 12, 4977, 1979); slabs of other cuts have a
    field that grows with their thickness.
    """
    heights = (repeat.frac[:, 2] - cut) % 1.0 * repeat.spacing
    return float(abs((charges * heights).sum()) / charges[charges > 0].sum())


def both_sides_alike(repeat: Repeat, cut: float) -> bool:
    """Whether the planes of atoms above a cut are the same ones from below as from above."""
    heights = (repeat.frac[:, 2] - cut) % 1.0 * repeat.spacing
    middle = (heights.max() + heights.min()) / 2
    for number in np.unique(repeat.numbers):
        own = np.sort(heights[repeat.numbers == number] - middle)
        if np.abs(own + own[::-1]).max() > _SAME_HEIGHT:
            return False
    return True
