"""From parts to the output: Parquet, CSV or NumPy, copied part by part."""

import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from atomprint.fingerprints.streaming.job import Job
from atomprint.fingerprints.streaming.parts import told_of_full_disks

ENDINGS = (".parquet", ".csv", ".npz", ".npy")


def merge(job: Job, parts: Sequence[Path], out: Path, temporary: Path) -> int:
    """Write the rows of all parts as one file, which is complete or not there.

    ``.npz`` holds ``values`` (n_rows, n_columns), ``id``, ``atom`` (with a row an atom),
    ``columns``, ``units`` and ``about`` (JSON); ``.npy`` holds the values alone.

    Parameters
    ----------
    job
        What the parts are of.
    parts
        Their files, in order.
    out
        Where to; replaced if it is there.
    temporary
        Written first; on the same disk.

    Returns
    -------
    int
        Number of rows.
    """
    n_rows = sum(int(pq.read_metadata(part).num_rows) for part in parts)
    with told_of_full_disks(out, temporary):
        if out.suffix in (".parquet", ".csv"):
            _write_table(job, parts, out.suffix, temporary)
        else:
            with temporary.open("wb") as file:
                if out.suffix == ".npy":
                    _write_array(file, _values(job, parts), (n_rows, len(job.columns)), job.dtype)
                else:
                    _write_npz(file, job, parts, n_rows)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(out)
    return n_rows


def _tables(parts: Sequence[Path], columns: list[str] | None = None) -> Iterator[pa.Table]:
    for part in parts:
        yield pq.read_table(part, columns=columns)


def _write_table(job: Job, parts: Sequence[Path], suffix: str, path: Path) -> None:
    schema = job.schema()
    if suffix == ".parquet":
        schema = schema.with_metadata({"atomprint": json.dumps(job.about())})
        with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["id"]) as writer:
            for table in _tables(parts):
                writer.write_table(table.replace_schema_metadata(schema.metadata))
        return
    with pc.CSVWriter(path, schema) as writer:
        for table in _tables(parts):
            writer.write_table(table.replace_schema_metadata(None))


def _values(job: Job, parts: Sequence[Path]) -> Iterator[Any]:
    for table in _tables(parts, job.columns):
        yield np.stack([column.to_numpy() for column in table.columns], axis=1)


def _write_array(file: IO[bytes], blocks: Iterator[Any], shape: Any, dtype: Any) -> None:
    """Write blocks of rows as one array in NumPy's format."""
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_2_0(file, header)
    for block in blocks:
        file.write(np.ascontiguousarray(block, dtype=dtype).tobytes())


def _write_npz(file: IO[bytes], job: Job, parts: Sequence[Path], n_rows: int) -> None:
    def column(name: str) -> Iterator[Any]:
        return (table.column(0).to_numpy(zero_copy_only=False) for table in _tables(parts, [name]))

    width = max((len(id) for ids in column("id") for id in ids), default=1)
    about = np.array(json.dumps(job.about()))
    names, units = np.array(job.columns), np.array(list(job.units.values()))
    members: list[tuple[str, Iterator[Any], Any, Any]] = [
        ("values", _values(job, parts), (n_rows, len(job.columns)), job.dtype),
        ("id", column("id"), (n_rows,), f"<U{max(width, 1)}"),
        ("columns", iter([names]), names.shape, names.dtype),
        ("units", iter([units]), units.shape, units.dtype),
        ("about", iter([about]), (), about.dtype),
    ]
    if job.rows_per == "atom":
        members.append(("atom", column("atom"), (n_rows,), "<i4"))
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, blocks, shape, dtype in members:
            # A fixed time, so that equal contents are equal files.
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(member, "w", force_zip64=True) as stream:
                _write_array(stream, blocks, shape, dtype)
