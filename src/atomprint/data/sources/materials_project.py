"""The Materials Project, by the REST interface that its own client mp-api speaks.

``GET /materials/summary/`` with ``_limit``, ``_skip``, ``_fields`` and ``_sort_fields`` gives
``{"data": [{"material_id": ..., "structure": {...}}], "meta": {"total_doc": ...}}``, structures as
pymatgen writes them. The key goes into the header ``X-API-KEY``.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from atomprint.data.sources.base import BEGINNING, Card, Page, SourceBase, Surroundings, made
from atomprint.data.sources.web import Denied, with_query
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.reading.pymatgen_json import records_of

KEY = "MP_API_KEY"
"""Environment variable that holds the key; it is written nowhere."""


class MaterialsProjectSettings(SourceBase):
    """The Materials Project; needs a key of one's own."""

    per_second: ClassVar[float | None] = 10.0
    card: ClassVar[Card] = Card(
        title="Materials Project",
        domain="inorganic crystals, many known from experiment, relaxed (PBE, PBE+U, r2SCAN)",
        size="about 150,000 to 200,000",
        licence="CC BY 4.0",
        citation="A. Jain et al., APL Materials 1, 011002 (2013)",
        url="https://materialsproject.org",
        needs=f"a key in {KEY}, from https://materialsproject.org/api",
    )

    kind: Literal["materials_project"] = "materials_project"
    query: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="filters of its interface: {elements: 'Li,O', is_stable: 'true'}",
    )
    base_url: str = Field("https://api.materialsproject.org", description="address")
    page_limit: int = Field(500, ge=1, le=1000, description="structures that are asked for a page")

    def pages(self, around: Surroundings, start: str = BEGINNING) -> Iterator[Page]:
        """Yield pages; the place of one is the number of materials before it."""
        key = os.environ.get(KEY, "").strip()
        if not key:
            raise UsageError(
                f"the Materials Project needs a key: get one at https://materialsproject.org/api "
                f"and set the environment variable {KEY} to it"
            )
        skip, ended = int(start or 0), False
        while not ended:
            query: dict[str, str | int | float | bool] = {
                "deprecated": "false",
                "_fields": "material_id,structure",
                "_sort_fields": "material_id",
                **self.query,
                "_limit": self.page_limit,
                "_skip": skip,
            }
            url = with_query(f"{self.base_url.rstrip('/')}/materials/summary/", query)
            try:
                answer = around.web.json(url, {"X-API-KEY": key})
            except Denied:
                raise UsageError(
                    f"{self.base_url}: the key in {KEY} is not accepted; look it up at "
                    "https://materialsproject.org/api"
                ) from None
            rows, total = _read(answer, url)
            skip += len(rows)
            ended = not rows or (total is not None and skip >= total)
            items = ((_id(row), "", row) for row in rows)
            yield Page(
                made(records_of(items), url.partition("?")[0]), None if ended else str(skip), total
            )


def _read(answer: Any, url: str) -> tuple[list[Any], int | None]:
    rows = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(rows, list):
        raise DataError(f"{url}: the answer has no list of data, and cannot be read")
    meta = answer.get("meta")
    total = meta.get("total_doc") if isinstance(meta, Mapping) else None
    return rows, total if isinstance(total, int) else None


def _id(row: Any) -> str:
    return str(row.get("material_id") or "") if isinstance(row, Mapping) else ""
