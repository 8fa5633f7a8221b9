"""Corpora mixed by weight: shares, no early repeats, and nothing but (seed, epoch) decides."""

from collections import Counter

import numpy as np
import pytest

from atomprint.data.batching import BatchSettings, BatchStream
from atomprint.data.mixing import Corpus, Mix
from atomprint.ground.errors import DataError, UsageError
from tests.toy import toy_crystals

CASES = [
    ((40, 7), (1.0, 1.0)),
    ((100, 3, 20), (1.0, 0.5, 2.0)),
    ((5, 5), (0.01, 1.0)),
    ((6,), (3.0,)),
    ((1, 1000), (1.0, 0.001)),
    ((3, 1, 1), (1.0, 1.0, 1.0)),
]


def corpus_of(index, sizes):
    return int(np.searchsorted(np.cumsum(sizes), index, side="right"))


@pytest.mark.parametrize(("sizes", "weights"), CASES)
def test_shares_follow_the_weights_and_rounding_does_not_add_up(sizes, weights):
    mix = Mix(sizes, weights, seed=5)
    drawn = Counter()
    for epoch in range(30):
        drawn.update(corpus_of(i, sizes) for i in mix.order(epoch))
        for corpus, weight in enumerate(weights):
            wanted = (epoch + 1) * sum(sizes) * weight / sum(weights)
            assert abs(drawn[corpus] - wanted) <= 0.5


@pytest.mark.parametrize(("sizes", "weights"), CASES)
def test_nothing_is_drawn_twice_before_all_of_its_corpus_was_drawn_once(sizes, weights):
    """The draws of a corpus, over the ends of epochs, are passes over all of it."""
    mix = Mix(sizes, weights, seed=1)
    drawn = [[] for _ in sizes]
    for epoch in range(25):
        for index in mix.order(epoch):
            drawn[corpus_of(index, sizes)].append(int(index))
    for corpus, size in enumerate(sizes):
        first = sum(sizes[:corpus])
        everything = set(range(first, first + size))
        passes = [drawn[corpus][i : i + size] for i in range(0, len(drawn[corpus]), size)]
        for one in passes[:-1]:
            assert set(one) == everything
        for last in passes[-1:]:
            assert len(set(last)) == len(last)
            assert set(last) <= everything


def test_every_pass_has_an_order_of_its_own():
    mix = Mix((50, 50), (1.0, 1.0), seed=0)
    epochs = [mix.order(epoch) for epoch in range(3)]
    first = [order[order < 50].tolist() for order in epochs]
    second = [(order[order >= 50] - 50).tolist() for order in epochs]
    assert len({tuple(one) for one in [*first, *second]}) == 6
    # Which corpus comes when is shuffled, not in blocks or in turn.
    turns = [(order < 50).astype(int) for order in epochs]
    for turn in turns:
        assert 30 < np.abs(np.diff(turn)).sum() < 70
    assert (turns[0] != turns[1]).any()


def test_an_epoch_is_a_function_of_seed_and_epoch_alone():
    one, other = (Mix((9, 30), (2.0, 1.0), seed=4) for _ in range(2))
    for epoch in range(6):
        one.order(epoch)
    for epoch in (5, 0, 3):
        np.testing.assert_array_equal(one.order(epoch), other.order(epoch))
    assert (Mix((9, 30), (2.0, 1.0), seed=3).order(0) != one.order(0)).any()


def test_a_mixed_stream_resumes_and_ranks_divide_it():
    crystals = toy_crystals(24)

    def stream(**more):
        mix = Mix((18, 6), (1.0, 1.0), seed=2)
        limits = BatchSettings(max_crystals=4)
        return BatchStream(crystals, 4.0, limits, seed=2, mix=mix, **more)

    whole = [b.graph.ids for b in stream().batches(0, 14)]
    assert [b.graph.ids for b in stream().batches(8, 14)] == whole[8:]
    ranks = [
        [b.graph.ids for b in stream(rank=rank, world_size=2).batches(0, 14)] for rank in (0, 1)
    ]
    together = [sorted([*one, *other]) for one, other in zip(*ranks, strict=True)]
    assert together == [sorted(ids) for ids in whole]
    # Twelve of 24 draws of an epoch are of the small corpus, its six crystals twice.
    epoch = Counter(id for ids in whole[:6] for id in ids)
    assert [epoch[c.id] for c in crystals[18:]] == [2] * 6
    assert max(epoch[c.id] for c in crystals[:18]) == 1


def test_impossible_mixtures_are_refused():
    with pytest.raises(DataError, match="holds no crystal"):
        Mix((3, 0), (1.0, 1.0), 0)
    for weight in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="give a positive number"):
            Corpus(toy_crystals(2), weight)
