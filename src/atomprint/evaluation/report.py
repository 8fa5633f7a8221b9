"""One self-contained page over every run in a folder: verdict, tables, figures, record."""

import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from atomprint.evaluation import figures
from atomprint.evaluation.evaluation_page import is_evaluation, write_evaluation_page
from atomprint.evaluation.rendering import render, write_page
from atomprint.evaluation.runs import Run, find_runs
from atomprint.ground.errors import UsageError


def write_report(folder: Path, crystals: bool = True) -> Path:
    """Write ``report.html`` into a folder of runs, or into that of an evaluation.

    Parameters
    ----------
    folder
        Of an evaluation; or of one run, of a demo, or of many runs, searched two levels down.
    crystals
        Whether the page of an evaluation shows single crystals; pages of runs always do.

    Returns
    -------
    Path
        The page: one file, without anything from outside.

    Raises
    ------
    UsageError
        If there is no finished run, or the page cannot be written, or one of runs is asked for
        without crystals.
    """
    if is_evaluation(folder):
        return write_evaluation_page(folder, crystals)
    if not crystals:
        raise UsageError(
            f"{folder}: holds no evaluation, and pages of runs always show crystals; leave out "
            "--no-crystals"
        )
    runs = find_runs(folder)
    tuned = [r for r in runs if r.kind == "finetune"]
    page = render(
        "report.html.j2",
        title=folder.resolve().name,
        verdicts=[verdict(rows) for rows in _groups(tuned).values()],
        table=[summarize(rows) for rows in _groups(tuned).values()],
        many_sets=len({data for data, _, _ in _groups(tuned)}) > 1,
        curves=[
            {"target": rows[0]["target"], "figure": Markup(figures.learning_curve(rows))}
            for rows in _by_target(tuned)
            if len({row["n_train"] for row in rows}) > 1
        ],
        pretraining=[_describe_pretraining(r) for r in runs if r.kind == "pretrain"],
        finetuning=[_describe_finetuning(r) for r in tuned],
    )
    return write_page(folder, page)


def _groups(runs: list[Run]) -> dict[tuple[str, str, int], list[dict[str, Any]]]:
    """Rows of all runs that differ only by their seed: same data, target and labels."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        data = str(run.about.get("data", {}).get("hash", ""))
        for row in run.results:
            groups[data, row["target"], row["n_train"]].append({**row, "data": data[:6]})
    return dict(sorted(groups.items(), key=lambda item: (item[0][1], item[0][0], item[0][2])))


def _by_target(runs: list[Run]) -> list[list[dict[str, Any]]]:
    """Rows of all runs on the same data and target, whatever their number of labels."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for (data, target, _), rows in _groups(runs).items():
        groups[data, target] += rows
    return list(groups.values())


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One line of the table over seeds: mean errors, mean gain and its range.

    Numbers that no row has are None.
    """
    values = [r["value"] for r in rows if r["value"] is not None]
    twins = [r["twin_value"] for r in rows if r.get("twin_value") is not None]
    gains = [r["gain"] for r in rows if r.get("gain") is not None]
    return {
        "target": rows[0]["target"],
        "data": rows[0].get("data", ""),
        "unit": rows[0]["unit"],
        "metric": rows[0]["metric"],
        "n_train": rows[0]["n_train"],
        "n_test": rows[0]["n_test"],
        "seeds": len(rows),
        "value": statistics.mean(values) if values else None,
        "twin_value": statistics.mean(twins) if twins else None,
        "gain": statistics.mean(gains) if gains else None,
        "gain_min": min(gains, default=None),
        "gain_max": max(gains, default=None),
        "wins": sum(g > 0 for g in gains),
        "seconds": sum(r["seconds"] for r in rows),
        "twin_seconds": sum(r.get("twin_seconds", 0.0) for r in rows),
    }


def verdict(rows: list[dict[str, Any]]) -> str:
    """Say in plain words what pre-training bought."""
    line = summarize(rows)
    name = f"{line['target']} with {line['n_train']} labels"
    if line["gain"] is None:
        return f"{name}: there is no from-scratch twin to compare with."
    change = f"{abs(line['gain']) * 100:.0f} % {'lower' if line['gain'] >= 0 else 'higher'}"
    if line["seeds"] == 1:
        better = "better" if line["gain"] > 0 else "not better"
        low, high = rows[0].get("gain_interval") or (None, None)
        if low is None or high is None:
            return f"{name}: the pre-trained network is {better} (one seed): error {change}."
        if low <= 0 <= high:
            better = "not told apart from its twin"
        return (
            f"{name}: the pre-trained network is {better} (one seed): error {change}; "
            f"for other test crystals the gain is {round(100 * low)} to {round(100 * high)} %."
        )
    sign = 100 if line["gain"] >= 0 else -100
    low, high = sorted((sign * line["gain_min"], sign * line["gain_max"]))
    return (
        f"{name}: the pre-trained network is better in {line['wins']} of {line['seeds']} seeds: "
        f"error {change} [{low:.0f}, {high:.0f}]."
    )


def _describe_pretraining(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "figure": Markup(figures.pretraining_curves(run)),
        "seconds": run.history["seconds"],
        "n_steps": run.history["n_steps"],
        **_record(run),
    }


def _describe_finetuning(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "curves": Markup(figures.finetuning_curves(run)),
        "parities": [
            {"target": row["target"], "figure": Markup(figures.parity(run, row))}
            for row in run.results
            if row["metric"] == "MAE" and row["target"] in run.predictions
        ],
        **_record(run),
    }


def _record(run: Run) -> dict[str, Any]:
    environment = run.about.get("environment", {})
    versions = environment.get("versions", {})
    facts = {
        **{f"data, {name}": value for name, value in run.about.get("data", {}).items()},
        "processor": environment.get("processor"),
        "platform": environment.get("platform"),
        "Python": environment.get("python"),
        "packages": ", ".join(f"{name} {value}" for name, value in versions.items()),
        "commit": environment.get("commit"),
        "command": " ".join(environment.get("command", [])),
    }
    return {
        "n_crystals": run.about.get("data", {}).get("n_crystals"),
        "facts": {name: value for name, value in facts.items() if value not in (None, "")},
        "settings": yaml.safe_dump(run.about.get("settings", {}), sort_keys=False),
    }
