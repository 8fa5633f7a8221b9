"""Figures of the page "What pre-training buys": same numbers, same bytes."""

import hashlib
import io
import json
from typing import Any

import gains as g
from arms import DEFAULT, RIVALS
from loaded import SCRATCH, Series, Study
from sets import SETS
from tables import title

COLORS = ("#1b6ca8", "#d1751b", "#8a5fb0", "#3a9a5c", "#b8912a", "#c2455e")
MARKERS = "osD^vP"
LOOK: dict[str, tuple[str, str]] = {SCRATCH: ("#444444", "X")} | {
    arm: (COLORS[i % 6], MARKERS[i % 6]) for i, arm in enumerate([DEFAULT, *RIVALS])
}


def curves(study: Study) -> dict[str, dict[str, g.Curve]]:
    """Learning curves on the test part, by set and arm: what has two numbers of labels at least."""
    found: dict[str, dict[str, g.Curve]] = {}
    for name in SETS:
        for arm in LOOK:
            one = g.curve(study.errors("test", arm), name)
            if len(one) > 1:
                found.setdefault(name, {})[arm] = one
    return found


def number(data: Any) -> str:
    """Hash of what a drawing shows; its bytes depend on the library's version, this does not."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def numbers_of_series(found: list[Series]) -> list[Any]:
    """What the drawing of series shows."""
    return [
        [s.arm, s.part, s.what, s.fixed, [[n, p.value, p.low, p.high] for n, p in s.points.items()]]
        for s in found
    ]


def _begin() -> Any:
    """The library of drawings, set so that its files are reproducible."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "atomprint", "svg.fonttype": "none", "font.size": 9.5}
    return plt


def _text(figure: Any, data: Any) -> str:
    """The file of a figure, with the hash of its numbers."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    _begin().close(figure)
    svg = "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
    return svg.replace("</svg>", f"<!-- numbers: {number(data)} -->\n</svg>")


def _plain(axis: Any, values: list[float], at: list[float] | None = None) -> None:
    """Ticks of a logarithmic axis as plain numbers."""
    from matplotlib import ticker

    if at is None:
        for subs in ((1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
            ticks = ticker.LogLocator(subs=subs).tick_values(min(values), max(values))
            at = [float(t) for t in ticks if min(values) / 1.05 <= t <= max(values) * 1.05]
            if len(at) > 2:
                break
        if at is None or len(at) < 2:
            at = ticker.MaxNLocator(4).tick_values(min(values), max(values)).tolist()
    axis.set_major_locator(ticker.FixedLocator(at))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(ticker.NullLocator())


def _bare(axes: Any) -> None:
    axes.grid(color="#e2e2e2", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw_curves(found: dict[str, dict[str, g.Curve]]) -> Any:
    """Labels against MAE, a panel a set: lines through geometric means, bands over all seeds."""
    plt = _begin()
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    size = (3.1 * columns + 0.4, 2.5 * rows + 0.9)
    figure, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    shown: dict[str, Any] = {}
    for axes, (name, arms) in zip(grid.flat, found.items(), strict=False):
        values: list[float] = []
        counts: set[float] = set()
        for arm, one in arms.items():
            color, marker = LOOK[arm]
            means = g.curve_means(one)
            low = [min(seeds.values()) for seeds in one.values()]
            high = [max(seeds.values()) for seeds in one.values()]
            axes.fill_between(list(one), low, high, color=color, alpha=0.18, lw=0)
            (shown[arm],) = axes.plot(
                list(means), list(means.values()), marker, ls="-", color=color, ms=4.5, lw=1.4,
                zorder=3 if arm in (DEFAULT, SCRATCH) else 2,
            )  # fmt: skip
            values += low + high
            counts |= set(one)
        axes.set_xscale("log")
        axes.set_yscale("log")
        _plain(axes.xaxis, sorted(counts), _apart(sorted(counts)))
        _plain(axes.yaxis, values)
        axes.set_title(title(name), fontsize=10)
        _bare(axes)
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    for index, axes in enumerate(grid.flat[: len(found)]):
        if index + columns >= len(found):
            axes.set_xlabel("labels")
        if index % columns == 0:
            axes.set_ylabel("MAE")
    order = [arm for arm in LOOK if arm in shown]
    figure.legend(
        [shown[arm] for arm in order],
        ["from scratch" if arm == SCRATCH else arm for arm in order],
        loc="outside upper center", ncols=min(4, len(order)), frameon=False, fontsize=10,
    )  # fmt: skip
    return figure


def _apart(counts: list[float]) -> list[float]:
    """Numbers of labels that can stand below an axis without touching, the last among them."""
    kept = [counts[-1]]
    for count in reversed(counts[:-1]):
        if kept[-1] / count >= (counts[-1] / counts[0]) ** 0.18:
            kept.append(count)
    return sorted(kept)


def draw_series(found: list[Series]) -> Any:
    """Gain against crystals and against steps, with the intervals of the means."""
    plt = _begin()
    panels = [what for what in ("n_crystals", "n_steps") if any(s.what == what for s in found)]
    figure, grid = plt.subplots(
        1, len(panels), figsize=(4.3 * len(panels), 3.6), layout="constrained", squeeze=False
    )
    words = {"n_crystals": "crystals in the corpus", "n_steps": "steps of pre-training"}
    fixed_words = {"n_crystals": "steps", "n_steps": "crystals"}
    arms = sorted({one.arm for one in found}, key=lambda arm: (arm != DEFAULT, arm))
    look = {arm: (COLORS[i % 6], MARKERS[i % 6]) for i, arm in enumerate(arms)}
    for axes, what in zip(grid.flat, panels, strict=True):
        ticks: set[float] = set()
        for index, one in enumerate(s for s in found if s.what == what):
            color, marker = look[one.arm]
            x = list(one.points)
            gains = [100 * point.value for point in one.points.values()]
            spans = [
                [
                    100 * abs(point.value - (point.value if end is None else end))
                    for point, end in pairs
                ]
                for pairs in (
                    [(p, p.low) for p in one.points.values()],
                    [(p, p.high) for p in one.points.values()],
                )
            ]
            label = f"{one.arm} ({one.part}; {one.fixed:,} {fixed_words[what]})"
            nudged = [value * 1.03**index for value in x]
            axes.errorbar(
                nudged, gains, spans, fmt=marker + ("-" if one.part == "test" else "--"),
                color=color, mfc=color if one.part == "test" else "white", ms=5, lw=1.4,
                elinewidth=0.9, capsize=2.5, label=label,
            )  # fmt: skip
            ticks |= set(x)
        axes.axhline(0, color="#888", lw=0.8)
        axes.set_xscale("log")
        _plain(axes.xaxis, sorted(ticks), _apart(sorted(ticks)))
        axes.margins(x=0.12)
        axes.set_xlabel(words[what])
        axes.set_ylabel("mean gain, %")
        axes.legend(frameon=False, fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.2))
        _bare(axes)
    return figure


def curves_svg(found: dict[str, dict[str, g.Curve]]) -> str:
    """Learning curves as an SVG."""
    return _text(draw_curves(found), found)


def series_svg(found: list[Series]) -> str:
    """Series as an SVG."""
    return _text(draw_series(found), numbers_of_series(found))
