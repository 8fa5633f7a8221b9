"""The Crystallography Open Database: a list of numbers, and a CIF for each.

``GET /result?format=lst`` with search parameters lists numbers, ``GET /NUMBER.cif`` gives a CIF;
see https://wiki.crystallography.net/RESTful_API.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from atomprint.data.sources.base import BEGINNING, Card, Page, SourceBase, Surroundings, made
from atomprint.data.sources.web import Missing, with_query
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.cif import read_cif
from atomprint.structures.reading.result import Problem, Record, Refused


class CodSettings(SourceBase):
    """Crystals of the Crystallography Open Database, by a search or by a list of numbers."""

    per_second: ClassVar[float | None] = 5.0
    shard_crystals: ClassVar[int] = 1_000
    card: ClassVar[Card] = Card(
        title="COD",
        domain="measured crystals: minerals, inorganic, metal-organic and organic ones; many are "
        "disordered and left out",
        size="about 530,000",
        licence="CC0",
        citation="S. Gražulis et al., Nucleic Acids Research 40, D420 (2012)",
        url="https://www.crystallography.net/cod",
    )

    kind: Literal["cod"] = "cod"
    query: dict[str, str | int | float] = Field(
        default_factory=dict,
        description="search parameters of COD: {el1: Ti, el2: O, strictmax: 2}",
    )
    numbers: str = Field("", description="file with numbers of COD, instead of a search")
    base_url: str = Field("https://www.crystallography.net/cod", description="address")

    @model_validator(mode="after")
    def _says_what(self) -> "CodSettings":
        if bool(self.query) == bool(self.numbers):
            raise ValueError(
                "COD needs a query (for instance query.el1=Ti) or numbers (a file), and not both"
            )
        return self

    def pages(self, around: Surroundings, start: str = BEGINNING) -> Iterator[Page]:
        """Yield a page for each CIF; the place is the number before it."""
        listed = self._listed(around)
        numbers = [n for n in listed if not start or n > start]
        for at, number in enumerate(numbers):
            url = f"{self.base_url.rstrip('/')}/{number}.cif"
            after = number if at + 1 < len(numbers) else None
            yield Page(self._items(around, url, number), after, len(listed))

    def _listed(self, around: Surroundings) -> list[str]:
        """Numbers in ascending order: a list that has grown since changes no place in it."""
        if self.numbers:
            try:
                text = Path(self.numbers).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{self.numbers}: cannot be read ({error})") from None
            where = self.numbers
        else:
            where = with_query(
                f"{self.base_url.rstrip('/')}/result", {**self.query, "format": "lst"}
            )
            text = around.web.get(where).decode("utf-8", "replace")
        words = text.split()
        if wrong := next((word for word in words if not re.fullmatch(r"\d{7}", word)), None):
            raise DataError(f"{where}: {wrong[:40]!r} is no number of COD, which have seven digits")
        if not words:
            raise DataError(f"{where}: lists no crystal; widen the query")
        return sorted(set(words))

    def _items(self, around: Surroundings, url: str, number: str) -> Iterator[Crystal | Problem]:
        try:
            data = around.web.get(url)
        except Missing:
            yield Problem(url, f"cod-{number}", "is not there, perhaps withdrawn", "broken")
            return
        yield from made(_records(data, f"cod-{number}"), url)


def _records(data: bytes, id: str) -> Iterator[Record | Refused]:
    try:
        for record in read_cif(data).records:
            record.id = f"{id}-{record.index}" if record.index else id
            yield record
    except Refused as refusal:
        yield Refused(refusal.kind, refusal.reason, id)
