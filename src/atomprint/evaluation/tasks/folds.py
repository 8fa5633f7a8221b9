"""MatBench's official folds, made anew and checked against the checksum of the published ones.

The folds are those of scikit-learn's ``KFold(5, shuffle=True, random_state=18012019)`` for a
number, and of ``StratifiedKFold`` with the same settings for a class (Dunn et al. 2020, section
"Nested cross validation"; matbench 0.6). Both are a few lines of NumPy's legacy generator, whose
stream NumPy promises to keep: the folds need no scikit-learn, and no version of it can change them.
"""

import hashlib
import json
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from atomprint.evaluation.tasks.task import Task
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal

N_FOLDS = 5
SEED = 18012019
TOLERANCE = 1e-6
"""Relative; labels in single precision agree better, labels in another order do not."""

Indices = npt.NDArray[np.int64]


def official_folds(task: Task, crystals: Sequence[Crystal]) -> list[tuple[Indices, Indices]]:
    """Indices of training and test crystals of each official fold, ascending.

    That the crystals are in MatBench's order is checked by their labels: the mean of each fold's
    training part is published.

    Parameters
    ----------
    task
        One of MatBench's.
    crystals
        As :func:`atomprint.evaluation.tasks.load_task` gives them: all, in MatBench's order.

    Raises
    ------
    UsageError
        If the task has no official folds.
    DataError
        If the crystals are not MatBench's in MatBench's order, or their folds not those published.
    """
    if not task.has_official_folds:
        raise UsageError(f"task {task.name!r} has no official folds; divide it by kfold or curve")
    if len(crystals) != task.n_crystals:
        raise DataError(
            f"{len(crystals):,} crystals, but {task.matbench} has {task.n_crystals:,}; official "
            "folds need all of them"
        )
    for index, crystal in enumerate(crystals):
        if crystal.id != task.crystal_id(index):
            raise DataError(
                f"crystal {index} is {crystal.id!r} where {task.matbench} has "
                f"{task.crystal_id(index)!r}; official folds need MatBench's order and ids"
            )
    labels = np.array([float(np.asarray(c.labels[task.label])) for c in crystals])
    folds = folds_of(task, labels)
    for fold, ((train, _), published) in enumerate(zip(folds, task.train_means, strict=True)):
        found = float(labels[train].mean())
        if not math.isclose(found, published, rel_tol=TOLERANCE):
            raise DataError(
                f"the training labels of fold {fold} of {task.name} have the mean {found:.8g}, "
                f"those of {task.matbench} {published:.8g}; these are other labels, or they are in "
                "another order"
            )
    return folds


def folds_of(
    task: Task, labels: npt.NDArray[np.float64] | None = None
) -> list[tuple[Indices, Indices]]:
    """Official folds of a task of MatBench, checked; labels are needed for classes only.

    Raises
    ------
    DataError
        If the folds are not those published: the labels are others, or in another order.
    """
    if task.classification:
        if labels is None:
            raise UsageError(f"the folds of {task.name} follow its classes; give the labels")
        tests = _stratified(labels)
    else:
        tests = _shuffled(task.n_crystals)
    every = np.arange(task.n_crystals)
    folds = [(np.setdiff1d(every, test, assume_unique=True), test) for test in tests]
    if checksum(task, folds) != task.folds_sha256:
        raise DataError(
            f"the folds of {task.name} do not come out as {task.matbench} publishes them; "
            + ("its labels are not MatBench's" if task.classification else "please report this")
        )
    return folds


def checksum(task: Task, folds: Sequence[tuple[Indices, Indices]]) -> str:
    """SHA-256 of folds, written as MatBench's validation file writes them.

    The text is ``json.dumps(splits, sort_keys=True, separators=(",", ":"))`` of ``{"fold_0":
    {"train": [ids], "test": [ids]}, ...}``; applied to ``matbench_v0.1_validation.json``,
    ``splits``, and a task's name there, it gives ``folds_sha256`` of tasks.yaml.
    """
    ids = [task.crystal_id(index) for index in range(task.n_crystals)]
    splits = {
        f"fold_{fold}": {"train": [ids[i] for i in train], "test": [ids[i] for i in test]}
        for fold, (train, test) in enumerate(folds)
    }
    text = json.dumps(splits, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _generator() -> np.random.RandomState:
    return np.random.RandomState(SEED)


def _shuffled(n_crystals: int) -> list[Indices]:
    """Crystals in a drawn order, cut into five; the first parts take what is left over."""
    order = np.arange(n_crystals)
    _generator().shuffle(order)
    return [np.sort(part) for part in np.array_split(order, N_FOLDS)]


def _stratified(labels: npt.NDArray[np.float64]) -> list[Indices]:
    """Five parts with the classes in equal shares.

    Classes are numbered in the order in which they first appear. Sorted by class, the crystals
    are dealt out in turn, which says how many of each class a fold takes; which ones is drawn for
    one class after the other from the same generator.
    """
    values, first = np.unique(labels, return_index=True)
    ordered = values[np.argsort(first)]
    sizes = [int((labels == value).sum()) for value in ordered]
    dealt = np.repeat(np.arange(len(ordered)), sizes)
    generator = _generator()
    fold_of = np.empty(len(labels), dtype=np.int64)
    for number, value in enumerate(ordered):
        shares = [int((dealt[fold::N_FOLDS] == number).sum()) for fold in range(N_FOLDS)]
        folds = np.repeat(np.arange(N_FOLDS), shares)
        generator.shuffle(folds)
        fold_of[labels == value] = folds
    return [np.flatnonzero(fold_of == fold) for fold in range(N_FOLDS)]
