"""Statistics of the pre-training study, by hand."""

import importlib.util
import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "pretraining" / "gains.py"


@pytest.fixture(scope="module")
def stats():
    spec = importlib.util.spec_from_file_location("pretraining_gains", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_gain_is_of_the_same_set_labels_and_seed(stats):
    twin = {("a", 500, 0): 2.0, ("a", 500, 1): 4.0, ("a", 100, 0): 8.0}
    arm = {("a", 500, 0): 1.5, ("a", 500, 1): 5.0, ("a", 500, 2): 1.0}
    assert stats.gains(arm, twin) == {("a", 500, 0): 0.25, ("a", 500, 1): -0.25}


def test_every_set_counts_the_same_however_many_seeds_it_has(stats):
    # Ratios: a: 1/2 and 1/8, whose mean is 1/4; b: 1. Their mean is sqrt(1/4 · 1) = 1/2.
    twin = {("a", 500, 0): 1.0, ("a", 500, 1): 1.0, ("b", 500, 0): 3.0}
    arm = {("a", 500, 0): 1 / 2, ("a", 500, 1): 1 / 8, ("b", 500, 0): 3.0}
    table = stats.log_ratios(arm, twin, {"a": 500, "b": 500})
    assert stats.mean_gain(table).value == pytest.approx(0.5)


def test_a_small_set_stands_with_all_its_labels(stats):
    errors = dict.fromkeys(
        [("a", 100, 0), ("a", 500, 0), ("b", 100, 0), ("b", 300, 0), ("b", 406, 0), ("c", 300, 0)],
        1.0,
    )
    assert stats.labels_near(errors, 500) == {"a": 500, "b": 406}
    assert stats.labels_near(errors, 1000) == {"b": 406}
    assert stats.labels_near(errors, 300) == {"b": 300, "c": 300}


def test_the_bootstrap_is_that_of_all_draws(stats):
    # Two sets with two seeds each. A draw is two sets and two seeds of each: each of the 2·2 sets
    # and, in each, of the 2·2 pairs of seeds, is equally likely, so the exact distribution can be
    # listed.
    table = {"a": {0: 0.0, 1: 1.0}, "b": {0: 10.0, 1: 30.0}}
    of_set = {
        name: [(x + y) / 2 for x, y in itertools.product(seeds.values(), repeat=2)]
        for name, seeds in table.items()
    }
    exact = [
        (x + y) / 2
        for first, second in itertools.product("ab", repeat=2)
        for x in of_set[first]
        for y in of_set[second]
    ]
    draws = stats.resampled([table], n_draws=40_000)[0]
    values, counts = np.unique(exact, return_counts=True)
    found, found_counts = np.unique(draws, return_counts=True)
    np.testing.assert_allclose(found, values)
    np.testing.assert_allclose(found_counts / 40_000, counts / len(exact), atol=0.01)


def test_sets_with_fewer_seeds_are_drawn_whole(stats):
    table = {"a": {0: -1.0}, "b": {0: 1.0, 1: 1.0, 2: 1.0}}
    draws = stats.resampled([table], n_draws=20_000)[0]
    values, counts = np.unique(draws, return_counts=True)
    assert values.tolist() == [-1.0, 0.0, 1.0]
    np.testing.assert_allclose(counts / 20_000, [0.25, 0.5, 0.25], atol=0.015)


def test_few_sets_have_no_interval(stats):
    table = {name: {0: math.log(0.5), 1: math.log(0.5)} for name in "abcd"}
    for found in (stats.mean_gain(table), stats.ahead(table, table)):
        assert (found.low, found.high) == (None, None)
    found = stats.mean_gain(table | {"e": {0: math.log(0.5)}})
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_what_two_arms_share_is_compared_in_pairs(stats):
    # The same draws for both: arms that differ by one factor everywhere, however much sets and
    # seeds differ, keep the sign of their difference in every draw.
    rng = np.random.default_rng(5)
    better = {n: {s: rng.normal() for s in range(3)} for n in "abcde"}
    worse = {n: {s: v + math.log(1.1) for s, v in seeds.items()} for n, seeds in better.items()}
    found = stats.ahead(better, worse)
    assert found.value == pytest.approx(0.1 * math.exp(stats.mean_log(better)))
    assert 0 < found.low < found.value < found.high
    # One set more, that the other arm has not, changes nothing.
    assert stats.ahead(better | {"f": {0: 9.0}}, worse) == found
    assert stats.ahead({"f": {0: 9.0}}, worse) is None


def test_a_difference_in_gain_by_hand(stats, monkeypatch):
    monkeypatch.setattr("atomprint.evaluation.statistics.MIN_SETS", 2)
    # Means of ratios: sqrt(0.5 · 0.5) = 0.5 and sqrt(0.64 · 1) = 0.8: gains of 50 % and 20 %.
    one = {"a": {0: math.log(0.5)}, "b": {0: math.log(0.5)}}
    other = {"a": {0: math.log(0.64)}, "b": {0: 0.0}}
    found = stats.ahead(one, other)
    # Draws are (a, a), (a, b), (b, b): 0.14, 0.3, 0.5.
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.14, 0.5))


def test_labels_between_measured_numbers(stats):
    # 100 -> 400 labels takes the MAE from 8 to 2: MAE = 800 / n. MAE 4 is at 200 labels.
    assert stats.labels_reaching([100, 400], [8.0, 2.0], 4.0) == pytest.approx(200)
    # MAE 1 at 1,600: 2 -> 1 over a factor of 4; sqrt(2) is at 800.
    numbers, maes = [100, 400, 1600], [8.0, 2.0, 1.0]
    assert stats.labels_reaching(numbers, maes, math.sqrt(2)) == pytest.approx(800)
    assert stats.labels_reaching(numbers, maes, 8.0) == 100
    assert stats.labels_reaching(numbers, maes, 1.0) == pytest.approx(1600)


def test_labels_outside_the_measured_range(stats):
    assert stats.labels_reaching([100, 400], [8.0, 2.0], 9.0) == 0
    assert stats.labels_reaching([100, 400], [8.0, 2.0], 1.9) == math.inf


def test_the_first_crossing_counts_where_a_curve_is_not_monotonous(stats):
    assert stats.labels_reaching([100, 400, 1600], [8.0, 2.0, 4.0], 4.0) == pytest.approx(200)
    assert stats.labels_reaching([100, 400, 1600], [2.0, 8.0, 1.0], 1.5) > 400


def test_labels_needed_for_the_twins_error(stats):
    scratch = {100: {0: 20.0, 1: 20.0}, 1000: {0: 2.0, 1: 8.0}}
    # Geometric mean of 2 and 8: 4. The arm has 800 / n: 4 at 200.
    arm = {100: {0: 8.0, 1: 8.0}, 400: {0: 2.0, 1: 2.0}}
    found = stats.labels_needed(scratch, 1000, arm)
    # Draws of the goal: 2, 4, 8, that is 400, 200 and 100 labels, a quarter, a half, a quarter.
    assert (found.value, found.low, found.high) == pytest.approx((200, 100, 400))
    with_one = {100: {0: 8.0}, 400: {0: 2.0}}
    found = stats.labels_needed({1000: {0: 4.0}}, 1000, with_one)
    assert (found.value, found.low, found.high) == (pytest.approx(200), None, None)


def test_an_interval_may_end_outside_the_measured_range(stats):
    arm = {100: {0: 8.0}, 400: {0: 2.0}}
    found = stats.labels_needed({1000: {0: 1.0, 1: 16.0}}, 1000, arm)
    assert (found.value, found.low, found.high) == (pytest.approx(200), 0, math.inf)


def test_seeds_at_the_same_number_of_labels_are_drawn_in_pairs(stats):
    # The arm at 400 labels is twin at 400 labels, seed by seed: always 400, though seeds differ.
    arm = {100: {0: 90.0, 1: 90.0}, 400: {0: 2.0, 1: 8.0}}
    found = stats.labels_needed({400: {0: 2.0, 1: 8.0}}, 400, arm)
    assert (found.value, found.low, found.high) == pytest.approx((400, 400, 400))


def test_curves_come_in_order_of_labels(stats):
    errors = {("a", 500, 0): 2.0, ("a", 100, 1): 9.0, ("b", 100, 0): 7.0, ("a", 100, 0): 4.0}
    found = stats.curve(errors, "a")
    assert list(found) == [100, 500]
    assert found == {100: {0: 4.0, 1: 9.0}, 500: {0: 2.0}}
    assert stats.curve_means(found) == pytest.approx({100: 6.0, 500: 2.0})
