"""From any files to a store, in bounded memory, by several processes, through kills.

A shard is the unit of progress: its header says where reading stands after it and what was left
out on the way, so that the one rename that commits its crystals commits all of that too. Going on
means reading the last header. Cuts between shards depend on the crystals alone, so that the result
is the same however often it was interrupted.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from atomprint.data.store.columns import Columns, merged
from atomprint.data.store.layout import read_header
from atomprint.data.store.packing import hash_id
from atomprint.data.store.store import (
    Description,
    Provenance,
    Store,
    is_store,
    lacking,
    read_description,
    shard_paths,
)
from atomprint.data.store.writer import SHARD_ATOMS, SHARD_CRYSTALS, StoreWriter, write_text
from atomprint.ground.documents import json_of
from atomprint.ground.errors import AtomprintError, DataError, UsageError
from atomprint.ground.processes import end_with_parent
from atomprint.structures.reading.files import PathInput
from atomprint.structures.reading.labels import aside_notes
from atomprint.structures.reading.read import drawn_note
from atomprint.structures.reading.result import Problem
from atomprint.structures.reading.stream import CrystalStream, Place, Read

QUARANTINE = "quarantine.jsonl"
Progress = Callable[[int, int, dict[str, float]], None]
_FILES_A_TASK, _BYTES_A_TASK = 32, 16 << 20
"""Files that a worker reads at a time. A larger file is read crystal by crystal where the store is
written, as its crystals may not fit into memory."""
_AHEAD = 3
_MOST_PROBLEMS = 20_000


@dataclass(frozen=True)
class Converted:
    """What a conversion gave.

    Attributes
    ----------
    store
        The store.
    problems
        What was left out: all of it stands in ``quarantine.jsonl``.
    notes
        Sentences for people.
    resumed
        Crystals that an earlier, interrupted conversion had committed.
    """

    store: Store
    problems: list[Problem]
    notes: list[str] = field(default_factory=list)
    resumed: int = 0


def convert(
    paths: PathInput | Sequence[PathInput],
    out: str | Path,
    *,
    labels: PathInput | None = None,
    id_column: str | None = None,
    ordering: int | None = None,
    exact: bool = False,
    workers: int = 1,
    strict: bool = False,
    provenance: Sequence[Provenance] = (),
    shard_atoms: int = SHARD_ATOMS,
    shard_crystals: int = SHARD_CRYSTALS,
    progress: Progress | None = None,
) -> Converted:
    """Write crystals and labels of any files into a store.

    Interrupted at any moment, the same call goes on: no crystal is lost or doubled, and the store
    is the same as if nothing had happened. Into a store of which damaged shards were set aside, the
    same call brings their crystals again, behind the others. Bad records are left out and listed,
    with file, id and reason, in the store's ``quarantine.jsonl``.

    Parameters
    ----------
    paths, labels, id_column, ordering
        See :func:`atomprint.structures.reading.read_crystals`.
    out
        The store's folder.
    exact
        Keep geometry in float64.
    workers
        Processes that read files, where there are many on disk; 1 reads in this one, as archives
        and files above 16 MiB always are.
    strict
        Refuse if anything is left out.
    provenance
        Where the crystals are from.
    shard_atoms, shard_crystals
        A shard is closed by the first of these that is reached.
    progress
        Called as ``progress(n_files_done, n_files, numbers)``.

    Raises
    ------
    UsageError
        If there is nothing to read, or the store holds something else or cannot be written.
    DataError
        If no crystal could be read, or two files state different units of a label; with
        ``strict``, if anything is wrong.
    """
    if workers < 1:
        raise UsageError(f"workers={workers} is not above 0; leave it out for one")
    out = Path(out)
    if is_store(paths):
        raise UsageError(f"{paths}: is a store already; copy it with: atomprint data merge")
    with CrystalStream(paths, labels, id_column, ordering=ordering, check_ids=False) as stream:
        inputs = stream.key()
        old = read_description(out) if is_store(out) else None
        # Interrupted before it had said what it reads: there is nothing in it yet.
        if old is not None and (old.inputs or shard_paths(out)):
            if old.inputs != inputs:
                raise UsageError(
                    f"{out}: is a store made of other files (or the files have changed); choose "
                    "another --out, and join stores with: atomprint data merge"
                )
            _same_options(out, old, exact, provenance)
            if not lacking(old):
                problems = list(read_quarantine(out))
                store = Store(out)
                return Converted(store, problems, ["was complete already"], len(store))
        # An interruption before the first description leaves an empty folder: it is started anew.
        holes = old is not None and old.holes
        with StoreWriter(
            out, exact=exact, provenance=provenance, shard_atoms=shard_atoms,
            shard_crystals=shard_crystals,
        ) as writer:  # fmt: skip
            writer.describe(inputs=inputs, complete=False, ordering=ordering)
            job = _Conversion(stream, writer, strict, progress or _ignore, again=holes)
            reads = (
                _on_processes(stream, paths, labels, id_column, ordering, job.start, workers)
                if workers > 1 and stream.parallel()
                else stream.read(job.start)
            )
            job.run(reads)
            notes, problems = job.finish()
    store = Store(out)
    if not len(store):
        first = f": {problems[0]}" if problems else ""
        raise DataError(f"{out}: no crystal could be read{first}")
    return Converted(store, problems, notes, job.resumed)


def read_quarantine(path: Path) -> Iterator[Problem]:
    """What was left out of a store."""
    file = Path(path) / QUARANTINE
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            yield Problem(**json_of(line))


def _ignore(done: int, total: int, numbers: dict[str, float]) -> None:
    """Take progress and do nothing."""


def _same_options(
    out: Path, old: Description, exact: bool, provenance: Sequence[Provenance]
) -> None:
    """Refuse to go on with what would make another store."""
    if exact != old.exact:
        made = "with" if old.exact else "without"
        raise UsageError(f"{out}: was made {made} --exact; give the same, or choose another --out")
    for part in provenance:
        if part not in old.provenance:
            raise UsageError(
                f"{out}: was made without --source {part.source!r} (and its licence and citation); "
                "give the same, or choose another --out"
            )


class _Conversion:
    """Crystals from a stream into a writer, from where the last shard stands.

    With ``again`` from the first file on, for crystals of shards that are gone.
    """

    def __init__(
        self, stream: CrystalStream, writer: StoreWriter, strict: bool, progress: Progress,
        *, again: bool = False,
    ) -> None:  # fmt: skip
        self.stream, self.writer, self.strict, self.progress = stream, writer, strict, progress
        self.start: Place = (0, 0)
        self.resumed = 0
        self.units: dict[str, tuple[str, str]] = {}
        known = Columns()
        for path in shard_paths(writer.path):
            about = read_header(path).about
            self.start = (int(about["after"][0]), int(about["after"][1]))
            self.resumed += int(about["n_crystals"])
            known.add(about["columns"])
            self._add_units(about["units"], "the store")
        if again:
            self.start = (0, 0)
        self.columns = known.follow()
        self.again = again
        self.met: set[int] = set()
        self.problems: list[Problem] = []
        self.n_crystals, self.n_drawn = self.resumed, 0

    def run(self, reads: Iterator[Read]) -> None:
        """Read to the end."""
        place = self.start
        for read in reads:
            self._take(read)
            place = read.after
            if self.writer.full or len(self.problems) >= _MOST_PROBLEMS:
                self._commit(place)
            self.progress(place[0], self.stream.n_files, {"crystals": self.n_crystals})
        self._commit((self.stream.n_files, 0))

    def _take(self, read: Read) -> None:
        item = read.item
        is_first = self.again and not isinstance(item, Problem) and self._is_first(item.id)
        if not isinstance(item, Problem) and item.id in self.writer:
            if is_first:
                return
            reason = f"the id {item.id!r} was read before"
            item = Problem(read.file, item.id, reason, "duplicate")
        if isinstance(item, Problem):
            if self.strict:
                raise DataError(str(item))
            self.problems.append(item)
            return
        self._add_units(read.units, read.file)
        labels = self.columns.settle(read.labels, item.n_atoms, read.file, item.id)
        self.writer.hold(item.with_labels(labels))
        self.n_crystals += 1
        self.n_drawn += read.drawn

    def _is_first(self, id: str) -> bool:
        """Whether an id is met for the first time: a crystal of the store is then no double."""
        value = hash_id(id)
        known = value in self.met
        self.met.add(value)
        return not known

    def _add_units(self, units: Mapping[str, str], where: str) -> None:
        for name, unit in units.items():
            if not unit:
                continue
            known, first = self.units.setdefault(name, (unit, where))
            if known != unit:
                raise DataError(
                    f"label {name!r} is in {known} in {first} and in {unit} in {where}; "
                    "convert one of them"
                )

    def _commit(self, after: Place) -> None:
        if not self.writer.n_waiting and not self.problems:
            return
        self.writer.commit(
            {
                "after": list(after),
                "problems": [asdict(problem) for problem in self.problems],
                "columns": self.columns.to_plain(),
                "units": {name: unit for name, (unit, _) in self.units.items()},
                "n_drawn": self.n_drawn,
            }
        )
        self.columns = self.columns.follow()
        self.problems, self.n_drawn = [], 0

    def finish(self) -> tuple[list[str], list[Problem]]:
        """Decide what the labels are, and write down what was left out."""
        headers = [read_header(path).about for path in shard_paths(self.writer.path)]
        decision = merged(about["columns"] for about in headers).decide()
        problems = [*self.stream.problems]
        problems += [Problem(**problem) for about in headers for problem in about["problems"]]
        problems += decision.problems
        # Those of shards that are there were met again.
        problems = list(dict.fromkeys(problems)) if self.again else problems
        for table in self.stream.tables:
            problems += table.problems
            problems += [
                Problem(table.name, key, "no crystal has this id", "label")
                for key in table.rows
                if key not in table.used
                and key not in self.writer
                and _stem(key) not in self.writer
            ]
        if self.strict and problems:
            raise DataError(str(problems[0]))
        lines = [json.dumps(asdict(problem), ensure_ascii=False) for problem in problems]
        write_text(self.writer.path / QUARANTINE, "".join(f"{line}\n" for line in lines))
        units = {name: unit for name, (unit, _) in self.units.items()}
        self.writer.describe(
            units={**self.writer.description.units, **units},
            not_labels=decision.not_labels,
            dates=decision.dates,
            complete=True,
            holes=False,
            shards=tuple(file.name for file in shard_paths(self.writer.path)),
        )
        notes = list(decision.notes)
        names = {name for about in headers for name in about["labels"]}
        notes += aside_notes(self.stream.tables, names)
        # Shards of stores begun before orderings were drawn have no such number.
        if n_drawn := sum(about.get("n_drawn", 0) for about in headers):
            notes.append(drawn_note(n_drawn, self.writer.description.ordering))
        return notes, problems


def _stem(key: str) -> str:
    """A table may name files instead of ids."""
    return key.rpartition(".")[0] or key


def _on_processes(
    stream: CrystalStream,
    paths: PathInput | Sequence[PathInput],
    labels: PathInput | None,
    id_column: str | None,
    ordering: int | None,
    start: Place,
    n_workers: int,
) -> Iterator[Read]:
    """Read files on several processes, in the files' order; few are ahead of what is taken."""
    several = [paths] if isinstance(paths, str | Path) or not isinstance(paths, Sequence) else paths
    inputs = tuple(str(path) for path in several)
    tasks = _tasks(stream, start[0])
    waiting: deque[Future[list[Read]] | int] = deque()
    # Not forked: a fork of a process with threads may hang.
    with ProcessPoolExecutor(
        n_workers, mp_context=get_context("spawn"), initializer=end_with_parent
    ) as pool:

        def submit() -> None:
            task = next(tasks, None)
            if isinstance(task, int):
                waiting.append(task)
            elif task is not None:
                named = None if labels is None else str(labels)
                waiting.append(pool.submit(_read_files, inputs, named, id_column, ordering, task))

        try:
            for _ in range(_AHEAD * n_workers):
                submit()
            while waiting:
                first = waiting.popleft()
                reads = stream.read_files([first]) if isinstance(first, int) else first.result()
                submit()
                for read in reads:
                    # The first file may have been read in part.
                    if read.after > start:
                        yield read
        except BrokenProcessPool:
            raise AtomprintError(
                "a worker process was killed, perhaps for memory; what is done is kept: give the "
                "same command again, with fewer workers"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _tasks(stream: CrystalStream, first: int) -> Iterator[list[int] | int]:
    """Numbers of files that are read together, in order; a large file's number by itself."""
    together: list[int] = []
    n_bytes = 0
    for number in range(first, stream.n_files):
        size = stream.size_of(number)
        if together and (len(together) == _FILES_A_TASK or n_bytes + size > _BYTES_A_TASK):
            yield together
            together, n_bytes = [], 0
        if size > _BYTES_A_TASK:
            yield number
        else:
            together.append(number)
            n_bytes += size
    if together:
        yield together


@lru_cache(maxsize=1)
def _stream_of(
    paths: tuple[str, ...], labels: str | None, id_column: str | None, ordering: int | None
) -> CrystalStream:
    """Find the files, once a process."""
    return CrystalStream(list(paths), labels, id_column, ordering=ordering, check_ids=False)


def _read_files(
    paths: tuple[str, ...],
    labels: str | None,
    id_column: str | None,
    ordering: int | None,
    numbers: list[int],
) -> list[Read]:
    """Read some files; what worker processes run."""
    return [
        replace(read, units=dict(read.units))
        for read in _stream_of(paths, labels, id_column, ordering).read_files(numbers)
    ]
