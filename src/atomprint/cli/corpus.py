"""Commands that get corpora."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from atomprint.cli.errors import Interrupted
from atomprint.cli.options import Json, Seed, check_file, parse_settings
from atomprint.cli.output import (
    listed,
    note,
    note_problems,
    print_json,
    print_places,
    print_table,
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
OnRay = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Generate on a Ray cluster: auto, local, ray://host:10001.",
        show_default=False,
    ),
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
    ray: OnRay = None,
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
                source, out, n, workers=workers, ray=ray, progress=bars, tell=note
            )  # fmt: skip
        except KeyboardInterrupt:
            raise Interrupted(GOES_ON) from None
    note_problems(found.problems)
    store = found.store
    if n is not None and len(store) > n:
        note(f"{out}: holds {len(store):,} crystals, more than the {n:,} asked for; all were left")
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


@app.command("list")
def list_(json: Json = False) -> None:
    """List where crystals can be had: how many, of what kinds, on what terms, and their worth.

    The worth is how much lower errors were after pre-training on them than from scratch.
    """
    with stdout_for_the_answer():
        from atomprint import api

        found = api.corpora()
    if json:
        print_json(
            {
                "corpora": [
                    {
                        "kind": one.kind,
                        **asdict(one.card),
                        "measured": one.measured.model_dump() if one.measured else None,
                    }
                    for one in found
                ]
            }
        )
        return
    for one in found:
        worth = "not measured"
        if (known := one.measured) is not None:
            worth = (
                f"{known.gain:.0%} lower errors than from scratch ({known.n_corpus:,} crystals; "
                f"{known.n_labels} labels, mean of {len(known.sets)} properties)"
            )
        print(one.kind)
        places = {
            "  holds": one.card.domain,
            "  size": one.card.size,
            "  licence": one.card.licence,
            "  worth": worth,
            "  needs": one.card.needs or "a network",
        }
        print_places(places)
    note("get one with: atomprint corpus fetch KIND --n N --out STORE")


@app.command()
def build(
    mix: Annotated[Path, typer.Argument(metavar="MIX.yaml", help="The parts.", show_default=False)],
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, help="Crystals in all.")],
    out: StoreOut,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Parts at once, and generating processes.")
    ] = 1,
    ray: OnRay = None,
    json: Json = False,
) -> None:
    """Build a corpus of several parts in one store, with the licence and citation of each.

    A part is a store, a file, a source or the generator, with a weight. Interrupted, the same
    command goes on where it stood, to the same store.
    """
    with Bars() as bars, stdout_for_the_answer():
        from atomprint import api

        try:
            built = api.build_corpus(
                mix, n, out, workers=workers, ray=ray, progress=bars, tell=note
            )  # fmt: skip
        except KeyboardInterrupt:
            raise Interrupted(GOES_ON) from None
    store = built.store
    for part in built.parts:
        if part.taken < part.asked:
            note(f"{part.name}: has {part.taken:,} crystals, its share would be {part.asked:,}")
    if json:
        print_json(
            {
                "out": out,
                "crystals": len(store),
                "resumed": built.resumed,
                "parts": [
                    {
                        "name": part.name,
                        "asked": part.asked,
                        "taken": part.taken,
                        "provenance": [one.model_dump() for one in part.provenance],
                    }
                    for part in built.parts
                ],
                "hash": store.hash(),
            }
        )
        return
    print_places({"written": out, "holds": f"{len(store):,} crystals"})
    rows = [
        [
            part.name,
            f"{part.taken:,}",
            "; ".join(dict.fromkeys(one.licence or "not stated" for one in part.provenance))
            or "not stated",
        ]
        for part in built.parts
    ]
    print_table(["part", "crystals", "licence"], rows, words=(0, 2))


@app.command()
def suggest(
    for_: Annotated[
        str, typer.Option("--for", metavar="PATH", help="Your own crystals.", show_default=False)
    ],
    candidates: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CORPUS...]",
            help="Stores, files, the word embedded, or kinds that are made here: generated, "
            "derived, slabs, layers, frameworks, molecules. Default: embedded and all these kinds.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="MIX.yaml", help="The mix, for corpus build.")
    ] = None,
    seed: Seed = 0,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes that make crystals.")
    ] = 1,
    json: Json = False,
) -> None:
    """Say which corpora lie near your crystals, and propose a mix of them.

    Near in fingerprints, compositions and densities. Near is not the same as useful: train a twin.
    Of a kind that is made here some hundred crystals are made, which takes about a minute for each;
    one whose packages are missing is passed over unless it is named.
    """
    if out is not None:
        check_file(out, ".yaml", ".yml")
    with Bars() as bars, stdout_for_the_answer():
        from atomprint import api

        found = api.suggest_corpus(
            for_, candidates or (), out, seed=seed, workers=workers, progress=bars, tell=note
        )
    if json:
        print_json({**asdict(found), "sentence": found.sentence, "out": out})
        return
    print(found.sentence)
    print_table(
        ["corpus", "crystals", "covers", "nearest to", "distance", "weight"],
        [
            [
                one.name,
                f"{one.n_crystals:,}",
                f"{one.covered:.0%}",
                f"{one.nearest:.0%}",
                f"{one.distance:.2f}",
                f"{one.weight:.2f}" if one.weight else "-",
            ]
            for one in found.candidates
        ],
    )
    if out is not None:
        print_places(
            {"written": out, "build it": f"atomprint corpus build {out} --n N --out STORE"}
        )
