"""What every source of crystals is: settings, a card that says what it is, and pages of crystals.

Adding a source is a new file with a settings class, and one line in the union of
:mod:`atomprint.data.sources`.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from atomprint.data.sources.web import Web
from atomprint.data.store import Provenance
from atomprint.ground.settings import Settings
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.checks import build_crystal
from atomprint.structures.reading.read import until_broken
from atomprint.structures.reading.result import Problem, Record, Refused, in_utf8

BEGINNING = ""
"""The place where nothing was read yet."""


@dataclass(frozen=True)
class Card:
    """What a source is, for people who choose.

    Attributes
    ----------
    title
        Its name.
    domain
        What kinds of crystals it has.
    size
        How many, in words: sources grow.
    licence
        What one may do with them.
    citation
        What to cite.
    url
        Where it is described.
    needs
        What has to be there; empty for a network alone.
    checked
        Against what the reading of its answers was checked.
    """

    title: str
    domain: str
    size: str
    licence: str
    citation: str
    url: str = ""
    needs: str = ""
    checked: str = "replayed answers of the documented format"


@dataclass(frozen=True)
class Page:
    """Some crystals of a source: an answer of a server, or a file.

    Attributes
    ----------
    items
        Crystals without labels, and what was left out; made when asked for.
    after
        The place of the next page; None where this is known to be the last.
    total
        Crystals in all, if the source says.
    done
        Called when all crystals of the page are safe; None if nothing hangs on it. A page with it
        is large, and what is read of it is made safe at its end.
    rejected
        Of crystals that are made: candidates thrown away for this page, by reason.
    """

    items: Iterable[Crystal | Problem]
    after: str | None
    total: int | None = None
    done: Callable[[], None] | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Surroundings:
    """What reading a source takes beside its settings.

    Attributes
    ----------
    web
        The way to servers.
    folder
        Where downloaded files lie while they are read.
    progress
        Called with the name of a file, bytes of it done and in all, while it is downloaded.
    workers
        Processes, for what is computed.
    ray
        Address of a Ray cluster that computes instead; empty for none.
    """

    web: Web = field(default_factory=Web)
    folder: Path = Path(".downloads")
    progress: Callable[[str, int, int], None] = lambda name, done, total: None
    workers: int = 1
    ray: str = ""


class SourceBase(Settings):
    """Settings of a source; members of the union have a ``kind``."""

    card: ClassVar[Card]

    per_second: ClassVar[float | None] = None
    """Requests a second that its server is asked at most."""

    shard_crystals: ClassVar[int] = 5_000
    """Crystals that a kill loses at most, and that are asked for again."""

    endless: ClassVar[bool] = False
    """Whether it has no last crystal, so that a number must be asked for."""

    @property
    def described(self) -> str:
        """What is fetched, for the store's provenance."""
        return self.card.title

    @abstractmethod
    def pages(self, around: Surroundings, start: str = BEGINNING) -> Iterator[Page]:
        """Yield pages from a place on: the beginning, or the `after` of an earlier page.

        Raises
        ------
        UsageError
            If something is missing: a key, a package, a file.
        DataError
            If the source cannot be reached or gives something else than it should.
        """

    def provenance(self, around: Surroundings) -> tuple[Provenance, ...]:
        """Where crystals of this source are from, for the store that they go to."""
        card = self.card
        return (Provenance(source=self.described, licence=card.licence, citation=card.citation),)

    def identity(self) -> str:
        """What must be the same for an interrupted fetch to go on."""
        return self.model_dump_json()


def made(records: Iterable[Record | Refused], where: str) -> Iterator[Crystal | Problem]:
    """Make the crystals of records; what is refused becomes a problem.

    Parameters
    ----------
    records
        With ids.
    where
        Address or file that they are from, for messages.
    """
    for record in until_broken(records):
        id = in_utf8(record.id) or "without an id"
        try:
            if isinstance(record, Refused):
                raise record
            if not record.id:
                raise Refused("broken", "has no id")
            yield build_crystal(replace(record, id=id, labels={}), where)
        except Refused as refusal:
            yield Problem(where, id, refusal.reason, refusal.kind)
