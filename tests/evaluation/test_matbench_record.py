"""The record of MatBench: its scores, its checksum, its order, and MatBench's own verdict on it.

The last needs the Python of an environment that has matbench 0.6, named in
ATOMPRINT_MATBENCH_PYTHON; scripts/check_matbench_record.py says how to make one.
"""

import hashlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atomprint.evaluation.tasks import find_task
from atomprint.evaluation.tasks.folds import _stratified, folds_of
from atomprint.evaluation.tasks.record import (
    RecordedFold,
    _class_scores,
    _number_scores,
    record_evaluation,
    write_matbench_record,
)
from atomprint.ground.errors import DataError, UsageError

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_matbench_record.py"


def made_up(name, seed=0):
    """Five folds with labels and predictions that are made up; and the labels by id."""
    task = find_task(name)
    rng = np.random.default_rng(seed)
    labels = rng.normal(2, 1, size=task.n_crystals)
    # Nearly zero and exactly zero: MatBench leaves them out of relative errors.
    labels[:3] = 0, 1e-6, -1e-6
    folds = []
    for number, (_, test) in enumerate(folds_of(task, labels)):
        mixed = rng.permutation(test)
        folds.append(
            RecordedFold(
                number, [task.crystal_id(i) for i in mixed], labels[mixed],
                labels[mixed] + rng.normal(scale=0.1, size=len(mixed)), {"rate": 1e-3, "b": [1]},
            )
        )  # fmt: skip
    return folds, {task.crystal_id(i): float(label) for i, label in enumerate(labels)}


@pytest.fixture(scope="module")
def phonons():
    return made_up("phonons")


def test_scores_of_numbers_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    wanted, predicted = rng.normal(size=(2, 500))
    scores = _number_scores(wanted, predicted)
    assert scores["mae"] == pytest.approx(metrics.mean_absolute_error(wanted, predicted))
    assert scores["rmse"] == pytest.approx(metrics.root_mean_squared_error(wanted, predicted))
    assert scores["max_error"] == pytest.approx(metrics.max_error(wanted, predicted))
    mape = metrics.mean_absolute_percentage_error(wanted, predicted)
    assert scores["mape"] == pytest.approx(mape)
    # Two labels more, both nearly zero, change nothing in the relative error.
    more = _number_scores(np.append(wanted, [0, 9e-6]), np.append(predicted, [1, 1]))
    assert more["mape"] == pytest.approx(mape)


def test_scores_of_classes_are_those_of_scikit_learn_on_classes():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    wanted = (rng.random(500) < 0.3).astype(float)
    predicted = np.clip(0.4 * wanted + 0.7 * rng.random(500), 0, 1)
    scores = _class_scores(wanted, predicted)
    said = predicted > 0.5
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(wanted, said))
    assert scores["f1"] == pytest.approx(metrics.f1_score(wanted, said))
    assert scores["rocauc"] == pytest.approx(metrics.roc_auc_score(wanted, said))
    balanced = metrics.balanced_accuracy_score(wanted, said)
    assert scores["balanced_accuracy"] == pytest.approx(balanced)


def test_predictions_stand_in_the_official_order_whatever_order_they_came_in(phonons, tmp_path):
    folds, wanted = phonons
    path = write_matbench_record(tmp_path / "record.json", {"phonons": folds}, {"who": "tests"})
    record = json.loads(path.read_text())
    task = find_task("phonons")
    results = record["tasks"]["matbench_phonons"]["results"]
    for number, (_, test) in enumerate(folds_of(task)):
        data = results[f"fold_{number}"]["data"]
        assert list(data) == [task.crystal_id(i) for i in test]
        by_id = dict(zip(folds[number].ids, folds[number].predicted.tolist(), strict=True))
        assert data == by_id
        errors = [abs(value - wanted[id]) for id, value in data.items()]
        assert results[f"fold_{number}"]["scores"]["mae"] == pytest.approx(np.mean(errors))
    assert record["user_metadata"] == {"who": "tests"}


def test_the_checksum_is_that_of_everything_else(phonons, tmp_path):
    path = write_matbench_record(tmp_path / "record.json", {"phonons": phonons[0]})
    record = json.loads(path.read_text())
    stated = record.pop("hash")
    text = json.dumps(record, sort_keys=True)
    assert stated == hashlib.sha256(text.encode()).hexdigest()


def test_a_unit_of_an_evaluation_is_a_fold():
    unit = {
        "fold": 2, "ids": ["a", "b"], "wanted": [[1.0], [0.0]], "about": {"k": 3},
        "predicted": [[0.2, 0.8], [0.9, 0.1]], "arm": "x", "split": "fold 2",
    }  # fmt: skip
    fold = RecordedFold.from_unit(unit, find_task("mp_is_metal"))
    assert fold.fold == 2
    assert fold.predicted.tolist() == [0.8, 0.1]
    assert fold.wanted.tolist() == [1.0, 0.0]
    number = RecordedFold.from_unit({**unit, "predicted": [[3.0], [4.0]]}, find_task("phonons"))
    assert number.predicted.tolist() == [3.0, 4.0]
    with pytest.raises(DataError, match="is of no fold"):
        RecordedFold.from_unit({**unit, "fold": None}, find_task("phonons"))


def evaluation(folder, folds, seeds=(0,)):
    """A folder as an evaluation leaves it, with two arms."""
    (folder / "units").mkdir(parents=True)
    about = {
        "format": 1, "task": {"name": "phonons", "notes": ["a note"]},
        "arms": [{"name": "net", "kind": "scratch", "about": {"n": 1}}, {"name": "other"}],
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(about))
    for fold in folds:
        for seed in seeds:
            for arm, shift in (("net", 0.0), ("other", 5.0)):
                unit = {
                    "arm": arm, "split": f"fold {fold.fold}", "fold": fold.fold, "seed": seed,
                    "ids": list(fold.ids), "wanted": fold.wanted[:, None].tolist(),
                    "predicted": (fold.predicted + shift + seed)[:, None].tolist(),
                    "about": {"learning_rate": 1e-3},
                }  # fmt: skip
                name = f"{arm}--fold-{fold.fold}-seed-{seed}.json"
                (folder / "units" / name).write_text(json.dumps(unit))
    return folder


def test_an_evaluation_becomes_the_record_of_one_of_its_arms(phonons, tmp_path):
    folds, _ = phonons
    folder = evaluation(tmp_path / "one", folds)
    path = record_evaluation(folder, "net", tmp_path / "record.json")
    direct = write_matbench_record(tmp_path / "direct.json", {"phonons": folds})
    record, wanted = (json.loads(p.read_text()) for p in (path, direct))
    for number in range(5):
        results = [r["tasks"]["matbench_phonons"]["results"][f"fold_{number}"] for r in
                   (record, wanted)]  # fmt: skip
        assert results[0]["data"] == results[1]["data"]
        assert results[0]["scores"] == results[1]["scores"]
        assert results[0]["parameters"] == {"learning_rate": 1e-3}
    assert record["user_metadata"]["algorithm"] == "net"
    assert record["user_metadata"]["data_notes"] == ["a note"]
    with pytest.raises(UsageError, match="has no arm 'nets'; it has net, other"):
        record_evaluation(folder, "nets", path)
    next((folder / "units").glob("net--fold-2*")).unlink()
    with pytest.raises(UsageError, match="fold 2 is missing"):
        record_evaluation(folder, "net", path)


def test_of_several_runs_a_fold_one_is_recorded(phonons, tmp_path):
    folds, _ = phonons
    folder = evaluation(tmp_path / "two", folds, seeds=(0, 1))
    with pytest.raises(UsageError, match="seeds 0, 1; name one"):
        record_evaluation(folder, "net", tmp_path / "record.json")
    path = record_evaluation(folder, "net", tmp_path / "record.json", seed=1)
    data = json.loads(path.read_text())["tasks"]["matbench_phonons"]["results"]["fold_0"]["data"]
    assert data[folds[0].ids[0]] == folds[0].predicted[0] + 1


def test_what_matbench_would_refuse_is_refused_with_a_sentence(phonons, tmp_path):
    folds, _ = phonons
    path = tmp_path / "record.json"

    def refused(error, message, changed, name="phonons", metadata=None):
        with pytest.raises(error, match=message):
            write_matbench_record(path, {name: changed}, metadata)

    refused(UsageError, "fold 3 is missing", [f for f in folds if f.fold != 3])
    refused(UsageError, "there twice", [*folds, folds[0]])
    refused(UsageError, "none of MatBench's", folds, "band_gap")
    refused(UsageError, "cannot be written as JSON", folds, metadata={"x": object()})
    first = folds[0]
    nan = np.where(np.arange(len(first.ids)) == 5, np.nan, first.predicted)
    refused(DataError, "no finite number", [replace(first, predicted=nan), *folds[1:]])
    exchanged = [replace(folds[1], fold=0), replace(first, fold=1), *folds[2:]]
    refused(DataError, "does not belong there", exchanged)
    shorter = replace(
        first, ids=first.ids[1:], wanted=first.wanted[1:], predicted=first.predicted[1:]
    )
    refused(DataError, "has no prediction in any fold", [shorter, *folds[1:]])
    with pytest.raises(UsageError, match="nothing to record"):
        write_matbench_record(path, {})
    assert not path.exists()


@pytest.fixture
def matbench():
    """Run the script in an environment that has matbench; (status, what it printed)."""
    python = os.environ.get("ATOMPRINT_MATBENCH_PYTHON")
    if not python:
        pytest.skip("ATOMPRINT_MATBENCH_PYTHON names no Python that has matbench 0.6")

    def check(record, wanted=None):
        more = ["--wanted", str(wanted)] if wanted else []
        ran = subprocess.run(
            [python, SCRIPT, record, *more], capture_output=True, text=True, check=False
        )
        return ran.returncode, ran.stdout + ran.stderr

    return check


def test_matbench_loads_validates_and_scores_the_record(phonons, matbench, tmp_path):
    folds, wanted = phonons
    more, more_wanted = made_up("jdft2d", seed=1)
    path = write_matbench_record(
        tmp_path / "record.json", {"phonons": folds, "jdft2d": more}, {"a": {"list": [{"b": 1}]}}
    )
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(wanted | more_wanted))
    status, said = matbench(path, labels)
    assert status == 0, said
    assert "is_valid: True" in said
    assert "is_recorded: True" in said
    mean = np.mean([np.abs(fold.predicted - fold.wanted).mean() for fold in folds])
    assert f"matbench_phonons mae: {mean:.6g}" in said

    record = json.loads(path.read_text())
    record["tasks"]["matbench_phonons"]["results"]["fold_0"]["scores"]["mae"] = 0.0
    path.write_text(json.dumps(record))
    status, said = matbench(path)
    assert status == 1
    assert "Hash of dictionary does not match" in said


def test_matbench_agrees_on_classes(matbench, tmp_path, monkeypatch):
    """With made-up classes: the crystals of each fold are then not MatBench's, the scores are."""
    rng = np.random.default_rng(0)
    task = find_task("mp_is_metal")
    labels = (rng.random(task.n_crystals) < 0.43).astype(float)
    tests = _stratified(labels)
    every = np.arange(task.n_crystals)
    monkeypatch.setattr(
        "atomprint.evaluation.tasks.record.folds_of",
        lambda task, labels: [(np.setdiff1d(every, test), test) for test in tests],
    )
    folds = []
    for number, test in enumerate(tests):
        probability = np.clip(0.4 * labels[test] + 0.7 * rng.random(len(test)), 0, 1)
        ids = [task.crystal_id(i) for i in test]
        folds.append(RecordedFold(number, ids, labels[test], probability))
    path = write_matbench_record(tmp_path / "record.json", {"mp_is_metal": folds})
    status, said = matbench(path)
    assert status == 1
    assert "required indices" in said  # it loads, and then misses its own folds' crystals
    program = (
        "import json, sys; from matbench.data_ops import score_array;"
        "wanted, predicted = json.load(open(sys.argv[1]));"
        "print(json.dumps(score_array([bool(x) for x in wanted], predicted, 'classification')))"
    )
    pairs = tmp_path / "pairs.json"
    pairs.write_text(json.dumps([folds[0].wanted.tolist(), folds[0].predicted.tolist()]))
    python = os.environ["ATOMPRINT_MATBENCH_PYTHON"]
    ran = subprocess.run([python, "-c", program, pairs], capture_output=True, text=True, check=True)
    theirs = json.loads(ran.stdout.splitlines()[-1])
    record = json.loads(path.read_text())
    mine = record["tasks"]["matbench_mp_is_metal"]["results"]["fold_0"]["scores"]
    assert mine == pytest.approx(theirs, rel=1e-12)
