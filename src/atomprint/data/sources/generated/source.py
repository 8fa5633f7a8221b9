"""The generator as a source: blocks of crystals, each a function of seed and number alone."""

from collections import Counter
from typing import ClassVar, Literal

from pydantic import Field

from atomprint.data.sources.base import Card
from atomprint.data.sources.blocks import Block, BlockSource
from atomprint.data.sources.generated.generator import (
    GENERATOR_VERSION,
    LICENCE,
    GeneratorSettings,
    generate,
)
from atomprint.ground.errors import UsageError
from atomprint.structures.reading.result import Record

BLOCK = 500
"""Crystals that are made together; no two of them are alike."""


class GeneratedSettings(BlockSource):
    """Crystals that are made, as many as are asked for."""

    shard_crystals: ClassVar[int] = 10 * BLOCK
    card: ClassVar[Card] = Card(
        title="generated",
        domain="plausible inorganic crystals: ionic, covalent and metallic types, decorated and "
        "relaxed by bond valences",
        size="no end; 6,500 come with the package (embedded)",
        licence=LICENCE,
        citation="atomprint, docs/corpus.md",
        needs="pip install atomprint[generate]",
        checked="distributions of the Materials Project (docs/generators.md)",
    )

    kind: Literal["generated"] = "generated"
    seed: int = Field(1, ge=0, description="of every random choice; others give other crystals")
    max_atoms: int = Field(40, ge=2, description="largest number of atoms in a cell")

    @property
    def described(self) -> str:
        """What is fetched, for the store's provenance."""
        return f"atomprint's generator, seed {self.seed}"

    def identity(self) -> str:
        """Settings and version."""
        return f"{self.model_dump_json()} {GENERATOR_VERSION}"

    def block(self, number: int) -> Block:
        """Make a block of crystals of all routes."""
        return make_block(self.seed, self.max_atoms, number, BLOCK)


def make_block(seed: int, max_atoms: int, number: int, size: int) -> Block:
    """Make a block of crystals."""
    import numpy as np

    drawn = np.random.SeedSequence((seed, number)).generate_state(1)[0]
    settings = GeneratorSettings(n_crystals=size, seed=int(drawn), max_atoms=max_atoms)
    rejected: Counter[str] = Counter()
    try:
        crystals = list(generate(settings, rejected=rejected))
    except ModuleNotFoundError as error:
        raise UsageError(str(error)) from None
    records = [
        Record(
            crystal.numbers.astype(np.int64), crystal.cell, frac=crystal.frac,
            id=f"gen-{seed}-{number * size + row:07d}",
        )
        for row, crystal in enumerate(crystals)
    ]  # fmt: skip
    return Block(records, rejected)
