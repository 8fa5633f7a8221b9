"""Random symmetric crystals of a given composition.

The prototype libraries hold few quaternary and hardly any quinary crystals, while a third of a
real database is such. For these, atoms are thrown at random on the orbits of a common space group
and relaxed with the bond-valence model; the best of a few throws is kept. This is random structure
searching (Pickard and Needs, J. Phys.: Condens. Matter 23, 053201, 2011) with an empirical model.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .draws import drawn
from .orbits import fix, orbit_of
from .relaxation import Floats, periodic_pairs

# Space groups and their share: rough frequencies of inorganic crystals, from common knowledge.
SPACE_GROUPS: tuple[tuple[str, float], ...] = (
    ("P1", 1), ("P-1", 8), ("P2_1", 2), ("C2", 2), ("Pc", 1), ("Cc", 3), ("P2_1/m", 4),
    ("C2/m", 9), ("P2/c", 3), ("P2_1/c", 12), ("C2/c", 9), ("Pna2_1", 3), ("Pmn2_1", 2),
    ("Cmc2_1", 2), ("Pnma", 12), ("Pbcn", 2), ("Cmcm", 4), ("Immm", 1), ("I4/m", 1), ("P4/nmm", 2),
    ("I4/mmm", 3), ("P-42_1m", 1), ("R-3", 3), ("R3m", 2), ("P-3m1", 3), ("R-3m", 5), ("R-3c", 2),
    ("P6_3/m", 1), ("P6_3mc", 2), ("P6_3/mmc", 3), ("P-62m", 1),
)  # fmt: skip

_PRIMITIVE: dict[str, Floats] = {
    "P": np.eye(3),
    "C": np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]),
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3.0,
}


@lru_cache(maxsize=64)
def _operations(group: str) -> tuple[Floats, Floats, Floats, str]:
    """Rotations, translations (primitive basis, no centring), primitive basis, crystal system."""
    from pymatgen.symmetry.groups import SpaceGroup

    space_group = SpaceGroup(group)
    basis = _PRIMITIVE[group[0]]
    inverse = np.linalg.inv(basis)
    seen: dict[tuple[int, ...], tuple[Floats, Floats]] = {}
    for op in sorted(space_group.symmetry_ops, key=lambda o: o.as_xyz_str()):
        # x_conv = x_prim @ basis, for rows of coordinates
        rotation = basis @ op.rotation_matrix.T @ inverse
        translation = op.translation_vector @ inverse % 1.0
        key = tuple(int(v) for v in np.rint(rotation).ravel())
        if key not in seen:
            seen[key] = (np.rint(rotation), translation)
    rotations = np.stack([r for r, _ in seen.values()])
    translations = np.stack([t for _, t in seen.values()])
    return rotations, translations, basis, str(space_group.crystal_system)


def _random_cell(system: str, rng: np.random.Generator) -> Floats:
    """A conventional cell of unit volume with the shape freedom of its crystal system."""
    length = np.exp(rng.normal(0.0, 0.28, 3))
    if system in ("tetragonal", "trigonal", "hexagonal"):
        length = np.array([1.0, 1.0, np.exp(rng.normal(0.3, 0.4))])
    angle = np.full(3, 90.0)
    if system == "triclinic":
        angle = rng.uniform(70.0, 110.0, 3)
    elif system == "monoclinic":
        angle[1] = rng.uniform(90.0, 118.0)
    elif system in ("trigonal", "hexagonal"):
        angle[2] = 120.0
    ca, cb, cg = np.cos(np.deg2rad(angle))
    sg = np.sin(np.deg2rad(angle[2]))
    x = (ca - cb * cg) / sg
    z2 = 1.0 - cb**2 - x**2
    cell = np.array([[1, 0, 0], [cg, sg, 0], [cb, x, np.sqrt(max(z2, 0.2))]]) * length[:, None]
    return np.asarray(cell / abs(np.linalg.det(cell)) ** (1.0 / 3.0))


def _special_point(
    rotations: Floats, translations: Floats, n_wanted: int, rng: np.random.Generator
) -> Floats | None:
    """Orbit of at most ``n_wanted`` points: project onto the fixed points of random operations."""
    point, fixed = rng.random(3), np.empty(3)
    orbit: Floats = orbit_of(point, rotations, translations)
    for _ in range(6):
        if len(orbit) <= n_wanted:
            return orbit
        k = int(rng.integers(len(rotations)))
        if fix(point, rotations[k], translations[k], fixed):
            point, fixed = fixed, point
            orbit = orbit_of(point, rotations, translations)
    return orbit if len(orbit) <= n_wanted else None


def random_crystal(
    counts: list[int], volume: float, rng: np.random.Generator, shortest: float = 1.1
) -> tuple[Floats, Floats, str] | None:
    """Throw ``counts[k]`` atoms of kind ``k`` into a cell of ``volume`` (Å³).

    Returns
    -------
    tuple or None
        Primitive cell, fractional coordinates in the order of the kinds, space group; None when
        the atoms did not fit on the orbits.
    """
    weights = np.array([w for _, w in SPACE_GROUPS])
    group = SPACE_GROUPS[drawn(rng, weights)][0]
    rotations, translations, basis, system = _operations(group)
    cell = basis @ _random_cell(system, rng)
    cell = cell * (volume / abs(np.linalg.det(cell))) ** (1.0 / 3.0)
    rows: list[Floats] = []
    for n in counts:
        left = n
        for _ in range(12):
            if left == 0:
                break
            orbit = _special_point(rotations, translations, left, rng)
            if orbit is None or left % np.gcd(left, len(orbit)):
                continue
            trial = np.concatenate([*rows, orbit])
            if len(trial) > 1:
                _, _, _, distance = periodic_pairs(cell, trial, shortest)
                if len(distance):
                    continue
            rows.append(orbit)
            left -= len(orbit)
        if left:
            return None
    return cell, np.concatenate(rows), group
