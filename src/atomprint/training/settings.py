"""Settings of a training run."""

import math
from typing import Literal

from pydantic import Field

from atomprint.data.batching import BatchSettings
from atomprint.ground.settings import Settings


class OptimizerSettings(Settings):
    """AdamW with a warm-up and a cosine decay to zero."""

    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay")
    warmup: float = Field(0.05, ge=0, lt=1, description="fraction of the steps spent warming up")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    ema_decay: float = Field(
        0.0, ge=0, lt=1, description="decay of the running mean of the weights; 0 turns it off"
    )

    def factor(self, step: int, n_steps: int) -> float:
        """Learning rate of a step (from 0) as a fraction of the peak."""
        n_warmup = max(1, round(self.warmup * n_steps))
        if step < n_warmup:
            return (step + 1) / n_warmup
        return 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / max(1, n_steps - n_warmup)))


class LoopSettings(Settings):
    """How long to train and what to write down on the way."""

    n_steps: int = Field(1_000, ge=1, description="optimiser steps")
    batch: BatchSettings = Field(
        default_factory=BatchSettings,
        description="sizes of a batch, of all processes together",
    )
    optimizer: OptimizerSettings = Field(
        default_factory=OptimizerSettings, description="optimiser and schedule"
    )
    log_every: int = Field(20, ge=1, description="steps between two lines of the log")
    checkpoint_every: int = Field(500, ge=1, description="steps between two checkpoints")
    evaluate_every: int = Field(
        0, ge=0, description="steps between two validations; 0: forty of them in a run"
    )
    patience: int = Field(
        0, ge=0, description="stop after this many validations without a better one; 0 never stops"
    )
    seed: int = Field(0, ge=0, description="of weights, order and perturbations")
    device: str = Field("auto", description="auto, cpu, cuda, mps")
    devices: int = Field(
        1,
        ge=1,
        description="processes that share every batch, on as many devices of this machine; under "
        "torchrun or srun the launcher says how many there are. Results do not depend on it",
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        "ddp",
        description="what each of several processes holds. ddp: all weights. fsdp: a shard of the "
        "weights, their gradients, the optimiser's moments and running means, for networks that "
        "fill a device. Results do not depend on it",
    )
    precision: Literal["32-true", "bf16-mixed"] = Field(
        "32-true",
        description="bf16-mixed: matrix products of the network in bfloat16; geometry, "
        "fingerprints and weights stay in float32",
    )

    @property
    def validation_interval(self) -> int:
        """Steps between two validations.

        Of 512 crystals every fifty steps they took a tenth of a run and more.
        """
        return self.evaluate_every or max(10, self.n_steps // 40)
