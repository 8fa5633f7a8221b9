"""What reading gives back: the crystals, and one named problem for everything left out."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.structures.crystal import Crystal

# Every kind of problem, in the words of the summary.
KINDS = {
    "broken": "cannot be read",
    "empty": "no atoms",
    "cell": "missing or impossible cell",
    "coordinates": "missing or impossible coordinates",
    "element": "unknown element",
    "disorder": "partial occupancy or mixed sites",
    "symmetry": "unclear or contradictory symmetry",
    "formula": "sites that do not give the declared formula",
    "overlap": "overlapping atoms",
    "pbc": "not periodic in all three directions",
    "duplicate": "an id that is taken",
    "size": "too large",
    "label": "label left out (the crystal stays)",
}


def in_utf8(text: str) -> str:
    """Text with a question mark for what cannot be written as UTF-8 (lone surrogates)."""
    return text.encode("utf-8", "replace").decode()


def one_line(text: object, limit: int = 300) -> str:
    """Text from a file or a library as one line without control characters."""
    words = "".join(c if c.isprintable() else " " for c in str(text)).split()
    line = " ".join(words)
    return line if len(line) <= limit else line[: limit - 1] + "…"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that was left out, and why.

    Parameters
    ----------
    file
        The file (for a member of an archive: the archive, a slash, the member).
    id
        The crystal's id; empty where the whole file is meant.
    reason
        One sentence: what is wrong and, where it helps, what to do.
    kind
        One of the keys of `KINDS`. A crystal with a problem of kind ``label`` is kept.
    """

    file: str
    id: str
    reason: str
    kind: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", one_line(self.reason))

    def __str__(self) -> str:
        where = f"{self.file} ({self.id})" if self.id else self.file
        return one_line(f"{where}: {self.reason}", limit=1000)


@dataclass(frozen=True)
class ReadResult:
    """Crystals read, and what could not be.

    Attributes
    ----------
    crystals
        In the order of the files (folders sorted by name, archives in their own order).
    problems
        One for each crystal, file or label left out.
    units
        The unit of every label by name; the empty string where the file does not say.
    notes
        Sentences on what was passed over without being a problem: files of other types, columns
        of text.
    """

    crystals: list[Crystal]
    problems: list[Problem]
    units: dict[str, str]
    notes: list[str] = field(default_factory=list)

    @property
    def n_skipped(self) -> int:
        """Crystals or files left out (label problems do not count: their crystals stay)."""
        return sum(problem.kind != "label" for problem in self.problems)

    def counts(self) -> dict[str, int]:
        """Count problems by kind, the most frequent first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())

    def summary(self) -> list[str]:
        """Sentences for a person: how many were read, how many not and why, then the notes."""
        crystals = "1 crystal" if len(self.crystals) == 1 else f"{len(self.crystals):,} crystals"
        lines = [f"{crystals} read, {self.n_skipped:,} left out"]
        lines += [f"{count:,} × {KINDS[kind]}" for kind, count in self.counts().items()]
        return lines + self.notes


class Refused(Exception):
    """A crystal or file that is left out; becomes a `Problem` and never reaches the user."""

    def __init__(self, kind: str, reason: str, id: str = "", index: str = "") -> None:
        super().__init__(reason)
        self.kind, self.reason, self.id, self.index = kind, reason, id, index


class NotCrystals(Exception):
    """The file is sound but holds something else; passed over unless it was asked for by name."""


@dataclass(slots=True)
class Record:
    """One crystal as a file gives it, before any check.

    ``id`` is empty where the record has none of its own. Positions are ``frac`` or, in Å,
    ``positions``. Labels may still be text. ``apart`` says that the reader has already found no
    atoms too close to each other; ``drawn`` that this is an ordering of a disordered crystal.
    """

    numbers: npt.ArrayLike
    cell: npt.ArrayLike
    frac: npt.ArrayLike | None = None
    positions: npt.ArrayLike | None = None
    id: str = ""
    labels: dict[str, Any] = field(default_factory=dict)
    pbc: tuple[bool, bool, bool] = (True, True, True)
    index: str = ""
    apart: bool = False
    drawn: bool = False


@dataclass(slots=True)
class Found:
    """What a format's reader gives: its records (or refusals) and the units it states."""

    records: "list[Record | Refused] | Any"
    units: dict[str, str] = field(default_factory=dict)


def as_float_array(values: npt.ArrayLike, kind: str) -> npt.NDArray[np.float64]:
    """Convert to float64, refusing what is no array of numbers as a problem of this kind."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        what = "cell has an entry" if kind == "cell" else "coordinates have an entry"
        raise Refused(kind, f"the {what} that is not a number") from None
