"""JARVIS: sets of structures that NIST publishes on figshare.

Figshare's interface describes an article with its licence, its citation, and its files with MD5
(``GET /v2/articles/ID``). Each is a zip with one JSON file: a list of entries with ``atoms``:
``lattice_mat`` (Å), ``elements``, ``coords``, and ``cartesian``, whether these are in Å.
"""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, cast

from pydantic import Field

from atomprint.data.sources.base import BEGINNING, Card, Page, SourceBase, Surroundings
from atomprint.data.sources.download import RemoteFile
from atomprint.data.sources.published import Published, pages_of_files
from atomprint.data.store import Provenance
from atomprint.ground.errors import DataError
from atomprint.structures.reading.elements import number_of
from atomprint.structures.reading.json_stream import stream_items
from atomprint.structures.reading.result import Record, Refused

ARTICLES = {
    "dft_3d": 6815699,
    "dft_2d": 6815705,
    "twod_matpd": 14205083,
    "c2db": 14812038,
    "qmof": 14812044,
    "omdb": 14812050,
}
"""Figshare's numbers of the articles, from jarvis-tools (jarvis/db/figshare.py)."""

_IDS = ("jid", "id", "material_id", "source_folder")


class JarvisSettings(SourceBase):
    """A set of structures that JARVIS publishes."""

    card: ClassVar[Card] = Card(
        title="JARVIS",
        domain="inorganic crystals and layers, relaxed (OptB88vdW); MOFs (qmof), organic (omdb)",
        size="about 76,000 (dft_3d), 1,100 (dft_2d), 20,000 (qmof)",
        licence="as figshare states it for the set; recorded",
        citation="K. Choudhary et al., npj Computational Materials 6, 173 (2020)",
        url="https://jarvis.nist.gov",
    )

    kind: Literal["jarvis"] = "jarvis"
    name: Literal["dft_3d", "dft_2d", "twod_matpd", "c2db", "qmof", "omdb"] = Field(
        "dft_3d", description="which set, by the name that jarvis-tools gives it"
    )
    file: str = Field("", description="which file of the set; empty for the newest")
    base_url: str = Field("https://api.figshare.com/v2", description="figshare's interface")

    def pages(self, around: Surroundings, start: str = BEGINNING) -> Iterator[Page]:
        """Yield its one file; the place holds the file's number at figshare."""
        url, article = self._article(around)
        listed = article.get("files")
        files = [
            f
            for f in (listed if isinstance(listed, list) else [])
            if isinstance(f, Mapping) and _usable(f)
        ]
        wanted = [f for f in files if not self.file or f["name"] == self.file]
        if not wanted:
            names = ", ".join(str(f["name"]) for f in files) or "none"
            what = f"file {self.file!r}" if self.file else "zip with JSON"
            raise DataError(f"{url}: has no {what}; it has: {names}")
        newest = max(wanted, key=lambda f: int(f["id"]))
        md5 = newest.get("computed_md5") or newest.get("supplied_md5")
        remote = RemoteFile(str(newest["download_url"]), f"md5:{md5}" if md5 else "")
        file = Published(f"{int(newest['id'])}.zip", remote)
        return pages_of_files([file], self._read, around, start)

    def provenance(self, around: Surroundings) -> tuple[Provenance, ...]:
        """What figshare says of the set."""
        _, article = self._article(around)
        licence = article.get("license")
        named = licence.get("name") if isinstance(licence, Mapping) else None
        citations = [self.card.citation, str(article.get("citation") or "")]
        return (
            Provenance(
                source=f"JARVIS, {self.name}",
                licence=str(named or "not stated by figshare"),
                citation="; ".join(text for text in citations if text),
            ),
        )

    def _article(self, around: Surroundings) -> tuple[str, Mapping[str, Any]]:
        url = f"{self.base_url.rstrip('/')}/articles/{ARTICLES[self.name]}"
        article = around.web.json(url)
        if not isinstance(article, Mapping):
            raise DataError(f"{url}: the answer describes no article, and cannot be read")
        return url, article

    def _read(self, path: Path) -> Iterator[Record | Refused]:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith(".json")]
            if len(names) != 1:
                raise Refused("broken", f"holds {len(names)} JSON files instead of one")
            with archive.open(names[0]) as file:
                for row, (_, entry) in enumerate(stream_items(cast("BinaryIO", file))):
                    yield _record(entry, f"{self.name}-{row}")


def _usable(file: Mapping[str, Any]) -> bool:
    has = all(file.get(name) for name in ("id", "name", "download_url"))
    return has and not file.get("is_link_only") and str(file["name"]).endswith(".zip")


def _record(entry: Any, otherwise: str) -> Record | Refused:
    id = otherwise
    try:
        id = next((str(entry[name]) for name in _IDS if entry.get(name)), otherwise)
        atoms = entry["atoms"]
        numbers = [number_of(str(symbol)) for symbol in atoms["elements"]]
        record = Record(numbers, atoms["lattice_mat"], id=id)
        if atoms.get("cartesian"):
            record.positions = atoms["coords"]
        else:
            record.frac = atoms["coords"]
        return record
    except Refused as refusal:
        return Refused(refusal.kind, refusal.reason, id)
    except (TypeError, ValueError, KeyError, AttributeError):
        return Refused("broken", "is no complete entry of JARVIS", id)
