"""Write docs/what-corpora-are-worth.md, and what `atomprint corpus list` says, from results.

python scripts/generate_corpora_page.py [--check]

Results are those of benchmarks/pretraining/corpora.py, beside the real corpus and the from-scratch
twin of the study (benchmarks/results/pretraining/test).
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks" / "pretraining"))
import gains as g
from arms import LONGER, LONGER_CORPUS, RECIPE
from generate_results_page import measured as earlier
from loaded import Study, twin
from sets import SETS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "what-corpora-are-worth.md"
MEASURED = ROOT / "src" / "atomprint" / "data" / "sources" / "measured.json"
REAL = "real"
KINDS = {REAL: "materials_project"}
"""Corpora whose name is not the source's kind."""
GOAL = 0.8
N_LABELS = 500
MAIN = ("formation energy", "log10 bulk modulus", "phonon peak", "perovskite heat")
"""Sets that every corpus is measured on."""
DOMAINS = {"frameworks": "MOF band gap", "layers": "exfoliation energy"}
"""Sets of the kind of crystals that a generator makes."""


@dataclass(frozen=True)
class Corpus:
    """A corpus, what it took, and how far errors were below those from scratch."""

    name: str
    n_crystals: int
    n_steps: int
    making: float | None
    ratios: g.LogRatios
    alike: dict[str, float]

    @property
    def main(self) -> g.LogRatios:
        """On the sets that every corpus is measured on, where all of them are there."""
        found = {name: self.ratios[name] for name in MAIN if name in self.ratios}
        return found if len(found) == len(MAIN) else {}


def corpora(part: str = "test") -> list[Corpus]:
    """All that was measured; the real one first."""
    study = Study.read(RESULTS)
    scratch = study.errors(part, twin(RECIPE))
    found = []
    real = getattr(study, part).get(RECIPE)
    if real:
        cost = real["pretraining"]
        ratios = g.log_ratios(study.errors(part, RECIPE), scratch, numbers(scratch))
        found.append(Corpus(REAL, cost["n_crystals"], cost["n_steps"], None, ratios, {}))
    for path in sorted((RESULTS / "corpora" / part).glob("*.json")):
        one = json.loads(path.read_text(encoding="utf-8"))
        errors = {(r["set"], r["n_labels"], r["seed"]): r["mae"] for r in one["results"]}
        ratios = g.log_ratios(errors, scratch, numbers(scratch))
        making = sum(made.get("cpu_seconds", 0.0) for made in one["made"].values())
        cost = one["pretraining"]
        found.append(
            Corpus(
                one["corpus"],
                cost["n_crystals"],
                cost["n_steps"],
                making or None,
                ratios,
                {r["set"]: r["n_alike"] / r["n_test"] for r in one["results"]},
            )
        )
    longer = getattr(study, part).get(LONGER)
    if longer:
        cost = longer["pretraining"]
        ratios = g.log_ratios(study.errors(part, LONGER), scratch, numbers(scratch))
        found.append(Corpus(LONGER_CORPUS, cost["n_crystals"], cost["n_steps"], None, ratios, {}))
    return found


def numbers(scratch: g.Errors) -> dict[str, int]:
    """Number of labels of each set."""
    return g.labels_near(scratch, N_LABELS)


def percent(value: float) -> str:
    """A gain."""
    return f"{100 * value:.1f} %"


def gain_of(seeds: dict[int, float]) -> str:
    """Gain over seeds, with the least and the most of them."""
    value = percent(g.mean_gain({"": seeds}).value)
    if len(seeds) == 1:
        return value
    each = sorted(g.mean_gain({"": {seed: one}}).value for seed, one in seeds.items())
    return f"{value} ({100 * each[0]:.0f} to {100 * each[-1]:.0f})"


def kept(one: Corpus, real: Corpus) -> float | None:
    """Mean gain of a corpus by that of the real one, over the (set, seed) that both have."""
    if not one.main:
        return None
    ours, theirs = g.common([one.main, real.main])
    return g.mean_gain(ours).value / g.mean_gain(theirs).value if ours else None


def kept_by_seed(one: Corpus, real: Corpus) -> list[float]:
    """The same of every seed that all sets have, the least first."""
    seeds = set.intersection(*(set(row) for part in (one, real) for row in part.main.values()))

    def of(part: Corpus, seed: int) -> float:
        return g.mean_gain({name: {seed: row[seed]} for name, row in part.main.items()}).value

    return sorted(of(one, seed) / of(real, seed) for seed in seeds)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def gains_table(found: list[Corpus]) -> str:
    """A row a corpus: gains on every set, their mean, and what of the real corpus' gain is kept."""
    real = found[0]
    names = [n for n in SETS if any(n in c.ratios for c in found[1:])]
    rows = []
    for one in found:
        share = kept(one, real) if one is not real else None
        n_seeds = {len(seeds) for seeds in one.main.values()}
        rows.append(
            [
                f"`{one.name}`",
                f"{one.n_crystals:,}",
                f"{one.n_steps:,}",
                *(gain_of(one.ratios[n]) if n in one.ratios else "–" for n in names),
                percent(g.mean_gain(one.main).value) if one.main else "–",
                f"{min(n_seeds)}" if n_seeds else "–",
                "" if one is real else f"**{100 * share:.0f} %**" if share is not None else "–",
            ]
        )
    head = ["corpus", "crystals", "steps", *names, "mean of four", "seeds", "of the real gain"]
    return table(head, rows)


def mended(one: Corpus, real: Corpus) -> str:
    """What crystals of one kind, added to the real ones, do for sets of it and for the others."""
    kind = one.name.partition("+")[2].partition(",")[0]
    domain = DOMAINS.get(kind)
    if domain is None or domain not in one.ratios or domain not in real.ratios:
        return ""
    ours, theirs = (
        g.mean_gain(part).value
        for part in g.common([{domain: one.ratios[domain]}, {domain: real.ratios[domain]}])
    )
    n_seeds = len(set(one.ratios[domain]) & set(real.ratios[domain]))
    line = (
        f"- **`{kind}` added to the real ones** ({one.n_crystals - real.n_crystals:,} crystals, "
        f"as many steps): {domain} {percent(theirs)} before, {percent(ours)} with them "
        f"({n_seeds} seed{'s' if n_seeds > 1 else ''}; {percent(one.alike[domain])} of its test "
        "crystals are like one of them)"
    )
    ahead = g.ahead(one.main, real.main) if one.main else None
    if ahead is not None:
        line += f"; the mean of the four others changes by {100 * ahead.value:+.1f} points"
    return f"{line}."


def page() -> str:
    """The page."""
    found = corpora()
    ours = {one.name: one for one in found}
    parts = [
        "# What corpora are worth",
        "Written by `scripts/generate_corpora_page.py` from `benchmarks/results/corpora/`; "
        "measured by `benchmarks/pretraining/corpora.py`.",
        "The same recipe (that of `atomprint pretrain` by default), pre-trained on other crystals "
        "and fine-tuned on the same labels. How the generated ones look is on "
        "[Generators: what they make](generators.md), how to get them on [Corpora](corpora.md).",
        "## Gain at 500 labels",
        "1 - MAE / MAE of the same network from scratch, on test crystals that no network has seen "
        "(`real` is the Materials Project without them and without their likes); geometric mean "
        "over seeds, in brackets the least and the most of them. *Mean of four*: "
        f"{', '.join(MAIN)}. *Of the real gain*: that mean by the mean of `{REAL}`, over the same "
        f"sets and seeds. `{REAL}` has a pre-training run for every seed, the others one for all: "
        "seeds vary labels, heads and batches there. One such gain wobbles by about four "
        "points with the pre-training run alone.",
        gains_table(found),
    ]
    generated, both = ours.get("generated"), ours.get(f"{REAL}+generated")
    verdicts = []
    if generated and (share := kept(generated, found[0])) is not None:
        each = kept_by_seed(generated, found[0])
        met = "met" if share >= GOAL else "**not met**"
        verdicts.append(
            f"- **Generated crystals alone** keep {100 * share:.0f} % of the gain of as many real "
            f"ones ({100 * each[0]:.0f} to {100 * each[-1]:.0f} over {len(each)} seeds; goal: "
            f"{100 * GOAL:.0f} %): {met}."
        )
    others = {
        one.name: share
        for one in found
        if "+" not in one.name and one.name not in (REAL, "generated")
        and (share := kept(one, found[0])) is not None
    }  # fmt: skip
    if others:
        shares = ", ".join(
            f"`{name}` {100 * share:.0f} %"
            for name, share in sorted(others.items(), key=lambda row: -row[1])
        )
        verdicts.append(
            f"- **Other generators alone** keep of it: {shares}. Seeds of some are fewer, see the "
            "table."
        )
    if both and both.main:
        ahead = g.ahead(both.main, found[0].main)
        assert ahead is not None
        verdicts.append(
            f"- **Added to the real ones** they change the mean gain by {100 * ahead.value:+.1f} "
            "points (goal: never hurt)."
        )
    verdicts += [line for one in found if (line := mended(one, found[0]))]
    if LONGER_CORPUS in ours:
        verdicts.append(
            f"- **All of it together**, `{LONGER_CORPUS}` for twice as many steps (without "
            "crystals that are like one of any labelled set), was compared with the default on the "
            "development part of seven sets: [no difference](decisions.md#twice-as-long-on-twice-"
            "as-many-crystals-no-better). On the test part it was run on the two sets that have no "
            "development part."
        )
    for one in found:
        if one.main and any(one.alike.values()) and "+" not in one.name:
            shares = ", ".join(f"{percent(one.alike[name])} ({name})" for name in MAIN)
            verdicts.append(
                f"- Crystals of `{one.name}` happen to be like some that judge (formula, and "
                f"volume an atom within 2 %): {shares}. Of their labels nothing is seen; from "
                f"`{REAL}` such crystals were taken out."
            )
    parts += ["\n".join(verdicts)] if verdicts else []
    rows = [
        [f"`{one.name}`", f"{one.making / 60:.0f}", f"{one.n_crystals / one.making:.0f}"]
        for one in found
        if one.making and "+" not in one.name
    ]
    if rows:
        parts += [
            "## What they take",
            "Processor time of one core, beside other work:",
            table(["corpus", "CPU minutes", "crystals a second"], rows),
        ]
    parts += [
        "## Units that are missing",
        "```text\npython benchmarks/pretraining/corpora.py --data DIR --work WORK --part test \\\n"
        '    --corpora "generated;real+generated" --seeds 0 1 2\n'
        "python scripts/generate_corpora_page.py\n```",
    ]
    return "\n\n".join(parts) + "\n"


def measured() -> dict[str, Any]:
    """What `atomprint corpus list` says, by kind of source; the first recipe's where it is all."""
    values = earlier()
    for one in corpora():
        kind = KINDS.get(one.name, one.name)
        if not one.main or not kind.isidentifier():
            continue
        values[kind] = {
            "gain": round(g.mean_gain(one.main).value, 4),
            "sets": {
                name: round(g.mean_gain({name: seeds}).value, 4) for name, seeds in one.main.items()
            },
            "n_corpus": one.n_crystals,
            "n_labels": N_LABELS,
            "n_seeds": min(len(seeds) for seeds in one.main.values()),
            "corpus": "mp.parquet" if one.name == REAL else one.name,
        }
    return values


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if it would")
    wanted = {PAGE: page(), MEASURED: json.dumps(measured(), indent=1) + "\n"}
    stale = [p for p, text in wanted.items() if not p.is_file() or p.read_text("utf-8") != text]
    if parser.parse_args().check:
        for path in stale:
            print(f"{path.name} is not that of the results; run {sys.argv[0]}")
        return int(bool(stale))
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
