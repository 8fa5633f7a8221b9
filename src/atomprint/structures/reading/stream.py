"""Reading crystals one by one, from anywhere on: for work on more crystals than memory holds."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from atomprint.ground.errors import AtomprintError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.checks import build_crystal
from atomprint.structures.reading.files import Entry, PathInput, find_files
from atomprint.structures.reading.read import BROKEN, open_entry, unreadable, until_broken
from atomprint.structures.reading.result import NotCrystals, Problem, Record, Refused

Place = tuple[int, int]
"""Where reading stands: the number of a file, and of the next record in it."""


@dataclass(frozen=True, slots=True)
class Read:
    """A crystal or a problem, and where to go on after it."""

    item: Crystal | Problem
    after: Place


class CrystalStream:
    """Crystals of files, folders, patterns or archives, in the order of `read_crystals`.

    The same crystals with the same ids as `read_crystals` gives, without labels; only their ids are
    kept (a second crystal of the same id is left out). Use as a context: archives stay open.

    Parameters
    ----------
    paths
        See `read_crystals`.

    Raises
    ------
    UsageError
        If there is nothing to read.

    Attributes
    ----------
    problems
        Of finding the files.
    n_files
        How many files there are.
    """

    def __init__(self, paths: PathInput | Sequence[PathInput]) -> None:
        self._stack = ExitStack()
        self._inventory = find_files(paths, self._stack)
        self._ids: set[str] = set()
        self.problems = list(self._inventory.problems)
        self.n_files = len(self._inventory.entries)

    def __enter__(self) -> "CrystalStream":
        """Hand on the stream."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the archives."""
        self._stack.close()

    def key(self) -> str:
        """Hash of the files' names, sizes and times of change: other files have another key."""
        found = []
        sizes: dict[str, tuple[int, int]] = {}
        for entry in self._inventory.entries:
            file = _file_on_disk(entry)
            if file not in sizes:
                status = Path(file).stat()
                sizes[file] = (status.st_size, status.st_mtime_ns)
            found.append((entry.name, *sizes[file]))
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]

    def read(self, start: Place = (0, 0), known_ids: Iterable[str] = ()) -> Iterator[Read]:
        """Read on from a place.

        Parameters
        ----------
        start
            Where an earlier reading of the same files stood.
        known_ids
            Of the crystals read before that place.
        """
        self._ids = set(known_ids)
        for number in range(start[0], self.n_files):
            entry = self._inventory.entries[number]
            yield from self._read_file(entry, number, start[1] if number == start[0] else 0)

    def _read_file(self, entry: Entry, number: int, skip: int) -> Iterator[Read]:
        usual_id = entry.stem if entry.format in ("cif", "poscar") else ""
        end = (number + 1, 0)
        refusal: Refused | None = None
        try:
            with ExitStack() as stack:
                records = until_broken(open_entry(entry, None, stack).records)
                yield from self._read_records(entry, records, number, skip)
        except Refused as refused:
            refusal = refused
        except NotCrystals as other:
            refusal = Refused("broken", str(other)) if entry.by_name else None
            usual_id = ""
        except BROKEN as error:
            refusal = unreadable(error)
        except AtomprintError:
            raise
        except Exception as error:
            # No file, however strange, ends the reading of a million others.
            reason = f"cannot be read (unexpected {type(error).__name__}: {error}; please report)"
            refusal = Refused("broken", reason)
        if refusal is not None:
            yield Read(Problem(entry.name, usual_id, refusal.reason, refusal.kind), end)

    def _read_records(
        self, entry: Entry, records: Iterator[Record | Refused], number: int, skip: int
    ) -> Iterator[Read]:
        skipped = sum(1 for _ in islice(records, skip))
        # One record ahead, so that a file's only crystal can be named after the file.
        first = next(records, None)
        second = next(records, None) if first is not None else None
        if first is None and not skipped:
            raise Refused("empty", "has no crystals")
        alone = second is None and not skipped
        place = skipped
        for record in (first, second):
            if record is not None:
                place += 1
                yield Read(self._crystal(entry, record, alone), (number, place))
        for record in records:
            place += 1
            yield Read(self._crystal(entry, record, alone), (number, place))

    def _crystal(self, entry: Entry, record: Record | Refused, alone: bool) -> Crystal | Problem:
        mark = "" if alone or not record.index else f"#{record.index}"
        # A file that breaks off is refused as a file, not as a record with an id.
        whole_file = isinstance(record, Refused) and not record.index and not alone
        id = record.id or ("" if whole_file else entry.stem + mark)
        try:
            if isinstance(record, Refused):
                raise record
            if id in self._ids:
                raise Refused("duplicate", f"the id {id!r} was read before")
            crystal = build_crystal(replace(record, id=id, labels={}), entry.name + mark)
        except Refused as refusal:
            return Problem(entry.name, id, refusal.reason, refusal.kind)
        self._ids.add(id)
        return crystal


def _file_on_disk(entry: Entry) -> str:
    """The file that an entry is, or the archive that it is in."""
    if entry.path is not None:
        return str(entry.path)
    path = Path(entry.name)
    return str(next(parent for parent in path.parents if parent.is_file()))
