"""Write the tables of docs/coverage.md from benchmarks/results/evaluation/coverage.json.

python scripts/generate_coverage_page.py [--check]
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "evaluation" / "coverage.json"
PAGE = ROOT / "docs" / "coverage.md"
BEGIN, END = "<!-- begin: {} -->\n", "<!-- end: {} -->"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines) + "\n"


def coverage(found: dict[str, Any]) -> str:
    """Sets against both corpora."""
    rows = []
    for corpus, one in found.items():
        for name, numbers in one["sets"].items():
            rows.append(
                [
                    f"`{corpus}` ({one['n_corpus']:,})",
                    name,
                    f"{numbers['n_crystals']:,}",
                    f"{100 * numbers['beyond_95']:.1f} %",
                    f"{100 * numbers['beyond_99']:.1f} %",
                    f"{numbers['auc']:.2f}",
                    numbers["verdict"],
                ]
            )
    return table(
        ["corpus", "set", "crystals", "beyond 95th", "beyond 99th", "AUC", "verdict"], rows
    )


def leakage(found: dict[str, Any]) -> str:
    """Agreement with StructureMatcher, by rule."""
    rows = []
    for name, one in found["agreement with StructureMatcher"].items():
        for rule in ("fingerprint", "formula and volume within 2 %"):
            cells = ["-" if one[rule][k] is None else f"{one[rule][k]:.3f}" for k in one[rule]]
            rows.append([name, f"{one['n_pairs']} ({one['n_same']})", rule, *cells])
    return table(["pairs with mp from", "pairs (the same)", "rule", "precision", "recall"], rows)


def main() -> None:
    """Write, or check."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = text = PAGE.read_text(encoding="utf-8")
    parts = {"coverage": coverage(results["coverage"]), "leakage": leakage(results["leakage"])}
    for name, new in parts.items():
        begin, end = BEGIN.format(name), END.format(name)
        first, last = text.index(begin) + len(begin), text.index(end)
        text = text[:first] + new + text[last:]
    if "--check" in sys.argv[1:]:
        if text != page:
            sys.exit(
                "docs/coverage.md is out of date; run python scripts/generate_coverage_page.py"
            )
        return
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
