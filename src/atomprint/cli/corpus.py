"""Commands that get corpora."""

from pathlib import Path
from typing import Annotated

import typer

from atomprint.cli.errors import Interrupted
from atomprint.cli.options import Json, parse_settings
from atomprint.cli.output import (
    listed,
    note,
    note_problems,
    print_json,
    print_places,
    stdout_for_the_answer,
)
from atomprint.cli.progress import Bars
from atomprint.ground.errors import UsageError

app = typer.Typer(
    help="Get crystals to pre-train on: fetch, generate, mix them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

StoreOut = Annotated[
    Path, typer.Option("--out", metavar="STORE", help="Store to make.", show_default=False)
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of the source; may be repeated.",
        show_default=False,
    ),
]
Workers = Annotated[
    int, typer.Option(metavar="N", min=1, help="Processes, where crystals are computed.")
]
GOES_ON = "interrupted; give the same command again to go on from there"


@app.command()
def fetch(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="The source: optimade, cod, lemat, ...", show_default=False
        ),
    ],
    out: StoreOut,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[key=value ...]",
            help="Settings that differ from the defaults, like --set.",
            show_default=False,
        ),
    ] = None,
    set_: Set = None,
    n: Annotated[
        int | None, typer.Option("--n", metavar="N", min=1, help="Crystals to stop at.")
    ] = None,
    workers: Workers = 1,
    json: Json = False,
) -> None:
    """Bring crystals of a source into a store, with its licence and citation.

    Interrupted, the same command goes on where it stood; with a larger --n it adds to what is
    there. What cannot be used is left out, and listed with its reason in the store's
    quarantine.jsonl.
    """
    chosen = parse_settings([*(settings or []), *(set_ or [])])
    if "kind" in chosen:
        raise UsageError("the kind is given first: atomprint corpus fetch KIND")
    with Bars() as bars, stdout_for_the_answer():
        from atomprint import api

        source = api.source_settings(kind, chosen)
        try:
            found = api.fetch_corpus(
                source, out, n, workers=workers, progress=bars, tell=note
            )  # fmt: skip
        except KeyboardInterrupt:
            raise Interrupted(GOES_ON) from None
    note_problems(found.problems)
    store = found.store
    if json:
        print_json(
            {
                "out": out,
                "crystals": len(store),
                "resumed": found.resumed,
                "left_out": len(found.problems),
                "exhausted": found.exhausted,
                "provenance": [part.model_dump() for part in store.provenance],
                "hash": store.hash(),
                "problems": listed(found.problems),
            }
        )
        return
    places = {"written": str(out), "holds": f"{len(store):,} crystals"}
    if found.problems:
        places["left out"] = f"{len(found.problems):,}, listed in {out / 'quarantine.jsonl'}"
    if found.exhausted and n is not None and len(store) < n:
        places["note"] = "the source has no more"
    for part in store.provenance:
        places |= {"from": part.source, "licence": part.licence, "cite": part.citation}
    print_places(places)
