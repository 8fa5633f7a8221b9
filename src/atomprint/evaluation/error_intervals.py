"""How sure an arm's own error is: a bootstrap over splits and crystals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.evaluation.statistics import LEVEL, Interval
from atomprint.heads.metrics import metric
from atomprint.heads.target import Target

N_DRAWS = 1000
# Each draw computes the metric anew where it is no mean over crystals.
N_DRAWS_OF_RANKS = 200
# Numbers drawn at once, so that memory stays bounded for large sets.
_CHUNK = 4_000_000


def error_interval(units: Sequence[dict[str, Any]], seed: int = 0) -> Interval | None:
    """Mean error of an arm over its splits, with its 95 % interval.

    Each draw weighs crystals at random (Poisson weights of mean 1, see
    :func:`atomprint.evaluation.comparison.compare`; a crystal has one weight in all splits) and
    takes as many splits as there are, with replacement. Where splits share no crystals, what they
    differ by holds the chance of crystals already, and the interval is up to 1.4 times too wide:
    on the safe side. With one split it says how sure the
    error is for other crystals of the kind, not for other labels to learn from.

    Parameters
    ----------
    units
        Finished units of one arm with one number of labels.
    seed
        Of the draws.

    Returns
    -------
    Interval, or None if a unit has no error
    """
    values = [unit["value"] for unit in units]
    if not values or any(value is None for value in values):
        return None
    generator = np.random.default_rng(seed)
    if units[0]["metric"] == "ROC-AUC error":
        drawn = _ranked(units, generator)
    else:
        drawn = _weighted(units, generator)
    if len(units) > 1:
        picks = generator.integers(len(units), size=drawn.shape)
        drawn = np.take_along_axis(drawn, picks, 1)
    low, high = np.quantile(drawn.mean(1), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(np.mean(values)), float(low), float(high))


def _weighted(
    units: Sequence[dict[str, Any]], generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Errors of the splits under random weights of crystals, ``(draws, splits)``."""
    place: dict[str, int] = {}
    for unit in units:
        for name in unit["ids"]:
            place.setdefault(name, len(place))
    columns = [(np.array([place[name] for name in u["ids"]]), errors_of(u)) for u in units]
    found = []
    step = max(1, _CHUNK // len(place))
    for start in range(0, N_DRAWS, step):
        shape = (min(step, N_DRAWS - start), len(place))
        weights = generator.poisson(1.0, shape).astype(np.float64)
        parts = []
        for index, errors in columns:
            known = np.isfinite(errors)
            mine = weights[:, index[known]]
            total = mine.sum(1)
            # A draw without any crystal says nothing: the mean of the whole stands in.
            sums = mine @ errors[known]
            mean = errors[known].mean()
            parts.append(np.where(total > 0, sums / np.maximum(total, 1), mean))
        found.append(np.stack(parts, 1))
    return np.concatenate(found)


def _ranked(
    units: Sequence[dict[str, Any]], generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """ROC-AUC errors of crystals drawn with replacement, ``(draws, splits)``."""
    target = Target(name="class", task="classification", size=2)
    columns = []
    for unit in units:
        predicted = np.array(unit["predicted"], dtype=float)
        wanted = np.array(unit["wanted"], dtype=float)
        values = []
        for _ in range(N_DRAWS_OF_RANKS):
            picks = generator.integers(len(wanted), size=len(wanted))
            value = metric(target, predicted[picks], wanted[picks])
            # Of one class only there is no ranking.
            values.append(value if np.isfinite(value) else unit["value"])
        columns.append(values)
    return np.array(columns, dtype=float).T


def errors_of(unit: dict[str, Any]) -> npt.NDArray[np.float64]:
    """What each judged crystal adds to the metric, ``(n,)``: absolute error, or 1 if wrong."""
    predicted = np.array(unit["predicted"], dtype=float)
    wanted = np.array(unit["wanted"], dtype=float)
    if unit["metric"] == "MAE":
        return np.asarray(np.abs(predicted - wanted).mean(1))
    known = np.isfinite(wanted[:, 0])
    return np.where(known, predicted.argmax(1) != wanted[:, 0], np.nan)
