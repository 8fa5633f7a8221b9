"""What an evaluation says, in sentences."""

from collections.abc import Sequence
from typing import Any

from atomprint.evaluation.summary_rows import ArmRow, CoverageRow, SavedRow


def verdict(
    rows: Sequence[ArmRow],
    saved: Sequence[SavedRow],
    missing: Sequence[str],
    n_done: int,
    task: dict[str, Any],
    is_curve: bool,
    coverage: Sequence[CoverageRow] = (),
) -> list[str]:
    """Sentences, the most important first.

    What is missing, a baseline that wins, what each pre-trained arm gains, a warning where the set
    lies outside its corpus, then the rest.
    """
    said = []
    if missing:
        said.append(
            f"Not finished: {len(missing)} of {len(missing) + n_done} units are missing; what "
            "follows may change."
        )
    if not rows:
        return said
    unit = f" {task['unit']}" if task["unit"] else ""
    most = max(row.n_labels for row in rows)
    last = [r for r in rows if r.value is not None and (not is_curve or r.n_labels == most)]
    cheap = [row for row in last if row.kind in ("baseline", "probe")]
    networks = [row for row in last if row.kind in ("scratch", "pretrained")]
    if cheap and networks:
        best, network = min(cheap, key=value_of), min(networks, key=value_of)
        fewer = _fewer(rows, most) if is_curve else []
        if value_of(best) <= value_of(network):
            labels = f" with {_listed([*fewer, most])} labels" if is_curve else ""
            at_most = f" with {most}" if fewer else ""
            said.append(
                f"A cheap {best.kind} wins{labels}: {best.arm} has {task['metric']} "
                f"{best.value:.4g}{unit}{at_most}, the best network ({network.arm}) "
                f"{network.value:.4g}{unit}."
            )
        elif fewer:
            said.append(
                f"A cheap {best.kind} wins with {_listed(fewer)} labels, and with {most} "
                f"the best network ({network.arm}): {network.value:.4g}{unit}, against "
                f"{best.value:.4g}{unit} of {best.arm}."
            )
    if cheap and not networks:
        best = min(cheap, key=value_of)
        said.append(
            f"No network is among the arms; the best of them, {best.arm}, has {task['metric']} "
            f"{best.value:.4g}{unit}."
        )
    for row in last:
        if row.kind == "pretrained" and row.verdict:
            labels = f" with {most} labels" if is_curve else ""
            said.append(f"{row.arm}, beside its from-scratch twin{labels}: {row.verdict}.")
    said += [f"{' and '.join(c.runs)}. {c.sentence}" for c in coverage if c.verdict == "outside"]
    for one in saved:
        if one.needed.value is None:
            text = "does not reach, within what was measured,"
        elif one.needed.value == 0:
            text = "needs fewer labels than the fewest that were measured for"
        else:
            text = f"needs {one.needed.value:.0f}{_between(one)} labels for"
        said.append(f"{one.arm} {text} the error that its twin has with {one.n_labels}.")
    if cheap and networks and not any(text.startswith("A cheap") for text in said):
        best = min(cheap, key=value_of)
        said.append(f"The best cheap {best.kind}, {best.arm}, has {best.value:.4g}{unit}.")
    return said


def value_of(row: ArmRow) -> float:
    """The error, infinite where there is none."""
    return float("inf") if row.value is None else row.value


def _fewer(rows: Sequence[ArmRow], most: int) -> list[int]:
    """Numbers of labels below the most with which a model without a network is the best."""
    found = []
    for n_labels in sorted({row.n_labels for row in rows if row.n_labels < most}):
        here = [row for row in rows if row.n_labels == n_labels]
        cheap = [value_of(row) for row in here if row.kind in ("baseline", "probe")]
        networks = [value_of(row) for row in here if row.kind in ("scratch", "pretrained")]
        if cheap and networks and min(cheap) <= min(networks) < float("inf"):
            found.append(n_labels)
    return found


def _listed(numbers: Sequence[int]) -> str:
    """``30, 100 and 300``."""
    words = [str(n) for n in numbers]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _between(one: SavedRow) -> str:
    """The interval of labels needed, if there is one."""
    low, high = one.needed.low, one.needed.high
    if low is None and high is None:
        return ""
    if high is None:
        return f" (95 % interval from {low:.0f}, open above)"
    if not low:
        return f" (95 % interval up to {high:.0f})"
    return f" (95 % interval {low:.0f} to {high:.0f})"
