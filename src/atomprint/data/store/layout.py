"""The shard: one file of flat arrays, written whole or not at all, read by mapping it into memory.

Layout, all little-endian::

    0   8 bytes   magic, "atomprnt"
    8   uint32    format number
    12  uint32    CRC-32 of the format number and the header
    16  uint64    length of the header
    24  ...       header: JSON
    then every array of the header, each beginning at a multiple of 64

The header names the arrays with dtype, shape, place and CRC-32, so that a reader needs nothing
else, and nothing in the file is code.
"""

import json
import math
import mmap
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from atomprint.ground.documents import json_of
from atomprint.ground.errors import DataError, UsageError

MAGIC = b"atomprnt"
FORMAT = 1
SUFFIX = ".shard"
_ALIGN = 64
_FIXED = 24
FIRST = 1 << 16
"""Bytes of a shard that are read first; most headers are shorter."""
_MAX_HEADER = 64 << 20
_MAX_DIMENSIONS = 8
_MAX_NUMBERS = 1 << 48
_DTYPES = ("|u1", "<u4", "<u8", "<f4", "<f8")

AnyArray = npt.NDArray[Any]


class DamagedShard(DataError):
    """A shard that is not what was written."""


@dataclass(frozen=True)
class ArrayPlace:
    """Where an array lies in a shard.

    Attributes
    ----------
    dtype
        NumPy's name of it, byte order included.
    shape
        Of the array.
    offset
        Of its first byte in the file.
    crc32
        Of its bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    crc32: int

    @property
    def n_bytes(self) -> int:
        """Bytes of the array."""
        return int(np.dtype(self.dtype).itemsize) * math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a shard says of itself.

    Attributes
    ----------
    arrays
        By name.
    about
        Everything else that was given when it was written; ``n_crystals`` and ``n_atoms`` among it.
    crc32
        Of the header, arrays' checksums included: two shards with the same one hold the same.
    start
        Where the arrays begin in the file.
    """

    arrays: dict[str, ArrayPlace]
    about: dict[str, Any]
    crc32: int
    start: int

    @property
    def n_crystals(self) -> int:
        """Crystals in the shard."""
        return int(self.about["n_crystals"])

    @property
    def n_atoms(self) -> int:
        """Atoms in the shard."""
        return int(self.about["n_atoms"])

    @property
    def n_bytes(self) -> int:
        """Length of the shard."""
        return max((p.offset + p.n_bytes for p in self.arrays.values()), default=self.start)


def write_shard(path: Path, arrays: Mapping[str, AnyArray], about: Mapping[str, Any]) -> Header:
    """Write a shard; at every moment the file is complete or not there.

    Parameters
    ----------
    path
        Where to; an existing file is replaced.
    arrays
        By name.
    about
        Anything that JSON can hold, for the header.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    flat = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    checksums = {name: zlib.crc32(array.data) for name, array in flat.items()}
    # Offsets stand in the header whose length they depend on: counted from the first array on.
    offset = 0
    places: dict[str, dict[str, Any]] = {}
    for name, array in flat.items():
        dtype = array.dtype.newbyteorder("<").str
        if dtype not in _DTYPES:
            raise UsageError(f"{path}: array {name!r} of type {dtype} has no place in a shard")
        places[name] = {
            "dtype": dtype, "shape": list(array.shape), "offset": offset, "crc32": checksums[name]
        }  # fmt: skip
        offset = _aligned(offset + array.nbytes)
    header = json.dumps({"arrays": places, "about": dict(about)}).encode()
    crc32 = _header_crc32(FORMAT, header)
    start = _aligned(_FIXED + len(header))
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.write(MAGIC + np.array([FORMAT, crc32], "<u4").tobytes())
            file.write(np.array([len(header)], "<u8").tobytes() + header)
            # Also where there is no array: a shard of notes alone is as long as its header says.
            file.write(b"\0" * (start - file.tell()))
            for name, array in flat.items():
                file.write(b"\0" * (start + places[name]["offset"] - file.tell()))
                file.write(array.data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or error}); what was committed is kept: "
            "make room, and give the command again"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
    return _parsed(str(path), header, crc32, start)


def read_header(path: Path) -> Header:
    """Read what a shard says of itself, and check that the file is as long as it should be.

    Raises
    ------
    DamagedShard
        If it is no shard, is cut off, or its header was changed.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(FIRST)
            header = header_of(str(path), first, lambda start, stop: file.read(stop - start))
    except OSError as error:
        raise DamagedShard(f"{path}: cannot be read ({error.strerror or error})") from None
    if size < header.n_bytes:
        raise DamagedShard(f"{path}: is cut off, {size:,} of {header.n_bytes:,} bytes are there")
    return header


def header_of(where: str, first: bytes, read: Callable[[int, int], bytes]) -> Header:
    """Header of a shard, wherever it is.

    Parameters
    ----------
    where
        For messages.
    first
        The first bytes of it.
    read
        Gives the bytes from ``len(first)`` to a place, where the header is longer than ``first``.

    Raises
    ------
    DamagedShard
        If it is no shard, or its header was changed or is cut off.
    DataError
        If it has a format of the future.
    """
    if len(first) < _FIXED or first[:8] != MAGIC:
        raise DamagedShard(f"{where}: is no shard of a store (its first bytes are others)")
    number, crc32 = (int(v) for v in np.frombuffer(first[8:16], "<u4"))
    length = int(np.frombuffer(first[16:24], "<u8")[0])
    if length > _MAX_HEADER:
        raise DamagedShard(f"{where}: its header claims to be {length:,} bytes long")
    text = first[_FIXED : _FIXED + length]
    if len(text) < length:
        text += read(len(first), _FIXED + length)
    if len(text) < length or _header_crc32(number, text) != crc32:
        raise DamagedShard(f"{where}: its header was changed or cut off (checksum)")
    if number > FORMAT:
        raise DataError(
            f"{where}: has format {number}, and this atomprint reads up to {FORMAT}; install a "
            "newer one"
        )
    return _parsed(where, text, crc32, _aligned(_FIXED + length))


def map_arrays(path: Path, header: Header) -> dict[str, AnyArray]:
    """Arrays of a shard, mapped into memory: shared by all processes, read when touched."""
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # A plain array on the mapped bytes: slices of np.memmap cost several times as much.
        whole = np.frombuffer(mapped, np.uint8)
    except (OSError, ValueError) as error:
        raise DamagedShard(f"{path}: cannot be mapped ({error})") from None
    return {
        name: whole[p.offset : p.offset + p.n_bytes].view(p.dtype).reshape(p.shape)
        if p.n_bytes
        else np.zeros(p.shape, p.dtype)
        for name, p in header.arrays.items()
    }


class Rows:
    """One array of a shard, read row by row from the file.

    What is mapped stays in a process's memory with all that lies around it; of stores much larger
    than that may be, rows are read instead. Their pages, too, are shared by all processes.

    Parameters
    ----------
    file
        Opened without a buffer; stays open as long as this lives.
    place
        Of the array.
    """

    def __init__(self, file: BinaryIO, place: ArrayPlace) -> None:
        self._file, self._handle = file, file.fileno()
        self._dtype, self._offset = np.dtype(place.dtype), place.offset
        self._n, self._shape = place.shape[0], place.shape[1:]
        self._size = self._dtype.itemsize * math.prod(self._shape)

    def __len__(self) -> int:
        """Number of rows."""
        return self._n

    def __getitem__(self, rows: int | slice) -> AnyArray:
        """One row, or the rows from one to another."""
        if isinstance(rows, slice):
            return self._read(rows.start, rows.stop).reshape(-1, *self._shape)
        # An array without dimensions counts as a number.
        return self._read(rows, rows + 1).reshape(self._shape)

    def _read(self, start: int, stop: int) -> AnyArray:
        data = os.pread(
            self._handle, (stop - start) * self._size, self._offset + start * self._size
        )
        if len(data) != (stop - start) * self._size:
            raise ValueError(f"{len(data)} of {(stop - start) * self._size} bytes are there")
        return np.frombuffer(data, self._dtype)


def open_rows(path: Path, header: Header) -> dict[str, Rows]:
    """Arrays of a shard to be read row by row.

    Raises
    ------
    DamagedShard
        If it cannot be opened.
    """
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise DamagedShard(f"{path}: cannot be opened ({error.strerror or error})") from None
    return {
        name: Rows(cast(BinaryIO, file), place)
        for name, place in header.arrays.items()
        if place.shape
    }


def read_array(path: Path, header: Header, name: str) -> AnyArray:
    """One array of a shard, read into memory of its own.

    For a pass over all shards: pages of mapped files would stay with the process.
    """
    place = header.arrays[name]
    try:
        array = np.fromfile(path, place.dtype, math.prod(place.shape), offset=place.offset)
        return array.reshape(place.shape)
    except (OSError, ValueError) as error:
        raise DamagedShard(f"{path}: cannot be read ({error})") from None


def check_arrays(path: Path, header: Header) -> list[str]:
    """Names of arrays whose bytes are not those that were written."""
    return [
        name
        for name, place in header.arrays.items()
        if zlib.crc32(read_array(path, header, name).data) != place.crc32
    ]


def _header_crc32(number: int, header: bytes) -> int:
    return zlib.crc32(np.array([number], "<u4").tobytes() + header)


def _parsed(where: str, text: bytes, crc32: int, start: int) -> Header:
    try:
        values = json_of(text)
        arrays = {
            str(name): ArrayPlace(
                str(place["dtype"]),
                tuple(int(n) for n in place["shape"]),
                start + int(place["offset"]),
                int(place["crc32"]),
            )
            for name, place in values["arrays"].items()
        }
        header = Header(arrays, dict(values["about"]), crc32, start)
        sound = header.n_crystals >= 0 and header.n_atoms >= 0 and _apart(arrays, start)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        sound = False
    if not sound:
        raise DamagedShard(f"{where}: its header is not one that atomprint writes")
    return header


def _apart(arrays: Mapping[str, ArrayPlace], start: int) -> bool:
    """Whether arrays are of known types, and lie one after the other without overlap."""
    end = start
    for place in sorted(arrays.values(), key=lambda place: place.offset):
        if place.dtype not in _DTYPES or len(place.shape) > _MAX_DIMENSIONS:
            return False
        if min((*place.shape, 0)) < 0 or place.offset < end or place.offset % _ALIGN:
            return False
        # Also of arrays without a single number: NumPy counts their other dimensions.
        if math.prod(max(n, 1) for n in place.shape) > _MAX_NUMBERS:
            return False
        end = place.offset + place.n_bytes
    return True


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGN) * _ALIGN


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system lets a folder be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
