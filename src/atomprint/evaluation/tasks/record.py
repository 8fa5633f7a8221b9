"""The record of an evaluation that MatBench's own package loads, validates and lists.

The layout is that of ``MatbenchBenchmark.to_file`` of matbench 0.6 (classes MatbenchBenchmark and
MatbenchTask), down to its checksum. ``scripts/check_matbench_record.py`` has MatBench check one.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import atomprint
from atomprint.evaluation.runs import read_json
from atomprint.evaluation.tasks.folds import N_FOLDS, folds_of
from atomprint.evaluation.tasks.task import Task, find_task
from atomprint.ground.errors import DataError, UsageError

Array = npt.NDArray[np.float64]

MATBENCH_VERSION = "0.6"
BENCHMARK = "matbench_v0.1"
THRESHOLD = 0.5
"""Probability above which MatBench takes a crystal for one of class 1."""

NEARLY_ZERO = 1e-5
"""Labels nearer to zero do not count in MatBench's relative error."""


@dataclass(frozen=True)
class RecordedFold:
    """Predictions for the test crystals of one official fold.

    Attributes
    ----------
    fold
        0 to 4.
    ids
        MatBench's, of the crystals that judge; in any order.
    wanted, predicted
        Labels and predictions, ``(n,)``; of classes the probability of class 1.
    parameters
        What was chosen in this fold, ready for JSON.
    """

    fold: int
    ids: Sequence[str]
    wanted: Array
    predicted: Array
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_unit(cls, unit: Mapping[str, Any], task: Task) -> "RecordedFold":
        """Take a unit of an evaluation, as its file in ``units/`` holds it.

        Raises
        ------
        DataError
            If the unit is of no official fold.
        """
        if unit.get("fold") is None:
            raise DataError(f"unit {unit.get('split')!r} of {unit.get('arm')!r} is of no fold")
        predicted = np.asarray(unit["predicted"], dtype=np.float64).reshape(len(unit["ids"]), -1)
        return cls(
            fold=int(unit["fold"]),
            ids=list(unit["ids"]),
            wanted=np.asarray(unit["wanted"], dtype=np.float64).ravel(),
            predicted=predicted[:, 1 if task.classification else 0],
            parameters=dict(unit.get("about") or {}),
        )


def write_matbench_record(
    path: str | Path,
    results: Mapping[str, Sequence[RecordedFold]],
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write what ``MatbenchBenchmark.from_file`` of matbench 0.6 loads and finds valid.

    Parameters
    ----------
    path
        A ``.json``.
    results
        By name of the task, all five folds, one each.
    metadata
        About the algorithm, ready for JSON; MatBench keeps it as ``user_metadata``.

    Raises
    ------
    UsageError
        If a task is none of MatBench's, a fold is missing or there twice, or nothing is given.
    DataError
        If the crystals of a fold are not the official ones, or a prediction is no number or no
        probability.
    """
    if not results:
        raise UsageError("there is nothing to record: no task has results")
    tasks = {}
    for name, folds in results.items():
        task = find_task(name)
        tasks[task.matbench] = _task_record(task, folds)
    record: dict[str, Any] = {
        "@module": "matbench.bench",
        "@class": "MatbenchBenchmark",
        "version": MATBENCH_VERSION,
        "benchmark_name": BENCHMARK,
        "user_metadata": dict(metadata or {}),
        "datestamp": datetime.now(UTC).strftime("%Y.%m.%d %H:%M.%S"),
        "tasks": tasks,
    }
    try:
        # MatBench sorts the keys of dictionaries, but not of those inside lists, before it takes
        # the checksum; sorted everywhere, both agree.
        text = json.dumps(record, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the metadata or parameters cannot be written as JSON ({error})"
        ) from None
    record = json.loads(text)
    record["hash"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from None
    return path


def record_evaluation(
    folder: str | Path, arm: str, path: str | Path, seed: int | None = None
) -> Path:
    """Write MatBench's record of one arm of an evaluation on official folds.

    Parameters
    ----------
    folder
        Of the evaluation: with ``evaluation.json`` and ``units/``.
    arm
        Name of the arm.
    path
        A ``.json``.
    seed
        Which of several runs a fold; None where there is one. Runs are not averaged: an average
        would be another model than any of them.

    Raises
    ------
    UsageError
        If the folder holds no such evaluation or arm, a fold is not done, or several seeds are
        there and none is named.
    """
    folder = Path(folder)
    about = read_json(folder / "evaluation.json")
    task = find_task(str(about["task"].get("name", "")))
    arms = {str(one["name"]): one for one in about["arms"]}
    if arm not in arms:
        raise UsageError(f"{folder}: has no arm {arm!r}; it has {', '.join(arms)}")
    units = [read_json(file) for file in sorted((folder / "units").glob("*.json"))]
    units = [unit for unit in units if unit["arm"] == arm and unit["fold"] is not None]
    seeds = sorted({int(unit["seed"]) for unit in units})
    if seed is None and len(seeds) > 1:
        known = ", ".join(map(str, seeds))
        raise UsageError(f"{folder}: {arm!r} has runs of the seeds {known}; name one of them")
    folds = [
        RecordedFold.from_unit(unit, task) for unit in units if seed in (None, int(unit["seed"]))
    ]
    metadata = {
        "algorithm": arm,
        "package": f"atomprint {atomprint.__version__}",
        "settings": arms[arm].get("about") or {},
        "data_notes": about["task"].get("notes") or [],
    }
    return write_matbench_record(path, {task.name: folds}, metadata)


def _task_record(task: Task, given: Sequence[RecordedFold]) -> dict[str, Any]:
    if not task.matbench:
        raise UsageError(f"{task.name} is none of MatBench's tasks; its record would not be valid")
    by_number = {one.fold: one for one in given}
    missing = [fold for fold in range(N_FOLDS) if fold not in by_number]
    if missing or len(given) != N_FOLDS:
        what = f"fold {missing[0]} is missing" if missing else "a fold is there twice"
        raise UsageError(f"MatBench's record of {task.name} needs each of five folds once; {what}")
    wanted = {id: y for one in given for id, y in zip(one.ids, one.wanted.tolist(), strict=True)}
    every = [task.crystal_id(index) for index in range(task.n_crystals)]
    if lost := next((id for id in every if id not in wanted), None):
        raise DataError(f"{task.name}: {lost} has no prediction in any fold")
    folds = folds_of(task, np.array([wanted[id] for id in every]))
    return {
        "@module": "matbench.task",
        "@class": "MatbenchTask",
        "benchmark_name": BENCHMARK,
        "dataset_name": task.matbench,
        "results": {
            f"fold_{number}": _fold_record(task, by_number[number], [every[i] for i in test])
            for number, (_, test) in enumerate(folds)
        },
    }


def _fold_record(task: Task, given: RecordedFold, official: list[str]) -> dict[str, Any]:
    where = f"{task.name}, fold {given.fold}"
    place = {id: index for index, id in enumerate(given.ids)}
    if len(given.ids) != len(official) or set(place) != set(official):
        odd = next((id for id in given.ids if id not in set(official)), None)
        what = f"{odd} does not belong there" if odd else "crystals are missing or there twice"
        raise DataError(f"{where}: not the official test crystals; {what}")
    order = [place[id] for id in official]
    predicted, wanted = given.predicted[order], given.wanted[order]
    if not np.isfinite(predicted).all():
        raise DataError(f"{where}: a prediction is no finite number")
    if task.classification and not ((predicted >= 0) & (predicted <= 1)).all():
        raise DataError(f"{where}: a prediction is no probability from 0 to 1")
    scores = _class_scores if task.classification else _number_scores
    return {
        "data": dict(zip(official, predicted.tolist(), strict=True)),
        "parameters": dict(given.parameters),
        "scores": scores(wanted, predicted),
        "uncertainty": None,
    }


def _number_scores(wanted: Array, predicted: Array) -> dict[str, float]:
    """MatBench's scores of a number: relative errors leave out labels that are nearly zero."""
    error = np.abs(predicted - wanted)
    counted = np.abs(wanted) > NEARLY_ZERO
    return {
        "mae": float(error.mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "mape": float((error[counted] / np.abs(wanted[counted])).mean()),
        "max_error": float(error.max()),
    }


def _class_scores(wanted: Array, predicted: Array) -> dict[str, float]:
    """MatBench's scores of two classes.

    matbench 0.6 turns probabilities into classes before all four, the ROC-AUC too; that of classes
    is the mean of the two recalls, the balanced accuracy. The record has to hold what MatBench
    computes; atomprint's own ``ROC-AUC error`` ranks by probability.
    """
    actual, said = wanted == 1, predicted > THRESHOLD
    both = int((actual & said).sum())
    recalls = [float((said == value)[actual == value].mean()) for value in (True, False)]
    balanced = float(np.mean(recalls))
    n_either = int(actual.sum() + said.sum())
    return {
        "accuracy": float((actual == said).mean()),
        "balanced_accuracy": balanced,
        "f1": 2 * both / n_either if n_either else 0.0,
        "rocauc": balanced,
    }
