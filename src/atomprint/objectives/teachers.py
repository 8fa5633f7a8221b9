"""Teachers whose features are computed from the structure or come with it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from atomprint.backbones.base import Backbone
from atomprint.fingerprints import Fingerprint, FingerprintSettings, SOAPSettings
from atomprint.ground.errors import DataError, UsageError
from atomprint.ground.settings import Settings
from atomprint.heads.standardize import Standardizer
from atomprint.heads.target import Target
from atomprint.objectives.base import Sample
from atomprint.objectives.whitening import Whitener
from atomprint.structures.graph import GraphBatch


class Teacher(nn.Module, ABC):
    """Features of every atom that a student is to match; never trained.

    Attributes
    ----------
    n_features
        Their number.
    cutoff
        What they need of the graph, Å; 0 if nothing.
    labels
        What batches must carry.
    """

    n_features: int
    cutoff: float = 0.0
    labels: tuple[Target, ...] = ()

    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit scales on crystals of the corpus."""

    def follow(self, backbone: Backbone) -> None:
        """Look at the student before a training step."""

    def known(self, graph: GraphBatch, labels: dict[str, Tensor]) -> Tensor:
        """Atoms that have features, ``(n_atoms,)`` bool."""
        return torch.ones_like(graph.numbers, dtype=torch.bool)

    @abstractmethod
    def forward(self, graph: GraphBatch, labels: dict[str, Tensor]) -> Tensor:
        """Features ``(n_atoms, n_features)`` without gradient; NaN where an atom has none."""


def _fine_soap() -> SOAPSettings:
    """SOAP at full resolution, smooth at the cutoff; what atoms are made of in two channels."""
    channels = ("one", "electronegativity", "covalent_radius")
    return SOAPSettings(n_max=8, l_max=6, cutoff_function="cosine", channels=channels)


class FingerprintTeacherSettings(Settings):
    """Fingerprints, too many features to regress one by one, through a frozen projection."""

    kind: Literal["fingerprints"] = "fingerprints"
    fingerprints: tuple[FingerprintSettings, ...] = Field(
        default_factory=lambda: (_fine_soap(),),
        min_length=1,
        description="per atom; their features stand side by side",
    )
    projection: Literal["random", "pca"] = Field(
        "random",
        description="random: orthonormal directions drawn once; pca: the first principal "
        "components of the corpus, of unit spread",
    )
    n_features: int = Field(128, ge=1, description="features after the projection")
    seed: int = Field(0, ge=0, description="of the random directions")

    @model_validator(mode="after")
    def _per_atom(self) -> "FingerprintTeacherSettings":
        for settings in self.fingerprints:
            if getattr(settings, "per", "atom") != "atom":
                raise ValueError(
                    f"a teacher's features belong to atoms and {settings.kind} is per crystal; "
                    "set per: atom"
                )
        return self

    def build(self, backbone: Backbone) -> "FingerprintTeacher":
        """Make the teacher; its scales are fitted later."""
        return FingerprintTeacher(self)


class FingerprintTeacher(Teacher):
    """Standardised fingerprints times a fixed matrix.

    Random directions keep the geometry of the atoms nearly as it is (Johnson & Lindenstrauss 1984):
    with k of n directions the square of a distance is ``k / n`` of what it was, within about a part
    ``sqrt(2 / k)``. One factor for all projected features brings their mean square to 1.

    Parameters
    ----------
    settings
        Which fingerprints, and which projection.

    Raises
    ------
    UsageError
        If more features are asked for than there are.
    """

    matrix: Tensor
    spread: Tensor

    def __init__(self, settings: FingerprintTeacherSettings) -> None:
        super().__init__()
        self.settings = settings
        self.fingerprints = nn.ModuleList(s.build() for s in settings.fingerprints)
        size = sum(f.n_features for f in self._members())
        self.n_features = settings.n_features
        if self.n_features > size:
            raise UsageError(
                f"the teacher's fingerprints have {size} features and n_features asks for "
                f"{self.n_features}; lower n_features to {size} at most"
            )
        self.cutoff = max(f.cutoff for f in self._members())
        if settings.projection == "pca":
            self.whitener = Whitener(size, self.n_features)
        else:
            self.scale = Standardizer(size)
            self.register_buffer("spread", torch.ones(()))
            self.register_buffer("matrix", directions(size, self.n_features, settings.seed))

    def _members(self) -> list[Fingerprint]:
        return [f for f in self.fingerprints if isinstance(f, Fingerprint)]

    def _values(self, graph: GraphBatch) -> Tensor:
        with torch.autocast(graph.device.type, enabled=False):
            return torch.cat([f(graph) for f in self._members()], 1)

    @torch.no_grad()
    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit scales, or the principal components."""
        values = torch.cat([self._values(sample.graph) for sample in samples])
        if self.settings.projection == "pca":
            self.whitener.fit(values)
            return
        self.scale.fit(values)
        projected = (self.scale(values) @ self.matrix).to(torch.float64)
        self.spread.copy_(projected.square().mean().sqrt().clamp(min=1e-6))

    @torch.no_grad()
    def forward(self, graph: GraphBatch, labels: dict[str, Tensor]) -> Tensor:
        """Projected fingerprints of the atoms."""
        values = self._values(graph)
        with torch.autocast(graph.device.type, enabled=False):
            if self.settings.projection == "pca":
                projected: Tensor = self.whitener(values)
            else:
                projected = self.scale(values) @ self.matrix / self.spread
        return projected


def directions(size: int, n_directions: int, seed: int) -> Tensor:
    """Orthonormal columns ``(size, n_directions)``, uniformly distributed, the same for a seed.

    The orthogonal factor of a Gaussian matrix, with the signs that make it uniform (Mezzadri 2007,
    arXiv math-ph/0609050).
    """
    gaussian = torch.randn(
        size, n_directions, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    orthogonal, triangle = torch.linalg.qr(gaussian)
    found: Tensor = orthogonal * triangle.diagonal().sign()
    return found.to(torch.float32).contiguous()


class LabelTeacherSettings(Settings):
    """Features that any program computed beforehand and that the crystals carry as a label."""

    kind: Literal["label"] = "label"
    name: str = Field(description="label per atom that holds the features")
    n_features: int = Field(ge=1, description="numbers an atom")

    def build(self, backbone: Backbone) -> "LabelTeacher":
        """Make the teacher; its scales are fitted later."""
        return LabelTeacher(self)


class LabelTeacher(Teacher):
    """Standardised features read from the data; an atom with a missing number does not count.

    They belong to the crystals as they are in the data, whatever perturbation the network sees.

    Parameters
    ----------
    settings
        Where they stand.
    """

    def __init__(self, settings: LabelTeacherSettings) -> None:
        super().__init__()
        self.settings = settings
        self.n_features = settings.n_features
        self.labels = (Target(name=settings.name, per="atom", size=settings.n_features),)
        self.scale = Standardizer(settings.n_features)

    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit the scales.

        Raises
        ------
        DataError
            If no atom has all its features.
        """
        values = torch.cat([sample.labels[self.settings.name] for sample in samples])
        values = values[torch.isfinite(values).all(1)]
        if not len(values):
            raise DataError(
                f"distillation: no atom of the corpus carries {self.settings.n_features} numbers "
                f"as label {self.settings.name!r}; add the label to the data or correct its name"
            )
        self.scale.fit(values)

    def known(self, graph: GraphBatch, labels: dict[str, Tensor]) -> Tensor:
        """Atoms with all their numbers."""
        return torch.isfinite(labels[self.settings.name]).all(1)

    @torch.no_grad()
    def forward(self, graph: GraphBatch, labels: dict[str, Tensor]) -> Tensor:
        """Standardised features of the atoms."""
        scaled: Tensor = self.scale(labels[self.settings.name])
        return scaled
