"""Tables of the page "What pre-training buys": gains, labels saved, sizes."""

import math
import statistics
from collections.abc import Iterable

import gains as g
from arms import (
    BEFORE,
    DEFAULT,
    ITS_SET,
    LABELLED,
    LONGER,
    NARROW_RECIPE,
    OTHER_WIDTH,
    POTENTIAL,
    RECIPE,
    RIVALS,
    TODAY,
    TOLD,
    TOLD_RECIPE,
)
from loaded import HEADLINE, REFERENCE, SCRATCH, Series, Study, base, twin
from sets import SETS

DASH = "–"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def percent(value: float) -> str:
    """A share in per cent; never minus zero."""
    text = f"{100 * value:.1f}"
    return ("0.0" if text == "-0.0" else text) + " %"


def ranged(interval: g.Interval, unit: str = " %") -> str:
    """A share with its interval."""
    text = percent(interval.value).removesuffix(" %") + unit
    if interval.low is None or interval.high is None:
        return text
    return f"{text} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def title(name: str) -> str:
    """A set with its unit."""
    unit = SETS[name].unit.removeprefix("log10 ")
    return f"{name} ({unit})" if unit else name


def spread(seeds: dict[int, float]) -> str:
    """Gain on one set, in brackets the least and the most over seeds."""
    values = [1 - math.exp(value) for value in seeds.values()]
    text = percent(1 - math.exp(statistics.fmean(seeds.values())))
    if len(values) == 1:
        return text
    return f"{text} ({100 * min(values):.1f} to {100 * max(values):.1f})"


def headline(study: Study) -> str:
    """Sets against arms, on the test part."""
    arms = study.shown()
    ratios = {arm: study.ratios("test", arm) for arm in arms}
    rows = []
    for name, n_labels in study.numbers("test", HEADLINE).items():
        if not any(name in found for found in ratios.values()):
            continue
        # Not every set was measured with the narrow network.
        mae = g.curve_means(g.curve(study.errors("test", SCRATCH), name)).get(n_labels)
        cells = [spread(ratios[arm][name]) if name in ratios[arm] else DASH for arm in arms]
        words = DASH if mae is None else f"{mae:.3g}"
        rows.append([title(name), f"{n_labels:,}", words, *cells])
    last = ["**geometric mean**", "", ""]
    for arm in arms:
        partial = len(ratios[arm]) < len(rows)
        words = f", {len(ratios[arm])} of {len(rows)} sets" if partial else ""
        last.append(f"**{ranged(g.mean_gain(ratios[arm]))}**{words}")
    head = ["set", "labels", "MAE from scratch", *(f"`{arm}`" for arm in arms)]
    return table(head, [*rows, last])


def against(study: Study, rival: str, without: str = "") -> g.Interval | None:
    """Mean gain of the default less that of a rival on the test part, without one set."""
    one, other = (
        {k: v for k, v in study.ratios("test", arm).items() if k != without}
        for arm in (DEFAULT, rival)
    )
    return g.ahead(one, other) if one and other else None


def verdict(interval: g.Interval) -> str:
    """What an interval of a difference says."""
    if interval.low is None or interval.high is None:
        return "not known: few sets"
    if interval.low > 0:
        return "ahead"
    return "behind" if interval.high < 0 else "not told apart"


def rivals(study: Study) -> str:
    """The default beside each rival, over what both have."""
    rows = []
    for rival in RIVALS:
        cases = [("", f"`{rival}`")]
        if rival == LABELLED:
            cases.append((ITS_SET, f"`{rival}`, other properties only"))
        for without, words in cases:
            interval = against(study, rival, without)
            if interval is None:
                continue
            shared = g.common([study.ratios("test", arm) for arm in (DEFAULT, rival)])[0]
            shared.pop(without, None)
            pairs = sum(len(seeds) for seeds in shared.values())
            cells = [words, str(len(shared)), str(pairs), ranged(interval, ""), verdict(interval)]
            rows.append(cells)
    head = ["rival", "sets", "sets × seeds", f"`{DEFAULT}` gains more by (points)", "so it is"]
    return table(head, rows) if rows else ""


def beside_potential(study: Study) -> list[g.LogRatios]:
    """The default's and the potential's ratios, over the (set, seed) that both have."""
    if not study.errors("test", POTENTIAL):
        return []
    return g.common([study.ratios("test", arm) for arm in (RECIPE, POTENTIAL)])


def potential(study: Study) -> str:
    """The default beside distillation of a potential."""
    both = beside_potential(study)
    if not both:
        return ""
    own, other = both
    numbers = study.numbers("test", HEADLINE)
    rows = [
        [title(name), f"{numbers[name]:,}", str(len(own[name])), spread(own[name]),
         spread(other[name]), ""]
        for name in SETS if name in own
    ]  # fmt: skip
    for words, left_out in (("geometric mean", ""), (f"without {ITS_SET}", ITS_SET)):
        ours, theirs = ({k: v for k, v in one.items() if k != left_out} for one in both)
        means = (f"**{ranged(g.mean_gain(one))}**" for one in (ours, theirs))
        difference = g.ahead(ours, theirs)
        ahead = f"{ranged(difference, '')}: {verdict(difference)}"
        rows.append([f"**{words}**", "", "", *means, ahead])
    head = ["set", "labels", "seeds", "default", "CHGNet distilled", "default gains more (points)"]
    return table(head, rows)


Pair = tuple[str, str]


def told_ratios(study: Study) -> dict[Pair, g.LogRatios]:
    """Ratios of arms with random and with told vectors of elements, over what all of them have.

    Empty where the test part lacks one of those that are always compared.
    """
    plain, told = SCRATCH + OTHER_WIDTH + TODAY, TOLD + TODAY
    errors = {arm: study.errors("test", arm) for arm in (plain, told, RECIPE, TOLD_RECIPE)}
    numbers = study.numbers("test", HEADLINE)
    pairs = [(told, plain), (RECIPE, plain), (RECIPE, told)]
    if not all(errors[arm] for pair in pairs for arm in pair):
        return {}
    if errors[TOLD_RECIPE]:
        pairs += [(TOLD_RECIPE, plain), (TOLD_RECIPE, told), (TOLD_RECIPE, RECIPE)]
    found = g.common(g.log_ratios(errors[one], errors[other], numbers) for one, other in pairs)
    return dict(zip(pairs, found, strict=True))


def told_of_elements(study: Study) -> str:
    """From scratch and pre-trained, each from random vectors of elements and from told ones."""
    ratios = told_ratios(study)
    if not ratios:
        return ""
    arms = list(dict.fromkeys(arm for one, other in ratios for arm in (other, one)))
    errors = {arm: study.errors("test", arm) for arm in arms}
    numbers = study.numbers("test", HEADLINE)
    first = next(iter(ratios.values()))
    rows = []
    for name in (name for name in SETS if name in first):
        seeds = first[name]
        means = (
            math.exp(statistics.mean(math.log(errors[arm][name, numbers[name], k]) for k in seeds))
            for arm in arms
        )
        gained = (
            percent(-math.expm1(statistics.fmean(one[name].values()))) for one in ratios.values()
        )
        counts = (f"{numbers[name]:,}", str(len(seeds)))
        rows.append([title(name), *counts, *(f"{mean:.4g}" for mean in means), *gained])
    means_of_all = (f"**{ranged(g.mean_gain(one))}**" for one in ratios.values())
    rows.append(["**geometric mean**", "", "", *("" for _ in arms), *means_of_all])
    short = {
        SCRATCH + OTHER_WIDTH + TODAY: "scratch",
        TOLD + TODAY: "told",
        RECIPE: "default",
        TOLD_RECIPE: "told, then default",
    }
    head = ["set", "labels", "seeds", *(short[arm] for arm in arms)]
    return table([*head, *(f"{short[a]} over {short[b]}" for a, b in ratios)], rows)


def twins_of_protocols(study: Study) -> str:
    """What today's fine-tuning did to the from-scratch twin, and the gain over the better one."""
    first, own = (study.errors("test", arm) for arm in (SCRATCH + OTHER_WIDTH, RECIPE))
    today = study.errors("test", twin(RECIPE))
    numbers = study.numbers("test", HEADLINE)
    keys = [k for k in own if k in first and k in today and numbers.get(k[0]) == k[1]]
    if not keys:
        return ""
    changes = [math.log(today[k] / first[k]) for k in keys]
    mean, least, most = (
        f"{100 * math.expm1(value):+.1f} %"
        for value in (statistics.mean(changes), min(changes), max(changes))
    )
    over = statistics.mean(math.log(own[k] / min(first[k], today[k])) for k in keys)
    return (
        f"Of the twin of 128 channels, today's fine-tuning changed the error by {mean} in the mean "
        f"of {len(keys)} units (set, seed), from {least} to {most}: the settings were chosen on "
        "development parts, where they helped pre-trained networks more than the twin. Over "
        "whichever of the two twins is better on the test crystals, which no twin could choose by, "
        f"the mean gain of the default is {percent(-math.expm1(over))}."
    )


def budgets(study: Study) -> str:
    """The rivals' budget, a wider network, longer, and with elements' properties; either part."""
    rows = []
    for arm in (DEFAULT, DEFAULT + OTHER_WIDTH, BEFORE, RECIPE, LONGER):
        cost = study.arms.get(arm, {}).get("pretraining")
        cells = []
        for part in ("dev", "test"):
            found = study.ratios(part, arm)
            sets = "1 set" if len(found) == 1 else f"{len(found)} sets"
            cells.append(f"{ranged(g.mean_gain(found))}, {sets}" if found else DASH)
        if cost is not None:
            numbers = (cost["n_crystals"], cost["n_steps"], round(cost["cpu_seconds"]))
            rows.append([f"`{arm}`", *(f"{n:,}" for n in numbers), *cells])
    head = ["arm", "crystals", "steps", "CPU s", "mean gain, development", "mean gain, test"]
    return table(head, rows) if rows else ""


def ablation(study: Study, protocol: str = "") -> str:
    """Arms on the development part by their mean gain; those with a set missing come last.

    Of today's fine-tuning, or of the first (which has no mark); of one budget, that of the rivals.
    Where some lack a set there is also a mean over the sets that all have.
    """
    arms = {arm: study.ratios("dev", arm) for arm in study.dev if not arm.startswith(SCRATCH)}
    arms = {arm: found for arm, found in arms.items() if found and base(arm) + protocol == arm}
    if not arms:
        return ""
    sets = [name for name in SETS if any(name in found for found in arms.values())]
    whole = {arm: g.mean_gain(f).value for arm, f in arms.items() if len(f) == len(sets)}
    shared = [name for name in sets if all(name in found for found in arms.values())]
    if not 1 < len(shared) < len(sets):  # a mean of one is none
        shared = []
    part = {arm: g.mean_gain({n: f[n] for n in shared}).value for arm, f in arms.items() if shared}
    order = sorted(arms, key=lambda arm: (-whole.get(arm, -9.0), -part.get(arm, -9.0), arm))
    rows = []
    for arm in order:
        mark = "**" if base(arm) == (NARROW_RECIPE if protocol else DEFAULT) else ""
        means = [percent(whole[arm]) if arm in whole else DASH]
        if shared:
            means.append(percent(part[arm]))
        cost = study.dev[arm].get("pretraining", {}).get("cpu_seconds")
        cells = [
            f"{mark}`{arm.removesuffix(protocol)}`{mark}",
            *(spread(arms[arm][name]) if name in arms[arm] else DASH for name in sets),
            *(f"{mark}{mean}{mark}" for mean in means),
            DASH if cost is None else f"{cost:,.0f}",
        ]
        rows.append(cells)
    of_shared = [f"mean of {len(shared)}"] if shared else []
    return table(["arm", *sets, "mean", *of_shared, "pre-training, CPU s"], rows)


def labels_words(value: float, curve: g.Curve) -> str:
    """A number of labels, or in words on which side of what was measured it is."""
    if value == 0:
        return f"fewer than {min(curve):,}"
    if value == math.inf:
        return f"more than {max(curve):,}"
    return f"{value:,.0f}"


def labels_ranged(interval: g.Interval, curve: g.Curve) -> str:
    """A number of labels with its interval."""
    text = labels_words(interval.value, curve)
    if interval.value == math.inf:
        text = f"not reached: {text}"
    if interval.low is None or interval.high is None or interval.low == interval.high:
        return text
    return f"{text} ({labels_words(interval.low, curve)} to {labels_words(interval.high, curve)})"


def needed(study: Study, arm: str) -> dict[str, tuple[int, g.Interval, g.Curve]]:
    """By set: labels of the reference, labels with which an arm is as good, the arm's curve."""
    found = {}
    for name, n_labels in study.numbers("test", REFERENCE).items():
        scratch = g.curve(study.errors("test", twin(arm)), name)
        own = g.curve(study.errors("test", arm), name)
        if len(own) > 1 and n_labels in scratch:
            found[name] = (n_labels, g.labels_needed(scratch, n_labels, own), own)
    return found


def share_needed(study: Study, arm: str) -> dict[str, float]:
    """Labels needed, as a share of the reference's; at most this where fewer than were measured."""
    return {
        name: (interval.value or min(own)) / n_labels
        for name, (n_labels, interval, own) in needed(study, arm).items()
    }


def labels_saved(study: Study) -> str:
    """Labels with which arms have the from-scratch error, and what labels of the default do."""
    arms = {arm: found for arm in study.shown() if (found := needed(study, arm))}
    rows = []
    for name, n_labels in study.numbers("test", REFERENCE).items():
        if not any(name in found for found in arms.values()):
            continue
        scratch = g.curve(study.errors("test", SCRATCH), name)
        cells = [
            labels_ranged(*found[name][1:]) if name in found else DASH for found in arms.values()
        ]
        near = study.numbers("test", HEADLINE).get(name)
        own = g.curve(study.errors("test", DEFAULT), name)
        worth = DASH
        if near in own and len(scratch) > 1:
            worth = labels_ranged(g.labels_needed(own, near, scratch), scratch)
        mae = g.curve_means(scratch)[n_labels]
        rows.append([title(name), f"{n_labels:,}", f"{mae:.3g}", *cells, worth])
    if not rows:
        return ""
    median = ["**median of shares**", "", ""]
    for arm in arms:
        shares = list(share_needed(study, arm).values())
        middle = statistics.median_high(shares)
        words = "not reached" if middle == math.inf else f"{100 * middle:.0f} %"
        partial = f", {len(shares)} of {len(rows)} sets" if len(shares) < len(rows) else ""
        median.append(f"**{words}**{partial}")
    head = ["set", "labels", "MAE from scratch", *(f"labels with `{arm}`" for arm in arms)]
    head.append(f"labels from scratch worth {HEADLINE} with `{DEFAULT}`")
    return table(head, [*rows, [*median, ""]])


def sizes(found: list[Series]) -> str:
    """Series of gains, a line a point."""
    rows = []
    for one in found:
        for size, gain in one.points.items():
            crystals, steps = (size, one.fixed) if one.what == "n_crystals" else (one.fixed, size)
            counts = f"{one.n_sets} sets, {one.n_pairs} pairs"
            cells = [f"`{one.arm}`", f"{crystals:,}", f"{steps:,}", ranged(gain), one.part, counts]
            rows.append(cells)
    return table(["arm", "crystals", "steps", "mean gain", "part", "over"], rows) if rows else ""
