"""What all writers share: files that are complete or not there, and ids that differ."""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np

from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal, FloatArray, LabelValue
from atomprint.structures.reading.labels import rows_of

Progress = Callable[[int, int], None]
Shapes = Mapping[str, Sequence[int] | None]
"""By label name: shape of a row where it is an array, None where it is a number."""
EVERY = 1000
"""Crystals between two calls of a progress function."""
BLOCK_ATOMS = 100_000
"""Atoms in memory at a time, of forms that are written in blocks."""


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
    return {name: shape is not None for name, shape in label_shapes(path, crystals).items()}


def label_shapes(path: Path, crystals: Sequence[Crystal]) -> dict[str, Sequence[int] | None]:
    """Names of all labels, in order of the alphabet, and the shape of a row of each array.

    The shape is that of the first crystal with the label.

    Raises
    ------
    DataError
        If one is an array in some crystals and a number in others.
    """
    found: dict[str, Sequence[int] | None] = {}
    for crystal in crystals:
        for name, value in crystal.labels.items():
            shape = value.shape[1:] if isinstance(value, np.ndarray) else None
            if (found.setdefault(name, shape) is None) != (shape is None):
                raise DataError(
                    f"{path}: label {name!r} is per atom in some crystals and not in others"
                )
    return dict(sorted(found.items()))


def stress_of(name: str, value: LabelValue) -> FloatArray | None:
    """The matrix, ``(3, 3)``, of a label that is read again as a stress; None of all others."""
    # Of no atoms: what is an array then is not because it has a row an atom.
    rows = rows_of(name, value, n_atoms=0) if np.shape(value) == (1, 9) else None
    return None if rows is None else rows.reshape(3, 3)


def strict_json(path: Path, crystal: Crystal, value: Any) -> str:
    """JSON of a crystal; JSON has no word for what is infinite or not a number.

    Raises
    ------
    DataError
        If there is such a number among the labels.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        names = [name for name, one in crystal.labels.items() if not np.isfinite(one).all()]
        raise DataError(
            f"{path}: label {names[0]!r} of {crystal.id!r} is infinite or not a number, which JSON "
            "cannot hold; leave it out, or write extended XYZ or Parquet"
        ) from None


def opened_text(path: Path, compressed: bool) -> TextIO:
    """Open a file for writing text."""
    if compressed:
        return cast(TextIO, gzip.open(path, "wt", encoding="utf-8", compresslevel=5))
    return path.open("w", encoding="utf-8", newline="\n")


def counted(crystals: Sequence[Crystal], progress: Progress | None) -> Iterator[Crystal]:
    """Yield the crystals, and tell how many there were."""
    total = len(crystals)
    for done, crystal in enumerate(crystals, start=1):
        yield crystal
        if progress is not None and (done % EVERY == 0 or done == total):
            progress(done, total)


def blocks(crystals: Iterable[Crystal]) -> Iterator[list[Crystal]]:
    """Lists of crystals with `BLOCK_ATOMS` atoms, or the first more."""
    block: list[Crystal] = []
    n_atoms = 0
    for crystal in crystals:
        block.append(crystal)
        n_atoms += crystal.n_atoms
        if n_atoms >= BLOCK_ATOMS:
            yield block
            block, n_atoms = [], 0
    if block:
        yield block
