"""Reading crystals one by one, from anywhere on: for work on more crystals than memory holds."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from atomprint.ground.errors import AtomprintError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.checks import build_crystal
from atomprint.structures.reading.files import Entry, PathInput, find_files
from atomprint.structures.reading.labels import Table, join, read_table
from atomprint.structures.reading.read import (
    BROKEN,
    named_table,
    open_entry,
    unreadable,
    until_broken,
)
from atomprint.structures.reading.result import NotCrystals, Problem, Record, Refused, in_utf8

Place = tuple[int, int]
"""Where reading stands: the number of a file, and of the next record in it."""


@dataclass(frozen=True, slots=True)
class Read:
    """A crystal or a problem, and where to go on after it.

    Attributes
    ----------
    item
        The crystal, without labels, or what was left out.
    file
        That it is from.
    after
        Where reading stands then.
    labels
        Of the crystal, as its file and tables give them: numbers, text, arrays.
    units
        Of labels, where the crystal's file states them.
    drawn
        Whether it is an ordering of a disordered crystal.
    """

    item: Crystal | Problem
    file: str
    after: Place
    labels: dict[str, Any] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    drawn: bool = False


class CrystalStream:
    """Crystals of files, folders, patterns or archives, in the order of `read_crystals`.

    The same crystals with the same ids as `read_crystals` gives, their labels apart and as they
    stand in the files; only ids are kept (a second crystal of the same id is left out). Use as a
    context: archives stay open.

    Parameters
    ----------
    paths, labels, id_column, ordering
        See `read_crystals`.
    check_ids
        Whether a second crystal of an id is left out; if not, nothing at all is kept.

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

    def __init__(
        self,
        paths: PathInput | Sequence[PathInput],
        labels: PathInput | None = None,
        id_column: str | None = None,
        *,
        ordering: int | None = None,
        check_ids: bool = True,
    ) -> None:
        self._stack = ExitStack()
        self._inventory = find_files(paths, self._stack)
        self._ids: set[str] = set()
        self._check_ids = check_ids
        self._id_column, self._ordering = id_column, ordering
        self.problems = list(self._inventory.problems)
        self.tables: list[Table] = []
        for entry in self._inventory.tables:
            self._add_table(entry, entry.name[: -len("id_prop.csv")])
        if labels is not None:
            self.tables = [t for t in self.tables if t.name != str(labels)]
            self.tables.append(named_table(Path(labels), id_column))
        self.n_files = len(self._inventory.entries)

    def _add_table(self, entry: Entry, scope: str) -> None:
        try:
            self.tables.append(read_table(entry, None, scope))
        except Refused as refusal:
            self.problems.append(Problem(entry.name, "", refusal.reason, "label"))
        except BROKEN as error:
            self.problems.append(Problem(entry.name, "", f"cannot be read ({error})", "label"))

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
        rows = [sorted(table.rows.items()) for table in self.tables]
        known: list[Any] = [found, self._id_column, rows] if rows or self._id_column else found
        if self._ordering is not None:
            known = [known, self._ordering]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]

    def parallel(self) -> bool:
        """Whether the files are many and on disk, so that processes can share them."""
        entries = self._inventory.entries
        return len(entries) > 1 and all(entry.path is not None for entry in entries)

    def size_of(self, number: int) -> int:
        """Bytes of a file on disk."""
        return Path(_file_on_disk(self._inventory.entries[number])).stat().st_size

    def read_files(self, numbers: Iterable[int]) -> Iterator[Read]:
        """Read some files, whole, by their numbers."""
        for number in numbers:
            yield from self._read_file(self._inventory.entries[number], number, 0)

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
                found = open_entry(entry, self._id_column, stack, self._ordering)
                records = until_broken(found.records)
                for read in self._read_records(entry, records, number, skip):
                    # Some formats know their units only once they are being read.
                    yield replace(read, units=found.units) if found.units else read
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
            problem = Problem(entry.name, usual_id, refusal.reason, refusal.kind)
            yield Read(problem, entry.name, end)

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
                yield self._crystal(entry, record, alone, (number, place))
        for record in records:
            place += 1
            yield self._crystal(entry, record, alone, (number, place))

    def _crystal(self, entry: Entry, record: Record | Refused, alone: bool, after: Place) -> Read:
        mark = "" if alone or not record.index else f"#{record.index}"
        # A file that breaks off is refused as a file, not as a record with an id.
        whole_file = isinstance(record, Refused) and not record.index and not alone
        id = in_utf8(record.id) or ("" if whole_file else entry.stem + mark)
        try:
            if isinstance(record, Refused):
                raise record
            if id in self._ids:
                raise Refused("duplicate", f"the id {id!r} was read before")
            record.id = id
            crystal = build_crystal(record, entry.name + mark)
        except Refused as refusal:
            # The labels of a refused crystal are accounted for with it.
            join(self.tables, entry.name, id, entry.stem, {})
            return Read(Problem(entry.name, id, refusal.reason, refusal.kind), entry.name, after)
        if self._check_ids:
            self._ids.add(id)
        stem = entry.stem if alone else None
        labels = join(self.tables, entry.name, id, stem, record.labels)
        return Read(crystal, entry.name, after, labels, drawn=record.drawn)


def _file_on_disk(entry: Entry) -> str:
    """The file that an entry is, or the archive that it is in."""
    if entry.path is not None:
        return str(entry.path)
    path = Path(entry.name)
    return str(next(parent for parent in path.parents if parent.is_file()))
