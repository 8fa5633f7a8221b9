"""What every objective promises."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, model_validator
from torch import Tensor, nn

from atomprint.backbones.base import AtomFeatures, Backbone
from atomprint.ground.settings import Settings
from atomprint.heads.target import Target
from atomprint.structures.graph import GraphBatch
from atomprint.structures.parts import Part
from atomprint.structures.perturb import PerturbSettings


class ObjectiveSettings(Settings):
    """Settings that every objective has."""

    kind: str
    weight: float = Field(1.0, gt=0, description="factor of its losses")
    start: float = Field(0.0, ge=0, lt=1, description="part of the run after which it begins")
    stop: float = Field(1.0, gt=0, le=1, description="part of the run after which it ends")

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> "ObjectiveSettings":
        if self.start >= self.stop:
            raise ValueError(f"start {self.start} is not below stop {self.stop}")
        return self

    def check(self, perturbation: PerturbSettings) -> None:
        """Refuse a perturbation of the crystals that the objective cannot work with.

        Raises
        ------
        ValueError
            Why, and what to set.
        """

    def is_on(self, progress: float) -> bool:
        """Whether the objective is at work when this part of the run is done."""
        return self.start <= progress < self.stop or (progress >= 1 and self.stop == 1)


@dataclass(frozen=True)
class Sample:
    """Crystals that statistics are fitted on: a batch with the labels asked for.

    Attributes
    ----------
    graph
        Perturbed as in training.
    labels
        By name, NaN where missing.
    """

    graph: GraphBatch
    labels: dict[str, Tensor]


@dataclass(frozen=True)
class View:
    """What a step shows an objective: the truth, what the network saw of it and made of it.

    Attributes
    ----------
    graph
        All elements, the geometry that the network saw.
    seen
        What the network saw: element 0 where an atom's element was hidden. Where an objective
        ``differentiates``, its geometry is a function of ``positions`` and ``strain``.
    hidden
        Atoms whose element was hidden, ``(n_atoms,)`` bool.
    labels
        What the objectives asked of the batch, by name; NaN where missing.
    backbone
        The network, for a second look.
    features
        What it made of ``seen``.
    positions, strain
        Where an objective ``differentiates``: Å, ``(n_atoms, 3)``, and a strain of zero,
        ``(n_crystals, 3, 3)``, both with a gradient.
    seed
        Of random choices in this step.
    progress
        Part of the run that is done, 0 to 1.
    part
        Where ``graph`` stands in the step's batch, if several processes share it. What is drawn at
        random is drawn for the whole batch, so that it is the same whatever their number.
    """

    graph: GraphBatch
    seen: GraphBatch
    hidden: Tensor
    labels: dict[str, Tensor]
    backbone: Backbone
    features: AtomFeatures
    positions: Tensor | None = None
    strain: Tensor | None = None
    seed: int = 0
    progress: float = 0.0
    part: Part | None = None

    @property
    def place(self) -> Part:
        """The part, also where it is the whole batch."""
        return self.part or Part(1, self.graph.n_crystals, self.graph.n_atoms)


class Objective(nn.Module, ABC):
    """One thing that a network is pre-trained to do; it brings its own heads.

    Attributes
    ----------
    settings
        Its own.
    terms
        Names of its losses, which are weighed one by one.
    cutoff
        What its targets need of the graph, Å; 0 if nothing.
    labels
        What batches must carry.
    hides, hides_in
        Part of the atoms whose elements it wants hidden from the network, and part of the crystals
        in which it wants that.
    differentiates
        Whether it takes derivatives by positions or strain.
    looks_again
        Whether gradients of its losses reach the network by looks of its own.
    judges
        Whether a lower loss speaks for a network: not where targets come from the network itself.
    whole
        Why its losses need the whole batch at once, so that processes cannot share it; empty: they
        are means over atoms or crystals.
    """

    settings: ObjectiveSettings
    terms: tuple[str, ...]
    cutoff: float = 0.0
    labels: tuple[Target, ...] = ()
    hides: float = 0.0
    hides_in: float = 1.0
    differentiates: bool = False
    looks_again: bool = False
    judges: bool = True
    whole: str = ""

    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit statistics (scales of targets) on crystals of the corpus."""

    def follow(self, backbone: Backbone) -> None:
        """Look at the network before a training step."""

    @abstractmethod
    def counts(self, view: View) -> dict[str, Tensor | int]:
        """Over how many atoms or crystals of the view each term's loss is a mean.

        Processes that share a batch weigh their losses by it: a mean of means is not the mean.
        """

    @abstractmethod
    def losses(self, view: View) -> dict[str, Tensor]:
        """Loss of every term, each a number; further numbers are only logged."""
