"""What pre-training costs beside quantum-mechanical labels, and the goals of the study."""

import math
import statistics
from typing import Any

import gains as g
import numpy as np
from arms import DEFAULT, ITS_SET, LABELLED, OTHER_WIDTH, RECIPE
from loaded import HEADLINE, Study, base
from tables import (
    DASH,
    against,
    percent,
    ranged,
    share_needed,
    table,
)

BATCH = 32  # crystals of a batch in target_cost.py
DENOISING = ("denoising", "denoising of cells", "conditioned denoising")


def times(value: float) -> str:
    """A ratio with two digits."""
    digits = max(0, 1 - math.floor(math.log10(value)))
    return f"{round(value, 1 - math.floor(math.log10(value))):,.{digits}f}"


def spanned(interval: g.Interval) -> str:
    """A ratio with its interval."""
    assert interval.low is not None
    assert interval.high is not None
    return f"{times(interval.value)} ({times(interval.low)} to {times(interval.high)})"


def arms_table(study: Study) -> str:
    """Processor time of every pre-training run, cheapest first."""
    costs = {arm: file["pretraining"] for arm, file in study.arms.items() if "pretraining" in file}
    rows = []
    for arm, cost in sorted(costs.items(), key=lambda item: item[1]["cpu_seconds"]):
        beside = DASH
        if DEFAULT in costs:
            beside = f"{cost['cpu_seconds'] / costs[DEFAULT]['cpu_seconds']:.2f}"
        mark = "**" if arm == DEFAULT else ""
        rows.append(
            [
                f"{mark}`{arm}`{mark}",
                f"{cost['n_crystals']:,}",
                f"{cost['n_steps']:,}",
                f"{cost['cpu_seconds']:,.0f}",
                f"{1e3 * cost['cpu_seconds'] / cost['n_steps']:.0f}",
                beside,
            ]
        )
    head = ["arm", "crystals", "steps", "CPU s", "CPU ms a step", "beside the default"]
    return table(head, rows) if rows else ""


def targets_table(study: Study) -> str:
    """Share of a step that is spent on targets."""
    rows = []
    for arm, cost in study.targets.get("arms", {}).items():
        share = cost["share"]
        quartiles = f"{100 * share['lower']:.1f} to {100 * share['upper']:.1f}"
        rows.append(
            [
                f"`{arm}`",
                f"{cost['ms_targets']['median']:.2f}",
                f"{cost['ms_step']['median']:.1f}",
                f"{percent(share['median'])} ({quartiles})",
            ]
        )
    head = ["arm", "targets, CPU ms a step", "whole step, CPU ms", "share (quartiles)"]
    return table(head, rows) if rows else ""


def of_default(study: Study) -> tuple[str, dict[str, Any]] | None:
    """Measured cost of the default's targets, in a step of its own width if that was measured.

    Otherwise in a narrow one; of its first member where only that was measured.
    """
    arms = study.targets.get("arms", {})
    narrow = DEFAULT.split(",")[0].split("+")[0]
    for name in (base(RECIPE), DEFAULT + OTHER_WIDTH, DEFAULT, narrow):
        if name in arms:
            return name, arms[name]
    return None


def seconds_of_targets(study: Study) -> tuple[str, float] | None:
    """Where the cost of a crystal's targets comes from, and CPU seconds a crystal."""
    measured = of_default(study)
    if measured:
        name, cost = measured
        return f"`{name}`, in a step", 1e-3 * cost["ms_targets"]["median"] / BATCH
    kind = DEFAULT.split(",")[0].split("+")[0]
    row = study.speed.get("cases", {}).get(kind, {}).get("row", {}).get("mp")
    if not row:
        return None
    atoms = row["n_atoms"] / (row["n_parts"] * row["crystals_per_part"])
    return (
        f"`{kind}`, crystals of {atoms:.0f} atoms in the mean",
        1e-6 * row["us_per_atom"]["float32"]["median"] * atoms,
    )


def label_ratio(study: Study) -> float | None:
    """DFT labels of a corpus over its targets, in processor time."""
    targets = seconds_of_targets(study)
    if targets is None or not study.dft:
        return None
    return float(study.dft["label_cpu_seconds"]["mean"]) / targets[1]


def whole_ratio(study: Study, arm: str = DEFAULT) -> float | None:
    """DFT labels of the corpus and as much training on them, over an arm's pre-training."""
    own = study.arms.get(arm, {}).get("pretraining")
    supervised = study.arms.get(LABELLED, {}).get("pretraining", own) if arm == DEFAULT else own
    if not own or not study.dft:
        return None
    labels = study.dft["label_cpu_seconds"]["mean"] * own["n_crystals"]
    return float((labels + supervised["cpu_seconds"]) / own["cpu_seconds"])


def corpus_labels(study: Study) -> g.Interval | None:
    """CPU seconds of a DFT label of the corpus itself, at least, with a 95 % bootstrap interval.

    Calculations that were stopped count with what they had taken, those that failed not at all.
    """
    rows = study.dft_corpus.get("crystals", [])
    spent = np.array([row["cpu_seconds"] for row in rows if row["status"] in ("ok", "stopped")])
    if len(spent) < 5:
        return None
    means = np.random.default_rng(0).choice(spent, (2000, len(spent))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return g.Interval(float(spent.mean()), float(low), float(high))


def dearer(study: Study, arm: str) -> dict[str, Any] | None:
    """An arm's pre-training; of two runs the dearer, beside which DFT looks cheapest."""
    files = [part[arm] for part in (study.dev, study.test) if arm in part]
    runs = [file["pretraining"] for file in files if "pretraining" in file]
    return max(runs, key=lambda run: float(run["cpu_seconds"]), default=None)


def sampled_ratio(study: Study, arm: str) -> g.Interval | None:
    """As :func:`whole_ratio`, with labels that cost what a sample of the corpus does."""
    own, label = dearer(study, arm), corpus_labels(study)
    if not own or label is None or label.low is None or label.high is None:
        return None
    per = own["n_crystals"] / own["cpu_seconds"]
    return g.Interval(1 + per * label.value, 1 + per * label.low, 1 + per * label.high)


def in_turns(study: Study) -> dict[str, g.Interval] | None:
    """What labels and pre-training cost on one machine, with 95 % intervals over turns.

    ``slower``: DFT there over DFT then; ``ms``: a step; ``ratio``: as :func:`whole_ratio`. A run's
    validations count as whole steps, which they are not: they have no gradient.
    """
    own, found = study.arms.get(RECIPE, {}).get("pretraining"), study.one_machine
    turns = [turn for turn in found.get("turns", ()) if turn["status"] == "ok"]
    if not own or not study.dft or len(turns) < 5:
        return None
    names = ("label_cpu_seconds", "label_cpu_seconds_then", "step_ms")
    numbers = np.array([[turn[name] for name in names] for turn in turns])
    loop, n = own["settings"]["loop"], found["n_corpus"]
    n_held_out = min(512, own["settings"]["valid_fraction"] * n)
    n_steps = own["n_steps"] + 40 * math.ceil(n_held_out / loop["batch"]["max_crystals"])

    def of(rows: Any) -> Any:
        now, then, ms = rows.mean(axis=-2).T
        label = study.dft["label_cpu_seconds"]["mean"] * now / then
        return np.stack([now / then, ms, 1 + label * n / (1e-3 * ms * n_steps)])

    drawn = np.random.default_rng(0).integers(len(turns), size=(2000, len(turns)))
    low, high = np.quantile(of(numbers[drawn]), [0.025, 0.975], axis=1)
    return {
        name: g.Interval(float(value), float(low[k]), float(high[k]))
        for k, (name, value) in enumerate(zip(("slower", "ms", "ratio"), of(numbers), strict=True))
    }


def turns_words(study: Study) -> str:
    """The same in words; empty where it was not measured."""
    found = in_turns(study)
    if found is None:
        return ""
    n_turns = sum(turn["status"] == "ok" for turn in study.one_machine["turns"])
    slower, ms, ratio = found["slower"], found["ms"], found["ratio"]
    return (
        f"**On one machine**: {n_turns} random labels of the embedded set were computed again, in "
        f"turns with steps of the recipe's pre-training "
        f"({study.one_machine['environment']['processor']}, other work beside; "
        f"`benchmarks/pretraining/one_machine.py`). DFT took {spanned(slower)} times what it "
        f"had taken where the set was made, a step {spanned(ms)} CPU ms; so labels and training "
        f"take {spanned(ratio)} times the recipe's pre-training. What a whole run is said to "
        "have taken above is of other commits and hours."
    )


def corpus_words(study: Study) -> str:
    """What was computed of the corpus, in words; empty where nothing was."""
    label, found = corpus_labels(study), study.dft_corpus
    if label is None or label.low is None or label.high is None:
        return ""
    rows = found["crystals"]
    count = {name: sum(row["status"] == name for row in rows) for name in ("ok", "stopped")}
    n_failed = len(rows) - sum(count.values())
    atoms = statistics.fmean(row["n_atoms"] for row in rows if row["status"] in count)
    unable = 1 - found["n_with_datasets"] / found["n_corpus"]
    own, ratio = dearer(study, RECIPE), sampled_ratio(study, RECIPE)
    beside = ""
    if own and ratio and ratio.low and ratio.high:
        beside = (
            f" With such labels the {own['n_crystals']:,} crystals of the recipe and the same "
            f"training would take {times(ratio.value)} times ({times(ratio.low)} to "
            f"{times(ratio.high)}) what its pre-training took, {own['cpu_seconds']:,.0f} CPU s "
            "(the dearer of two runs)."
        )
    return (
        f"**The corpus itself**: {sum(count.values())} random crystals of it ({atoms:.1f} atoms in "
        f"the mean, where the corpus has {found['mean_atoms_of_corpus']:.1f}), computed with the "
        f"settings of the embedded labels, took {label.value:,.0f} CPU s a crystal "
        f"({label.low:,.0f} to {label.high:,.0f}; 95 % interval over crystals; "
        f"{found['environment']['processor']}, with other work beside). That is a lower "
        f"bound: {count['stopped']} were stopped after {found['protocol']['limit']} CPU s "
        "and count with those, nothing is "
        f"spin-polarised or relaxed, and {percent(unable)} of the corpus has elements that GPAW "
        f"has no dataset of, mostly lanthanides. {n_failed} more failed and are not counted "
        f"(`benchmarks/pretraining/dft_corpus.py`).{beside}"
    )


def labels_table(study: Study) -> str:
    """Fingerprint targets against DFT labels."""
    own = study.arms.get(DEFAULT, {}).get("pretraining")
    targets = seconds_of_targets(study)
    if not study.dft or not own:
        return ""
    dft, n = study.dft["label_cpu_seconds"]["mean"], own["n_crystals"]
    supervised = study.arms.get(LABELLED, {}).get("pretraining", own)["cpu_seconds"]
    rows = []
    if targets:
        words, seconds = targets
        rows += [
            ["one crystal", f"{dft:.2f} CPU s", f"{1e3 * seconds:.3f} CPU ms ({words})"],
            [
                f"the corpus, {n:,} crystals",
                f"{dft * n / 3600:,.1f} CPU h",
                f"{seconds * n:,.1f} CPU s",
            ],
        ]
    rows.append(
        [
            "corpus and pre-training",
            f"{(dft * n + supervised) / 3600:,.1f} CPU h",
            f"{own['cpu_seconds']:,.0f} CPU s",
        ]
    )
    ratios = [label_ratio(study)] * (2 if targets else 0) + [whole_ratio(study)]
    cells = [
        [*row, times(ratio) if ratio else DASH] for row, ratio in zip(rows, ratios, strict=True)
    ]
    return table(["", "DFT labels", "fingerprints", "times as much"], cells)


def microseconds(study: Study) -> str:
    """Microseconds an atom of each fingerprint, as its own benchmark has them."""
    words = []
    for name, case in study.speed.get("cases", {}).items():
        row = case.get("row", {}).get("mp")
        if row and name in ("ead", "soap", "gmp", "wacsf", "rdf", "adf"):
            words.append(f"{name.upper()} {row['us_per_atom']['float32']['median']:.3g}")
    return ", ".join(words)


def goals(study: Study) -> str:
    """What was asked for, beside what was found."""
    missing = "not measured yet"

    def row(what: str, least: str, aim: str, found: str, met: bool | None, more: bool) -> list[str]:
        words = missing if met is None else "aim met" if more else "met" if met else "**not met**"
        return [what, least, aim, found, words]

    def unmeasured(what: str, least: str, aim: str) -> list[str]:
        return row(what, least, aim, DASH, None, False)

    rows = []
    ratios = study.ratios("test", RECIPE)
    what = f"mean gain at {HEADLINE} labels"
    if ratios:
        gain = g.mean_gain(ratios)
        rows.append(row(what, "30 %", "45 %", ranged(gain), gain.value >= 0.3, gain.value >= 0.45))
        worst = {name: g.mean_gain({name: seeds}).value for name, seeds in ratios.items()}
        name = min(worst, key=lambda key: worst[key])
        found = f"{percent(worst[name])} ({name}), of {len(worst)} sets"
        met, more = worst[name] >= 0, worst[name] >= 0.1
        rows.append(row("gain on the worst set", "0 %", "10 %", found, met, more))
    else:
        rows += [
            unmeasured(what, "30 %", "45 %"),
            unmeasured("gain on the worst set", "0 %", "10 %"),
        ]
    what = "labels for the from-scratch error at 1,000, median share over sets"
    shares = share_needed(study, RECIPE)
    if shares:
        middle = statistics.median_high(shares.values())
        found = "not reached" if middle == math.inf else f"{100 * middle:.0f} %, {len(shares)} sets"
        rows.append(row(what, "33 %", "20 %", found, middle <= 1 / 3, middle <= 1 / 5))
    else:
        rows.append(unmeasured(what, "33 %", "20 %"))
    for rival in DENOISING:
        what, ahead = f"points ahead of `{rival}`", against(study, rival)
        if ahead is None or ahead.low is None:
            rows.append(unmeasured(what, "interval above 0", "15"))
        else:
            met = ahead.low > 0
            more = met and ahead.value >= 0.15
            rows.append(row(what, "interval above 0", "15", ranged(ahead, ""), met, more))
    what = f"points ahead of `{LABELLED}` on other properties"
    ahead = against(study, LABELLED, ITS_SET)
    if ahead is None or ahead.high is None or ahead.low is None:
        rows.append(unmeasured(what, "equal", "ahead"))
    else:
        met, more = ahead.high >= 0, ahead.low > 0
        rows.append(row(what, "equal", "ahead", ranged(ahead, ""), met, more))
    what, measured = "targets, share of a pre-training step", of_default(study)
    if measured:
        share = measured[1]["share"]["median"]
        found = f"{percent(share)} (`{measured[0]}`)"
        rows.append(row(what, "< 10 %", "< 3 %", found, share < 0.1, share < 0.03))
    else:
        rows.append(unmeasured(what, "< 10 %", "< 3 %"))
    for what, ratio, least, aim in (
        ("labels of the corpus by DFT over targets", label_ratio(study), 1e4, 1e6),
        (
            f"DFT labels and training over the whole pre-training, `{DEFAULT}`",
            whole_ratio(study),
            1e2,
            1e3,
        ),
        (
            "the same, of the recipe (labels of a faster machine)",
            whole_ratio(study, RECIPE),
            1e2,
            1e3,
        ),
    ):
        words = (f"{least:,.0f}", f"{aim:,.0f}")
        if ratio is None:
            rows.append(unmeasured(what, *words))
        else:
            rows.append(row(what, *words, times(ratio), ratio >= least, ratio >= aim))
    turns = in_turns(study)
    if turns:
        one = turns["ratio"]
        what = "the same, of the recipe, both on one machine in turns"
        least, most = (one.low or 0.0) >= 1e2, (one.low or 0.0) >= 1e3
        rows.append(row(what, "100", "1,000", spanned(one), least, most))
    sampled = sampled_ratio(study, RECIPE)
    if sampled and sampled.low and sampled.high:
        what = "the recipe, with DFT labels of a sample of its corpus"
        rows.append(
            row(what, "100", "1,000", spanned(sampled), sampled.low >= 1e2, sampled.low >= 1e3)
        )
    return table(["", "at least", "aim", "found", ""], rows)
