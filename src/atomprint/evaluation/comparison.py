"""Two arms on the same splits: what one gains over the other, and how sure that is, in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atomprint.evaluation.statistics import LEVEL, Interval

FEW_SPLITS = 5
N_DRAWS = 2000
# Numbers drawn at once, so that memory stays bounded for large sets.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Judged:
    """An arm's errors on one split.

    Attributes
    ----------
    value
        The metric.
    ids
        Of the crystals judged.
    errors
        Absolute error of each of them, whose mean is ``value``; None where the metric is no mean
        over crystals.
    """

    value: float
    ids: tuple[str, ...] = ()
    errors: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Comparison:
    """What an arm gains over another on the splits that both have done.

    Attributes
    ----------
    gain
        1 - geometric mean over splits of the ratio of errors, with its 95 % interval.
    n_won, n_splits
        Splits on which the arm's error is the lower one, and all.
    """

    gain: Interval
    n_won: int
    n_splits: int

    @property
    def words(self) -> str:
        """``better in 5 of 5 splits, 12 % [8, 17]``, ``not told apart ...`` or ``worse ...``."""
        low, high = self.gain.low, self.gain.high
        said = f"{self.n_won} of {self.n_splits} splits, {_percent(self.gain)}"
        if low is None or high is None:
            found = f"lower error in {said}, no interval from so little"
        elif low > 0:
            found = f"better in {said}"
        elif high < 0:
            found = f"worse: lower error in only {said}"
        else:
            found = f"not told apart: lower error in {said}"
        few = self.n_splits < FEW_SPLITS and low is not None
        return found + ("; few splits" if few else "")


def _percent(gain: Interval) -> str:
    text = f"{100 * gain.value:.0f} %"
    if gain.low is None or gain.high is None:
        return text
    return f"{text} [{100 * gain.low:.0f}, {100 * gain.high:.0f}]"


def compare(arm: Sequence[Judged], other: Sequence[Judged], seed: int = 0) -> Comparison:
    """Compare two arms, split by split.

    The interval is a bootstrap that draws splits with replacement and, where errors of single
    crystals are known, weighs crystals at random (Poisson weights of mean 1; the Bayesian-like form
    of drawing them with replacement, Hanley and MacGibbon, Comput. Methods Programs Biomed. 83, 57,
    2006). A crystal has the same weight in every split it judges and for both arms, so that what
    they share cancels. With one split, it says how sure the gain is for other crystals of the
    kind, not for other labels to learn from.

    Parameters
    ----------
    arm, other
        One entry a split, in the same order.
    seed
        Of the draws.

    Raises
    ------
    ValueError
        If the two have different numbers of splits, or none.
    """
    if len(arm) != len(other) or not arm:
        raise ValueError(f"{len(arm)} and {len(other)} splits cannot be compared")
    ratios = np.log([[a.value / b.value] for a, b in zip(arm, other, strict=True)])[:, 0]
    n_won = int((ratios < 0).sum())
    value = 1 - math.exp(float(ratios.mean()))
    known = all(one.errors is not None for one in [*arm, *other])
    if len(arm) < 2 and not known:
        return Comparison(Interval(value), n_won, len(arm))
    generator = np.random.default_rng(seed)
    drawn = np.broadcast_to(ratios, (N_DRAWS, len(arm)))
    if known:
        drawn = _weighted(arm, other, generator)
    if len(arm) > 1:
        picks = generator.integers(len(arm), size=(N_DRAWS, len(arm)))
        drawn = np.take_along_axis(drawn, picks, 1)
    gains = 1 - np.exp(drawn.mean(1))
    low, high = np.quantile(gains, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Comparison(Interval(value, float(low), float(high)), n_won, len(arm))


def _weighted(
    arm: Sequence[Judged], other: Sequence[Judged], generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Log ratios of the splits' errors under random weights of crystals, ``(draws, splits)``."""
    place: dict[str, int] = {}
    for one in arm:
        for name in one.ids:
            place.setdefault(name, len(place))
    found = []
    step = max(1, _CHUNK // max(1, len(place)))
    for start in range(0, N_DRAWS, step):
        shape = (min(step, N_DRAWS - start), len(place))
        weights = generator.poisson(1.0, shape).astype(np.float64)
        columns = []
        for one, two in zip(arm, other, strict=True):
            assert one.errors is not None
            assert two.errors is not None
            index = np.array([place[name] for name in one.ids])
            mine, its = weights[:, index] @ one.errors, weights[:, index] @ two.errors
            # A draw without any crystal says nothing: the ratio of the whole stands in.
            whole = math.log(one.value / two.value)
            ok = (mine > 0) & (its > 0)
            ratio = np.log(np.where(ok, mine, 1.0) / np.where(ok, its, 1.0))
            columns.append(np.where(ok, ratio, whole))
        found.append(np.stack(columns, 1))
    return np.concatenate(found)
