"""Write docs/learning-curves.md and its figures from benchmarks/results/evaluation/curves.json.

    python scripts/generate_curves_page.py [--check]

``benchmarks/evaluation/curves.py`` makes the results; without them there is no page.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "evaluation" / "curves.json"
DOCS = ROOT / "docs"
PAGE = "learning-curves.md"
HEAD = """# Learning curves

<!-- Written by scripts/generate_curves_page.py; change the results or the script instead. -->

How error falls with the number of labels, for a pre-trained network, its from-scratch twin (same
network, labels, seeds, steps and learning rates tried) and models that need no network.
"""
KINDS = ("pretrained", "scratch", "baseline")
ONE = "the pre-trained network"


def page(results: dict[str, Any]) -> str:
    """The whole page."""
    parts = [HEAD]
    for name, curve in results["curves"].items():
        parts.append(f"## {name[0].upper()}{name[1:]}\n")
        parts.append("".join(f"- {text}\n" for text in curve["verdict"]))
        parts.append(table(curve))
        if curve["saved"]:
            parts.append(saved_table(curve))
        parts.append(f"![Error of {name} over labels]({figure_name(name)})\n")
        parts.append(f"{set_sentence(curve['set'])}\n")
    parts.append(how(results))
    return "\n".join(parts)


def renamed(results: dict[str, Any]) -> dict[str, Any]:
    """Results with a plain name for the one pre-trained arm: that of its folder tells nothing."""
    rows = [row for curve in results["curves"].values() for row in curve["rows"]]
    names = {row["arm"] for row in rows if row["kind"] == "pretrained"}
    if len(names) != 1:
        return results
    name = names.pop()
    word = re.compile(rf"(?<![\w/]){re.escape(name)}(?![\w/-])")

    def told(text: str) -> str:
        found = word.sub(ONE, text)
        return found[0].upper() + found[1:]

    def arms(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | {"arm": ONE if row["arm"] == name else row["arm"]} for row in rows]

    curves = {
        key: curve
        | {
            "verdict": [told(text) for text in curve["verdict"]],
            "rows": arms(curve["rows"]),
            "saved": arms(curve["saved"]),
        }
        for key, curve in results["curves"].items()
    }
    return results | {"curves": curves}


def best_rows(curve: dict[str, Any]) -> dict[int, dict[str, dict[str, Any]]]:
    """The best row of each kind of arm, by number of labels."""
    found: dict[int, dict[str, dict[str, Any]]] = {}
    rows = [row for row in curve["rows"] if row["value"] is not None]
    for row in sorted(rows, key=lambda row: (row["n_labels"], row["value"])):
        found.setdefault(row["n_labels"], {}).setdefault(row["kind"], row)
    return found


def table(curve: dict[str, Any]) -> str:
    """Errors by number of labels; the lowest of a line is bold."""
    unit = f" ({curve['unit']})" if curve["unit"] else ""
    lines = [
        f"| labels | pre-trained{unit} | from scratch | best baseline | gain over the twin, 95 % |",
        "|---|---|---|---|---|",
    ]
    for n_labels, best in best_rows(curve).items():
        lowest = min(row["value"] for row in best.values())
        cells = [cell(best.get(kind), lowest) for kind in KINDS]
        gain = gain_cell(best.get("pretrained"))
        lines.append(f"| {n_labels:,} | {' | '.join(cells)} | {gain} |")
    return "\n".join(lines) + "\n"


def cell(row: dict[str, Any] | None, lowest: float) -> str:
    """Mean ± standard deviation over draws of labels; a baseline's name too."""
    if row is None:
        return "-"
    text = f"{row['value']:.4g}"
    if row["spread"] is not None:
        text += f" ± {row['spread']:.2g}"
    if row["value"] == lowest:
        text = f"**{text}**"
    return f"{text} ({row['arm']})" if row["kind"] == "baseline" else text


def gain_cell(row: dict[str, Any] | None) -> str:
    """A gain with its interval."""
    if row is None or not row["gain"] or row["gain"]["value"] is None:
        return "-"
    return percent(row["gain"])


def percent(found: dict[str, Any]) -> str:
    """A share in percent, with what there is of its interval."""
    text = f"{100 * found['value']:.0f} %"
    ends = ["open" if found[k] is None else f"{100 * found[k]:.0f}" for k in ("low", "high")]
    return text if ends == ["open", "open"] else f"{text} ({' to '.join(ends)})"


def saved_table(curve: dict[str, Any]) -> str:
    """Labels with which an arm has the error that its twin has with the most."""
    lines = [
        "| arm | labels of the twin | labels for the same error | share, 95 % |",
        "|---|---|---|---|",
    ]
    for one in curve["saved"]:
        value = one["needed"]["value"]
        needed, share = "more than measured", "-"
        if value is not None:
            needed, share = "fewer than measured", "-"
        if value:
            needed, share = f"{value:.0f}", percent(one["share"])
        lines.append(f"| {one['arm']} | {one['n_labels']:,} | {needed} | {share} |")
    return "\n".join(lines) + "\n"


def set_sentence(about: dict[str, Any]) -> str:
    """Which crystals, and which were left out."""
    leakage = about["leakage"]
    return (
        f"The set is {about['n_used']:,} crystals of `{about['file']}`, drawn from those of at "
        f"most {about['most_atoms']} atoms, as in [What pre-training buys]"
        f"(what-pretraining-buys.md). {about['n_test']:,} of them judge, labels are drawn from "
        f"{about['n_pool']:,}. Left out: those of more than {about['max_atoms']} atoms "
        f"({about['left_out_test']:,} that would judge, {about['left_out_pool']:,} that would "
        f"train), and {about['left_out_development']:,} on which recipes were chosen. Of those "
        f"that judge, {leakage['n_leaked']:,} are in the corpus of {leakage['n_corpus']:,} "
        "crystals by the rule of [leakage](coverage.md), which is not the one that made the corpus."
    )


def how(results: dict[str, Any]) -> str:
    """How it was measured, and on what."""
    protocol, about = results["protocol"], results["environment"]
    labels = ", ".join(f"{n:,}" for n in protocol["n_labels"])
    missing = sum(len(curve["missing"]) for curve in results["curves"].values())
    unfinished = f" Units that are not done yet: {missing}." if missing else ""
    return (
        "## How\n\n"
        f"{labels} labels, validation included, in {protocol['n_seeds']} draws each, the same for "
        "all arms; one test part. Means over draws ± standard deviation. Gains: a geometric mean "
        "over draws, with a bootstrap over draws and crystals; the bootstrap of labels saved draws "
        f"seeds, and of so few its ends are rough.{unfinished}\n\n"
        f"`benchmarks/results/evaluation/curves.json`, by `benchmarks/evaluation/curves.py` on "
        f"{about['processor']}, torch {about['versions']['torch']}, commit {about['commit']}. "
        "Beside it lies a page for each set, `curve-*.html`, with all arms, errors by chemistry, "
        "calibration and costs.\n"
    )


def figure_name(name: str) -> str:
    """File of the figure of a set."""
    return f"learning-curves-{name.replace(' ', '-')}.svg"


def shown(curve: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the figure: networks, and the baseline that is best with the most labels."""
    best = best_rows(curve)
    cheap = best[max(best)].get("baseline") if best else None
    names = {cheap["arm"]} if cheap else set()
    return [r for r in curve["rows"] if r["kind"] in ("pretrained", "scratch") or r["arm"] in names]


def figure(curve: dict[str, Any]) -> str:
    """The drawing, with the hash of its numbers."""
    from atomprint.evaluation import evaluation_figures as figures
    from atomprint.evaluation.summary_rows import ArmRow

    rows = [ArmRow.model_validate(row) for row in shown(curve)]
    colors = figures.arm_colors(dict.fromkeys((row.arm, row.kind) for row in rows))
    axis = f"{curve['metric']} ({curve['unit']})" if curve["unit"] else curve["metric"]
    text = figures.learning_curves(rows, colors, axis)
    return text.replace("</svg>", f"<!-- numbers: {number(curve)} -->\n</svg>")


def number(curve: dict[str, Any]) -> str:
    """Hash of what a drawing shows; its bytes depend on the library's version, this does not."""
    data = [[row["arm"], row["n_labels"], row["values"]] for row in shown(curve)]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def stale(results: dict[str, Any], docs: Path) -> dict[Path, Callable[[], str]]:
    """Files that are out of date, with a function that returns what should be in them."""
    wanted: dict[Path, Callable[[], str]] = {}
    text = page(results)
    path = docs / PAGE
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        wanted[path] = lambda: text
    for name, curve in results["curves"].items():
        path = docs / figure_name(name)
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        found = re.search(r"<!-- numbers: (\w+) -->", before)
        if found is None or found[1] != number(curve):
            wanted[path] = lambda curve=curve: figure(curve)
    return wanted


def main() -> int:
    """Write the files, or with ``--check`` say whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=DOCS)
    arguments = parser.parse_args()
    if not arguments.results.is_file():
        return 0
    results = renamed(json.loads(arguments.results.read_text(encoding="utf-8")))
    files = stale(results, arguments.docs)
    for path, make in files.items():
        if arguments.check:
            print(f"{path.name} is out of date; run python {Path(__file__).name}", file=sys.stderr)
        else:
            path.write_text(make(), encoding="utf-8")
    return 1 if arguments.check and files else 0


if __name__ == "__main__":
    sys.exit(main())
