"""From a source into a store: in bounded memory, through kills, and never twice the same.

As in conversions, a shard is the unit of progress: its header says which page comes next and how
far it was read, so that the one rename that commits crystals commits that too. A page that was
interrupted is asked for again, and what is there of it is passed over.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

from atomprint.data.sources.base import BEGINNING, Page, SourceBase, Surroundings
from atomprint.data.store import Store, StoreWriter, is_store
from atomprint.data.store.convert import QUARANTINE
from atomprint.data.store.layout import read_header
from atomprint.data.store.store import (
    Description,
    read_description,
    refuse_holes,
    shard_paths,
)
from atomprint.data.store.writer import write_text
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.result import Problem

DOWNLOADS = ".downloads"
"""Folder in the store for files while they are read."""

SETTINGS = "source.json"
"""File in the store with the settings of the source."""

BARREN = 100
"""Blocks in a row without a crystal after which there seem to be no more."""
Progress = Callable[[int, int], None]
_MOST_PROBLEMS = 20_000


@dataclass(frozen=True)
class Fetched:
    """What a fetch gave.

    Attributes
    ----------
    store
        The store.
    problems
        What was left out; all of it stands in ``quarantine.jsonl``.
    resumed
        Crystals that an earlier fetch had committed.
    exhausted
        Whether the source has no more.
    """

    store: Store
    problems: list[Problem]
    resumed: int
    exhausted: bool


def fetch(
    source: SourceBase,
    out: str | Path,
    n: int | None = None,
    around: Surroundings | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Bring crystals of a source into a store.

    The same call goes on after an interruption, to the same store as without. With a larger ``n``
    it adds to what is there.

    Parameters
    ----------
    source
        Settings of it.
    out
        The store's folder.
    n
        Crystals to stop at; None for all there are.
    around
        How to reach servers; the default waits and asks again as :class:`Web` does.
    progress
        Called as ``progress(crystals_done, crystals_in_all)``; 0 in all where nobody knows.

    Raises
    ------
    UsageError
        If ``out`` is a store of something else, or something is missing that the source needs.
    DataError
        If the source cannot be reached, or gives no crystal.
    """
    out = Path(out)
    if n is None and source.endless:
        raise UsageError(f"{source.described} has no end; say how many crystals are wanted (n)")
    inputs = hashlib.sha256(source.identity().encode()).hexdigest()[:16]
    started = is_store(out)
    old = read_description(out) if started else Description()
    if started and old.inputs != inputs:
        raise UsageError(
            f"{out}: is a store of something else (or the source's settings have changed); choose "
            "another --out, and join stores with: atomprint data merge"
        )
    refuse_holes(out, old)
    around = replace(around or Surroundings(), folder=out / DOWNLOADS)
    # Asked for before anything is written: a wrong address or a missing key leaves no folder.
    provenance = () if started else source.provenance(around)
    job = _Fetch(source, n, around, progress or _ignore)
    if not started:
        job.look(BEGINNING)
    with StoreWriter(
        out, provenance=provenance, shard_crystals=source.shard_crystals
    ) as writer:  # fmt: skip
        writer.describe(inputs=inputs, complete=False)
        job.run(writer)
        problems = job.finish(writer)
    rmtree(out / DOWNLOADS, ignore_errors=True)
    store = Store(out)
    if not len(store):
        first = f"; the first that was left out: {problems[0]}" if problems else ""
        raise DataError(f"{source.card.title}: no crystal came{first}")
    return Fetched(store, problems, job.resumed, job.ended)


def _ignore(done: int, total: int) -> None:
    """Take progress and do nothing."""


class _Fetch:
    """Crystals of a source into a writer, from where the last shard stands."""

    def __init__(
        self, source: SourceBase, n: int | None, around: Surroundings, progress: Progress
    ) -> None:
        self.source, self.n, self.around, self.progress = source, n, around, progress
        self.place, self.row, self.ended = BEGINNING, 0, False
        self.resumed = self.n_crystals = 0
        self.problems: list[Problem] = []
        self.rejected: Counter[str] = Counter()
        self._first: tuple[Page, Any] | None = None

    def look(self, place: str) -> None:
        """Get the first page, before there is a store."""
        pages = self.source.pages(self.around, place)
        self._first = (next(pages), pages)

    def run(self, writer: StoreWriter) -> None:
        """Read on from the store's end, until there is enough or no more."""
        for path in shard_paths(writer.path):
            about = read_header(path).about
            self.place, self.row, self.ended = about["place"], about["row"], about["ended"]
            self.resumed += int(about["n_crystals"])
        self.n_crystals = self.resumed
        if self.ended or self._enough():
            return
        if self._first is not None and self.place == BEGINNING:
            first, rest = self._first
            if self._page(first, writer):
                return
            pages = rest
        else:
            pages = self.source.pages(self.around, self.place)
        barren = 0
        for page in pages:
            before = self.n_crystals
            if self._page(page, writer):
                return
            barren = 0 if self.n_crystals > before else barren + 1
            if self.source.endless and barren == BARREN:
                raise DataError(
                    f"{self.source.card.title}: {BARREN} blocks in a row gave no new crystal; ask "
                    "for fewer, or change its settings"
                )
        self.ended = True
        self._commit(writer, always=True)

    def _page(self, page: Page, writer: StoreWriter) -> bool:
        """Take a page; whether reading ends with it."""
        if self.row == 0:  # what was rejected for a page that was begun is in an earlier shard
            self.rejected.update(page.rejected)
        for row, item in enumerate(page.items):
            if row < self.row:
                continue
            self.row = row + 1
            self._take(item, writer)
            if writer.full or len(self.problems) >= _MOST_PROBLEMS or self._enough():
                self._commit(writer)
            if self._enough():
                return True
            self.progress(self.n_crystals, min(filter(None, (self.n, page.total)), default=0))
        self.ended = page.after is None
        self.place, self.row = page.after or self.place, 0
        if page.done is not None or self.ended:
            self._commit(writer, always=True)
        if page.done is not None:
            page.done()
        return self.ended

    def _enough(self) -> bool:
        return self.n is not None and self.n_crystals >= self.n

    def _take(self, item: Crystal | Problem, writer: StoreWriter) -> None:
        if isinstance(item, Crystal) and item.id in writer:
            reason = f"the id {item.id!r} came before"
            item = Problem(item.source, item.id, reason, "duplicate")
        if isinstance(item, Problem):
            self.problems.append(item)
            return
        writer.hold(item)
        self.n_crystals += 1

    def _commit(self, writer: StoreWriter, always: bool = False) -> None:
        if not (always or writer.n_waiting or self.problems):
            return
        writer.commit(
            {
                "place": self.place,
                "row": self.row,
                "ended": self.ended,
                "problems": [asdict(problem) for problem in self.problems],
                "rejected": dict(self.rejected),
            }
        )
        self.problems, self.rejected = [], Counter()

    def finish(self, writer: StoreWriter) -> list[Problem]:
        """Write down what was left out, and that this is the end."""
        problems = [
            Problem(**problem)
            for path in shard_paths(writer.path)
            for problem in read_header(path).about["problems"]
        ]
        lines = [json.dumps(asdict(problem), ensure_ascii=False) for problem in problems]
        write_text(writer.path / QUARANTINE, "".join(f"{line}\n" for line in lines))
        settings = self.source.model_dump(mode="json")
        about: dict[str, Any] = {"settings": settings, "exhausted": self.ended}
        rejected: Counter[str] = Counter()
        for path in shard_paths(writer.path):
            rejected.update(read_header(path).about.get("rejected", {}))
        if rejected:
            about["rejected"] = dict(rejected)
        write_text(writer.path / SETTINGS, json.dumps(about, indent=1) + "\n")
        writer.describe(complete=True)
        return problems
