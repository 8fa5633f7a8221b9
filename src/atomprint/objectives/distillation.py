"""Pre-train by matching the features of a teacher, atom by atom."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor, nn

from atomprint.backbones.base import Backbone
from atomprint.heads.head import Head
from atomprint.heads.model import ModelSettings
from atomprint.heads.target import Target
from atomprint.objectives.base import Objective, ObjectiveSettings, Sample, View
from atomprint.objectives.teacher_networks import (
    CheckpointTeacherSettings,
    EMATeacherSettings,
    layer_of,
)
from atomprint.objectives.teachers import FingerprintTeacherSettings, LabelTeacherSettings
from atomprint.structures.perturb import PerturbSettings

DistillationLoss = Literal["cosine", "huber", "relational"]
Relation = Literal["cosine", "distance"]

TeacherSettings = Annotated[
    FingerprintTeacherSettings
    | CheckpointTeacherSettings
    | EMATeacherSettings
    | LabelTeacherSettings,
    Field(discriminator="kind"),
]
"""Settings of any teacher, told apart by ``kind``."""

# The most atoms of a batch whose relations are compared: all pairs of them are.
_MAX_RELATED = 256


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class DistillationSettings(ObjectiveSettings):
    """Match a teacher's features."""

    kind: Literal["distillation"] = "distillation"
    teacher: TeacherSettings = Field(
        default_factory=FingerprintTeacherSettings, description="whose features"
    )
    layers: tuple[int, ...] = Field(
        (-1,),
        min_length=1,
        description="layers of the network that match them, each by itself; -1: the last",
    )
    loss: Annotated[tuple[DistillationLoss, ...], BeforeValidator(_as_tuple)] = Field(
        ("cosine",),
        min_length=1,
        description="cosine (1 - cosine), huber (smooth L1), relational (geometry of the batch); "
        "several: each a term of its own",
    )
    relation: Relation = Field(
        "cosine",
        description="what the relational loss compares: cosines between atoms, or their distances "
        "in units of the mean distance",
    )
    clip: float = Field(
        8.0, gt=0, description="standardised features are clipped to this many spreads"
    )
    hidden: float = Field(
        0.0, ge=0, lt=1, description="part of the atoms whose elements only the teacher sees"
    )
    crystals: float = Field(
        1.0, gt=0, le=1, description="part of the crystals in which elements are hidden"
    )
    atoms: Literal["all", "hidden"] = Field(
        "all", description="atoms that count: all, or those whose elements were hidden"
    )

    @model_validator(mode="after")
    def _has_something_to_learn(self) -> "DistillationSettings":
        for name in ("layers", "loss"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"distillation: {name} names one twice; leave out the second")
        if self.atoms == "hidden" and self.hidden == 0:
            raise ValueError(
                "distillation with atoms: hidden needs hidden atoms; set hidden to, say, 0.25"
            )
        if isinstance(self.teacher, EMATeacherSettings) and not (self.hidden or self.teacher.clean):
            raise ValueError(
                "distillation by an ema teacher that sees no more than the student teaches "
                "nothing; set hidden to, say, 0.25, or teacher.clean to true"
            )
        return self

    def check(self, perturbation: PerturbSettings) -> None:
        """Refuse a running mean that sees what the student sees."""
        still = perturbation.rattle == 0 and perturbation.strain == 0
        if isinstance(self.teacher, EMATeacherSettings) and not self.hidden and still:
            raise ValueError(
                "distillation by an ema teacher has no perturbation to undo where "
                "perturbation.rattle and .strain are 0; set one of them, or hidden to, say, 0.25"
            )

    def build(self, backbone: Backbone, model: ModelSettings) -> "DistillationObjective":
        """Make the objective with its teacher and random heads."""
        return DistillationObjective(self, backbone, model)


class DistillationObjective(Objective):
    """Features of some layers of the student against one teacher's, a term a layer and loss.

    Heads translate from the student to the teacher (the hints of Romero et al. 2015,
    arXiv 1412.6550); the relational loss compares atoms with atoms on either side and needs none.
    With a running mean as the teacher ``spread`` is logged beside the losses: the standard
    deviation over the batch's atoms of what the student predicts, averaged over features. Towards 0
    the two have agreed on saying the same of every atom. Where processes share a batch it is the
    mean of what each finds among its own atoms.

    Parameters
    ----------
    settings
        Of the objective.
    backbone
        The student.
    model
        Shape of the heads.
    """

    settings: DistillationSettings

    def __init__(
        self, settings: DistillationSettings, backbone: Backbone, model: ModelSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        self.teacher = settings.teacher.build(backbone)
        self.cutoff, self.labels = self.teacher.cutoff, self.teacher.labels
        self.hides, self.hides_in = settings.hidden, settings.crystals
        self.judges = settings.teacher.kind != "ema"
        if "relational" in settings.loss:
            self.whole = "distillation with loss: relational compares atoms of the whole batch"
        several = len(settings.layers) > 1
        self.terms = tuple(
            f"{loss}@{layer}" if several else loss
            for layer in settings.layers
            for loss in settings.loss
        )
        target = Target(name="teacher", per="atom", size=self.teacher.n_features)
        self.translates = set(settings.loss) != {"relational"}
        self.heads = nn.ModuleList(
            Head(target, backbone.n_channels, model.pooling, model.n_hidden)
            for _ in (settings.layers if self.translates else ())
        )

    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit the teacher's scales."""
        self.teacher.fit(samples)

    def follow(self, backbone: Backbone) -> None:
        """Let the teacher follow."""
        self.teacher.follow(backbone)

    def counts(self, view: View) -> dict[str, Tensor | int]:
        """Atoms that have features of the teacher and are asked for."""
        return dict.fromkeys(self.terms, self._known(view).sum())

    def _known(self, view: View) -> Tensor:
        known = self.teacher.known(view.graph, view.labels)
        return known & view.hidden if self.settings.atoms == "hidden" else known

    def losses(self, view: View) -> dict[str, Tensor]:
        """Mean losses over the atoms that have features of the teacher."""
        settings = self.settings
        wanted = self.teacher(view.graph, view.labels).float()
        rows = torch.nonzero(self._known(view)).squeeze(1)
        wanted = wanted[rows].clamp(-settings.clip, settings.clip)
        terms = iter(self.terms)
        found: dict[str, Tensor] = {}
        spreads = []
        for index, layer in enumerate(settings.layers):
            features = layer_of(view.features, layer, "the student")
            student = features[rows].float()
            if self.translates:
                predicted = self.heads[index](features, view.graph)[rows].float()
            with torch.autocast(view.graph.device.type, enabled=False):
                for loss in settings.loss:
                    found[next(terms)] = (
                        relational(student, wanted, settings.relation, view.seed)
                        if loss == "relational"
                        else matching(predicted, wanted, loss)
                    )
            spread = (predicted if self.translates else student).detach()
            spreads.append(spread.std(0, correction=0).mean() if len(rows) else spread.sum())
        if not self.judges:
            found["spread"] = torch.stack(spreads).mean()
        return found


def matching(predicted: Tensor, wanted: Tensor, loss: Literal["cosine", "huber"]) -> Tensor:
    """Mean loss of rows ``(n_atoms, n_features)``: 0 where they are equal, and where there is none.

    ``cosine`` is one minus the cosine of the angle, ``huber`` smooth L1 averaged over features.
    """
    if loss == "cosine":
        each = 1 - nn.functional.cosine_similarity(predicted, wanted, dim=1)
    else:
        each = nn.functional.smooth_l1_loss(predicted, wanted, reduction="none").mean(1)
    # Of no rows the sum is 0, with a gradient of zero; a mean would be NaN.
    return each.sum() / max(1, len(each))


def relational(student: Tensor, teacher: Tensor, relation: Relation, seed: int) -> Tensor:
    """Smooth L1 between the relations of atoms in either space, mean over pairs of atoms.

    Relational distillation of Park et al. 2019 (arXiv 1904.05068): their distance-wise loss, and
    the same of cosines. Rotating either space, or another unit of length in it, changes nothing. Of
    more than 256 atoms a random 256 are compared.

    Parameters
    ----------
    student, teacher
        Features of the same atoms, ``(n_atoms, n_student)`` and ``(n_atoms, n_teacher)``.
    relation
        ``distance`` in units of the mean distance over the pairs.
    seed
        Of the choice of atoms.
    """
    n_atoms = len(student)
    if n_atoms < 2:
        return student.sum() * 0
    if n_atoms > _MAX_RELATED:
        order = torch.randperm(n_atoms, generator=torch.Generator().manual_seed(seed))
        chosen = order[:_MAX_RELATED].to(student.device)
        student, teacher = student[chosen], teacher[chosen]
    first, second = torch.triu_indices(
        len(student), len(student), offset=1, device=student.device
    ).unbind()
    found, wanted = (_relations(x, relation)[first, second] for x in (student, teacher))
    return nn.functional.smooth_l1_loss(found, wanted)


def _relations(features: Tensor, relation: Relation) -> Tensor:
    """Cosines or relative distances of all rows with all rows."""
    if relation == "cosine":
        unit = nn.functional.normalize(features, dim=1)
        return unit @ unit.T
    # Without matrix products, whose rounding errors have wild gradients where atoms are alike.
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    n_pairs = len(features) * (len(features) - 1)
    return distances / (distances.sum() / n_pairs).clamp(min=1e-6)
