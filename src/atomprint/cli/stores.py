"""Commands about stores: make them, check them, count what is in them, join and thin them."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from atomprint.cli.data import app
from atomprint.cli.errors import Interrupted
from atomprint.cli.options import Crystals, Json, Labels, Ordering, Seed, Strict
from atomprint.cli.output import (
    listed,
    note,
    note_problems,
    number,
    print_json,
    print_places,
    print_table,
    stdout_for_the_answer,
)
from atomprint.cli.progress import Bars
from atomprint.ground.errors import UsageError

__all__ = ["app"]

Out = Annotated[
    Path,
    typer.Option("--out", metavar="STORE", help="Store to make (a folder).", show_default=False),
]
StorePath = Annotated[
    str, typer.Argument(metavar="STORE", help="The store: folder or address.", show_default=False)
]
Source = Annotated[str, typer.Option(metavar="TEXT", help="Where the crystals are from.")]
Licence = Annotated[str, typer.Option(metavar="TEXT", help="Their licence.")]
Citation = Annotated[str, typer.Option(metavar="TEXT", help="What to cite for them.")]


@app.command()
def convert(
    path: Crystals,
    out: Out,
    labels: Labels = None,
    ordering: Ordering = None,
    exact: Annotated[bool, typer.Option("--exact", help="Keep geometry in float64.")] = False,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes that read many files.")
    ] = 1,
    source: Source = "",
    licence: Licence = "",
    citation: Citation = "",
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Write crystals and labels as a store.

    A store holds any number of crystals and is what large corpora are trained on. Interrupted, the
    same command goes on where it stood. What cannot be read is left out, and listed with its reason
    in the store's quarantine.jsonl. For a file instead of a store: atomprint data export.
    """
    with Bars() as bars, stdout_for_the_answer():
        from atomprint.data.export import FORMS
        from atomprint.data.store import Provenance
        from atomprint.data.store.convert import QUARANTINE
        from atomprint.data.store.convert import convert as to_store

        if any(ending and out.name.lower().endswith(ending) for ending in FORMS):
            raise UsageError(
                f"{out}: a store is a folder; for a file: atomprint data export {path} --out {out}"
            )
        if (licence or citation) and not source:
            raise UsageError("--licence and --citation belong to a --source; give that too")

        def count(done: int, total: int, numbers: dict[str, float]) -> None:
            bars("convert", done, total, numbers)

        parts = [Provenance(source=source, licence=licence, citation=citation)] if source else []
        try:
            found = to_store(
                path, out, labels=labels, ordering=ordering, exact=exact, workers=workers,
                strict=strict, provenance=parts, progress=count,
            )  # fmt: skip
        except KeyboardInterrupt:
            raise Interrupted("interrupted; the same command goes on from there") from None
    note_problems(found.problems)
    for text in found.notes:
        note(text)
    n_left_out = sum(problem.kind != "label" for problem in found.problems)
    if json:
        print_json(
            {
                "out": out,
                "written": len(found.store),
                "resumed": found.resumed,
                "skipped": n_left_out,
                "labels": found.store.units,
                "hash": found.store.hash(),
                "problems": listed(found.problems),
            }
        )
        return
    places = {"written": out, "holds": f"{len(found.store):,} crystals"}
    if found.problems:
        places["left out"] = f"{n_left_out:,}, listed in {out / QUARANTINE}"
    print_places(places)


@app.command()
def export(
    path: Crystals,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="F.ENDING|DIR",
            help="File, or folder for CIFs or POSCARs.",
            show_default=False,
        ),
    ],
    form: Annotated[
        str | None,
        typer.Option(
            metavar="lemat|poscar",
            help="lemat: Parquet with LeMat-Bulk's columns (OPTIMADE's). poscar: a folder of "
            "POSCARs instead of CIFs.",
        ),
    ] = None,
    labels: Labels = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Parquet: keep geometry in float64.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Write crystals, of a store or any files, in a form that other programs read.

    The ending of --out says which: extended XYZ (.extxyz, .xyz, also with .gz), ASE database (.db),
    the same in LMDB, which fairchem trains on (.aselmdb, .lmdb), Parquet (.parquet, the smallest),
    atompack (.atp), a list of pymatgen's structures (.json, .json.gz); a name without an ending is
    a folder of CIFs. Read again, they are the same crystals, with the same ids and labels.
    """
    with Bars() as bars, stdout_for_the_answer():
        from atomprint.data.export import export as write

        found = write(
            path, out, form=form, labels=labels, exact=exact or None, strict=strict,
            overwrite=overwrite,
            progress=lambda stage, done, total: bars.stage(stage)(done, total),
        )  # fmt: skip
    note_problems(found.problems)
    for text in found.notes:
        note(text)
    n_left_out = sum(problem.kind != "label" for problem in found.problems)
    if json:
        print_json(
            {
                "out": out,
                "form": found.form,
                "written": found.n_written,
                "skipped": n_left_out,
                "labels": found.units,
                "problems": listed(found.problems),
            }
        )
        return
    print_places({"written": out, "holds": f"{found.n_written:,} crystals"})


@app.command()
def validate(
    store: StorePath,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended, set aside what cannot.")
    ] = False,
    json: Json = False,
) -> None:
    """Compare every byte of a store with what was written.

    Says which shard is damaged, how, and which crystals are concerned; exits with 1 if anything is
    wrong that was not repaired.
    """
    with Bars() as bars, stdout_for_the_answer():
        from atomprint.data.store.validate import validate_store

        found = validate_store(store, repair=repair, progress=bars.stage("check"))
    if json:
        print_json(asdict(found))
    else:
        for damage in found.damages:
            named = f" ({len(damage.ids):,} crystals)" if damage.ids else ""
            done = f"; {damage.repaired}" if damage.repaired else ""
            note(f"{damage.file.name}: {damage.reason}{named}{done}")
        sound = "sound" if not found.damages else f"{len(found.damages):,} things wrong"
        print_places(
            {
                "store": sound,
                "holds": f"{found.n_crystals:,} crystals in {found.n_shards:,} shards, "
                f"{found.n_bytes / 2**20:,.1f} MiB",
            }
        )
    if any(not damage.repaired for damage in found.damages):
        raise typer.Exit(1)


@app.command()
def stats(store: StorePath, json: Json = False) -> None:
    """Count what is in a store: elements, sizes, densities, labels, bytes."""
    with Bars() as bars, stdout_for_the_answer():
        from atomprint.data.store import Store
        from atomprint.data.store.stats import store_stats

        opened = Store(store)
        found = store_stats(opened, bars.stage("count"))
    if json:
        provenance = [part.model_dump() for part in opened.provenance]
        print_json({**asdict(found), "provenance": provenance, "hash": opened.hash()})
        return
    elements = [f"{symbol} {count:,}" for symbol, count in found.elements.items()]
    sizes = found.sizes
    places: dict[str, Any] = {
        "crystals": f"{found.n_crystals:,} in {found.n_shards:,} shards",
        "on disk": f"{found.n_bytes / 2**20:,.1f} MiB, {found.bytes_per_crystal:,.0f} bytes each",
        "atoms": f"{sizes['min']:.0f} to {sizes['max']:.0f} a cell, median {sizes['median']:g}, "
        f"{found.n_atoms:,} in all",
        "density": " ".join(f"{name} {value:.2f}" for name, value in found.density.items())
        + " g/cm³",
        "elements": f"{len(elements)}: {', '.join(elements)}",
    }
    for number_of_part, part in enumerate(opened.provenance, start=1):
        name = "from" if len(opened.provenance) == 1 else f"from {number_of_part}"
        places[name] = ", ".join(t for t in (part.source, part.licence, part.citation) if t)
    print_places(places)
    if found.labels:
        print_table(
            ["label", "crystals", "min", "mean", "max", "unit"],
            [
                [
                    name,
                    f"{label['count']:,}",
                    *[number(float(label[key])) for key in ("min", "mean", "max")],
                    str(label["unit"]) or "-",
                ]
                for name, label in found.labels.items()
            ],
        )


@app.command()
def merge(
    stores: Annotated[
        list[str], typer.Argument(metavar="STORE...", help="The stores.", show_default=False)
    ],
    out: Out,
    rename: Annotated[
        bool, typer.Option("--rename", help="Call crystals STORE/ID, by the stores' names.")
    ] = False,
    json: Json = False,
) -> None:
    """Join stores, one after the other.

    Of a crystal that several have under one id the first is kept, and the others are listed in
    quarantine.jsonl; where one id stands for different crystals, --rename keeps them all.
    Interrupted, the same command goes on.
    """
    with Bars() as bars, stdout_for_the_answer():
        from atomprint.data.store import Store
        from atomprint.data.store.convert import QUARANTINE
        from atomprint.data.store.copying import merge_stores

        opened = [Store(path) for path in stores]
        found = merge_stores(opened, out, rename=rename, progress=bars.stage("merge"))
    n_doubled = len(found.problems)
    if json:
        counts = {"written": found.n_written, "doubled": n_doubled, "resumed": found.resumed}
        print_json({"out": out, **counts})
        return
    places = {"written": out, "holds": f"{found.n_written:,} crystals"}
    if n_doubled:
        places["left out"] = f"{n_doubled:,} that are there, listed in {out / QUARANTINE}"
    print_places(places)


@app.command()
def sample(
    store: StorePath,
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, help="Crystals to take.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="STORE", help="Store to make.", show_default=False)
    ],
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Draw crystals of a store at random, in their order, into another.

    Interrupted, the same command goes on.
    """
    with Bars() as bars, stdout_for_the_answer():
        from atomprint.data.store import Store
        from atomprint.data.store.copying import sample_store

        found = sample_store(Store(store), n, out, seed, bars.stage("sample"))
    if json:
        print_json({"out": out, "written": found.n_written, "seed": seed})
    else:
        print_places({"written": out, "holds": f"{found.n_written:,} crystals"})


@app.command()
def dedupe(
    store: StorePath,
    out: Annotated[
        Path, typer.Option("--out", metavar="STORE", help="Store to make.", show_default=False)
    ],
    same: Annotated[
        float, typer.Option(min=0, help="Largest difference of fingerprints; 0: none but rounding.")
    ] = 0.05,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Ask pymatgen's StructureMatcher too; slow.")
    ] = False,
    json: Json = False,
) -> None:
    """Leave out crystals that an earlier one already is, whatever cell they are written in.

    Alike are crystals of one formula and nearly one volume per atom whose fingerprints differ by
    less than --same. Which ones were left out, and for which, stands in the new store's
    duplicates.jsonl.
    """
    with Bars() as bars, stdout_for_the_answer():
        from json import dumps

        import numpy as np

        from atomprint.data.store import Store
        from atomprint.data.store.copying import select_store
        from atomprint.evaluation.duplicates import find_duplicates

        opened = Store(store)
        found = find_duplicates(opened, same, confirm=confirm, progress=bars.stage("compare"))
        keep = np.ones(len(opened), np.bool_)
        keep[[duplicate.index for duplicate in found]] = False
        lines = [
            dumps({"id": d.id, "kept": d.kept_id, "distance": round(d.distance, 5)}) for d in found
        ]
        beside = {"duplicates.jsonl": "".join(f"{line}\n" for line in lines)}
        copied = select_store(opened, np.flatnonzero(keep), out, bars.stage("write"), beside)
    if json:
        print_json({"out": out, "written": copied.n_written, "duplicates": len(found)})
        return
    print_places(
        {
            "written": out,
            "holds": f"{copied.n_written:,} crystals",
            "left out": f"{len(found):,} duplicates, listed in {out / 'duplicates.jsonl'}",
        }
    )
