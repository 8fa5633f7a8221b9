"""Two-dimensional crystals as a source: each a function of settings and index alone."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from atomprint.data.sources.base import Card, Surroundings
from atomprint.data.sources.blocks import Block, BlockSource, need, record_of
from atomprint.data.sources.bonded import components
from atomprint.data.sources.contacts import CLOSEST, too_close
from atomprint.data.sources.derived.supercells import rattled
from atomprint.data.sources.generated.chemistry import load_chemistry
from atomprint.data.sources.generated.decoration import Candidate, Decorator
from atomprint.data.sources.generated.generator import (
    LICENCE,
    GeneratorSettings,
    score_contacts,
)
from atomprint.data.sources.generated.relaxation import Draft, relax
from atomprint.data.sources.layers.lengths import fit_to_lengths
from atomprint.data.sources.layers.peeling import peel
from atomprint.data.sources.layers.types import covalent_types, decorate, ionic_types
from atomprint.data.sources.parents import (
    EMBEDDED,
    open_parents,
    parents_key,
    parents_provenance,
    small_enough,
)
from atomprint.data.sources.rounding import rounded
from atomprint.data.sources.vacuum import LEAST, MOST, draw_vacuum, in_vacuum
from atomprint.data.store import Provenance
from atomprint.ground.elements import symbols
from atomprint.ground.errors import UsageError
from atomprint.ground.settings import Settings
from atomprint.structures.crystal import Crystal

BLOCK = 200
"""Layers of a block, fitted to bond valences together."""
VERSION = 1
"""Goes up when the same settings give other crystals."""
_MOST_ROUNDS = 400
_LARGEST_MISFIT = 0.05
"""Root mean square of bond lengths by wanted lengths minus 1 above which a type does not fit."""
_RULES = GeneratorSettings()
_REPULSION = 0.0005
"""Of like charges, a tenth of the generator's: with nothing above and below, layers grow flat by
it (dihalides 30 % thinner than in JARVIS-DFT, with this 0 to 5 %)."""
_NUMBER = {symbol: number for number, symbol in enumerate(symbols)}

Route = Literal["ionic", "covalent", "peeled"]
ROUTES: tuple[Route, ...] = ("ionic", "covalent", "peeled")


class LayersShares(Settings):
    """Shares of how layers are made; only their ratios count."""

    ionic: float = Field(
        0.6, ge=0, description="layer types with balanced charges, fitted to bond valences"
    )
    covalent: float = Field(
        0.3, ge=0, description="covalent and metallic layer types (BN, GaSe, MXenes), fitted to "
        "bond lengths"
    )  # fmt: skip
    peeled: float = Field(0.1, ge=0, description="layers of layered parents")

    @model_validator(mode="after")
    def _some(self) -> "LayersShares":
        if not any(getattr(self, route) for route in ROUTES):
            raise ValueError("all shares are 0; make one of them larger")
        return self


@dataclass(frozen=True)
class Layer:
    """A layer and where it comes from.

    Attributes
    ----------
    crystal
        The layer, with vacuum along the third lattice vector.
    route
        How it was made.
    prototype
        The type, or the parent's id.
    vacuum
        Å, before the rattle.
    """

    crystal: Crystal
    route: Route
    prototype: str
    vacuum: float


class LayersSettings(BlockSource):
    """Two-dimensional crystals with vacuum: decorated layer types, layers of layered parents."""

    shard_crystals: ClassVar[int] = 25 * BLOCK
    card: ClassVar[Card] = Card(
        title="layers",
        domain="two-dimensional crystals with vacuum: chalcogenides, halides, oxyhalides, "
        "quintuple layers, perovskite sheets, MXenes, III-VI and group IV and V layers",
        size="no end",
        licence=LICENCE,
        citation="atomprint, docs/corpora.md; of peeled layers that of the parents",
        needs="pip install atomprint[generate]; no network",
        checked="shapes of JARVIS-DFT's layers (docs/generators.md)",
    )

    kind: Literal["layers"] = "layers"
    seed: int = Field(1, ge=0, description="of every random choice; others give other crystals")
    shares: LayersShares = Field(LayersShares(), description="of how they are made")
    parents: str = Field(
        EMBEDDED, description="what layers are peeled from: a store, files, or the word embedded"
    )
    max_atoms: int = Field(40, ge=2, description="largest number of atoms of a peeled layer")
    min_vacuum: float = Field(LEAST, gt=0, description="from top to bottom of the next image, Å")
    max_vacuum: float = Field(MOST, gt=0, description="the same, at most")
    strain: float = Field(0.02, ge=0, lt=0.3, description="largest component of a strain in plane")
    rattle: float = Field(
        0.03, ge=0, description="largest standard deviation of displacements (Å); each layer has "
        "its own"
    )  # fmt: skip
    closest: float = Field(
        CLOSEST, ge=0, description="layers with a shorter distance by the sum of covalent radii "
        "are rejected"
    )  # fmt: skip

    @model_validator(mode="after")
    def _ordered(self) -> "LayersSettings":
        if self.min_vacuum > self.max_vacuum:
            raise ValueError("min_vacuum is larger than max_vacuum; exchange them")
        return self

    @property
    def described(self) -> str:
        """What is fetched, for the store's provenance."""
        return f"atomprint's layers, seed {self.seed}"

    def identity(self) -> str:
        """Settings, version, and the parents' content."""
        parents = parents_key(self.parents) if self.shares.peeled else ""
        return f"{self.model_dump_json()} {VERSION} {parents}"

    def provenance(self, around: Surroundings) -> tuple[Provenance, ...]:
        """Our own, and of peeled layers those of the parents."""
        own = Provenance(source=self.described, licence=LICENCE, citation=self.card.citation)
        return (own, *(parents_provenance(self.parents) if self.shares.peeled else ()))

    def prepare(self, around: Surroundings) -> None:
        """Look for packages and parents."""
        need(("pymatgen", "smact"), "making layers", "generate")
        if self.shares.peeled:
            small_enough(self.parents, self.max_atoms)

    def block(self, number: int) -> Block:
        """Make the layers of a block together."""
        layers, rejected = self.make(range(number * BLOCK, (number + 1) * BLOCK))
        return Block([record_of(layer.crystal) for layer in layers], rejected)

    def make(self, indices: Iterable[int]) -> tuple[list[Layer], Counter[str]]:
        """Make the layers of some indices, and count what was rejected.

        A layer follows from its index: only the fits to bond valences, of which none sees another,
        are done at once.

        Raises
        ------
        UsageError
            If a layer does not come about in many tries.
        """
        rejected: Counter[str] = Counter()
        done: dict[int, Layer] = {}
        indices = list(indices)
        waiting = [_Attempt(self, index) for index in indices]
        for _ in range(_MOST_ROUNDS):
            if not waiting:
                break
            drafts = [attempt.draw() for attempt in waiting]
            ionic = [draft for draft in drafts if isinstance(draft, Candidate)]
            fitted = iter(
                relax(
                    [candidate.draft for candidate in ionic],
                    n_steps=_RULES.n_steps,
                    repulsion=_REPULSION,
                    evenness=_RULES.evenness,
                )
            )
            left = []
            for attempt, draft in zip(waiting, drafts, strict=True):
                if isinstance(draft, Candidate):
                    draft = _ionic_layer(draft, next(fitted))
                reason, layer = attempt.finish(draft)
                if layer is None:
                    left.append(attempt)
                    if reason:
                        rejected[reason] += 1
                else:
                    done[attempt.index] = layer
            waiting = left
        if waiting:
            raise UsageError(
                f"no layer of the kind {waiting[0].route} came about in {_MOST_ROUNDS} tries; set "
                f"shares.{waiting[0].route} to 0, or choose other parents"
            )
        return [done[index] for index in indices], rejected


@dataclass(frozen=True)
class _Flat:
    """A layer before vacuum, strain and rattle: heights are not wrapped."""

    crystal: Crystal
    prototype: str


Reason = str


def _ionic_layer(candidate: Candidate, draft: Draft) -> _Flat | Reason:
    """A decorated layer after its fit, or why it is none."""
    chemistry = load_chemistry()
    if not (np.isfinite(draft.cell).all() and np.isfinite(draft.frac).all()):
        return "implausible"
    if score_contacts(candidate.element, draft, _RULES, chemistry) is None:
        return "implausible"
    numbers = np.array([chemistry.number[chemistry.symbols[e]] for e in candidate.element])
    cell = draft.cell * (1.0 + _RULES.expansion)
    return _Flat(Crystal.make("", numbers, cell, frac=draft.frac), candidate.prototype)


class _Attempt:
    """Tries to make the layer of one index, with chance of its own."""

    def __init__(self, source: LayersSettings, index: int) -> None:
        self.source, self.index = source, index
        self.rng = np.random.default_rng(np.random.SeedSequence((source.seed, index)))
        shares = np.array([getattr(source.shares, route) for route in ROUTES])
        # Drawn once: types that do not come about do not change the shares.
        self.route = ROUTES[int(self.rng.choice(len(ROUTES), p=shares / shares.sum()))]

    def draw(self) -> Candidate | _Flat | Reason:
        """Draw a decoration or a parent; an empty reason where it came to nothing."""
        if self.route == "ionic":
            decorator = Decorator(load_chemistry(), ionic_types(), self.rng, 40, 1)
            route = "substitution" if self.rng.random() < 0.6 else "charge-balanced"
            candidates = decorator.draw(route)
            return candidates[0] if candidates else ""
        if self.route == "covalent":
            return self._covalent()
        return self._peeled()

    def _covalent(self) -> _Flat | Reason:
        types = covalent_types()
        weights = np.array([kind.popularity for kind in types])
        kind = types[int(self.rng.choice(len(types), p=weights / weights.sum()))]
        numbers = np.array([_NUMBER[e] for e in decorate(kind, self.rng)])
        native = np.array([_NUMBER[e] for e in kind.native])
        positions, cell, misfit = fit_to_lengths(kind.positions, kind.cell, native, numbers)
        if misfit > _LARGEST_MISFIT:
            return "implausible"
        return _Flat(Crystal("", numbers, positions, cell), kind.name)

    def _peeled(self) -> _Flat | Reason:
        parents = open_parents(self.source.parents)
        choice = small_enough(self.source.parents, self.source.max_atoms)
        # Few crystals are layered: looking at one is no candidate.
        for _ in range(10):
            parent = parents[choice[int(self.rng.integers(len(choice)))]]
            layer = peel(parent, self.source.min_vacuum, self.rng)
            if layer is not None:
                return _Flat(layer, parent.id)
        return ""

    def finish(self, drawn: Candidate | _Flat | Reason) -> tuple[Reason, Layer | None]:
        """Add vacuum, strain and rattle, and check; a reason where the layer is none."""
        if not isinstance(drawn, _Flat):
            return str(drawn), None
        source, rng = self.source, self.rng
        flat = drawn.crystal
        draws = rng.uniform(-source.strain, source.strain, 3)
        strain = np.array([[draws[0], draws[1] / 2, 0], [draws[1] / 2, draws[2], 0], [0, 0, 0]])
        deformation = np.eye(3) + strain
        vacuum = draw_vacuum(source.min_vacuum, source.max_vacuum, rng)
        positions, cell = in_vacuum(
            flat.positions @ deformation, flat.cell[0] @ deformation, flat.cell[1] @ deformation,
            vacuum,
        )  # fmt: skip
        name = f"layer-{source.seed}-{self.index:07d}"
        crystal = rounded(rattled(Crystal(name, flat.numbers, positions, cell), source.rattle, rng))
        if too_close(crystal.numbers, crystal.positions, crystal.cell, source.closest):
            return "too close", None
        parts = components(crystal)
        if len(parts) != 1 or parts[0].dimension != 2:
            return "not one layer", None
        return "", Layer(crystal, self.route, drawn.prototype, vacuum)
