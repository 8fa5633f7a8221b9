"""Write the table of docs/several-machines.md: what dividing a pre-training run brings.

python scripts/generate_scaling_table.py [--check]
"""

import json
import sys
from pathlib import Path
from typing import Any

from written_page import write_or_check

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "several-machines.md"
BEGIN, END = (
    "<!-- scaling: begin (written by scripts/generate_scaling_table.py) -->",
    ("<!-- scaling: end -->"),
)
NAMES = {"ddp": "all weights (`ddp`)", "fsdp": "shards of them (`fsdp`)"}


def line(row: dict[str, Any], device: str, batch: int) -> str:
    """One case."""
    speeds = row["crystals_per_second"]
    held = NAMES[row["strategy"]] if row["processes"] > 1 else "–"
    if row["kind"] == "apart":
        held = "a run of its own"
    whole = batch * (row["processes"] if row["kind"] == "weak" else 1)
    cells = [
        f"{row['processes']} ({device})",
        held,
        str(whole),
        f"{row['median']:.0f} ({min(speeds):.0f} to {max(speeds):.0f})",
        f"{100 * row['efficiency']:.0f} %",
    ]
    return "| " + " | ".join(cells) + " |"


def table() -> str:
    """Return the table, with where it was measured."""
    lines = [
        "| processes | each holds | batch | crystals a second | of N times one process |",
        "| --- | --- | --- | --- | --- |",
    ]
    places = []
    for path in sorted(RESULTS.glob("scaling-*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        device = path.stem.removeprefix("scaling-")
        lines += [line(row, device, found["settings"]["batch"]) for row in found["rows"]]
        about = found["environment"]
        turns = len(found["rows"][0]["crystals_per_second"])
        places.append(
            f"{device}: {about['processor']}, torch {about['versions']['torch']}, median (least to "
            f"most) of {turns} runs of {found['settings']['steps']} steps, in turns"
        )
    return "\n".join([*lines, "", "; ".join(places) + "."])


def page() -> str:
    """Return the page with the table between its marks."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), (__doc__ or "").splitlines()[0]))
