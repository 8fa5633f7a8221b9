"""The page of an evaluation: verdict, tables, curves, every judged crystal, costs, record."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from markupsafe import Markup

from atomprint.evaluation import evaluation_figures as figures
from atomprint.evaluation.calibration import calibration
from atomprint.evaluation.corpus_section import distance_parts, overlap_sentence
from atomprint.evaluation.rendering import render, write_page
from atomprint.evaluation.runs import read_json
from atomprint.evaluation.summary import Unit, read_units, summarize_evaluation
from atomprint.evaluation.summary_rows import ArmRow, Summary

N_WORST = 10
PROTOCOLS = {
    "matbench": "MatBench's official folds",
    "paper": "random 60/20/20",
    "kfold": "folds, each of which judges once",
    "curve": "learning curve",
    "element": "an element held out at a time",
    "time": "trained on the past, judged on what came later",
    "splits": "divisions from a file",
}


def write_evaluation_page(folder: Path, crystals: bool = True) -> Path:
    """Write ``report.html`` into the folder of an evaluation, finished or not.

    Cells of its tables that show a number of ``summary.json``, which is written anew, name its
    place there (``data-key="rows/0/value"``) and hold it in full (``data-value``).

    Parameters
    ----------
    folder
        Of the evaluation.
    crystals
        Whether single crystals are shown, with ids and labels; without, the page says nothing that
        is not made of many crystals.

    Raises
    ------
    UsageError
        If the folder holds no evaluation, or the page cannot be written.
    """
    summary = summarize_evaluation(folder)
    about, units, _ = read_units(folder)
    colors = figures.arm_colors((arm["name"], arm["kind"]) for arm in about["arms"])
    task = about["task"]
    is_curve = summary.protocol == "curve"
    axis = f"{summary.metric} ({summary.unit})" if summary.unit else summary.metric
    most = max((row.n_labels for row in summary.rows), default=0)
    last = [row for row in summary.rows if not is_curve or row.n_labels == most]
    judged = [unit for unit in units if not is_curve or unit["n_labels"] == most]
    clouds = _clouds(judged, last, colors, task) if crystals else []
    page = render(
        "evaluation.html.j2",
        title=summary.name,
        summary=summary,
        task=task,
        about=about,
        axis=axis,
        protocol=_protocol(about["protocol"]),
        is_curve=is_curve,
        last=[summary.rows.index(row) for row in last],
        split_names=[
            split["name"]
            for split in about["splits"]
            if any(split["name"] in row.values for row in last)
        ],
        best=_best(summary.rows, is_curve),
        curves=Markup(figures.learning_curves(summary.rows, colors, axis))
        if is_curve and summary.rows
        else None,
        splits=Markup(figures.splits(last, colors, axis)) if last else None,
        clouds=clouds,
        points=_points(judged, clouds),
        worst=_worst(judged, last, task["classification"]) if crystals else None,
        chemistry=_chemistry(summary, [row.arm for row in last], most, is_curve),
        calibration=_calibration(judged, last, colors, task["classification"]),
        facts=_facts(about),
        settings=_as_yaml({"protocol": about["protocol"], "arms": about["arms"]}),
        leakage=_as_yaml(_shortened(about.get("leakage"))) if crystals else None,
        coverage=_as_yaml(_shortened(about.get("coverage"))) if crystals else None,
        overlap=overlap_sentence(about.get("leakage")),
        distances=distance_parts(
            summary,
            _foremost(last),
            colors,
            "probability missed, mean" if task["classification"] else axis,
        ),
        energy=any(row.joules is not None for row in summary.rows),
    )
    return write_page(folder, page)


def _protocol(settings: dict[str, Any]) -> str:
    """The protocol in words, with what stays together."""
    text = PROTOCOLS.get(settings["kind"], settings["kind"])
    by = settings.get("by", "id")
    return text if by == "id" else f"{text}, no {by} in two parts"


def _best(rows: Sequence[ArmRow], is_curve: bool) -> set[int]:
    """Places of the lowest error; on a learning curve, for each number of labels."""
    lowest: dict[int, tuple[float, int]] = {}
    for place, row in enumerate(rows):
        key = row.n_labels if is_curve else 0
        if row.value is not None and (key not in lowest or row.value < lowest[key][0]):
            lowest[key] = row.value, place
    return {place for _, place in lowest.values()}


def _clouds(
    units: Sequence[Unit], rows: Sequence[ArmRow], colors: dict[str, str], task: dict[str, Any]
) -> list[dict[str, Any]]:
    """Two figures for each arm, of every judged crystal, best arm first."""
    if task["classification"]:
        return []
    shown = _foremost(rows)
    found = []
    for number, row in enumerate(rows):
        wanted, predicted = _columns([u for u in units if u["arm"] == row.arm])
        keep = drawn(len(wanted))
        axis = f"label ({task['unit']})" if task["unit"] else "label"
        some = (str(number), wanted[keep], predicted[keep], colors[row.arm], axis)
        found.append(
            {
                "name": str(number),
                "arm": row.arm,
                "open": row.arm in shown,
                "n": len(wanted),
                "n_drawn": len(keep),
                "figures": [Markup(draw(*some)) for draw in (figures.parity, figures.residuals)],
            }
        )
    return found


def _foremost(rows: Sequence[ArmRow]) -> set[str]:
    """Arms that are shown at once: the best of every kind, and everything pre-trained."""
    best = {row.kind: row.arm for row in reversed(rows)}
    return {*best.values(), *(row.arm for row in rows if row.kind == "pretrained")}


def drawn(n: int) -> npt.NDArray[np.int_]:
    """Places of the points that are drawn: all, or of many a random choice."""
    if n <= figures.MANY:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, figures.MANY, replace=False))


def _columns(units: Sequence[Unit]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Labels and predictions of all splits, one after another."""
    wanted = [value[0] for unit in units for value in unit["wanted"]]
    predicted = [value[0] for unit in units for value in unit["predicted"]]
    return np.array(wanted, dtype=float), np.array(predicted, dtype=float)


def _points(units: Sequence[Unit], clouds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is said of each dot: by cloud a list of [id, formula, label, predicted]."""
    found = {}
    for cloud in clouds:
        mine = [unit for unit in units if unit["arm"] == cloud["arm"]]
        every = [
            [name, formula, wanted[0], predicted[0]]
            for unit in mine
            for name, formula, wanted, predicted in zip(
                unit["ids"], unit["formulas"], unit["wanted"], unit["predicted"], strict=True
            )
        ]
        found[cloud["name"]] = [every[i] for i in drawn(len(every))]
    return found


def _worst(units: Sequence[Unit], rows: Sequence[ArmRow], is_class: bool) -> dict[str, Any] | None:
    """Crystals that the best network (or else the best arm) predicts worst, each once."""
    if not rows:
        return None
    best = next((r for r in rows if r.kind in ("scratch", "pretrained")), rows[0])
    found: dict[str, tuple[Any, ...]] = {}
    for unit in units:
        if unit["arm"] != best.arm:
            continue
        columns = (unit["ids"], unit["formulas"], unit["wanted"], unit["predicted"])
        for name, formula, wanted, predicted in zip(*columns, strict=True):
            if is_class:
                said, wrong = float(np.argmax(predicted)), 1 - predicted[int(wanted[0])]
            else:
                said, wrong = predicted[0], predicted[0] - wanted[0]
            if name not in found or abs(wrong) > abs(found[name][-1]):
                found[name] = (name, formula, unit["split"], wanted[0], said, wrong)
    worst = sorted(found.values(), key=lambda one: -abs(one[-1]))
    return {"arm": best.arm, "rows": worst[:N_WORST]}


def _chemistry(
    summary: Summary, arms: Sequence[str], most: int, is_curve: bool
) -> list[dict[str, Any]]:
    """A table for each way to sort compounds: groups, largest first, by arms."""
    places = {
        (row.by, row.group, row.arm): place
        for place, row in enumerate(summary.chemistry)
        if not is_curve or row.n_labels == most
    }
    tables = []
    for by in dict.fromkeys(by for by, _, _ in places):
        groups: dict[str, list[int | None]] = {}
        for group in dict.fromkeys(group for one, group, _ in places if one == by):
            groups[group] = [places.get((by, group, arm)) for arm in arms]
        lines: list[dict[str, Any]] = [
            {
                "group": group,
                "n": max(summary.chemistry[i].n_crystals for i in found if i is not None),
                "places": found,
                "best": min(summary.chemistry[i].value for i in found if i is not None),
            }
            for group, found in groups.items()
        ]
        lines.sort(key=lambda line: -line["n"])
        tables.append({"by": by, "arms": arms, "lines": lines})
    return tables


def _calibration(
    units: Sequence[Unit], rows: Sequence[ArmRow], colors: dict[str, str], is_class: bool
) -> dict[str, Any] | None:
    """How often labels lie where intervals (or probabilities) say."""
    found = {
        row.arm: calibration([u for u in units if u["arm"] == row.arm], is_class) for row in rows
    }
    found = {arm: points for arm, points in found.items() if points}
    if not found:
        return None
    shown = _foremost(rows)
    figure = figures.against_stated(
        [
            (arm, colors[arm], [p.stated for p in points], [p.found for p in points])
            for arm, points in found.items()
            if arm in shown
        ],
        "probability stated" if is_class else "coverage stated",
        "share that was right" if is_class else "share of labels inside",
    )
    at = 0.9
    lines = [
        (arm, point)
        for arm, points in found.items()
        for point in points
        if not is_class and abs(point.stated - at) < 1e-9
    ]
    return {"figure": Markup(figure), "lines": lines, "at": at}


def _facts(about: dict[str, Any]) -> dict[str, Any]:
    """The record: where the set comes from, hashes, versions."""
    environment = about.get("environment", {})
    versions = environment.get("versions", {})
    task = about["task"]
    facts = {
        "source": task.get("source"),
        "licence": task.get("licence"),
        "citation": task.get("citation"),
        "crystals": about["data"]["n_crystals"],
        "hash of the data": about["data"]["hash"],
        "hash of the splits": about.get("splits_hash"),
        "processor": environment.get("processor"),
        "platform": environment.get("platform"),
        "Python": environment.get("python"),
        "packages": ", ".join(f"{name} {value}" for name, value in versions.items()),
        "commit": environment.get("commit"),
        "command": " ".join(environment.get("command", [])),
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _as_yaml(value: Any) -> str | None:
    if value is None:
        return None
    # By way of JSON, so that nothing but plain values is written.
    return str(yaml.safe_dump(json.loads(json.dumps(value)), sort_keys=False, allow_unicode=True))


def _shortened(value: Any, most: int = 20) -> Any:
    """The same with the first of long lists only, such as those of a number for each crystal."""
    if isinstance(value, dict):
        return {name: _shortened(one, most) for name, one in value.items()}
    if isinstance(value, list):
        more = [f"and {len(value) - most} more"] if len(value) > most else []
        return [_shortened(one, most) for one in value[:most]] + more
    return value


def is_evaluation(folder: Path) -> bool:
    """Whether a folder holds an evaluation."""
    path = folder / "evaluation.json"
    return path.is_file() and "arms" in read_json(path)
