"""The generator as a source: blocks of crystals, each a function of seed and number alone."""

from collections import Counter
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from atomprint.data.sources.base import Card
from atomprint.data.sources.blocks import Block, BlockSource
from atomprint.data.sources.generated.generator import (
    GENERATOR_VERSION,
    LICENCE,
    GeneratorSettings,
    generate,
)
from atomprint.ground.errors import UsageError
from atomprint.ground.settings import Settings
from atomprint.structures.reading.result import Record

BLOCK = 500
"""Crystals that are made together; no two of them are alike."""

_SHARE = GeneratorSettings().route_share


class GeneratedShares(Settings):
    """Shares of how crystals are made; only their ratios count."""

    substitution: float = Field(
        _SHARE["substitution"], ge=0, description="elements of known compounds exchanged"
    )
    charge_balanced: float = Field(
        _SHARE["charge-balanced"], ge=0, description="prototypes with ions of balanced charges"
    )
    ordered: float = Field(
        _SHARE["ordered"], ge=0, description="the same, two ions ordered on the sites of one"
    )
    search: float = Field(
        _SHARE["search"], ge=0, description="ions thrown into the orbits of a space group"
    )
    intermetallic: float = Field(
        _SHARE["intermetallic"], ge=0, description="metals on prototypes of metals"
    )

    @model_validator(mode="after")
    def _some(self) -> "GeneratedShares":
        if not self.by_route():
            raise ValueError("all shares are 0; make one of them larger")
        return self

    def by_route(self) -> dict[str, float]:
        """Shares by the generator's names of its routes, without those that have none."""
        shares = {route: getattr(self, route.replace("-", "_")) for route in _SHARE}
        return {route: share for route, share in shares.items() if share}


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
    shares: GeneratedShares = Field(GeneratedShares(), description="of how they are made")

    @property
    def described(self) -> str:
        """What is fetched, for the store's provenance."""
        return f"atomprint's generator, seed {self.seed}"

    def identity(self) -> str:
        """Settings and version."""
        return f"{self.model_dump_json()} {GENERATOR_VERSION}"

    def block(self, number: int) -> Block:
        """Make a block of crystals of all routes."""
        return make_block(self, number, BLOCK)


def make_block(source: GeneratedSettings, number: int, size: int) -> Block:
    """Make a block of crystals."""
    import numpy as np

    drawn = np.random.SeedSequence((source.seed, number)).generate_state(1)[0]
    settings = GeneratorSettings(
        n_crystals=size, seed=int(drawn), max_atoms=source.max_atoms,
        route_share=source.shares.by_route(),
    )  # fmt: skip
    rejected: Counter[str] = Counter()
    try:
        crystals = list(generate(settings, rejected=rejected))
    except ModuleNotFoundError as error:
        raise UsageError(str(error)) from None
    records = [
        Record(
            crystal.numbers.astype(np.int64), crystal.cell, frac=crystal.frac,
            id=f"gen-{source.seed}-{number * size + row:07d}",
        )
        for row, crystal in enumerate(crystals)
    ]  # fmt: skip
    return Block(records, rejected)
