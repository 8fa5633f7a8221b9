"""From what a person names (a task or a file, a protocol, runs) to an evaluation."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from atomprint.data.load import load_crystals
from atomprint.evaluation.arms import Arm
from atomprint.evaluation.evaluate import Evaluation
from atomprint.evaluation.labels import describe_targets, with_logarithms
from atomprint.evaluation.leakage import find_leaks, summarize_leaks
from atomprint.evaluation.networks import networks
from atomprint.evaluation.protocols import Case, KFold, MatBench, Protocol, cases, valid_fraction
from atomprint.evaluation.tasks import find_task, load_task, official_folds
from atomprint.ground.errors import UsageError
from atomprint.ground.settings import Settings
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.training.finetune import FinetuneSettings


class EvaluateSettings(Settings):
    """Settings of an evaluation."""

    protocol: Protocol = Field(
        default_factory=KFold, description="how the set is divided, and how often"
    )
    scratch: bool = Field(True, description="train the from-scratch twin of every network")
    networks: bool = Field(True, description="fine-tune at all; without, only what takes seconds")
    baselines: bool = Field(False, description="cheap baselines beside the networks")
    probes: bool = Field(False, description="simple regressions on frozen embeddings of every run")
    exclude_leaks: bool = Field(
        False, description="judge no crystal that is in the corpus given with it"
    )
    finetuning: FinetuneSettings = Field(
        default_factory=FinetuneSettings, description="the same for all networks"
    )


def prepare(
    settings: EvaluateSettings,
    sources: Sequence[str] = (),
    *,
    task: str | None = None,
    data: str | Path | None = None,
    target: str | None = None,
    labels: Path | None = None,
    classification: bool = False,
    folder: Path | None = None,
    corpus: str | Path | None = None,
    device: str = "auto",
) -> Evaluation:
    """Read a set, divide it, and line up the competitors.

    Parameters
    ----------
    settings
        Of the evaluation.
    sources
        Pre-trained runs, or names of checkpoints that come with the package.
    task
        Name of a built-in task; or else
    data, target, labels, classification
        a set of one's own, the label, a table of labels by id, and whether they are classes.
    folder
        Where files of built-in tasks are.
    corpus
        What the runs were pre-trained on: labelled crystals that are in it are counted and named in
        ``evaluation.json``, and judge nothing with ``exclude_leaks``.
    device
        ``auto``, ``cpu``, ``cuda``.

    Raises
    ------
    UsageError
        If neither or both of a task and a set are named, or nothing is left to evaluate.
    """
    if (task is None) == (data is None):
        raise UsageError("give either --task NAME (atomprint tasks lists them) or --data PATH")
    if task is not None:
        about, crystals, wanted, folds = _built_in(task, folder, settings.protocol)
    else:
        assert data is not None
        about, crystals, wanted = _own(data, target, labels, classification)
        folds = None
    divided = cases(settings.protocol, crystals, folds)
    extra: dict[str, Any] = {}
    if corpus is not None:
        divided, extra["leakage"] = _checked(divided, crystals, corpus, settings.exclude_leaks)
    elif settings.exclude_leaks:
        raise UsageError("exclude_leaks needs to know of what; give --corpus PATH")
    tuning = settings.finetuning
    loop = tuning.loop.model_copy(update={"device": device})
    more: dict[str, Any] = {"loop": loop}
    if (fraction := valid_fraction(settings.protocol)) is not None:
        # Who says what validates says what is trained on: the rest, and nothing more.
        more |= {"valid_fraction": fraction, "refit": False}
    tuning = tuning.model_copy(update=more)
    arms: list[Arm] = []
    found = networks(sources, tuning, settings.scratch)
    if settings.networks:
        arms += found
    # scikit-learn takes a second to import.
    if settings.probes:
        from atomprint.evaluation.probes import probes

        arms += [p for n in found if n.source is not None for p in probes(n.name, n.source)]
    if settings.baselines:
        from atomprint.evaluation.baselines import baselines

        arms += baselines(wanted)
    if not arms:
        raise UsageError("nothing to evaluate; give --from RUN, --baselines or --probes")
    return Evaluation(about, crystals, wanted, settings.protocol, divided, arms, extra)


def _built_in(
    name: str, folder: Path | None, protocol: Protocol
) -> tuple[dict[str, Any], Sequence[Crystal], Target, Any]:
    loaded = load_task(find_task(name), folder)
    task = loaded.task
    about = {
        "name": task.name,
        "property": task.property,
        "source": task.source,
        "licence": task.licence,
        "citation": task.citation,
        "notes": list(loaded.notes),
    }
    folds = official_folds(task, loaded.crystals) if isinstance(protocol, MatBench) else None
    return about, loaded.crystals, loaded.target, folds


def _checked(
    divided: Sequence[Case], crystals: Sequence[Crystal], corpus: str | Path, exclude: bool
) -> tuple[list[Case], dict[str, Any]]:
    """Look for crystals that judge in the corpus, and have them judge nothing if asked to."""
    known = load_crystals(corpus).crystals
    judging = sorted({i for case in divided for i in case.test})
    leaks = find_leaks([crystals[i] for i in judging], known)
    found = summarize_leaks(leaks, len(judging), len(known)) | {"corpus": str(corpus)}
    if not exclude:
        return list(divided), found | {"excluded": False}
    ids = set(found["ids"])
    kept = [
        dataclasses.replace(case, test=tuple(i for i in case.test if crystals[i].id not in ids))
        for case in divided
    ]
    if empty := [case.name for case in kept if not case.test]:
        raise UsageError(f"{empty[0]}: every crystal that judges is in the corpus {corpus}")
    return kept, found | {"excluded": True}


def _own(
    data: str | Path, target: str | None, labels: Path | None, classification: bool
) -> tuple[dict[str, Any], Sequence[Crystal], Target]:
    if target is None:
        raise UsageError("give --target COLUMN, the label to predict")
    result = with_logarithms(target, load_crystals(data, labels=labels))
    kind = "classification" if classification else "regression"
    wanted = describe_targets(target, result, kind)[0]
    if wanted.per != "crystal" or (wanted.size > 1 and not wanted.is_class):
        raise UsageError(
            f"label {target!r} has several numbers a crystal; one number a crystal is evaluated"
        )
    crystals = [c for c in result.crystals if c.labels.get(target) is not None]
    notes = []
    if result.problems:
        notes.append(f"{len(result.problems)} entries were left out on reading")
    about = {"name": Path(data).name, "property": target, "source": str(data), "notes": notes}
    return about, crystals, wanted
