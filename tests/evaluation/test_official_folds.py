"""MatBench's official folds against scikit-learn, and against the file that MatBench ships.

The comparison with MatBench's file needs ``matbench_v0.1_validation.json`` of matbench 0.6, from
an installed package or named in ATOMPRINT_MATBENCH_VALIDATION; the checksums in tasks.yaml were
taken from it and prove the folds elsewhere.
"""

import hashlib
import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

from atomprint.evaluation.tasks import built_in_tasks, find_task, load_task, official_folds
from atomprint.evaluation.tasks.folds import N_FOLDS, SEED, _shuffled, _stratified, folds_of
from atomprint.ground.errors import DataError, UsageError

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
MATBENCH = [task for task in built_in_tasks() if task.has_official_folds]
REGRESSION = [task for task in MATBENCH if not task.classification]


def published():
    """MatBench's own file of folds, if it is at hand."""
    named = os.environ.get("ATOMPRINT_MATBENCH_VALIDATION")
    if named:
        return Path(named)
    spec = importlib.util.find_spec("matbench")
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder) / "matbench_v0.1_validation.json").is_file():
            return path
    return None


@pytest.fixture(scope="module")
def validation():
    path = published()
    if path is None:
        pytest.skip(
            "MatBench's file of folds is not at hand (matbench is not installed, and "
            "ATOMPRINT_MATBENCH_VALIDATION names no file)"
        )
    return json.loads(path.read_text())["splits"]


@pytest.mark.parametrize("n", [10, 11, 12, 13, 14, 636, 1265])
def test_shuffled_folds_are_those_of_scikit_learn(n):
    selection = pytest.importorskip("sklearn.model_selection")
    folds = selection.KFold(N_FOLDS, shuffle=True, random_state=SEED).split(np.empty(n))
    for mine, (_, test) in zip(_shuffled(n), folds, strict=True):
        assert mine.tolist() == test.tolist()


@pytest.mark.parametrize("share", [0.05, 0.43492, 0.5, 0.9])
@pytest.mark.parametrize("n", [201, 202, 203, 1000, 1004])
def test_stratified_folds_are_those_of_scikit_learn(n, share):
    selection = pytest.importorskip("sklearn.model_selection")
    labels = (np.random.default_rng(n).random(n) < share).astype(float)
    stratified = selection.StratifiedKFold(N_FOLDS, shuffle=True, random_state=SEED)
    folds = stratified.split(np.empty(n), labels)
    for mine, (_, test) in zip(_stratified(labels), folds, strict=True):
        assert mine.tolist() == test.tolist()


@pytest.mark.parametrize("task", REGRESSION, ids=lambda task: task.name)
def test_every_crystal_is_judged_once_and_never_trained_on_then(task):
    folds = folds_of(task)  # compares with the checksum of the published folds
    judged = np.concatenate([test for _, test in folds])
    assert np.array_equal(np.sort(judged), np.arange(task.n_crystals))
    for train, test in folds:
        assert len(train) + len(test) == task.n_crystals
        assert np.intersect1d(train, test).size == 0
        assert abs(len(test) - task.n_crystals / N_FOLDS) < 1


def test_classes_are_needed_where_folds_follow_them():
    task = find_task("mp_is_metal")
    with pytest.raises(UsageError, match="give the labels"):
        folds_of(task)
    with pytest.raises(DataError, match="its labels are not MatBench's"):
        folds_of(task, np.arange(task.n_crystals) % 2.0)


@pytest.mark.parametrize("task", MATBENCH, ids=lambda task: task.name)
def test_checksums_are_those_of_matbenchs_own_file(task, validation):
    text = json.dumps(validation[task.matbench], sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == task.folds_sha256


@pytest.mark.parametrize("task", REGRESSION, ids=lambda task: task.name)
def test_ids_order_and_folds_are_those_of_matbenchs_own_file(task, validation):
    for fold, (train, test) in enumerate(folds_of(task)):
        wanted = validation[task.matbench][f"fold_{fold}"]
        assert [task.crystal_id(i) for i in train] == wanted["train"]
        assert [task.crystal_id(i) for i in test] == wanted["test"]


def test_the_stratified_folds_are_those_of_matbenchs_own_file(validation):
    """Classes are not at hand, but follow from the folds that MatBench drew with them.

    With classes of known size, each class has its own drawn sequence of folds, and the crystals'
    folds in the order of the set are the two sequences interleaved. At most five ways of
    interleaving are open at any crystal; that there is one at all, to the very end, is what no
    other generator, seed or rule could have made.
    """
    task = find_task("mp_is_metal")
    wanted = validation[task.matbench]
    fold_of = np.empty(task.n_crystals, dtype=int)
    for fold in range(N_FOLDS):
        fold_of[[int(id.rsplit("-", 1)[1]) - 1 for id in wanted[f"fold_{fold}"]["test"]]] = fold
    labels = interleaving(fold_of, n_ones=46151)  # frac_true of MatBench's metadata
    assert labels.sum() == 46151
    for fold, (train, test) in enumerate(folds_of(task, labels)):
        assert labels[train].mean() == pytest.approx(task.train_means[fold], rel=1e-12)
        assert [task.crystal_id(i) for i in train] == wanted[f"fold_{fold}"]["train"]
        assert [task.crystal_id(i) for i in test] == wanted[f"fold_{fold}"]["test"]


def interleaving(fold_of, n_ones):
    """Labels (the first is 0) for which the stratified folds are these."""
    n = len(fold_of)
    blocks = np.repeat([0.0, 1.0], [n - n_ones, n_ones])
    tests = _stratified(blocks)
    drawn = np.empty(n, dtype=int)
    for fold, test in enumerate(tests):
        drawn[test] = fold
    zeros, ones = drawn[: n - n_ones], drawn[n - n_ones :]
    # Paths by the number of zeros used so far; each keeps one way to get there.
    steps = []
    open_paths = {0}
    for index, fold in enumerate(fold_of):
        came_by = {}
        for used in open_paths:
            if used < len(zeros) and zeros[used] == fold:
                came_by[used + 1] = 0.0
            # The class that comes first in the set is drawn first: no 1 may open it.
            if index and index - used < len(ones) and ones[index - used] == fold:
                came_by.setdefault(used, 1.0)
        steps.append(came_by)
        open_paths = set(came_by)
    labels = np.empty(n)
    used = len(zeros)
    for index in range(n - 1, -1, -1):
        labels[index] = steps[index][used]
        used -= labels[index] == 0
    return labels


@pytest.mark.data
@pytest.mark.skipif(
    not DATA.is_dir(), reason="the real data sets are not beside the checkout (../shared/data)"
)
@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("phonons", [337.1003, 299.1209, 348.2576, 325.2402, 310.1921]),
        ("jdft2d", [53.1447, 72.8118, 83.1220, 61.3174, 66.0295]),
    ],
)
def test_predicting_the_mean_gives_the_errors_that_matbench_publishes(name, errors):
    """Fold by fold, for the entry "Dummy" of MatBench's leaderboard: labels, order and folds."""
    task = find_task(name)
    crystals = load_task(task, DATA).crystals
    labels = np.array([c.labels[task.label] for c in crystals])
    for (train, test), error in zip(official_folds(task, crystals), errors, strict=True):
        assert np.abs(labels[test] - labels[train].mean()).mean() == pytest.approx(error, abs=6e-5)


@pytest.mark.data
@pytest.mark.skipif(
    not DATA.is_dir(), reason="the real data sets are not beside the checkout (../shared/data)"
)
def test_two_crystals_in_the_wrong_order_are_noticed():
    task = find_task("phonons")
    crystals = load_task(task, DATA).crystals
    (_, first), (_, second), *_ = official_folds(task, crystals)
    one, other = int(first[0]), int(second[0])
    swapped = list(crystals)
    swapped[one] = crystals[one].with_labels(crystals[other].labels)
    swapped[other] = crystals[other].with_labels(crystals[one].labels)
    with pytest.raises(DataError, match="another order"):
        official_folds(task, swapped)
