"""Adaptation: pre-training goes on, on the structures of the labelled set itself.

A corpus is of many kinds of crystals, a labelled set mostly of one: layers, perovskites,
metal-organic frameworks. Some hundred steps on its own structures, of which no label is read,
bring the network nearer to them before it is fine-tuned.
"""

from collections.abc import Sequence

from pydantic import Field

from atomprint.ground.settings import Settings
from atomprint.heads.model import Model
from atomprint.objectives import (
    DenoisingSettings,
    FingerprintObjectiveSettings,
    ObjectiveSettings,
)
from atomprint.structures.crystal import Crystal
from atomprint.training.loop import Progress
from atomprint.training.pretrain import PretrainSettings, pretrain
from atomprint.training.settings import LoopSettings, OptimizerSettings


class AdaptSettings(Settings):
    """Settings of adaptation."""

    n_steps: int = Field(
        0,
        ge=0,
        description="steps of pre-training on the set's own structures, before any label is "
        "looked at; 0: none",
    )
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of these steps")
    objectives: tuple[ObjectiveSettings, ...] = Field(
        default_factory=lambda: (FingerprintObjectiveSettings(), DenoisingSettings()),
        min_length=1,
        description="what it learns to do in them",
    )


def adapt(
    source: Model,
    crystals: Sequence[Crystal],
    settings: AdaptSettings,
    loop: LoopSettings,
    progress: Progress | None = None,
) -> Model:
    """Go on pre-training a network on some structures; their labels are not looked at.

    Parameters
    ----------
    source
        The pre-trained network; it is not changed.
    crystals
        Structures of the set: those with labels to train on, and any others without.
    settings
        Of adaptation.
    loop
        Batches, seed and device.
    progress
        Called as ``progress(step, n_steps, numbers)``.
    """
    optimizer = OptimizerSettings(learning_rate=settings.learning_rate, ema_decay=0.99)
    chosen = PretrainSettings(
        model=source.settings,
        objectives=settings.objectives,
        loop=loop.model_copy(update={"n_steps": settings.n_steps, "optimizer": optimizer}),
        valid_fraction=0.0,
    )
    bare = [crystal.with_labels({}) for crystal in crystals]
    return pretrain(bare, chosen, start=source, progress=progress).model
