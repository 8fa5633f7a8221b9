"""Atompack (.atp): compressed structures with their properties, LeMaterial's format."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal, LabelValue
from atomprint.structures.writing.whole import (
    Progress,
    blocks,
    check_crystals,
    counted,
    label_names,
    stress_of,
    written_whole,
)

_TAKEN = {
    "id", "positions", "atomic_numbers", "cell", "pbc", "velocities", "name",
}  # fmt: skip
_WIDTHS = {"forces": (3,), "charges": ()}


def write_atompack(
    path: str | os.PathLike[str],
    crystals: Sequence[Crystal],
    *,
    labels: Mapping[str, bool] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write crystals and labels; `read_crystals` gives them back to the last digit.

    ``energy``, ``forces``, ``charges`` and ``stress`` are atompack's own; other labels are
    properties, of the atoms where they are per atom; the id is the property ``id``. The file is
    complete or not there.

    Parameters
    ----------
    path
        Where to; an existing file is replaced.
    crystals
        With different ids; read once, in blocks.
    labels
        Names of the labels, and whether each is an array, where that is known; otherwise the
        crystals are read once more for it.
    progress
        Called with crystals done and in all.

    Raises
    ------
    UsageError
        If there are no crystals, a label has the name of something else there, or the package
        atompack-db is not installed.
    DataError
        If two crystals have the same id, or a label has one shape in one and another in another.
    """
    path = Path(path)
    atompack = _package(path)
    check_crystals(path, crystals)
    kinds = label_names(path, crystals) if labels is None else dict(labels)
    for name, is_array in kinds.items():
        _check_name(path, name, is_array)
    with written_whole(path) as partial:
        try:
            database = atompack.Database(str(partial), compression="zstd", overwrite=True)
            for block in blocks(counted(crystals, progress)):
                database.add_molecules([_molecule(atompack, crystal) for crystal in block])
            database.flush()
        except ValueError as error:
            raise DataError(f"{path}: atompack refuses these crystals: {error}") from None
        del database  # closes the file, which has no other way


def _package(path: Path) -> Any:
    try:
        import atompack
    except ModuleNotFoundError:
        raise UsageError(
            f"{path}: needs the package atompack-db; install it with: "
            "pip install 'atomprint[atompack]'"
        ) from None
    return atompack


def _check_name(path: Path, name: str, is_array: bool) -> None:
    # Atompack has fields of these names, of one kind each.
    own = {"energy": False, "forces": True, "charges": True, "stress": True}
    if name in _TAKEN or own.get(name, is_array) != is_array:
        what = "per atom" if is_array else "a number"
        raise UsageError(f"{path}: atompack cannot hold a label {name!r} that is {what}; rename it")


def _molecule(atompack: Any, crystal: Crystal) -> Any:
    own: dict[str, Any] = {}
    more: dict[str, tuple[Any, str]] = {"id": (crystal.id, "molecule")}
    for name, value in crystal.labels.items():
        stress = stress_of(name, value)
        if name == "stress" and stress is not None:
            own[name] = stress
        elif name == "energy" or _is_own(name, value, crystal.n_atoms):
            own[name] = value
        elif isinstance(value, np.ndarray):
            per_atom = stress is None and len(value) == crystal.n_atoms
            more[name] = (np.ascontiguousarray(value), "atom" if per_atom else "molecule")
        else:
            more[name] = (float(value), "molecule")
    molecule = atompack.Molecule.from_arrays(
        np.ascontiguousarray(crystal.positions), crystal.numbers.astype(np.uint8),
        cell=np.ascontiguousarray(crystal.cell), pbc=(True, True, True), **own,
    )  # fmt: skip
    for name, (value, scope) in more.items():
        molecule.set_property(name, value, scope=scope)
    return molecule


def _is_own(name: str, value: LabelValue, n_atoms: int) -> bool:
    return name in _WIDTHS and np.shape(value) == (n_atoms, *_WIDTHS[name])
