"""Commands that turn crystals into tables with a network: predictions, embeddings."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomprint.cli.options import Crystals, Device, Json, Per, Strict, check_file
from atomprint.cli.output import (
    listed,
    note_problems,
    print_json,
    print_places,
    stdout_for_the_answer,
)
from atomprint.cli.progress import Bars

if TYPE_CHECKING:
    from atomprint.api import Columns


TableOut = Annotated[
    Path,
    typer.Option(
        "--out", metavar="FILE", help="Table to write: .parquet or .csv.", show_default=False
    ),
]


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a fine-tuned model.")],
    path: Crystals,
    out: TableOut,
    per: Annotated[
        Per | None,
        typer.Option(
            metavar="atom|crystal",
            help="Which targets, where the model has some of both kinds.",
            show_default=False,
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="LEVEL",
            help="Add the ends of an interval that holds with this probability, such as 0.9.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Predict properties with a fine-tuned model."""

    def compute(bars: Bars) -> "Columns":
        from atomprint import api

        return api.predict(
            run,
            path,
            out,
            per=per.value if per is not None else None,
            interval=interval,
            device=device,
            strict=strict,
            progress=bars,
        )

    _write(compute, out, json)


def embed(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Folder of a pre-trained or fine-tuned model, or atomprint/small."
        ),
    ],
    path: Crystals,
    out: TableOut,
    per: Annotated[
        Per, typer.Option(metavar="atom|crystal", help="A row an atom or a row a crystal.")
    ] = Per.crystal,
    device: Device = "auto",
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Write the features that a trained network sees.

    Of every crystal (the mean over its atoms) or of every atom.
    """

    def compute(bars: Bars) -> "Columns":
        from atomprint import api

        return api.embed(run, path, out, per=per.value, device=device, strict=strict, progress=bars)

    _write(compute, out, json)


def _write(compute: Callable[[Bars], "Columns"], out: Path, json: bool) -> None:
    """Compute a table with a bar, and say what was written."""
    check_file(out, ".parquet", ".csv")
    with Bars() as bars, stdout_for_the_answer():
        table = compute(bars)
    note_problems(table.problems)
    n_crystals = len(set(table.ids))
    if json:
        answer: dict[str, Any] = {
            "out": out,
            "rows": len(table.ids),
            "crystals": n_crystals,
            "per": table.per,
            "columns": list(table.values),
            "units": table.units,
            "skipped": sum(problem.kind != "label" for problem in table.problems),
            "problems": listed(table.problems),
            **table.about,
        }
        print_json(answer)
        return
    rows = f"{len(table.ids):,} rows, one {'an atom' if table.per == 'atom' else 'a crystal'}"
    print_places({"written": out, "holds": f"{rows}; {len(table.values):,} columns"})
