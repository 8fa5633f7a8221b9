"""Alexandria: files of pymatgen entries, listed in a folder of its server.

``https://alexandria.icams.rub.de/data/pbe/2025.07.02/`` lists ``alexandria_000.json.bz2`` and so
on; each holds ``{"entries": [{"structure": {...}, "data": {"mat_id": ...}, ...}]}``. Its OPTIMADE
interface serves a part of it.
"""

import bz2
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, cast

from pydantic import Field

from atomprint.data.sources.base import BEGINNING, Card, Page, SourceBase, Surroundings
from atomprint.data.sources.download import RemoteFile
from atomprint.data.sources.published import Published, pages_of_files
from atomprint.ground.errors import DataError
from atomprint.structures.reading.json_stream import stream_items
from atomprint.structures.reading.pymatgen_json import records_of
from atomprint.structures.reading.result import Record, Refused

_FILE = re.compile(r'href="([^"?#]*\.json\.bz2)"', re.IGNORECASE)


class AlexandriaSettings(SourceBase):
    """The Alexandria database."""

    shard_crystals: ClassVar[int] = 50_000
    card: ClassVar[Card] = Card(
        title="Alexandria",
        domain="inorganic crystals, most of them predicted, relaxed (PBE, PBEsol, SCAN); layers "
        "(pbe_2d), chains (pbe_1d)",
        size="about 4,500,000 (pbe), 400,000 (pbesol, scan), 100,000 (pbe_2d), 10,000 (pbe_1d)",
        licence="CC BY 4.0",
        citation="J. Schmidt et al., Materials Today Physics 48, 101560 (2024)",
        url="https://alexandria.icams.rub.de",
    )

    kind: Literal["alexandria"] = "alexandria"
    part: Literal["pbe", "pbesol", "scan", "pbe_2d", "pbe_1d"] = Field(
        "pbe", description="which calculations"
    )
    version: str = Field(
        "2025.07.02", description="date of the release; empty where the part has none"
    )
    base_url: str = Field("https://alexandria.icams.rub.de/data", description="where the files are")

    @property
    def described(self) -> str:
        """What is fetched, for the store's provenance."""
        return " ".join(t for t in (f"{self.card.title}, {self.part}", self.version) if t)

    def pages(self, around: Surroundings, start: str = BEGINNING) -> Iterator[Page]:
        """Yield a page for each file; the place is its number."""
        parts = [self.base_url.rstrip("/"), self.part, *([self.version] if self.version else [])]
        folder = "/".join(parts) + "/"
        text = around.web.get(folder).decode("utf-8", "replace")
        names = sorted(set(_FILE.findall(text)))
        if not names:
            raise DataError(
                f"{folder}: lists no .json.bz2; look for the releases there are at {self.base_url}"
            )
        files = [
            Published(
                Path(urllib.parse.unquote(name)).name,
                RemoteFile(urllib.parse.urljoin(folder, name)),
            )
            for name in names
        ]
        return pages_of_files(files, _read, around, start)


def _read(path: Path) -> Iterator[Record | Refused]:
    def items(file: BinaryIO) -> Iterator[tuple[str, str, Any]]:
        for row, (_, entry) in enumerate(stream_items(file, "entries")):
            yield _id(entry) or f"{path.name.partition('.')[0]}-{row}", "", entry

    with bz2.open(path) as file:
        yield from records_of(items(cast("BinaryIO", file)))


def _id(entry: Any) -> str:
    data = entry.get("data") if isinstance(entry, Mapping) else None
    return str(data.get("mat_id") or "") if isinstance(data, Mapping) else ""
