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
        if value_of(best) <= value_of(network):
            said.append(
                f"A cheap {best.kind} wins: {best.arm} has {task['metric']} {best.value:.4g}"
                f"{unit}, the best network ({network.arm}) {network.value:.4g}{unit}."
            )
    if cheap and not networks:
        best = min(cheap, key=value_of)
        said.append(
            f"No network is among the arms; the best of them, {best.arm}, has {task['metric']} "
            f"{best.value:.4g}{unit}."
        )
    for row in last:
        if row.kind == "pretrained" and row.verdict:
            said.append(f"{row.arm}, beside its from-scratch twin: {row.verdict}.")
    said += [f"{' and '.join(c.runs)}. {c.sentence}" for c in coverage if c.verdict == "outside"]
    for one in saved:
        if one.needed.value is None:
            text = "does not reach, within what was measured,"
        elif one.needed.value == 0:
            text = "needs fewer labels than the fewest that were measured for"
        else:
            text = f"needs {one.needed.value:.0f} labels for"
        said.append(f"{one.arm} {text} the error that its twin has with {one.n_labels}.")
    if cheap and networks and not any(text.startswith("A cheap") for text in said):
        best = min(cheap, key=value_of)
        said.append(f"The best cheap {best.kind}, {best.arm}, has {best.value:.4g}{unit}.")
    return said


def value_of(row: ArmRow) -> float:
    """The error, infinite where there is none."""
    return float("inf") if row.value is None else row.value
