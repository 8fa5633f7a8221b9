"""Fine-tune, beside its from-scratch twin, and judge both on crystals that neither ever saw."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from atomprint.evaluation.comparison import Judged, compare
from atomprint.evaluation.intervals import write_held_out
from atomprint.ground.errors import DataError
from atomprint.heads.metrics import metric, metric_name
from atomprint.heads.model import Model, ModelSettings
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.training.checkpoint import ModelInfo, save_model, write_json
from atomprint.training.finetune import FinetuneResult, FinetuneSettings, finetune
from atomprint.training.loop import Progress
from atomprint.training.predict import Array, labels_of, predict


@dataclass(frozen=True)
class Parts:
    """Crystals of one experiment, by what they are for; test crystals decide nothing.

    Attributes
    ----------
    train, valid, test
        With labels: to train on, to choose by, to judge by.
    unlabelled
        Structures that a pre-trained network may be adapted to.
    """

    train: list[Crystal]
    valid: list[Crystal]
    test: list[Crystal]
    unlabelled: list[Crystal] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What fine-tuning gave.

    Attributes
    ----------
    results
        One row a target: ``target``, ``unit``, ``metric``, ``n_train`` (labels used, validation
        included), ``n_valid``, ``n_test``, ``seed``, ``value``, ``seconds``, ``learning_rate``,
        and with a twin ``twin_value``, ``twin_learning_rate``, ``twin_seconds``, ``gain``
        (1 - value / twin_value on the test part) and ``gain_interval`` (its 95 % interval, for
        other test crystals of the kind; not for other labels). What is not known is None.
    model, twin
        The fine-tuned model and its from-scratch twin, if one was asked for.
    """

    results: list[dict[str, Any]]
    model: Model
    twin: Model | None = None
    problems: list[Any] = field(default_factory=list)


def split_labelled(
    labelled: Sequence[Crystal],
    test: Sequence[Crystal],
    n_train: int | None,
    valid_fraction: float,
    seed: int,
) -> Parts:
    """Choose training and validation crystals among the labelled ones that are not for testing.

    Parameters
    ----------
    labelled
        Candidates.
    test
        Set aside; returned as it is.
    n_train
        Labels to use, validation included; None takes all.
    valid_fraction
        Part of them that validates.
    seed
        Of the choice.

    Raises
    ------
    DataError
        If there are fewer candidates than asked for, or too few to split.
    """
    wanted = len(labelled) if n_train is None else n_train
    if wanted > len(labelled):
        raise DataError(
            f"--n-train asks for {wanted} labelled crystals and {len(labelled)} are left "
            "beside the test part; ask for fewer or make the test part smaller"
        )
    if wanted < 8:
        raise DataError(
            f"{wanted} labelled crystals are too few to train and validate on; give at least 8"
        )
    order = np.random.default_rng((seed, 4)).permutation(len(labelled))[:wanted]
    n_valid = max(2, round(valid_fraction * wanted))
    return Parts(
        [labelled[i] for i in order[n_valid:]],
        [labelled[i] for i in order[:n_valid]],
        list(test),
    )


def run_twins(
    parts: Parts,
    targets: Sequence[Target],
    settings: FinetuneSettings,
    model_settings: ModelSettings,
    source: Model | None,
    *,
    twin: bool,
    out: Path | None = None,
    notes: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Fine-tune (and train the twin, with the same data, seed, steps and grid) and test.

    Parameters
    ----------
    parts
        Crystals for training, validation and test.
    targets
        What to predict.
    settings
        Of fine-tuning; the same for both.
    model_settings
        Network; the same for both.
    source
        The pre-trained model.
    twin
        Whether to train the twin.
    out
        Folder for models, ``metrics.json``, ``history.json`` and ``predictions.csv``.
    notes
        Written into the checkpoints.
    progress
        Called as ``progress(step, n_steps, numbers)`` over both.
    """
    n_arms = 2 if twin else 1

    def part_of(arm: int) -> Progress:
        def report(step: int, total: int, numbers: dict[str, float]) -> None:
            if progress is not None:
                progress(arm * total + step, n_arms * total, numbers)

        return report

    def train(start: Model | None, arm: int) -> FinetuneResult:
        return finetune(
            parts.train, parts.valid, targets, model_settings, settings, start, part_of(arm),
            unlabelled=parts.unlabelled,
        )  # fmt: skip

    tuned = train(source, 0)
    scratch = train(None, 1) if twin else None
    predicted = _all_predictions(tuned, parts)
    twin_predicted = _all_predictions(scratch, parts) if scratch else None
    results = []
    for target in targets:
        size = 1 if target.is_class else target.size
        wanted = labels_of(parts.test, target.name, target.per, size)
        n_test_rows = len(wanted)

        def error(
            values: dict[str, Array],
            target: Target = target,
            wanted: Array = wanted,
            n: int = n_test_rows,
        ) -> float:
            return metric(target, values[target.name][len(values[target.name]) - n :], wanted)

        row: dict[str, Any] = {
            "target": target.name,
            "unit": target.unit if not target.is_class else "",
            "metric": metric_name(target),
            "n_train": len(parts.train) + len(parts.valid),
            "n_valid": len(parts.valid),
            "n_test": sum(c.labels.get(target.name) is not None for c in parts.test),
            "seed": settings.loop.seed,
            "value": _known(error(predicted)),
            "seconds": round(tuned.seconds, 2),
            "learning_rate": tuned.trials[tuned.chosen].learning_rate,
        }
        if scratch is not None and twin_predicted is not None:
            value, other = error(predicted), error(twin_predicted)
            row |= {
                "twin_value": _known(other),
                "gain": _known(1 - value / other if other else float("nan")),
                "gain_interval": _gain_interval(target, predicted, twin_predicted, wanted),
                "twin_learning_rate": scratch.trials[scratch.chosen].learning_rate,
                "twin_seconds": round(scratch.seconds, 2),
            }
        results.append(row)
    if out is not None:
        kept = {"seed": settings.loop.seed, **(notes or {})}
        save_model(out, tuned.model, tuned.model.state_dict(), ModelInfo("finetune", kept))
        history = {"pretrained" if source is not None else "scratch": _trials(tuned)}
        if scratch is not None:
            info = ModelInfo("finetune", {**kept, "provenance": [], "twin": True})
            save_model(out / "twin", scratch.model, scratch.model.state_dict(), info)
            history["twin"] = _trials(scratch)
        write_json(out / "history.json", history)
        write_json(out / "metrics.json", {"results": results})
        write_predictions(out / "predictions.csv", parts, targets, predicted, twin_predicted)
        _write_held_out(out, parts, targets, predicted)
        if twin_predicted is not None:
            _write_held_out(out / "twin", parts, targets, twin_predicted)
    return Outcome(results, tuned.model, scratch.model if scratch else None)


def _write_held_out(
    folder: Path, parts: Parts, targets: Sequence[Target], predicted: dict[str, Array]
) -> None:
    """Keep what intervals are made of: the validation part, numbers per crystal only."""
    at = slice(len(parts.train), len(parts.train) + len(parts.valid))
    write_held_out(
        folder,
        {
            t.name: (predicted[t.name][at], labels_of(parts.valid, t.name, "crystal", t.size))
            for t in targets
            if t.per == "crystal" and not t.is_class
        },
    )


def _all_predictions(result: FinetuneResult, parts: Parts) -> dict[str, Array]:
    """Predictions by target, of one part after the other.

    Those of validation crystals were made before the model was trained on them.
    """
    trained, tested = (predict(result.model, part) for part in (parts.train, parts.test))
    return {
        name: np.concatenate([trained[name], held_out, tested[name]])
        for name, held_out in result.held_out.items()
    }


def _gain_interval(
    target: Target, predicted: dict[str, Array], twin_predicted: dict[str, Array], wanted: Array
) -> list[float] | None:
    """Ends of the gain's 95 % interval over test crystals; None where errors are no means of them.

    Predictions are those of all parts, the test part last; ``wanted`` are its labels.
    """
    if target.is_class or target.per == "atom":
        return None
    known = np.isfinite(wanted).all(1)
    ids = tuple(str(row) for row in np.flatnonzero(known))

    def judged(values: dict[str, Array]) -> Judged:
        of_test = values[target.name][len(values[target.name]) - len(wanted) :]
        errors = np.abs(of_test - wanted)[known].mean(1)
        return Judged(float(errors.mean()) if len(errors) else 0.0, ids, errors)

    one, two = judged(predicted), judged(twin_predicted)
    if not (one.value > 0 and two.value > 0):
        return None
    gain = compare([one], [two]).gain
    return None if gain.low is None or gain.high is None else [gain.low, gain.high]


def _known(value: float) -> float | None:
    """JSON knows no NaN: a number that does not exist is null."""
    return value if math.isfinite(value) else None


def _trials(result: FinetuneResult) -> list[dict[str, Any]]:
    return [
        {
            "learning_rate": t.learning_rate,
            "valid_value": t.valid_value,
            "step": t.step,
            "chosen": index == result.chosen,
            "history": t.history,
        }
        for index, t in enumerate(result.trials)
    ]


def write_predictions(
    path: Path,
    parts: Parts,
    targets: Sequence[Target],
    predicted: dict[str, Array],
    twin_predicted: dict[str, Array] | None,
) -> None:
    """Write labels beside predictions, a row a crystal (targets per crystal only).

    A classification's prediction is the probability of class 1 of two, else the likeliest class.
    """
    everything = [*parts.train, *parts.valid, *parts.test]
    names = [
        *["train"] * len(parts.train), *["valid"] * len(parts.valid), *["test"] * len(parts.test)
    ]  # fmt: skip
    columns: dict[str, list[Any]] = {"id": [c.id for c in everything], "part": names}
    for target in targets:
        if target.per == "atom":
            continue
        size = 1 if target.is_class else target.size
        columns |= label_columns(target.name, labels_of(everything, target.name, "crystal", size))
        columns |= prediction_columns(target, predicted[target.name], "predicted")
        if twin_predicted is not None:
            columns |= prediction_columns(target, twin_predicted[target.name], "twin")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def label_columns(name: str, values: Array) -> dict[str, list[Any]]:
    """Columns of a label: one, or ``name.0``, ``name.1`` ... of a vector; empty where missing."""
    names = [name] if values.shape[1] == 1 else [f"{name}.{i}" for i in range(values.shape[1])]
    return {
        n: ["" if math.isnan(v) else float(v) for v in values[:, i]] for i, n in enumerate(names)
    }


def prediction_columns(target: Target, values: Array, suffix: str) -> dict[str, list[Any]]:
    """Columns of predictions: ``<target>_<suffix>``, and class probabilities for classes."""
    name = f"{target.name}_{suffix}"
    if not target.is_class:
        return label_columns(name, values)
    if target.size == 2:
        return {name: [float(v) for v in values[:, 1]]}
    columns: dict[str, list[Any]] = {name: [int(v) for v in values.argmax(1)]}
    for index in range(target.size):
        columns[f"{name}.p{index}"] = [float(v) for v in values[:, index]]
    return columns
