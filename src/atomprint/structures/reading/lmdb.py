"""ASE databases in LMDB (.aselmdb): what fairchem's sets (OMat24, OC22) are distributed as.

A row is JSON, compressed with zlib, under its number; ``nextid``, ``deleted_ids`` and ``metadata``
stand beside them. Arrays are plain lists, or as ASE writes them: ``{"__ndarray__": [shape, dtype,
values]}``. Older LMDB files of that field hold pickled objects, which are never opened.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.structures.reading.labels import id_among
from atomprint.structures.reading.result import Found, NotCrystals, Record, Refused, one_line

MAX_ROW_BYTES = 256 << 20
"""Of one row, unpacked."""

_MAGIC, _MAGIC_AT = b"\xde\xc0\xef\xbe", 16
_PICKLE = b"\x80"
_RESULTS = ("energy", "free_energy", "forces", "magmom", "magmoms", "charges")
_BROKEN_ROW = (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError)


def read_lmdb(path: Path | None, id_column: str | None) -> Found:
    """Read every row, in the order of their numbers.

    Parameters
    ----------
    path
        The file; None if it is in an archive, where LMDB cannot read it.
    id_column
        The key that holds the id; otherwise an id-like key, or the row's number.

    Raises
    ------
    NotCrystals
        If it is no LMDB database.
    Refused
        If it is cut off, or the package lmdb is not installed.
    """
    if path is None:
        raise Refused("broken", "is a database inside an archive; unpack it and give the file")
    with path.open("rb") as file:
        if file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] != _MAGIC:
            raise NotCrystals("is no LMDB database")
    try:
        import lmdb
    except ModuleNotFoundError:
        raise Refused(
            "broken", "needs the package lmdb; install it with: pip install 'atomprint[lmdb]'"
        ) from None
    return Found(_records(lmdb, path, id_column))


def _records(lmdb: Any, path: Path, id_column: str | None) -> Iterator[Record | Refused]:
    try:
        with lmdb.open(
            str(path), subdir=False, readonly=True, lock=False, create=False
        ) as database:
            # Pages that are not there would end the process, not raise.
            needed = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
            if path.stat().st_size < needed:
                size = path.stat().st_size
                raise Refused("broken", f"is cut off: {size:,} of {needed:,} bytes are there")
            with database.begin() as transaction:
                for number in _numbers(transaction):
                    yield _record(transaction.get(b"%d" % number), number, id_column)
    except lmdb.Error as error:
        raise Refused("broken", f"is a damaged database ({one_line(error, 150)})") from None


def _numbers(transaction: Any) -> npt.NDArray[np.int64]:
    """Numbers of all rows; keys are in the order of the alphabet."""
    keys = transaction.cursor().iternext(keys=True, values=False)
    found = (int(key) for key in keys if key.isdigit() and len(key) < 19)
    return np.sort(np.fromiter(found, np.int64))


def _record(raw: bytes, number: int, id_column: str | None) -> Record | Refused:
    index = str(number)
    if raw.startswith(_PICKLE):
        reason = (
            "is a pickled object, which could run code; write it as ASE LMDB or extended XYZ with "
            "the program that it is from"
        )
        return Refused("broken", reason, "", index)
    try:
        row = json.loads(_unpacked(raw), object_hook=_array)
        labels = {name: _number_or_array(row[name]) for name in _RESULTS if name in row}
        for more in (row.get("data"), row.get("key_value_pairs")):
            labels.update(more or {})
        given, used = id_among(labels, id_column)
        labels.pop(used, None)
        cell = np.asarray(row["cell"], np.float64)
        flags = np.broadcast_to(np.asarray(row.get("pbc", False), np.bool_), 3).tolist()
        if not cell.any():
            return Refused("cell", "has no cell", given, index)
        return Record(
            np.asarray(row["numbers"]), cell, positions=row["positions"], id=given, labels=labels,
            pbc=(flags[0], flags[1], flags[2]), index=index,
        )  # fmt: skip
    except Refused as refusal:
        return Refused(refusal.kind, refusal.reason, "", index)
    except (*_BROKEN_ROW, AttributeError, zlib.error) as error:
        return Refused(
            "broken", f"is no row of an ASE database ({one_line(error, 100)})", "", index
        )


def _unpacked(raw: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(raw, MAX_ROW_BYTES)
    if unpacker.unconsumed_tail:
        raise Refused("size", f"unpacks to more than {MAX_ROW_BYTES / 2**20:,.0f} MiB")
    if not unpacker.eof:
        raise ValueError("it is cut off")
    return text


def _array(value: dict[str, Any]) -> Any:
    """Arrays and cells in ASE's way of writing them; nothing else is made of what a file says."""
    if "__ndarray__" in value:
        shape, dtype, numbers = value["__ndarray__"]
        if np.dtype(dtype).kind not in "fiub":
            raise ValueError(f"an array of {dtype}")
        return np.array(numbers, dtype).reshape(shape)
    if value.get("__ase_objtype__") == "cell":
        return value["array"]
    return value


def _number_or_array(value: Any) -> Any:
    return np.asarray(value, np.float64) if isinstance(value, list) else value
