"""From a store, or from any files, to one file or folder that other programs read."""

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
from atomprint.structures.writing.whole import Shapes

FORMS = {
    ".parquet": ("parquet", "lemat"),
    ".pq": ("parquet", "lemat"),
    ".xyz": ("extxyz",),
    ".extxyz": ("extxyz",),
    ".xyz.gz": ("extxyz",),
    ".extxyz.gz": ("extxyz",),
    ".db": ("ase",),
    ".aselmdb": ("lmdb",),
    ".lmdb": ("lmdb",),
    ".atp": ("atompack",),
    ".json": ("pymatgen",),
    ".json.gz": ("pymatgen",),
    "": ("cif", "poscar"),
}
"""By the ending of a file's name, of a folder none: what it may be, first what it is unasked."""

_WITH_UNITS = ("parquet", "lemat", "ase", "lmdb")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    form
        One of :data:`FORMS`.
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


def form_of(out: str | os.PathLike[str], form: str | None = None) -> str:
    """What to write, by the name and, where that leaves a choice, the form asked for.

    Raises
    ------
    UsageError
        If the ending is of none of the forms, or of another one than was asked for.
    """
    name = Path(out).name.lower()
    ending = next((one for one in FORMS if one and name.endswith(one)), Path(name).suffix)
    if ending not in FORMS:
        raise UsageError(
            f"{out}: cannot tell what to write; give F.parquet, F.extxyz, F.extxyz.gz, F.db, "
            "F.aselmdb, F.atp or F.json, or a name without an ending, for a folder of CIFs"
        )
    choices = FORMS[ending]
    if form is not None and form not in choices:
        what = f"a name that ends with {ending}" if ending else "a name without an ending"
        raise UsageError(f"{out}: {what} is no {form!r} but {' or '.join(map(repr, choices))}")
    return form or choices[0]


def export(
    path: PathInput | Sequence[PathInput],
    out: str | os.PathLike[str],
    *,
    form: str | None = None,
    labels: PathInput | None = None,
    exact: bool | None = None,
    strict: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write crystals in a form that other programs read.

    A store is written crystal by crystal in bounded memory; files are read first.

    Parameters
    ----------
    path
        A store, or whatever :func:`atomprint.structures.reading.read_crystals` reads.
    out
        Where to; its ending says what, see :data:`FORMS`.
    form
        Where the ending leaves a choice, which: ``lemat`` (columns of LeMat-Bulk) instead of
        ``parquet``, ``poscar`` instead of ``cif``.
    labels, strict
        See ``read_crystals``.
    exact
        Of ``parquet``: keep geometry in float64. None: where the store does. The other forms always
        keep every digit.
    overwrite
        Replace a file that is there. A folder is never replaced.
    progress
        Called as ``progress(stage, n_done, n_all)``.

    Raises
    ------
    UsageError
        If ``out`` is there already or cannot be written, or what it is cannot be told.
    DataError
        If nothing could be read, or an id or label has no place in the form asked for.
    """
    out = Path(out)
    form = form_of(out, form)
    _check_free(out, overwrite)
    reading, writing = (_stage(progress, stage) for stage in ("read", "write"))
    crystals: Sequence[Crystal]
    shapes: Shapes | None = None
    problems: list[Problem] = []
    if is_store(path) and labels is None:
        store = Store(cast("PathInput", path))
        crystals, units = store, store.units
        shapes = store.label_shapes
        exact = store.description.exact if exact is None else exact
        if not len(store):
            raise DataError(f"{path}: holds no crystal")
    else:
        result = load_crystals(path, labels=labels, strict=strict, progress=reading)
        crystals, units, problems = result.crystals, result.units, result.problems
        if not crystals:
            raise DataError(f"{path}: no crystal could be read; the first: {problems[0]}")
    _make_parent(out)
    notes = _write(form, out, crystals, units, bool(exact), shapes, writing)
    return Exported(form, len(crystals), units, problems, notes)


def _write(
    form: str,
    out: Path,
    crystals: Sequence[Crystal],
    units: dict[str, str],
    exact: bool,
    shapes: Shapes | None,
    progress: Callable[[int, int], None] | None,
) -> list[str]:
    """Write, and return sentences on what the form does not hold."""
    from atomprint.structures import writing

    labels = None if shapes is None else {n: shape is not None for n, shape in shapes.items()}
    left_out: list[str] = []
    if form == "parquet":
        writing.write_parquet(out, crystals, units, exact=exact, labels=labels, progress=progress)
    elif form == "lemat":
        writing.write_lemat(out, crystals, units, shapes=shapes, progress=progress)
    elif form == "extxyz":
        writing.write_extxyz(out, crystals, labels=labels, progress=progress)
    elif form == "ase":
        writing.write_ase_db(out, crystals, units, labels=labels, progress=progress)
    elif form == "lmdb":
        writing.write_lmdb(out, crystals, units, labels=labels, progress=progress)
    elif form == "atompack":
        writing.write_atompack(out, crystals, labels=labels, progress=progress)
    elif form == "pymatgen":
        left_out = writing.write_pymatgen_json(out, crystals, labels=labels, progress=progress)
    elif form == "poscar":
        left_out = writing.write_poscars(out, crystals, progress=progress)
    else:
        left_out = writing.write_cifs(out, crystals, progress=progress)
    return [*_lost_units(form, units), *_lost_labels(form, left_out)]


def _lost_units(form: str, units: dict[str, str]) -> list[str]:
    stated = ", ".join(f"{name} in {unit}" for name, unit in sorted(units.items()) if unit)
    if not stated or form in _WITH_UNITS:
        return []
    return [f"units, which this form does not hold: {stated}"]


def _lost_labels(form: str, left_out: list[str]) -> list[str]:
    if not left_out:
        return []
    what = {
        "cif": "labels per atom, which CIFs do not hold",
        "poscar": "labels per atom, which POSCARs do not hold",
        "pymatgen": "labels of several numbers a crystal, written but not read again as labels",
    }[form]
    return [f"{what}: {', '.join(left_out)}"]


def _check_free(out: Path, overwrite: bool) -> None:
    """Refuse what is there already, before anything is read.

    Raises
    ------
    UsageError
        If it is a folder, or a file and not to be replaced.
    """
    if out.is_dir():
        raise UsageError(f"{out}: is a folder that is there already; choose another --out")
    if out.exists() and not overwrite:
        raise UsageError(f"{out}: is there already; choose another --out, or give --overwrite")


def _stage(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(stage, done, total)


def _make_parent(out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot make the folder ({error.strerror or error})") from None
