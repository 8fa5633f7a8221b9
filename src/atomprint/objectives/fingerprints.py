"""Pre-train by regressing any set of fingerprints at once, computed on the fly."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from atomprint.backbones.base import Backbone
from atomprint.fingerprints import (
    EADSettings,
    Fingerprint,
    FingerprintSettings,
    LocalPropertiesSettings,
    SOAPSettings,
    fingerprint_id,
)
from atomprint.fingerprints.channels import ChannelName
from atomprint.heads.head import Head
from atomprint.heads.model import ModelSettings
from atomprint.heads.standardize import Standardizer
from atomprint.heads.target import Target
from atomprint.objectives.base import Objective, ObjectiveSettings, Sample, View
from atomprint.objectives.whitening import Whitener
from atomprint.structures.graph import GraphBatch

Loss = Literal["l1", "huber", "mse"]


def default_fingerprints() -> tuple[FingerprintSettings, ...]:
    """EAD, which says most of a neighbourhood for its cost, a small SOAP, and local properties.

    The last teach the network what elements are like and how an atom differs from those around it,
    which energies need and shapes alone leave out. Measured in docs/what-pretraining-buys.md.
    """
    channels: tuple[ChannelName, ...] = (
        "one",
        "Z",
        "electronegativity",
        "covalent_radius",
        "valence",
    )
    soap = SOAPSettings(n_max=6, l_max=4, cutoff_function="cosine", channels=channels)
    return EADSettings(), soap, LocalPropertiesSettings()


class FingerprintObjectiveSettings(ObjectiveSettings):
    """Regress structural fingerprints."""

    kind: Literal["fingerprints"] = "fingerprints"
    fingerprints: tuple[FingerprintSettings, ...] = Field(
        default_factory=default_fingerprints,
        min_length=1,
        description="the fingerprints to regress, all at once",
    )
    loss: Loss = Field("l1", description="loss of a standardised feature")
    transform: Literal["none", "root"] = Field(
        "none",
        description="root: sign(x) sqrt|x| of a value before it is standardised",
    )
    clip: float = Field(
        8.0, gt=0, description="standardised targets are clipped to this many spreads"
    )
    components: int = Field(
        0,
        ge=0,
        description="regress so many principal components of each fingerprint, all of unit "
        "spread, instead of its features; 0: the features",
    )
    layer: int = Field(-1, description="layer of the network whose features are read; -1: the last")

    def build(self, backbone: Backbone, model: ModelSettings) -> "FingerprintObjective":
        """Make the objective with random heads."""
        return FingerprintObjective(self, backbone.n_channels, model)


class FingerprintObjective(Objective):
    """Multi-task regression on fingerprints.

    A term a fingerprint: the mean over its standardised features (and over atoms or crystals).

    Parameters
    ----------
    settings
        Which fingerprints and how.
    n_channels
        Width of the backbone's features.
    model
        Shape of the heads.
    """

    settings: FingerprintObjectiveSettings

    def __init__(
        self, settings: FingerprintObjectiveSettings, n_channels: int, model: ModelSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        self.fingerprints = nn.ModuleList(s.build() for s in settings.fingerprints)
        self.terms = tuple(f"{s.kind}-{fingerprint_id(s)}" for s in settings.fingerprints)
        self.cutoff = max(f.cutoff for f in self._members())
        self.scales: nn.ModuleList = nn.ModuleList(
            Whitener(f.n_features, min(settings.components, f.n_features))
            if settings.components
            else Standardizer(f.n_features)
            for f in self._members()
        )
        sizes = [min(settings.components or f.n_features, f.n_features) for f in self._members()]
        self.heads = nn.ModuleList(
            Head(Target(name=n, per=f.per, size=s), n_channels, model.pooling, model.n_hidden)
            for n, f, s in zip(self.terms, self._members(), sizes, strict=True)
        )

    def _members(self) -> list[Fingerprint]:
        return [f for f in self.fingerprints if isinstance(f, Fingerprint)]

    def _scales(self) -> list[Standardizer | Whitener]:
        return [s for s in self.scales if isinstance(s, Standardizer | Whitener)]

    @torch.no_grad()
    def values(self, graph: GraphBatch) -> dict[str, Tensor]:
        """Transformed fingerprints by term, not yet standardised."""
        # Targets are exact whatever the network's precision.
        with torch.autocast(graph.device.type, enabled=False):
            values = {
                name: fingerprint(graph)
                for name, fingerprint in zip(self.terms, self._members(), strict=True)
            }
        if self.settings.transform == "root":
            values = {name: x.sign() * x.abs().sqrt() for name, x in values.items()}
        return values

    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit the scales of the fingerprints."""
        rows: dict[str, list[Tensor]] = {name: [] for name in self.terms}
        for sample in samples:
            for name, values in self.values(sample.graph).items():
                rows[name].append(values)
        for name, scale in zip(self.terms, self._scales(), strict=True):
            scale.fit(torch.cat(rows[name]))

    def counts(self, view: View) -> dict[str, Tensor | int]:
        """Atoms or crystals, as the fingerprint is."""
        sizes = {"atom": view.graph.n_atoms, "crystal": view.graph.n_crystals}
        return {
            name: sizes[member.per]
            for name, member in zip(self.terms, self._members(), strict=True)
        }

    def losses(self, view: View) -> dict[str, Tensor]:
        """Mean error of each fingerprint's standardised features."""
        values = self.values(view.graph)
        features = view.features.layer(self.settings.layer)
        found = {}
        for name, head, scale in zip(self.terms, self.heads, self.scales, strict=True):
            wanted = scale(values[name]).clamp(-self.settings.clip, self.settings.clip)
            found[name] = error(head(features, view.graph), wanted, self.settings.loss)
        return found


def error(predicted: Tensor, wanted: Tensor, loss: Loss) -> Tensor:
    """Mean loss of predictions.

    Parameters
    ----------
    predicted, wanted
        Of one shape.
    loss
        ``huber`` is smooth L1.
    """
    if loss == "l1":
        return nn.functional.l1_loss(predicted, wanted)
    if loss == "huber":
        return nn.functional.smooth_l1_loss(predicted, wanted)
    return nn.functional.mse_loss(predicted, wanted)
