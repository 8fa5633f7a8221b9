"""Write docs/fingerprints-speed.md and its plot from benchmarks/results/fingerprints/*.json.

python scripts/generate_fingerprints_page.py [--check]
"""

import argparse
import hashlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "fingerprints"
PAGE = ROOT / "docs" / "fingerprints-speed.md"
PLOT = ROOT / "docs" / "fingerprints-speed.svg"
SETS = {"bench300": "300 prototypes", "mp": "5,000 of MP"}


def load(name: str) -> dict[str, Any]:
    """Return a result by name, empty if it was never measured."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def times(value: float) -> str:
    """Write a ratio: two digits below 10, else none after the point."""
    return f"{value:.1f}" if value < 20 else f"{value:.0f}"


def digits(value: float) -> str:
    """Write a number with three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def power(value: float) -> str:
    """Write a small number as 3·10⁻⁷."""
    if value == 0:
        return "0"
    digits, exponent = f"{value:.0e}".split("e")
    return f"{digits}·10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def measured(speed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Cases whose row was measured."""
    return {
        name: case
        for name, case in speed.get("cases", {}).items()
        if any(set_name in case.get("row", {}) for set_name in SETS)
    }


def speed_table(speed: dict[str, Any]) -> str:
    """A line a case and a set: ratios with their spread, times, goals."""
    lines = [
        "| | beside | crystals | float32: times as fast | float64: times as fast | at least | aim "
        "| µs an atom: float32 | float64 | peer |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in measured(speed).values():
        for name, words in SETS.items():
            row = case["row"].get(name)
            if row is None:
                continue
            once = name == "bench300"
            cells = [case["title"] if once else "", case["peer"] if once else "", words]
            for dtype in ("float32", "float64"):
                ratio = row["ratio"][dtype]
                quartiles = f"{times(ratio['lower_quartile'])}–{times(ratio['upper_quartile'])}"
                cells.append(f"**{times(ratio['median'])}** ({quartiles})")
            cells += ["" if case[key] is None else f"{case[key]:g}" for key in ("goal", "aim")]
            for program in ("float32", "float64", "peer"):
                cells.append(digits(row["us_per_atom"][program]["median"]))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def unmeasured(speed: dict[str, Any]) -> str:
    """Cases without a measurement, with the reason."""
    lines = []
    for name, case in speed.get("cases", {}).items():
        for what in ("row", "first", "threads", "memory", "stages"):
            found = case.get(what, {})
            found = found.get("cold", found)
            if "failed" in found:
                lines.append(f"- {name}, {what}: {found['failed']}")
    return "\n".join(lines)


def missed(speed: dict[str, Any]) -> str:
    """Say which goals are not met."""
    words = []
    for case in measured(speed).values():
        for name, set_words in SETS.items():
            if case["goal"] is None or name not in case["row"]:
                continue
            for dtype, ratio in case["row"][name]["ratio"].items():
                if ratio["median"] < case["goal"]:
                    words.append(
                        f"- {case['title']}, {dtype}, {set_words}: {ratio['median']:.3g} times, "
                        f"not {case['goal']:g}"
                    )
    if not words:
        return 'Every goal (column "at least") is met, in both float types and on both sets.'
    return 'Goals (column "at least") that are not met:\n\n' + "\n".join(words)


def same_numbers(speed: dict[str, Any]) -> str:
    """Table of the differences found in the timed calls."""
    lines = [
        "| | crystals | rows | float64 | float32 |",
        "|---|---|---|---|---|",
    ]
    for case in measured(speed).values():
        for name, words in SETS.items():
            found = case["row"].get(name, {}).get("difference")
            if not found:
                continue
            key = "moved" if case["measure"] == "counts" else "of_row_largest"
            unit = " of counts moved" if case["measure"] == "counts" else ""
            cells = [f"{power(found[dtype][key])}{unit}" for dtype in ("float64", "float32")]
            lines.append(
                f"| {case['title']} | {words} | {found['float64']['rows']:,} | {cells[0]} "
                f"| {cells[1]} |"
            )
    return "\n".join(lines)


def first_table(speed: dict[str, Any]) -> str:
    """Seconds of first calls."""
    lines = [
        "| | imports and settings | first call, nothing compiled | first call, compiled before "
        "| again |",
        "|---|---|---|---|---|",
    ]
    for case in speed.get("cases", {}).values():
        first = case.get("first", {})
        if "first_float32" not in first.get("warm", {}) or "failed" in first["cold"]:
            continue
        cold, warm = first["cold"], first["warm"]
        lines.append(
            f"| {case['title']} | {warm['build_with_imports']:.1f} s "
            f"| {cold['first_float32']:.1f} s | {warm['first_float32']:.2f} s "
            f"| {warm['again_float32']:.3f} s |"
        )
    return "\n".join(lines) if len(lines) > 2 else ""


def threads_table(speed: dict[str, Any]) -> str:
    """Two threads against one."""
    lines = ["| | float32 | float64 |", "|---|---|---|"]
    for case in speed.get("cases", {}).values():
        found = case.get("threads", {})
        if "float32" in found:
            cells = [
                f"{found[d]['median']:.2f} ({found[d]['lower_quartile']:.2f}–"
                f"{found[d]['upper_quartile']:.2f})"
                for d in ("float32", "float64")
            ]
            lines.append(f"| {case['title']} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def memory_table(speed: dict[str, Any]) -> str:
    """Peaks of memory."""
    lines = [
        "| | input | `memory` (MiB) | peak above the start (MiB) | of it the result |",
        "|---|---|---|---|---|",
    ]
    for case in speed.get("cases", {}).values():
        for run in case.get("memory", {}).get("runs", []):
            lines.append(
                f"| {case['title']} | {run['input']} | {run['memory_setting_MiB']} "
                f"| {run['peak_above_start_MiB']:.0f} | {run['of_it_result_MiB']:.1f} |"
            )
    return "\n".join(lines) if len(lines) > 2 else ""


def stages_table(speed: dict[str, Any]) -> str:
    """Where the time goes, float32."""
    lines = ["| | arrays from Atoms | neighbours | kernels | whole call |", "|---|---|---|---|---|"]
    for case in speed.get("cases", {}).values():
        found = case.get("stages", {}).get("float32")
        if found:
            kernels = sum(value for name, value in found.items() if name.startswith("kernel"))
            lines.append(
                f"| {case['title']} | {found['convert']:.2g} | {digits(found['search'])} "
                f"| {digits(kernels)} | {digits(found['whole'])} |"
            )
    return "\n".join(lines) if len(lines) > 2 else ""


def accuracy_table(accuracy: dict[str, Any]) -> str:
    """Largest differences from the peers by path and float type."""
    lines = [
        "| | peer | rows | PyTorch, float64 | kernels, float64 | PyTorch, float32 "
        "| kernels, float32 |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in accuracy.get("entries", {}).values():
        if "failed" in entry:
            lines.append(f"| {entry['title']} | {entry['peer']} | failed: {entry['failed']} ||||| ")
            continue
        key = "moved" if entry["measure"] == "counts" else "of_row_largest"
        cells, rows = [], 0
        for dtype in ("float64", "float32"):
            for path in ("reference", "fused"):
                found = entry.get(path, {})
                if dtype in found:
                    rows = found[dtype]["rows"]
                cells.append(power(found[dtype][key]) if dtype in found else "none")
        unit = " (share of counts)" if entry["measure"] == "counts" else ""
        lines.append(
            f"| {entry['title']}{unit} | {entry['peer']} | {rows:,} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


def provenance(result: dict[str, Any], commits: set[str]) -> str:
    """Say where numbers come from."""
    environment = result["environment"]
    versions = ", ".join(f"{name} {text}" for name, text in environment["versions"].items())
    return (
        f"`{environment['command']}`, {environment['processor']}, {environment['cores']} cores, "
        f"Python {environment['python']}, {versions}; commit {', '.join(sorted(commits))}, "
        f"{environment['date']}. Data: {environment['data']}."
    )


def commits_of(groups: Any) -> set[str]:
    """Commits that measurements were made with."""
    return {group["commit"] for group in groups if "commit" in group}


def page(speed: dict[str, Any], accuracy: dict[str, Any]) -> str:
    """Return the text of docs/fingerprints-speed.md."""
    parts = [
        "# Speed and accuracy of fingerprints",
        "Generated by `scripts/generate_fingerprints_page.py` from "
        "`benchmarks/results/fingerprints/`.",
    ]
    if measured(speed):
        groups = [
            found for case in speed["cases"].values() for found in case.values()
            if isinstance(found, dict)
        ]  # fmt: skip
        parts += [
            "## On one thread, beside other programs",
            "How many times as fast as the peer: median over parts of the data, quartiles in "
            "brackets. Both programs run in one process, bound to one core, with one thread for "
            "every library, and take turns on the same parts of the data. Both get a "
            "list of ASE Atoms, and the neighbour list is in every time. The peers compute in "
            "float64 and are called in the fastest way they offer. Where the peer has no fixed "
            "width over many elements, all atoms are made one species for both. Parts are all "
            "300 prototypes, in another order each time, and 500 crystals of MP; 30 and 100 where "
            "the peer is slow (EAD, ADF, all together).",
            "![Times as fast as the peer](fingerprints-speed.svg)",
            speed_table(speed),
            missed(speed),
            "GMP has no peer that installs from the package index; SOAP of as many columns is "
            "there as a yardstick. The peers of the last two rows are matscipy (RDF, ADF), dscribe "
            "(wACSF: as many G2 and G5; SOAP) and pyxtal_ff (EAD).",
            "## The same numbers",
            "What was timed was compared first, on up to 300 crystals: the largest difference in a "
            "row, relative to the row's largest value. Of histograms: the share of counts in "
            "another bin (in crystals of high symmetry many distances and angles lie exactly on "
            "the edge of a bin, and rounding decides; crystals with an image of an atom in its own "
            "shell are left out of ADF, as matscipy 1.3.1 misplaces angles of 180 degrees).",
            same_numbers(speed),
        ]
        for title, words, table in (
            (
                "The first call",
                "Kernels are compiled by their first call and kept in numba's cache on disk. "
                "30 crystals, float32.",
                first_table(speed),
            ),
            (
                "Two threads",
                "Times as fast as one thread, on 2,500 crystals in one call.",
                threads_table(speed),
            ),
            (
                "Memory",
                "Peak of resident memory above what it was before the call, per crystal, float32.",
                memory_table(speed),
            ),
            (
                "Where the time goes",
                "Microseconds an atom, float32, parts of 30 crystals; each stage timed by itself. "
                "The search is for all neighbours within the largest cutoff of the row.",
                stages_table(speed),
            ),
        ):
            if table:
                parts += [f"## {title}", words, table]
        parts.append(provenance(speed, commits_of(groups)))
        if unmeasured(speed):
            parts += ["Not measured:", unmeasured(speed)]
    if accuracy.get("entries"):
        parts += [
            "## Accuracy",
            "Largest difference from the peer over the crystals of bench300 (300 of them, 89 "
            "elements), relative to the largest value of the row, by path: plain PyTorch, and "
            "fused kernels (`none`: these settings have no fused kernel). MBTR, LMBTR and "
            "Valle-Oganov are compared with dscribe in the tests, as dscribe 2.1.2 needs an older "
            "ASE for them; GMP is compared with quadrature there.",
            accuracy_table(accuracy),
            provenance(accuracy, commits_of(accuracy["entries"].values())),
        ]
    return "\n\n".join(parts) + "\n"


def plot(speed: dict[str, Any]) -> str:
    """Draw ratios as an SVG, the same bytes whenever the numbers are the same."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "atomprint", "svg.fonttype": "none", "font.size": 10}
    cases = measured(speed)
    figure, axes = plt.subplots(figsize=(8.6, 0.62 * len(cases) + 1.3), layout="constrained")
    look = {
        ("bench300", "float32"): ("#1b6ca8", "o"),
        ("mp", "float32"): ("#1b6ca8", "s"),
        ("bench300", "float64"): ("#e08e2b", "o"),
        ("mp", "float64"): ("#e08e2b", "s"),
    }
    offsets = dict(zip(look, (-0.24, -0.08, 0.08, 0.24), strict=True))
    for index, case in enumerate(cases.values()):
        for (name, dtype), (color, marker) in look.items():
            ratio = case["row"].get(name, {}).get("ratio", {}).get(dtype)
            if ratio is None:
                continue
            y, x = index + offsets[name, dtype], ratio["median"]
            axes.plot(
                [ratio["lower_quartile"], ratio["upper_quartile"]], [y, y], color=color, lw=1.5
            )
            label = f"{dtype}, {SETS[name]}" if index == 0 else None
            axes.plot(x, y, marker, color=color, ms=6, label=label, ls="none")
        for key, style in (("goal", "-"), ("aim", ":")):
            if case[key] is not None:
                label = {"goal": "at least", "aim": "aim"}[key] if index == 0 else None
                axes.plot(
                    [case[key]] * 2, [index - 0.42, index + 0.42], style, color="#555", label=label
                )
    axes.axvline(1, color="#999", lw=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(cases)), [short(name) for name in cases])
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as the peer, one thread")
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500) if tick < axes.get_xlim()[1]]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", color="#ddd", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    return marked("\n".join(lines) + "\n", speed)


def short(name: str) -> str:
    """Name of a case in the plot."""
    return {
        "soap": "SOAP (dscribe)",
        "soap_featomic": "SOAP (featomic)",
        "acsf": "G2 and G4 (dscribe)",
        "neighbors": "neighbour list (vesin)",
        "ead": "EAD (pyxtal_ff)",
        "gmp": "GMP (a SOAP as yardstick)",
        "rdf": "RDF (matscipy)",
        "adf": "ADF (matscipy)",
        "wacsf": "wACSF (dscribe)",
        "five": "all five together",
        "four": "all but EAD together",
    }.get(name, name)


def plotted(speed: dict[str, Any]) -> str:
    """Hash of the numbers in the plot: the bytes of a drawing depend on the library's version."""
    rows = {
        name: [case["goal"], case["aim"], *(case["row"].get(s, {}).get("ratio") for s in SETS)]
        for name, case in measured(speed).items()
    }
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


def marked(svg: str, speed: dict[str, Any]) -> str:
    """Write the hash of the numbers into the drawing."""
    return svg.replace("</svg>", f"<!-- numbers: {plotted(speed)} -->\n</svg>")


def plot_is_stale(speed: dict[str, Any]) -> bool:
    """Whether the drawing shows other numbers than the JSON has."""
    if not PLOT.is_file():
        return True
    found = re.search(r"<!-- numbers: (\w+) -->", PLOT.read_text("utf-8"))
    return found is None or found[1] != plotted(speed)


def main() -> int:
    """Write both files, or with ``--check`` say whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    speed, accuracy = load("speed"), load("accuracy")
    text = page(speed, accuracy)
    if arguments.check:
        stale = [PAGE] if not PAGE.is_file() or PAGE.read_text("utf-8") != text else []
        stale += [PLOT] if measured(speed) and plot_is_stale(speed) else []
        for path in stale:
            print(f"{path.name} is out of date; run python {Path(__file__).name}", file=sys.stderr)
        return 1 if stale else 0
    PAGE.write_text(text, encoding="utf-8")
    if measured(speed) and plot_is_stale(speed):
        PLOT.write_text(plot(speed), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
