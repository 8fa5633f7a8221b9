"""The structures of MatBench v0.1's sets, as MatBench publishes them, without their labels."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, cast

from pydantic import Field

from atomprint.data.sources.base import BEGINNING, Card, Page, SourceBase, Surroundings
from atomprint.data.sources.download import RemoteFile
from atomprint.data.sources.published import Published, pages_of_files
from atomprint.structures.reading.json_stream import stream_items
from atomprint.structures.reading.pymatgen_json import records_of
from atomprint.structures.reading.result import Record, Refused

Name = Literal[
    "jdft2d", "phonons", "dielectric", "log_gvrh", "log_kvrh", "perovskites",
    "mp_gap", "mp_e_form", "mp_is_metal",
]  # fmt: skip

FILES: dict[str, tuple[int, str]] = {
    "jdft2d": (636, "26057dc4524e193e32abffb296ce819b58b6e11d1278cae329a2f97817a4eddf"),
    "phonons": (1265, "4db551f21ec5f577e6202725f10e34dfc509aa7df3a6bdaac497da7f6dbbb9b3"),
    "dielectric": (4764, "83befa09bc2ec2f4b6143afc413157827a90e5e2e42c1eb507ccfa01bf26a1d6"),
    "log_gvrh": (10987, "098af941f4c663270f1fe21abf20ffad6fb85ecbfcba5786ceac03983ac29da7"),
    "log_kvrh": (10987, "44b113ddb7e23aa18731a62c74afa7e5aa654199e0db5f951c8248a00955c9cd"),
    "perovskites": (18928, "4641e2417f8ec8b50096d2230864468dfa08278dc9d257c327f65d0305278483"),
    "mp_gap": (106113, "58b65746bd88329986ed66031a2ac1369c7c522f7bc9f9081528e07097c2c057"),
    "mp_e_form": (132752, "dedcb1d4ba2e3e50dbdd45ba5bc647a00e9c2bcf8f8bf556dc8e92caa39eb21f"),
    "mp_is_metal": (106113, "9a028ed5750a4c76ca36e9f3c8d48fe0bf3fb21b76ec2289e58ae7048d527919"),
}
"""Crystals and SHA-256 of each file, from matminer's metadata; tests compare with the tasks'."""


class MatbenchSettings(SourceBase):
    """Structures of one of MatBench's sets."""

    card: ClassVar[Card] = Card(
        title="MatBench v0.1",
        domain="inorganic crystals of the Materials Project (2019); layers (jdft2d); perovskites",
        size="636 to 132,752, by set",
        licence="MatBench states none; Materials Project data are CC BY 4.0",
        citation="A. Dunn et al., npj Computational Materials 6, 138 (2020)",
        url="https://matbench.materialsproject.org",
        checked="MatBench's own files",
    )

    kind: Literal["matbench"] = "matbench"
    name: Name = Field("mp_e_form", description="which set")
    base_url: str = Field(
        "https://ml.materialsproject.org/projects", description="where the files are"
    )

    @property
    def described(self) -> str:
        """What is fetched, for the store's provenance."""
        return f"{self.card.title}, {self.name}"

    def pages(self, around: Surroundings, start: str = BEGINNING) -> Iterator[Page]:
        """Yield its one file."""
        name = f"matbench_{self.name}.json.gz"
        remote = RemoteFile(f"{self.base_url.rstrip('/')}/{name}", f"sha256:{FILES[self.name][1]}")
        return pages_of_files([Published(name, remote)], self._read, around, start)

    def _read(self, path: Path) -> Iterator[Record | Refused]:
        digits = len(str(FILES[self.name][0]))
        prefix = f"mb-{self.name.replace('_', '-')}"

        def items(file: BinaryIO) -> Iterator[tuple[str, str, Any]]:
            for row, (before, values) in enumerate(stream_items(file, "data")):
                columns = before.get("columns")
                if not isinstance(columns, list) or "structure" not in columns:
                    raise Refused("broken", "has no column 'structure'")
                structure = values[columns.index("structure")]
                yield f"{prefix}-{row + 1:0{digits}d}", "", structure

        with gzip.open(path) as file:
            yield from records_of(items(cast("BinaryIO", file)))
