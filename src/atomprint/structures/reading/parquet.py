"""Parquet: one row a crystal, in atomprint's own layout or as a table of structures."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from atomprint.structures.reading.files import Entry
from atomprint.structures.reading.labels import id_among
from atomprint.structures.reading.result import Found, NotCrystals, Record, Refused, one_line
from atomprint.structures.reading.tabular import Opener, structure_column, table_records

GEOMETRY = ("numbers", "cell", "frac")


def read_parquet(file: BinaryIO, entry: Entry, id_column: str | None, open_entry: Opener) -> Found:
    """Read the layout of `atomprint.structures.writing.write_parquet`, or a table of structures.

    The latter has one column of structures or of names of files, see
    :mod:`atomprint.structures.reading.tabular`; all other columns are labels in both.
    """
    try:
        source = pq.ParquetFile(file)
        schema = source.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Refused("broken", f"is no sound Parquet file: {one_line(error, 150)}") from None
    units = stated_units(schema.metadata or {})
    missing = [name for name in GEOMETRY if name not in schema.names]
    if not missing:
        return Found(_records(source, id_column), units)
    if len(missing) < len(GEOMETRY):
        raise NotCrystals(f"has no column {' nor '.join(repr(name) for name in missing)}")
    column = structure_column(next(_values(source), {}))
    return Found(table_records(_values(source), column, entry, id_column, open_entry), units)


def stated_units(metadata: dict[bytes, bytes]) -> dict[str, str]:
    """Units by label from the schema metadata; none where they cannot be read."""
    try:
        units = json.loads(metadata.get(b"atomprint", b"{}"))["units"]
        return {str(name): str(unit) for name, unit in units.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _records(source: pq.ParquetFile, id_column: str | None) -> Iterator[Record | Refused]:
    for row, values in enumerate(_values(source)):
        yield _record(values, id_column, row)


def _values(source: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    """Row by row, values by the names of their columns."""
    row = 0
    try:
        for batch in source.iter_batches(batch_size=2048):
            columns = {
                name: _rows(batch.column(name)) for name in dict.fromkeys(batch.schema.names)
            }
            for at in range(batch.num_rows):
                yield {name: column[at] for name, column in columns.items()}
                row += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Refused("broken", f"is damaged after row {row}: {one_line(error, 150)}") from None


def _record(values: dict[str, Any], id_column: str | None, row: int) -> Record | Refused:
    geometry = {name: values.pop(name) for name in GEOMETRY}
    given, used = id_among(values, id_column)
    values.pop(used, None)
    for name, value in geometry.items():
        if value is None:
            kind = "cell" if name == "cell" else "coordinates"
            return Refused(kind, f"{name!r} is empty", given, str(row))
    numbers, cell, frac = geometry.values()
    n_atoms = max(len(numbers), 1)
    labels: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, np.ndarray) and len(value) > n_atoms and len(value) % n_atoms == 0:
            value = value.reshape(n_atoms, -1)
        labels[name] = value
    return Record(numbers, cell, frac=frac, id=given, labels=labels, index=str(row))


def _rows(column: pa.Array) -> list[Any]:
    """One Python object a row; lists of numbers as arrays without copying them one by one."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if not (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)):
            return list(column.to_pylist())
        if pa.types.is_fixed_size_list(kind):
            ends = (np.arange(len(column) + 1)) * kind.list_size
            flat = column.values.slice(column.offset * kind.list_size, ends[-1])
        else:
            offsets = column.offsets.to_numpy(zero_copy_only=False)
            ends, flat = (
                offsets - offsets[0],
                column.values.slice(offsets[0], offsets[-1] - offsets[0]),
            )
        values = flat.to_numpy(zero_copy_only=False)
        known = column.is_valid().to_numpy(zero_copy_only=False)
        return [values[ends[i] : ends[i + 1]] if known[i] else None for i in range(len(column))]
    return list(column.to_pylist())
