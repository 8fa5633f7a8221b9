"""A network for a list of targets: one backbone, a standardiser and a head for each target."""

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor, nn

from atomprint.backbones import BackboneSettings, PaiNNSettings
from atomprint.ground.settings import Settings
from atomprint.heads.head import Head, Pooling
from atomprint.heads.standardize import Standardizer
from atomprint.heads.target import Target
from atomprint.structures.graph import GraphBatch


class ModelSettings(Settings):
    """Settings of a network: its backbone and the shape of its heads."""

    backbone: BackboneSettings = Field(
        default_factory=PaiNNSettings, description="the graph network under the heads"
    )
    pooling: Pooling = Field("mean+max", description="how atoms become a crystal")
    n_hidden: int = Field(128, ge=1, description="width of the heads' hidden layers")


class Model(nn.Module):
    """A backbone with one head and one standardiser a target.

    Parameters
    ----------
    settings
        Of backbone and heads.
    targets
        What to predict; names must differ.
    """

    def __init__(self, settings: ModelSettings, targets: Sequence[Target]) -> None:
        super().__init__()
        self.settings = settings
        self.targets = tuple(targets)
        self.backbone = settings.backbone.build()
        # Heads go by position: module names may not hold every character a label may.
        self.heads = nn.ModuleList(
            Head(t, self.backbone.n_channels, settings.pooling, settings.n_hidden)
            for t in self.targets
        )
        self.standardizers = nn.ModuleList(
            nn.Identity() if t.is_class else Standardizer(t.size) for t in self.targets
        )

    @property
    def cutoff(self) -> float:
        """Range of the backbone in Å."""
        return self.backbone.cutoff

    def forward(self, graph: GraphBatch) -> dict[str, Tensor]:
        """Standardised predictions (logits, for classes) by name of the target."""
        scalars = self.backbone(graph).scalars
        return {
            target.name: head(scalars, graph)
            for target, head in zip(self.targets, self.heads, strict=True)
        }

    def standardizer(self, name: str) -> Standardizer:
        """Return the standardiser of a regression target."""
        index = [t.name for t in self.targets].index(name)
        found = self.standardizers[index]
        if not isinstance(found, Standardizer):
            raise KeyError(f"target {name!r} is a classification and has no standardiser")
        return found

    def predict(self, graph: GraphBatch) -> dict[str, Tensor]:
        """Predictions in the targets' own units; probabilities, for classes."""
        out = self(graph)
        return {
            t.name: out[t.name].softmax(-1)
            if t.is_class
            else self.standardizer(t.name).inverse(out[t.name])
            for t in self.targets
        }
