"""ASE databases in LMDB (.aselmdb): what fairchem's sets (OMat24, OC22) are distributed as.

A row is JSON, compressed with zlib, under its number; ``nextid``, ``deleted_ids`` and ``metadata``
stand beside them. Arrays are plain lists, or as ASE writes them: ``{"__ndarray__": [shape, dtype,
values]}``. Older LMDB files of that field hold pickled objects, which are never opened.

LMDB trusts its pages: a damaged one ends the process that follows its pointers (SIGBUS, SIGSEGV).
So another process follows them and sends the rows as they are.
"""

import json
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import numpy as np

from atomprint.structures.reading.labels import id_among, units_described
from atomprint.structures.reading.result import Found, NotCrystals, Record, Refused, one_line

MAX_ROW_BYTES = 256 << 20
"""Of one row, unpacked."""

_MAGIC, _MAGIC_AT = b"\xde\xc0\xef\xbe", 16
_PICKLE = b"\x80"
# What the other process does: a row's number and length and then its bytes, in the order of their
# numbers (keys are in the order of the alphabet), after the metadata, whose number is -1. A length
# below 0 is that of a last word.
_SENDER = """
import os, struct, sys
path = sys.argv[1]
sys.path.append(sys.argv[2])
from itertools import islice
import lmdb
out = sys.stdout.buffer
def end(word):
    out.write(struct.pack("<qq", 0, -len(word.encode())) + word.encode())
    out.flush()
    os._exit(0)
try:
    with lmdb.open(path, subdir=False, readonly=True, lock=False, create=False) as database:
        # Pages that are not there would end the process, not raise.
        needed = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
        size = os.path.getsize(path)
        if size < needed:
            end(f"is cut off: {size:,} of {needed:,} bytes are there")
        with database.begin() as transaction:
            keys = transaction.cursor().iternext(keys=True, values=False)
            # Pages that point in a circle never end; a key takes eight bytes and more.
            found = list(islice(keys, size // 8))
            if len(found) == size // 8:
                end("is a damaged database (its pages point in a circle)")
            metadata = transaction.get(b"metadata") or b""
            out.write(struct.pack("<qq", -1, len(metadata)))
            out.write(metadata)
            for number in sorted(int(key) for key in found if key.isdigit() and len(key) < 19):
                row = transaction.get(b"%d" % number) or b""
                out.write(struct.pack("<qq", number, len(row)))
                out.write(row)
    end("done")
except lmdb.Error as error:
    end("is a damaged database (" + " ".join(str(error).split())[:150] + ")")
"""
_HEAD = struct.Struct("<qq")
_METADATA = -1
_RESULTS = ("energy", "free_energy", "forces", "stress", "magmom", "magmoms", "charges")
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
    units: dict[str, str] = {}
    return Found(_records(path, id_column, Path(lmdb.__file__).parents[1], units), units)


def _records(
    path: Path, id_column: str | None, package: Path, units: dict[str, str]
) -> Iterator[Record | Refused]:
    """Yield the rows; the units are known before the first."""
    with closing(_rows(path, package)) as rows:
        for number, raw in rows:
            if number == _METADATA:
                units.update(_units(raw))
            else:
                yield _record(raw, number, id_column)


def _units(raw: bytes) -> dict[str, str]:
    """Units of labels, where the database describes its keys."""
    try:
        return units_described(json.loads(_unpacked(raw)))
    except (*_BROKEN_ROW, Refused, zlib.error):
        return {}


def _rows(path: Path, package: Path) -> Generator[tuple[int, bytes], None, None]:
    """Yield numbers and rows as they are, in the order of the numbers; the metadata first.

    Parameters
    ----------
    path
        The file.
    package
        The folder that lmdb is in.

    Raises
    ------
    Refused
        If the database is damaged or cut off.
    """
    # Isolated: a module that lies beside the file, or here, is not taken for the package.
    words = [sys.executable, "-I", "-c", _SENDER, str(path.resolve()), str(package)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as sender:
        assert sender.stdout is not None
        try:
            while True:
                number, length = _HEAD.unpack(_exactly(sender.stdout, _HEAD.size))
                if length < 0:
                    word = _exactly(sender.stdout, -length).decode(errors="replace")
                    if word != "done":
                        raise Refused("broken", word)
                    return
                yield number, _exactly(sender.stdout, length)
        except EOFError:
            status = sender.wait()
            how = signal.Signals(-status).name if status < 0 else f"status {status}"
            raise Refused(
                "broken", f"is a damaged database (what read it ended with {how})"
            ) from None
        finally:
            sender.kill()


def _exactly(file: IO[bytes], length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return data


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
