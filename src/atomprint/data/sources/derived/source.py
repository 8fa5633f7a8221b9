"""Crystals derived from parents: each a function of settings and index alone."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from atomprint.data.sources.base import Card, Surroundings
from atomprint.data.sources.blocks import Block, BlockSource, need, record_of
from atomprint.data.sources.contacts import CLOSEST, too_close
from atomprint.data.sources.derived.defects import exchange_sites, make_vacancies, substitute
from atomprint.data.sources.derived.supercells import draw_supercell, rattled, strained
from atomprint.data.sources.derived.tables import Unsuited, load_tables
from atomprint.data.sources.generated.generator import LICENCE
from atomprint.data.sources.parents import (
    EMBEDDED,
    open_parents,
    parents_key,
    parents_provenance,
    small_enough,
)
from atomprint.data.sources.rounding import rounded
from atomprint.data.store import Provenance
from atomprint.ground.errors import UsageError
from atomprint.ground.settings import Settings
from atomprint.structures.crystal import Crystal

BLOCK = 200
"""Crystals of a block."""
VERSION = 1
"""Goes up when the same settings give other crystals."""
_MOST_TRIES = 2000

Route = Literal["strained", "vacancies", "substituted", "antisites"]
ROUTES: tuple[Route, ...] = ("strained", "vacancies", "substituted", "antisites")


class DerivedShares(Settings):
    """Shares of what is done to parents; only their ratios count."""

    strained: float = Field(0.25, ge=0, description="nothing but strain and rattle")
    vacancies: float = Field(0.2, ge=0, description="atoms are missing")
    substituted: float = Field(0.4, ge=0, description="an element became another, partly or wholly")
    antisites: float = Field(0.15, ge=0, description="atoms of two elements changed places")

    @model_validator(mode="after")
    def _some(self) -> "DerivedShares":
        if not any(getattr(self, route) for route in ROUTES):
            raise ValueError("all shares are 0; make one of them larger")
        return self


@dataclass(frozen=True)
class Derived:
    """A crystal and where it comes from.

    Attributes
    ----------
    crystal
        The result.
    parent
        The supercell that it was made of.
    route
        What was done.
    rejected
        Candidates thrown away on the way, by reason.
    """

    crystal: Crystal
    parent: Crystal
    route: Route
    rejected: Counter[str]


class DerivedSettings(BlockSource):
    """Crystals made from others: strained and rattled supercells, defects, exchanged elements."""

    shard_crystals: ClassVar[int] = 25 * BLOCK
    card: ClassVar[Card] = Card(
        title="derived",
        domain="supercells of your crystals, or of the embedded ones: strained, rattled, with "
        "vacancies, antisites and exchanged elements",
        size="no end",
        licence="that of the parents",
        citation="that of the parents; atomprint, docs/corpora.md",
        needs="pip install atomprint[generate]; no network",
        checked="distributions of the Materials Project (docs/generators.md)",
    )

    kind: Literal["derived"] = "derived"
    seed: int = Field(1, ge=0, description="of every random choice; others give other crystals")
    parents: str = Field(EMBEDDED, description="a store, files, or the word embedded")
    max_atoms: int = Field(40, ge=2, description="largest number of atoms in a cell")
    shares: DerivedShares = Field(DerivedShares(), description="of what is done")
    strain: float = Field(
        0.04, ge=0, lt=0.3, description="largest component of the strain; half of it for shear"
    )
    rattle: float = Field(
        0.1, ge=0, description="largest standard deviation of displacements (Å); each crystal has "
        "its own"
    )  # fmt: skip
    defects: float = Field(
        0.125, gt=0, lt=1, description="largest share of atoms that leave or change places"
    )
    closest: float = Field(
        CLOSEST, ge=0, description="crystals with a shorter distance by the sum of covalent radii "
        "are rejected"
    )  # fmt: skip

    @property
    def described(self) -> str:
        """What is fetched, for the store's provenance."""
        return f"atomprint's derived crystals, seed {self.seed}, of {self.parents}"

    def identity(self) -> str:
        """Settings, version, and the parents' content."""
        return f"{self.model_dump_json()} {VERSION} {parents_key(self.parents)}"

    def provenance(self, around: Surroundings) -> tuple[Provenance, ...]:
        """Those of the parents, and what was done to them with whose tables."""
        own = Provenance(source=self.described, licence=LICENCE, citation=self.card.citation)
        return (own, *parents_provenance(self.parents))

    def prepare(self, around: Surroundings) -> None:
        """Look for packages and parents."""
        need(("pymatgen", "smact"), "deriving crystals", "generate")
        small_enough(self.parents, self.max_atoms)

    def block(self, number: int) -> Block:
        """Make the crystals of a block, one after the other."""
        records, rejected = [], Counter[str]()
        for index in range(number * BLOCK, (number + 1) * BLOCK):
            made = self.derive(index)
            rejected.update(made.rejected)
            records.append(record_of(made.crystal))
        return Block(records, rejected)

    def derive(self, index: int) -> Derived:
        """Make the crystal of an index, whatever was made before.

        Raises
        ------
        UsageError
            If none of many parents allows what is to be done.
        """
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, index)))
        shares = np.array([getattr(self.shares, route) for route in ROUTES])
        # What is done is drawn first: parents that do not suit it do not change the shares.
        route = ROUTES[int(rng.choice(len(ROUTES), p=shares / shares.sum()))]
        parents, choice = open_parents(self.parents), small_enough(self.parents, self.max_atoms)
        rejected: Counter[str] = Counter()
        for _ in range(_MOST_TRIES):
            parent = parents[choice[int(rng.integers(len(choice)))]]
            # One defect in a cell of few atoms is more than the share that is wanted.
            least = 1 if route in ("strained", "substituted") else int(np.ceil(1 / self.defects))
            whole = draw_supercell(parent, least, self.max_atoms, rng)
            try:
                crystal = self._changed(whole, route, rng)
            except Unsuited:
                continue
            crystal = rattled(strained(crystal, self.strain, rng), self.rattle, rng)
            crystal = rounded(replace(crystal, id=f"derived-{self.seed}-{index:07d}"))
            if too_close(crystal.numbers, crystal.positions, crystal.cell, self.closest):
                rejected["too close"] += 1
                continue
            return Derived(crystal, whole, route, rejected)
        raise UsageError(
            f"{self.parents}: none of {_MOST_TRIES} parents drawn gave a crystal ({route}); set "
            f"shares.{route} to 0, or choose other parents"
        )

    def _changed(self, crystal: Crystal, route: Route, rng: np.random.Generator) -> Crystal:
        if route == "strained":
            return crystal
        tables = load_tables()
        if route == "vacancies":
            return make_vacancies(crystal, self.defects, tables, rng)
        if route == "antisites":
            return exchange_sites(crystal, self.defects, tables, rng)
        return substitute(crystal, tables, rng)
