"""The main job on the embedded data, from corpus to report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atomprint.backbones import PaiNNSettings
from atomprint.data.embedded import CORPUS, DFT_LABELS, DFT_TARGET
from atomprint.data.splits import split
from atomprint.evaluation.report import write_report
from atomprint.evaluation.twin import run_twins, split_labelled
from atomprint.heads.model import ModelSettings
from atomprint.heads.target import Target
from atomprint.objectives import FingerprintObjectiveSettings
from atomprint.structures.reading import read_crystals
from atomprint.training.checkpoint import write_json
from atomprint.training.finetune import FinetuneSettings
from atomprint.training.pretrain import PretrainSettings, pretrain
from atomprint.training.run import hash_crystals, make_folder, record

Progress = Callable[[str, int, int, dict[str, float]], None]


@dataclass(frozen=True)
class DemoOutcome:
    """What the demo gave.

    Attributes
    ----------
    results
        A row a seed, as :class:`atomprint.evaluation.twin.Outcome` describes them.
    folder, report, predictions, checkpoint
        Where things lie; predictions and checkpoint are the first seed's.
    seconds
        Wall time of everything.
    """

    results: list[dict[str, Any]]
    folder: Path
    report: Path
    predictions: Path
    checkpoint: Path
    seconds: float


def run_demo(
    out: Path,
    *,
    quick: bool = False,
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "auto",
    progress: Progress | None = None,
) -> DemoOutcome:
    """Pre-train on the embedded corpus, fine-tune on the embedded labels beside the twin, report.

    Parameters
    ----------
    out
        Folder to write; it must be empty or new.
    quick
        Small settings that show that everything works, in under two minutes; its gains mean
        little.
    seeds
        Of splits and heads; each has its own training, validation and test part.
    device
        ``auto``, ``cpu``, ``cuda``.
    progress
        Called as ``progress(stage, done, total, numbers)``.
    """
    started = time.perf_counter()
    make_folder(out)
    pretraining, finetuning = _settings(quick, device)
    corpus = read_crystals(CORPUS).crystals
    if quick:
        corpus = corpus[:: max(1, len(corpus) // 1_000)]
        seeds = tuple(seeds)[:1]

    def stage(name: str) -> Callable[[int, int, dict[str, float]], None]:
        def report(done: int, total: int, numbers: dict[str, float]) -> None:
            if progress is not None:
                progress(name, done, total, numbers)

        return report

    pretrained = pretrain(
        corpus,
        pretraining,
        out / "pretrain",
        progress=stage("pretrain"),
        notes={"data": "embedded corpus"},
    )
    read = read_crystals(DFT_LABELS)
    # The elements are the references: their label is zero by construction and flatters everyone.
    labelled = [c for c in read.crystals if len(set(c.numbers.tolist())) > 1]
    target = Target(name=DFT_TARGET, unit=read.units.get(DFT_TARGET, "eV/atom"))
    results: list[dict[str, Any]] = []
    for seed in seeds:
        # Strained and scaled variants share their parent's composition: they must not straddle.
        parts = split(labelled, test=0.2, valid=0.0, seed=seed, by="composition")
        chosen = finetuning.model_copy(
            update={"loop": finetuning.loop.model_copy(update={"seed": seed})}
        )
        folder = make_folder(out / f"finetune-seed{seed}")
        about = {"data": "embedded DFT labels", "hash": hash_crystals(labelled)}
        record(folder, chosen.model_dump(mode="json"), about)
        outcome = run_twins(
            split_labelled(
                [labelled[i] for i in parts.train],
                [labelled[i] for i in parts.test],
                None,
                chosen.valid_fraction,
                seed,
            ),
            [target],
            chosen,
            pretraining.model,
            pretrained.model,
            twin=True,
            out=folder,
            notes={"source": "pretrain"},
            progress=stage(f"finetune, seed {seed}"),
        )
        results += outcome.results
    seconds = round(time.perf_counter() - started, 1)
    write_json(out / "summary.json", {"results": results, "seconds": seconds, "quick": quick})
    report = write_report(out)
    first = out / f"finetune-seed{next(iter(seeds))}"
    return DemoOutcome(
        results,
        out,
        report,
        first / "predictions.csv",
        first / "model.safetensors",
        round(time.perf_counter() - started, 1),
    )


def _settings(quick: bool, device: str) -> tuple[PretrainSettings, FinetuneSettings]:
    """Settings for two cores: a network of half the default width, fewer steps, no denoising."""
    objective = FingerprintObjectiveSettings()
    narrow = ModelSettings(backbone=PaiNNSettings(n_channels=64), n_hidden=64)
    pretraining = PretrainSettings(model=narrow, objectives=(objective,))
    finetuning = FinetuneSettings()
    n_steps = 250 if quick else 2_000
    loop = pretraining.loop.model_copy(update={"n_steps": n_steps, "device": device})
    pretraining = pretraining.model_copy(update={"loop": loop})
    update: dict[str, Any] = {"loop": finetuning.loop.model_copy(update={"device": device})}
    if quick:
        update |= {"n_steps": 120, "learning_rates": (2e-3,)}
    return pretraining, finetuning.model_copy(update=update)
