"""What all writers share: files that are complete or not there, and ids that differ."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal

Progress = Callable[[int, int], None]
EVERY = 1000
"""Crystals between two calls of a progress function."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write to, file or folder, which takes its name when all went well.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def check_crystals(path: Path, crystals: Sequence[Crystal]) -> None:
    """Refuse nothing at all, and a list in which two crystals have one id.

    Sequences that are no list, as stores, are not read for it: their ids differ.

    Raises
    ------
    UsageError
        If there are no crystals.
    DataError
        If two have the same id.
    """
    if not crystals:
        raise UsageError(f"{path}: there are no crystals to write")
    if isinstance(crystals, list):
        seen: set[str] = set()
        for crystal in crystals:
            if crystal.id in seen:
                raise DataError(
                    f"{path}: the id {crystal.id!r} stands for two crystals; rename one"
                )
            seen.add(crystal.id)


def label_names(path: Path, crystals: Sequence[Crystal]) -> dict[str, bool]:
    """Names of all labels, in order of the alphabet, and whether each is an array.

    Raises
    ------
    DataError
        If one is an array in some crystals and a number in others.
    """
    found: dict[str, bool] = {}
    for crystal in crystals:
        for name, value in crystal.labels.items():
            is_array = isinstance(value, np.ndarray)
            if found.setdefault(name, is_array) != is_array:
                raise DataError(
                    f"{path}: label {name!r} is per atom in some crystals and not in others"
                )
    return dict(sorted(found.items()))


def counted(crystals: Sequence[Crystal], progress: Progress | None) -> Iterator[Crystal]:
    """Yield the crystals, and tell how many there were."""
    total = len(crystals)
    for done, crystal in enumerate(crystals, start=1):
        yield crystal
        if progress is not None and (done % EVERY == 0 or done == total):
            progress(done, total)
