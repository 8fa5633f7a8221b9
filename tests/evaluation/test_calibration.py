"""Intervals hold what they state, by hand and on average over many draws."""

import numpy as np
import pytest

from atomprint.evaluation.calibration import calibration


def unit(held_out, judged):
    """A unit whose predictions are 0, so that labels are errors."""

    def part(labels):
        return {"wanted": [[x] for x in labels], "predicted": [[0.0]] * len(labels)}

    return part(judged) | {"held_out": None if held_out is None else part(held_out)}


def test_by_hand():
    # Nine errors 1..9: the interval of 50 % is 5 wide, that of 90 % is 9 wide.
    points = {
        p.stated: p for p in calibration([unit(range(1, 10), [0.5, -4, 5, 6, 8.5, 100])], False)
    }
    assert (points[0.5].half_width, points[0.5].found) == (5.0, 0.5)
    assert (points[0.9].half_width, points[0.9].found) == (9.0, pytest.approx(5 / 6))
    assert points[0.1].half_width == 1.0
    assert points[0.5].n == 6


def test_too_few_held_out_crystals_say_nothing_of_high_levels():
    assert max(p.stated for p in calibration([unit([1, 2, 3], [1, 2])], False)) == 0.7
    assert calibration([unit(None, [1, 2])], False) == []


def test_coverage_is_at_least_as_stated_for_exchangeable_errors():
    """Split conformal: between level and level + 1 / (n + 1), for any distribution."""
    rng = np.random.default_rng(0)
    n = 10
    units = [unit(draw[:n], draw[n:]) for draw in rng.standard_cauchy((4000, n + 5))]
    for point in calibration(units, False):
        assert point.stated - 0.01 < point.found < point.stated + 1 / (n + 1) + 0.01


def test_classes_by_hand():
    one = {
        "predicted": [[0.85, 0.15], [0.19, 0.81], [0.6, 0.4], [0.0, 1.0]],
        "wanted": [[0], [0], [0], [1]],
        "held_out": None,
    }
    found = [(p.stated, p.found, p.n) for p in calibration([one], True)]
    assert found == [(0.6, 1.0, 1), (pytest.approx(0.83), 0.5, 2), (1.0, 1.0, 1)]
