"""Whether stated confidence is kept: intervals from held-out errors, probabilities of classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVELS = tuple(round(0.1 * i, 1) for i in range(1, 10))
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

    Numbers: prediction +- q, with q the ceil((n + 1) level)-th smallest of the n absolute errors on
    the unit's own held-out crystals (split conformal prediction, Lei et al., J. Am. Stat. Assoc.
    113, 1094, 2018). Held-out crystals of a network also chose its learning rate and its step, so
    that a little less coverage than stated is to be expected. Classes: the probability of the
    class that was said, in ten bins.

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
    found = []
    for level in LEVELS:
        inside: list[bool] = []
        widths: list[float] = []
        for unit in units:
            if unit["held_out"] is None:
                continue
            held_out = np.sort(_wrong(unit["held_out"]))
            # The small number keeps 0.9 * 10 from becoming 10 instead of 9.
            rank = int(np.ceil((len(held_out) + 1) * level - 1e-9))
            if rank > len(held_out):
                continue
            width = held_out[rank - 1]
            inside += (_wrong(unit) <= width).tolist()
            widths += [float(width)] * len(unit["wanted"])
        if inside:
            share, width = float(np.mean(inside)), float(np.mean(widths))
            found.append(Point(level, share, width, len(inside)))
    return found


def _wrong(part: dict[str, Any]) -> Any:
    wanted = np.array(part["wanted"], dtype=float)[:, 0]
    return np.abs(np.array(part["predicted"], dtype=float)[:, 0] - wanted)


def _classes(units: Sequence[dict[str, Any]]) -> list[Point]:
    if not units:
        return []
    probabilities = np.concatenate([np.array(unit["predicted"], dtype=float) for unit in units])
    classes = np.concatenate([np.array(unit["wanted"], dtype=float)[:, 0] for unit in units])
    right = probabilities.argmax(1) == classes
    said = probabilities.max(1)
    bins = np.minimum((said * N_BINS).astype(int), N_BINS - 1)
    return [
        Point(float(said[at].mean()), float(right[at].mean()), None, int(at.sum()))
        for at in (bins == b for b in range(N_BINS))
        if at.any()
    ]
