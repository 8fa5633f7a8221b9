"""Commands that train: pre-training, and fine-tuning beside the twin."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from atomprint.cli.errors import Interrupted
from atomprint.cli.launch import launch
from atomprint.cli.options import PATH_HELP, Device, Json, Labels, Seed, Strict, check_folder
from atomprint.cli.output import (
    listed,
    note,
    note_problems,
    number,
    print_json,
    print_places,
    stdout_for_the_answer,
)
from atomprint.cli.progress import Bars
from atomprint.cli.results import print_results
from atomprint.ground.errors import UsageError
from atomprint.ground.launches import launched
from atomprint.ground.processes import stop_with_launcher

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG.yaml] [key=value ...]",
        help="Settings: a file, and pairs that override it (loop.n_steps=2000).",
        show_default=False,
    ),
]


def pretrain(
    words: Words = None,
    data: Annotated[str | None, typer.Option(metavar="PATH", help=PATH_HELP)] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Start from this run's network, or from one that comes with atomprint.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="Run folder to write.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Continue an interrupted run from its last checkpoint."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Of weights, order and perturbations.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or mps.")
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Processes that share every batch, one a device of this machine. Results do not "
            "depend on it; a resumed run may have another number.",
        ),
    ] = None,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Pre-train a network, by default on structural fingerprints.

    The crystals need no labels; labels are looked at only by objectives that ask for them. --data
    and --out are enough, everything else has a default.
    """
    config, overrides = split_words(words or [])
    if resume is not None and source is not None:
        raise UsageError("a resumed run goes on with its own network; leave out --from")
    if resume is not None and (seed is not None or device is not None):
        raise UsageError("a resumed run keeps its seed and device; leave out --seed and --device")
    if resume is not None and (config is not None or overrides):
        raise UsageError("a resumed run keeps its own settings; leave out files and key=value")
    stop_with_launcher()
    beside = launched()
    first = beside is None or beside.rank == 0
    if out is not None and first:
        check_folder(out)
    result = None
    with Bars() if first else nullcontext() as bars, stdout_for_the_answer():
        from atomprint import api

        settings = api.settings_of_run(resume) if resume else api.load_config(config, overrides)
        if resume is None and out is None and settings.out is None:
            raise UsageError("there is nowhere to write: give --out RUN, or out: in the file")
        folder = resume or out or Path(str(settings.out))
        if resume is None and first:
            check_folder(folder)
        n_processes = devices or settings.loop.devices
        if beside is not None or n_processes == 1:
            try:
                result = api.pretrain(
                    data,
                    out,
                    source=source,
                    settings=None if resume else settings,
                    resume=resume,
                    seed=seed,
                    device=device,
                    devices=devices,
                    strict=strict,
                    progress=bars,
                )
            except KeyboardInterrupt:
                raise Interrupted(_how_to_resume(folder) if first else "") from None
    if result is None:
        raise typer.Exit(launch(n_processes, lambda how: _how_to_resume(folder, how)))
    if not first:
        return
    note_problems(result.problems)
    if result.n_left_out:
        note(f"{result.n_left_out:,} crystals are larger than a batch and were not trained on")
    losses = _last(result.history, "train/loss"), _last(result.history, "valid/value")
    if json:
        print_json(
            {
                "out": folder,
                "checkpoint": folder / "model.safetensors",
                "n_crystals": result.n_crystals,
                "n_left_out": result.n_left_out,
                "steps": int(result.history[-1]["step"]) if result.history else 0,
                "loss": losses[0],
                "valid_loss": losses[1],
                "seconds": round(result.seconds, 2),
                "problems": listed(result.problems),
            }
        )
        return
    print_places(
        {
            "crystals": f"{result.n_crystals:,}",
            "loss": f"{number(losses[0])} (validation {number(losses[1])})",
            "time": f"{result.seconds:.0f} s",
            "model": folder / "model.safetensors",
            "next": f"atomprint finetune --from {folder} --data LABELLED --target COLUMN "
            "--twin --out RUN2",
        }
    )


def _how_to_resume(folder: Path, how: str = "interrupted") -> str:
    if (folder / "state.safetensors").is_file():
        return f"{how}; continue with: atomprint pretrain --resume {folder}"
    if (folder / "run.json").is_file():
        return (
            f"{how} before the first checkpoint; start over with: "
            f"atomprint pretrain --resume {folder}"
        )
    return f"{how} before training began; nothing was written"


def _last(history: Sequence[dict[str, float]], name: str) -> float | None:
    known = [row[name] for row in history if name in row]
    return known[-1] if known else None


def finetune(
    source: Annotated[
        Path,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Pre-trained run, or one that comes with atomprint: atomprint/small.",
            show_default=False,
        ),
    ],
    data: Annotated[str, typer.Option(metavar="PATH", help=PATH_HELP, show_default=False)],
    target: Annotated[
        list[str],
        typer.Option(
            metavar="COLUMN",
            help="Label to learn, or log10(COLUMN); may be given again.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="RUN2", help="Run folder to write.", show_default=False)
    ],
    words: Words = None,
    labels: Labels = None,
    n_train: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Labels to use, validation included; all but the test part if left out.",
        ),
    ] = None,
    test: Annotated[
        str,
        typer.Option(
            metavar="FRACTION|FILE", help="Part set aside for the test, or a file of its ids."
        ),
    ] = "0.2",
    twin: Annotated[
        bool,
        typer.Option("--twin", help="Train the from-scratch twin too, and say what was gained."),
    ] = False,
    classification: Annotated[
        bool, typer.Option("--classification", help="The labels are classes 0, 1, ...")
    ] = False,
    seed: Seed = 0,
    device: Device = "auto",
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Fine-tune a pre-trained network on labels.

    It is tested on crystals set aside, which decide nothing before.
    """
    config, overrides = split_words(words or [])
    check_folder(out)
    with Bars() as bars, stdout_for_the_answer():
        from atomprint import api
        from atomprint.training.finetune import FinetuneSettings

        try:
            outcome = api.finetune(
                source,
                data,
                target,
                out,
                labels=labels,
                n_train=n_train,
                test=_test_part(test),
                twin=twin,
                task="classification" if classification else "regression",
                seed=seed,
                device=device,
                settings=api.load_settings(FinetuneSettings, config, overrides),
                strict=strict,
                progress=bars,
            )
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; to start again, remove {out} first") from None
    note_problems(outcome.problems)
    places = {"predictions": out / "predictions.csv", "checkpoint": out / "model.safetensors"}
    if json:
        answer: dict[str, Any] = {
            **outcome.results[0],
            "results": outcome.results,
            "out": out,
            **places,
            "problems": listed(outcome.problems),
        }
        print_json(answer)
        return
    print_results(outcome.results, Path(data).name)
    print_places({**places, "next": f"atomprint report {out}"})


def split_words(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Tell a settings file from the ``key=value`` pairs after it."""
    if words and ("=" not in words[0] or Path(words[0]).is_file()):
        return Path(words[0]), list(words[1:])
    return None, list(words)


def _test_part(text: str) -> float | Path:
    try:
        return float(text)
    except ValueError:
        return Path(text)
