"""ASE databases (.db): rows with their key-value pairs, data and results as labels."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from ase.db import connect

from atomprint.structures.reading.labels import id_among, units_described
from atomprint.structures.reading.result import Found, NotCrystals, Record, Refused, one_line

_RESULTS = ("energy", "forces", "stress", "magmom", "magmoms", "charges", "free_energy")
_BROKEN = (
    sqlite3.Error,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    OverflowError,
    UnicodeDecodeError,
)


def read_ase_db(path: Path | None, id_column: str | None) -> Found:
    """Read every row.

    Parameters
    ----------
    path
        The file; None if it is in an archive, where SQLite cannot read it.
    id_column
        The key that holds the id; otherwise an id-like key, or the row number.
    """
    if path is None:
        raise Refused("broken", "is a database inside an archive; unpack it and give the file")
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\x00":
            raise NotCrystals("is no ASE database")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            tables = {row[0] for row in database.execute("select name from sqlite_master")}
            units = _units(database) if "information" in tables else {}
    except _BROKEN as error:
        raise Refused("broken", f"is a damaged database ({one_line(error, 150)})") from None
    if "systems" not in tables:
        raise NotCrystals("is no ASE database")
    return Found(_records(path, id_column), units)


def _units(database: sqlite3.Connection) -> dict[str, str]:
    """Units of labels, where the database describes its keys."""
    found = database.execute("select value from information where name = 'metadata'").fetchone()
    try:
        return units_described(json.loads(found[0])) if found else {}
    except (ValueError, TypeError, RecursionError):
        return {}


def _records(path: Path, id_column: str | None) -> Iterator[Record | Refused]:
    last = 0
    try:
        with connect(str(path), type="db", use_lock_file=False) as database:  # type: ignore[no-untyped-call]
            for row in database.select(include_data=True):
                last = row.id
                yield _record(row, id_column)
    except _BROKEN as error:
        raise Refused("broken", f"is damaged after row {last}: {one_line(error, 150)}") from None


def _record(row: Any, id_column: str | None) -> Record | Refused:
    labels: dict[str, Any] = {}
    for name in _RESULTS:
        if name in row:
            labels[name] = row[name]
    labels.update(row.data)
    labels.update(row.key_value_pairs)
    given, used = id_among(labels, id_column)
    labels.pop(used, None)
    cell = np.asarray(row.cell, dtype=np.float64)
    if not cell.any():
        return Refused("cell", "has no cell", given, str(row.id))
    flags = [bool(flag) for flag in row.pbc]
    return Record(
        row.numbers,
        cell,
        positions=row.positions,
        id=given,
        labels=labels,
        pbc=(flags[0], flags[1], flags[2]),
        index=str(row.id),
    )
