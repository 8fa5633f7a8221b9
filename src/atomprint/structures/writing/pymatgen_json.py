"""A list of structures as pymatgen writes them in JSON; pymatgen is not needed."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atomprint.ground.elements import symbols
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.pymatgen_json import records_of
from atomprint.structures.writing.whole import (
    Progress,
    check_crystals,
    counted,
    label_names,
    opened_text,
    stress_of,
    strict_json,
    written_whole,
)


def write_pymatgen_json(
    path: str | os.PathLike[str],
    crystals: Sequence[Crystal],
    *,
    labels: Mapping[str, bool] | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Write a list of ``Structure.as_dict()``; ``Structure.from_dict`` reads each.

    Ids and labels that are numbers are properties of the structure, labels per atom properties of
    the sites. Fractional positions, which pymatgen and `read_crystals` read, have all their digits.
    The file is complete or not there.

    Parameters
    ----------
    path
        Where to; compressed if it ends with ``.gz``. An existing file is replaced.
    crystals
        With different ids; read once.
    labels
        Names of the labels, and whether each is an array, where that is known; otherwise the
        crystals are read once more for it.
    progress
        Called with crystals done and in all.

    Returns
    -------
    left_out
        Names of labels that are several numbers a crystal and no stress: they are properties of
        the structure, but `read_crystals` takes no such thing for a label.

    Raises
    ------
    UsageError
        If there are no crystals, or a label has the name of something else in a structure.
    DataError
        If two crystals have the same id, a label is per atom in one and per crystal in another, or
        one is infinite or not a number.
    """
    path = Path(path)
    check_crystals(path, crystals)
    kinds = label_names(path, crystals) if labels is None else dict(labels)
    for name in kinds:
        _check_name(path, name)
    left_out: set[str] = set()
    with written_whole(path) as partial, opened_text(partial, path.suffix == ".gz") as file:
        for number, crystal in enumerate(counted(crystals, progress)):
            file.write(",\n" if number else "[\n")
            file.write(strict_json(path, crystal, _structure(crystal, left_out)))
        file.write("\n]\n")
    return sorted(left_out)


def _check_name(path: Path, name: str) -> None:
    """Refuse names that would not be read as labels, by reading them."""
    one = _structure(Crystal.make("x", [1], np.eye(3), frac=[[0, 0, 0]], labels={name: 1.0}), set())
    (record,) = records_of([("", "", one)])
    if name == "id" or name not in getattr(record, "labels", {}):
        raise UsageError(f"{path}: pymatgen's JSON cannot hold a label called {name!r}; rename it")


def _structure(crystal: Crystal, left_out: set[str]) -> dict[str, Any]:
    whole: dict[str, Any] = {"id": crystal.id}
    per_atom: dict[str, list[Any]] = {}
    for name, value in crystal.labels.items():
        stress = stress_of(name, value)
        if not isinstance(value, np.ndarray):
            whole[name] = float(value)
        elif stress is None and len(value) == crystal.n_atoms:
            per_atom[name] = value.tolist()
        else:
            whole[name] = (value if stress is None else stress).tolist()
            if stress is None:
                left_out.add(name)
    sites = zip(
        crystal.numbers.tolist(), crystal.frac.tolist(), crystal.positions.tolist(), strict=True
    )
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "lattice": {"matrix": crystal.cell.tolist(), "pbc": [True, True, True]},
        "properties": whole,
        "sites": [
            {
                "species": [{"element": symbols[number], "occu": 1}],
                "abc": frac,
                "xyz": position,
                "properties": {name: rows[at] for name, rows in per_atom.items()},
                "label": symbols[number],
            }
            for at, (number, frac, position) in enumerate(sites)
        ],
    }
