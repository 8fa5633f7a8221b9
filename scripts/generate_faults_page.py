"""Write docs/faults.md from the JSON under benchmarks/results/faults.

python scripts/generate_faults_page.py [--check]
"""

import json
import sys
from pathlib import Path
from typing import Any

from written_page import write_or_check

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "faults"
PAGE = ROOT / "docs" / "faults.md"
MOST = 240


def load(name: str) -> dict[str, Any] | None:
    """Return a result by name, or None if it was never measured."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def where(result: dict[str, Any]) -> str:
    """Say on what it was measured."""
    about = result["environment"]
    return f"{about['processor']}, {about['platform']}, Python {about['python']}."


def kills(result: dict[str, Any]) -> list[str]:
    """A line a command."""
    lines = [
        "## Killed at random moments",
        "",
        "`python benchmarks/faults/kill.py --kills N --work WORK` starts a command, kills it with "
        "SIGKILL at a random moment, starts it again as a person would, and so on until it ends; "
        "then looks whether the result is that of a run that nobody killed. *Lost* and *doubled* "
        "count crystals, and predictions of an evaluation; of pre-training, the weights are "
        "compared. *At work*: kills after the run had made its first file; the others fell into "
        "its start. Runs are small and commit often (every 100 crystals, every 10 steps), and are "
        "forks of a process that has loaded its libraries, so that kills fall into the work.",
        "",
        "| command | kills | at work | runs that ended | with the same result | lost | doubled |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in result["commands"].items():
        lines.append(
            f"| {name} | {row['kills']} | {row['part_after_start']:.0%} | {row['survivals']} "
            f"| {row['equal']} | {row['lost']} | {row['doubled']} |"
        )
    return [*lines, "", where(result)]


def said(text: str) -> str:
    """What a command said, without the folders of the machine that it ran on."""
    words = text.removeprefix("atomprint: ").split()
    short = [f"…/{word.rsplit('/', 1)[1]}" if word.startswith("/") else word for word in words]
    joined = " ".join(short).replace("|", "\\|")
    return joined if len(joined) <= MOST else joined[:MOST] + " …"


def conditions(result: dict[str, Any]) -> list[str]:
    """A line a condition and command."""
    lines = [
        "## Something wrong with the machine",
        "",
        "`python benchmarks/faults/conditions.py --work WORK`. *Afterwards*: whether the same "
        "command (`--resume`, for pre-training), given again when nothing is wrong any more, ends "
        "with the result of an undisturbed run; a dash where nothing was begun. Of two writers it "
        "is the first one's result (two evaluations of one folder share its units instead); the "
        "clock goes back by an hour at every tenth look.",
        "",
        "| | command | status | said | afterwards |",
        "|---|---|---|---|---|",
    ]
    for row in sorted(result["rows"], key=lambda r: (r["condition"], r["command"])):
        known = {True: "same result", False: "**another result**", None: "-"}
        # Where all went well there is nothing to say.
        text = said(row["said"]) if row["status"] else "(nothing, and none is due)"
        lines.append(
            f"| {row['condition']} | {row['command']} | {row['status']} | {text} "
            f"| {known[row['same_result_afterwards']]} |"
        )
    return [*lines, "", where(result)]


def fuzzing(result: dict[str, Any]) -> list[str]:
    """A line a target."""
    lines = [
        "## Broken files",
        "",
        "`python fuzz/run.py --seconds N` ([Files of strangers](security.md#fuzzing)). Findings "
        "are those of the last run, after what earlier ones found was mended; each of those is a "
        "test now.",
        "",
        "| input | cases | seconds | engine | findings |",
        "|---|---|---|---|---|",
    ]
    total = 0
    for name, row in sorted(result["targets"].items()):
        total += row["cases"] or 0
        cases = "?" if row["cases"] is None else f"{row['cases']:,}"
        found = "; ".join(row["findings"]) or "0"
        lines.append(f"| {name} | {cases} | {row['seconds']} | {row['engine']} | {found} |")
    if result.get("mended"):
        lines += ["", "Found before, and mended: " + "; ".join(result["mended"]) + "."]
    return [*lines, "", f"{total:,} cases in all. {where(result)}"]


def page() -> str:
    """Write the whole page."""
    lines = [
        "# Faults",
        "",
        "What happens to runs that are killed, disks that are full and files that are broken. "
        "Written by `scripts/generate_faults_page.py` from `benchmarks/results/faults`.",
    ]
    for name, part in (("kill", kills), ("conditions", conditions), ("fuzz", fuzzing)):
        result = load(name)
        if result is not None:
            lines += ["", *part(result)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), (__doc__ or "").splitlines()[0]))
