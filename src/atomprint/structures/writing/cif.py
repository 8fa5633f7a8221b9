"""A folder of CIFs, a file a crystal, with a table of labels beside them."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atomprint.ground.elements import symbols
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.files import format_of
from atomprint.structures.writing.whole import Progress, check_crystals, counted, written_whole

TABLE = "id_prop.csv"
"""CGCNN's name for it; it is found by itself on reading."""
_LONGEST = 240  # bytes of a file's name, which file systems keep below 255


def write_cifs(
    folder: str | os.PathLike[str],
    crystals: Sequence[Crystal],
    *,
    progress: Progress | None = None,
) -> list[str]:
    """Write ``ID.cif`` for every crystal, in P 1, and labels that are numbers in `TABLE`.

    Lengths, angles and fractional positions have all their digits. How the cell is turned in space
    a CIF does not say. The folder is complete or not there.

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
        Names of labels that are arrays, which a CIF has no place for.

    Raises
    ------
    UsageError
        If there are no crystals, or the folder is there.
    DataError
        If two crystals have the same id, or an id cannot be a file's name.
    """
    folder = Path(folder)
    if folder.exists():
        raise UsageError(f"{folder}: is there already; choose another --out")
    check_crystals(folder, crystals)
    names: dict[str, None] = {}
    left_out: set[str] = set()
    rows: list[tuple[str, dict[str, float]]] = []
    with written_whole(folder) as partial:
        partial.mkdir()
        for crystal in counted(crystals, progress):
            numbers: dict[str, float] = {}
            for name, value in crystal.labels.items():
                if isinstance(value, np.ndarray):
                    left_out.add(name)
                else:
                    numbers[name] = value
                    names[name] = None
            rows.append((crystal.id, numbers))
            _write(partial / _file_name(folder, crystal.id), crystal)
        if names:
            _write_table(partial / TABLE, list(names), rows)
    return sorted(left_out)


def _write(path: Path, crystal: Crystal) -> None:
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(_cif(crystal))
    except FileExistsError:
        raise DataError(
            f"the ids {crystal.id!r} and another one differ in capitals only, which names of files "
            "here do not tell apart; write extended XYZ or Parquet"
        ) from None


def _file_name(folder: Path, id: str) -> str:
    name = f"{id}.cif"
    readable = format_of(name) == "cif" and not name.startswith(".") and name.isprintable()
    if not readable or set('/\\:*?"<>|') & set(name) or len(name.encode()) > _LONGEST:
        raise DataError(
            f"{folder}: the id {id[:80]!r} cannot be the name of a CIF; write extended XYZ or "
            "Parquet"
        )
    return name


def _write_table(path: Path, names: list[str], rows: list[tuple[str, dict[str, float]]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", *names])
        for id, numbers in rows:
            table.writerow([id, *[repr(numbers[n]) if n in numbers else "" for n in names]])


def _cif(crystal: Crystal) -> str:
    cell, frac = crystal.cell, crystal.frac
    if np.linalg.det(cell) < 0:
        # Lengths and angles mean a right-handed cell: the same crystal, axes turned round.
        cell, frac = -cell, -frac
    lengths = np.sqrt((cell * cell).sum(axis=1))
    unit = cell / lengths[:, None]
    cosines = np.clip([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]], -1, 1)
    angles = np.degrees(np.arccos(cosines))
    pairs = zip(
        ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"),
        [*lengths.tolist(), *angles.tolist()],
        strict=True,
    )
    found, counts = np.unique(crystal.numbers, return_counts=True)
    formula = " ".join(f"{symbols[z]}{n}" for z, n in zip(found, counts, strict=True))
    lines = [
        "data_crystal",
        *[f"_cell_{name} {value!r}" for name, value in pairs],
        "_space_group_name_H-M_alt 'P 1'",
        "_space_group_IT_number 1",
        f"_chemical_formula_sum '{formula}'",
        "loop_",
        "_space_group_symop_operation_xyz",
        "'x, y, z'",
        "loop_",
        "_atom_site_label",
        "_atom_site_type_symbol",
        "_atom_site_fract_x",
        "_atom_site_fract_y",
        "_atom_site_fract_z",
        "_atom_site_occupancy",
    ]
    for index, (number, row) in enumerate(
        zip(crystal.numbers.tolist(), frac.tolist(), strict=True)
    ):
        symbol = symbols[number]
        lines.append(f"{symbol}{index} {symbol} {' '.join(map(repr, row))} 1")
    return "\n".join([*lines, ""])
