"""Teachers that are networks: another checkpoint, or a running mean of the student."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from atomprint.backbones.base import AtomFeatures, Backbone
from atomprint.ground.errors import UsageError
from atomprint.ground.settings import Settings
from atomprint.heads.saved import load_model
from atomprint.heads.standardize import Standardizer
from atomprint.heads.target import Target
from atomprint.objectives.base import Sample
from atomprint.objectives.teachers import Teacher
from atomprint.structures.graph import GraphBatch
from atomprint.structures.perturb import DISPLACEMENT, STRAIN


class CheckpointTeacherSettings(Settings):
    """Another network of atomprint, as it was trained."""

    kind: Literal["checkpoint"] = "checkpoint"
    path: str = Field(description="folder that a pretrain or finetune run wrote")
    layers: tuple[int, ...] = Field(
        (-1,), min_length=1, description="its layers whose features stand side by side; -1: last"
    )

    def build(self, backbone: Backbone) -> "CheckpointTeacher":
        """Read the teacher; its scales are fitted later."""
        return CheckpointTeacher(self)


class CheckpointTeacher(Teacher):
    """Features of a frozen network, standardised on the corpus.

    Its weights become part of the run's state, so that a resumed run has the same teacher.

    Parameters
    ----------
    settings
        Which network, which layers.
    """

    def __init__(self, settings: CheckpointTeacherSettings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = load_model(Path(settings.path))[0].backbone.requires_grad_(False)
        self.cutoff = self.backbone.cutoff
        self.n_features = len(settings.layers) * self.backbone.n_channels
        self.scale = Standardizer(self.n_features)
        self.eval()

    def train(self, mode: bool = True) -> "CheckpointTeacher":
        """Stay in evaluation mode."""
        return super().train(False)

    def _values(self, graph: GraphBatch) -> Tensor:
        with torch.autocast(graph.device.type, enabled=False):
            features = self.backbone(graph)
        chosen = [layer_of(features, i, "the teacher") for i in self.settings.layers]
        return torch.cat(chosen, 1)

    @torch.no_grad()
    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit the scales."""
        self.scale.fit(torch.cat([self._values(sample.graph) for sample in samples]))

    @torch.no_grad()
    def forward(self, graph: GraphBatch, labels: dict[str, Tensor]) -> Tensor:
        """Standardised features of the atoms."""
        scaled: Tensor = self.scale(self._values(graph))
        return scaled


class EMATeacherSettings(Settings):
    """The student itself, as a running mean of its weights."""

    kind: Literal["ema"] = "ema"
    decay: float = Field(0.999, ge=0, lt=1, description="part of the teacher kept in a step")
    first_decay: float = Field(0.99, ge=0, lt=1, description="the same in the first step")
    n_ramp: int = Field(
        1_000, ge=0, description="steps in which the first decay grows to the last, linearly"
    )
    n_layers: int = Field(2, ge=1, description="last layers whose features are averaged")
    clean: bool = Field(
        False,
        description="show the teacher the crystals before they were perturbed, the student after",
    )

    def build(self, backbone: Backbone) -> "EMATeacher":
        """Make the teacher: a copy of the student."""
        return EMATeacher(self, backbone)


class EMATeacher(Teacher):
    """Self-distillation as in data2vec (Baevski et al. 2022, arXiv 2202.03555, sec. 3.3).

    The teacher's weights t follow the student's s: ``t <- d t + (1 - d) s`` before every step,
    where the decay d grows linearly from the first to the last one. At its first step the teacher
    is the student. Features are the mean over the last layers, each normalised over its channels (a
    layer norm without weights). The teacher sees all elements and, if asked, the unperturbed
    geometry.

    Parameters
    ----------
    settings
        How slowly it follows.
    backbone
        The student.
    """

    n_followed: Tensor

    def __init__(self, settings: EMATeacherSettings, backbone: Backbone) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = copy.deepcopy(backbone).requires_grad_(False)
        self.n_features = backbone.n_channels
        if settings.clean:
            displacement = Target(name=DISPLACEMENT, per="atom", size=3)
            self.labels = (displacement, Target(name=STRAIN, size=9))
        self.register_buffer("n_followed", torch.zeros((), dtype=torch.int64))
        self.eval()

    def train(self, mode: bool = True) -> "EMATeacher":
        """Stay in evaluation mode."""
        return super().train(False)

    def decay(self, step: int) -> float:
        """Part of the teacher that is kept in a step; steps count from 0."""
        first, last = self.settings.first_decay, self.settings.decay
        done = min(1.0, step / self.settings.n_ramp) if self.settings.n_ramp else 1.0
        return first + (last - first) * done

    @torch.no_grad()
    def follow(self, backbone: Backbone) -> None:
        """Move towards the student; at first, become it."""
        step = int(self.n_followed)
        share = 1 - self.decay(step - 1) if step else 1.0
        # Not its state_dict: amid a step that would shard the weights again, under FSDP.
        student = {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}
        for name, value in self.backbone.state_dict().items():
            if step and value.is_floating_point():
                value.lerp_(student[name], share)
            else:
                value.copy_(student[name])
        self.n_followed += 1

    @torch.no_grad()
    def forward(self, graph: GraphBatch, labels: dict[str, Tensor]) -> Tensor:
        """Mean of the normalised last layers."""
        with torch.autocast(graph.device.type, enabled=False):
            if self.settings.clean:
                graph = unperturbed(graph, labels[DISPLACEMENT], labels[STRAIN])
            features = self.backbone(graph)
            count = self.settings.n_layers
            layers = [layer_of(features, -i, "the student") for i in range(1, count + 1)]
            return torch.stack([nn.functional.layer_norm(x, x.shape[1:]) for x in layers]).mean(0)


def layer_of(features: AtomFeatures, layer: int, whose: str) -> Tensor:
    """Features ``(n_atoms, n_channels)`` after a layer, in the float type of weights.

    Raises
    ------
    UsageError
        If there is no such layer.
    """
    count = len(features.layers)
    if not -count <= layer < count:
        raise UsageError(
            f"distillation: {whose} has {count} layers and no layer {layer}; "
            f"choose from {-count} to {count - 1}"
        )
    return features.layers[layer]


def unperturbed(graph: GraphBatch, displacement: Tensor, strain: Tensor) -> GraphBatch:
    """The batch before its crystals were strained and displaced.

    Edges are those of the perturbed crystals: a pair that the perturbation took out of the cutoff
    is missing, where messages are almost zero.

    Parameters
    ----------
    graph
        Perturbed by :func:`atomprint.structures.perturb.perturb`.
    displacement
        Å, ``(n_atoms, 3)``; NaN counts as none.
    strain
        ``(n_crystals, 9)``; NaN counts as none.
    """
    one = torch.eye(3, dtype=graph.dtype, device=graph.device)
    change = one + strain.nan_to_num().to(graph.dtype).view(-1, 3, 3)
    back: Tensor = torch.linalg.inv(change)
    positions = graph.positions - displacement.nan_to_num().to(graph.dtype)
    positions = torch.einsum("ai,aij->aj", positions, back[graph.crystal_index])
    return graph.with_geometry(positions, graph.cells @ back)
