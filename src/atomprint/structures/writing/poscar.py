"""A folder of POSCARs, VASP's form, a file a crystal, with a table of labels beside them."""

import os
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from atomprint.ground.elements import symbols
from atomprint.structures.crystal import Crystal
from atomprint.structures.writing.folder import write_folder
from atomprint.structures.writing.whole import Progress


def write_poscars(
    folder: str | os.PathLike[str],
    crystals: Sequence[Crystal],
    *,
    progress: Progress | None = None,
) -> list[str]:
    """Write ``ID.vasp`` for every crystal, and labels that are numbers in ``id_prop.csv``.

    Cell and Cartesian positions have all their digits. Atoms keep their order, so that an element
    may be named twice. VASP wants right-handed cells: the axes of others are turned round, which
    leaves the atoms where they are. The folder is complete or not there.

    Parameters
    ----------
    folder
        Where to; must not be there.
    crystals
        With different ids.
    progress
        Called with crystals done and in all.

    Returns
    -------
    left_out
        Names of labels that are arrays, which a POSCAR has no place for.

    Raises
    ------
    UsageError
        If there are no crystals, or the folder is there.
    DataError
        If two crystals have the same id, or an id cannot be a file's name.
    """
    return write_folder(Path(folder), crystals, ".vasp", "POSCAR", _poscar, progress)


def _poscar(crystal: Crystal) -> str:
    cell = -crystal.cell if np.linalg.det(crystal.cell) < 0 else crystal.cell
    runs = [(number, len(list(run))) for number, run in groupby(crystal.numbers.tolist())]
    return "\n".join(
        [
            crystal.id,
            "1.0",
            *_lines(cell.tolist()),
            " ".join(symbols[number] for number, _ in runs),
            " ".join(str(count) for _, count in runs),
            "Cartesian",
            *_lines(crystal.positions.tolist()),
            "",
        ]
    )


def _lines(rows: Iterable[Iterable[float]]) -> list[str]:
    return [" ".join(map(repr, row)) for row in rows]
