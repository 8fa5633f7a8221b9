"""Slabs cut from parents: each a function of settings and index alone."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from atomprint.data.sources.base import Card, Surroundings
from atomprint.data.sources.blocks import Block, BlockSource, need, record_of
from atomprint.data.sources.contacts import CLOSEST, too_close
from atomprint.data.sources.derived.supercells import rattled
from atomprint.data.sources.derived.tables import Unsuited, states_of
from atomprint.data.sources.parents import (
    EMBEDDED,
    open_parents,
    parents_key,
    parents_provenance,
    small_enough,
)
from atomprint.data.sources.rounding import rounded
from atomprint.data.sources.slabs.cut import (
    Miller,
    Repeat,
    both_sides_alike,
    dipole,
    look_along,
    planes,
    stack,
)
from atomprint.data.sources.vacuum import LEAST, MOST, draw_vacuum, in_vacuum
from atomprint.data.store import Provenance
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal, FloatArray

BLOCK = 200
"""Slabs of a block."""
VERSION = 1
"""Goes up when the same settings give other crystals."""
_MOST_TRIES = 2000
_NEARLY_BEST = 1.2
"""Cuts that break up to so many times as much as the best one may be taken,"""
_FOR_SYMMETRY = 1.5
"""and of those with like sides, up to so many times."""
_POLAR = 0.1
"""Å; dipole by positive charge above which a cut is polar."""


@dataclass(frozen=True)
class Slab:
    """A slab and where it comes from.

    Attributes
    ----------
    crystal
        The slab, with vacuum along the third lattice vector.
    parent
        What it was cut from.
    plane
        Miller indices in the parent's own cell.
    n_repeats
        How many cells of the parent lie on each other.
    vacuum
        Å, before the rattle.
    alike
        Whether both sides are the same planes of atoms.
    rejected
        Candidates thrown away on the way, by reason.
    """

    crystal: Crystal
    parent: Crystal
    plane: Miller
    n_repeats: int
    vacuum: float
    alike: bool
    rejected: Counter[str]


class SlabsSettings(BlockSource):
    """Slabs of other crystals along low-index planes, stoichiometric, with vacuum."""

    shard_crystals: ClassVar[int] = 25 * BLOCK
    card: ClassVar[Card] = Card(
        title="slabs",
        domain="surfaces: slabs of your crystals, or of the embedded ones, along low-index planes, "
        "unreconstructed, with vacuum",
        size="no end",
        licence="that of the parents",
        citation="that of the parents; atomprint, docs/corpora.md",
        needs="pip install atomprint[generate]; no network",
        checked="vacuum of JARVIS-DFT's layers (docs/generators.md)",
    )

    kind: Literal["slabs"] = "slabs"
    seed: int = Field(1, ge=0, description="of every random choice; others give other crystals")
    parents: str = Field(EMBEDDED, description="a store, files, or the word embedded")
    max_atoms: int = Field(60, ge=2, description="largest number of atoms in a cell")
    max_index: int = Field(
        1, ge=1, le=3, description="largest Miller index, of the parents' cells as they are"
    )
    min_thickness: float = Field(5.0, gt=0, description="of a slab, Å, in whole repeats")
    max_thickness: float = Field(15.0, gt=0, description="of a slab, Å")
    min_vacuum: float = Field(LEAST, gt=0, description="from top to bottom of the next image, Å")
    max_vacuum: float = Field(MOST, gt=0, description="the same, at most")
    polar: bool = Field(
        False, description="whether cuts with a dipole are kept, where oxidation states are known"
    )
    rattle: float = Field(
        0.05, ge=0, description="largest standard deviation of displacements (Å); each slab has "
        "its own"
    )  # fmt: skip
    closest: float = Field(
        CLOSEST, ge=0, description="slabs with a shorter distance by the sum of covalent radii are "
        "rejected"
    )  # fmt: skip

    @model_validator(mode="after")
    def _ordered(self) -> "SlabsSettings":
        for what in ("thickness", "vacuum"):
            if getattr(self, f"min_{what}") > getattr(self, f"max_{what}"):
                raise ValueError(f"min_{what} is larger than max_{what}; exchange them")
        return self

    @property
    def described(self) -> str:
        """What is fetched, for the store's provenance."""
        return f"atomprint's slabs, seed {self.seed}, of {self.parents}"

    def identity(self) -> str:
        """Settings, version, and the parents' content."""
        return f"{self.model_dump_json()} {VERSION} {parents_key(self.parents)}"

    def provenance(self, around: Surroundings) -> tuple[Provenance, ...]:
        """Those of the parents, and who cut them."""
        own = Provenance(
            source=self.described,
            licence="MIT, like the package; the crystals that were cut carry their own",
            citation=self.card.citation,
        )
        return (own, *parents_provenance(self.parents))

    def prepare(self, around: Surroundings) -> None:
        """Look for packages and parents."""
        need(("pymatgen", "smact"), "cutting slabs", "generate")
        small_enough(self.parents, self.max_atoms)

    def block(self, number: int) -> Block:
        """Make the slabs of a block, one after the other."""
        records, rejected = [], Counter[str]()
        for index in range(number * BLOCK, (number + 1) * BLOCK):
            slab = self.cut(index)
            rejected.update(slab.rejected)
            records.append(record_of(slab.crystal))
        return Block(records, rejected)

    def cut(self, index: int) -> Slab:
        """Make the slab of an index, whatever was made before.

        Raises
        ------
        UsageError
            If none of many parents can be cut as the settings say.
        """
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, index)))
        parents, choice = open_parents(self.parents), small_enough(self.parents, self.max_atoms)
        every = planes(self.max_index)
        rejected: Counter[str] = Counter()
        for _ in range(_MOST_TRIES):
            parent = parents[choice[int(rng.integers(len(choice)))]]
            plane = every[int(rng.integers(len(every)))]
            charges = _charges(parent)
            repeat = look_along(parent, plane, charges)
            n = self._repeats(repeat, rng)
            if repeat is None or n == 0:
                continue
            at = self._choose_cut(repeat, charges, rng)
            if at is None:
                rejected["polar"] += 1
                continue
            numbers, positions = stack(repeat, at, n)
            vacuum = draw_vacuum(self.min_vacuum, self.max_vacuum, rng)
            positions, cell = in_vacuum(positions, repeat.cell[0], repeat.cell[1], vacuum)
            name = f"slab-{self.seed}-{index:07d}"
            crystal = rattled(Crystal(name, numbers, positions, cell), self.rattle, rng)
            crystal = rounded(crystal)
            if too_close(crystal.numbers, crystal.positions, crystal.cell, self.closest):
                rejected["too close"] += 1
                continue
            alike = both_sides_alike(repeat, at)
            return Slab(crystal, parent, plane, n, vacuum, alike, rejected)
        raise UsageError(
            f"{self.parents}: none of {_MOST_TRIES} parents drawn gave a slab of "
            f"{self.min_thickness} to {self.max_thickness} Å with at most {self.max_atoms} atoms; "
            "allow more"
        )

    def _repeats(self, repeat: Repeat | None, rng: np.random.Generator) -> int:
        """How many cells lie on each other; 0 if no number does."""
        if repeat is None:
            return 0
        least = int(np.ceil(self.min_thickness / repeat.spacing))
        most = min(int(self.max_thickness / repeat.spacing), self.max_atoms // len(repeat.numbers))
        return int(rng.integers(least, most + 1)) if least <= most else 0

    def _choose_cut(
        self, repeat: Repeat, charges: FloatArray | None, rng: np.random.Generator
    ) -> float | None:
        """A height where few bonds break, both sides alike where there is one; None if polar."""
        cuts, broken = repeat.cuts, repeat.broken
        if charges is not None and not self.polar:
            flat = np.array([dipole(repeat, at, charges) < _POLAR for at in cuts])
            cuts, broken = cuts[flat], broken[flat]
            if not len(cuts):
                return None
        best = broken.min()
        alike = np.array([both_sides_alike(repeat, at) for at in cuts])
        good = alike & (broken <= _FOR_SYMMETRY * best + 1e-9)
        if not good.any():
            good = broken <= _NEARLY_BEST * best + 1e-9
        return float(rng.choice(cuts[good]))


def _charges(parent: Crystal) -> FloatArray | None:
    """Oxidation states of the atoms; None where unknown, or a metal."""
    try:
        states = states_of(parent)
    except Unsuited:
        return None
    charges = np.array([float(states[int(z)]) for z in parent.numbers])
    return charges if charges.any() else None
