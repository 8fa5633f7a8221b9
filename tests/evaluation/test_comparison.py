"""Comparisons say no more than the numbers do."""

import math

import numpy as np
import pytest

from atomprint.evaluation.comparison import Judged, compare


def folds(rng, gain, n_splits=5, n_crystals=60, noise=0.3):
    """Twin and arm with a true gain; errors of a crystal have a common part."""
    arm, other = [], []
    for split in range(n_splits):
        ids = tuple(f"{split}-{i}" for i in range(n_crystals))
        shared = rng.exponential(1.0, n_crystals)
        wobble = np.exp(rng.normal(scale=noise, size=(2, n_crystals)))
        two = np.stack([shared * (1 - gain), shared]) * wobble
        arm.append(Judged(two[0].mean(), ids, two[0]))
        other.append(Judged(two[1].mean(), ids, two[1]))
    return arm, other


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    found = [compare(*folds(rng, 0.2), seed=i).gain for i in range(200)]
    held = np.mean([gain.low <= 0.2 <= gain.high for gain in found])
    assert 0.88 < held <= 0.995
    assert np.mean([gain.value for gain in found]) == pytest.approx(0.2, abs=0.01)


def test_no_gain_is_rarely_called_one():
    rng = np.random.default_rng(1)
    words = [compare(*folds(rng, 0.0), seed=i).words for i in range(200)]
    assert np.mean([text.startswith("not told apart") for text in words]) > 0.88


def test_words_follow_the_numbers():
    rng = np.random.default_rng(2)
    better = compare(*folds(rng, 0.4))
    assert better.words.startswith("better in 5 of 5 splits, ")
    assert f"{100 * better.gain.value:.0f} % [" in better.words
    arm, other = folds(rng, 0.4)
    assert compare(other, arm).words.startswith("worse: lower error in only 0 of 5 splits, -")
    assert compare(arm[:2], other[:2]).words.endswith("; few splits")


def test_swapping_the_arms_turns_the_ratio_round():
    arm, other = folds(np.random.default_rng(3), 0.3)
    one, two = compare(arm, other).gain, compare(other, arm).gain
    assert (1 - one.value) * (1 - two.value) == pytest.approx(1)
    assert (1 - one.low) * (1 - two.high) == pytest.approx(1, rel=1e-3)


def test_one_split_has_an_interval_from_its_crystals_alone():
    arm, other = folds(np.random.default_rng(4), 0.3, n_splits=1)
    assert compare(arm, other).gain.low is not None
    bare = compare([Judged(0.7)], [Judged(1.0)])
    assert (bare.gain.value, bare.gain.low) == (pytest.approx(0.3), None)
    assert "no interval from so little" in bare.words


def test_crystals_that_judge_every_split_are_weighed_once():
    # Ten splits judged by the same crystals are no ten times as much evidence about crystals.
    rng = np.random.default_rng(5)
    shared = rng.exponential(1.0, 40)
    wobble = np.exp(rng.normal(scale=0.5, size=(2, 40)))
    ids = tuple(map(str, range(40)))
    arm = [Judged(float(np.mean(shared * wobble[0])), ids, shared * wobble[0])] * 10
    other = [Judged(float(np.mean(shared * wobble[1])), ids, shared * wobble[1])] * 10
    ten, one = compare(arm, other).gain, compare(arm[:1], other[:1]).gain
    assert ten.high - ten.low == pytest.approx(one.high - one.low, rel=0.15)


def test_metrics_that_are_no_means_draw_splits_only():
    arm = [Judged(0.1 * math.exp(0.01 * i)) for i in range(6)]
    other = [Judged(0.2) for _ in range(6)]
    found = compare(arm, other)
    assert 1 - math.exp(0.05) / 2 <= found.gain.low <= found.gain.high <= 0.5


def test_different_splits_are_refused():
    with pytest.raises(ValueError, match="1 and 2 splits"):
        compare([Judged(1.0)], [Judged(1.0), Judged(2.0)])
