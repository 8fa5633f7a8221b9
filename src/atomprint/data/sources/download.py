"""Getting a published file: resumed where it broke off, checked, in place only when complete."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import filelock

from atomprint.data.sources.web import MOST_WAITING, asked_to_wait, reason_of
from atomprint.ground.errors import DataError, UsageError

Progress = Callable[[int, int], None]

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""

WAITS = (1.0, 4.0, 16.0)
"""Seconds before another attempt; a broken connection is tried again as many times in a row."""

_CHUNK = 1 << 18
_BROKEN = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class RemoteFile:
    """A file that somebody publishes.

    Attributes
    ----------
    url
        Where it is.
    checksum
        ``sha256:...`` or ``md5:...``, as published; empty where there is none.
    """

    url: str
    checksum: str = ""


class _Refused(Exception):
    """The server will not give the file, however often it is asked."""


def download(
    remote: RemoteFile,
    path: Path,
    progress: Progress | None = None,
    *,
    timeout: float = TIMEOUT,
    waits: Sequence[float] = WAITS,
) -> Path:
    """Download a file, unless it is there; what is there of it already is kept.

    While it grows it is called ``NAME.part``; it takes its name when it is complete and has the
    published checksum. Two processes do not get in each other's way.

    Parameters
    ----------
    remote
        What to get.
    path
        Where to; folders are made if need be.
    progress
        Called as ``progress(bytes_done, bytes_in_all)``; 0 in all where the server does not say.
    timeout, waits
        See :data:`TIMEOUT` and :data:`WAITS`.

    Raises
    ------
    UsageError
        If the folder cannot be written to.
    DataError
        If the server does not have or give the file, the connection broke too often, or the file
        is not the one that it should be.
    """
    if is_published(path, remote):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_name(path.name + ".lock"))
        lock.acquire()
    except OSError as error:
        raise UsageError(
            f"{path.parent}: cannot be written to ({error.strerror}); name another folder"
        ) from None
    try:
        # Another process may have had the lock until now, and be done.
        if not is_published(path, remote):
            _fetch(remote, path, progress, timeout, waits)
    finally:
        lock.release()
    return path


def size_of(url: str, timeout: float = TIMEOUT) -> int | None:
    """Ask the server how many bytes a download would bring; None where it does not say.

    Raises
    ------
    DataError
        If the server cannot be reached or does not have the file.
    """
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            length = answer.headers.get("Content-Length", "")
    except _BROKEN as error:
        raise DataError(f"{url}: {reason_of(error)}") from None
    return int(length) if length.isdigit() else None


def is_published(path: Path, remote: RemoteFile) -> bool:
    """Whether a file is there and has the published checksum, if there is one.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    if not path.is_file():
        return False
    kind, _, wanted = remote.checksum.partition(":")
    return not wanted or _digest(path, kind) == wanted


def _digest(path: Path, kind: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, kind).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _fetch(
    remote: RemoteFile,
    path: Path,
    progress: Progress | None,
    timeout: float,
    waits: Sequence[float],
) -> None:
    """Fill ``.part`` in as many attempts as it takes while it grows, check it, rename it."""
    part = path.with_name(path.name + ".part")
    resumed = part.is_file() and part.stat().st_size > 0
    failures = 0
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            complete = _attempt(remote.url, part, progress, timeout)
        except _Refused as refusal:
            raise DataError(f"{remote.url}: {refusal}; {_by_hand(remote, path)}") from None
        except _BROKEN as error:
            complete, reason, asked = False, reason_of(error), asked_to_wait(error)
        else:
            reason, asked = "the connection broke off", None
        if complete:
            if is_published(part, remote):
                part.replace(path)
                return
            part.unlink()
            if not resumed:
                raise DataError(
                    f"{remote.url}: what came is not the file that it should be ("
                    f"{_named(remote)} is expected); it was removed. {_by_hand(remote, path)}"
                )
            # The beginning was from an earlier day, and perhaps of another file: from the start.
            resumed = False
            continue
        now = part.stat().st_size if part.is_file() else 0
        failures = 0 if now > before else failures + 1
        if failures > len(waits):
            raise DataError(
                f"{remote.url}: {reason}, after {now / 1e6:.1f} MB; run it again to go on from "
                f"there, or {_by_hand(remote, path)}"
            )
        pause = waits[max(failures - 1, 0)] if waits else 0.0
        if asked is not None and asked > MOST_WAITING:
            raise DataError(
                f"{remote.url}: the server asks to wait {asked / 60:,.0f} minutes; run it again "
                "then, to go on from there"
            )
        time.sleep(max(pause, asked or 0.0))


def _attempt(url: str, part: Path, progress: Progress | None, timeout: float) -> bool:
    """Ask for what is missing and append it; whether the file is complete now."""
    have = part.stat().st_size if part.is_file() else 0
    # Without compression on the way, bytes are counted as they stand in the file.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        answer = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=timeout
        )
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing, or the file there is shorter than ours
            if _total(error.headers.get("Content-Range", "")) == have:
                return True
            part.unlink()
            return False
        if error.code < 500 and error.code not in (408, 429):
            raise _Refused(f"the server answers {error.code} ({error.reason})") from None
        raise
    with answer:
        total, begin = _extent(answer, have)
        done = begin
        with _opened(part, begin) as file:
            while piece := answer.read(_CHUNK):
                _write(file, piece, part)
                done += len(piece)
                if progress is not None:
                    progress(done, total or 0)
    # Without a stated length, the end of the connection is the end of the file.
    return total is None or done >= total


def _opened(part: Path, begin: int) -> BinaryIO:
    """The file, to be written from a byte on; a server without ranges sends it from the first."""
    try:
        file = part.open("r+b" if part.is_file() else "wb")
        file.seek(begin)
        file.truncate()
    except OSError as error:
        raise UsageError(f"{part}: cannot be written ({error.strerror})") from None
    return file


def _write(file: BinaryIO, piece: bytes, part: Path) -> None:
    """Write, and tell a full disk from a broken connection."""
    try:
        file.write(piece)
    except OSError as error:
        raise UsageError(f"{part}: cannot be written ({error.strerror})") from None


def _extent(answer: Any, have: int) -> tuple[int | None, int]:
    """Bytes in all, if the server says, and where this answer begins."""
    if answer.status == 206:
        stated = answer.headers.get("Content-Range", "")
        if not stated.startswith(f"bytes {have}-"):
            raise http.client.HTTPException(f"asked from byte {have} on, got {stated!r}")
        return _total(stated), have
    length = answer.headers.get("Content-Length", "")
    return (int(length) if length.isdigit() else None), 0


def _total(content_range: str) -> int | None:
    number = content_range.rpartition("/")[2]
    return int(number) if number.isdigit() else None


def _named(remote: RemoteFile) -> str:
    kind, _, wanted = remote.checksum.partition(":")
    return f"{'SHA-256' if kind == 'sha256' else kind.upper()} {wanted}"


def _by_hand(remote: RemoteFile, path: Path) -> str:
    return f"get {remote.url} in another way and put it there as {path}"
