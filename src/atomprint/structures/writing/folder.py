"""A folder with a file a crystal, and a table of labels beside them."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.files import format_of
from atomprint.structures.writing.whole import Progress, check_crystals, counted, written_whole

TABLE = "id_prop.csv"
"""CGCNN's name for it; it is found by itself on reading."""
_LONGEST = 240  # bytes of a file's name, which file systems keep below 255


def write_folder(
    folder: Path,
    crystals: Sequence[Crystal],
    ending: str,
    what: str,
    text_of: Callable[[Crystal], str],
    progress: Progress | None,
) -> list[str]:
    """Write a file for every crystal, called by its id, and labels that are numbers in `TABLE`.

    The folder is complete or not there.

    Parameters
    ----------
    folder
        Where to; must not be there.
    crystals
        With different ids.
    ending
        Of the files' names, with its dot.
    what
        The kind of file, for messages.
    text_of
        What a file holds.
    progress
        Called with crystals done and in all.

    Returns
    -------
    left_out
        Names of labels that are arrays, which the table has no place for.

    Raises
    ------
    UsageError
        If there are no crystals, or the folder is there.
    DataError
        If two crystals have the same id, or an id cannot be a file's name.
    """
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
            _write(partial / _file_name(folder, crystal.id, ending, what), crystal, text_of)
        if names:
            _write_table(partial / TABLE, list(names), rows)
    return sorted(left_out)


def _write(path: Path, crystal: Crystal, text_of: Callable[[Crystal], str]) -> None:
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text_of(crystal))
    except FileExistsError:
        raise DataError(
            f"the ids {crystal.id!r} and another one differ in capitals only, which names of files "
            "here do not tell apart; write extended XYZ or Parquet"
        ) from None


def _file_name(folder: Path, id: str, ending: str, what: str) -> str:
    name = f"{id}{ending}"
    # A file that begins with POSCAR is one, whatever its ending, and is called after what follows.
    readable = format_of(name) == format_of(f"a{ending}") and name.isprintable()
    readable = readable and not name.startswith(".")
    readable = readable and not name.lower().startswith(("poscar", "contcar"))
    if not readable or set('/\\:*?"<>|') & set(name) or len(name.encode()) > _LONGEST:
        raise DataError(
            f"{folder}: the id {id[:80]!r} cannot be the name of a {what}; write extended XYZ or "
            "Parquet"
        )
    return name


def _write_table(path: Path, names: list[str], rows: list[tuple[str, dict[str, float]]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", *names])
        for id, numbers in rows:
            table.writerow([id, *[repr(numbers[n]) if n in numbers else "" for n in names]])
