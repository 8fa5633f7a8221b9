"""Whether errors grow with the distance from the corpus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.evaluation.statistics import LEVEL, Interval
from atomprint.ground.errors import DataError

Array = npt.NDArray[np.float64]

FEWEST = 10


@dataclass(frozen=True)
class DistanceBin:
    """Crystals of similar distance: from, to (inclusive), mean error, and how many."""

    low: float
    high: float
    error: float
    n: int


@dataclass(frozen=True)
class DistanceErrors:
    """Errors by distance.

    Attributes
    ----------
    bins
        Equally many crystals each, nearest first.
    correlation
        Spearman's rank correlation of error and distance; the interval is a bootstrap over
        crystals.
    n
        Crystals.
    """

    bins: list[DistanceBin]
    correlation: Interval
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "bins": [vars(one) for one in self.bins],
            "spearman": vars(self.correlation),
            "n": self.n,
        }


def error_against_distance(
    units: Sequence[Mapping[str, Any]],
    distances: Mapping[str, float],
    n_bins: int = 5,
    n_draws: int = 1000,
    seed: int = 0,
) -> DistanceErrors:
    """Errors of judged crystals by their distance from the corpus.

    Parameters
    ----------
    units
        Finished units of one arm. A crystal that several of them judged counts once, with its mean
        error: the absolute error, or for classes 1 - the probability of the right one.
    distances
        By id, see :class:`atomprint.evaluation.coverage.Coverage`; others are left out.
    n_bins
        Quantiles of distance.
    n_draws, seed
        Of the bootstrap.

    Raises
    ------
    DataError
        If fewer than 10 judged crystals have a distance.
    """
    errors: dict[str, list[float]] = {}
    for unit in units:
        for id, error in zip(unit["ids"], _errors(unit), strict=True):
            if id in distances and np.isfinite(error):
                errors.setdefault(id, []).append(float(error))
    if len(errors) < FEWEST:
        raise DataError(
            f"{len(errors)} judged crystals have a distance, and at least {FEWEST} are needed"
        )
    wrong = np.array([np.mean(found) for found in errors.values()])
    far = np.array([distances[id] for id in errors])
    order = np.argsort(far, kind="stable")
    bins = [
        DistanceBin(float(far[at[0]]), float(far[at[-1]]), float(wrong[at].mean()), len(at))
        for at in np.array_split(order, min(n_bins, len(order)))
    ]
    generator = np.random.default_rng(seed)
    n = len(far)
    drawn = (generator.integers(n, size=n) for _ in range(n_draws))
    values = np.array([spearman(far[at], wrong[at]) for at in drawn])
    values = values[np.isfinite(values)]
    value = spearman(far, wrong)
    if not len(values):
        return DistanceErrors(bins, Interval(value), n)
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return DistanceErrors(bins, Interval(value, float(low), float(high)), n)


def spearman(one: Array, other: Array) -> float:
    """Correlation of ranks, ties sharing their mean rank; NaN if one side has no spread."""
    ranks = [_ranks(values) for values in (one, other)]
    deviations = [values - values.mean() for values in ranks]
    lengths = np.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum())
    return float((deviations[0] * deviations[1]).sum() / lengths) if lengths > 0 else float("nan")


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - 0.5 * (counts - 1)
    return np.asarray(ranks[inverse])


def _errors(unit: Mapping[str, Any]) -> Array:
    predicted = np.array(unit["predicted"], dtype=np.float64)
    wanted = np.array(unit["wanted"], dtype=np.float64).reshape(len(predicted), -1)
    if predicted.shape[1] > wanted.shape[1]:
        known = np.isfinite(wanted[:, 0])
        errors = np.full(len(predicted), np.nan)
        errors[known] = 1 - predicted[known, wanted[known, 0].astype(int)]
        return errors
    return np.asarray(np.abs(predicted - wanted).mean(1))
