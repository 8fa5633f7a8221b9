"""Rows of Arrow tables: Parquet, Arrow files, and Hugging Face datasets saved to disk."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from atomprint.structures.reading.files import Entry
from atomprint.structures.reading.labels import id_among
from atomprint.structures.reading.optimade import is_optimade, optimade_records
from atomprint.structures.reading.result import Found, NotCrystals, Record, Refused, one_line
from atomprint.structures.reading.tabular import Opener, structure_column, table_records

GEOMETRY = ("numbers", "cell", "frac")
_BROKEN = (pa.ArrowException, OSError, ValueError)
_MAGIC = b"ARROW1"


def read_arrow(file: BinaryIO, entry: Entry, id_column: str | None, open_entry: Opener) -> Found:
    """Read an Arrow file or stream, which is what ``datasets.save_to_disk`` writes.

    Parameters
    ----------
    file
        Opened.
    entry
        The file.
    id_column
        Of the id, if it has an unusual name.
    open_entry
        Begins to read a file that a row names.

    Raises
    ------
    NotCrystals
        If no column holds structures.
    Refused
        If it is no sound Arrow file.
    """
    batches: Iterable[pa.RecordBatch]
    try:
        if file.read(len(_MAGIC)) == _MAGIC:
            source = pa.ipc.open_file(file)
            batches = map(source.get_batch, range(source.num_record_batches))
        else:
            file.seek(0)
            source = batches = pa.ipc.open_stream(file)
        source.schema.names  # noqa: B018 (names that are no text are damage too)
    except _BROKEN as error:
        raise Refused("broken", f"is no sound Arrow file: {one_line(error, 150)}") from None
    return records_of(source.schema, _sound(batches), entry, id_column, open_entry)


def _sound(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Check that lists lie within their values: Arrow itself believes the file."""
    for batch in batches:
        batch.validate(full=True)
        yield batch


def records_of(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    entry: Entry,
    id_column: str | None,
    open_entry: Opener,
) -> Found:
    """Tell by the columns what the rows hold, and begin to read them.

    Known are the layout of :func:`atomprint.structures.writing.write_parquet`, OPTIMADE's names
    (:mod:`atomprint.structures.reading.optimade`), and tables with a column of structures or of
    names of files (:mod:`atomprint.structures.reading.tabular`). All other columns are labels.

    Raises
    ------
    NotCrystals
        If there is none of these.
    """
    units = stated_units(schema.metadata or {})
    missing = [name for name in GEOMETRY if name not in schema.names]
    if not missing:
        return Found(_records(batches, id_column), units)
    if is_optimade(schema.names):
        return Found(optimade_records(values_of(batches), id_column), units)
    if len(missing) < len(GEOMETRY):
        raise NotCrystals(f"has no column {' nor '.join(repr(name) for name in missing)}")
    rows = values_of(batches)
    first = next(rows, None)
    column = structure_column(first or {})
    rows = chain([first] if first is not None else [], rows)
    return Found(table_records(rows, column, entry, id_column, open_entry), units)


def stated_units(metadata: dict[bytes, bytes]) -> dict[str, str]:
    """Units by label from the schema metadata; none where they cannot be read."""
    try:
        units = json.loads(metadata.get(b"atomprint", b"{}"))["units"]
        return {str(name): str(unit) for name, unit in units.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _records(
    batches: Iterable[pa.RecordBatch], id_column: str | None
) -> Iterator[Record | Refused]:
    for row, values in enumerate(values_of(batches)):
        yield _record(values, id_column, row)


def values_of(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """Row by row, values by the names of their columns.

    Lists of numbers are arrays, lists of equally long lists of numbers arrays of two dimensions.

    Raises
    ------
    Refused
        Where the file breaks off.
    """
    row = 0
    try:
        for batch in batches:
            columns = {
                name: _rows(batch.column(name)) for name in dict.fromkeys(batch.schema.names)
            }
            for at in range(batch.num_rows):
                yield {name: column[at] for name, column in columns.items()}
                row += 1
    except _BROKEN as error:
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
    if not _is_list(column.type):
        return list(column.to_pylist())
    inner = column.type.value_type
    ends, flat = _parts(column)
    if _is_list(inner) and _is_number(inner.value_type):
        inner_ends, values = _parts(flat)
        lengths = np.diff(inner_ends)
        if len(lengths) == 0 or (lengths != lengths[0]).any() or flat.null_count:
            return list(column.to_pylist())
        table = values.to_numpy(zero_copy_only=False)
        table = table[inner_ends[0] : inner_ends[-1]].reshape(len(lengths), -1)
    elif _is_number(inner):
        table = flat.to_numpy(zero_copy_only=False)
    else:
        return list(column.to_pylist())
    known = column.is_valid().to_numpy(zero_copy_only=False)
    return [table[ends[i] : ends[i + 1]] if known[i] else None for i in range(len(column))]


def _parts(column: pa.Array) -> tuple[Any, pa.Array]:
    """Where each row's values begin and end, and the values."""
    if pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size
        ends = np.arange(len(column) + 1) * size
        return ends, column.values.slice(column.offset * size, ends[-1])
    offsets = column.offsets.to_numpy(zero_copy_only=False)
    return offsets - offsets[0], column.values.slice(offsets[0], offsets[-1] - offsets[0])


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
