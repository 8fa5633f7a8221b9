"""Writing crystals once in the layout that reads fastest: Parquet, one row a crystal."""

import json
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.writing.whole import (
    Progress,
    check_crystals,
    counted,
    label_names,
    written_whole,
)

COLUMNS = ("id", "numbers", "cell", "frac")
BLOCK = 50_000
"""Crystals in memory at a time, and in a row group of the file."""


def write_parquet(
    path: str | os.PathLike[str],
    crystals: Sequence[Crystal],
    units: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    exact: bool = False,
    labels: Mapping[str, bool] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write crystals and labels so that `read_crystals` gives them back.

    One row a crystal: ``id``, ``numbers`` (uint8), ``cell`` (9 numbers, rows are the lattice
    vectors in Å), ``frac`` (3 per atom, inside the cell), then one float64 column a label: a
    number, or for labels per atom a list. Units stand in the schema metadata under
    ``atomprint``. The file is complete or not there.

    Parameters
    ----------
    path
        Where to; an existing file is replaced.
    crystals
        With different ids; read once, in blocks.
    units
        Unit by label name.
    metadata
        Anything that JSON can hold, kept beside the units.
    exact
        Keep cell and positions in float64. The default, float32, rounds a cell of 10 Å by less
        than 1e-6 Å and halves the file.
    labels
        Names of the labels, and whether each is an array, where that is known; otherwise the
        crystals are read once more for it.
    progress
        Called with crystals done and in all.

    Raises
    ------
    UsageError
        If there are no crystals, or a label has the name of a column of the layout.
    DataError
        If two crystals have the same id, or a label is per atom in one and per crystal in another.
    """
    path = Path(path)
    check_crystals(path, crystals)
    kinds = label_names(path, crystals) if labels is None else dict(labels)
    if taken := set(kinds) & set(COLUMNS):
        raise UsageError(f"{path}: a label cannot be called {taken.pop()!r}; rename it")
    schema = _schema(kinds, units or {}, metadata or {}, exact)
    with (
        written_whole(path) as partial,
        pq.ParquetWriter(partial, schema, compression="zstd") as file,
    ):
        found = counted(crystals, progress)
        while block := list(islice(found, BLOCK)):
            file.write_table(_table(block, kinds, schema, exact))


def _schema(
    kinds: Mapping[str, bool], units: Mapping[str, str], metadata: Mapping[str, Any], exact: bool
) -> pa.Schema:
    real = pa.float64() if exact else pa.float32()
    stated = {"units": {name: unit for name, unit in units.items() if name in kinds and unit}}
    return pa.schema(
        {
            "id": pa.string(),
            "numbers": pa.list_(pa.uint8()),
            "cell": pa.list_(real, 9),
            "frac": pa.list_(real),
            **{
                name: pa.list_(pa.float64()) if is_array else pa.float64()
                for name, is_array in kinds.items()
            },
        },
        metadata={"atomprint": json.dumps({**metadata, "format": 1, **stated})},
    )


def _table(
    crystals: Sequence[Crystal], kinds: Mapping[str, bool], schema: pa.Schema, exact: bool
) -> pa.Table:
    dtype: type[np.floating[Any]] = np.float64 if exact else np.float32
    real = schema.field("cell").type.value_type
    ends = np.concatenate([[0], np.cumsum([crystal.n_atoms for crystal in crystals])])
    cells = np.concatenate([crystal.cell.ravel() for crystal in crystals]).astype(dtype)
    frac = np.concatenate([_inside(crystal, dtype) for crystal in crystals])
    numbers = np.concatenate([crystal.numbers for crystal in crystals]).astype(np.uint8)
    columns = [
        pa.array([crystal.id for crystal in crystals], pa.string()),
        pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(numbers)),
        pa.FixedSizeListArray.from_arrays(pa.array(cells, real), 9),
        pa.ListArray.from_arrays(pa.array(3 * ends, pa.int32()), pa.array(frac.ravel(), real)),
        *[_label_column(name, is_array, crystals) for name, is_array in kinds.items()],
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _inside(crystal: Crystal, dtype: type[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Fractional positions in [0, 1), also after rounding."""
    frac = crystal.frac
    rounded = (frac - np.floor(frac)).astype(dtype)
    return np.where(rounded >= 1, dtype(0), rounded)


def _label_column(name: str, is_array: bool, crystals: Sequence[Crystal]) -> pa.Array:
    values = [crystal.labels.get(name) for crystal in crystals]
    if is_array:
        flat = [None if value is None else np.asarray(value, float).ravel() for value in values]
        return pa.array(flat, pa.list_(pa.float64()))
    return pa.array(values, pa.float64())
