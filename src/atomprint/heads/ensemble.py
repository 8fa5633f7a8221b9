"""Several networks for the same targets, whose mean is the prediction."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from atomprint.backbones.base import Backbone
from atomprint.heads.model import Model
from atomprint.heads.standardize import Standardizer
from atomprint.structures.graph import GraphBatch


class Ensemble(Model):
    """Networks that were trained alike but for their seeds (Hansen and Salamon 1990).

    What errors of the members have in common stays; the rest averages out (doi 10.1109/34.58871).
    It predicts like one :class:`~atomprint.heads.model.Model`; its ``backbone`` is that of the
    first member.

    Parameters
    ----------
    members
        At least one; of the same settings and targets.
    """

    members: nn.ModuleList

    def __init__(self, members: Sequence[Model]) -> None:
        nn.Module.__init__(self)
        first = members[0]
        if any((m.settings, m.targets) != (first.settings, first.targets) for m in members):
            raise ValueError("members of an ensemble have the same settings and targets")
        self.settings = first.settings
        self.targets = first.targets
        self.members = nn.ModuleList(members)

    @property
    def models(self) -> list[Model]:
        """The members."""
        return [m for m in self.members if isinstance(m, Model)]

    @property
    def backbone(self) -> Backbone:  # type: ignore[override]
        """That of the first member: what embeds, and what further training starts from."""
        return self.models[0].backbone

    @property
    def cutoff(self) -> float:
        """Range of the backbones in Å."""
        return self.backbone.cutoff

    def forward(self, graph: GraphBatch) -> dict[str, Tensor]:
        """Means of the members' standardised predictions (logits, for classes)."""
        return _mean([model(graph) for model in self.models])

    def standardizer(self, name: str) -> Standardizer:
        """That of the first member: all were fitted on the same labels."""
        return self.models[0].standardizer(name)

    def predict(self, graph: GraphBatch) -> dict[str, Tensor]:
        """Means of the members' predictions in the targets' units, or of probabilities."""
        return _mean([model.predict(graph) for model in self.models])


def _mean(found: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([one[name] for one in found]).mean(0) for name in found[0]}
