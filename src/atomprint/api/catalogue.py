"""Verbs that list what there is to start from and to be judged on."""

from pathlib import Path
from typing import TYPE_CHECKING

from atomprint.api.inputs import PathInput, Progress
from atomprint.heads.shipped import Shipped, describe, names

if TYPE_CHECKING:
    from atomprint.evaluation.tasks.places import TaskState


def checkpoints() -> list[Shipped]:
    """Describe the pre-trained networks that come with the package."""
    return [describe(name) for name in names()]


def tasks(folder: PathInput | None = None) -> "list[TaskState]":
    """List the built-in tasks: what each is, and which file of it is on disk.

    Parameters
    ----------
    folder
        Where to look; None looks where ATOMPRINT_DATA says and in the user's cache.

    Raises
    ------
    UsageError
        If a folder that was named is not there.
    """
    from atomprint.evaluation.tasks.places import task_states

    return task_states(folder)


def download_task(
    name: str, folder: PathInput | None = None, progress: Progress | None = None
) -> Path:
    """Get the file of a built-in task; see :mod:`atomprint.evaluation.tasks.download`.

    Parameters
    ----------
    name
        Of the task.
    folder
        Where to; None takes the folder of ATOMPRINT_DATA, else the user's cache.
    progress
        See the module; counts bytes.
    """
    from atomprint.evaluation.tasks import find_task
    from atomprint.evaluation.tasks.download import download_task as download

    def count(done: int, total: int) -> None:
        if progress is not None:
            progress("download", done, total, {})

    return download(find_task(name), folder, count)
