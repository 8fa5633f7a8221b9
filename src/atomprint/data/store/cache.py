"""Shards from elsewhere, kept on this machine's disk within a stated size.

All processes of a user share the folder: a shard is fetched once, by one of them, while the others
wait; it takes its name when it is complete. The shards used longest ago make room.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import platformdirs
from filelock import FileLock, Timeout

from atomprint.ground.errors import UsageError

FOLDER_VARIABLE = "ATOMPRINT_STORE_CACHE"
"""Names the folder; otherwise it is in the user's cache."""
SIZE_VARIABLE = "ATOMPRINT_STORE_CACHE_GIB"
"""Says how large it may become."""
DEFAULT_GIB = 20.0

_SUFFIX, _PART, _LOCK = ".shard", ".part", ".lock"


class ShardCache:
    """A folder of files that never holds more than it may.

    Parameters
    ----------
    folder
        Where; None: what :data:`FOLDER_VARIABLE` says, else the user's cache.
    max_bytes
        At most so many bytes; None: what :data:`SIZE_VARIABLE` says, else 20 GiB.

    Raises
    ------
    UsageError
        If the size in the environment is no number above 0.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int | None = None) -> None:
        named = os.environ.get(FOLDER_VARIABLE, "").strip()
        usual = platformdirs.user_cache_path("atomprint", appauthor=False) / "stores"
        self.folder = folder or (Path(named).expanduser() if named else usual)
        self.max_bytes = _max_bytes() if max_bytes is None else max_bytes

    def get(self, key: str, n_bytes: int, fill: Callable[[BinaryIO, int], None]) -> Path:
        """Path of a file, fetched if it is not there.

        Parameters
        ----------
        key
            Its name; the same key is always the same content.
        n_bytes
            Its length.
        fill
            Called as ``fill(file, n_there)`` to append what is missing after ``n_there`` bytes,
            and to raise if the whole is not what it should be; then nothing of it is kept.

        Raises
        ------
        UsageError
            If it has no place in the cache, or the folder cannot be written.
        """
        path = self.folder / (key + _SUFFIX)
        if self._touch(path):
            return path
        if n_bytes > self.max_bytes:
            raise UsageError(
                f"{self.folder}: a shard of {n_bytes / 2**30:.3g} GiB has no place in a cache of "
                f"{self.max_bytes / 2**30:.3g} GiB; set {SIZE_VARIABLE} to more"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / (key + _LOCK)):
                if not self._touch(path):
                    self._fetch(path, n_bytes, fill)
        except OSError as error:
            raise UsageError(
                f"{self.folder}: the cache cannot be written ({error.strerror or error}); name "
                f"another folder in {FOLDER_VARIABLE}"
            ) from None
        return path

    def _touch(self, path: Path) -> bool:
        """Note that a file is used now; whether it is there."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def _fetch(self, path: Path, n_bytes: int, fill: Callable[[BinaryIO, int], None]) -> None:
        partial = path.with_suffix(_PART)
        there = partial.stat().st_size if partial.is_file() else 0
        # What a killed process left is gone on with, and begun anew if that comes to nothing.
        for begin in [there, 0] if 0 < there < n_bytes else [0]:
            self._make_room(n_bytes, partial)
            try:
                with partial.open("r+b" if begin else "wb") as file:
                    file.seek(begin)
                    fill(file, begin)
                    file.flush()
                    os.fsync(file.fileno())
            except _Broken as broken:
                partial.unlink(missing_ok=True)
                if not begin:
                    raise broken.error from None
            else:
                partial.replace(path)
                return

    def _make_room(self, n_bytes: int, growing: Path) -> None:
        """Remove what was used longest ago until so many bytes fit."""
        with FileLock(self.folder / ("room" + _LOCK)):
            found: list[tuple[float, int, Path]] = []
            total = n_bytes
            for file in self.folder.iterdir():
                if file.suffix in (_SUFFIX, _PART) and file != growing:
                    with suppress(FileNotFoundError):
                        status = file.stat()
                        total += status.st_size
                        found.append((status.st_mtime, status.st_size, file))
            for _, size, file in sorted(found):
                if total <= self.max_bytes:
                    return
                if self._remove(file):
                    total -= size

    def _remove(self, file: Path) -> bool:
        """Remove a file, unless a process is fetching it; whether it is gone."""
        lock = FileLock(file.with_suffix(_LOCK))
        try:
            with lock.acquire(timeout=0):
                # A mapped file stays readable for those who have mapped it (not on Windows, where
                # it stays).
                file.unlink(missing_ok=True)
        except (Timeout, OSError):
            return False
        return True


class _Broken(Exception):
    """What was fetched is not what it should be."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def not_as_it_should(error: Exception) -> Exception:
    """Wrap an error of ``fill`` after which nothing of the file is kept."""
    return _Broken(error)


def _max_bytes() -> int:
    text = os.environ.get(SIZE_VARIABLE, "").strip()
    try:
        gib = float(text) if text else DEFAULT_GIB
        if not 0 < gib < 1e9:
            raise ValueError
    except ValueError:
        raise UsageError(f"{SIZE_VARIABLE}={text!r} is no number of GiB above 0") from None
    return int(gib * 2**30)
