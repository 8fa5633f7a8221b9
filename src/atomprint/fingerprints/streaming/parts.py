"""The folder of unfinished work beside the output: a manifest, and a file for every part done.

Every file is complete or not there: it is written under another name, synced, and renamed. So a
process may be killed at any moment, and the next one goes on.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from atomprint.fingerprints.streaming.job import PartInfo
from atomprint.ground.errors import UsageError

MANIFEST = "manifest.json"
LOCK = "lock"


@contextmanager
def told_of_full_disks(path: Path, temporary: Path) -> Iterator[None]:
    """Remove what was begun, and say what to do, if a file cannot be written.

    Raises
    ------
    UsageError
        If so.
    """
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or error}); what was computed is kept: "
            "make room, and give the same command to go on"
        ) from None


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is complete or not there, even if the machine loses power.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    with told_of_full_disks(path, temporary):
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


class PartFolder:
    """The folder ``OUT.parts``, held by one process at a time.

    Parameters
    ----------
    out
        The output that the parts are for.
    about
        All that decides its rows. Unfinished work of something else is refused.

    Raises
    ------
    UsageError
        If another process holds the folder, it is not one of ours, it holds the unfinished work
        of other settings or inputs, or it cannot be written to.
    """

    def __init__(self, out: Path, about: dict[str, Any]) -> None:
        self.path = out.with_name(out.name + ".parts")
        self.about = json.loads(json.dumps(about))
        strange = self._strange()
        if strange:
            raise UsageError(
                f"{self.path}: holds {strange}, which is no unfinished work; move it away, or give "
                "another --out"
            )
        try:
            self._lock: BinaryIO | None = self._take_lock()
        except OSError as error:
            raise UsageError(
                f"{self.path}: unfinished work cannot be kept there ({error.strerror or error}); "
                "choose another --out"
            ) from None
        try:
            known = self._read_manifest()
            if known is not None and known["about"] != self.about:
                raise UsageError(
                    f"{self.path}: holds unfinished work of {_difference(known['about'], about)}; "
                    "give the same again to go on, or remove the folder to start anew"
                )
        except BaseException:
            self.close()
            raise
        self.summary: dict[str, Any] | None = None if known is None else known["summary"]
        if known is None:
            self._write_manifest(None)

    def _strange(self) -> str:
        if not self.path.exists():
            return ""
        if not self.path.is_dir():
            return "a file"
        names = [path.name for path in self.path.iterdir()]
        ours = [n for n in names if n in (LOCK, MANIFEST) or n.endswith((".parquet", ".tmp"))]
        others = sorted(set(names) - set(ours))
        return f"{others[0]!r}" if others else ""

    def _take_lock(self) -> BinaryIO:
        """Make the folder, and hold it until this process ends, however it ends."""
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                file = self._locked()
                # Whoever held it may have removed the folder since this file was opened; then
                # this is the lock of nothing.
                if os.path.samestat(os.fstat(file.fileno()), (self.path / LOCK).stat()):
                    return file

    def _locked(self) -> BinaryIO:
        file = (self.path / LOCK).open("wb")
        try:
            import fcntl
        except ImportError:  # no such locks on Windows: two commands at once must be avoided there
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise UsageError(f"{self.path}: another process works there; wait for it") from None
        return file

    def _read_manifest(self) -> dict[str, Any] | None:
        try:
            known: dict[str, Any] = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return known

    def _write_manifest(self, summary: dict[str, Any] | None) -> None:
        text = json.dumps({"about": self.about, "summary": summary}, indent=1)
        write_atomically(self.path / MANIFEST, text.encode())

    def file(self, index: int) -> Path:
        """Where a part is."""
        return self.path / f"part-{index:07d}.parquet"

    def info(self, index: int) -> PartInfo | None:
        """What a part holds; None if it is not done."""
        try:
            metadata = pq.read_schema(self.file(index)).metadata
            return PartInfo.from_json(metadata[b"atomprint_part"])
        except (FileNotFoundError, pa.ArrowException, KeyError, ValueError, TypeError):
            return None

    def done(self) -> Iterator[PartInfo]:
        """Parts from the first one on without a gap."""
        index = 0
        while (info := self.info(index)) is not None:
            yield info
            index += 1

    def ids(self, index: int) -> set[str]:
        """Ids of the crystals of a part."""
        column = pq.read_table(self.file(index), columns=["id"]).column("id")
        return set(column.unique().to_pylist())

    def add(self, index: int, data: bytes) -> None:
        """Commit a part."""
        write_atomically(self.file(index), data)

    def finish(self, summary: dict[str, Any]) -> None:
        """Note that the output is in its place; parts are no longer needed."""
        self._write_manifest(summary)

    def remove(self) -> None:
        """Remove the folder; the manifest goes last, so that a kill here loses nothing."""
        for path in self.path.glob("part-*"):
            path.unlink(missing_ok=True)
        (self.path / MANIFEST).unlink(missing_ok=True)
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            with suppress(OSError):
                self._lock.close()
            self._lock = None


def _difference(known: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Name the first thing in which two jobs differ."""
    names = {"inputs": "other inputs (or they have changed)", "version": "another version"}
    for name in wanted:
        if json.dumps(known.get(name)) != json.dumps(wanted[name]):
            return names.get(name, f"other settings ({name})")
    return "another kind"
