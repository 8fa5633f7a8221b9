"""Whether stated confidence is kept: intervals from held-out errors, probabilities of classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomprint.evaluation.intervals import LEVELS, Array, Conformal, reliability

N_BINS = 10


@dataclass(frozen=True)
class Point:
    """What was stated, what was found.

    Attributes
    ----------
    stated, found
        Coverage of an interval, or probability of a class, and the share of judged crystals for
        which it held.
    half_width
        Of the interval, mean over crystals, in the label's unit; None for classes.
    n
        Crystals that were asked.
    """

    stated: float
    found: float
    half_width: float | None
    n: int


def calibration(units: Sequence[dict[str, Any]], is_class: bool) -> list[Point]:
    """Stated confidence against what was found, over all units of an arm.

    Numbers: intervals from the errors on the unit's own held-out crystals, see
    :mod:`atomprint.evaluation.intervals`. Held-out crystals of a network also chose its learning
    rate and its step, so that a little less coverage than stated is to be expected. Classes: the
    probability of the class that was said, in ten bins.

    Parameters
    ----------
    units
        Of one arm.
    is_class
        Whether labels are classes.

    Returns
    -------
    list of Point
        Empty where nothing can be said: no held-out crystals, or too few for a level.
    """
    return _classes(units) if is_class else _intervals(units)


def _intervals(units: Sequence[dict[str, Any]]) -> list[Point]:
    parts = []
    for unit in units:
        if unit["held_out"] is not None and unit["held_out"]["wanted"]:
            parts.append((Conformal.fit(*_columns(unit["held_out"])), *_columns(unit)))
    found = []
    for level in LEVELS:
        inside: list[bool] = []
        widths: list[float] = []
        for conformal, predicted, wanted in parts:
            width = float(conformal.quantile(level)[0])
            if np.isfinite(width):
                inside += (np.abs(predicted - wanted)[:, 0] <= width).tolist()
                widths += [width] * len(wanted)
        if inside:
            share, mean_width = float(np.mean(inside)), float(np.mean(widths))
            found.append(Point(level, share, mean_width, len(inside)))
    return found


def _columns(part: dict[str, Any]) -> tuple[Array, Array]:
    """Predictions and labels, ``(n, 1)`` each."""
    predicted, wanted = (np.array(part[key], dtype=float) for key in ("predicted", "wanted"))
    return predicted[:, :1], wanted[:, :1]


def _classes(units: Sequence[dict[str, Any]]) -> list[Point]:
    if not units:
        return []
    probabilities = np.concatenate([np.array(unit["predicted"], dtype=float) for unit in units])
    classes = np.concatenate([np.array(unit["wanted"], dtype=float)[:, 0] for unit in units])
    table, _ = reliability(probabilities, classes, N_BINS)
    return [Point(row.stated, row.right, None, row.n) for row in table]
