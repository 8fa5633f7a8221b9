"""Pre-train on labels: the way that fingerprints are to replace, for comparison."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from atomprint.backbones.base import Backbone
from atomprint.heads.head import Head
from atomprint.heads.model import ModelSettings
from atomprint.heads.standardize import Standardizer
from atomprint.heads.target import Target
from atomprint.objectives.base import Objective, ObjectiveSettings, Sample, View


class LabelObjectiveSettings(ObjectiveSettings):
    """Regress labels of the corpus."""

    kind: Literal["labels"] = "labels"
    names: tuple[str, ...] = Field(min_length=1, description="labels, a number a crystal each")

    def build(self, backbone: Backbone, model: ModelSettings) -> "LabelObjective":
        """Make the objective with random heads."""
        return LabelObjective(self, backbone.n_channels, model)


class LabelObjective(Objective):
    """Supervised pre-training: L1 of standardised labels; crystals without one do not count.

    Parameters
    ----------
    settings
        Which labels.
    n_channels
        Width of the backbone's features.
    model
        Shape of the heads.
    """

    settings: LabelObjectiveSettings

    def __init__(
        self, settings: LabelObjectiveSettings, n_channels: int, model: ModelSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        self.terms = settings.names
        self.labels = tuple(Target(name=name) for name in settings.names)
        self.heads = nn.ModuleList(
            Head(target, n_channels, model.pooling, model.n_hidden) for target in self.labels
        )
        self.scales = nn.ModuleList(Standardizer(1) for _ in self.labels)

    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit the scales of the labels."""
        for name, scale in zip(self.terms, self._scales(), strict=True):
            scale.fit(torch.cat([sample.labels[name] for sample in samples]))

    def _scales(self) -> list[Standardizer]:
        return [s for s in self.scales if isinstance(s, Standardizer)]

    def counts(self, view: View) -> dict[str, Tensor | int]:
        """Known labels."""
        return {name: torch.isfinite(view.labels[name]).sum() for name in self.terms}

    def losses(self, view: View) -> dict[str, Tensor]:
        """Mean L1 error of the known labels, in spreads."""
        found = {}
        for name, head, scale in zip(self.terms, self.heads, self.scales, strict=True):
            known = torch.isfinite(view.labels[name])
            gap = head(view.features.scalars, view.graph) - scale(view.labels[name])
            found[name] = torch.where(known, gap, torch.zeros_like(gap)).abs().sum()
            found[name] = found[name] / known.sum().clamp(min=1)
        return found
