"""An objective whose losses a test can work by hand, and a network that never changes."""

from typing import Literal

from torch import nn

from atomprint.backbones import AtomFeatures
from atomprint.objectives import Objective, ObjectiveBase


class SumSettings(ObjectiveBase):
    """Settings of an objective whose losses a test can work by hand."""

    kind: Literal["sum"] = "sum"
    scales: tuple[float, ...] = (1.0,)


class Sum(Objective):
    """A term ``scale * |mean of a channel of the features - target|``, a channel a term."""

    def __init__(self, *scales, targets=None, **settings):
        super().__init__()
        self.settings = SumSettings(scales=scales, **settings)
        self.terms = tuple(f"t{i}" for i in range(len(scales)))
        self.targets = targets or [0.0] * len(scales)

    def counts(self, view):
        return dict.fromkeys(self.terms, view.graph.n_atoms)

    def losses(self, view):
        means = view.features.scalars.mean(0)
        return {
            f"t{i}": scale * (means[i] - target).abs()
            for i, (scale, target) in enumerate(
                zip(self.settings.scales, self.targets, strict=True)
            )
        }


class Still(nn.Module):
    """A network that says what it said once."""

    def __init__(self, backbone, graph):
        super().__init__()
        found = backbone(graph)
        scalars = found.scalars.detach().requires_grad_()
        self.features = AtomFeatures(scalars, None, (scalars,))

    def forward(self, graph):
        return self.features


def loss_of(mixture, backbone, graph, **more):
    total, log = mixture.loss(backbone, graph, {}, **more)
    return total, {name: float(value) for name, value in log.items()}
