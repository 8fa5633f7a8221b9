"""Damage is found where it is, and what is whole survives a repair."""

import json

import numpy as np
import pytest

from atomprint.data.store import Provenance, Store, StoreWriter
from atomprint.data.store.convert import read_quarantine
from atomprint.data.store.copying import merge_stores, sample_store
from atomprint.data.store.layout import map_arrays, read_header, write_shard
from atomprint.data.store.stats import store_stats
from atomprint.data.store.validate import validate_store
from atomprint.ground.elements import mass
from atomprint.ground.errors import AtomprintWarning, DataError, UsageError
from tests.data.store.test_store import assert_same, crystals, written


@pytest.fixture
def store(tmp_path):
    return written(tmp_path / "s", crystals(20), shard_crystals=7, exact=True)


def shards(store):
    return [file for file, _ in store.headers]


def flip(path, name):
    place = read_header(path).arrays[name]
    data = bytearray(path.read_bytes())
    data[place.offset + place.n_bytes // 2] ^= 1
    path.write_bytes(data)


def test_a_sound_store_is_sound(store):
    found = validate_store(store.path)
    assert found.damages == []
    assert (found.n_shards, found.n_crystals) == (3, 20)


@pytest.mark.parametrize("name", ["positions", "cells", "numbers"])
def test_a_flipped_bit_costs_one_shard_and_its_ids_are_known(store, name):
    bad = shards(store)[1]
    lost = [c.id for c in store[7:14]]
    flip(bad, name)
    (damage,) = validate_store(store.path).damages
    assert damage.file == bad
    assert name in damage.reason
    assert list(damage.ids) == lost
    assert not damage.repaired

    (mended,) = validate_store(store.path, repair=True).damages
    assert "moved" in mended.repaired
    assert validate_store(store.path).damages == []
    assert [c.id for c in Store(store.path)] == [c.id for c in crystals(20) if c.id not in lost]
    assert [p.id for p in read_quarantine(store.path)] == lost


def with_rows(folder, **more):
    """A store of crystals with one number and rows of numbers as labels."""
    rng = np.random.default_rng(0)
    rows = [
        c.with_labels({"energy": float(i), "forces": rng.normal(size=(c.n_atoms, 3))})
        for i, c in enumerate(crystals(20))
    ]
    return written(folder, rows, shard_crystals=7, exact=True, **more), rows


@pytest.mark.parametrize("array", ["label:energy", "label:forces", "label:forces:stops"])
def test_damaged_labels_cost_these_labels_and_no_crystal(tmp_path, array):
    store, rows = with_rows(tmp_path / "s")
    name = array.split(":")[1]
    bad = shards(store)[1]
    flip(bad, array)
    whole = bad.read_bytes()
    (damage,) = validate_store(store.path).damages
    assert array in damage.reason
    assert list(damage.ids) == [c.id for c in rows[7:14]]

    (mended,) = validate_store(store.path, repair=True).damages
    assert f"lost {name} and are kept" in mended.repaired
    assert not mended.lost
    assert validate_store(store.path).damages == []
    assert (store.path / "damaged" / bad.name).read_bytes() == whole
    for index, (found, wanted) in enumerate(zip(Store(store.path), rows, strict=True)):
        kept = dict(wanted.labels)
        if 7 <= index < 14:
            del kept[name]
        assert_same(found, wanted.with_labels(kept), 0)
    assert list(read_quarantine(store.path)) == []


def test_damaged_labels_and_more_cost_the_shard(tmp_path):
    store, rows = with_rows(tmp_path / "s")
    bad = shards(store)[1]
    flip(bad, "label:energy")
    flip(bad, "positions")
    (mended,) = validate_store(store.path, repair=True).damages
    assert "moved" in mended.repaired
    assert [c.id for c in Store(store.path)] == [c.id for c in [*rows[:7], *rows[14:]]]


def test_damaged_labels_that_a_command_can_read_again_are_set_aside(tmp_path):
    store, _ = with_rows(tmp_path / "s")
    with StoreWriter(store.path) as writer:
        writer.describe(inputs="0123456789abcdef", complete=True)
    flip(shards(store)[1], "label:energy")
    found = validate_store(store.path, repair=True).damages
    assert "moved" in found[0].repaired
    with pytest.warns(AtomprintWarning, match="lacks crystals of damaged shards"):
        assert len(Store(store.path)) == 13


def test_hashes_are_made_anew_from_the_ids(store):
    before = store.hash()
    flip(shards(store)[1], "id_hashes")
    (damage,) = validate_store(store.path, repair=True).damages
    assert damage.repaired == "made anew from the ids"
    assert not damage.lost
    assert validate_store(store.path).damages == []
    assert Store(store.path).hash() == before
    with StoreWriter(store.path) as writer:
        assert all(c.id in writer for c in crystals(20))


def test_a_shard_that_is_not_there_is_missed(store):
    gone = shards(store)[1]
    gone.unlink()
    with pytest.raises(DataError, match=rf"{gone.name}: is not there.*data validate .*--repair"):
        Store(store.path)
    (damage,) = validate_store(store.path).damages
    assert damage.file == gone
    assert not damage.repaired

    (mended,) = validate_store(store.path, repair=True).damages
    assert mended.file == gone
    assert mended.repaired
    assert validate_store(store.path).damages == []
    left = [*crystals(20)[:7], *crystals(20)[14:]]
    assert [c.id for c in Store(store.path)] == [c.id for c in left]


@pytest.mark.parametrize("how", ["cut", "empty", "other"])
def test_a_shard_that_cannot_be_read(store, how):
    bad = shards(store)[0]
    data = bad.read_bytes()
    bad.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "other": b"x" * 500}[how])
    assert [d.file for d in validate_store(store.path).damages] == [bad]
    validate_store(store.path, repair=True)
    assert len(Store(store.path)) == 13


def test_counts_that_contradict_each_other(store):
    """The bytes are those that were written, and still cannot be right."""
    bad = shards(store)[0]
    header = read_header(bad)
    arrays = {name: np.array(array) for name, array in map_arrays(bad, header).items()}
    arrays["atom_stops"][2] = arrays["atom_stops"][1]
    write_shard(bad, arrays, header.about)
    (damage,) = validate_store(store.path).damages
    assert damage.reason == "it has a crystal without atoms"


def test_one_id_twice_keeps_the_first(store):
    second = shards(store)[1]
    copy = second.with_name("00000009.shard")
    copy.write_bytes(second.read_bytes())
    (damage,) = validate_store(store.path).damages
    assert damage.file == copy
    assert len(damage.ids) == 7
    validate_store(store.path, repair=True)
    assert validate_store(store.path).damages == []
    assert [c.id for c in Store(store.path)] == [c.id for c in crystals(20)]


def test_taking_out_some_keeps_the_others_whole(tmp_path):
    rows = crystals(12)
    store = written(tmp_path / "s", rows, exact=True)
    extra = written(tmp_path / "t", [*crystals(5, seed=3), *rows[2:9]], exact=True)
    shards(extra)[0].rename(store.path / "shards" / "00000001.shard")
    validate_store(store.path, repair=True)
    mended = Store(store.path)
    for read, wanted in zip(mended, [*rows, *crystals(5, seed=3)], strict=True):
        assert_same(read, wanted, 0)


def test_a_description_is_made_anew(store):
    (store.path / "store.json").write_text("{")
    assert [d.file.name for d in validate_store(store.path).damages] == ["store.json"]
    validate_store(store.path, repair=True)
    mended = Store(store.path)
    assert mended.description.exact
    assert len(mended) == 20


def test_looking_changes_nothing(store):
    flip(shards(store)[0], "cells")
    before = {file: file.read_bytes() for file in store.path.rglob("*") if file.is_file()}
    validate_store(store.path)
    after = {file: file.read_bytes() for file in store.path.rglob("*") if file.is_file()}
    assert before == after
    with pytest.raises(UsageError, match="is no store"):
        validate_store(store.path / "shards" / "nothing")


def test_counts_agree_with_counting(store):
    found = store_stats(store)
    rows = crystals(20)
    assert found.n_atoms == sum(c.n_atoms for c in rows)
    some = int(rows[0].numbers[0])
    from atomprint.ground.elements import symbols

    assert found.elements[symbols[some]] == sum(some in c.numbers for c in rows)
    density = [mass[c.numbers].sum() / c.volume * 1.66053906660 for c in rows]
    assert found.density["5 %"] == pytest.approx(np.quantile(density, 0.05))
    energies = [c.labels["energy"] for c in rows if "energy" in c.labels]
    assert found.labels["energy"]["count"] == len(energies)
    assert found.labels["energy"]["mean"] == pytest.approx(np.mean(energies))
    forces = [c.labels["forces"] for c in rows if "forces" in c.labels]
    assert found.labels["forces"]["count"] == len(forces)
    assert found.labels["forces"]["max"] == np.concatenate(forces).max()
    json.dumps(found.labels)


def test_merging_and_sampling(tmp_path):
    mp = Provenance(source="mp", licence="CC BY 4.0")
    one = written(tmp_path / "a", crystals(9, 1), units={"energy": "eV"}, provenance=[mp])
    two = written(tmp_path / "b", [*crystals(6, 2), *crystals(9, 1)[:4]], exact=True)
    found = merge_stores([one, two], tmp_path / "c")
    both = Store(tmp_path / "c")
    assert found.n_written == 15
    assert [(p.file, p.id) for p in found.problems] == [
        (str(tmp_path / "b"), c.id) for c in crystals(9, 1)[:4]
    ]
    assert list(read_quarantine(tmp_path / "c")) == list(found.problems)
    assert [c.id for c in both] == [c.id for c in crystals(9, 1) + crystals(6, 2)]
    assert both.description.exact
    assert both.units["energy"] == "eV"
    assert both.provenance == (mp,)
    assert_same(both[10], two[1], 0)
    assert merge_stores([one, two], tmp_path / "c").resumed == 15
    with pytest.raises(UsageError, match="is a store of something else"):
        merge_stores([one], tmp_path / "c")
    other = written(tmp_path / "d", crystals(2, 5), units={"energy": "meV"})
    with pytest.raises(DataError, match="in eV in the store and in meV"):
        merge_stores([one, other], tmp_path / "e")

    sample_store(both, 6, tmp_path / "f", seed=1)
    part = [c.id for c in Store(tmp_path / "f")]
    ids = [c.id for c in both]
    assert len(part) == 6
    assert [ids.index(i) for i in part] == sorted(ids.index(i) for i in part)
    sample_store(both, 6, tmp_path / "g", seed=2)
    assert part != [c.id for c in Store(tmp_path / "g")]
    with pytest.raises(UsageError, match="at most so many"):
        sample_store(both, 99, tmp_path / "h")


def test_repair_waits_for_a_writer(store):
    with StoreWriter(store.path), pytest.raises(UsageError, match="another process"):
        validate_store(store.path, repair=True)
