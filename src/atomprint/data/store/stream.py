"""Crystals of a store one by one, from anywhere on, as streams of files are read."""

from collections.abc import Iterable, Iterator
from types import TracebackType

from atomprint.data.store.store import Store
from atomprint.structures.reading.result import Problem
from atomprint.structures.reading.stream import Place, Read


class StoreStream:
    """What :class:`atomprint.structures.reading.stream.CrystalStream` is for files, for a store.

    Parameters
    ----------
    store
        To read.

    Attributes
    ----------
    problems
        None: what was left out, was left out when the store was made.
    n_files
        Shards.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.problems: list[Problem] = []
        self.n_files = len(store.headers)

    def __enter__(self) -> "StoreStream":
        """Hand on the stream."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is open."""

    def key(self) -> str:
        """Hash of the store."""
        return self.store.hash()

    def read(self, start: Place = (0, 0), known_ids: Iterable[str] = ()) -> Iterator[Read]:
        """Read on from a place: a shard and a row in it. Ids differ in a store."""
        first = 0
        for shard, (file, header) in enumerate(self.store.headers):
            for row in range(start[1] if shard == start[0] else 0, header.n_crystals):
                if shard >= start[0]:
                    yield Read(self.store[first + row], str(file), (shard, row + 1))
            first += header.n_crystals
