"""Finding what to read: files, folders, patterns and archives, opened in memory and bounded."""

import bz2
import difflib
import glob
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

from atomprint.ground.errors import UsageError
from atomprint.structures.reading.result import Problem, Refused, in_utf8

PathInput = str | PathLike[str]

MAX_FILE_BYTES = 1 << 30  # of one unpacked file that is read as a whole
MAX_ARCHIVE_BYTES = 8 << 30  # of everything in one archive, unpacked
MAX_MEMBERS = 2_000_000  # of one archive

_SUFFIXES = {
    ".cif": "cif",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".contcar": "poscar",
    ".db": "ase",
    ".lmdb": "lmdb",
    ".aselmdb": "lmdb",
    ".mdb": "lmdb",
    ".arrow": "arrow",
    ".atp": "atompack",
}
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_COMPRESSED: dict[str, Callable[[BinaryIO], BinaryIO]] = {
    ".gz": lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file)),
    ".bz2": lambda file: cast(BinaryIO, bz2.BZ2File(file)),
    ".xz": lambda file: cast(BinaryIO, lzma.LZMAFile(file)),  # noqa: SIM115
}
# What opening and decompressing broken files raises; names of members may be no text.
BROKEN_FILE = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError,
    UnicodeDecodeError,
)  # fmt: skip
_TABLES = (".csv", ".tsv")  # read as crystals only where named: others in a folder are labels
KNOWN = (
    "CIF, POSCAR, extended XYZ, pymatgen JSON, ASE db or LMDB, Parquet, Arrow, atompack, .tar and "
    ".zip archives of them, or a CSV with a column of structures"
)


@dataclass
class Entry:
    """One file to read, on disk or in an archive.

    Attributes
    ----------
    name
        As shown to the user; archives end in a slash and the member's name.
    format
        Which reader takes it.
    by_name
        Whether the user named this very file (then it must hold crystals).
    path
        Where it is on disk; None for members of archives.
    """

    name: str
    format: str
    by_name: bool
    path: Path | None
    opener: Callable[[], BinaryIO]

    def __post_init__(self) -> None:
        # A name in another encoding is opened by its path, and told, and made an id of, in UTF-8.
        self.name = in_utf8(self.name)

    @cached_property
    def basename(self) -> str:
        """The file's own name, compression suffix removed."""
        return _uncompressed(_basename(self.name))

    @cached_property
    def stem(self) -> str:
        """The name that ids are made of: without folder and suffix; a bare POSCAR's folder."""
        name = self.basename
        if name.upper() in ("POSCAR", "CONTCAR"):
            return _basename(self.name[: -len(_basename(self.name)) - 1]) or name
        for prefix in ("POSCAR", "CONTCAR"):
            if name.upper().startswith(prefix) and len(name) > len(prefix) + 1:
                name = name[len(prefix) :].lstrip("._-") or name
        start, dot, suffix = name.rpartition(".")
        return start if start and dot + suffix.lower() in (*_SUFFIXES, *_TABLES) else name

    def open(self) -> BinaryIO:
        """Open for reading, decompressed."""
        file = self.opener()
        suffix = _suffix(self.name)
        return _COMPRESSED[suffix](file) if suffix in _COMPRESSED else file

    def read(self) -> bytes:
        """Read everything, up to `MAX_FILE_BYTES`."""
        with self.open() as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise Refused("size", f"is larger than {MAX_FILE_BYTES / 2**20:,.0f} MiB unpacked")
        return data


@dataclass
class Inventory:
    """Everything found under the paths asked for."""

    entries: list[Entry] = field(default_factory=list)
    tables: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)

    def pass_over(self, name: str) -> None:
        """Count a file of another type."""
        suffix = _suffix(name) or _basename(name)
        self.passed_over[suffix] = self.passed_over.get(suffix, 0) + 1


def format_of(name: str) -> str | None:
    """Tell the format by the file's name; ``archive`` and ``table`` included, None if unknown."""
    lower = _basename(name).lower()
    if lower.endswith(_ARCHIVES):
        return "archive"
    lower = _uncompressed(lower)
    if lower == "id_prop.csv":
        return "table"
    if lower.startswith(("poscar", "contcar")) and not lower.endswith((".py", ".txt", ".md")):
        return "poscar"
    return _SUFFIXES.get(_suffix(lower))


def find_files(paths: PathInput | Sequence[PathInput], stack: ExitStack) -> Inventory:
    """List every file to read under some paths.

    Parameters
    ----------
    paths
        A file, folder, pattern or archive, or several.
    stack
        Keeps archives open until reading is done.

    Raises
    ------
    UsageError
        If a path is not there, is of an unknown type, or a pattern matches nothing.
    """
    given = [paths] if isinstance(paths, str | PathLike) else list(paths)
    if not given:
        raise UsageError("nothing to read: the list of paths is empty")
    inventory = Inventory()
    for one in given:
        for path, by_name in _matches(one):
            if path.is_dir():
                _add_folder(path, inventory, stack)
            elif not path.is_file():
                raise UsageError(f"{str(path)!r} is neither a file nor a folder")
            else:
                _add_file(path, by_name, inventory, stack)
    if not inventory.entries and not inventory.problems:
        where = ", ".join(str(one) for one in given)
        others = sum(inventory.passed_over.values())
        found = f"only {others} files of other types" if others else "no files"
        raise UsageError(f"{where}: {found} there; give {KNOWN}")
    return inventory


def _matches(given: PathInput) -> list[tuple[Path, bool]]:
    path = Path(given).expanduser()
    try:
        if path.exists():
            return [(path, True)]
        found = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute patterns)
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(given)!r} cannot be opened: {error}") from None
    if found:
        return [(Path(name), False) for name in found]
    if glob.has_magic(str(path)):
        raise UsageError(f"no file matches the pattern {str(given)!r}")
    names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    hint = f"; did you mean {str(path.parent / close[0])!r}?" if close else ""
    raise UsageError(f"{str(given)!r} does not exist{hint}")


def _add_folder(folder: Path, inventory: Inventory, stack: ExitStack) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _hidden(path.relative_to(folder).as_posix()):
            _add_file(path, False, inventory, stack)


def _add_file(path: Path, by_name: bool, inventory: Inventory, stack: ExitStack) -> None:
    kind = format_of(path.name)
    if kind == "archive":
        _add_archive(path, inventory, stack)
        return
    if kind is None and by_name and _suffix(_uncompressed(path.name)) in _TABLES:
        kind = "csv"
    entry = Entry(str(path), kind or "", by_name, path, lambda: path.open("rb"))
    if kind == "table":
        inventory.tables.append(entry)
    elif kind is not None:
        inventory.entries.append(entry)
    elif by_name:
        raise UsageError(f"{str(path)!r} is of no known type; give {KNOWN}")
    else:
        inventory.pass_over(path.name)


def _add_archive(path: Path, inventory: Inventory, stack: ExitStack) -> None:
    n_before = len(inventory.entries)
    try:
        members = _zip_members if path.name.lower().endswith(".zip") else _tar_members
        for name, opener in members(path, stack):
            if _hidden(name):
                continue
            kind = format_of(name)
            entry = Entry(f"{path}/{name}", kind or "", False, None, opener)
            if kind == "archive":
                inventory.problems.append(
                    Problem(entry.name, "", "is an archive inside an archive; unpack it", "broken")
                )
            elif kind == "table":
                inventory.tables.append(entry)
            elif kind is None:
                inventory.pass_over(name)
            else:
                inventory.entries.append(entry)
    except Refused as refusal:
        del inventory.entries[n_before:]
        inventory.problems.append(Problem(str(path), "", refusal.reason, refusal.kind))
    # IndexError: a member of a zip without a name.
    except (*BROKEN_FILE, ValueError, RuntimeError, IndexError) as error:
        inventory.problems.append(
            Problem(
                str(path), "", f"is a damaged archive ({error or type(error).__name__})", "broken"
            )
        )


def _zip_members(path: Path, stack: ExitStack) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    archive = stack.enter_context(zipfile.ZipFile(path))
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MAX_MEMBERS:
        raise Refused("size", f"has {len(members):,} members, more than {MAX_MEMBERS:,}")
    if (total := sum(member.file_size for member in members)) > MAX_ARCHIVE_BYTES:
        raise Refused("size", f"would unpack to {total / 2**30:,.1f} GiB; split it")
    for member in members:

        def opener(member: zipfile.ZipInfo = member) -> BinaryIO:
            return cast(BinaryIO, archive.open(member))

        yield member.filename, opener


def _tar_members(path: Path, stack: ExitStack) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    file: BinaryIO = stack.enter_context(path.open("rb"))
    magic = file.read(6)
    file.seek(0)
    for start, suffix in ((b"\x1f\x8b", ".gz"), (b"BZh", ".bz2"), (b"\xfd7zXZ\x00", ".xz")):
        if magic.startswith(start):
            file = stack.enter_context(_COMPRESSED[suffix](file))
    bounded = _Bounded(file, MAX_ARCHIVE_BYTES)
    archive = tarfile.open(fileobj=cast(BinaryIO, bounded), mode="r:")  # noqa: SIM115
    stack.enter_context(archive)
    for n_members, member in enumerate(archive):
        if n_members > MAX_MEMBERS:
            raise Refused("size", f"has more than {MAX_MEMBERS:,} members")
        if not member.isfile():
            continue

        def opener(member: tarfile.TarInfo = member) -> BinaryIO:
            opened = archive.extractfile(member)
            assert opened is not None
            return cast(BinaryIO, opened)

        yield member.name, opener
    _check_tar_end(bounded, archive.offset)


def _check_tar_end(file: "_Bounded", position: int) -> None:
    """Raise unless only zeros follow the last member; tarfile takes damage for the end."""
    file.seek(position)
    n_zeros = 0
    while chunk := file.read(1 << 20):
        if chunk.strip(b"\0"):
            raise tarfile.ReadError(f"no sound member at byte {position:,}; what follows is lost")
        n_zeros += len(chunk)
    if n_zeros == 0:
        raise tarfile.ReadError("it breaks off; what followed is lost")


class _Bounded(io.RawIOBase):
    """A seekable stream that refuses to go beyond a position (decompression bombs)."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        super().__init__()
        self._file, self._limit = file, limit

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0:
            self._check(offset)
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if size >= 0:
            if size > MAX_FILE_BYTES + 1:  # a header that claims to be this long
                raise Refused("size", f"has a part of {size / 2**30:,.3g} GiB")
            self._check(self._file.tell() + size)
            return self._file.read(size)
        data = self._file.read(max(self._limit - self._file.tell(), 0) + 1)
        self._check(self._file.tell())
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _check(self, position: int) -> None:
        if position > self._limit:
            raise Refused("size", f"unpacks to more than {self._limit / 2**30:,.3g} GiB; split it")


def _hidden(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return any(
        part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in parts
    )


def _basename(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _suffix(name: str) -> str:
    """The last suffix in lower case with its dot; empty if none (a leading dot is no suffix)."""
    start, dot, suffix = _basename(name).rpartition(".")
    return dot + suffix.lower() if start else ""


def _uncompressed(name: str) -> str:
    suffix = _suffix(name)
    return name[: -len(suffix)] if suffix in _COMPRESSED else name
