"""Stores that lie elsewhere: object stores and web servers, read through fsspec.

Opening reads ``store.json`` and the shards' headers. A shard is fetched as a whole when the first
of its crystals is asked for, checked against its checksums, and kept in a cache of bounded size.
"""

import hashlib
import os
import re
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from atomprint.data.store.cache import ShardCache, not_as_it_should
from atomprint.data.store.layout import (
    FIRST,
    SUFFIX,
    AnyArray,
    DamagedShard,
    Header,
    header_of,
)
from atomprint.ground.errors import AtomprintError, DataError, UsageError

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before another attempt at what failed."""
TIMEOUT = 30.0
"""Seconds without a byte after which an HTTP connection counts as broken."""
_BLOCK = 8 << 20
_AT_ONCE = 16
_NEEDS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub", "az": "adlfs"}
_WITHOUT_KEYS = {"s3": "FSSPEC_S3_ANON=true", "gs": "FSSPEC_GS_TOKEN=anon"}
_FINAL = (401, 403, 404, 410, 416)
# Errors of botocore and google.auth that say that there are no keys, or none that can be used.
_NO_KEYS = re.compile("Credential|ProfileNotFound|TokenRetrieval|SSO|RefreshError")
T = TypeVar("T")


class _WholeFile(Exception):
    """The server sent everything where a part was asked for."""


class RemoteFolder:
    """Files under an address, read in parts, with patience.

    Parameters
    ----------
    url
        Of the folder: ``s3://...``, ``gs://...``, ``https://...``, ``hf://...``.

    Raises
    ------
    UsageError
        If fsspec, or what it needs for this kind of address, is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs: Any = None
        self._pid = 0
        self._open()

    def _open(self) -> Any:
        """The file system, another one in every process: its threads do not survive a fork."""
        if self._pid != os.getpid():
            self._fs, self._root = _file_system(self.url)
            self._pid = os.getpid()
        return self._fs

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes of a file: a part of it, or, without ``stop``, all.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        DataError
            If it could not be read, however often it was tried.
        """
        place = f"{self._root}/{name}"

        def attempt() -> bytes:
            parts = {} if stop is None else {"start": start, "end": stop}
            data: bytes = self._open().cat_file(place, **parts)
            if stop is not None and len(data) > stop - start:
                raise _WholeFile
            return data

        try:
            return self._patiently(name, attempt)
        except _WholeFile:
            raise DataError(
                f"{self.url}/{name}: the server does not send parts of files (range requests), "
                "which stores elsewhere need; use another server, or copy the store to this machine"
            ) from None

    def size(self, name: str) -> int | None:
        """Length of a file, where the server says it."""
        place = f"{self._root}/{name}"
        found = self._patiently(name, lambda: self._open().size(place))
        return None if found is None else int(found)

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, in order; none where that cannot be listed."""
        place = f"{self._root}/{folder}"
        try:
            found = self._patiently(folder, lambda: self._open().ls(place, detail=False))
        except (FileNotFoundError, NotImplementedError):
            return []
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def _patiently(self, name: str, attempt: Callable[[], T]) -> T:
        """Try again what the network, not the file, is to blame for."""
        for wait in (*WAITS, None):
            try:
                return attempt()
            except (FileNotFoundError, NotImplementedError, _WholeFile, AtomprintError):
                raise
            except Exception as error:
                # Every file system has errors of its own; no base class is shared.
                status = getattr(error, "status", None)
                final = status in _FINAL or isinstance(error, PermissionError) or _no_keys(error)
                if wait is not None and not final:
                    time.sleep(wait)
                    continue
                raise self._given_up(name, error, status, final) from None
        raise AssertionError("unreachable")

    def _given_up(self, name: str, error: Exception, status: int | None, final: bool) -> DataError:
        text = " ".join(str(error).split())[:150].rstrip(".") or type(error).__name__
        kind = self.url.partition("://")[0]
        if _no_keys(error):
            return DataError(
                f"{self.url}/{name}: no keys that can be used ({text}); put them where "
                f"{_NEEDS.get(kind, 'fsspec')} looks for them, or read a public store without: "
                f"{_WITHOUT_KEYS.get(kind, 'see fsspec')}"
            )
        if isinstance(error, PermissionError) or status in (401, 403):
            return DataError(
                f"{self.url}/{name}: the server does not let you read it; use keys that it knows "
                "and that may"
            )
        tried = "" if final else f"after {len(WAITS) + 1} attempts "
        return DataError(
            f"{self.url}/{name}: cannot be read {tried}({text}); check the network, or copy the "
            "store to this machine"
        )


def _no_keys(error: Exception) -> bool:
    return _NO_KEYS.search(type(error).__name__) is not None


def _file_system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError:
        raise UsageError(
            f"{url}: stores elsewhere need fsspec; install it with: pip install 'atomprint[remote]'"
        ) from None
    kind = url.partition("://")[0]
    options: dict[str, Any] = {}
    try:
        if kind in ("http", "https"):
            from aiohttp import ClientTimeout

            wait = ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT)
            options["client_kwargs"] = {"timeout": wait}
        files, root = url_to_fs(url, **options)
    except ImportError:
        needed = _NEEDS.get(kind, "a package of fsspec's")
        raise UsageError(
            f"{url}: {kind}:// needs {needed}; install it with: pip install 'atomprint[remote]' "
            f"{_NEEDS.get(kind, '')}".rstrip()
        ) from None
    except ValueError:
        raise UsageError(
            f"{url}: {kind}:// is no kind of address that fsspec knows; give s3://, gs://, "
            "https:// or hf://, or a folder"
        ) from None
    return files, str(root).rstrip("/")


class RemoteShards:
    """Shards of a store that lies elsewhere.

    Parameters
    ----------
    url
        Of the store.
    cache
        Where shards are kept.
    """

    def __init__(self, url: str, cache: ShardCache | None = None) -> None:
        self.folder = RemoteFolder(url)
        self.url = self.folder.url
        self.cache = cache or ShardCache()

    def description(self) -> bytes | None:
        """What ``store.json`` holds, or None where there is none."""
        try:
            return self.folder.read("store.json")
        except FileNotFoundError:
            return None

    def names(self, stated: Sequence[str]) -> list[str]:
        """Names of the shards: as listed, or, of web servers, as the store states them."""
        is_web = self.url.startswith(("http://", "https://"))
        if is_web and stated:
            return list(stated)
        found = [name for name in self.folder.names("shards") if name.endswith(SUFFIX)]
        return found or list(stated)

    def headers(self, names: Sequence[str]) -> list[Header]:
        """Headers of shards, several read at a time.

        Raises
        ------
        DamagedShard
            If one is no shard, is missing or is cut off.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self._header, names))

    def _header(self, name: str) -> Header:
        place = f"shards/{name}"
        where = f"{self.url}/{place}"
        try:
            size = self.folder.size(place)
            first = self.folder.read(place, 0, FIRST if size is None else min(FIRST, size))
            header = header_of(
                where, first, lambda start, stop: self.folder.read(place, start, stop)
            )
        except FileNotFoundError:
            raise DamagedShard(f"{where}: is not there, though the store names it") from None
        if size is not None and size < header.n_bytes:
            raise DamagedShard(
                f"{where}: is cut off, {size:,} of {header.n_bytes:,} bytes are there"
            )
        return header

    def fetch(self, name: str, header: Header) -> Path:
        """File of a shard in the cache; fetched and checked if it is not there.

        Raises
        ------
        DamagedShard
            If what arrives is not what was written.
        DataError
            If it does not arrive.
        """
        address = hashlib.sha256(f"{self.url}/{name}".encode()).hexdigest()[:16]

        def fill(file: BinaryIO, there: int) -> None:
            try:
                for start in range(there, header.n_bytes, _BLOCK):
                    stop = min(start + _BLOCK, header.n_bytes)
                    self._append(file, name, start, stop)
            except FileNotFoundError:
                raise DamagedShard(f"{self.url}/shards/{name}: is no longer there") from None
            self._check(file, name, header)

        return self.cache.get(f"{address}-{header.crc32:08x}", header.n_bytes, fill)

    def _append(self, file: BinaryIO, name: str, start: int, stop: int) -> None:
        data = self.folder.read(f"shards/{name}", start, stop)
        if len(data) != stop - start:
            raise not_as_it_should(
                DamagedShard(
                    f"{self.url}/shards/{name}: {len(data):,} of {stop - start:,} bytes came from "
                    f"byte {start:,} on; the file was changed or is cut off"
                )
            )
        file.write(data)

    def _check(self, file: BinaryIO, name: str, header: Header) -> None:
        file.flush()
        with open(file.name, "rb") as whole:  # noqa: PTH123 (of an open file only the name is known)
            broken = [
                array
                for array, place in header.arrays.items()
                if _crc32(whole, place.offset, place.n_bytes) != place.crc32
            ]
        if broken:
            raise not_as_it_should(
                DamagedShard(
                    f"{self.url}/shards/{name}: bytes were changed in: {', '.join(broken)}; copy "
                    "the shard anew to where it lies"
                )
            )

    def array(self, name: str, header: Header, array: str) -> AnyArray:
        """One array of a shard, without the rest of it.

        Raises
        ------
        DamagedShard
            If its bytes are not those that were written.
        """
        place = header.arrays[array]
        stop = place.offset + place.n_bytes
        data = self.folder.read(f"shards/{name}", place.offset, stop) if place.n_bytes else b""
        if zlib.crc32(data) != place.crc32:
            raise DamagedShard(f"{self.url}/shards/{name}: bytes were changed in: {array}")
        return np.frombuffer(data, place.dtype).reshape(place.shape)


def _crc32(file: BinaryIO, start: int, n_bytes: int) -> int:
    file.seek(start)
    found = 0
    while n_bytes:
        data = file.read(min(n_bytes, _BLOCK))
        if not data:
            return -1
        found = zlib.crc32(data, found)
        n_bytes -= len(data)
    return found


def is_remote(path: object) -> bool:
    """Whether a path is an address somewhere else."""
    return isinstance(path, str) and "://" in path
