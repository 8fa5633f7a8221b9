"""From a store, or from any files, to one file that other programs read."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from atomprint.data.load import load_crystals
from atomprint.data.store import Store, is_store
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import Problem
from atomprint.structures.reading.files import PathInput

FORMS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".xyz.gz": "extxyz",
    ".extxyz.gz": "extxyz",
    ".db": "ase",
}
"""By the ending of a file's name; without an ending it is a folder of CIFs."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    form
        ``parquet``, ``extxyz``, ``ase`` or ``cif``.
    n_written
        Crystals.
    units
        Of labels, by name.
    problems
        What of the files could not be read.
    notes
        Sentences for people.
    """

    form: str
    n_written: int
    units: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def form_of(out: str | os.PathLike[str]) -> str:
    """What to write, by the name.

    Raises
    ------
    UsageError
        If the ending is of none of the forms.
    """
    name = Path(out).name.lower()
    for ending, form in FORMS.items():
        if name.endswith(ending):
            return form
    if Path(out).suffix:
        raise UsageError(
            f"{out}: cannot tell what to write; give F.parquet, F.extxyz, F.extxyz.gz or F.db, or "
            "a name without an ending, for a folder of CIFs"
        )
    return "cif"


def export(
    path: PathInput | Sequence[PathInput],
    out: str | os.PathLike[str],
    *,
    labels: PathInput | None = None,
    exact: bool | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write crystals as Parquet, extended XYZ, an ASE database or a folder of CIFs.

    A store is written crystal by crystal in bounded memory; files are read first.

    Parameters
    ----------
    path
        A store, or whatever :func:`atomprint.structures.reading.read_crystals` reads.
    out
        Where to; its ending says what, see :data:`FORMS`.
    labels, strict
        See ``read_crystals``.
    exact
        Of Parquet: keep geometry in float64. None: where the store does. The other forms always
        keep every digit.
    progress
        Called as ``progress(stage, n_done, n_all)``.

    Raises
    ------
    UsageError
        If ``out`` cannot be written, or what it is cannot be told.
    DataError
        If nothing could be read, or an id or label has no place in the form asked for.
    """
    out = Path(out)
    form = form_of(out)
    reading, writing = (_stage(progress, stage) for stage in ("read", "write"))
    crystals: Sequence[Crystal]
    arrays: dict[str, bool] | None = None
    problems: list[Problem] = []
    if is_store(path) and labels is None:
        store = Store(cast("PathInput", path))
        crystals, units = store, store.units
        arrays = {name: tail is not None for name, tail in store.label_shapes.items()}
        exact = store.description.exact if exact is None else exact
        if not len(store):
            raise DataError(f"{path}: holds no crystal")
    else:
        result = load_crystals(path, labels=labels, strict=strict, progress=reading)
        crystals, units, problems = result.crystals, result.units, result.problems
        if not crystals:
            raise DataError(f"{path}: no crystal could be read; the first: {problems[0]}")
    _make_parent(out)
    notes = _write(form, out, crystals, units, bool(exact), arrays, writing)
    return Exported(form, len(crystals), units, problems, notes)


def _write(
    form: str,
    out: Path,
    crystals: Sequence[Crystal],
    units: dict[str, str],
    exact: bool,
    arrays: dict[str, bool] | None,
    progress: Callable[[int, int], None] | None,
) -> list[str]:
    from atomprint.structures import writing

    if form == "parquet":
        writing.write_parquet(out, crystals, units, exact=exact, labels=arrays, progress=progress)
        return []
    stated = [f"{name} in {unit}" for name, unit in sorted(units.items()) if unit]
    notes = [f"units, which this form does not hold: {', '.join(stated)}"] if stated else []
    if form == "extxyz":
        writing.write_extxyz(out, crystals, labels=arrays, progress=progress)
    elif form == "ase":
        writing.write_ase_db(out, crystals, labels=arrays, progress=progress)
    else:
        left_out = writing.write_cifs(out, crystals, progress=progress)
        if left_out:
            notes.append(f"labels per atom, which CIFs do not hold: {', '.join(left_out)}")
    return notes


def _stage(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(stage, done, total)


def _make_parent(out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot make the folder ({error.strerror or error})") from None
