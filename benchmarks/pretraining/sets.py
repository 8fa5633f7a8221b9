"""The labelled sets of the study, in a fixed order, and the corpus without their crystals.

Each set's crystals have one random order. The first ``n_dev`` of them are where recipes are
compared (development), the next ``n_test`` are the test part, which no choice has seen. Labels to
train and validate on are drawn, anew for each seed, from all crystals that are in neither. Sets too
small for two parts are developed on by cross-validation among the crystals that labels are drawn
from.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals


@dataclass(frozen=True)
class Set:
    """A labelled set.

    Attributes
    ----------
    file, label, unit
        Where it is, which label, its unit.
    log
        Whether log10 of the label is learned (labels of at most 1 are left out).
    most
        Crystals used of it.
    n_dev, n_test
        Sizes of the two parts; without a development part it is a fold of the rest.
    max_atoms
        Larger cells are left out, to afford it.
    """

    file: str
    label: str
    unit: str
    log: bool = False
    most: int = 100_000
    n_dev: int = 700
    n_test: int = 700
    max_atoms: int = 60


FOLDS = 5
"""Of the cross-validation of sets without a development part."""

SETS = {
    "formation energy": Set("mp", "formation_energy_per_atom", "eV/atom", most=3000, max_atoms=20),
    "band gap": Set("mp", "band_gap", "eV", most=3000, max_atoms=20),
    "phonon peak": Set("matbench_phonons", "last_phdos_peak", "cm⁻¹", n_dev=300, n_test=400),
    "exfoliation energy": Set(
        "matbench_jdft2d", "exfoliation_energy", "meV/atom", n_dev=0, n_test=230
    ),
    "log10 bulk modulus": Set("mp_elastic", "bulk_modulus_vrh", "log10 GPa", log=True),
    "log10 shear modulus": Set("mp_elastic", "shear_modulus_vrh", "log10 GPa", log=True),
    "refractive index": Set("mp_dielectric", "n", "", n_dev=0, n_test=450),
    "perovskite heat": Set("perovskites", "heat_ref", "eV"),
    "carbon energy": Set("carbon", "energy_per_atom", "eV"),
    "MOF band gap": Set("qmof", "band_gap", "eV", n_dev=0, n_test=400, max_atoms=50),
}


def load_set(name: str, folder: Path) -> list[Crystal]:
    """Crystals of a set in their fixed order, with the label ``y``."""
    one = SETS[name]
    rows = [
        c
        for c in read_crystals(folder / f"{one.file}.parquet").crystals
        if one.label in c.labels
        and c.n_atoms <= one.max_atoms
        and not (one.log and c.labels[one.label] <= 1)
    ]
    order = np.random.default_rng(1234).permutation(len(rows))[: one.most]
    values = [rows[i].labels[one.label] for i in order]
    if one.log:
        values = [float(np.log10(v)) for v in values]
    return [rows[i].with_labels({"y": v}) for i, v in zip(order, values, strict=True)]


def parts(
    name: str, rows: list[Crystal], part: str, seed: int = 0
) -> tuple[list[Crystal], list[Crystal]]:
    """Crystals that labels are drawn from, and those that are judged on (``dev`` or ``test``).

    Where a set has no development part, that is one of :data:`FOLDS` folds of the crystals that are
    not judged on in the test, at most as many as there; another one for each seed.
    """
    one = SETS[name]
    pool = rows[one.n_dev + one.n_test :]
    if part == "test":
        return pool, rows[one.n_dev : one.n_dev + one.n_test]
    if one.n_dev:
        return pool, rows[: one.n_dev]
    judged = pool[seed % FOLDS :: FOLDS][: one.n_test]
    ids = {crystal.id for crystal in judged}
    return [crystal for crystal in pool if crystal.id not in ids], judged


def reduced_formula(crystal: Crystal) -> tuple[tuple[int, int], ...]:
    """Elements with their counts, divided by the greatest common divisor."""
    counts = np.bincount(crystal.numbers)
    divisor = np.gcd.reduce(counts[counts > 0])
    return tuple((int(z), int(counts[z] // divisor)) for z in np.nonzero(counts)[0])


def load_corpus(folder: Path, max_atoms: int = 20) -> list[Crystal]:
    """Rows of mp.parquet that are no crystal of any set, by id or by likeness.

    Alike are crystals of one reduced formula whose volumes per atom differ by less than 2 %.
    """
    labelled = [crystal for name in SETS for crystal in load_set(name, folder)]
    ids = {crystal.id for crystal in labelled}
    rows = read_crystals(folder / "mp.parquet").crystals
    kept = [c for c in rows if c.n_atoms <= max_atoms and c.id not in ids]
    likes = alike(kept, labelled)
    return [crystal for crystal, like in zip(kept, likes, strict=True) if not like]


def alike(crystals: Sequence[Crystal], others: Sequence[Crystal]) -> list[bool]:
    """Whether each crystal has a like among the others: formula, and volume an atom within 2 %."""
    volumes = defaultdict(list)
    for other in others:
        volumes[reduced_formula(other)].append(other.volume / other.n_atoms)
    return [
        any(
            abs(crystal.volume / crystal.n_atoms / volume - 1) < 0.02
            for volume in volumes.get(reduced_formula(crystal), ())
        )
        for crystal in crystals
    ]
