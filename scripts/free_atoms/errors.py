"""Write the table of fit errors into docs/fingerprints/gmp.md, between its two marks."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "fingerprints" / "gmp.md"
TABLE = ROOT / "src" / "atomprint" / "fingerprints" / "gmp_gaussians.json"
START, STOP = "<!-- errors: start -->\n", "<!-- errors: stop -->"
PERIODS = (2, 10, 18, 36, 54, 86, 102)


def main() -> None:
    """Read the table of Gaussians, and write one line per period."""
    entries = json.loads(TABLE.read_text(encoding="utf-8"))["elements"]
    lines = ["| period | element: Gaussians, misplaced charge in percent |", "|---|---|"]
    for period, last in enumerate(PERIODS, 1):
        first = PERIODS[period - 2] if period > 1 else 0
        cells = [
            f"{symbol}: {len(entry['gaussians'])}, {100 * entry['misplaced_by_fit']:.2f}"
            for symbol, entry in entries.items()
            if first < entry["number"] <= last
        ]
        lines.append(f"| {period} | {'; '.join(cells)} |")
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(START)
    PAGE.write_text(head + START + "\n".join(lines) + "\n" + STOP + rest.split(STOP)[1])


if __name__ == "__main__":
    main()
