"""Pre-train by regressing any set of fingerprints at once, computed on the fly."""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from atomprint.fingerprints import EADSettings, Fingerprint, FingerprintSettings, fingerprint_id
from atomprint.ground.settings import Settings
from atomprint.heads.model import Model
from atomprint.heads.target import Target
from atomprint.structures.graph import GraphBatch


class FingerprintObjectiveSettings(Settings):
    """Which fingerprints, and how their errors are weighed."""

    fingerprints: tuple[FingerprintSettings, ...] = Field(
        default_factory=lambda: (EADSettings(),),
        min_length=1,
        description="the fingerprints to regress, all at once",
    )
    loss: Literal["l1", "huber", "mse"] = Field("l1", description="loss of a standardised feature")
    transform: Literal["none", "root"] = Field(
        "none",
        description="root: sign(x) sqrt|x| of a value before it is standardised",
    )
    weighting: Literal["uncertainty", "equal"] = Field(
        "uncertainty", description="weights of the fingerprints: learned, or all one"
    )
    clip: float = Field(
        8.0, gt=0, description="standardised targets are clipped to this many spreads"
    )


class FingerprintObjective(nn.Module):
    """Multi-task regression on fingerprints.

    The loss of a fingerprint is the mean over its standardised features (and over atoms or
    crystals). With ``weighting="uncertainty"`` the k-th loss L_k enters as
    ``L_k exp(-s_k) + s_k`` with a learned s_k, the maximum likelihood of a Laplace (or Gaussian)
    error of unknown width (Kendall, Gal & Cipolla 2018, arXiv 1705.07115, sec. 3): tasks that
    cannot be predicted well do not drown the others.
    """

    def __init__(self, settings: FingerprintObjectiveSettings) -> None:
        super().__init__()
        self.settings = settings
        self.fingerprints = nn.ModuleList(s.build() for s in settings.fingerprints)
        names = [f"{s.kind}-{fingerprint_id(s)}" for s in settings.fingerprints]
        self.targets = tuple(
            Target(name=name, per=f.per, size=f.n_features)
            for name, f in zip(names, self._members(), strict=True)
        )
        self.log_widths = nn.Parameter(
            torch.zeros(len(names)), requires_grad=settings.weighting == "uncertainty"
        )

    def _members(self) -> list[Fingerprint]:
        return [f for f in self.fingerprints if isinstance(f, Fingerprint)]

    @property
    def cutoff(self) -> float:
        """The largest cutoff that a fingerprint asks for, Å."""
        return max(f.cutoff for f in self._members())

    @torch.no_grad()
    def values(self, graph: GraphBatch) -> dict[str, Tensor]:
        """Transformed fingerprints by name of the target, not yet standardised."""
        # Targets are exact whatever the network's precision.
        with torch.autocast(graph.device.type, enabled=False):
            values = {
                target.name: fingerprint(graph)
                for target, fingerprint in zip(self.targets, self._members(), strict=True)
            }
        if self.settings.transform == "root":
            values = {name: x.sign() * x.abs().sqrt() for name, x in values.items()}
        return values

    def fit_standardizers(self, model: Model, graphs: Iterable[GraphBatch]) -> None:
        """Fit the model's standardisers on the fingerprints of some crystals of the corpus."""
        rows: dict[str, list[Tensor]] = {t.name: [] for t in self.targets}
        for graph in graphs:
            for name, values in self.values(graph).items():
                rows[name].append(values)
        for name, parts in rows.items():
            model.standardizer(name).fit(torch.cat(parts))

    def loss(self, model: Model, graph: GraphBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted loss of a batch, and each fingerprint's own loss for the log."""
        values = self.values(graph)
        predictions = model(graph)
        total = predictions[self.targets[0].name].new_zeros(())
        log: dict[str, Tensor] = {}
        for index, target in enumerate(self.targets):
            wanted = model.standardizer(target.name)(values[target.name])
            wanted = wanted.clamp(-self.settings.clip, self.settings.clip)
            one = self._error(predictions[target.name], wanted)
            log[target.name] = one.detach()
            if self.settings.weighting == "uncertainty":
                total = total + one * torch.exp(-self.log_widths[index]) + self.log_widths[index]
            else:
                total = total + one
        return total, log

    def _error(self, predicted: Tensor, wanted: Tensor) -> Tensor:
        if self.settings.loss == "l1":
            return nn.functional.l1_loss(predicted, wanted)
        if self.settings.loss == "huber":
            return nn.functional.smooth_l1_loss(predicted, wanted)
        return nn.functional.mse_loss(predicted, wanted)
