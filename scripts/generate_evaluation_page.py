"""Write docs/published.md: measured on MatBench's folds, beside published figures.

    python scripts/generate_evaluation_page.py [--check]

Reads ``benchmarks/published/matbench.json`` and every file of ``benchmarks/results/evaluation/``
that holds tasks (``benchmarks/evaluation/matbench.py`` writes them). Where learning curves are
measured (``benchmarks/evaluation/curves.py``), their page is written, too; see
``generate_curves_page.py``.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from generate_curves_page import main as curves_main

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "evaluation"
PUBLISHED = ROOT / "benchmarks" / "published" / "matbench.json"
PAGE = ROOT / "docs" / "published.md"
N_FOLDS = 5
KINDS = ("pretrained", "scratch", "baseline")
HEAD = """# Beside published figures

<!-- Written by scripts/generate_evaluation_page.py; change the results or the script instead. -->

"""


@dataclass(frozen=True)
class Task:
    """What was measured on a task, beside what was published.

    Attributes
    ----------
    name, unit, file
        Of the task, and the file with its results.
    best
        The best row of each kind of arm: ``pretrained``, ``scratch``, ``baseline``.
    without
        Best published error without pre-training, and whose it is.
    jmp
        That of JMP-L.
    """

    name: str
    unit: str
    file: str
    best: dict[str, dict[str, Any]]
    without: tuple[float, str]
    jmp: float

    @property
    def ours(self) -> dict[str, Any]:
        """Row of our best arm of all, on as many folds as any has."""
        rows = list(self.best.values())
        most = max(row["n_splits"] for row in rows)
        return min((r for r in rows if r["n_splits"] == most), key=lambda row: row["value"])

    @property
    def network(self) -> dict[str, Any]:
        """Row of our pre-trained network, or of the one from scratch."""
        return self.best.get("pretrained") or self.best.get("scratch") or self.ours

    @property
    def behind(self) -> float:
        """How much worse our network is than the best published one, 0.1 for 10 %."""
        return float(self.network["value"] / self.without[0] - 1)

    @property
    def complete(self) -> bool:
        """Whether all folds of our network are done."""
        return bool(self.network["n_splits"] == N_FOLDS)


def tasks(results: dict[str, dict[str, Any]], published: dict[str, Any]) -> list[Task]:
    """Tasks that have results and published figures; of several files the best network's."""
    found: dict[str, Task] = {}
    for file, content in sorted(results.items()):
        for name, measured in content.get("tasks", {}).items():
            known = published["tasks"].get(name)
            rows = [row for row in measured["rows"] if row["value"] is not None]
            if known is None or not rows:
                continue
            best: dict[str, dict[str, Any]] = {}
            for row in sorted(rows, key=lambda row: (-row["n_splits"], row["value"])):
                if row["kind"] in KINDS:
                    best.setdefault(row["kind"], row)
            if not best:
                continue
            whose = (known["without"][0], known["without"][1])
            one = Task(name, measured["unit"], file, best, whose, known["jmp"])
            other = found.get(name)
            if other is None or _order(one) < _order(other):
                found[name] = one
    return [found[name] for name in published["tasks"] if name in found]


def _order(task: Task) -> tuple[int, float]:
    return -task.network["n_splits"], task.network["value"]


def page(results: dict[str, dict[str, Any]], published: dict[str, Any]) -> str:
    """The whole page."""
    found = tasks(results, published)
    lost = sorted((one for one in found if one.behind > 0), key=lambda one: -one.behind)
    won = [one for one in found if one.behind <= 0]
    missing = [name for name in published["tasks"] if name not in {one.name for one in found}]
    parts = [HEAD, "## Where we lose\n\n"]
    parts += [f"- {lost_sentence(one)}\n" for one in lost]
    parts += [f"- {baseline_sentence(one)}\n" for one in found if baseline_wins(one)]
    parts += [f"- {jmp_sentence(one)}\n" for one in found if one.network["value"] > one.jmp]
    if missing:
        names = ", ".join(missing)
        parts.append(f"- Not measured, and so not claimed: {names}.\n")
    if won:
        parts.append("\n## Where we do not\n\n")
        parts += [f"- {won_sentence(one)}\n" for one in won]
    parts += ["\n## The figures\n\n", table(found), "\n", COLUMNS]
    if missing:
        parts += ["\nPublished, and not measured by us:\n\n", missing_table(missing, published)]
    parts.append("\n## What differs\n\n")
    parts += [f"- {text}\n" for text in published["differences"]]
    parts.append(PAPER)
    parts.append(f"\nPublished: {published['source']}. Ours:\n\n")
    for file in sorted({one.file for one in found}):
        about = results[file]["environment"]
        parts.append(
            f"- `benchmarks/results/evaluation/{file}`, by `benchmarks/evaluation/matbench.py` on "
            f"{about['processor']}, torch {about['versions']['torch']}, commit {about['commit']}\n"
        )
    pages = [f"`matbench-{one.name}.html`" for one in found if page_of(one.name).is_file()]
    if pages:
        lie = "lies" if len(pages) == 1 else "lie"
        parts.append(
            f"\nBeside them {lie} {' and '.join(pages)}: every arm and fold, errors by chemistry "
            "and by coverage, calibration, costs, settings.\n"
        )
    return "".join(parts)


def page_of(task: str) -> Path:
    """Where the page of a task's whole evaluation is kept."""
    return RESULTS / f"matbench-{task}.html"


COLUMNS = (
    "Mean absolute error, mean over folds (five, if nothing else is said) ± its standard deviation "
    "over folds. *Pre-trained*: structures without labels. *From scratch*: its twin, with the same "
    "network, labels and tuning. *Baseline*: the best of [those without a network](baselines.md).\n"
)
PAPER = (
    "- The work that this package follows (arXiv 2503.01227) reports mean gains over no "
    "pre-training of 15 to 17 % over eleven sets, on random 60/20/20 splits with five seeds; no "
    "table of errors by set is known to us, so that there is nothing to put beside ours.\n"
)


CURVES = (
    "\nHow errors fall with the number of labels is on a page of its own: "
    "[Learning curves](learning-curves.md).\n"
)


def lost_sentence(task: Task) -> str:
    """How far behind the best published figure."""
    value, whose = task.without
    return (
        f"**{task.name}**: our best network has {measured(task.network, task.unit)}, "
        f"{100 * task.behind:.0f} % more than the best published figure without pre-training, "
        f"{value:g} ({whose}).{unfinished(task)}{told_apart(task)}"
    )


def won_sentence(task: Task) -> str:
    """How far ahead of it."""
    value, whose = task.without
    return (
        f"**{task.name}**: our best network has {measured(task.network, task.unit)}, "
        f"{-100 * task.behind:.0f} % less than the best published figure without pre-training, "
        f"{value:g} ({whose}).{unfinished(task)}{told_apart(task)}"
    )


def baseline_wins(task: Task) -> bool:
    """Whether a model without a network is better than our best network on as many folds."""
    cheap = task.best.get("baseline")
    network = task.network
    return bool(
        cheap is not None
        and cheap is not network
        and cheap["n_splits"] == network["n_splits"]
        and cheap["value"] <= network["value"]
    )


def baseline_sentence(task: Task) -> str:
    """That it is."""
    cheap = task.best["baseline"]
    return (
        f"**{task.name}**: {cheap['arm']}, which needs no network, has "
        f"{measured(cheap, task.unit)} and is ahead of our best network."
    )


def jmp_sentence(task: Task) -> str:
    """How far behind the network with 120 million labelled structures."""
    more = 100 * (task.network["value"] / task.jmp - 1)
    return (
        f"**{task.name}**: JMP-L, pre-trained on 120 million labelled structures, has "
        f"{task.jmp:g}: ours is {more:.0f} % above it."
    )


def measured(row: dict[str, Any], unit: str) -> str:
    """A mean with its interval, where the results have one."""
    text = f"{row['value']:.4g} {unit}".strip()
    interval = row.get("interval")
    if interval and interval["low"] is not None:
        text += f" (95 % interval {interval['low']:.4g} to {interval['high']:.4g})"
    return text


def unfinished(task: Task) -> str:
    """That folds are missing, so that the mean is none of MatBench's."""
    if task.complete:
        return ""
    n = task.network["n_splits"]
    return f" Only {n} of {N_FOLDS} folds are done: this is not yet a figure to compare."


def told_apart(task: Task) -> str:
    """Whether the published figure lies within our interval."""
    interval = task.network.get("interval")
    if not task.complete or not interval or interval["low"] is None:
        return ""
    if interval["low"] <= task.without[0] <= interval["high"]:
        return " It lies within our interval: the two cannot be told apart by it."
    return ""


def table(found: list[Task]) -> str:
    """Ours and theirs, a row a task."""
    rows = [
        "| task | pre-trained | from scratch | best baseline | published, no pre-training "
        "| JMP-L |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        cells = [cell(one.best.get(kind)) for kind in KINDS]
        name = f"{one.name} ({one.unit})" if one.unit else one.name
        value, whose = one.without
        rows.append(f"| {name} | {' | '.join(cells)} | {value:g} ({whose}) | {one.jmp:g} |")
    return "\n".join(rows) + "\n"


def cell(row: dict[str, Any] | None) -> str:
    """Mean ± spread, and how many folds if not all."""
    if row is None:
        return "-"
    text = f"{row['value']:.4g}"
    if row.get("spread") is not None:
        text += f" ± {row['spread']:.2g}"
    return text if row["n_splits"] == N_FOLDS else f"{text}, {row['n_splits']} folds"


def missing_table(names: list[str], published: dict[str, Any]) -> str:
    """Published figures of tasks without results."""
    rows = ["| task | published, no pre-training | JMP-L |", "|---|---|---|"]
    for name in names:
        one = published["tasks"][name]
        label = f"{name} ({one['unit']})" if one["unit"] else name
        value, whose = one["without"]
        rows.append(f"| {label} | {value:g} ({whose}) | {one['jmp']:g} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write, or check."""
    results = {
        path.name: json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")
    }
    results = {name: content for name, content in results.items() if "tasks" in content}
    text = page(results, json.loads(PUBLISHED.read_text(encoding="utf-8")))
    if (RESULTS / "curves.json").is_file():
        text += CURVES
    if curves_main():
        sys.exit(1)
    if "--check" in sys.argv[1:]:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            sys.exit(
                "docs/published.md is out of date; run python scripts/generate_evaluation_page.py"
            )
        return
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
