"""Commands about data: look at them, convert them, generate them, divide them."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from atomprint.cli.options import Crystals, Json, Labels, Ordering, Seed, Strict, check_file
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
from atomprint.ground.errors import DataError, UsageError

if TYPE_CHECKING:
    from atomprint.data.inspect import Inspection
    from atomprint.structures.reading import ReadResult

app = typer.Typer(
    help="Look at data, convert, generate and divide them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class By(StrEnum):
    """What stays together when data are divided."""

    id = "id"
    composition = "composition"
    prototype = "prototype"


ParquetOut = Annotated[
    Path, typer.Option("--out", metavar="F.parquet", help="File to write.", show_default=False)
]


@app.command()
def inspect(
    path: Crystals,
    labels: Labels = None,
    ordering: Ordering = None,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Say what is in some files, and what is wrong.

    Counts, elements, sizes, labels, and every problem by file and id.
    """
    with Bars() as bars, stdout_for_the_answer():
        from atomprint.data.inspect import inspect as look
        from atomprint.data.store import is_store
        from atomprint.structures.reading import Problem

        found = look(path, labels, strict, ordering=ordering, progress=bars.stage("read"))
    if json:
        print_json(found.to_dict())
        return
    note_problems([Problem(**problem) for problem in found.problems])
    for text in found.notes:
        note(text)
    n_disordered = found.kinds.get("disorder", 0)
    if n_disordered and ordering is None and not is_store(path):
        which = "it has" if n_disordered == 1 else f"{n_disordered:,} have"
        note(
            f"disordered: {which} been left out; --ordering SEED, here and of data convert, "
            "draws an ordered crystal for each"
        )
    _print_inspection(found)


def _print_inspection(found: "Inspection") -> None:
    atoms = found.atoms
    elements = [f"{symbol} {count:,}" for symbol, count in found.elements.items()]
    print_places(
        {
            "read": f"{found.read:,} crystals",
            "skipped": f"{found.skipped:,}",
            "atoms": f"{atoms['min']:.0f} to {atoms['max']:.0f} a cell, median "
            f"{atoms['median']:g}, {atoms['total']:,.0f} in all",
            "elements": f"{len(elements)}: {', '.join(elements)}",
        }
    )
    if found.labels:
        header = ["label", "crystals", "min", "mean", "max", "unit", "per"]
        print_table(
            header,
            [
                [
                    name,
                    f"{label['count']:,}",
                    *[number(label[key]) for key in ("min", "mean", "max")],
                    label["unit"] or "-",
                    label["per"],
                ]
                for name, label in found.labels.items()
            ],
        )


def _read(path: str, labels: Path | None, strict: bool, bars: Bars) -> "ReadResult":
    from atomprint.data.load import load_crystals

    result = load_crystals(path, labels=labels, strict=strict, progress=bars.stage("read"))
    if not result.crystals:
        raise DataError(f"{path}: no crystal could be read; the first: {result.problems[0]}")
    return result


@app.command()
def generate(
    out: ParquetOut,
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, help="Number of crystals.")] = 7000,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Make plausible crystals to pre-train on.

    They have no labels. Needs the extra atomprint[generate].
    """
    check_file(out, ".parquet")
    with Bars() as bars, stdout_for_the_answer():
        from atomprint.data.sources.generated import GeneratorSettings, write_corpus

        def count(done: int) -> None:
            bars("generate", done, n, {})

        bars("generate", 0, n, {})
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_corpus(out, GeneratorSettings(n_crystals=n, seed=seed), count)
        except ModuleNotFoundError as error:
            raise UsageError(str(error)) from None
    if json:
        print_json({"out": out, "written": n, "seed": seed})
    else:
        print_places({"written": out, "holds": f"{n:,} crystals"})


@app.command()
def split(
    path: Crystals,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the lists of ids.", show_default=False)
    ],
    labels: Labels = None,
    test: Annotated[float, typer.Option(metavar="FRACTION", help="Fraction for the test.")] = 0.1,
    valid: Annotated[
        float, typer.Option(metavar="FRACTION", help="Fraction for validation.")
    ] = 0.1,
    by: Annotated[
        By, typer.Option(metavar="id|composition|prototype", help="What stays together.")
    ] = By.id,
    folds: Annotated[
        int | None, typer.Option(metavar="K", help="K folds, each the test part once.")
    ] = None,
    element: Annotated[
        list[str] | None,
        typer.Option(metavar="SYMBOL", help="All crystals with this element are the test part."),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="The latest --test by this label (a year, a number)."),
    ] = None,
    seed: Seed = 0,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Divide crystals into lists of ids.

    Writes train.txt, valid.txt and test.txt, an id a line; finetune takes such a list as --test.
    Also splits.json, training (validation included) and test ids with a hash, for evaluate; with
    --folds, --element or --time only that.
    """
    if sum(way is not None for way in (folds, element, time)) > 1:
        raise UsageError("--folds, --element and --time are three ways to divide; give one")
    if folds is not None or element is not None or time is not None:
        _divide(path, out, labels, strict, json, (folds, by.value, seed), element, (time, test))
        return
    with Bars() as bars, stdout_for_the_answer():
        from atomprint.data.divisions import Division, write_divisions
        from atomprint.data.splits import split as divide

        result = _read(path, labels, strict, bars)
        parts = divide(result.crystals, test, valid, seed, by.value)
        out.mkdir(parents=True, exist_ok=True)
        counts: dict[str, Any] = {}
        files: dict[str, Any] = {}
        for name in ("train", "valid", "test"):
            ids = [result.crystals[index].id for index in getattr(parts, name)]
            files[name] = out / f"{name}.txt"
            files[name].write_text("".join(f"{id}\n" for id in ids), encoding="utf-8")
            counts[name] = len(ids)
        whole = Division("test", sorted([*parts.train, *parts.valid]), sorted(parts.test))
        digest = write_divisions(out / "splits.json", [whole], result.crystals)
    note_problems(result.problems)
    if json:
        files["splits"] = out / "splits.json"
        about = {"files": files, "hash": digest, "seed": seed}
        print_json({**counts, **about, "problems": listed(result.problems)})
        return
    places = {f"{name} {counts[name]:,}": file for name, file in files.items()}
    print_places({**places, "all": out / "splits.json", "hash": digest})


def _divide(
    path: str,
    out: Path,
    labels: Path | None,
    strict: bool,
    json: bool,
    folds: "tuple[int | None, Literal['id', 'composition', 'prototype'], int]",
    elements: list[str] | None,
    time: tuple[str | None, float],
) -> None:
    """Divide into training and test parts, once or several times, and write splits.json."""
    with Bars() as bars, stdout_for_the_answer():
        from atomprint.data.divisions import by_element, by_time, k_folds, write_divisions

        result = _read(path, labels, strict, bars)
        crystals = result.crystals
        if folds[0] is not None:
            found = k_folds(crystals, folds[0], seed=folds[2], by=folds[1])
        elif elements is not None:
            found = by_element(crystals, elements)
        else:
            found = [by_time(crystals, time[0] or "", time[1])]
        out.mkdir(parents=True, exist_ok=True)
        file = out / "splits.json"
        digest = write_divisions(file, found, crystals)
    note_problems(result.problems)
    sizes = {d.name: {"train": len(d.train), "test": len(d.test)} for d in found}
    if json:
        problems = listed(result.problems)
        print_json({"file": file, "hash": digest, "splits": sizes, "problems": problems})
        return
    rows = [[name, f"{n['train']:,}", f"{n['test']:,}"] for name, n in sizes.items()]
    print_table(["split", "train", "test"], rows)
    print_places({"written": file, "hash": digest})
