"""The report's figures, as SVG text."""

import io
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib.figure import Figure

from atomprint.evaluation.runs import Run, numbers

# Okabe & Ito's colours keep apart for every kind of colour vision.
PRETRAINED, TWIN = "#0072B2", "#D55E00"
OTHERS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Points beyond which a cloud is drawn as a picture: each would be an element of the page.
MANY = 2_000
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "svg.fonttype": "path",
    # A fixed salt makes the same figure the same text.
    "svg.hashsalt": "atomprint",
}


def svg(figure: Figure) -> str:
    """A figure as an SVG element."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _rows(history: Sequence[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    picked = [(r["step"], r[name]) for r in history if name in r]
    return [p[0] for p in picked], [p[1] for p in picked]


def pretraining_curves(run: Run) -> str:
    """Losses of all objectives over the steps, training and held-out crystals."""
    history = run.history["rows"]
    names = sorted({n.removeprefix("train/") for r in history for n in r if n.startswith("train/")})
    names = [n for n in names if n != "loss"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6))
        axes = figure.subplots()
        for color, name in zip(OTHERS * len(names), names, strict=False):
            axes.plot(*_rows(history, f"train/{name}"), color=color, lw=1, label=name)
            axes.plot(*_rows(history, f"valid/{name}"), color=color, marker="o", ms=3, ls="--")
        axes.set(xlabel="step", ylabel="loss", yscale="log")
        axes.set_title("Lines: training (perturbed). Dots: held-out crystals.", fontsize=9)
        if names:
            axes.legend(frameon=False, fontsize=8)
        return svg(figure)


def finetuning_curves(run: Run) -> str:
    """Validation error over the steps: the pre-trained network, its twin, every rate tried."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6))
        axes = figure.subplots()
        for arm, trials in run.history.items():
            color = PRETRAINED if arm == "pretrained" else TWIN
            for trial in trials:
                kept = bool(trial.get("chosen"))
                label = f"{arm}, rate {trial['learning_rate']:g} (kept)" if kept else None
                axes.plot(
                    *_rows(trial["history"], "valid/value"),
                    color=color, lw=2 if kept else 0.8, alpha=1 if kept else 0.45, label=label,
                )  # fmt: skip
        axes.set(xlabel="step", ylabel="validation error (spreads)", yscale="log")
        axes.legend(frameon=False, fontsize=8)
        return svg(figure)


def parity(run: Run, row: dict[str, Any]) -> str:
    """Test predictions against labels, and how the errors are distributed."""
    target = row["target"]
    wanted = np.array(numbers(run, target, "test"))
    arms = [
        (color, label, np.array(numbers(run, f"{target}_{suffix}", "test")))
        for suffix, color, label in (
            ("twin", TWIN, "from scratch"),
            ("predicted", PRETRAINED, "pre-trained"),
        )
        if f"{target}_{suffix}" in run.predictions
    ]
    known = wanted[np.isfinite(wanted)]
    residuals = [(found - wanted)[np.isfinite(found - wanted)] for _, _, found in arms]
    # One scale for both histograms; the farthest 2 % are counted in the outermost bars.
    everything = np.abs(np.concatenate([*residuals, np.zeros(1)]))
    limit = float(np.quantile(everything, 0.98)) or 1.0
    bins = np.linspace(-limit, limit, 41)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 3.6))
        left, right = figure.subplots(1, 2)
        for (color, label, found), residual in zip(arms, residuals, strict=True):
            left.plot(
                wanted, found, ".", color=color, ms=4, alpha=0.6, label=label,
                rasterized=len(wanted) > MANY,
            )  # fmt: skip
            right.hist(
                np.clip(residual, -limit, limit), bins=bins, histtype="stepfilled", alpha=0.2,
                color=color,
            )  # fmt: skip
            right.hist(
                np.clip(residual, -limit, limit), bins=bins, histtype="step", lw=1.5, color=color
            )
        if known.size:
            ends = [known.min(), known.max()]
            left.plot(ends, ends, color="black", lw=0.8)
        left.set(xlabel=_label(target, row), ylabel="predicted")
        right.set(xlabel=_label("predicted - label", row), ylabel="test crystals")
        left.legend(frameon=False, fontsize=8)
        figure.tight_layout()
        return svg(figure)


def _label(name: str, row: dict[str, Any]) -> str:
    unit = f" ({row['unit']})" if row.get("unit") else ""
    # A dollar sign would begin a formula.
    return f"{name}{unit}".replace("$", r"\$")


def learning_curve(rows: Sequence[dict[str, Any]]) -> str:
    """Test error over the number of labels: means over seeds, with the range."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6))
        axes = figure.subplots()
        for key, color, label in (
            ("value", PRETRAINED, "pre-trained"),
            ("twin_value", TWIN, "from scratch"),
        ):
            groups: dict[int, list[float]] = defaultdict(list)
            for row in rows:
                value = row.get(key)
                if value is not None and math.isfinite(value):
                    groups[row["n_train"]].append(value)
            if not groups:
                continue
            x = sorted(groups)
            mean = np.array([np.mean(groups[n]) for n in x])
            low = mean - np.array([min(groups[n]) for n in x])
            high = np.array([max(groups[n]) for n in x]) - mean
            axes.errorbar(x, mean, [low, high], color=color, marker="o", capsize=3, label=label)
        axes.set(xlabel="labels", xscale="log", yscale="log")
        axes.set_ylabel(_label(f"test {rows[0]['metric']}", rows[0]))
        ticks = sorted({row["n_train"] for row in rows})
        axes.set_xticks(ticks, [str(n) for n in ticks])
        axes.set_xticks([], minor=True)
        axes.legend(frameon=False, fontsize=8)
        return svg(figure)
