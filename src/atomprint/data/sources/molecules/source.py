"""Molecules as a source: each cell a function of seed and number alone."""

from collections import Counter
from typing import ClassVar, Literal

from pydantic import Field

from atomprint.data.sources.base import Card, Surroundings
from atomprint.data.sources.blocks import Block, BlockSource, need
from atomprint.ground.errors import UsageError
from atomprint.structures.reading.result import Record

BLOCK = 50
"""Crystals of a block."""
VERSION = 1
"""Of what is made: another one makes other crystals of the same seed and number."""
MOST_TRIES = 1_000


class MoleculesSettings(BlockSource):
    """Small organic molecules, alone in boxes and packed into crystals."""

    shard_crystals: ClassVar[int] = 40 * BLOCK
    card: ClassVar[Card] = Card(
        title="molecules",
        domain="small organic molecules of H, B, C, N, O, F, P, S, Cl, Br, I: crystals of common "
        "space groups, and molecules alone in a box",
        size="no end; about ten a second on one core",
        licence="made by atomprint, which is under the MIT licence",
        citation="atomprint, docs/frameworks.md; conformations: RDKit",
        needs="pip install atomprint[molecules]",
        checked="RDKit's valences, contacts",
    )

    kind: Literal["molecules"] = "molecules"
    seed: int = Field(1, ge=0, description="of every random choice; others give other molecules")
    max_atoms: int = Field(100, ge=8, description="largest number of atoms in a cell")
    boxes: float = Field(0.25, ge=0, le=1, description="share of molecules alone in a box")
    vacuum: float = Field(
        8.0, ge=3, le=50,
        description="between a molecule in a box and its images (Å)",
    )  # fmt: skip

    @property
    def described(self) -> str:
        """What is fetched, for the store's provenance."""
        return f"atomprint's molecules, seed {self.seed}"

    def identity(self) -> str:
        """Settings and version."""
        return f"{self.model_dump_json()} {VERSION}"

    def prepare(self, around: Surroundings) -> None:
        """Refuse what would fail on every block."""
        need(("rdkit",), "making molecules", "molecules")

    def block(self, number: int) -> Block:
        """Make a block of crystals."""
        from atomprint.data.sources.molecules.crystals import make_molecular

        rejected: Counter[str] = Counter()
        records = []
        for index in range(number * BLOCK, (number + 1) * BLOCK):
            made = make_molecular(
                (self.seed, index), self.max_atoms, self.boxes, self.vacuum, MOST_TRIES, rejected
            )
            if made is None:
                raise UsageError(
                    f"no crystal of at most {self.max_atoms} atoms came out of {MOST_TRIES:,} "
                    "molecules; give a larger max_atoms"
                )
            record = Record(
                made.numbers, made.cell, positions=made.positions,
                id=f"mol-{self.seed}-{index:07d}", apart=True,
            )  # fmt: skip
            records.append(record)
        return Block(records, rejected)
