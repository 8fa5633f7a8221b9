"""Prediction intervals that hold as often as they say, and whether probabilities do.

Split conformal prediction: errors on crystals that were not fitted on give the half-width of an
interval, and on crystals drawn like those it holds with at least the probability asked, whatever
the model (Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005; Lei et al., J. Am.
Stat. Assoc. 113, 1094, 2018, Theorem 2.2).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.ground.errors import DataError, UsageError
from atomprint.training.checkpoint import write_json

Array = npt.NDArray[np.float64]

FILE = "held_out.json"
LEVELS = tuple(round(0.1 * i, 1) for i in range(1, 10))
SPREAD_FLOOR = 0.1
"""Part of the median spread that is added to every spread, so that members that happen to agree do
not promise an interval of no width."""


@dataclass(frozen=True)
class Conformal:
    """Errors on held-out crystals, ready to become intervals.

    Attributes
    ----------
    scores
        Absolute errors, ascending, ``(n, size)``; divided by spreads, if there are any.
    floor
        Added to spreads, ``(size,)``, in the label's unit; None without spreads.
    """

    scores: Array
    floor: Array | None = None

    @classmethod
    def fit(cls, predicted: Array, wanted: Array, spread: Array | None = None) -> "Conformal":
        """Take the errors.

        Parameters
        ----------
        predicted, wanted
            Of held-out crystals, ``(n, size)``; rows with a missing label do not count.
        spread
            Of an ensemble's members, ``(n, size)``: errors are expected to be in proportion to it
            (Lei et al., section 5.2, locally weighted).

        Raises
        ------
        DataError
            If no row has a label.
        """
        known = np.isfinite(wanted).all(1)
        if not known.any():
            raise DataError("no held-out crystal has a label; intervals are made of their errors")
        errors = np.abs(predicted - wanted)[known]
        if spread is None:
            return cls(np.sort(errors, axis=0))
        middle = np.median(spread[known], axis=0)
        # Members that always agree say nothing about errors.
        floor = np.where(middle > 0, SPREAD_FLOOR * middle, 1.0)
        return cls(np.sort(errors / (spread[known] + floor), axis=0), floor)

    def __len__(self) -> int:
        """Held-out crystals."""
        return len(self.scores)

    @property
    def highest_level(self) -> float:
        """Highest level at which an interval has an end."""
        return len(self) / (len(self) + 1)

    def quantile(self, level: float) -> Array:
        """The ceil((n + 1) level)-th smallest score, ``(size,)``; infinite where n is too small.

        Raises
        ------
        UsageError
            If the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise UsageError(f"an interval of {level!r} makes no sense; give a number in (0, 1)")
        # The small number keeps 0.9 * 10 from becoming 10 instead of 9.
        place = max(1, math.ceil((len(self) + 1) * level - 1e-9))
        if place > len(self):
            return np.full(self.scores.shape[1], np.inf)
        return np.asarray(self.scores[place - 1])

    def interval(
        self, predicted: Array, level: float, spread: Array | None = None
    ) -> tuple[Array, Array]:
        """Lower and upper ends, each ``(n, size)``, in the label's unit.

        Parameters
        ----------
        predicted
            ``(n, size)``.
        level
            Probability with which each label lies inside, 0 to 1.
        spread
            Of the members, ``(n, size)``; needed if held-out errors had one.

        Raises
        ------
        UsageError
            If the level makes no sense, or a spread is missing or too much.
        """
        if (spread is None) != (self.floor is None):
            raise UsageError("give spreads for both, held-out crystals and predictions, or neither")
        half = np.broadcast_to(self.quantile(level), predicted.shape)
        if spread is not None and self.floor is not None:
            half = half * (spread + self.floor)
        return predicted - half, predicted + half


def ensemble(members: Sequence[Array]) -> tuple[Array, Array]:
    """Mean and spread of the predictions of several fitted models.

    Parameters
    ----------
    members
        Each ``(n, size)``.

    Returns
    -------
    mean, spread
        Each ``(n, size)``; the spread is the standard deviation (n - 1), zero for one member.

    Raises
    ------
    DataError
        If there are none.
    """
    if not len(members):
        raise DataError("an ensemble needs at least one member")
    stacked = np.stack(members)
    mean = stacked.mean(0)
    return mean, stacked.std(0, ddof=1) if len(members) > 1 else np.zeros_like(mean)


def coverage_and_width(lower: Array, upper: Array, wanted: Array) -> tuple[float, float]:
    """Share of labels inside, and the mean width: small is sharp. Missing labels do not count."""
    known = np.isfinite(wanted)
    inside = (lower <= wanted) & (wanted <= upper)
    if not known.any():
        return float("nan"), float("nan")
    return float(inside[known].mean()), float((upper - lower)[known].mean())


def interval_score(lower: Array, upper: Array, wanted: Array, level: float) -> float:
    """Width, and a fine for every label outside: lower is better, and honesty is the best policy.

    Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359 (2007), eq. 43; in the label's unit.
    """
    fine = np.maximum(lower - wanted, 0) + np.maximum(wanted - upper, 0)
    return float(np.nanmean(upper - lower + 2 / (1 - level) * fine))


@dataclass(frozen=True)
class CurvePoint:
    """Level that was asked for, share that was found inside, and mean width."""

    level: float
    coverage: float
    width: float


def calibration_curve(
    conformal: Conformal,
    predicted: Array,
    wanted: Array,
    levels: Sequence[float] = LEVELS,
    spread: Array | None = None,
) -> list[CurvePoint]:
    """Coverage and width at each level that the held-out crystals are enough for."""
    points = []
    for level in levels:
        if np.isfinite(conformal.quantile(level)).all():
            ends = conformal.interval(predicted, level, spread)
            points.append(CurvePoint(level, *coverage_and_width(*ends, wanted)))
    return points


@dataclass(frozen=True)
class ReliabilityBin:
    """Crystals said with similar probability: its mean, the share that was right, how many."""

    stated: float
    right: float
    n: int


def reliability(
    probabilities: Array, classes: Array, n_bins: int = 10
) -> tuple[list[ReliabilityBin], float]:
    """Table of stated and found probabilities of the likeliest class, and its calibration error.

    The expected calibration error is the mean over crystals of the gap between both, bin by bin
    (Guo et al., Proc. ICML 2017, eq. 3).

    Parameters
    ----------
    probabilities
        ``(n, n_classes)``, rows summing to 1.
    classes
        Right classes, ``(n,)`` or ``(n, 1)``; NaN where missing.
    n_bins
        Equally wide, over 0 to 1.

    Raises
    ------
    DataError
        If no row has a label.
    """
    wanted = np.asarray(classes, dtype=np.float64).reshape(len(probabilities))
    known = np.isfinite(wanted)
    if not known.any():
        raise DataError("no crystal has a label to compare probabilities with")
    said = probabilities[known].max(1)
    right = probabilities[known].argmax(1) == wanted[known]
    place = np.minimum((said * n_bins).astype(int), n_bins - 1)
    table = [
        ReliabilityBin(float(said[at].mean()), float(right[at].mean()), int(at.sum()))
        for at in (place == b for b in range(n_bins))
        if at.any()
    ]
    return table, sum(row.n * abs(row.stated - row.right) for row in table) / int(known.sum())


def write_held_out(folder: Path, parts: Mapping[str, tuple[Array, Array]]) -> None:
    """Leave predictions and labels of held-out crystals beside a model.

    Parameters
    ----------
    folder
        Of the model.
    parts
        By target, predicted and wanted, each ``(n, size)``; rows with missing labels are left out.
    """
    content = {}
    for name, (predicted, wanted) in parts.items():
        known = np.isfinite(wanted).all(1)
        content[name] = {
            "predicted": predicted[known].tolist(),
            "wanted": wanted[known].tolist(),
        }
    write_json(folder / FILE, content)


def read_held_out(folder: Path, target: str, level: float) -> Conformal:
    """Errors that fine-tuning left beside a model, checked to be enough for a level.

    Raises
    ------
    UsageError
        If there are none of this target, or too few for the level.
    """
    path = folder / FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))[target]
        rows = [np.array(content[key], dtype=np.float64) for key in ("predicted", "wanted")]
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"{folder}: no held-out errors of {target!r} are kept here ({FILE}), and intervals are "
            "made of them; fine-tune again with this version"
        ) from None
    if not len(rows[0]):
        raise UsageError(f"{folder}: no held-out crystal had a label {target!r}")
    found = Conformal.fit(rows[0], rows[1])
    if not np.isfinite(found.quantile(level)).all():
        raise UsageError(
            f"{folder}: {len(found)} held-out crystals are too few for an interval of {level:g}; "
            f"ask for at most {math.floor(1000 * found.highest_level) / 1000:g}, or fine-tune with "
            "more labels"
        )
    return found
