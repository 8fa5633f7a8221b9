"""Intervals hold as often as they say, whatever the model and the unit."""

import numpy as np
import pytest

from atomprint.evaluation.intervals import (
    Conformal,
    coverage_and_width,
    read_held_out,
    reliability,
    write_held_out,
)
from atomprint.ground.errors import DataError, UsageError


@pytest.mark.parametrize(("n", "level"), [(9, 0.8), (20, 0.9), (75, 0.5)])
def test_coverage_is_exact_on_exchangeable_crystals(n, level):
    # Beta(k, n + 1 - k) has the mean k / (n + 1), k = ceil((n + 1) level).
    rng = np.random.default_rng(0)
    wanted = np.ceil((n + 1) * level - 1e-9) / (n + 1)
    held = []
    for _ in range(3000):
        noise = rng.standard_t(3, size=(n + 20, 1))
        conformal = Conformal.fit(np.zeros((n, 1)), noise[:n])
        low, high = conformal.interval(np.zeros((20, 1)), level)
        held.append(coverage_and_width(low, high, noise[n:])[0])
    assert np.mean(held) == pytest.approx(wanted, abs=4 * np.std(held) / np.sqrt(3000))


def test_quantile_by_hand():
    conformal = Conformal.fit(np.zeros((4, 1)), np.array([[3.0], [-1.0], [2.0], [-4.0]]))
    # Five places: 0.6 is the third smallest error, 0.8 the fourth, 0.9 beyond.
    assert [conformal.quantile(q)[0] for q in (0.6, 0.8)] == [3.0, 4.0]
    assert np.isinf(conformal.quantile(0.9)[0])
    assert conformal.highest_level == 0.8


def test_higher_levels_are_wider_and_units_do_not_matter():
    rng = np.random.default_rng(1)
    predicted, wanted = rng.normal(size=(2, 50, 1))
    one = Conformal.fit(predicted, wanted)
    widths = [one.quantile(q)[0] for q in np.linspace(0.05, 0.95, 19)]
    assert widths == sorted(widths)
    scaled = Conformal.fit(27.2 * predicted + 3, 27.2 * wanted + 3)
    assert scaled.quantile(0.9)[0] == pytest.approx(27.2 * one.quantile(0.9)[0])


def test_spreads_make_intervals_narrow_where_members_agree():
    rng = np.random.default_rng(2)
    spread = rng.uniform(0.1, 2.0, size=(400, 1))
    wanted = spread * rng.normal(size=(400, 1))
    zeros = np.zeros((400, 1))
    both = Conformal.fit(zeros[:200], wanted[:200], spread[:200])
    low, high = both.interval(zeros[200:], 0.9, spread[200:])
    plain = Conformal.fit(zeros[:200], wanted[:200]).interval(zeros[200:], 0.9)
    assert np.corrcoef((high - low)[:, 0], spread[200:, 0])[0, 1] > 0.99
    assert coverage_and_width(low, high, wanted[200:])[0] > 0.84
    sharp, blunt = (coverage_and_width(*ends, wanted[200:])[1] for ends in ((low, high), plain))
    assert sharp < blunt


def test_missing_labels_do_not_count():
    wanted = np.array([[1.0], [np.nan], [-2.0]])
    assert len(Conformal.fit(np.zeros((3, 1)), wanted)) == 2
    assert coverage_and_width(wanted - 1, wanted + 1, wanted) == (1.0, 2.0)
    with pytest.raises(DataError, match="no held-out crystal has a label"):
        Conformal.fit(np.zeros((1, 1)), np.array([[np.nan]]))


def test_impossible_levels_are_refused():
    conformal = Conformal.fit(np.zeros((4, 1)), np.ones((4, 1)))
    with pytest.raises(UsageError, match="give a number in"):
        conformal.quantile(1.0)


def test_calibration_error_by_hand():
    said = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7]])
    table, error = reliability(said, np.array([0, 1, 1, 1]))
    # 0.9 said, 0.5 right; 0.7 said, 1 right.
    assert [(row.n, row.right) for row in table] == [(2, 1.0), (2, 0.5)]
    assert error == pytest.approx((2 * 0.3 + 2 * 0.4) / 4)


def test_what_is_kept_beside_a_model(tmp_path):
    wanted = np.array([[1.0], [np.nan], [3.0], [0.5]])
    write_held_out(tmp_path, {"gap": (np.zeros((4, 1)), wanted)})
    assert read_held_out(tmp_path, "gap", 0.7).scores[:, 0].tolist() == [0.5, 1.0, 3.0]
    with pytest.raises(UsageError, match=r"ask for at most 0\.75"):
        read_held_out(tmp_path, "gap", 0.9)
    with pytest.raises(UsageError, match="no held-out errors of 'k'"):
        read_held_out(tmp_path, "k", 0.5)
