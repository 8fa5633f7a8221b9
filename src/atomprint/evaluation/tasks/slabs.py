"""Layers and surfaces: sets whose crystals repeat in two directions, with vacuum in the third.

atomprint's crystals repeat in all three. The vacuum of a layer stands for the third direction: the
cell is taken as it is, and its next image lies beyond the vacuum.
"""

import io
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

from atomprint.ground.errors import DataError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.ase_db import read_ase_db
from atomprint.structures.reading.checks import build_crystal
from atomprint.structures.reading.result import NotCrystals, Record, Refused

Pairs = list[tuple[Crystal, float]]


def read_layers(path: Path, column: str) -> tuple[Pairs, list[str]]:
    """Read an ASE database of layers, such as C2DB's; rows without the property are left out.

    Parameters
    ----------
    path
        A ``.db``.
    column
        Key of the property.

    Returns
    -------
    tuple
        Crystals, each with its property; and notes.

    Raises
    ------
    DataError
        If it is no ASE database, or a damaged one.
    """
    try:
        records = read_ase_db(path, None).records
        return _built(_with_property(records, column), path)
    except (Refused, NotCrystals) as error:
        raise DataError(f"{path}: {error}") from None


def _with_property(records: Any, column: str) -> Iterator[tuple[Record | Refused, float]]:
    for record in records:
        if isinstance(record, Refused):
            yield record, math.nan
        elif column in record.labels:
            yield record, _number(record.labels[column])


def read_adsorption(path: Path, column: str) -> tuple[Pairs, list[str]]:
    """Read adsorption reactions in the layout of CatBench's files.

    A reaction is ``{"raw": {"star": {...}, "Hstar": {"atoms_json": ..., "stoi": 1}, "H2gas": ...},
    "ref_ads_eng": ...}``, by its name; ``atoms_json`` is ASE's JSON as text. The crystal is the
    surface with what is adsorbed on it: the one product beside the bare surface, ``star``.

    Parameters
    ----------
    path
        A ``.json``.
    column
        Key of the energy, in eV.

    Returns
    -------
    tuple
        Surfaces, each with its energy; and notes.

    Raises
    ------
    DataError
        If the file is damaged or of another layout.
    """
    try:
        with path.open(encoding="utf-8") as file:
            reactions = json.load(file)
        found = [_reaction(name, entry, column) for name, entry in reactions.items()]
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: damaged, or not in the layout of CatBench's files "
            f"({type(error).__name__}: {error}); get it again"
        ) from None
    return _built(iter(found), path)


def _reaction(name: str, entry: dict[str, Any], column: str) -> tuple[Record | Refused, float]:
    energy = _number(entry[column])
    products = [
        part
        for key, part in entry["raw"].items()
        if key.endswith("star") and key != "star" and float(part["stoi"]) > 0
    ]
    if len(products) != 1:
        return Refused("broken", f"has {len(products)} products on the surface", name), energy
    atoms = ase.io.read(io.StringIO(products[0]["atoms_json"]), format="json")
    assert not isinstance(atoms, list)
    return Record(atoms.numbers, atoms.cell.array, positions=atoms.positions, id=name), energy


def _built(found: Iterator[tuple[Record | Refused, float]], path: Path) -> tuple[Pairs, list[str]]:
    """Crystals of sound records with a number; the others are counted, the first is named."""
    pairs: Pairs = []
    refused: list[str] = []
    seen: set[str] = set()
    for record, value in found:
        if isinstance(record, Refused):
            refused.append(f"{record.id or record.index} {record}")
            continue
        # C2DB names its layers by `uid`.
        name = record.id or str(record.labels.get("uid") or f"{path.stem}-{record.index}")
        if name in seen:
            refused.append(f"{name} has the id of another")
            continue
        seen.add(name)
        if not math.isfinite(value):
            refused.append(f"{name} has no number")
            continue
        try:
            crystal = build_crystal(replace(record, pbc=(True, True, True)), str(path))
        except Refused as error:
            refused.append(f"{name} {error}")
            continue
        pairs.append((replace(crystal, id=name), value))
    if not pairs:
        raise DataError(f"{path}: no crystal has the property")
    notes = ["layers and surfaces are read as crystals with vacuum in the third direction"]
    if refused:
        notes.append(
            f"{len(refused):,} entries of {path.name} are left out; the first: {refused[0]}"
        )
    return pairs, notes


def _number(value: Any) -> float:
    """A number; not one where it is missing or something else."""
    return float(value) if isinstance(value, int | float | np.number) else math.nan
