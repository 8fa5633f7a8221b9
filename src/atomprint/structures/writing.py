"""Writing crystals once in the layout that reads fastest: Parquet, one row a crystal."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal

COLUMNS = ("id", "numbers", "cell", "frac")


def write_parquet(
    path: str | os.PathLike[str],
    crystals: Sequence[Crystal],
    units: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    exact: bool = False,
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
        With different ids.
    units
        Unit by label name.
    metadata
        Anything that JSON can hold, kept beside the units.
    exact
        Keep cell and positions in float64. The default, float32, rounds a cell of 10 Å by less
        than 1e-6 Å and halves the file.

    Raises
    ------
    UsageError
        If there are no crystals, or a label has the name of a column of the layout.
    DataError
        If two crystals have the same id, or a label is per atom in one and per crystal in another.
    """
    path = Path(path)
    if not crystals:
        raise UsageError(f"{path}: there are no crystals to write")
    ids = [crystal.id for crystal in crystals]
    if len(set(ids)) < len(ids):
        twice = next(id for id in ids if ids.count(id) > 1)
        raise DataError(f"{path}: the id {twice!r} stands for two crystals; rename one")
    real = pa.float64() if exact else pa.float32()
    dtype: type[np.floating[Any]] = np.float64 if exact else np.float32
    names = sorted({name for crystal in crystals for name in crystal.labels})
    if taken := set(names) & set(COLUMNS):
        raise UsageError(f"{path}: a label cannot be called {taken.pop()!r}; rename it")
    ends = np.concatenate([[0], np.cumsum([crystal.n_atoms for crystal in crystals])])
    cells = np.concatenate([crystal.cell.ravel() for crystal in crystals]).astype(dtype)
    frac = np.concatenate([_inside(crystal, dtype) for crystal in crystals])
    numbers = np.concatenate([crystal.numbers for crystal in crystals]).astype(np.uint8)
    columns = [
        pa.array(ids, pa.string()),
        pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(numbers)),
        pa.FixedSizeListArray.from_arrays(pa.array(cells, real), 9),
        pa.ListArray.from_arrays(pa.array(3 * ends, pa.int32()), pa.array(frac.ravel(), real)),
        *[_label_column(name, crystals, path) for name in names],
    ]
    stated = {"units": {n: u for n, u in (units or {}).items() if n in names and u}}
    table = pa.Table.from_arrays(columns, names=[*COLUMNS, *names]).replace_schema_metadata(
        {"atomprint": json.dumps({**(metadata or {}), "format": 1, **stated})}
    )
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        pq.write_table(table, partial, compression="zstd")
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _inside(crystal: Crystal, dtype: type[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Fractional positions in [0, 1), also after rounding."""
    frac = crystal.frac
    rounded = (frac - np.floor(frac)).astype(dtype)
    return np.where(rounded >= 1, dtype(0), rounded)


def _label_column(name: str, crystals: Sequence[Crystal], path: Path) -> pa.Array:
    values = [crystal.labels.get(name) for crystal in crystals]
    per_atom = {isinstance(value, np.ndarray) for value in values if value is not None}
    if len(per_atom) > 1:
        raise DataError(f"{path}: label {name!r} is per atom in some crystals and not in others")
    if per_atom == {True}:
        flat = [None if value is None else np.asarray(value, float).ravel() for value in values]
        return pa.array(flat, pa.list_(pa.float64()))
    return pa.array(values, pa.float64())
