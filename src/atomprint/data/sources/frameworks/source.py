"""Metal-organic frameworks as a source: each a function of seed and number alone."""

from collections import Counter
from typing import ClassVar, Literal

from pydantic import Field

from atomprint.data.sources.base import Card, Surroundings
from atomprint.data.sources.blocks import Block, BlockSource, need
from atomprint.ground.errors import UsageError
from atomprint.structures.reading.result import Record

BLOCK = 10
"""Crystals of a block."""
VERSION = 1
"""Of what is made: another one makes other crystals of the same seed and number."""
MOST_TRIES = 2_000
"""Plans for one crystal; one in three comes out, unless cells must be very small."""


class FrameworksSettings(BlockSource):
    """Metal-organic frameworks and other coordination polymers, built from building blocks."""

    shard_crystals: ClassVar[int] = 100 * BLOCK
    card: ClassVar[Card] = Card(
        title="frameworks",
        domain="metal-organic frameworks, layers and chains: metal ions and clusters, organic "
        "linkers, dense and porous",
        size="no end; about three a second on one core",
        licence="made by atomprint, which is under the MIT licence",
        citation="atomprint, docs/frameworks.md",
        needs="pip install atomprint[frameworks]",
        checked="distributions of QMOF (docs/frameworks.md)",
    )

    kind: Literal["frameworks"] = "frameworks"
    seed: int = Field(1, ge=0, description="of every random choice; others give other crystals")
    max_atoms: int = Field(150, ge=20, description="largest number of atoms in a cell")

    @property
    def described(self) -> str:
        """What is fetched, for the store's provenance."""
        return f"atomprint's frameworks, seed {self.seed}"

    def identity(self) -> str:
        """Settings and version."""
        return f"{self.model_dump_json()} {VERSION}"

    def prepare(self, around: Surroundings) -> None:
        """Refuse what would fail on every block."""
        need(("rdkit",), "building frameworks", "frameworks")

    def block(self, number: int) -> Block:
        """Make a block of crystals."""
        from atomprint.data.sources.frameworks.assembly import make_framework

        rejected: Counter[str] = Counter()
        records = []
        for index in range(number * BLOCK, (number + 1) * BLOCK):
            made = make_framework((self.seed, index), self.max_atoms, MOST_TRIES, rejected)
            if made is None:
                raise UsageError(
                    f"no framework of at most {self.max_atoms} atoms came out of {MOST_TRIES:,} "
                    "plans; give a larger max_atoms"
                )
            record = Record(
                made.numbers, made.cell, positions=made.positions,
                id=f"mof-{self.seed}-{index:07d}", apart=True,
            )  # fmt: skip
            records.append(record)
        return Block(records, rejected)
