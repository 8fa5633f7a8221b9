"""Figures of an evaluation's page, as SVG text."""

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from atomprint.evaluation.figures import STYLE, svg
from atomprint.evaluation.summary_rows import ArmRow, DistanceRow

Array = npt.NDArray[np.float64]

SIZE = (4.4, 3.5)
MANY = 1500
"""Points of a cloud; of larger sets this many are drawn, chosen at random."""

# Okabe & Ito's colours, warm for from-scratch networks and blue for pre-trained ones.
COLORS = {
    "pretrained": ("#0072B2", "#56B4E9", "#332288", "#117733"),
    "scratch": ("#D55E00", "#E69F00"),
    "baseline": ("#555555", "#999999", "#8c6d31", "#bd9e39"),
    "probe": ("#009E73", "#CC79A7", "#44AA99", "#AA4499"),
}
MARKERS = {"pretrained": "o", "scratch": "s", "baseline": "^", "probe": "D"}


def arm_colors(arms: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A colour for each (name, kind); those of a kind are kin."""
    found: dict[str, str] = {}
    count = dict.fromkeys(COLORS, 0)
    for name, kind in arms:
        palette = COLORS[kind]
        found[name] = palette[count[kind] % len(palette)]
        count[kind] += 1
    return found


def drawn(draw: Callable[[Axes], None], size: tuple[float, float] = SIZE, title: str = "") -> str:
    """SVG text of one pair of axes; ``title`` says to those who do not see it what it shows."""
    with mpl.rc_context({**STYLE, "svg.fonttype": "none"}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        text = svg(figure)
    # Names of parts repeat from figure to figure and serve nothing, but for those of clouds.
    text = re.sub(r'<g id="(?!cloud)[A-Za-z0-9_]+">', "<g>", text)
    label = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def learning_curves(rows: Sequence[ArmRow], colors: dict[str, str], axis: str) -> str:
    """Mean error over the number of labels, with the range over draws of labels as a band."""

    def draw(axes: Axes) -> None:
        for arm, color in colors.items():
            mine = sorted((r for r in rows if r.arm == arm and r.value), key=lambda r: r.n_labels)
            if not mine:
                continue
            x = [row.n_labels for row in mine]
            known = [[v for v in row.values.values() if v] for row in mine]
            cheap = mine[0].kind in ("baseline", "probe")
            axes.fill_between(
                x, [min(v) for v in known], [max(v) for v in known], color=color, alpha=0.15, lw=0
            )
            axes.plot(
                x, [row.value or math.nan for row in mine], color=color, label=wrapped(arm),
                marker=MARKERS[mine[0].kind], ms=5, lw=1 if cheap else 1.8,
                ls="--" if cheap else "-",
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="labels", ylabel=plain(axis))
        ticks = sorted({row.n_labels for row in rows})
        axes.set_xticks(ticks, [str(n) for n in ticks])
        axes.set_xticks([], minor=True)
        _plain_log(axes)
        axes.figure.legend(loc="outside lower left", frameon=False, fontsize=8.5, ncols=2)

    return drawn(draw, (4.8, 4.3), "Learning curves: error over number of labels")


def splits(rows: Sequence[ArmRow], colors: dict[str, str], axis: str) -> str:
    """Error of every arm on every split, a dot each, with the mean as a line."""
    shown = [(row, row.value) for row in rows if row.value is not None][::-1]

    def draw(axes: Axes) -> None:
        for y, (row, mean) in enumerate(shown):
            known = [v for v in row.values.values() if v is not None]
            axes.plot(
                known, [y] * len(known), MARKERS[row.kind], color=colors[row.arm], ms=6, alpha=0.6
            )
            axes.plot([mean] * 2, [y - 0.3, y + 0.3], color=colors[row.arm], lw=2.5)
        axes.set_yticks(range(len(shown)), [wrapped(row.arm) for row, _ in shown])
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.set_xlabel(plain(axis))
        values = [v for row, _ in shown for v in row.values.values() if v is not None]
        if values and min(values) > 0 and max(values) > 8 * min(values):
            axes.set_xscale("log")
            _plain_log(axes, "x")

    return drawn(draw, (4.8, 1.2 + 0.34 * len(shown)), "Error of every arm on every split")


def by_distance(
    rows: Sequence[DistanceRow], names: Sequence[str], colors: dict[str, str], axis: str
) -> str:
    """Mean error of each fifth of the crystals, nearest to the corpus first."""

    def draw(axes: Axes) -> None:
        for row in rows:
            values = [one.value for one in row.bins]
            axes.plot(
                range(len(values)), values, "o-", color=colors[row.arm], ms=4, lw=1.2,
                label=wrapped(row.arm),
            )  # fmt: skip
        axes.set_xticks(range(len(names)), names, fontsize=8.5)
        axes.set(xlabel="distance from the corpus", ylabel=plain(axis))
        every = [one.value for row in rows for one in row.bins]
        if min(every) > 0 and max(every) > 8 * min(every):
            axes.set_yscale("log")
            _plain_log(axes)
        else:
            axes.set_ylim(bottom=0)
        axes.figure.legend(loc="outside lower left", frameon=False, fontsize=8.5, ncols=2)

    return drawn(draw, (4.8, 4.3), "Error over distance from the corpus")


def parity(name: str, wanted: Array, predicted: Array, color: str, axis: str) -> str:
    """Predictions over labels; dots are named, so that the page can say which crystal each is."""

    def draw(axes: Axes) -> None:
        ends = [wanted.min(), wanted.max()]
        axes.plot(ends, ends, color="black", lw=0.8)
        axes.plot(wanted, predicted, ".", color=color, ms=6, alpha=0.55, gid=f"cloud-{name}-parity")
        axes.set(xlabel=plain(axis), ylabel=plain(axis.replace("label", "predicted")))

    return _light(drawn(draw, title="Predictions over labels"))


def residuals(name: str, wanted: Array, predicted: Array, color: str, axis: str) -> str:
    """What is predicted too high or too low, over the label."""

    def draw(axes: Axes) -> None:
        axes.axhline(0, color="black", lw=0.8)
        axes.plot(
            wanted, predicted - wanted, ".", color=color, ms=6, alpha=0.55,
            gid=f"cloud-{name}-residual",
        )  # fmt: skip
        axes.set(xlabel=plain(axis), ylabel="predicted - label")

    return _light(drawn(draw, title="Residuals over labels"))


def against_stated(
    series: Sequence[tuple[str, str, Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
) -> str:
    """What was found against what was stated, both from 0 to 1: (name, colour, stated, found)."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="black", lw=0.8)
        for name, color, stated, found in series:
            axes.plot(stated, found, "o-", color=color, ms=4, lw=1.2, label=wrapped(name))
        axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1.02), ylim=(0, 1.02))
        axes.figure.legend(loc="outside lower left", frameon=False, fontsize=8.5, ncols=2)

    return drawn(draw, (4.6, 4.4), f"{ylabel} over {xlabel}")


def plain(text: str) -> str:
    """Text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def wrapped(name: str) -> str:
    """A long name on several lines."""
    return plain("\n".join(textwrap.wrap(name, 26)))


def _light(text: str) -> str:
    """Give the style of a cloud's dots to their group: one for all instead of one each."""

    def lighten(match: re.Match[str]) -> str:
        group = match.group(0)
        style = re.search(r'<use [^>]*(style="[^"]*")', group)
        if style is None:
            return group
        return group.replace(" " + style.group(1), "").replace("<g ", f"<g {style.group(1)} ", 1)

    return re.sub(r'<g id="cloud-.*?</g>\s*</g>', lighten, text, flags=re.S)


def _plain_log(axes: Axes, which: str = "y") -> None:
    """Ticks at 1, 2, 5 of every decade, of many decades at 1, as plain numbers."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 50 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
