"""Tables whose rows hold a structure each, or name its file: CSV, and Parquet of text.

What a cell holds is told by looking at it: text of a CIF or POSCAR, a pymatgen structure as JSON
(or as Python prints a dictionary, which is what pandas writes), or the name of a file.
"""

import ast
import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from atomprint.structures.reading.cif import read_cif
from atomprint.structures.reading.files import BROKEN_FILE, Entry, format_of
from atomprint.structures.reading.labels import id_among
from atomprint.structures.reading.poscar import read_poscar
from atomprint.structures.reading.pymatgen_json import read_json
from atomprint.structures.reading.result import Found, NotCrystals, Record, Refused, one_line

STRUCTURE_NAMES = ("structure", "cif", "poscar", "crystal", "cif_text", "cif_string")
FILE_NAMES = ("file", "filename", "file_name", "path", "filepath", "file_path", "cif_file")
INDEX_NAMES = ("", "Unnamed: 0", "__index_level_0__")
"""What pandas calls the column of its index; it is the id where no other column is."""
LONGEST_PATH = 4096

# A structure of many atoms is longer than the 131,072 characters that csv takes in a cell.
csv.field_size_limit(2**31 - 1)

Opener = Callable[[Entry, ExitStack], Found]


def read_csv(file: BinaryIO, entry: Entry, id_column: str | None, open_entry: Opener) -> Found:
    """Read a CSV with a header, row by row.

    Parameters
    ----------
    file
        Opened.
    entry
        The file; names of files in it are relative to its folder.
    id_column
        Of the id, if it has an unusual name.
    open_entry
        Begins to read a file that a row names.

    Raises
    ------
    NotCrystals
        If no column holds structures or names of their files.
    Refused
        If it is no sound CSV.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
    first = text.readline()
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    rows = csv.reader(chain([first], text), delimiter=delimiter)
    try:
        names = next(rows, [])
        start = next((row for row in rows if any(cell.strip() for cell in row)), None)
    except csv.Error as error:
        raise Refused("broken", f"is no sound CSV: {error}") from None
    if start is None:
        raise NotCrystals("has no rows below its header")
    column = structure_column(dict(zip(names, start, strict=False)))

    def values() -> Iterator[dict[str, Any]]:
        try:
            for row in chain([start], rows):
                if any(cell.strip() for cell in row):
                    yield dict(zip(names, row, strict=False))
        except csv.Error as error:
            line = rows.line_num
            raise Refused("broken", f"is damaged at line {line}: {one_line(error, 100)}") from None

    return Found(table_records(values(), column, entry, id_column, open_entry))


def structure_column(first_row: Mapping[str, Any]) -> str:
    """Name of the column with structures, or names of their files.

    By its name, or by what the first row has in it.

    Raises
    ------
    NotCrystals
        If there is none.
    """
    by_lower = {name.strip().lower(): name for name in reversed(list(first_row))}
    for name in (*STRUCTURE_NAMES, *FILE_NAMES):
        if name in by_lower:
            return by_lower[name]
    for name, value in first_row.items():
        if _is_dictionary(value) or (isinstance(value, str) and "_cell_length_a" in value):
            return name
    raise NotCrystals(
        "has no column of structures; call it structure or cif (text of a CIF or POSCAR, or "
        "pymatgen's JSON), or file (names of files)"
    )


def table_records(
    rows: Iterator[dict[str, Any]],
    column: str,
    entry: Entry,
    id_column: str | None,
    open_entry: Opener,
) -> Iterator[Record | Refused]:
    """A record, or a refusal, for each row; its other columns are labels."""
    for number, row in enumerate(rows):
        value = row.pop(column, None)
        given, used = id_among(row, id_column)
        if not used and id_column is None:
            name = next((name for name in INDEX_NAMES if name in row), None)
            given, used = (str(row[name]).strip(), name) if name is not None else ("", "")
        row.pop(used, None)
        index = str(number)
        try:
            record, stem = _record(value, entry, open_entry)
        except Refused as refusal:
            yield Refused(refusal.kind, refusal.reason, given, index)
            continue
        record.id = given or record.id or stem
        record.labels = {**record.labels, **row}
        record.index = index
        yield record


def _record(value: Any, entry: Entry, open_entry: Opener) -> tuple[Record, str]:
    """The one crystal of a cell, and the stem of the file that it names, if it does."""
    text = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
    if text is None or (isinstance(text, str) and not text.strip()):
        raise Refused("empty", "has no structure in this row")
    if isinstance(text, dict) or _is_dictionary(text):
        return _only(read_json(_as_json(text), None).records), ""
    if not isinstance(text, str):
        raise Refused("broken", f"has {one_line(text, 60)!r} where a structure should be")
    stripped = text.strip()
    if "\n" not in stripped and len(stripped) <= LONGEST_PATH:
        return _from_file(stripped, entry, open_entry)
    if "_cell_length_a" in text or "_atom_site_" in text:
        return _only(read_cif(text.encode()).records), ""
    if stripped.startswith("Full Formula"):
        raise Refused(
            "broken",
            "has a printed structure, which lacks digits; write structure.as_dict() or a CIF",
        )
    return _only(read_poscar(text.encode()).records), ""


def _is_dictionary(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith("{")


def _as_json(value: Any) -> bytes:
    """JSON of a dictionary; of text that Python printed, too."""
    if isinstance(value, str):
        try:
            json.loads(value)
            return value.encode()
        except (ValueError, RecursionError):
            pass
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise Refused("broken", "has neither JSON nor a printed dictionary") from None
    try:
        return json.dumps(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused("broken", f"has no plain dictionary ({one_line(error, 80)})") from None


def _from_file(name: str, entry: Entry, open_entry: Opener) -> tuple[Record, str]:
    folder = entry.path.parent if entry.path is not None else Path()
    path = folder / Path(name).expanduser()
    kind = format_of(path.name)
    if kind not in ("cif", "poscar", "json", "extxyz"):
        raise Refused("broken", f"has {name[:80]!r}, which is no structure and no file of one")
    if not path.is_file():
        raise Refused("broken", f"names the file {name[:80]!r}, which is not there")
    named = Entry(str(path), str(kind), True, path, lambda: path.open("rb"))
    try:
        with ExitStack() as stack:
            return _only(open_entry(named, stack).records), named.stem
    except NotCrystals as other:
        raise Refused("broken", f"names the file {name[:80]!r}, which {other}") from None
    except BROKEN_FILE as error:
        raise Refused(
            "broken", f"names the file {name[:80]!r}, which cannot be read ({error})"
        ) from None


def _only(records: Sequence[Record | Refused] | Iterator[Record | Refused]) -> Record:
    """The one record there is."""
    found = list(records)
    if len(found) != 1:
        raise Refused("broken", f"has {len(found)} crystals in this row instead of one")
    if isinstance(found[0], Refused):
        raise found[0]
    return found[0]
