"""From the units of an evaluation to what can be said: rows, curves, labels saved, a verdict."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from atomprint.evaluation.chemistry import ChemistryRow, by_chemistry
from atomprint.evaluation.comparison import Comparison, Judged, compare
from atomprint.evaluation.runs import read_json
from atomprint.evaluation.statistics import Interval, labels_needed
from atomprint.evaluation.units import unit_file
from atomprint.ground.errors import UsageError
from atomprint.ground.settings import Settings
from atomprint.training.checkpoint import write_json

Unit = dict[str, Any]


class Estimate(Settings):
    """A number with its 95 % interval, where there is one; infinite numbers are None too."""

    value: float | None
    low: float | None = None
    high: float | None = None


class ArmRow(Settings):
    """An arm with one number of labels, over the splits that it has done."""

    arm: str
    kind: str
    n_labels: int = Field(description="mean over splits; validation included")
    n_splits: int = Field(description="splits that are done")
    value: float | None = Field(description="mean of the metric over splits")
    spread: float | None = Field(description="standard deviation over splits")
    values: dict[str, float | None] = Field(description="the metric of each split")
    twin: str | None = Field(None, description="its from-scratch twin")
    gain: Estimate | None = Field(None, description="1 - error / the twin's, on the same splits")
    n_won: int | None = None
    n_compared: int | None = None
    verdict: str = ""
    seconds: float = Field(description="wall time of a split, mean")
    cpu_seconds: float
    seconds_per_label: float
    peak_mib: float
    n_parameters: int


class SavedRow(Settings):
    """Labels with which an arm has the error that its twin has with more."""

    arm: str
    twin: str
    n_labels: int = Field(description="the twin's")
    needed: Estimate = Field(description="the arm's; None: not reached within what was measured")
    share: Estimate = Field(description="needed / n_labels")


class Summary(Settings):
    """What an evaluation says."""

    name: str
    property: str
    metric: str
    unit: str
    protocol: str
    verdict: tuple[str, ...] = Field(description="sentences; the most important first")
    complete: bool
    missing: tuple[str, ...] = Field(description="units that are not done")
    rows: tuple[ArmRow, ...] = Field(description="best first, by number of labels")
    saved: tuple[SavedRow, ...] = ()
    chemistry: tuple[ChemistryRow, ...] = ()


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
    summary = Summary(
        name=task["name"],
        property=task.get("property", task["label"]),
        metric=task["metric"],
        unit=task["unit"],
        protocol=about["protocol"]["kind"],
        verdict=tuple(_verdict(rows, saved, missing, len(units), task, is_curve)),
        complete=not missing,
        missing=tuple(missing),
        rows=tuple(rows),
        saved=tuple(saved),
        chemistry=tuple(by_chemistry(units, is_curve)) if not task["classification"] else (),
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
    seconds = statistics.fmean(unit["seconds"] for unit in units)
    more: dict[str, Any] = {}
    if compared is not None:
        more = {
            "gain": _estimate(compared.gain),
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
        spread=statistics.stdev(known) if len(known) > 1 else None,
        values=values,
        twin=twin if compared is not None else None,
        seconds=seconds,
        cpu_seconds=statistics.fmean(unit["cpu_seconds"] for unit in units),
        seconds_per_label=seconds / n_labels,
        peak_mib=max(unit["peak_mib"] for unit in units),
        n_parameters=first["n_parameters"],
        **more,
    )


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
                needed=_estimate(needed),
                share=_estimate(_scaled(needed, 1 / most)),
            )
        )
    return found


def _scaled(found: Interval, factor: float) -> Interval:
    def times(value: float | None) -> float | None:
        return None if value is None else value * factor

    return Interval(found.value * factor, times(found.low), times(found.high))


def _estimate(found: Interval) -> Estimate:
    return Estimate(value=_finite(found.value), low=_finite(found.low), high=_finite(found.high))


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _or_inf(value: float | None) -> float:
    return float("inf") if value is None else value


def _verdict(
    rows: Sequence[ArmRow],
    saved: Sequence[SavedRow],
    missing: Sequence[str],
    n_done: int,
    task: dict[str, Any],
    is_curve: bool,
) -> list[str]:
    """Sentences: what is missing, a baseline that wins, then what each pre-trained arm gains."""
    said = []
    if missing:
        said.append(
            f"Not finished: {len(missing)} of {len(missing) + n_done} units are missing; what "
            "follows may change."
        )
    if not rows:
        return said
    unit = f" {task['unit']}" if task["unit"] else ""
    most = max(row.n_labels for row in rows)
    last = [r for r in rows if r.value is not None and (not is_curve or r.n_labels == most)]
    cheap = [row for row in last if row.kind in ("baseline", "probe")]
    networks = [row for row in last if row.kind in ("scratch", "pretrained")]
    if cheap and networks:
        best, network = min(cheap, key=_value), min(networks, key=_value)
        if _value(best) <= _value(network):
            said.append(
                f"A cheap {best.kind} wins: {best.arm} has {task['metric']} {best.value:.4g}"
                f"{unit}, the best network ({network.arm}) {network.value:.4g}{unit}."
            )
    for row in last:
        if row.kind == "pretrained" and row.verdict:
            said.append(f"{row.arm}, beside its from-scratch twin: {row.verdict}.")
    for one in saved:
        if one.needed.value is None:
            text = "does not reach, within what was measured,"
        elif one.needed.value == 0:
            text = "needs fewer labels than the fewest that were measured for"
        else:
            text = f"needs {one.needed.value:.0f} labels for"
        said.append(f"{one.arm} {text} the error that its twin has with {one.n_labels}.")
    if cheap and networks and not any(text.startswith("A cheap") for text in said):
        best = min(cheap, key=_value)
        said.append(f"The best cheap {best.kind}, {best.arm}, has {best.value:.4g}{unit}.")
    return said


def _value(row: ArmRow) -> float:
    return _or_inf(row.value)
