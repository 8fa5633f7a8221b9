"""Pre-training: from a corpus without labels to a network that knows structures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import Field, model_validator

from atomprint.data.batching import Batch, BatchStream, LabelSpec
from atomprint.ground.documents import json_of
from atomprint.ground.errors import DataError, UsageError
from atomprint.ground.settings import Settings
from atomprint.heads.model import Model, ModelSettings
from atomprint.objectives import (
    DenoisingSettings,
    FingerprintObjectiveSettings,
    Mixture,
    ObjectiveSettings,
    Sample,
    TaskWeights,
)
from atomprint.structures.perturb import PerturbSettings
from atomprint.training.checkpoint import ModelInfo, load_state, save_model, save_state, write_json
from atomprint.training.corpora import Corpora, mismatch, prepare
from atomprint.training.fsdp import gathered
from atomprint.training.loop import Progress, Trainer
from atomprint.training.processes import (
    add_up,
    copy_from_first,
    launch_for,
    tell_all,
    told_of_losses,
)
from atomprint.training.run import locked, make_fabric, make_folder, record
from atomprint.training.settings import LoopSettings, OptimizerSettings
from atomprint.training.tasks import PretrainTask
from atomprint.training.transfer import transfer_backbone

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STATE = "state.safetensors"


class PretrainSettings(Settings):
    """Settings of a pre-training run; everything but the data has a default."""

    model: ModelSettings = Field(default_factory=ModelSettings, description="the network")
    objectives: tuple[ObjectiveSettings, ...] = Field(
        default_factory=lambda: (FingerprintObjectiveSettings(), DenoisingSettings()),
        min_length=1,
        description="what it learns to do, all at once",
    )
    task_weights: TaskWeights = Field(
        "uncertainty",
        description="how losses are weighed against each other: by learned widths, not at all "
        "(fixed), or so that their gradients are equally large (balance)",
    )
    perturbation: PerturbSettings = Field(
        default_factory=PerturbSettings, description="how crystals are varied on the fly"
    )
    loop: LoopSettings = Field(
        default_factory=lambda: LoopSettings(
            n_steps=15_000, optimizer=OptimizerSettings(learning_rate=2e-3, ema_decay=0.999)
        ),
        description="how long to train",
    )
    valid_fraction: float = Field(
        0.02, ge=0, lt=0.5, description="part of the corpus kept to watch the loss (at most 512)"
    )
    n_standardize: int = Field(
        1024, ge=1, description="crystals on which the scale of the fingerprints is fitted"
    )

    @model_validator(mode="after")
    def _objectives_have_something_to_do(self) -> "PretrainSettings":
        for objective in self.objectives:
            objective.check(self.perturbation)
        reached = 0.0
        for objective in sorted(self.objectives, key=lambda o: o.start):
            if objective.start > reached:
                break
            reached = max(reached, objective.stop)
        if reached < 1:
            raise ValueError(
                f"no objective is at work when {reached:.0%} of the run is done; "
                "let their start and stop cover all of it"
            )
        return self


@dataclass(frozen=True)
class PretrainResult:
    """A pre-trained model and how its run went.

    Attributes
    ----------
    model
        With the weights that are kept.
    history
        Rows of the log.
    seconds
        Wall time of training.
    n_crystals, n_left_out
        Crystals trained on, and crystals too large for one batch.
    problems
        What reading the corpus left out, if it was read from files.
    """

    model: Model
    history: list[dict[str, float]]
    seconds: float
    n_crystals: int
    n_left_out: int
    problems: list[Any] = field(default_factory=list)


def pretrain(
    crystals: Corpora,
    settings: PretrainSettings,
    out: Path | None = None,
    *,
    resume: bool = False,
    start: Model | None = None,
    progress: Progress | None = None,
    notes: dict[str, Any] | None = None,
) -> PretrainResult:
    """Pre-train a network on a corpus.

    Parameters
    ----------
    crystals
        The corpus, or several by name, mixed by weight; labels are looked at only by objectives
        that ask for them.
    settings
        Of the run.
    out
        Run folder to write (settings, logs, checkpoints, model), or None to keep it in memory.
    resume
        Continue the run in ``out`` from its last checkpoint, to the same weights as if it had
        never stopped.
    start
        A model whose backbone is where a new run begins, in place of random weights; its settings
        must be the run's. A resumed run goes on with its own.
    progress
        Called as ``progress(step, n_steps, numbers)``.
    notes
        Written into the run's record: where the data came from.

    Several processes that a launcher started train one network: all of them call this with the
    same arguments, and have the same result; the first one writes.

    Raises
    ------
    UsageError
        If the folder is taken, another process writes to it, or the run to resume had other
        settings.
    DataError
        If there is nothing to train on, or other crystals than the run to resume had.
    Stopped
        If SIGINT or SIGTERM came: the step was finished and, with ``out``, saved.
    ProcessLost
        If another process of the run has ended.
    """
    if resume and out is not None and not out.is_dir():
        raise UsageError(f"{out}: there is no run to resume here (no such folder)")
    fabric = make_fabric(settings.loop, out, launch_for(settings.loop.devices))

    def how_to_go_on() -> str:
        if out is None or not (out / STATE).is_file():
            return "start the run again"
        return f"go on from its last checkpoint: atomprint pretrain --resume {out}"

    first = fabric.is_global_zero
    with told_of_losses(fabric, how_to_go_on), locked(out if first else None):
        return _pretrain(
            crystals, settings, out, resume, start, progress if first else None, notes, fabric
        )


def _pretrain(
    crystals: Corpora,
    settings: PretrainSettings,
    out: Path | None,
    resume: bool,
    start: Model | None,
    progress: Progress | None,
    notes: dict[str, Any] | None,
    fabric: "Fabric",
) -> PretrainResult:
    loop = settings.loop
    torch.manual_seed(loop.seed)
    model = Model(settings.model, ())
    if start is not None:
        if start.settings.backbone != settings.model.backbone:
            raise UsageError(
                "the network to start from has another backbone than the settings' model.backbone; "
                "leave the model out of the settings"
            )
        transfer_backbone(start, model)
    objectives = Mixture(
        [s.build(model.backbone, settings.model) for s in settings.objectives],
        settings.task_weights,
    )
    if fabric.world_size > 1 and objectives.whole:
        raise UsageError(
            f"{objectives.whole}, which {fabric.world_size} processes cannot share; train with one"
        )
    labels = [LabelSpec(t.name, t.per, t.size) for t in objectives.labels]
    cutoff = max(model.cutoff, objectives.cutoff)
    material = prepare(crystals, cutoff, loop.batch, settings.valid_fraction, loop.seed)
    data = {**material.described, **(notes or {})}
    described = settings.model_dump(mode="json")
    if out is not None and (fabric.is_global_zero or resume):
        _open_run(out, described, data, resume)
    continues = resume and out is not None and (out / STATE).is_file()
    said = tell_all([data["hash"], continues], fabric)
    if any(other[0] != data["hash"] for other in said):
        raise DataError("the processes of this run read other crystals; give all the same data")
    if any(other[1] != continues for other in said):
        raise UsageError(
            f"{out}: some processes of this run do not see its checkpoint; put the run folder on "
            "a file system that all machines share"
        )

    task = PretrainTask(model, objectives, loop.n_steps)
    trainer = Trainer(task, loop, fabric)
    stream = BatchStream(
        material.train, cutoff, loop.batch, loop.seed, labels, settings.perturbation,
        fabric.global_rank, fabric.world_size, material.mix,
    )  # fmt: skip
    if continues and out is not None:
        load_state(out / STATE, trainer)
    else:
        sample = material.sample(settings.n_standardize, loop.seed)
        perturbed = BatchStream(
            sample, cutoff, loop.batch, loop.seed, labels, settings.perturbation
        )
        batches = (perturbed.build(i, rows) for i, rows in enumerate(perturbed.epoch(0)))
        batches = (batch.to(fabric.device) for batch in batches)
        objectives.fit([Sample(batch.graph, batch.labels) for batch in batches])
        copy_from_first(task, fabric)
        trainer.start_average()

    # Perturbed like the rest, and the same every time: some objectives ask for nothing else.
    # A corpus counts there as much as in training: with its share, not with its size.
    # Processes take turns, each a whole batch.
    watched: list[tuple[float, Batch]] = []
    n_watched = 0
    for weight, part in zip(material.valid_weights, material.valid, strict=True):
        if part:
            still = BatchStream(part, cutoff, loop.batch, loop.seed, labels, settings.perturbation)
            for index, rows in enumerate(still.epoch(0)):
                if n_watched % fabric.world_size == fabric.global_rank:
                    watched.append((weight, still.build(index, rows)))
                n_watched += 1

    def evaluate() -> dict[str, float]:
        numbers: dict[str, float] = {}
        with torch.no_grad():
            for weight, batch in watched:
                _, log = task.loss(batch.to(fabric.device))
                for name, value in log.items():
                    more = float(value) * batch.graph.n_crystals * weight
                    numbers[name] = numbers.get(name, 0.0) + more
        numbers = add_up(numbers, fabric)
        # The plain mean over terms: learned task weights would make values of different
        # steps incomparable.
        judging = [value for name, value in numbers.items() if name in objectives.judges]
        return {"value": float(np.mean(judging)), **numbers} if judging else numbers

    def save(at: Trainer) -> None:
        if out is not None:
            save_state(out / STATE, at)

    state = trainer.run(
        stream.batches,
        evaluate=evaluate if n_watched else None,
        save=save if out is not None else None,
        progress=progress,
    )
    model = _alone(settings, trainer)
    if out is not None and fabric.is_global_zero:
        kept = model.state_dict()
        info = ModelInfo("pretrain", {"data": data, "step": state.step, "seed": loop.seed})
        save_model(out, model, kept, info)
        write_json(
            out / "history.json",
            {"seconds": state.seconds, "n_steps": state.step, "rows": state.history},
        )
    # Nobody leaves before the folder is complete.
    tell_all(None, fabric)
    return PretrainResult(
        model.eval(), state.history, state.seconds, len(material.train), material.n_left_out
    )


def _alone(settings: PretrainSettings, trainer: Trainer) -> Model:
    """Return the network with the weights that are kept, without what trained it."""
    prefix = "model."
    kept = {
        k.removeprefix(prefix): v
        for k, v in gathered(trainer.weights()).items()
        if k.startswith(prefix)
    }
    model = Model(settings.model, ())
    model.load_state_dict(kept)
    return model


def _open_run(out: Path, described: dict[str, Any], data: dict[str, Any], resume: bool) -> None:
    if not resume:
        make_folder(out)
        record(out, described, data)
        return

    try:
        before = json_of((out / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError(f"{out}: there is no run to resume here (no readable run.json)") from None
    if _what_counts(before["settings"]) != _what_counts(described):
        raise UsageError(f"{out}: the run was started with other settings; resume with its own")
    reason = mismatch(before["data"], data)
    if reason is not None:
        raise DataError(f"{out}: {reason}")


def _what_counts(described: dict[str, Any]) -> dict[str, Any]:
    """Settings that results depend on: not the number of processes, nor what each holds."""
    how = ("devices", "strategy")
    loop = {name: value for name, value in described["loop"].items() if name not in how}
    return {**described, "loop": loop}
