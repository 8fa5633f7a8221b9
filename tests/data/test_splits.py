"""Splits: the same every time, independent of order, whole groups together."""

import numpy as np
import pytest

from atomprint.data.splits import split
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from tests.structures.crystal_files import write

IDS = [f"mp-{i}" for i in range(200)]


def names(ids, parts):
    return tuple({ids[i] for i in part} for part in (parts.train, parts.valid, parts.test))


def crystals(n=120, n_compositions=40):
    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        z = 1 + int(rng.integers(n_compositions))
        copies = int(rng.integers(1, 4))
        made.append(Crystal(f"c{i}", np.array([z, 90, 90] * copies), np.zeros((3, 3)), np.eye(3)))
    return made


def test_sizes_and_partition():
    parts = split(IDS, 0.15, 0.1)
    assert (len(parts.test), len(parts.valid), len(parts.train)) == (30, 20, 150)
    everything = parts.train + parts.valid + parts.test
    assert sorted(everything) == list(range(200))
    assert parts.train == sorted(parts.train)


def test_order_plays_no_part_and_seeds_do():
    shuffled = list(np.random.default_rng(1).permutation(IDS))
    assert names(IDS, split(IDS)) == names(shuffled, split([str(i) for i in shuffled]))
    assert names(IDS, split(IDS)) == names(IDS, split(IDS))
    assert names(IDS, split(IDS, seed=1)) != names(IDS, split(IDS))


def test_the_split_never_changes():
    # A frozen case: published splits depend on it.
    parts = split([f"mp-{i}" for i in range(10)], 0.2, 0.2, seed=0)
    assert (parts.test, parts.valid) == ([7, 9], [2, 6])


def test_crystals_and_ids_are_split_alike():
    some = crystals()
    assert split(some) == split([crystal.id for crystal in some])


def test_small_sets_get_a_test_crystal():
    parts = split(["a", "b", "c"], 0.1, 0.1)
    assert (len(parts.test), len(parts.valid), len(parts.train)) == (1, 1, 1)
    assert split(["a", "b", "c"], 0, 0).train == [0, 1, 2]


def test_repeated_ids_stay_together():
    ids = [f"a{i % 30}" for i in range(90)]
    train, valid, test = names(ids, split(ids, 0.3, 0.2))
    assert train | valid | test == set(ids)
    assert len(train) + len(valid) + len(test) == len(set(ids))


@pytest.mark.parametrize("seed", range(5))
def test_compositions_never_straddle(seed):
    some = crystals()
    parts = split(some, 0.2, 0.2, seed=seed, by="composition")
    groups = [
        {reduced_composition(some[i]) for i in part}
        for part in (parts.train, parts.valid, parts.test)
    ]
    assert sum(map(len, groups)) == len({reduced_composition(crystal) for crystal in some})
    assert abs(len(parts.test) - 24) <= 4
    assert abs(len(parts.valid) - 24) <= 4
    by_id = split(some, 0.2, 0.2, seed=seed)
    assert {reduced_composition(some[i]) for i in by_id.test} & {
        reduced_composition(some[i]) for i in by_id.train
    }


def reduced_composition(crystal):
    return tuple(crystal.composition.items())


def test_reduced_composition():
    crystal = Crystal(
        "a", np.array([8, 26, 8, 26, 8, 8, 8, 26, 26, 8]), np.zeros((10, 3)), np.eye(3)
    )
    assert reduced_composition(crystal) == ((8, 3), (26, 2))


def test_test_part_from_a_file(tmp_path):
    path = write(tmp_path / "test.txt", "mp-3\n\nmp-190 \n")
    parts = split(IDS, path, 0.1)
    assert parts.test == [3, 190]
    assert len(parts.valid) == 20
    assert not set(parts.valid) & {3, 190}
    both = split(IDS, str(path), write(tmp_path / "valid.txt", "mp-0\n"))
    assert (both.valid, len(both.train)) == ([0], 197)


def test_bad_files(tmp_path):
    path = write(tmp_path / "test.txt", "mp-3\nnone\n")
    with pytest.raises(DataError, match="no crystal has the id 'none'"):
        split(IDS, path)
    with pytest.raises(UsageError, match="does not exist"):
        split(IDS, tmp_path / "absent.txt")
    with pytest.raises(UsageError, match="is empty"):
        split(IDS, write(tmp_path / "empty.txt", "\n"))
    good = write(tmp_path / "good.txt", "mp-3\n")
    with pytest.raises(DataError, match="mp-3 is in both"):
        split(IDS, good, good)
    some = crystals()
    same = [c.id for c in some if reduced_composition(c) == reduced_composition(some[0])]
    assert len(same) > 1
    with pytest.raises(DataError, match="of the same composition"):
        split(some, write(tmp_path / "one.txt", same[0]), by="composition")
    whole = split(some, write(tmp_path / "all.txt", "\n".join(same)), 0.1, by="composition")
    assert {some[i].id for i in whole.test} == set(same)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"test": 1.0}, "is no fraction"),
        ({"test": -0.1}, "is no fraction"),
        ({"test": float("nan")}, "is no fraction"),
        ({"test": 0.5, "valid": 0.5}, "nothing to train on"),
        ({"by": "volume"}, "is not known"),
        ({"by": "composition"}, "not only their ids"),
    ],
)
def test_bad_requests(arguments, words):
    with pytest.raises(UsageError, match=words):
        split(IDS, **arguments)


def test_impossible_requests():
    with pytest.raises(UsageError, match="no crystals to split"):
        split([])
    with pytest.raises(UsageError, match="nothing to train on"):
        split(["a", "b"], 0.3, 0.3)
    same = [Crystal(f"c{i}", np.array([6]), np.zeros((1, 3)), np.eye(3)) for i in range(20)]
    with pytest.raises(UsageError, match="no group of crystals is small enough"):
        split(same, 0.1, 0, by="composition")
