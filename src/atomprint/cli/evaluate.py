"""The command that measures what pre-training does for a property."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomprint.cli.errors import Interrupted
from atomprint.cli.options import Device, Json, Labels
from atomprint.cli.output import (
    number,
    percent,
    print_json,
    print_places,
    print_table,
    stdout_for_the_answer,
)
from atomprint.cli.progress import Bars
from atomprint.cli.train import Words, split_words

if TYPE_CHECKING:
    from atomprint.evaluation.summary_rows import Estimate, Summary


class Kind(StrEnum):
    """How a set is divided."""

    matbench = "matbench"
    paper = "paper"
    kfold = "kfold"
    curve = "curve"
    probe = "probe"


def evaluate(
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder of the evaluation; an unfinished one goes on."),
    ],
    words: Words = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A built-in task; atomprint tasks lists them."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="PATH", help="Or a labelled set of your own.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Label to predict, or log10(COLUMN), with --data."),
    ] = None,
    labels: Labels = None,
    classification: Annotated[
        bool, typer.Option("--classification", help="The labels are classes 0, 1, ...")
    ] = False,
    protocol: Annotated[
        Kind | None,
        typer.Option(
            metavar="matbench|paper|kfold|curve|probe",
            help="Official folds; random 60/20/20; folds; learning curve. Default: the official "
            "folds of a task that has them, else kfold. probe: those, with nothing but simple "
            "regressions on frozen embeddings, in seconds.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="WAY",
            help="What the parts differ in: id, composition, prototype, element (or element=Li,O), "
            "time=LABEL; or splits=FILE, ids that you divided.",
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="RUN[,RUN...]",
            help="Pre-trained runs, or those that come with atomprint: atomprint/small.",
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Cheap baselines beside the networks.")
    ] = False,
    probes: Annotated[
        bool, typer.Option("--probes", help="Simple regressions on frozen embeddings of every run.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--files", metavar="DIR", help="Where the files of built-in tasks are."),
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="What the runs were pre-trained on: crystals that judge and are in it are named; "
            "with exclude_leaks=true they judge nothing.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes that share the units.")
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A Ray cluster does the units: auto, local, ray://host:10001.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the units, estimate the time, do nothing.")
    ] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure what pre-training buys on a task or on a set of your own.

    Every network has its from-scratch twin, with the same labels, steps and learning rates. The
    evaluation is a list of units (arm x split) that a later or a second run of the same command
    goes on with. Settings: a YAML file or key=value, for instance protocol.n_seeds=5.
    """
    config, overrides = split_words(words or [])
    only_probes = protocol is Kind.probe
    kind = None if protocol is None or only_probes else protocol.value
    sources = [one for given in source or [] for one in given.split(",") if one]
    with Bars() as bars, stdout_for_the_answer():
        from atomprint import api
        from atomprint.evaluation.prepare import EvaluateSettings
        from atomprint.evaluation.protocols import divided_by

        asked = (("baselines", baselines), ("probes", probes or only_probes))
        switches = [f"{name}=true" for name, on in asked if on]
        if only_probes:
            switches.append("networks=false")
        if by is not None:
            switches += divided_by(by, kind, None if config else "kfold")
        elif kind is not None:
            switches.append(f"protocol.kind={kind}")
        elif config is None:
            switches.append(f"protocol.kind={_usual(task)}")
        settings = api.load_settings(EvaluateSettings, config, [*switches, *overrides])
        chosen: dict[str, Any] = {
            "task": task,
            "data": data,
            "target": target,
            "labels": labels,
            "classification": classification,
            "folder": folder,
            "corpus": corpus,
            "device": device,
        }
        others: dict[str, Any] = {"n_workers": workers, "ray": ray}
        if dry_run:
            plan = api.plan_evaluation(out, sources, settings=settings, **chosen)
        else:
            try:
                summary = api.evaluate(
                    out, sources, settings=settings, progress=bars, **others, **chosen
                )
            except KeyboardInterrupt:
                raise Interrupted(
                    "interrupted; units that are done are kept, the same command goes on"
                ) from None
    if dry_run:
        _print_plan(plan, json)
        return
    places = {"results": out / "summary.json", "next": f"atomprint report {out}"}
    if json:
        print_json({"summary": summary.model_dump(mode="json"), "out": out})
        return
    _print_summary(summary)
    print_places(places)


def _usual(task: str | None) -> str:
    """Official folds, where the task has them, else folds of ours."""
    from atomprint.evaluation.tasks import find_task

    return "matbench" if task is not None and find_task(task).has_official_folds else "kfold"


def _print_plan(plan: dict[str, Any], json: bool) -> None:
    if json:
        print_json(plan)
        return
    print_table(
        ["arm", "split", "labels", "judged", "done"],
        [
            [u["arm"], u["split"], str(u["n_labels"]), str(u["n_test"]), "yes" if u["done"] else ""]
            for u in plan["units"]
        ],
    )
    seconds = plan["seconds"]
    to_do = f"{plan['n_pending']} of {plan['n_units']} units to do"
    if seconds is None:
        print(f"{to_do}, no network among them: seconds each")
        return
    print(f"{to_do}: about {seconds / 60:.1f} min for the networks,")
    print(f"not counting {plan['n_other']} units of baselines and probes")


def _range(found: "Estimate | None") -> str:
    if found is None or found.low is None or found.high is None:
        return ""
    return f"\n[{number(found.low, 3)}, {number(found.high, 3)}]"


def _print_summary(summary: "Summary") -> None:
    unit = f" ({summary.unit})" if summary.unit else ""
    rows = [
        [
            row.arm,
            str(row.n_labels),
            str(row.n_splits),
            number(row.value) + _range(row.interval),
            number(row.spread),
            percent(row.gain.value) if row.gain is not None else "",
        ]
        for row in summary.rows
    ]
    header = [
        "arm",
        "labels",
        "splits",
        f"{summary.metric}{unit}",
        "spread",
        "gain over\nits twin",
    ]
    print_table(header, rows)
    for sentence in summary.verdict:
        print(sentence)
