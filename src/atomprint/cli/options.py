"""Options that several commands share, and how ``key=value`` settings are read."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from atomprint.ground.documents import yaml_of
from atomprint.ground.errors import UsageError

PATH_HELP = "File, folder, quoted pattern, archive (.tar.gz, .zip) or store, or its address."

Crystals = Annotated[str, typer.Argument(metavar="PATH", help=PATH_HELP, show_default=False)]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of every random choice.")]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:1.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first bad crystal or label; else skip it.")
]
Labels = Annotated[
    Path | None,
    typer.Option(metavar="CSV", help="Table of ids and labels, joined to the crystals by id."),
]

Ordering = Annotated[
    int | None,
    typer.Option(
        metavar="SEED",
        min=0,
        help="Of disordered crystals (partial occupancy, mixed sites) draw an ordered one each, "
        "with this seed. Default: they are left out.",
        show_default=False,
    ),
]


class Per(StrEnum):
    """What a row of a table is."""

    atom = "atom"
    crystal = "crystal"


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` pairs; dots lead into groups, values are YAML.

    Raises
    ------
    UsageError
        If a word is no such pair.
    """
    values: dict[str, Any] = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not (sign and key):
            raise UsageError(f"{word!r} is no setting; give key=value, for instance cutoff=5.0")
        *parents, last = key.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UsageError(f"{word!r}: {parent!r} is a value, not a group of settings")
        try:
            place[last] = yaml_of(text)
        except ValueError:
            raise UsageError(f"{word!r}: the value is not YAML") from None
    return values


def check_folder(out: Path) -> None:
    """Refuse a folder that is taken before any work is done for it."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        kind = "a file is there" if out.is_file() else "the folder is not empty"
        raise UsageError(f"{out}: {kind}; give another --out or remove it")


def check_file(out: Path, *endings: str) -> None:
    """Refuse a name that cannot be written before any work is done for it."""
    if out.suffix not in endings:
        raise UsageError(f"{out}: give --out a name that ends in {' or '.join(endings)}")
    if out.is_dir():
        raise UsageError(f"{out}: this is a folder; give --out the name of a file")
