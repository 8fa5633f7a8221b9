"""Pre-train by finding the way back from displaced atoms and strained cells."""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from atomprint.backbones.base import Backbone
from atomprint.heads.model import ModelSettings
from atomprint.heads.target import Target
from atomprint.objectives.base import Objective, ObjectiveSettings, View
from atomprint.structures.perturb import DISPLACEMENT


class DenoisingSettings(ObjectiveSettings):
    """Predict the displacement of every atom from where it stood."""

    kind: Literal["denoising"] = "denoising"
    scale: float = Field(0.05, gt=0, description="displacements are counted in units of this, Å")

    def build(self, backbone: Backbone, model: ModelSettings) -> "DenoisingObjective":
        """Make the objective with a random head."""
        return DenoisingObjective(self, backbone.n_channels, model)


class DenoisingObjective(Objective):
    """Coordinate denoising by vectors (Zaidi et al. 2023, arXiv 2206.00133, eq. 3).

    Parameters
    ----------
    settings
        Of the objective.
    n_channels
        Width of the backbone's features.
    model
        Shape of the head.
    """

    settings: DenoisingSettings
    terms = ("displacement",)
    labels = (Target(name=DISPLACEMENT, per="atom", size=3),)

    def __init__(self, settings: DenoisingSettings, n_channels: int, model: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.gate = nn.Sequential(
            nn.Linear(n_channels, model.n_hidden), nn.SiLU(), nn.Linear(model.n_hidden, n_channels)
        )
        self.mix = nn.Linear(n_channels, 1, bias=False)

    def losses(self, view: View) -> dict[str, Tensor]:
        """Mean square of what is left of the displacement, in units of the scale."""
        vectors = view.features.vectors
        if vectors is None:
            raise ValueError("denoising needs a backbone with vectors")
        found = self.mix(vectors * self.gate(view.features.scalars)[:, None, :]).squeeze(-1)
        wanted = -view.labels[DISPLACEMENT] / self.settings.scale
        return {"displacement": nn.functional.mse_loss(found, wanted)}
