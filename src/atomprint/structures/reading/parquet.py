"""Parquet files: rows of an Arrow table, read in blocks."""

from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from atomprint.structures.reading.arrow import records_of
from atomprint.structures.reading.files import Entry
from atomprint.structures.reading.result import Found, Refused, one_line
from atomprint.structures.reading.tabular import Opener

_BLOCK = 2048


def read_parquet(file: BinaryIO, entry: Entry, id_column: str | None, open_entry: Opener) -> Found:
    """Read any of the tables of :mod:`atomprint.structures.reading.arrow`.

    Raises
    ------
    NotCrystals
        If no column holds structures.
    Refused
        If it is no sound Parquet file.
    """
    try:
        source = pq.ParquetFile(file)
        schema = source.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Refused("broken", f"is no sound Parquet file: {one_line(error, 150)}") from None
    batches = source.iter_batches(batch_size=_BLOCK)
    return records_of(schema, batches, entry, id_column, open_entry)
