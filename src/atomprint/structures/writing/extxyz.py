"""Extended XYZ: text that nearly every program of the field reads."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from atomprint.ground.elements import symbols
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal, LabelValue
from atomprint.structures.writing.whole import (
    Progress,
    check_crystals,
    counted,
    label_names,
    opened_text,
    written_whole,
)

_TAKEN = {
    "lattice", "properties", "pbc", "virtual_origin", "origin", "id",
    "species", "symbols", "pos", "positions", "z", "numbers",
}  # fmt: skip


def write_extxyz(
    path: str | os.PathLike[str],
    crystals: Sequence[Crystal],
    *,
    labels: Mapping[str, bool] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write crystals and labels; `read_crystals` gives them back to the last digit.

    Of every crystal: the cell, ``pbc``, its ``id`` and labels that are numbers in the comment
    line, then a line an atom, with labels per atom in further columns. The file is complete or
    not there.

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

    Raises
    ------
    UsageError
        If there are no crystals, or a label has a name that the format does not allow.
    DataError
        If two crystals have the same id, or a label is per atom in one and per crystal in another.
    """
    path = Path(path)
    check_crystals(path, crystals)
    kinds = label_names(path, crystals) if labels is None else dict(labels)
    for name, is_array in kinds.items():
        _check_name(path, name, is_array)
    with written_whole(path) as partial, opened_text(partial, path.suffix == ".gz") as file:
        for crystal in counted(crystals, progress):
            file.write(_frame(crystal))


def _check_name(path: Path, name: str, is_array: bool) -> None:
    bad = not name or "\n" in name or '"' in name or (is_array and (":" in name or " " in name))
    if bad or name.lower() in _TAKEN:
        raise UsageError(
            f"{path}: extended XYZ cannot hold a label called {name!r}; rename it, or write Parquet"
        )


def _frame(crystal: Crystal) -> str:
    """One crystal; numbers are written with all their digits."""
    n_atoms = crystal.n_atoms
    per_atom: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
    comment = [
        f'Lattice="{_numbers(crystal.cell)}"',
        "",
        f"id={_quoted(crystal.id)}",
        'pbc="T T T"',
    ]
    for name, value in crystal.labels.items():
        if isinstance(value, np.ndarray) and len(value) == n_atoms:
            per_atom[name] = value.reshape(n_atoms, -1)
        else:
            comment.append(f"{_key(name)}={_value(value)}")
    columns = "".join(f":{name}:R:{value.shape[1]}" for name, value in per_atom.items())
    comment[1] = f"Properties=species:S:1:pos:R:3{columns}"
    table = np.concatenate([crystal.positions, *per_atom.values()], axis=1).tolist()
    rows = [
        f"{symbols[number]} {' '.join(map(repr, row))}"
        for number, row in zip(crystal.numbers.tolist(), table, strict=True)
    ]
    return "\n".join([str(n_atoms), " ".join(comment), *rows, ""])


def _value(value: LabelValue) -> str:
    return f'"{_numbers(value)}"' if isinstance(value, np.ndarray) else repr(float(value))


def _numbers(array: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return " ".join(map(repr, array.ravel().tolist()))


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() else f'"{name}"'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
