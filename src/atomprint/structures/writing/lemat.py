"""Parquet with the columns of LeMat-Bulk, which are OPTIMADE's: what ``datasets`` loads."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from atomprint.ground.elements import symbols
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.labels import ID_NAMES
from atomprint.structures.reading.optimade import CELL, POSITIONS, SPECIES, record_of
from atomprint.structures.writing.whole import (
    Progress,
    Shapes,
    blocks,
    check_crystals,
    counted,
    label_shapes,
    stress_of,
    written_whole,
)

_VECTORS = pa.list_(pa.list_(pa.float64()))
_STRUCTURE = {
    "immutable_id": pa.string(),
    "elements": pa.list_(pa.string()),
    "nelements": pa.int64(),
    "elements_ratios": pa.list_(pa.float64()),
    "nsites": pa.int64(),
    "chemical_formula_reduced": pa.string(),
    "chemical_formula_anonymous": pa.string(),
    "chemical_formula_descriptive": pa.string(),
    "dimension_types": pa.list_(pa.int64()),
    "nperiodic_dimensions": pa.int64(),
    CELL: _VECTORS,
    POSITIONS: _VECTORS,
    "species": pa.string(),
    SPECIES: pa.list_(pa.string()),
}


def write_lemat(
    path: str | os.PathLike[str],
    crystals: Sequence[Crystal],
    units: Mapping[str, str] | None = None,
    *,
    shapes: Shapes | None = None,
    progress: Progress | None = None,
) -> None:
    """Write crystals and labels; `read_crystals` gives them back to the last digit.

    One row a crystal: its id as ``immutable_id``, cell and Cartesian positions (Å, float64), names
    of the sites' elements, and what OPTIMADE derives of these. Then one column a label: a number;
    of labels per atom a list, of numbers or of lists; of stresses a matrix, as a list of lists.
    Units stand in the schema metadata under ``atomprint``. The file is complete or not there.

    Parameters
    ----------
    path
        Where to; an existing file is replaced.
    crystals
        With different ids; read once, in blocks.
    units
        Unit by label name.
    shapes
        Shape of a row of every label that is an array, and None of every number, where they are
        known; otherwise the crystals are read once more for it.
    progress
        Called with crystals done and in all.

    Raises
    ------
    UsageError
        If there are no crystals, or a label has the name of a column that says what a crystal is.
    DataError
        If two crystals have the same id, or a label has one shape in one and another in another.
    """
    path = Path(path)
    check_crystals(path, crystals)
    known = label_shapes(path, crystals) if shapes is None else shapes
    for name in known:
        _check_name(path, name)
    kinds = {name: _type_of(name, shape) for name, shape in known.items()}
    stated = {name: unit for name, unit in (units or {}).items() if name in kinds and unit}
    schema = pa.schema(
        {**_STRUCTURE, **kinds}, metadata={"atomprint": json.dumps({"units": stated})}
    )
    with (
        written_whole(path) as partial,
        pq.ParquetWriter(partial, schema, compression="zstd") as file,
    ):
        for block in blocks(counted(crystals, progress)):
            columns = [
                *_structure(block),
                *(_label(path, name, kinds[name], block) for name in kinds),
            ]
            file.write_table(pa.Table.from_arrays(columns, schema=schema))


def _check_name(path: Path, name: str) -> None:
    """Refuse names of columns that would not be read as labels, by reading them."""
    row = {CELL: np.eye(3), POSITIONS: np.zeros((1, 3)), SPECIES: ["H"]}
    if name in _STRUCTURE or name in ID_NAMES or name not in record_of({**row, name: 1.0}).labels:
        raise UsageError(
            f"{path}: a label called {name!r} would be taken for a column of OPTIMADE's; rename it"
        )


def _type_of(name: str, shape: Sequence[int] | None) -> pa.DataType:
    if shape is None:
        return pa.float64()
    return _VECTORS if len(shape) else pa.list_(pa.float64())


def _structure(crystals: Sequence[Crystal]) -> list[pa.Array]:
    """Columns of `_STRUCTURE`, in its order."""
    ends = _ends([crystal.n_atoms for crystal in crystals])
    cells = np.concatenate([crystal.cell for crystal in crystals])
    positions = np.concatenate([crystal.positions for crystal in crystals])
    numbers = np.concatenate([crystal.numbers for crystal in crystals])
    sites = pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), pa.array(symbols))
    described = [_described(crystal.numbers) for crystal in crystals]
    return [
        pa.array([crystal.id for crystal in crystals], pa.string()),
        *[
            pa.array([one[name] for one in described], _STRUCTURE[name])
            for name in list(_STRUCTURE)[1:10]
        ],
        pa.ListArray.from_arrays(3 * np.arange(len(crystals) + 1, dtype=np.int32), _rows(cells)),
        pa.ListArray.from_arrays(ends, _rows(positions)),
        pa.array([one["species"] for one in described], pa.string()),
        pa.ListArray.from_arrays(ends, sites.cast(pa.string())),
    ]


def _described(numbers: npt.NDArray[np.int64]) -> dict[str, Any]:
    """What OPTIMADE derives of the elements; formulas are in order of the alphabet."""
    found, counts = np.unique(numbers, return_counts=True)
    by_symbol = dict(sorted(zip((symbols[z] for z in found), counts.tolist(), strict=True)))
    divisor = int(np.gcd.reduce(counts))
    reduced = {symbol: count // divisor for symbol, count in by_symbol.items()}
    falling = sorted(reduced.values(), reverse=True)
    return {
        "elements": list(by_symbol),
        "nelements": len(by_symbol),
        "elements_ratios": [count / len(numbers) for count in by_symbol.values()],
        "nsites": len(numbers),
        "chemical_formula_reduced": _formula(reduced),
        "chemical_formula_anonymous": _formula(
            {_letter(place): count for place, count in enumerate(falling)}
        ),
        "chemical_formula_descriptive": _formula(by_symbol),
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "species": json.dumps([_species(symbol) for symbol in by_symbol]),
    }


def _species(symbol: str) -> dict[str, Any]:
    return {
        "name": symbol,
        "chemical_symbols": [symbol],
        "concentration": [1.0],
        "mass": None,
        "original_name": None,
        "attached": None,
        "nattached": None,
    }


def _formula(counts: Mapping[str, int]) -> str:
    return "".join(f"{name}{count if count > 1 else ''}" for name, count in counts.items())


def _letter(place: int) -> str:
    """Place in A, B, ..., Z, Aa, Ba, ..., Za, Ab, ..."""
    round, letter = divmod(place, 26)
    return chr(ord("A") + letter) + (chr(ord("a") + round - 1) if round else "")


def _label(path: Path, name: str, kind: pa.DataType, crystals: Sequence[Crystal]) -> pa.Array:
    values = [crystal.labels.get(name) for crystal in crystals]
    if kind == pa.float64():
        return pa.array(values, kind)
    rows = [_as_rows(name, value) for value in values if value is not None]
    missing = np.array([value is None for value in values])
    lengths = np.zeros(len(values), dtype=np.int64)
    lengths[~missing] = [len(value) for value in rows]
    if kind != _VECTORS:
        if any(value.shape[1] != 1 for value in rows):
            raise DataError(
                f"{path}: label {name!r} is one number an atom in some crystals and several in "
                "others"
            )
        flat = pa.array(np.concatenate([np.zeros(0), *(value.ravel() for value in rows)]))
    else:
        widths = np.concatenate([np.zeros(0, int), *(np.full(*value.shape) for value in rows)])
        numbers = np.concatenate([np.zeros(0), *(value.ravel() for value in rows)])
        flat = pa.ListArray.from_arrays(_ends(widths), pa.array(numbers))
    return pa.ListArray.from_arrays(_ends(lengths), flat, mask=pa.array(missing))


def _as_rows(name: str, value: Any) -> npt.NDArray[np.float64]:
    """Of a stress its matrix, of others a row an atom."""
    stress = stress_of(name, value)
    found = np.asarray(value, np.float64)
    return found.reshape(len(found), -1) if stress is None else stress


def _rows(vectors: npt.NDArray[np.float64]) -> pa.Array:
    """Lists of three numbers."""
    stops = 3 * np.arange(len(vectors) + 1, dtype=np.int32)
    return pa.ListArray.from_arrays(stops, pa.array(vectors.ravel()))


def _ends(lengths: Any) -> npt.NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
