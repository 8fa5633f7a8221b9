"""MatBench's own files: a table of pymatgen structures in gzipped JSON, read row by row.

The layout is what pandas calls ``split``: ``{"index": [0, 1, ...], "columns": ["structure",
"last phdos peak"], "data": [[{...}, 98.6], ...]}``. The largest file holds 132,752 structures;
parsed at once it would take several GB, so that rows are decoded one after another.
"""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from atomprint.ground.errors import DataError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.checks import build_crystal
from atomprint.structures.reading.elements import number_of
from atomprint.structures.reading.json_stream import stream_items
from atomprint.structures.reading.result import Record, Refused

_IMPLAUSIBLE = {"overlap", "cell", "size"}

Progress = Callable[[int, int], None]


def read_matbench_file(
    path: Path, column: str, n_expected: int, progress: Progress | None = None
) -> tuple[list[tuple[Crystal, float]], list[str]]:
    """Read crystals and one property, in the order of the file.

    A benchmark is judged on all its crystals: one that looks implausible (atoms that overlap) is
    kept and named in a note, where any other reading would leave it out.

    Parameters
    ----------
    path
        A ``.json.gz``.
    column
        Name of the property.
    n_expected
        Rows that the file should have, for `progress` only.
    progress
        Called as ``progress(done, n_expected)`` now and then.

    Returns
    -------
    tuple
        Crystals with the row as id, each with its property; and notes.

    Raises
    ------
    DataError
        If the file is damaged or of another layout, or a row is no complete crystal.
    """
    found: list[tuple[Crystal, float]] = []
    notes: list[str] = []
    try:
        with gzip.open(path) as file:
            for row, (structure, value) in enumerate(_rows(cast(BinaryIO, file), path, column)):
                crystal, oddity = _crystal(structure, row, path)
                if oddity:
                    notes.append(f"crystal {row} of {path.name} {oddity}; kept, as MatBench does")
                found.append((crystal, _number(value, row, path)))
                if progress is not None and row % 500 == 0:
                    progress(row, n_expected)
    except (OSError, EOFError, UnicodeDecodeError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise DataError(f"{path}: damaged or no gzip file ({error}); get it again") from None
    if progress is not None:
        progress(len(found), n_expected)
    return found, notes


def _rows(file: BinaryIO, path: Path, column: str) -> Iterator[tuple[Any, Any]]:
    """Structure and property, row by row."""
    try:
        for number, (before, row) in enumerate(stream_items(file, "data")):
            if number == 0:
                first, second = _columns(before, path, column)
            yield row[first], row[second]
    except Refused as refusal:
        raise DataError(
            f"{path}: not in MatBench's layout, or cut off ({refusal.reason})"
        ) from None


def _columns(before: dict[str, Any], path: Path, column: str) -> tuple[int, int]:
    """Where a row has its structure and the property."""
    columns, index = before.get("columns"), before.get("index")
    if not columns or "structure" not in columns:
        raise DataError(f"{path}: not in MatBench's layout (no column 'structure' before the data)")
    if column not in columns:
        raise DataError(f"{path}: has no column {column!r}; it has {', '.join(map(str, columns))}")
    if index is not None and index != list(range(len(index))):
        raise DataError(f"{path}: its rows are not numbered 0, 1, ...; this is not MatBench's file")
    return columns.index("structure"), columns.index(column)


def _crystal(structure: Any, row: int, path: Path) -> tuple[Crystal, str]:
    """A crystal, and what is odd about it."""
    try:
        cell = structure["lattice"]["matrix"]
        sites = structure["sites"]
        numbers = [number_of(_element(site)) for site in sites]
        frac = [site["abc"] for site in sites]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise DataError(f"{path}: row {row} is no complete pymatgen structure ({error})") from None
    except Refused as refusal:
        raise DataError(f"{path}: row {row}: {refusal.reason}") from None
    try:
        return build_crystal(Record(numbers, cell, frac=frac, id=str(row)), f"{path}#{row}"), ""
    except Refused as refusal:
        if refusal.kind not in _IMPLAUSIBLE:
            raise DataError(f"{path}: row {row}: {refusal.reason}") from None
        made = Crystal.make(str(row), numbers, cell, frac=frac, source=f"{path}#{row}")
        return made, f"looks implausible: {refusal.reason}"


def _element(site: dict[str, Any]) -> str:
    species = site["species"]
    if len(species) != 1 or float(species[0].get("occu", 1)) != 1:
        raise ValueError("a site with partial occupancy")
    return str(species[0]["element"])


def _number(value: Any, row: int, path: Path) -> float:
    if isinstance(value, bool | int | float):
        return float(value)
    raise DataError(f"{path}: row {row} has no number for the property but {value!r}")
