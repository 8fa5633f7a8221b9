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
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.ground.documents import json_of
from atomprint.ground.errors import DataError, UsageError

MAGIC = b"atomprnt"
FORMAT = 1
SUFFIX = ".shard"
_ALIGN = 64
_FIXED = 24
_MAX_HEADER = 64 << 20
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
    """

    arrays: dict[str, ArrayPlace]
    about: dict[str, Any]
    crc32: int

    @property
    def n_crystals(self) -> int:
        """Crystals in the shard."""
        return int(self.about["n_crystals"])

    @property
    def n_atoms(self) -> int:
        """Atoms in the shard."""
        return int(self.about["n_atoms"])


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
            for name, array in flat.items():
                file.write(b"\0" * (start + places[name]["offset"] - file.tell()))
                file.write(array.data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return _parsed(path, header, crc32, start)


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
            fixed = file.read(_FIXED)
            if len(fixed) < _FIXED or fixed[:8] != MAGIC:
                raise DamagedShard(f"{path}: is no shard of a store (its first bytes are others)")
            number, crc32 = (int(v) for v in np.frombuffer(fixed[8:16], "<u4"))
            length = int(np.frombuffer(fixed[16:24], "<u8")[0])
            if length > min(size, _MAX_HEADER):
                raise DamagedShard(f"{path}: is cut off within its header ({size:,} bytes)")
            text = file.read(length)
    except OSError as error:
        raise DamagedShard(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(text) < length or _header_crc32(number, text) != crc32:
        raise DamagedShard(f"{path}: its header was changed or cut off (checksum)")
    if number > FORMAT:
        raise DataError(
            f"{path}: has format {number}, and this atomprint reads up to {FORMAT}; install a "
            "newer one"
        )
    header = _parsed(path, text, crc32, _aligned(_FIXED + length))
    end = max((p.offset + p.n_bytes for p in header.arrays.values()), default=0)
    if size < end:
        raise DamagedShard(f"{path}: is cut off, {size:,} of {end:,} bytes are there")
    return header


def map_arrays(path: Path, header: Header) -> dict[str, AnyArray]:
    """Arrays of a shard, mapped into memory: shared by all processes, read when touched."""
    try:
        # A plain array on the mapped bytes: slices of np.memmap cost several times as much.
        whole = np.asarray(np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError) as error:
        raise DamagedShard(f"{path}: cannot be mapped ({error})") from None
    return {
        name: whole[p.offset : p.offset + p.n_bytes].view(p.dtype).reshape(p.shape)
        if p.n_bytes
        else np.zeros(p.shape, p.dtype)
        for name, p in header.arrays.items()
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


def _parsed(path: Path, text: bytes, crc32: int, start: int) -> Header:
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
        header = Header(arrays, dict(values["about"]), crc32)
        sound = header.n_crystals >= 0 and header.n_atoms >= 0
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound or any(
        p.dtype not in _DTYPES or min((*p.shape, p.offset, 0)) < 0 for p in arrays.values()
    ):
        raise DamagedShard(f"{path}: its header is not one that atomprint writes")
    return header


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
