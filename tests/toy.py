"""Small made-up crystals for tests: several prototypes and elements, slightly distorted."""

import numpy as np
from ase import Atoms

from atomprint.structures.crystal import Crystal

FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
MOTIFS = {
    "rocksalt": ([[0, 0, 0], [0.5, 0.5, 0.5]], FCC, 2.0),
    "zincblende": ([[0, 0, 0], [0.25, 0.25, 0.25]], FCC, 2.31),
    "cscl": ([[0, 0, 0], [0.5, 0.5, 0.5]], np.eye(3), 1.155),
    "fluorite": ([[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]], FCC, 2.31),
}
CATIONS = (3, 11, 12, 19, 20, 30, 31)
ANIONS = (8, 9, 16, 17, 34, 35)


def toy_crystals(n: int, seed: int = 0) -> list[Crystal]:
    """``n`` crystals with the label ``energy`` (a smooth made-up function of structure)."""
    rng = np.random.default_rng(seed)
    names = list(MOTIFS)
    crystals = []
    for index in range(n):
        frac, shape, factor = MOTIFS[names[index % len(names)]]
        cation, anion = int(rng.choice(CATIONS)), int(rng.choice(ANIONS))
        bond = 1.6 + 0.02 * (cation % 8) + 0.03 * (anion % 10) + rng.normal(scale=0.05)
        cell = shape * bond * factor
        numbers = [cation] + [anion] * (len(frac) - 1)
        positions = np.array(frac) @ cell + rng.normal(scale=0.03, size=(len(frac), 3))
        energy = -3 / bond + 0.02 * (cation - anion)
        crystals.append(
            Crystal.make(
                f"toy-{index}", numbers, cell, positions=positions, labels={"energy": energy}
            )
        )
    return crystals


def as_ase(crystal: Crystal) -> Atoms:
    """The same crystal as ASE has it."""
    return Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)
