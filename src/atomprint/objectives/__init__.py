"""What pre-training asks of a batch. One file an objective; the union is the registry."""

from typing import Annotated

from pydantic import Field

from atomprint.objectives.base import Objective, Sample, View
from atomprint.objectives.base import ObjectiveSettings as ObjectiveBase
from atomprint.objectives.conditioned import ConditionedSettings
from atomprint.objectives.denoising import DenoisingSettings
from atomprint.objectives.distillation import DistillationSettings
from atomprint.objectives.fingerprints import FingerprintObjective, FingerprintObjectiveSettings
from atomprint.objectives.forces import ForcesSettings
from atomprint.objectives.labels import LabelObjectiveSettings
from atomprint.objectives.masking import MaskingSettings
from atomprint.objectives.mixture import Mixture, TaskWeights

ObjectiveSettings = Annotated[
    FingerprintObjectiveSettings
    | MaskingSettings
    | DenoisingSettings
    | ConditionedSettings
    | DistillationSettings
    | ForcesSettings
    | LabelObjectiveSettings,
    Field(discriminator="kind"),
]
"""Settings of any objective, told apart by ``kind``."""

__all__ = [
    "ConditionedSettings",
    "DenoisingSettings",
    "DistillationSettings",
    "FingerprintObjective",
    "FingerprintObjectiveSettings",
    "ForcesSettings",
    "LabelObjectiveSettings",
    "MaskingSettings",
    "Mixture",
    "Objective",
    "ObjectiveBase",
    "ObjectiveSettings",
    "Sample",
    "TaskWeights",
    "View",
]
