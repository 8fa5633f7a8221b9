"""Fine-tuning: from labels, and a pre-trained network or none, to a model of properties."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field

from atomprint.data.batching import BatchStream, LabelSpec, batches_in_order
from atomprint.ground.errors import DataError, UsageError
from atomprint.ground.settings import Settings
from atomprint.heads.ensemble import Ensemble
from atomprint.heads.model import Model, ModelSettings
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.structures.perturb import PerturbSettings
from atomprint.training.adapt import AdaptSettings, adapt
from atomprint.training.loop import Progress, Trainer
from atomprint.training.predict import PREDICT_BATCH, Array, label_specs, labels_of, predict
from atomprint.training.run import make_fabric
from atomprint.training.settings import LoopSettings, OptimizerSettings
from atomprint.training.tasks import FinetuneTask
from atomprint.training.transfer import TransferReport, transfer_backbone

MEMBER_STRIDE = 10_000
"""Between the seeds of two members, so that runs with seeds 0, 1, 2 ... share none."""


class FinetuneSettings(Settings):
    """Settings of fine-tuning, the same for the pre-trained network and its twin."""

    learning_rates: tuple[float, ...] = Field(
        (1e-3, 2e-3, 4e-3, 8e-3),
        min_length=1,
        description="every one is tried; the validation part chooses",
    )
    n_steps: int = Field(
        0, ge=0, description="steps a run; 0: 400 for 500 labels, growing with their square root"
    )
    valid_fraction: float = Field(
        0.15,
        gt=0,
        lt=0.5,
        description="part of the labels that chooses the rate; with patience the step, too",
    )
    refit: bool = Field(
        True,
        description="when the rate is chosen, train once more on all labels, those of the "
        "validation part included; not with loop.patience, which needs that part to stop by",
    )
    n_members: int = Field(
        1,
        ge=1,
        description="networks that are trained with the rate that is chosen, differing in their "
        "seeds; the prediction is their mean",
    )
    adapt: AdaptSettings = Field(
        default_factory=AdaptSettings,
        description="pre-training on the set's own structures first; the twin has none",
    )
    perturbation: PerturbSettings = Field(
        default_factory=lambda: PerturbSettings(rattle=0.0),
        description="variation of the training crystals on the fly",
    )
    loop: LoopSettings = Field(
        default_factory=lambda: LoopSettings(
            optimizer=OptimizerSettings(ema_decay=0.99, weight_decay=1.0)
        ),
        description="batches, optimiser, seed, device; its n_steps and learning_rate are set here. "
        "The last weights are kept, or with patience the best validated",
    )

    @property
    def refits(self) -> bool:
        """Whether the model is trained on all labels, after the runs of the grid."""
        return self.refit and not self.loop.patience

    @property
    def n_runs(self) -> int:
        """How often a network is trained: the grid, and the members that are none of it."""
        return len(self.learning_rates) + self.n_members - (not self.refits)

    def steps_for(self, n_labels: int) -> int:
        """Steps for a number of labels."""
        if self.n_steps:
            return self.n_steps
        return int(np.clip(round(400 * math.sqrt(n_labels / 500)), 200, 20_000))


@dataclass(frozen=True)
class Trial:
    """One learning rate of the grid, with its validation value and the step it is kept from."""

    learning_rate: float
    valid_value: float
    step: int
    history: list[dict[str, float]]


@dataclass(frozen=True)
class FinetuneResult:
    """A fine-tuned model and how it was found.

    Attributes
    ----------
    model
        Trained with the best learning rate; on all labels, unless ``refit`` is off. An
        :class:`~atomprint.heads.ensemble.Ensemble` if there are several members.
    trials
        One for each learning rate.
    chosen
        Index of the trial that was kept.
    seconds
        Wall time of adaptation and all runs.
    transfer
        Which weights came from pre-training; None from scratch.
    held_out
        Predictions for the validation crystals by the model that was not trained on them.
    """

    model: Model
    trials: list[Trial]
    chosen: int
    seconds: float
    transfer: TransferReport | None
    held_out: dict[str, Array]


def finetune(
    train: Sequence[Crystal],
    valid: Sequence[Crystal],
    targets: Sequence[Target],
    model_settings: ModelSettings,
    settings: FinetuneSettings,
    source: Model | None = None,
    progress: Progress | None = None,
    *,
    unlabelled: Sequence[Crystal] = (),
) -> FinetuneResult:
    """Train on labels, trying every learning rate of the grid; validation chooses.

    With the rate that is chosen it trains once more, on all labels.

    Parameters
    ----------
    train, valid
        Labelled crystals; the scales of the targets are fitted on ``train`` alone.
    targets
        What to predict. A crystal may lack any of them.
    model_settings
        Network and heads; the backbone must be the source's, if there is one.
    settings
        Of fine-tuning.
    source
        Pre-trained model whose backbone is the start; None trains from scratch.
    progress
        Called as ``progress(step, n_steps, numbers)`` over adaptation and all runs together.
    unlabelled
        More structures to adapt to, beside those that are trained and validated on.

    Raises
    ------
    DataError
        If a target has fewer than two labels in a part.
    UsageError
        If several processes are asked for.
    """
    if settings.loop.devices > 1:
        raise UsageError(
            f"loop.devices is {settings.loop.devices}: fine-tuning on few labels is done by one "
            "process; leave it out, and let atomprint evaluate --workers share many fine-tunings"
        )
    for part, crystals in (("training", train), ("validation", valid)):
        for target in targets:
            known = sum(c.labels.get(target.name) is not None for c in crystals)
            if known < 2:
                raise DataError(
                    f"target {target.name!r} has {known} labels in the {part} part; "
                    "at least 2 are needed there: give more labels or a larger --n-train"
                )
    n_steps = settings.steps_for(len(train) + len(valid))
    n_before = settings.adapt.n_steps if source is not None else 0
    n_all = n_before + settings.n_runs * n_steps
    started = time.perf_counter()

    def report_progress(done: int) -> Progress:
        def say(step: int, total: int, numbers: dict[str, float]) -> None:
            if progress is not None:
                progress(done + step, n_all, numbers)

        return say

    if source is not None and n_before:
        structures = [*train, *valid, *unlabelled]
        source = adapt(source, structures, settings.adapt, settings.loop, report_progress(0))
    one_run = _Run(targets, model_settings, settings, source, n_steps)
    trials: list[Trial] = []
    best: Model | None = None
    chosen = 0
    for index, learning_rate in enumerate(settings.learning_rates):
        say = report_progress(n_before + index * n_steps)
        model, trial = one_run.train(learning_rate, train, valid, say)
        trials.append(trial)
        better = trial.valid_value < trials[chosen].valid_value or best is None
        if math.isfinite(trial.valid_value) and better:
            best, chosen = model, index
    if best is None:
        raise DataError("no learning rate gave a finite validation error; look for absurd labels")
    rate = settings.learning_rates[chosen]
    members = [] if settings.refits else [best]
    labelled = [*train, *valid] if settings.refits else train
    for member in range(len(members), settings.n_members):
        say = report_progress(n_all - (settings.n_members - member) * n_steps)
        # With patience the validation part says when to stop.
        left = () if settings.refits else valid
        members.append(one_run.train(rate, labelled, left, say, member)[0])
    model = Ensemble(members) if len(members) > 1 else members[0]
    # By what has not been trained on them.
    held_out = predict(best if settings.refits else model, valid)
    seconds = time.perf_counter() - started
    return FinetuneResult(model, trials, chosen, seconds, one_run.report, held_out)


@dataclass
class _Run:
    """What all runs of one fine-tuning share; ``report`` is filled by the first."""

    targets: Sequence[Target]
    model_settings: ModelSettings
    settings: FinetuneSettings
    source: Model | None
    n_steps: int
    report: TransferReport | None = None

    def train(
        self,
        learning_rate: float,
        train: Sequence[Crystal],
        valid: Sequence[Crystal],
        progress: Progress,
        member: int = 0,
    ) -> tuple[Model, Trial]:
        """Train with one rate; without crystals to validate on the value is NaN.

        Members differ in heads, order and perturbations.
        """
        settings = self.settings
        optimizer = settings.loop.optimizer.model_copy(update={"learning_rate": learning_rate})
        loop = settings.loop.model_copy(
            update={
                "n_steps": self.n_steps,
                "optimizer": optimizer,
                "evaluate_every": max(10, self.n_steps // 16),
                "seed": settings.loop.seed + MEMBER_STRIDE * member,
            }
        )
        # Every run of a rate, and the twin's, starts from the same seed: same heads, same order.
        torch.manual_seed(loop.seed)
        model = Model(self.model_settings, self.targets)
        if self.source is not None:
            self.report = transfer_backbone(self.source, model)
        _fit_standardizers(model, train)
        fabric = make_fabric(loop, None)
        trainer = Trainer(FinetuneTask(model), loop, fabric)
        specs = label_specs(model)
        stream = BatchStream(
            train, model.cutoff, loop.batch, loop.seed, specs, settings.perturbation
        )
        judge = Judge(model, valid, specs, fabric.device) if valid else None
        state = trainer.run(stream.batches, evaluate=judge, progress=progress)
        value, step = state.best, state.best_step
        if loop.patience:
            trainer.task.load_state_dict(trainer.weights())
        else:
            # The rate has fallen to zero and weights are averaged: the last ones are better than
            # those that few validation crystals happened to like (docs/decisions.md).
            trainer.task.load_state_dict(trainer.last_weights())
            model.eval()
            value, step = judge()["value"] if judge else math.nan, state.step
        return model.cpu().eval(), Trial(learning_rate, value, step, state.history)


class Judge:
    """Validation error: the mean over targets of MAE in spreads, or of cross-entropy."""

    def __init__(
        self,
        model: Model,
        crystals: Sequence[Crystal],
        specs: Sequence[LabelSpec],
        device: torch.device,
    ) -> None:
        self.task = FinetuneTask(model)
        self.model = model
        # Validation parts are small: their graphs are built once.
        batches = batches_in_order(crystals, model.cutoff, PREDICT_BATCH, specs)
        self.batches = [batch.to(device) for batch in batches]

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        """``value``, and each target's part of it."""
        sums = {t.name: 0.0 for t in self.model.targets}
        counts = {t.name: 0 for t in self.model.targets}
        for batch in self.batches:
            _, log = self.task.loss(batch)
            for name, value in log.items():
                known = int(torch.isfinite(batch.labels[name]).sum())
                sums[name] += float(value) * known
                counts[name] += known
        numbers = {name: sums[name] / max(1, counts[name]) for name in sums}
        return {"value": float(np.mean(list(numbers.values()))), **numbers}


def _fit_standardizers(model: Model, train: Sequence[Crystal]) -> None:
    for target in model.targets:
        if not target.is_class:
            values = labels_of(train, target.name, target.per, target.size)
            model.standardizer(target.name).fit(torch.from_numpy(values))
