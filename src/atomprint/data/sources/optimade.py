"""OPTIMADE: the interface that most databases of crystals offer.

Specification: https://specs.optimade.org/v1.2.0; a list of providers: https://providers.optimade.org.
"""

import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from atomprint.data.sources.base import BEGINNING, Card, Page, SourceBase, Surroundings, made
from atomprint.data.sources.web import with_query
from atomprint.data.store import Provenance
from atomprint.ground.errors import DataError
from atomprint.structures.reading.optimade import FIELDS, record_of
from atomprint.structures.reading.result import Record, Refused

MOST_BARREN = 5
"""Pages in a row without anything new after which a server is taken to have no end."""


class OptimadeBase(SourceBase):
    """What all databases behind OPTIMADE share."""

    id_prefix: ClassVar[str] = ""
    per_second: ClassVar[float | None] = 4.0

    base_url: str = Field(description="address of the database, with or without /v1")
    filter: str = Field("", description='in OPTIMADE\'s language: elements HAS "Li" AND nsites<50')
    page_limit: int = Field(
        100, ge=1, le=10_000, description="structures that are asked for a page"
    )

    @property
    def root(self) -> str:
        """Address with the major version."""
        url = self.base_url.rstrip("/")
        return url if re.search(r"/v\d+(\.\d+)*$", url) else f"{url}/v1"

    def pages(self, around: Surroundings, start: str = BEGINNING) -> Iterator[Page]:
        """Yield pages; the place of one is its address."""
        query: dict[str, str | int | float | bool] = {
            "filter": self.filter,
            "response_fields": ",".join(("id", *FIELDS)),
            "page_limit": self.page_limit,
        }
        url: str | None = start or with_query(f"{self.root}/structures", query)
        visited: set[int] = set()
        latest: set[str] = set()
        barren = n_rows = 0
        while url is not None:
            visited.add(hash(url))
            answer = around.web.json(url)
            rows, meta = _data_of(answer, url), _mapping(answer.get("meta"))
            following = _next_of(answer, url)
            if following is not None and hash(following) in visited:
                raise DataError(f"{url}: its next page is one that was read before; {_REPORT}")
            ids = {str(row.get("id")) for row in rows if isinstance(row, Mapping)}
            barren = 0 if ids - latest else barren + 1
            n_rows += len(rows)
            most = _whole(meta.get("data_available"))
            if following is not None and (barren >= MOST_BARREN or (most and n_rows > 2 * most)):
                raise DataError(f"{url}: page follows page without anything new; {_REPORT}")
            latest = ids or latest
            if isinstance(pause := meta.get("request_delay"), int | float):
                around.web.pause(float(pause))
            yield Page(
                made((self._record(row) for row in rows), url.partition("?")[0]),
                following,
                _whole(meta.get("data_returned")),
            )
            url = following

    def _record(self, row: Any) -> Record | Refused:
        entry = _mapping(row)
        id = f"{self.id_prefix}{entry['id']}" if entry.get("id") else ""
        try:
            record = record_of(_mapping(entry.get("attributes")))
        except Refused as refusal:
            return Refused(refusal.kind, refusal.reason, id)
        record.id = id
        return record


class OptimadeSettings(OptimadeBase):
    """Any provider of OPTIMADE, by its address."""

    card: ClassVar[Card] = Card(
        title="OPTIMADE",
        domain="whatever the provider has: Materials Project, Alexandria, COD, NOMAD and others",
        size="up to millions, by provider",
        licence="the provider's; recorded where it states one",
        citation="C. W. Andersen et al., Scientific Data 8, 217 (2021), and the provider's own",
        url="https://www.optimade.org/providers-dashboard",
        checked="optimade-python-tools' server with its own test data",
    )

    kind: Literal["optimade"] = "optimade"
    licence: str = Field("", description="of the crystals, if the provider does not state it")
    citation: str = Field("", description="of the database")

    def provenance(self, around: Surroundings) -> tuple[Provenance, ...]:
        """Who provides the crystals, and on what terms, as the server says."""
        info = around.web.json(f"{self.root}/info")
        meta = _mapping(info.get("meta")) if isinstance(info, Mapping) else {}
        provider = _mapping(meta.get("provider")).get("name")
        data = _mapping(info.get("data")) if isinstance(info, Mapping) else {}
        about = _mapping(data.get("attributes"))
        named = about.get("available_licenses_for_entries") or about.get("available_licenses")
        stated = " or ".join(map(str, named)) if isinstance(named, list) else ""
        link = about.get("license")
        stated = stated or str((link.get("href") if isinstance(link, Mapping) else link) or "")
        source = f"{provider}, by OPTIMADE ({self.root})" if provider else self.root
        return (
            Provenance(
                source=source,
                licence=self.licence or stated or "not stated by the provider",
                citation="; ".join(t for t in (self.citation, self.card.citation) if t),
            ),
        )


_REPORT = "the server is at fault: narrow the filter, or report it to the provider"


def _data_of(answer: Any, url: str) -> list[Any]:
    rows = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(rows, list):
        raise DataError(f"{url}: the answer is not OPTIMADE's (no list of data); check base_url")
    return rows


def _next_of(answer: Mapping[str, Any], url: str) -> str | None:
    """Address of the next page: a text, an object with href, or nothing."""
    link = _mapping(answer.get("links")).get("next")
    link = link.get("href") if isinstance(link, Mapping) else link
    if not isinstance(link, str) or not link:
        return None
    following = urllib.parse.urljoin(url, link)
    # Servers behind a proxy often do not know that they are asked by https.
    if url.startswith("https://") and following.startswith("http://"):
        following = "https://" + following.removeprefix("http://")
    return following


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
