"""Atompack (.atp): compressed structures with their properties, LeMaterial's format."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from atomprint.structures.reading.labels import id_among
from atomprint.structures.reading.result import Found, NotCrystals, Record, Refused, one_line

_MAGIC = b"ATPK"
_RESULTS = ("energy", "forces", "stress", "charges")


def read_atompack(path: Path | None, id_column: str | None) -> Found:
    """Read every structure.

    Parameters
    ----------
    path
        The file; None if it is in an archive, where atompack cannot read it.
    id_column
        The property that holds the id; otherwise an id-like property, or the number.

    Raises
    ------
    NotCrystals
        If it is another file.
    Refused
        If it is damaged, or the package is not installed.
    """
    if path is None:
        raise Refused("broken", "is a database inside an archive; unpack it and give the file")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise NotCrystals("is no file of atompack")
    try:
        import atompack
    except ModuleNotFoundError:
        raise Refused(
            "broken",
            "needs the package atompack-db; install it with: pip install 'atomprint[atompack]'",
        ) from None
    try:
        # Mapped, not loaded: memory does not grow with the file.
        database = atompack.Database.open(str(path), mmap=True)
    except (ValueError, OSError) as error:
        raise Refused("broken", f"is a damaged file ({one_line(error, 150)})") from None
    return Found(_records(database, id_column))


def _records(database: Any, id_column: str | None) -> Iterator[Record | Refused]:
    for number in range(len(database)):
        index = str(number)
        try:
            yield _record(database[number], id_column, index)
        except (ValueError, OSError, KeyError, IndexError) as error:
            yield Refused("broken", f"is damaged ({one_line(error, 150)})", "", index)


def _record(molecule: Any, id_column: str | None, index: str) -> Record | Refused:
    labels: dict[str, Any] = {}
    for name in _RESULTS:
        value = getattr(molecule, name)
        if value is not None:
            labels[name] = value
    atoms = set(molecule.property_keys(scope="atom"))
    for name in molecule.property_keys():
        value = molecule.get_property(name)
        # An array that belongs to the whole is no label, also where it is as long as the crystal.
        whole = isinstance(value, np.ndarray) and name not in atoms
        labels[name] = value.tolist() if whole else value
    given, used = id_among(labels, id_column)
    labels.pop(used, None)
    if molecule.cell is None:
        return Refused("cell", "has no cell", given, index)
    flags = molecule.pbc
    return Record(
        molecule.atomic_numbers,
        molecule.cell,
        positions=molecule.positions,
        id=given,
        labels=labels,
        pbc=(True, True, True) if flags is None else tuple(flags),
        index=index,
    )
