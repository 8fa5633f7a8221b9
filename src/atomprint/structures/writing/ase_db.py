"""An ASE database: one SQLite file that ``ase db`` and ``ase.db.connect`` read and search."""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.db.core import check

from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.writing.whole import (
    Progress,
    check_crystals,
    counted,
    label_names,
    written_whole,
)

_TAKEN = ("id", "numbers", "positions", "cell", "pbc")


def write_ase_db(
    path: str | os.PathLike[str],
    crystals: Sequence[Crystal],
    units: Mapping[str, str] | None = None,
    *,
    labels: Mapping[str, bool] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write crystals and labels; `read_crystals` gives them back to the last digit.

    Ids and labels stand in a row's ``data``; labels that are numbers, where ASE allows their name,
    among the key-value pairs, which can be searched. ``energy`` and ``forces`` are ASE's own.
    Units stand in the metadata, in ``key_descriptions``. The file is complete or not there.

    Parameters
    ----------
    path
        Where to; an existing file is replaced.
    crystals
        With different ids; read once.
    units
        Unit by label name.
    labels
        Names of the labels, and whether each is an array, where that is known; otherwise the
        crystals are read once more for it.
    progress
        Called with crystals done and in all.

    Raises
    ------
    UsageError
        If there are no crystals, or a label has the name of something else in a row.
    DataError
        If two crystals have the same id, or a label is per atom in one and per crystal in another.
    """
    path = Path(path)
    check_crystals(path, crystals)
    kinds = label_names(path, crystals) if labels is None else dict(labels)
    if taken := set(kinds) & set(_TAKEN):
        raise UsageError(f"{path}: a label cannot be called {taken.pop()!r}; rename it")
    keys = {name for name, is_array in kinds.items() if not is_array and is_key(name)}
    with (
        written_whole(path) as partial,
        connect(partial, type="db", append=False, use_lock_file=False) as database,  # type: ignore[no-untyped-call]
    ):
        for crystal in counted(crystals, progress):
            atoms, pairs, data = _row(crystal, keys)
            database.write(atoms, key_value_pairs=pairs, data=data)
        if described := key_descriptions(units):
            database.metadata = {"key_descriptions": described}


def key_descriptions(units: Mapping[str, str] | None) -> dict[str, list[str]]:
    """Units as ASE's databases state them: short and long description of a key, and its unit."""
    return {name: [name, name, unit] for name, unit in (units or {}).items() if unit}


def is_key(name: str) -> bool:
    """Whether ASE takes a number of this name as a key-value pair."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check({name: 1.0})  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, Warning):
            return False
    return True


def _row(crystal: Crystal, keys: set[str]) -> tuple[Atoms, dict[str, float], dict[str, Any]]:
    atoms = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)
    results: dict[str, Any] = {}
    pairs: dict[str, float] = {}
    data: dict[str, Any] = {"id": crystal.id}
    for name, value in crystal.labels.items():
        if name == "energy" and not isinstance(value, np.ndarray):
            results[name] = float(value)
        elif name == "forces" and np.shape(value) == crystal.positions.shape:
            results[name] = value
        elif name in keys and not isinstance(value, np.ndarray):
            pairs[name] = float(value)
        else:
            data[name] = value
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)  # type: ignore[no-untyped-call]
    return atoms, pairs, data
