"""The command that says how far crystals lie from what a model was pre-trained on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atomprint.cli.options import Crystals, Json, Strict, check_file
from atomprint.cli.output import (
    listed,
    note_problems,
    print_json,
    print_places,
    print_table,
    stdout_for_the_answer,
)
from atomprint.cli.progress import Bars

if TYPE_CHECKING:
    from atomprint.evaluation.coverage import Coverage


def coverage(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Folder of a pre-trained or fine-tuned model, or atomprint/small."
        ),
    ],
    path: Crystals,
    out: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Table of all crystals: distance and percentile."),
    ] = None,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Say how far crystals lie from the pre-training corpus.

    Before any training: do not count on pre-training for crystals unlike any of the corpus.
    """
    if out is not None:
        check_file(out, ".csv", ".parquet")
    with Bars() as bars, stdout_for_the_answer():
        from atomprint import api

        found, problems = api.coverage(run, path, out, strict=strict, progress=bars)
    note_problems(problems)
    if json:
        print_json({**found.to_dict(), "out": out, "problems": listed(problems)})
        return
    _print_coverage(found, out)


def _print_coverage(found: "Coverage", out: Path | None) -> None:
    print(found.sentence)
    print()
    numbers = found.to_dict()
    places = {
        "crystals": f"{numbers['n_crystals']:,}",
        "beyond 95 %": f"{found.beyond_95:.1%} (5 % expected)",
        "beyond 99 %": f"{found.beyond_99:.1%} (1 % expected)",
        "median": f"farther than {numbers['median_percentile']:.0%} of the corpus",
        "AUC": f"{found.auc:.3f} (0.5: cannot be told from the corpus by distance)",
    }
    print_places(places | ({"written": out} if out is not None else {}))
    rows = [
        [row["id"], row["formula"], f"{row['distance']:.2f}", f"{row['percentile']:.1%}"]
        for row in found.farthest()
    ]
    print_table(["farthest", "formula", "distance", "percentile"], rows)
