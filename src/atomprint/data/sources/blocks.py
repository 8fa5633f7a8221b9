"""Sources that make their crystals: block after block, each a function of settings and number."""

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from multiprocessing import get_context
from typing import ClassVar

from atomprint.data.sources.base import BEGINNING, Page, SourceBase, Surroundings, made
from atomprint.ground.cluster import on_cluster
from atomprint.ground.errors import UsageError
from atomprint.ground.processes import end_with_parent
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.result import Record


@dataclass(frozen=True)
class Block:
    """Crystals that are made together.

    Attributes
    ----------
    records
        With ids.
    rejected
        How many candidates were made and thrown away on the way, by reason.
    """

    records: list[Record]
    rejected: Mapping[str, int] = field(default_factory=dict)


def need(packages: tuple[str, ...], what: str, extra: str) -> None:
    """Refuse to begin where a package is missing.

    Raises
    ------
    UsageError
        Naming the package and the extra of atomprint that brings it.
    """
    for name in packages:
        if find_spec(name) is None:
            raise UsageError(
                f"{what} needs {name}, which is not installed: pip install atomprint[{extra}]"
            )


def record_of(crystal: Crystal) -> Record:
    """Hand on a crystal that was made, whose atoms were checked to be apart."""
    return Record(crystal.numbers, crystal.cell, crystal.frac, id=crystal.id, apart=True)


class BlockSource(SourceBase):
    """A source without end whose pages are blocks, made here or on worker processes."""

    endless: ClassVar[bool] = True

    @abstractmethod
    def block(self, number: int) -> Block:
        """Make a block: the same one on every machine, whatever was made before.

        Raises
        ------
        UsageError
            If a package is missing, or the settings allow no crystal.
        """

    def prepare(self, around: Surroundings) -> None:
        """Refuse what would fail on every block, before any process is started."""

    def pages(self, around: Surroundings, start: str = BEGINNING) -> Iterator[Page]:
        """Yield block after block, without end; the place is the block's number."""
        self.prepare(around)
        first = int(start or 0)
        if around.ray:
            blocks = self._on_cluster(first, around.ray)
        elif around.workers > 1:
            blocks = self._on_processes(first, around.workers)
        else:
            blocks = self._here(first)
        for number, block in enumerate(blocks, first):
            page = made(block.records, self.described)
            yield Page(page, str(number + 1), rejected=block.rejected)

    def _here(self, first: int) -> Iterator[Block]:
        number = first
        while True:
            yield self.block(number)
            number += 1

    def _on_processes(self, first: int, workers: int) -> Iterator[Block]:
        """Blocks in their order, a few ahead of what is taken."""
        waiting: deque[Future[Block]] = deque()
        number = first
        with ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=end_with_parent
        ) as pool:
            try:
                while True:
                    while len(waiting) < workers + 1:
                        waiting.append(pool.submit(self.block, number))
                        number += 1
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _on_cluster(self, first: int, address: str) -> Iterator[Block]:
        """Blocks in their order from a Ray cluster, a few ahead of what is taken.

        Blocks of a machine that is lost are made again by another.
        """
        yield from on_cluster(address, _block, ((self, number) for number in count(first)))


def _block(which: "tuple[BlockSource, int]") -> Block:
    """What a cluster runs."""
    source, number = which
    return source.block(number)
