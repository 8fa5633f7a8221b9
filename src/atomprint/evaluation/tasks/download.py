"""Getting a task's file."""

import os
from collections.abc import Sequence
from pathlib import Path

from atomprint.data.sources.download import TIMEOUT, WAITS, Progress, RemoteFile, download, size_of
from atomprint.evaluation.tasks.load import missing
from atomprint.evaluation.tasks.places import download_folder
from atomprint.evaluation.tasks.task import Task
from atomprint.ground.errors import UsageError


def download_task(
    task: Task,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    *,
    timeout: float = TIMEOUT,
    waits: Sequence[float] = WAITS,
) -> Path:
    """Download a task's file; see :func:`atomprint.data.sources.download.download`.

    Parameters
    ----------
    task
        A task with a `url`.
    folder
        Where to; None: where ATOMPRINT_DATA says, else the user's cache. Made if need be.
    progress, timeout, waits
        See there.

    Raises
    ------
    UsageError
        If the task cannot be downloaded, or the folder not be written to.
    DataError
        If the server does not have or give the file, the connection broke too often, or the file
        is not the one that it should be.
    """
    if not task.url:
        raise UsageError(missing(task))
    path = download_folder(folder) / task.files[0].name
    return download(
        RemoteFile(task.url, task.checksum), path, progress, timeout=timeout, waits=waits
    )


def download_size(task: Task, timeout: float = TIMEOUT) -> int | None:
    """Ask the server how many bytes a download would bring; None where it does not say.

    Raises
    ------
    UsageError
        If the task cannot be downloaded.
    DataError
        If the server cannot be reached or does not have the file.
    """
    if not task.url:
        raise UsageError(missing(task))
    return size_of(task.url, timeout)
