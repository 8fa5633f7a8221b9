"""The demo, and the report over a folder of runs."""

from pathlib import Path
from typing import Annotated

import typer

from atomprint.cli.errors import Interrupted
from atomprint.cli.options import Device, Json, Seed, check_folder
from atomprint.cli.output import print_json, print_places, stdout_for_the_answer
from atomprint.cli.progress import Bars
from atomprint.cli.results import print_results


def demo(
    quick: Annotated[
        bool, typer.Option("--quick", help="Under two minutes, to try the installation.")
    ] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write; new or empty.")] = Path(
        "atomprint-demo"
    ),
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Run the main job on the embedded data.

    Pre-trains, fine-tunes beside the from-scratch twin for three seeds (one with --quick), and
    writes predictions, checkpoints and an HTML report.
    """
    check_folder(out)
    with Bars() as bars, stdout_for_the_answer():
        from atomprint import api

        try:
            outcome = api.demo(
                out,
                quick=quick,
                seeds=tuple(range(seed, seed + 3)),
                device=device,
                progress=bars,
            )
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; to start again, remove {out} first") from None
    places = {
        "report": outcome.report,
        "predictions": outcome.predictions,
        "checkpoint": outcome.checkpoint,
    }
    if json:
        print_json({"results": outcome.results, **places, "seconds": outcome.seconds})
        return
    print_results(outcome.results, "embedded DFT labels")
    print_places({**places, "time": f"{outcome.seconds:.0f} s"})


def report(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder of a run, of several, or of an evaluation."),
    ],
    crystals: Annotated[
        bool,
        typer.Option(
            "--crystals/--no-crystals",
            help="Of an evaluation: show judged crystals with ids and labels, or only what is made "
            "of many, for a page that may be passed on where the labels may not.",
        ),
    ] = True,
    json: Json = False,
) -> None:
    """Write an HTML report over runs in a folder, or over an evaluation.

    It shows losses, parity, residuals and learning curves, beside what was run; of an evaluation
    the verdict first.
    """
    with Bars() as bars, stdout_for_the_answer():
        from atomprint import api

        bars("report", 0, 1, {})
        path = api.report(folder, crystals=crystals)
    if json:
        print_json({"report": path})
    else:
        print_places({"report": path})
