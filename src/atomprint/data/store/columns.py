"""Deciding what is a label while reading: the rules of `read_crystals`, for streams.

There a column is a label if at least half of its values are numbers (or dates), which is known at
the end only. So numbers and dates are kept as they come, what there was is counted in the shards'
headers, and the end of the conversion decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from atomprint.structures.crystal import LabelValue
from atomprint.structures.reading.labels import number_or_text, rows_of, years_of
from atomprint.structures.reading.result import Problem

YEARS = "@years"
"""Ending of the column in which dates are kept until it is known that they are a label."""
_MOST_TEXTS = 20


@dataclass
class Column:
    """What was found under one name.

    Attributes
    ----------
    numbers, dates, texts
        How many values of each kind; an array an atom counts as a number.
    others
        Values of shapes that no label has.
    rows
        Shape of a row of an array label; None of single numbers; ``unknown`` before the first.
    examples
        The first texts, with file and id.
    """

    numbers: int = 0
    dates: int = 0
    texts: int = 0
    others: int = 0
    rows: list[int] | str | None = "unknown"
    examples: list[tuple[str, str, str]] = field(default_factory=list)


class Columns:
    """Counts of every column, of one shard or of all."""

    def __init__(self) -> None:
        self.found: dict[str, Column] = {}

    def settle(
        self, raw: Mapping[str, Any], n_atoms: int, file: str, id: str
    ) -> dict[str, LabelValue]:
        """Numbers among the values of one crystal; everything is counted.

        Parameters
        ----------
        raw
            As the file and the tables give them.
        n_atoms
            Of the crystal.
        file, id
            For messages.
        """
        kept: dict[str, LabelValue] = {}
        for name, value in raw.items():
            column = self.found.setdefault(name, Column())
            array = rows_of(name, value, n_atoms)
            if array is not None:
                if not np.isfinite(array).all():
                    self._text(column, file, id, "nan or inf")
                elif self._fits(column, list(array.shape[1:])):
                    kept[name] = array
                    column.numbers += 1
                else:
                    self._text(column, file, id, f"of another shape, {array.shape}")
                continue
            if isinstance(value, np.ndarray | list | dict | tuple):
                column.others += 1
                continue
            number = number_or_text(value)
            if isinstance(number, str):
                years = years_of(number)
                if years is None:
                    self._text(column, file, id, number)
                else:
                    kept[name + YEARS] = years
                    column.dates += 1
            elif number is not None:
                if self._fits(column, None):
                    kept[name] = number
                    column.numbers += 1
                else:
                    self._text(column, file, id, "one number")
        return kept

    def _fits(self, column: Column, rows: list[int] | None) -> bool:
        """Whether a value has the shape of the first one of its column."""
        if column.rows == "unknown":
            column.rows = rows
        return column.rows == rows

    def _text(self, column: Column, file: str, id: str, text: str) -> None:
        column.texts += 1
        if len(column.examples) < _MOST_TEXTS:
            column.examples.append((file, id, text[:60]))

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {name: asdict(column) for name, column in self.found.items()}

    def follow(self) -> "Columns":
        """Empty counts that know the shapes found so far."""
        fresh = Columns()
        fresh.found = {name: Column(rows=column.rows) for name, column in self.found.items()}
        return fresh

    def add(self, plain: Mapping[str, Any]) -> None:
        """Add the counts of another part."""
        for name, values in plain.items():
            column = self.found.setdefault(name, Column())
            for key in ("numbers", "dates", "texts", "others"):
                setattr(column, key, getattr(column, key) + int(values[key]))
            if column.rows == "unknown":
                column.rows = values["rows"]
            room = _MOST_TEXTS - len(column.examples)
            column.examples += [(str(f), str(i), str(t)) for f, i, t in values["examples"][:room]]

    def decide(self) -> "Decision":
        """Say which columns are labels."""
        dates, texts = [], []
        problems: list[Problem] = []
        for name, column in sorted(self.found.items()):
            n_texts = column.texts + (column.dates if column.numbers else 0)
            n_good = column.numbers
            if not column.numbers and column.dates and 2 * column.dates >= column.dates + n_texts:
                dates.append(name)
                n_good = column.dates
            if n_good < n_texts or not n_good:
                if n_texts:
                    texts.append(name)
                continue
            problems += [
                Problem(
                    file,
                    id,
                    f"label {name!r} is {text!r}, not a number as others; left out",
                    "label",
                )
                for file, id, text in column.examples
            ]
            if column.texts > len(column.examples):
                more = column.texts - len(column.examples)
                reason = f"label {name!r}: {more:,} more values that are no number; left out"
                problems.append(Problem("", "", reason, "label"))
        shapes = [n for n, c in sorted(self.found.items()) if c.others and not c.numbers]
        notes = [
            f"{words}: {', '.join(repr(name) for name in names)}"
            for words, names in (
                ("dates, read as years", dates),
                ("text, not labels", texts),
                (
                    "no number a crystal, row an atom or stress, so not labels",
                    shapes,
                ),
            )
            if names
        ]
        return Decision(tuple(texts), tuple(dates), problems, notes)


@dataclass(frozen=True)
class Decision:
    """Which columns are labels, and what to say about the others.

    Attributes
    ----------
    not_labels
        Names of columns that are text.
    dates
        Names of labels that are dates, in years.
    problems
        One for each value left out, the first of every column.
    notes
        For people.
    """

    not_labels: tuple[str, ...]
    dates: tuple[str, ...]
    problems: list[Problem]
    notes: list[str]


def merged(parts: Iterable[Mapping[str, Any]]) -> Columns:
    """Counts of several parts together."""
    columns = Columns()
    for part in parts:
        columns.add(part)
    return columns
