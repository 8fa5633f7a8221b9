"""Files and folders on disk, as they are; what `atomprint data convert` reads."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from atomprint.data.sources.base import BEGINNING, Card, Page, SourceBase, Surroundings
from atomprint.data.store import Provenance
from atomprint.structures.reading.stream import CrystalStream


class FilesSettings(SourceBase):
    """Crystals in files on disk, without their labels."""

    shard_crystals: ClassVar[int] = 100_000
    card: ClassVar[Card] = Card(
        title="files on disk",
        domain="your own: CIF, POSCAR, extended XYZ, ASE db, pymatgen JSON, Parquet, archives",
        size="any",
        licence="yours to state",
        citation="yours to state",
        needs="nothing",
        checked="real files",
    )

    kind: Literal["files"] = "files"
    path: str = Field(description="file, folder, pattern or archive")
    source: str = Field("", description="where the crystals are from; empty for the path")
    licence: str = Field("", description="what one may do with them")
    citation: str = Field("", description="what to cite")

    def pages(self, around: Surroundings, start: str = BEGINNING) -> Iterator[Page]:
        """Yield crystal by crystal; a place is the number of a file and of a record in it."""
        file, _, row = start.partition(",")
        with CrystalStream(self.path, check_ids=False) as stream:
            for read in stream.read((int(file or 0), int(row or 0))):
                yield Page([read.item], f"{read.after[0]},{read.after[1]}")

    def provenance(self, around: Surroundings) -> tuple[Provenance, ...]:
        """What the settings say."""
        licence = self.licence or "not stated"
        source = self.source or self.path
        return (Provenance(source=source, licence=licence, citation=self.citation),)

    def identity(self) -> str:
        """Settings, and names, sizes and times of the files."""
        with CrystalStream(self.path, check_ids=False) as stream:
            return f"{self.model_dump_json()} {stream.key()}"
