"""From the units of an evaluation to what can be said: rows, curves, labels saved, a verdict."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atomprint.evaluation.by_distance import coverage_rows, distance_rows
from atomprint.evaluation.chemistry import by_chemistry
from atomprint.evaluation.comparison import Comparison, Judged, compare
from atomprint.evaluation.error_intervals import error_interval
from atomprint.evaluation.runs import read_json
from atomprint.evaluation.statistics import Interval, labels_needed
from atomprint.evaluation.summary_rows import ArmRow, Estimate, SavedRow, Summary
from atomprint.evaluation.units import unit_file
from atomprint.evaluation.verdict import verdict
from atomprint.ground.errors import UsageError
from atomprint.training.checkpoint import write_json

Unit = dict[str, Any]


def read_units(folder: Path) -> tuple[dict[str, Any], list[Unit], list[str]]:
    """Read an evaluation: what it is, the units that are done, names of those that are not.

    Raises
    ------
    UsageError
        If the folder holds no evaluation.
    """
    path = folder / "evaluation.json"
    if not path.is_file():
        raise UsageError(f"{folder}: holds no evaluation (no evaluation.json)")
    about = read_json(path)
    done, missing = [], []
    for split in about["splits"]:
        for arm in about["arms"]:
            file = folder / "units" / unit_file(arm["name"], split["name"])
            if file.is_file():
                done.append(read_json(file))
            else:
                missing.append(f"{arm['name']}, {split['name']}")
    return about, done, missing


def summarize_evaluation(folder: Path) -> Summary:
    """Say what an evaluation found, and write it as ``summary.json`` into its folder.

    Raises
    ------
    UsageError
        If the folder holds no evaluation.
    """
    about, units, missing = read_units(folder)
    task = about["task"]
    is_curve = about["protocol"]["kind"] == "curve"
    twins = _twins(about["arms"])
    groups: dict[tuple[str, int], list[Unit]] = defaultdict(list)
    for unit in units:
        groups[unit["arm"], unit["n_labels"] if is_curve else 0].append(unit)
    rows = [
        _row(members, groups.get((twins.get(arm, ""), n_labels)), twins.get(arm))
        for (arm, n_labels), members in groups.items()
    ]
    rows.sort(key=lambda row: (row.n_labels if is_curve else 0, _or_inf(row.value)))
    saved = _saved(groups, twins) if is_curve else []
    coverage = coverage_rows(about)
    most = max((row.n_labels for row in rows), default=0)
    last = [row.arm for row in rows if not is_curve or row.n_labels == most]
    with_most = [unit for unit in units if not is_curve or unit["n_labels"] == most]
    notes = {unit["energy"]["note"] for unit in units if unit.get("energy")}
    summary = Summary(
        name=task["name"],
        property=task.get("property", task["label"]),
        metric=task["metric"],
        unit=task["unit"],
        protocol=about["protocol"]["kind"],
        verdict=tuple(verdict(rows, saved, missing, len(units), task, is_curve, coverage)),
        complete=not missing,
        missing=tuple(missing),
        rows=tuple(rows),
        saved=tuple(saved),
        chemistry=tuple(by_chemistry(units, is_curve)) if not task["classification"] else (),
        coverage=tuple(coverage),
        by_distance=tuple(distance_rows(about, with_most, last)),
        energy_note="; ".join(sorted(note for note in notes if note)),
    )
    write_json(folder / "summary.json", summary.model_dump(mode="json"))
    return summary


def _twins(arms: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Each pre-trained arm's from-scratch arm: the one with the same network."""
    scratch = [arm for arm in arms if arm["kind"] == "scratch"]
    found = {}
    for arm in arms:
        if arm["kind"] != "pretrained":
            continue
        same = [s for s in scratch if s["about"].get("model") == arm["about"].get("model")]
        if same:
            found[arm["name"]] = str(same[0]["name"])
    return found


def _row(units: list[Unit], twin_units: list[Unit] | None, twin: str | None) -> ArmRow:
    first = units[0]
    values = {unit["split"]: unit["value"] for unit in units}
    known = [value for value in values.values() if value is not None]
    n_labels = round(statistics.fmean(unit["n_labels"] for unit in units))
    compared = _compared(units, twin_units or [])
    interval = error_interval(units)
    joules = _mean([(unit.get("energy") or {}).get("joules") for unit in units])
    seconds = statistics.fmean(unit["seconds"] for unit in units)
    more: dict[str, Any] = {}
    if compared is not None:
        more = {
            "gain": Estimate.of(compared.gain),
            "n_won": compared.n_won,
            "n_compared": compared.n_splits,
            "verdict": compared.words,
        }
    return ArmRow(
        arm=first["arm"],
        kind=first["kind"],
        n_labels=n_labels,
        n_splits=len(units),
        value=statistics.fmean(known) if known else None,
        interval=None if interval is None else Estimate.of(interval),
        spread=_spread(known),
        values=values,
        twin=twin if compared is not None else None,
        seconds=seconds,
        cpu_seconds=statistics.fmean(unit["cpu_seconds"] for unit in units),
        seconds_per_label=seconds / n_labels,
        seconds_per_crystal=_mean([unit["about"].get("seconds_per_crystal") for unit in units]),
        joules=joules,
        joules_per_label=None if joules is None else joules / n_labels,
        peak_mib=max(unit["peak_mib"] for unit in units),
        n_parameters=first["n_parameters"],
        **more,
    )


def _spread(values: Sequence[float]) -> float | None:
    """Standard deviation; zero of numbers that differ by rounding alone, and None of one."""
    if len(values) < 2:
        return None
    same = math.isclose(min(values), max(values), rel_tol=1e-12)
    return 0.0 if same else statistics.stdev(values)


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of numbers that are all known."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _compared(units: list[Unit], others: list[Unit]) -> Comparison | None:
    """Compare on the splits that both have done."""
    by_split = {unit["split"]: unit for unit in others}
    pairs = [(u, by_split[u["split"]]) for u in units if u["split"] in by_split]
    # An error of zero has no ratio.
    pairs = [(u, o) for u, o in pairs if u["value"] and o["value"]]
    if not pairs:
        return None
    return compare([judged(u) for u, _ in pairs], [judged(o) for _, o in pairs])


def judged(unit: Unit) -> Judged:
    """A unit's error, and those of its crystals where the metric is their mean."""
    errors = None
    if unit["metric"] == "MAE":
        wanted = np.array(unit["wanted"], dtype=float)
        errors = np.abs(np.array(unit["predicted"], dtype=float) - wanted).mean(1)
    return Judged(unit["value"], tuple(unit["ids"]), errors)


def _saved(groups: dict[tuple[str, int], list[Unit]], twins: dict[str, str]) -> list[SavedRow]:
    def curve(arm: str) -> dict[int, dict[int, float]]:
        return {
            n: {u["seed"]: u["value"] for u in groups[name, n] if u["value"]}
            for name, n in sorted(groups)
            if name == arm
        }

    found = []
    for arm, twin in twins.items():
        mine, its = curve(arm), curve(twin)
        if not mine or not its or not all(mine.values()) or not its[max(its)]:
            continue
        most = max(its)
        needed = labels_needed(its, most, mine)
        found.append(
            SavedRow(
                arm=arm,
                twin=twin,
                n_labels=most,
                needed=Estimate.of(needed),
                share=Estimate.of(_scaled(needed, 1 / most)),
            )
        )
    return found


def _scaled(found: Interval, factor: float) -> Interval:
    def times(value: float | None) -> float | None:
        return None if value is None else value * factor

    return Interval(found.value * factor, times(found.low), times(found.high))


def _or_inf(value: float | None) -> float:
    return float("inf") if value is None else value
