"""LeMat-Bulk: Parquet files in OPTIMADE's names, on Hugging Face.

``GET /api/datasets/NAME/revision/main`` names the commit, ``.../tree/COMMIT/SUBSET`` the files
with their SHA-256; files are at ``/datasets/NAME/resolve/COMMIT/FILE``. One fetch reads one commit,
however often it is interrupted.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from atomprint.data.sources.base import BEGINNING, Card, Page, SourceBase, Surroundings
from atomprint.data.sources.download import RemoteFile
from atomprint.data.sources.published import Published, pages_of_files
from atomprint.ground.errors import DataError
from atomprint.structures.reading.optimade import optimade_records
from atomprint.structures.reading.result import Record, Refused, one_line

_NEEDED = ("immutable_id", "lattice_vectors", "cartesian_site_positions", "species_at_sites")
_WANTED = (*_NEEDED, "species", "dimension_types")


class LematSettings(SourceBase):
    """LeMat-Bulk: Materials Project, Alexandria and OQMD, made compatible and without doubles."""

    shard_crystals: ClassVar[int] = 50_000
    card: ClassVar[Card] = Card(
        title="LeMat-Bulk",
        domain="inorganic crystals of the Materials Project, Alexandria and OQMD, relaxed",
        size="about 5,300,000 (compatible_pbe), 450,000 (compatible_pbesol), 420,000 "
        "(compatible_scan)",
        licence="CC BY 4.0",
        citation="M. Siron et al., LeMat-Bulk (2024), https://huggingface.co/datasets/LeMaterial/"
        "LeMat-Bulk; and the databases in it",
        url="https://huggingface.co/datasets/LeMaterial/LeMat-Bulk",
    )

    kind: Literal["lemat"] = "lemat"
    subset: str = Field("compatible_pbe", description="folder of the data set")
    repository: str = Field("LeMaterial/LeMat-Bulk", description="data set on Hugging Face")
    revision: str = Field("main", description="branch, tag or commit")
    base_url: str = Field("https://huggingface.co", description="address of the hub")

    @property
    def described(self) -> str:
        """What is fetched, for the store's provenance."""
        return f"{self.card.title}, {self.subset}, {self.revision}"

    def pages(self, around: Surroundings, start: str = BEGINNING) -> Iterator[Page]:
        """Yield a page for each file; the place is ``COMMIT:NUMBER``."""
        root = self.base_url.rstrip("/")
        api = f"{root}/api/datasets/{self.repository}"
        commit, _, number = start.partition(":")
        if not commit:
            about = around.web.json(f"{api}/revision/{self.revision}")
            commit = str(about.get("sha") or "") if isinstance(about, Mapping) else ""
            if not commit:
                raise DataError(f"{api}/revision/{self.revision}: names no commit")
        url = f"{api}/tree/{commit}/{self.subset}?recursive=true"
        listed = around.web.json(url)
        found: list[Mapping[str, Any]] = [
            file
            for file in (listed if isinstance(listed, list) else [])
            if isinstance(file, Mapping) and str(file.get("path", "")).endswith(".parquet")
        ]
        if not found:
            raise DataError(f"{url}: lists no Parquet file; check subset and repository")
        files = [
            Published(
                str(file["path"]).replace("/", "_"),
                RemoteFile(
                    f"{root}/datasets/{self.repository}/resolve/{commit}/{file['path']}",
                    _checksum(file),
                ),
            )
            for file in sorted(found, key=lambda file: str(file["path"]))
        ]
        return pages_of_files(files, read_table, around, number, lambda n: f"{commit}:{n}")


def read_table(path: Path) -> Iterator[Record | Refused]:
    """Read a Parquet file of structures in OPTIMADE's names, a few hundred rows at a time."""
    try:
        source = pq.ParquetFile(path)
        names = source.schema_arrow.names
        if missing := [name for name in _NEEDED if name not in names]:
            raise Refused("broken", f"has no column {' nor '.join(map(repr, missing))}")
        columns = [name for name in _WANTED if name in names]
        for batch in source.iter_batches(batch_size=256, columns=columns):
            yield from optimade_records(batch.to_pylist(), "immutable_id")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Refused("broken", f"is no sound Parquet file: {one_line(error, 150)}") from None


def _checksum(file: Mapping[str, Any]) -> str:
    """Of the content, as git-lfs names it."""
    lfs = file.get("lfs")
    oid = lfs.get("oid") if isinstance(lfs, Mapping) else None
    return f"sha256:{str(oid).removeprefix('sha256:')}" if oid else ""
