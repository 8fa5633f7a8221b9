"""What commands say: JSON for scripts, short tables for people, and what was left out."""

import json
import math
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TextIO

from atomprint.ground.errors import AtomprintWarning

if TYPE_CHECKING:
    from atomprint.structures.reading import Problem

N_NAMED = 5


@contextmanager
def stdout_for_the_answer() -> Iterator[None]:
    """Send what libraries print to standard error, so that standard output holds the answer."""
    with redirect_stdout(sys.stderr):
        yield


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object as strict JSON: a number that does not exist is null."""
    print(json.dumps(plain(value), allow_nan=False))


def plain(value: Any) -> Any:
    """Reduce to what JSON knows: paths to text, arrays to lists, NaN and infinities to None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], words: Sequence[int] = (0,)
) -> None:
    """Print a small table on standard output.

    Parameters
    ----------
    header, rows
        What it says.
    words
        Columns that hold words: they may fold, the longest first, where a line is too short. Those
        of numbers never do.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for index, name in enumerate(header):
        folds = index in words
        table.add_column(
            name, justify="left" if folds else "right", overflow="fold", no_wrap=not folds
        )
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    Console(file=sys.stdout, highlight=False).print(table)


def print_places(places: Mapping[str, Any]) -> None:
    """Print where things lie, a line each, never wrapped: people copy them."""
    width = max(len(name) for name in places)
    for name, place in places.items():
        print(f"{name:<{width}}  {place}")


def note(text: str) -> None:
    """Say something on standard error."""
    print(text, file=sys.stderr)


@contextmanager
def notes_of_warnings() -> Iterator[None]:
    """Say atomprint's own warnings as notes; others look as Python has them."""
    with warnings.catch_warnings():
        plain = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], filename: str, lineno: int,
            file: TextIO | None = None, line: str | None = None,
        ) -> None:  # fmt: skip
            if issubclass(category, AtomprintWarning):
                note(f"warning: {message}")
            else:
                plain(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def note_problems(problems: Sequence["Problem"]) -> None:
    """Say on standard error what was left out: counts by kind, and the first few by name."""
    if not problems:
        return
    from atomprint.structures.reading import KINDS

    n_labels = sum(problem.kind == "label" for problem in problems)
    skipped, labels = f"{len(problems) - n_labels:,} left out", f"{n_labels:,} labels left out"
    parts = [text for text, n in ((skipped, len(problems) - n_labels), (labels, n_labels)) if n]
    note("; ".join(parts) + ":")
    for kind, count in Counter(problem.kind for problem in problems).most_common():
        note(f"  {count:,} × {KINDS.get(kind, kind)}")
    note("the first of them:" if len(problems) > N_NAMED else "by name:")
    for problem in problems[:N_NAMED]:
        note(f"  {' '.join(str(problem).split())}")


def listed(problems: Iterable["Problem"]) -> list[dict[str, str]]:
    """Problems as plain values."""
    return [{"file": p.file, "id": p.id, "reason": p.reason, "kind": p.kind} for p in problems]


def number(value: float | None, digits: int = 4) -> str:
    """Write a number for a table; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}g}"


def percent(value: float | None) -> str:
    """Write a gain for a table."""
    # Adding zero keeps a rounded -0.0 from showing its sign.
    return "-" if value is None else f"{round(100 * value, 1) + 0.0:+.1f} %"
