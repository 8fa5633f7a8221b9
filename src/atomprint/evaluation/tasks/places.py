"""Where the files of tasks lie: a folder that is named, or the user's cache."""

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from atomprint.evaluation.tasks.task import Task, TaskFile, built_in_tasks
from atomprint.ground.errors import UsageError

VARIABLE = "ATOMPRINT_DATA"


@dataclass(frozen=True)
class TaskState:
    """A task, and what there is of it on disk.

    Attributes
    ----------
    task
        The task.
    path, file
        The best of its files that is there, and how it is read; None where none is.
    """

    task: Task
    path: Path | None
    file: TaskFile | None


def data_folders(folder: str | os.PathLike[str] | None = None) -> list[Path]:
    """Folders that are looked through, in this order.

    Parameters
    ----------
    folder
        Only this one. None: the one that the environment variable ATOMPRINT_DATA names, if it is
        set, then the user's cache.

    Raises
    ------
    UsageError
        If a folder that was named is not there.
    """
    if folder is not None:
        return [_existing(folder, "the data folder")]
    cache = platformdirs.user_cache_path("atomprint", appauthor=False) / "tasks"
    named = os.environ.get(VARIABLE, "").strip()
    return [*([_existing(named, VARIABLE)] if named else []), cache]


def download_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """Where a download goes: the folder named, or ATOMPRINT_DATA, or the user's cache."""
    if folder is not None:
        return Path(folder).expanduser()
    named = os.environ.get(VARIABLE, "").strip()
    return Path(named).expanduser() if named else data_folders()[-1]


def find_file(
    task: Task, folder: str | os.PathLike[str] | None = None
) -> tuple[Path, TaskFile] | None:
    """The best file of a task that is on disk, or None.

    Raises
    ------
    UsageError
        If a folder that was named is not there.
    """
    folders = data_folders(folder)
    for file in task.files:
        for place in folders:
            if (place / file.name).is_file():
                return place / file.name, file
    return None


def task_states(folder: str | os.PathLike[str] | None = None) -> list[TaskState]:
    """All built-in tasks, and which of them are on disk; see :func:`data_folders`."""
    found = [(task, find_file(task, folder)) for task in built_in_tasks()]
    return [TaskState(task, *(place or (None, None))) for task, place in found]


def _existing(folder: str | os.PathLike[str], what: str) -> Path:
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UsageError(f"{str(folder)!r}, {what}, is no folder")
    return path
