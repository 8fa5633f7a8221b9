"""Write docs/generators.md and its plot from benchmarks/results/generators.json.

python scripts/generate_generators_page.py [--check]
"""

import argparse
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "generators.json"
PAGE = ROOT / "docs" / "generators.md"
PLOT = ROOT / "docs" / "generators.svg"
NAMES = {
    "mp": "Materials Project",
    "matbench_jdft2d": "JARVIS-DFT layers",
    "qmof": "QMOF",
}
PANELS = {
    "density": "density (g/cm³)",
    "bond": "nearest distance by covalent radii",
    "coordination": "neighbours within 1.2 times it",
    "systems": "crystal system",
    "vacuum": "widest gap between planes (Å)",
}
AIMS = {"generated/substitution": 500, "derived": 500, "generated/search": 50}


def percent(value: float) -> str:
    """Write a share."""
    return f"{100 * value:.1f}" if value < 0.0995 else f"{100 * value:.0f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def quality(results: dict[str, Any]) -> str:
    """Acceptance, validity, duplicates, speed."""
    rows = []
    for name, one in results["generators"].items():
        rate = one["a_second_a_core"]
        spread = f"{rate['median']:.0f} ({rate['min']:.0f} to {rate['max']:.0f})"
        if rate["max"] < 10:
            spread = f"{rate['median']:.1f} ({rate['min']:.1f} to {rate['max']:.1f})"
        valid = one["valid"]
        rows.append(
            [
                f"`{name}`", f"{one['n']:,}", percent(one["accepted"]), percent(valid["apart"]),
                percent(valid["smact"]), percent(valid["both"]), percent(one["duplicates"]),
                spread, str(AIMS.get(name, "")),
            ]
        )  # fmt: skip
    for name, one in results["real"].items():
        valid = one["valid"]
        rows.append(
            [
                f"real: {NAMES[name]}", f"{one['n']:,}", "", percent(valid["apart"]),
                percent(valid["smact"]), percent(valid["both"]), percent(one["duplicates"]), "",
                "",
            ]
        )  # fmt: skip
    head = [
        "", "crystals", "accepted (%)", "no short distance (%)", "SMACT (%)", "both (%)",
        "duplicates (%)", "a second and core", "aim",
    ]  # fmt: skip
    return table(head, rows)


def cells(found: dict[str, Any]) -> list[str]:
    """Two-sample distances as cells."""
    numbers = [
        f"{found[name]['ks']:.2f} / {found[name]['wasserstein']:.2g}"
        for name in ("density", "bond", "coordination", "atoms")
    ]
    shares = [
        f"{found[name]['overlap']:.2f}" for name in ("groups", "systems", "elements", "n_elements")
    ]
    return numbers + shares


HEAD = [
    "", "density", "nearest distance", "coordination", "atoms a cell", "space groups",
    "crystal systems", "elements", "elements a crystal",
]  # fmt: skip


def against(results: dict[str, Any], real: str) -> str:
    """All generators against one real set, the floor first."""
    rows = [[f"real, half against half ({NAMES[real]})", *cells(results["real"][real]["halves"])]]
    for name, other in results["real"].items():
        if real in other["against"]:
            rows.append([f"real: {NAMES[name]}", *cells(other["against"][real])])
    for name, one in results["generators"].items():
        if real == "mp" or (one["own"] == real and "/" not in name):
            rows.append([f"`{name}`", *cells(one["against"][real])])
    return table(HEAD, rows)


def layers(results: dict[str, Any]) -> str:
    """What layers and slabs have beside atoms: vacuum."""
    rows = []
    named = {
        **{f"real: {NAMES[k]}": v for k, v in results["real"].items() if k == "matbench_jdft2d"},
        **{f"`{k}`": v for k, v in results["generators"].items() if k in ("layers", "slabs")},
    }
    for name, one in named.items():
        quantiles = one["shapes"]["quantiles_10_50_90"]
        rows.append(
            [
                name, " / ".join(f"{v:.1f}" for v in quantiles["vacuum"]),
                " / ".join(f"{v:.0f}" for v in quantiles["atoms"]),
                " / ".join(f"{v:.1f}" for v in quantiles["density"]),
            ]
        )  # fmt: skip
    head = ["10, 50, 90 % quantile of", "vacuum (Å)", "atoms a cell", "density (g/cm³)"]
    return table(head, rows)


def rejections(results: dict[str, Any]) -> str:
    """Why candidates were thrown away."""
    rows = []
    for name, one in results["generators"].items():
        n_rejected = sum(one["rejected"].values())
        n_candidates = n_rejected / (1 - one["accepted"]) if n_rejected else 0
        reasons = [
            f"{reason} {percent(n / n_candidates)} %" for reason, n in one["rejected"].items() if n
        ]
        rows.append([f"`{name}`", ", ".join(reasons) or "none"])
    return table(["rejected", "of all candidates"], rows)


def page(results: dict[str, Any]) -> str:
    """Write all of it."""
    environment, settings = results["environment"], results["settings"]
    own = sorted({one["own"] for one in results["generators"].values()} - {"mp"})
    parts = [
        "# Generators: what they make",
        "Crystals without end, made on your machine: how much is thrown away on the way, how much "
        "of the rest passes independent checks, how often the same crystal comes again, how fast "
        "it goes, and how the distributions compare with real ones. What these corpora are "
        "*worth* for pre-training is another question: [What corpora are "
        "worth](what-corpora-are-worth.md). How each of them is "
        "made: [Corpora](corpora.md#generators), [The embedded corpus](corpus.md).",
        "Written by `scripts/generate_generators_page.py` from "
        "`benchmarks/results/generators.json`; measured by `python benchmarks/generators.py`. "
        "Real sets are compared as aggregates; none of their crystals is in the project.",
    ]
    parts += [
        "## Quality and speed",
        quality(results),
        "- **Accepted**: crystals by candidates that were made and checked. A parent that does "
        "not allow what is to be done to it (no vacancy without charge, no second element of "
        "its size) is no candidate. Reasons stand below.\n"
        f"- **No short distance**: none below {settings['shortest']} of the sum of covalent radii "
        "(matscipy's neighbours). **SMACT**: its composition test (states of the ICSD, Pauling's "
        f"rule, alloys pass), of {one_of(results, 'n_smact')} crystals of each. Real crystals fail "
        "it too: their row is the mark.\n"
        "- **Duplicates**: crystals that an earlier one of the sample already is, by "
        "[`data dedupe`](coverage.md)'s rule (same formula, volume within 10 %, fingerprint), "
        "which takes a strained and rattled copy for the same crystal.\n"
        "- **A second and core**: processor time, median of blocks (least to most), without the "
        "first one, in which tables are loaded.",
        rejections(results),
        "## Distributions",
        "![Distributions of generated and real crystals](generators.svg)",
        "Lines: generated; filled: the real set that the generator is to resemble. Of coordination "
        "the last bin is 15 and more.",
        "Of the first four columns: Kolmogorov-Smirnov / Wasserstein distance, the latter in "
        "g/cm³, sums of radii, neighbours, atoms; 0 is the same. Of the others: shared probability "
        f"of two histograms; 1 is the same. Symmetry by spglib, tolerance {settings['symprec']} Å: "
        "strained crystals have less of it, which is meant.",
        "### Against the Materials Project",
        against(results, "mp"),
    ]
    for real in own:
        parts += [f"### Against {NAMES[real]}", against(results, real)]
    if "layers" in results["generators"] and "matbench_jdft2d" in results["real"]:
        parts += ["### Vacuum", layers(results)]
    versions = environment["versions"]
    parts += [
        "## Conditions",
        f"One process on {environment['processor']}, a machine that did other work at the same "
        f"time (processor time is counted, not the clock); Python {environment['python']}, "
        f"numpy {versions['numpy']}, atomprint {versions['atomprint']} "
        f"(commit {environment['commit']}). Seed 1 of every source, its default settings.",
    ]
    return "\n\n".join(parts) + "\n"


def one_of(results: dict[str, Any], key: str) -> str:
    """A number of the validity check, as the first row has it."""
    return f"{max(one['valid'][key] for one in results['real'].values()):,}"


def drawn(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Rows of the plot: sources, not their routes."""
    return {name: one for name, one in results["generators"].items() if "/" not in name}


def plot(results: dict[str, Any]) -> str:
    """Histograms of every source over those of its real set, as an SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "atomprint", "svg.fonttype": "none", "font.size": 8}
    rows = drawn(results)
    figure, axes = plt.subplots(
        len(rows), len(PANELS), figsize=(11, 1.45 * len(rows) + 0.6), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for row, (line, (name, one)) in enumerate(zip(axes, rows.items(), strict=True)):
        real = results["real"][one["own"]]["shapes"]
        for panel, (key, title) in zip(line, PANELS.items(), strict=True):
            if key == "systems":
                places = range(len(real[key]))
                panel.bar(places, real[key].values(), color="#ccc", width=0.9)
                panel.bar(
                    places, one["shapes"][key].values(), width=0.9, fill=False,
                    edgecolor="#0072B2", lw=1.2,
                )  # fmt: skip
                panel.set_xticks(places, [system[:4] for system in real[key]], fontsize=6)
            else:
                edges = results["settings"]["bins"][key]
                panel.stairs(real[key], edges, fill=True, color="#ccc")
                panel.stairs(one["shapes"][key], edges, color="#0072B2", lw=1.2)
            panel.set_yticks([])
            panel.spines[["top", "right", "left"]].set_visible(False)
            if row == 0:
                panel.set_title(title, fontsize=8)
        line[0].set_ylabel(f"{name}\n(grey: {NAMES[one['own']]})", fontsize=7)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    text = "\n".join(lines) + "\n"
    return text.replace("</svg>", f"<!-- numbers: {numbers(results)} -->\n</svg>")


def numbers(results: dict[str, Any]) -> str:
    """Hash of the numbers in the plot: the bytes of a drawing depend on the library's version."""
    rows = {
        name: [one["own"], one["shapes"], results["real"][one["own"]]["shapes"]]
        for name, one in drawn(results).items()
    }
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if it would")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if not parser.parse_args().check:
        PAGE.write_text(page(results), encoding="utf-8")
        PLOT.write_text(plot(results), encoding="utf-8")
        return 0
    stale = [PAGE.name] if PAGE.read_text(encoding="utf-8") != page(results) else []
    if f"<!-- numbers: {numbers(results)} -->" not in PLOT.read_text(encoding="utf-8"):
        stale.append(PLOT.name)
    if stale:
        print(f"not that of the results: {', '.join(stale)}; run {sys.argv[0]}")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
