"""The crystals that fingerprints are timed and compared on, as a user has them: ASE Atoms."""

import gzip
import io
from pathlib import Path

import ase.io
import numpy as np
import pyarrow.parquet
from ase import Atoms

ROWS_OF_MP = 5000
"""Crystals drawn from mp.parquet (materials of the Materials Project)."""

ONE_SPECIES = 14
"""What all atoms become where the peer has no fixed width over many elements."""


def load(name: str, folder: Path) -> list[Atoms]:
    """Read ``bench300`` (300 crystals) or ``mp`` (5,000 rows, fixed draw), in a fixed random order.

    Raises
    ------
    SystemExit
        If the file is not in the folder.
    """
    file = folder / {"bench300": "bench300.extxyz.gz", "mp": "mp.parquet"}[name]
    if not file.is_file():
        raise SystemExit(f"{file} is not there; give the folder of the data sets with --data")
    rng = np.random.default_rng(20240117)
    if name == "bench300":
        text = gzip.decompress(file.read_bytes()).decode()
        frames = ase.io.read(io.StringIO(text), index=":", format="extxyz")
        return [plain(frames[k]) for k in rng.permutation(len(frames))]
    table = pyarrow.parquet.read_table(file, columns=["numbers", "cell", "frac"])
    chosen = table.take(rng.permutation(len(table))[:ROWS_OF_MP]).to_pylist()
    return [
        Atoms(
            row["numbers"],
            cell=np.reshape(row["cell"], (3, 3)),
            scaled_positions=np.reshape(row["frac"], (-1, 3)),
            pbc=True,
        )
        for row in chosen
    ]


def plain(atoms: Atoms, number: int | None = None) -> Atoms:
    """Copy numbers, positions and cell; or all atoms as one species."""
    numbers = atoms.numbers if number is None else np.full(len(atoms), number)
    return Atoms(numbers, cell=atoms.cell, positions=atoms.positions, pbc=True)


def one_species(frames: list[Atoms]) -> list[Atoms]:
    """Copy crystals with every atom of the same species."""
    return [plain(atoms, ONE_SPECIES) for atoms in frames]


def n_atoms(frames: list[Atoms]) -> int:
    """Atoms in all of them."""
    return sum(len(atoms) for atoms in frames)


def cover(frames: list[Atoms]) -> list[Atoms]:
    """Choose few of the crystals that have every element of all of them, to warm up with."""
    chosen, seen = [], set[int]()
    for atoms in frames:
        new = set(atoms.numbers.tolist()) - seen
        if new:
            chosen.append(atoms)
            seen |= new
    return chosen
