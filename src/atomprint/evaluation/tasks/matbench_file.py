"""MatBench's own files: a table of pymatgen structures in gzipped JSON, read row by row.

The layout is what pandas calls ``split``: ``{"index": [0, 1, ...], "columns": ["structure",
"last phdos peak"], "data": [[{...}, 98.6], ...]}``. The largest file holds 132,752 structures;
parsed at once it would take several GB, so that rows are decoded one after another.
"""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from atomprint.ground.errors import DataError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.checks import build_crystal
from atomprint.structures.reading.elements import number_of
from atomprint.structures.reading.result import Record, Refused

_CHUNK = 1 << 20  # characters
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
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for row, (structure, value) in enumerate(_rows(file, path, column)):
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


def _rows(file: IO[str], path: Path, column: str) -> Iterator[tuple[Any, Any]]:
    """Structure and property, row by row."""
    text = _Text(file, path)
    text.expect("{")
    known: dict[str, list[Any]] = {}
    while (key := text.value()) != "data":
        text.expect(":")
        known[str(key)] = text.value()
        text.expect(",")
    text.expect(":")
    columns, index = known.get("columns"), known.get("index")
    if not columns or "structure" not in columns:
        raise DataError(f"{path}: not in MatBench's layout (no column 'structure' before the data)")
    if column not in columns:
        raise DataError(f"{path}: has no column {column!r}; it has {', '.join(map(str, columns))}")
    if index is not None and index != list(range(len(index))):
        raise DataError(f"{path}: its rows are not numbered 0, 1, ...; this is not MatBench's file")
    first, second = columns.index("structure"), columns.index(column)
    text.expect("[")
    while True:
        row = text.value()
        yield row[first], row[second]
        if text.expect(",]") == "]":
            return


class _Text:
    """JSON taken from a file piece by piece, with no more of it in memory than one value."""

    def __init__(self, file: IO[str], path: Path) -> None:
        self._file, self._path = file, path
        self._buffer, self._at = "", 0
        self._decode = json.JSONDecoder().raw_decode

    def _more(self) -> bool:
        piece = self._file.read(_CHUNK)
        self._buffer, self._at = self._buffer[self._at :] + piece, 0
        return bool(piece)

    def _skip_space(self) -> None:
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._buffer) or not self._more():
                return

    def expect(self, characters: str) -> str:
        """Take one of some characters."""
        self._skip_space()
        found = self._buffer[self._at : self._at + 1]
        if not found or found not in characters:
            shown = repr(found) if found else "the end"
            raise DataError(
                f"{self._path}: not in MatBench's layout ({shown} where {characters!r} should be)"
            )
        self._at += 1
        return found

    def value(self) -> Any:
        """Take a string or a list; more is read until its last character is there."""
        self._skip_space()
        while True:
            try:
                value, end = self._decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise DataError(
                        f"{self._path}: not in MatBench's layout, or cut off ({error.msg})"
                    ) from None
                continue
            self._at = end
            return value


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
