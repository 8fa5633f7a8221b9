"""Crystals of a store or of any files, in memory: for labelled sets, which are small."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from atomprint.data.store import Store, is_store
from atomprint.data.store.convert import read_quarantine
from atomprint.ground.errors import DataError
from atomprint.structures.reading import ReadResult, read_crystals
from atomprint.structures.reading.files import PathInput
from atomprint.structures.reading.labels import join, settle
from atomprint.structures.reading.read import named_table


def load_crystals(
    path: PathInput | Sequence[PathInput],
    *,
    labels: PathInput | None = None,
    id_column: str | None = None,
    ordering: int | None = None,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ReadResult:
    """Read a store, or whatever :func:`atomprint.structures.reading.read_crystals` reads.

    Parameters
    ----------
    path
        A store, or files.
    labels, id_column, ordering, strict, progress
        As for ``read_crystals``; ``labels`` are added to those in the store.

    Raises
    ------
    UsageError, DataError
        As ``read_crystals``.
    """
    if not is_store(path):
        return read_crystals(
            path, labels=labels, id_column=id_column, ordering=ordering, strict=strict,
            progress=progress,
        )  # fmt: skip
    store = Store(cast("PathInput", path))
    # Of a store elsewhere, only crystals are read.
    problems = list(read_quarantine(store.path)) if isinstance(store.path, Path) else []
    if strict and problems:
        raise DataError(f"{path}: {problems[0]}")
    crystals = []
    for number, crystal in enumerate(store, start=1):
        crystals.append(crystal)
        if progress is not None and (number % 1000 == 0 or number == len(store)):
            progress(number, len(store))
    units = store.units
    if labels is not None:
        table = named_table(Path(labels), id_column)
        raw = [
            ("", c.id, c.n_atoms, join([table], "", c.id, None, dict(c.labels))) for c in crystals
        ]
        settled, more, _ = settle(raw)
        problems += more
        crystals = [c.with_labels(values) for c, values in zip(crystals, settled, strict=True)]
        units = {name: units.get(name, "") for values in settled for name in values}
    return ReadResult(crystals, problems, units, [])
