"""From a task to crystals: its file found, read, checked against what the set should be."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from atomprint.data.sources.download import RemoteFile, is_published
from atomprint.evaluation.tasks.folds import official_folds
from atomprint.evaluation.tasks.matbench_file import read_matbench_file
from atomprint.evaluation.tasks.places import VARIABLE, data_folders, download_folder, find_file
from atomprint.evaluation.tasks.slabs import read_adsorption, read_layers
from atomprint.evaluation.tasks.task import Task, TaskFile
from atomprint.ground.errors import DataError, UsageError
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TaskData:
    """A task's crystals, each with its label.

    Attributes
    ----------
    task
        The task.
    crystals
        For MatBench's sets all of them, in MatBench's order, with MatBench's ids.
    target
        What to predict; its name is that of the crystals' only label.
    notes
        Sentences that belong beside results: where the file is not the source's own, what is
        assumed, what was left out.
    path
        The file.
    """

    task: Task
    crystals: list[Crystal]
    target: Target
    notes: list[str] = field(default_factory=list)
    path: Path = Path()


def load_task(
    task: Task, folder: str | os.PathLike[str] | None = None, progress: Progress | None = None
) -> TaskData:
    """Read a task's crystals and labels from disk.

    Parameters
    ----------
    task
        See :func:`atomprint.evaluation.tasks.find_task`.
    folder
        Where the file lies; None looks where ATOMPRINT_DATA says and in the user's cache.
    progress
        Called as ``progress(done, total)`` while a long file is read.

    Raises
    ------
    UsageError
        If no file of the task is there; the message says which, where to get it, where to put it.
    DataError
        If the file is damaged, or not what it should be.
    """
    found = find_file(task, folder)
    if found is None:
        raise UsageError(missing(task, folder))
    path, file = found
    if file.is_matbench:
        _check(path, task, "MatBench's file")
        pairs, notes = read_matbench_file(path, file.column, task.n_crystals, progress)
    elif file.layout == "layers":
        pairs, notes = read_layers(path, file.column)
    elif file.layout == "adsorption":
        _check(path, task, "the source's file")
        pairs, notes = read_adsorption(path, file.column)
    else:
        pairs, notes = _read(path, file, task)
    if task.matbench:
        if len(pairs) != task.n_crystals:
            raise DataError(
                f"{path}: {len(pairs):,} crystals with a label, but {task.matbench} has "
                f"{task.n_crystals:,}; official folds need all of them"
            )
        pairs = [(replace(c, id=task.crystal_id(k)), v) for k, (c, v) in enumerate(pairs)]
    elif task.n_crystals and len(pairs) != task.n_crystals:
        notes.append(f"{path.name} has {len(pairs):,} crystals, not {task.n_crystals:,}")
    _check_classes(task, pairs, path)
    crystals = [crystal.with_labels({task.label: value}) for crystal, value in pairs]
    if task.matbench:
        official_folds(task, crystals)  # raises where labels or their order are not MatBench's
    if file.note:
        notes.insert(0, file.note)
    return TaskData(task, crystals, task.target, notes, path)


def missing(task: Task, folder: str | os.PathLike[str] | None = None) -> str:
    """Say which file is missing, where it can be had and where to put it."""
    names = " or ".join(file.name for file in task.files)
    searched = ", ".join(map(str, data_folders(folder)))
    text = f"task {task.name!r} needs the file {names}, which is not in {searched}; "
    if task.url:
        return text + (
            f"run 'atomprint tasks --download {task.name}', or get {task.url} yourself and put it "
            f"into {download_folder(folder)}"
        )
    return text + (
        f"it cannot be downloaded ({task.source}): give --files the folder that has it, or name "
        f"that folder in {VARIABLE}"
    )


def _check(path: Path, task: Task, whose: str) -> None:
    if not is_published(path, RemoteFile(task.url, task.checksum)):
        raise DataError(
            f"{path}: its checksum is not that of {whose}; remove it and get it again "
            f"from {task.url}"
        )


def _read(path: Path, file: TaskFile, task: Task) -> tuple[list[tuple[Crystal, float]], list[str]]:
    """Read a file in any of atomprint's formats; crystals without the label are left out."""
    result = read_crystals(path)
    if task.matbench and result.n_skipped:
        raise DataError(f"{path}: official folds need every crystal; {result.problems[0]}")
    notes = []
    if result.n_skipped:
        notes.append(f"{result.n_skipped:,} crystals of {path.name} could not be read")
    pairs = []
    for crystal in result.crystals:
        value = crystal.labels.get(file.column)
        if value is None or np.ndim(value) != 0 or not math.isfinite(float(value)):
            continue
        number = float(value)
        if file.transform == "log10":
            if number <= 0:
                continue
            number = math.log10(number)
        pairs.append((crystal, number))
    if not pairs:
        raise DataError(f"{path}: no crystal has a number {file.column!r}")
    if without := len(result.crystals) - len(pairs):
        reason = " above zero" if file.transform == "log10" else ""
        notes.append(f"{without:,} crystals without a {file.column}{reason} are left out")
    return pairs, notes


def _check_classes(task: Task, pairs: list[tuple[Crystal, float]], path: Path) -> None:
    wrong = [value for _, value in pairs if task.classification and value not in (0.0, 1.0)]
    if wrong:
        raise DataError(f"{path}: {task.label} is {wrong[0]:g} somewhere, and should be 0 or 1")
    lost = sum(not math.isfinite(value) for _, value in pairs)
    if lost:
        raise DataError(f"{path}: {lost:,} crystals have no number {task.label}")
