"""The interval of an arm's error: by hand, against formulas, and how often it holds the truth."""

import numpy as np
import pytest

from atomprint.evaluation.error_intervals import error_interval, errors_of
from atomprint.evaluation.units import metric
from atomprint.heads.target import Target


def unit(errors, split=0, start=0):
    """A split whose crystals have these absolute errors."""
    return {
        "metric": "MAE",
        "value": float(np.mean(errors)),
        "ids": [f"c{start + i}" for i in range(len(errors))],
        "wanted": [[0.0]] * len(errors),
        "predicted": [[float(e)] for e in errors],
    }


def classified(scores, classes, size):
    probabilities = np.stack([1 - scores, scores], 1) if size == 2 else scores
    target = Target(name="y", task="classification", size=size)
    wanted = np.array(classes, dtype=float)[:, None]
    return {
        "metric": "ROC-AUC error" if size == 2 else "error rate",
        "value": metric(target, probabilities, wanted),
        "ids": [f"c{i}" for i in range(len(classes))],
        "wanted": wanted.tolist(),
        "predicted": probabilities.tolist(),
    }


def test_by_hand():
    same = error_interval([unit([2.0] * 30)])
    assert (same.value, same.low, same.high) == pytest.approx((2, 2, 2))
    # Splits that differ and crystals that do not: draws of two are 1, 2 or 3.
    two = error_interval([unit([1.0] * 20), unit([3.0] * 20, start=20)])
    assert (two.value, two.low, two.high) == pytest.approx((2, 1, 3))
    # The mean over splits, also where they differ in size.
    assert error_interval([unit([1.0] * 5), unit([4.0] * 20, start=5)]).value == 2.5
    assert error_interval([{**unit([1.0]), "value": None}]) is None


def test_it_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        found = error_interval([unit(rng.exponential(1.0, 60))])
        held.append(found.low <= 1.0 <= found.high)
    # 95 % of 200, less what a bootstrap of a skewed mean is known to lack; 3 sigma of chance.
    assert 0.88 <= np.mean(held) <= 0.99


def test_a_crystal_in_two_splits_has_one_weight():
    rng = np.random.default_rng(1)
    errors = rng.exponential(1.0, 50)

    def width(*units):
        found = error_interval(list(units))
        return found.high - found.low

    # Twice the same crystals say no more than once; as many others do, whenever both are drawn.
    once, twice = width(unit(errors)), width(unit(errors), unit(errors))
    apart = width(unit(errors), unit(errors, start=50))
    assert twice == pytest.approx(once, rel=0.05)
    assert apart < 0.97 * once


def test_error_rates_are_binomial():
    rng = np.random.default_rng(2)
    classes = rng.integers(3, size=400)
    said = np.where(rng.random(400) < 0.2, (classes + 1) % 3, classes)
    one = classified(np.eye(3)[said], classes, 3)
    share = errors_of(one).mean()
    assert share == one["value"]
    found = error_interval([one])
    half = 1.96 * np.sqrt(share * (1 - share) / 400)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_rankings_have_the_spread_of_delong():
    rng = np.random.default_rng(3)
    classes = rng.integers(2, size=300)
    scores = 1 / (1 + np.exp(-rng.normal(1.2 * classes, 1)))
    found = error_interval([classified(scores, classes, 2)])
    # DeLong, DeLong and Clarke-Pearson, Biometrics 44, 837 (1988): variance of an ROC area.
    high, low = scores[classes == 1], scores[classes == 0]
    above = (high[:, None] > low[None]).astype(float)
    variance = above.mean(1).var(ddof=1) / len(high) + above.mean(0).var(ddof=1) / len(low)
    assert found.value == pytest.approx(1 - above.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.2)
