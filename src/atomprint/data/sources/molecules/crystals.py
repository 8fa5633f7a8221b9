"""Molecules in cells: alone in a box, or packed by the symmetry of a common space group.

A molecule is put into the general position of a space group, in a roomy cell and turned at random;
pressure then closes the cell as far as contacts let it (:mod:`~atomprint.data.sources.packing`),
with the molecules rigid. Forces have the symmetry of the atoms, so that it stays.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atomprint.data.sources.molecules.molecules import Molecule, draw_molecule
from atomprint.data.sources.packing import CONTACT, Springs, relax, shortest_cell
from atomprint.ground import elements

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PRESSURE = 0.0014
"""1/Å; median."""
LOOSE = 2.5
"""How much larger than the molecules a cell is at first."""
PER_ATOM = 10.5
"""Å³ that an atom takes in an organic crystal, about."""
WORST_CONTACT, WORST_RIGID = 0.85, 0.06
"""A crystal is rejected when molecules come nearer than this part of contact distances, or a
distance within one is off by more (Å)."""

_SIGNS: dict[str, tuple[str, float, tuple[str, ...]]] = {
    "P-1": ("triclinic", 25, ("x y z", "-x -y -z")),
    "P2_1": ("monoclinic", 6, ("x y z", "-x y+ -z")),
    "P2_1/c": ("monoclinic", 36, ("x y z", "-x y+ -z+", "-x -y -z", "x -y+ z+")),
    "C2/c": ("monoclinic", 8, ("x y z", "-x y -z+", "-x -y -z", "x -y z+")),
    "P2_12_12_1": ("orthorhombic", 8, ("x y z", "-x+ -y z+", "-x y+ -z+", "x+ -y+ -z")),
    "Pna2_1": ("orthorhombic", 2, ("x y z", "-x -y z+", "x+ -y+ z", "-x+ y+ z+")),
    "Pbca": (
        "orthorhombic", 4,
        (
            "x y z", "-x+ -y z+", "-x y+ -z+", "x+ -y+ -z",
            "-x -y -z", "x+ y -z+", "x -y+ z+", "-x+ y+ z",
        ),
    ),
    "P1": ("triclinic", 1, ("x y z",)),
}  # fmt: skip
"""System, how often (roughly, among organic crystals), general position; ``+`` is one half more."""


@dataclass(frozen=True)
class MolecularCrystal:
    """Molecules in a cell.

    Attributes
    ----------
    molecule
        What it is made of.
    n_molecules
        In the cell.
    group
        Space group, or ``box``.
    numbers, positions, cell
        Atoms, Å, rows.
    """

    molecule: Molecule
    n_molecules: int
    group: str
    numbers: IntArray
    positions: FloatArray
    cell: FloatArray


def make_molecular(
    seed: tuple[int, ...],
    max_atoms: int,
    boxes: float,
    vacuum: float,
    most_tries: int,
    rejected: Counter[str],
) -> MolecularCrystal | None:
    """Draw molecules and pack them until a crystal comes out.

    Parameters
    ----------
    seed
        Of all choices; the same one gives the same crystal.
    max_atoms
        In a cell.
    boxes
        Share of molecules that stay alone.
    vacuum
        Å between a molecule in a box and its images.
    most_tries
        Draws at most; None comes back after that.
    rejected
        Where reasons for rejecting are counted.
    """
    for attempt in range(most_tries):
        rng = np.random.default_rng((*seed, attempt))
        alone = rng.random() < boxes
        weights = np.array([share for _, share, _ in _SIGNS.values()])
        group = str(rng.choice(list(_SIGNS), p=weights / weights.sum()))
        n = 1 if alone else len(_SIGNS[group][2])
        molecule = draw_molecule(rng, max_atoms // n)
        if molecule is None:
            rejected["molecule"] += 1
            continue
        found = _boxed(molecule, vacuum, rng) if alone else _packed(molecule, group, rng)
        if isinstance(found, MolecularCrystal):
            return found
        rejected[found] += 1
    return None


def _boxed(molecule: Molecule, vacuum: float, rng: np.random.Generator) -> MolecularCrystal:
    """A molecule alone, its longest way along an edge of the box."""
    _, _, axes = np.linalg.svd(molecule.positions, full_matrices=False)
    axes = axes * [[1], [1], [np.sign(np.linalg.det(axes))]]
    positions = molecule.positions @ axes.T
    low, high = positions.min(0), positions.max(0)
    cell = np.diag(np.round(high - low + vacuum, 4))
    middle = cell.sum(0) / 2 - (low + high) / 2
    return MolecularCrystal(
        molecule, 1, "box", molecule.numbers, np.round(positions + middle, 4), cell
    )


def _operations(group: str) -> list[tuple[FloatArray, FloatArray]]:
    """Signs and shifts of the general position."""
    rows = []
    for text in _SIGNS[group][2]:
        signs = np.array([-1.0 if part.startswith("-") else 1.0 for part in text.split()])
        shifts = np.array([0.5 if part.endswith("+") else 0.0 for part in text.split()])
        rows.append((signs, shifts))
    return rows


def _cell(system: str, volume: float, rng: np.random.Generator) -> FloatArray:
    """A cell of the crystal system with this volume in Å³."""
    lengths = np.exp(rng.normal(0, 0.25, 3))
    angles = np.full(3, 90.0)
    if system == "triclinic":
        angles = rng.uniform(75, 105, 3)
    elif system == "monoclinic":
        angles[1] = rng.uniform(90, 112)
    cosines = np.cos(np.radians(angles))
    sine = np.sin(np.radians(angles[2]))
    x = (cosines[0] - cosines[1] * cosines[2]) / sine
    z = np.sqrt(max(1 - cosines[1] ** 2 - x**2, 0.1))
    cell = np.array([[1, 0, 0], [cosines[2], sine, 0], [cosines[1], x, z]]) * lengths[:, None]
    return np.asarray(cell * (volume / abs(np.linalg.det(cell))) ** (1 / 3))


def _packed(molecule: Molecule, group: str, rng: np.random.Generator) -> MolecularCrystal | str:
    """Molecules in the general position; the reason in a word where they do not pack."""
    operations = _operations(group)
    n, size = len(operations), len(molecule.numbers)
    wide = 2 if group == "C2/c" else 1
    cell = _cell(_SIGNS[group][0], LOOSE * PER_ATOM * size * n * wide, rng)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    inverse = np.linalg.inv(cell)
    centre = rng.uniform(0, 1, 3)
    frac = centre + molecule.positions @ turn @ inverse
    positions = np.concatenate([(signs * frac + shifts) @ cell for signs, shifts in operations])
    if wide == 2:
        cell = np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]) @ cell
    numbers = np.tile(molecule.numbers, n)
    polar = np.tile(molecule.polar, n)
    names = [elements.symbols[z] for z in numbers]
    radius = np.array([CONTACT[name] for name in names])
    accepts = np.isin(names, ["N", "O", "F", "Cl", "Br", "I", "S"])
    springs = _rigid(molecule, n)
    pressure = PRESSURE * float(np.exp(rng.normal(0, 0.35)))
    positions, cell, closest = relax(
        positions, cell, radius, springs, polar, accepts, pressure=pressure
    )
    if closest < WORST_CONTACT:
        return "contact"
    steps = positions[springs.second] - positions[springs.first]
    if np.abs(np.linalg.norm(steps, axis=1) - springs.length).max() > WORST_RIGID:
        return "rigid"
    positions, cell = shortest_cell(positions, cell)
    return MolecularCrystal(molecule, n, group, numbers, positions, cell)


def _rigid(molecule: Molecule, n: int) -> Springs:
    """Springs between all atoms of each molecule."""
    size = len(molecule.numbers)
    first, second = np.triu_indices(size, k=1)
    length = np.linalg.norm(molecule.positions[first] - molecule.positions[second], axis=1)
    offset = size * np.repeat(np.arange(n), len(first))
    return Springs(
        np.tile(first, n) + offset,
        np.tile(second, n) + offset,
        np.zeros((n * len(first), 3), dtype=np.int64),
        np.tile(length, n),
        np.ones(n * len(first)),
    )
