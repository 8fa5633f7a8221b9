"""Pre-train by recovering hidden elements from their surroundings."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from atomprint.backbones.base import Backbone
from atomprint.fingerprints.channels import ChannelName, channel_table
from atomprint.ground.elements import MAX_Z
from atomprint.heads.model import ModelSettings
from atomprint.objectives.base import Objective, ObjectiveSettings, View


class MaskingSettings(ObjectiveSettings):
    """Recover hidden elements: which one it is, and what it is like."""

    kind: Literal["masking"] = "masking"
    fraction: float = Field(0.25, gt=0, lt=1, description="part of the atoms that is hidden")
    crystals: float = Field(
        1.0, gt=0, le=1, description="part of the crystals in which atoms are hidden"
    )
    elements: bool = Field(True, description="predict the element (cross-entropy)")
    properties: tuple[ChannelName, ...] = Field(
        ("electronegativity", "covalent_radius", "valence", "period"),
        description="predict these properties of the element too (L1); empty: none",
    )
    layer: int = Field(-1, description="layer of the network whose features are read; -1: the last")

    def build(self, backbone: Backbone, model: ModelSettings) -> "MaskingObjective":
        """Make the objective with random heads."""
        return MaskingObjective(self, backbone.n_channels, model)


class MaskingObjective(Objective):
    """Masked elements, as attribute masking of Hu et al. 2020 (arXiv 1905.12265, sec. 3.1.2).

    The network sees element 0 in place of each hidden one, which has an embedding of its own.

    Parameters
    ----------
    settings
        How many, and what to recover.
    n_channels
        Width of the backbone's features.
    model
        Shape of the heads.

    Raises
    ------
    ValueError
        If there is nothing to recover.
    """

    settings: MaskingSettings
    table: Tensor

    def __init__(self, settings: MaskingSettings, n_channels: int, model: ModelSettings) -> None:
        super().__init__()
        if not settings.elements and not settings.properties:
            raise ValueError("masking: set elements or properties, or leave the objective out")
        self.settings = settings
        self.hides, self.hides_in = settings.fraction, settings.crystals
        terms = ["elements"] if settings.elements else []
        self.terms = (*terms, *(["properties"] if settings.properties else []))
        values = channel_table(settings.properties or ("one",)).to(torch.float32)
        # Scales over the elements, not over the corpus: rare ones count as much.
        self.register_buffer("table", (values - values[1:].mean(0)) / values[1:].std(0))
        self.project = nn.Sequential(nn.Linear(n_channels, model.n_hidden), nn.SiLU())
        if settings.elements:
            self.element = nn.Linear(model.n_hidden, MAX_Z + 1)
        if settings.properties:
            self.property = nn.Linear(model.n_hidden, len(settings.properties))

    def counts(self, view: View) -> dict[str, Tensor | int]:
        """Hidden atoms."""
        return dict.fromkeys(self.terms, view.hidden.sum())

    def losses(self, view: View) -> dict[str, Tensor]:
        """Cross-entropy of the hidden elements, and mean L1 of their properties."""
        hidden = view.hidden
        features = self.project(view.features.layer(self.settings.layer)[hidden])
        numbers = view.graph.numbers[hidden]
        found = {}
        # Of an empty selection the sum is 0, with a gradient of zero; a mean would be NaN.
        count = max(1, len(numbers))
        if "elements" in self.terms:
            logits = self.element(features)
            found["elements"] = nn.functional.cross_entropy(logits, numbers, reduction="sum")
        if "properties" in self.terms:
            gap = self.property(features) - self.table[numbers]
            found["properties"] = gap.abs().mean(-1).sum()
        return {name: value / count for name, value in found.items()}
