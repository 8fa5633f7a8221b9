"""The generator as a source: blocks of crystals, each a function of seed and number alone."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import ClassVar, Literal

from pydantic import Field

from atomprint.data.sources.base import BEGINNING, Card, Page, SourceBase, Surroundings, made
from atomprint.data.sources.generated.generator import LICENCE, GeneratorSettings, generate
from atomprint.ground.errors import UsageError
from atomprint.ground.processes import end_with_parent
from atomprint.structures.reading.result import Record

BLOCK = 500
"""Crystals that are made together; no two of them are alike."""


class GeneratedSettings(SourceBase):
    """Crystals that are made, as many as are asked for."""

    endless: ClassVar[bool] = True
    shard_crystals: ClassVar[int] = 10 * BLOCK
    card: ClassVar[Card] = Card(
        title="generated",
        domain="plausible inorganic crystals: ionic, covalent and metallic types, decorated and "
        "relaxed by bond valences",
        size="no end; 6,500 come with the package (embedded)",
        licence=LICENCE,
        citation="atomprint, docs/corpus.md",
        needs="pip install atomprint[generate]",
        checked="distributions of the Materials Project (docs/corpus.md)",
    )

    kind: Literal["generated"] = "generated"
    seed: int = Field(1, ge=0, description="of every random choice; others give other crystals")
    max_atoms: int = Field(40, ge=2, description="largest number of atoms in a cell")

    @property
    def described(self) -> str:
        """What is fetched, for the store's provenance."""
        return f"atomprint's generator, seed {self.seed}"

    def pages(self, around: Surroundings, start: str = BEGINNING) -> Iterator[Page]:
        """Yield block after block, without end; the place is the block's number."""
        first = int(start or 0)
        blocks = (
            self._on_processes(first, around.workers) if around.workers > 1 else self._here(first)
        )
        for number, records in enumerate(blocks, first):
            yield Page(made(records, f"generated, seed {self.seed}"), str(number + 1))

    def _here(self, first: int) -> Iterator[list[Record]]:
        number = first
        while True:
            yield make_block(self.seed, self.max_atoms, number, BLOCK)
            number += 1

    def _on_processes(self, first: int, workers: int) -> Iterator[list[Record]]:
        """Blocks in their order, a few ahead of what is taken."""
        waiting: deque[Future[list[Record]]] = deque()
        number = first
        with ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=end_with_parent
        ) as pool:
            try:
                while True:
                    while len(waiting) < workers + 1:
                        waiting.append(
                            pool.submit(make_block, self.seed, self.max_atoms, number, BLOCK)
                        )
                        number += 1
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def make_block(seed: int, max_atoms: int, number: int, size: int) -> list[Record]:
    """Make a block of crystals; what worker processes run."""
    import numpy as np

    drawn = np.random.SeedSequence((seed, number)).generate_state(1)[0]
    settings = GeneratorSettings(n_crystals=size, seed=int(drawn), max_atoms=max_atoms)
    try:
        crystals = list(generate(settings))
    except ModuleNotFoundError as error:
        raise UsageError(str(error)) from None
    return [
        Record(
            crystal.numbers.astype(np.int64), crystal.cell, frac=crystal.frac,
            id=f"gen-{seed}-{number * size + row:07d}",
        )
        for row, crystal in enumerate(crystals)
    ]  # fmt: skip
