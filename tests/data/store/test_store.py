"""A store gives back what was put in, and notices what is no longer what was put in."""

import pickle

import numpy as np
import pytest

from atomprint.data.selection import Joined, Selection, sizes_of, volumes_of
from atomprint.data.store import Provenance, Store, StoreWriter, is_store
from atomprint.data.store.layout import DamagedShard, check_arrays, read_header
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal


def crystals(n=37, seed=0, labels=True):
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        k = int(rng.integers(1, 9))
        values = {}
        if labels and i % 3:
            values["energy"] = float(rng.normal())
        if labels and i % 4 == 0:
            values["forces"] = rng.normal(size=(k, 3))
        if labels and i % 5 == 0:
            values["charge"] = rng.normal(size=k)
        cell = np.diag(rng.uniform(3, 9, 3)) + rng.normal(scale=0.2, size=(3, 3))
        made.append(
            Crystal.make(
                f"ä-{seed}-{i}", rng.integers(1, 100, k), cell,
                frac=rng.uniform(-1, 2, (k, 3)), labels=values,
            )
        )  # fmt: skip
    return made


def written(path, rows, **more):
    with StoreWriter(path, **more) as writer:
        writer.extend(rows)
    return Store(path)


def assert_same(read, wanted, atol):
    assert read.id == wanted.id
    np.testing.assert_array_equal(read.numbers, wanted.numbers)
    assert read.numbers.dtype == np.int64
    np.testing.assert_allclose(read.positions, wanted.positions, rtol=0, atol=atol)
    np.testing.assert_allclose(read.cell, wanted.cell, rtol=0, atol=atol)
    assert set(read.labels) == set(wanted.labels)
    for name, value in wanted.labels.items():
        np.testing.assert_array_equal(read.labels[name], value)
        assert np.shape(read.labels[name]) == np.shape(value)


@pytest.mark.parametrize(("exact", "atol"), [(True, 0), (False, 1e-6)])
@pytest.mark.parametrize("shard_crystals", [1, 10, 1000])
def test_what_is_read_is_what_was_written(tmp_path, exact, atol, shard_crystals):
    rows = crystals()
    store = written(
        tmp_path / "s", rows, exact=exact, shard_crystals=shard_crystals, units={"energy": "eV"}
    )
    assert is_store(tmp_path / "s")
    assert len(store) == len(rows)
    assert store.n_atoms == sum(c.n_atoms for c in rows)
    for read, wanted in zip(store, rows, strict=True):
        assert_same(read, wanted, atol)
    assert_same(store[-1], rows[-1], atol)
    assert list(store.ids()) == [c.id for c in rows]
    assert store.units == {"charge": "", "energy": "eV", "forces": ""}


def test_the_layout_is_the_one_described(tmp_path):
    """Read a shard with nothing but NumPy and JSON, from the words at the head of layout.py."""
    import json
    import zlib

    rows = crystals()
    store = written(tmp_path / "s", rows, exact=True)
    (path,) = [file for file, _ in store.headers]
    data = path.read_bytes()
    assert data[:8] == b"atomprnt"
    number, crc = np.frombuffer(data[8:16], "<u4")
    length = int(np.frombuffer(data[16:24], "<u8")[0])
    header = data[24 : 24 + length]
    assert (number, crc) == (1, zlib.crc32(data[8:12] + header))
    start = -(-(24 + length) // 64) * 64
    place = json.loads(header)["arrays"]["positions"]
    assert place["offset"] % 64 == 0
    first = start + place["offset"]
    n_bytes = 8 * int(np.prod(place["shape"]))
    positions = np.frombuffer(data[first : first + n_bytes], place["dtype"]).reshape(-1, 3)
    np.testing.assert_array_equal(positions, np.concatenate([c.positions for c in rows]))


def test_appending_keeps_what_is_there(tmp_path):
    first, second = crystals(11, seed=1), crystals(12, seed=2)
    once = written(tmp_path / "s", first)
    before = [file.read_bytes() for file, _ in once.headers]
    hash_before = once.hash()
    both = written(tmp_path / "s", second)
    assert [c.id for c in both] == [c.id for c in first + second]
    assert [file.read_bytes() for file, _ in both.headers][: len(before)] == before
    assert both.hash() != hash_before
    assert len(once) == 11  # an open store is what it was


def test_an_id_stands_for_one_crystal_also_across_shards(tmp_path):
    rows = crystals(8)
    written(tmp_path / "s", rows, shard_crystals=3)
    with StoreWriter(tmp_path / "s") as writer:
        assert rows[2].id in writer
        with pytest.raises(DataError, match="in the store already"):
            writer.add(rows[2])
    assert len(Store(tmp_path / "s")) == 8


def test_an_error_commits_nothing(tmp_path):
    rows = crystals(8)

    def broken():
        yield from rows
        raise RuntimeError

    with pytest.raises(RuntimeError), StoreWriter(tmp_path / "s", shard_crystals=3) as writer:
        writer.extend(broken())
    assert len(Store(tmp_path / "s")) == 6  # two whole shards; the rest was never committed


def test_two_writers_on_one_store(tmp_path):
    with (
        StoreWriter(tmp_path / "s"),
        pytest.raises(UsageError, match="another process is writing"),
    ):
        StoreWriter(tmp_path / "s")
    with StoreWriter(tmp_path / "s"):
        pass  # the lock ends with its writer


def test_a_store_is_made_only_where_nothing_else_is(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        StoreWriter(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        StoreWriter(tmp_path / "notes.txt")
    with pytest.raises(UsageError, match="is no store"):
        Store(tmp_path)


def test_units_and_precision_must_agree(tmp_path):
    written(tmp_path / "s", crystals(3), units={"energy": "eV"})
    with pytest.raises(DataError, match="in eV in the store and in meV"):
        StoreWriter(tmp_path / "s", units={"energy": "meV"})
    with pytest.raises(UsageError, match="keeps float32"):
        StoreWriter(tmp_path / "s", exact=True)


def test_provenance_adds_up(tmp_path):
    mp = Provenance(source="Materials Project", licence="CC BY 4.0", citation="Jain 2013")
    own = Provenance(source="own")
    written(tmp_path / "s", crystals(3, 1), provenance=[mp])
    store = written(tmp_path / "s", crystals(3, 2), provenance=[own, mp])
    assert store.provenance == (mp, own)


def test_sizes_and_volumes_without_crystals(tmp_path):
    rows = crystals(20)
    store = written(tmp_path / "s", rows, shard_crystals=7, exact=True)
    np.testing.assert_array_equal(store.sizes, [c.n_atoms for c in rows])
    np.testing.assert_allclose(store.volumes, [c.volume for c in rows], rtol=1e-12)
    chosen = np.array([5, 1, 19])
    part = Selection(Selection(store, np.arange(20)[::-1]), 19 - chosen)
    assert [c.id for c in part] == [rows[i].id for i in chosen]
    np.testing.assert_array_equal(part.sizes, [rows[i].n_atoms for i in chosen])
    both = Joined([rows[:4], part])
    assert [c.id for c in both] == [c.id for c in rows[:4]] + [rows[i].id for i in chosen]
    assert both[-1].id == rows[19].id
    np.testing.assert_array_equal(sizes_of(both), [c.n_atoms for c in both])
    np.testing.assert_allclose(volumes_of(both), [c.volume for c in both], rtol=1e-12)
    assert [c.id for c in store[3:9:2]] == [rows[i].id for i in (3, 5, 7)]


def test_a_store_goes_to_other_processes_as_its_path(tmp_path):
    store = written(tmp_path / "s", crystals(5))
    assert len(pickle.dumps(store)) < 500
    assert [c.id for c in pickle.loads(pickle.dumps(store))] == list(store.ids())


def test_hash_is_of_the_content(tmp_path):
    rows = crystals(9)
    one = written(tmp_path / "a", rows, shard_crystals=4)
    again = written(tmp_path / "b", rows, shard_crystals=4)
    other = written(tmp_path / "c", [*rows[:-1], crystals(1, seed=7)[0]], shard_crystals=4)
    assert one.hash() == again.hash() != other.hash()


def test_every_flipped_byte_is_found(tmp_path):
    store = written(tmp_path / "s", crystals(4))
    path = store.headers[0][0]
    whole = path.read_bytes()
    header = read_header(path)
    covered = np.zeros(len(whole), bool)
    covered[: min(p.offset for p in header.arrays.values())] = True
    for place in header.arrays.values():
        covered[place.offset : place.offset + place.n_bytes] = True
    length = int(np.frombuffer(whole[16:24], "<u8")[0])
    covered[24 + length : min(p.offset for p in header.arrays.values())] = False  # padding
    rng = np.random.default_rng(0)
    for at in [0, 8, 12, 16, 24, *rng.choice(np.flatnonzero(covered), 60)]:
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            found = bool(check_arrays(path, read_header(path)))
        except DataError as error:
            found = str(path) in str(error)
        assert found, at
    for length in [0, 5, 23, 40, len(whole) // 2, header.arrays["positions"].offset + 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedShard, match="--repair"):
            Store(tmp_path / "s")


def test_a_newer_format_is_refused_and_a_flipped_number_is_damage(tmp_path):
    import zlib

    store = written(tmp_path / "s", crystals(2))
    path = store.headers[0][0]
    whole = path.read_bytes()
    data = bytearray(whole)
    data[8] = 9
    path.write_bytes(data)
    with pytest.raises(DamagedShard, match="checksum"):
        Store(tmp_path / "s")
    length = int(np.frombuffer(whole[16:24], "<u8")[0])
    newer = zlib.crc32(bytes(data[8:12]) + whole[24 : 24 + length])
    data[12:16] = np.array([newer], "<u4").tobytes()
    path.write_bytes(data)
    with pytest.raises(DataError, match="format 9"):
        Store(tmp_path / "s")
    path.write_bytes(whole)
    description = tmp_path / "s" / "store.json"
    description.write_text(description.read_text().replace('"format": 1', '"format": 7'))
    with pytest.raises(DataError, match="format 7"):
        Store(tmp_path / "s")


@pytest.mark.parametrize("name", ["ids", "id_stops", "atom_stops", "label:forces:stops"])
def test_a_crystal_that_cannot_be_read_is_a_sentence(tmp_path, name):
    store = written(tmp_path / "s", crystals(20))
    path, header = store.headers[0]
    place = header.arrays[name]
    data = bytearray(path.read_bytes())
    data[place.offset : place.offset + place.n_bytes] = b"\xff" * place.n_bytes
    path.write_bytes(data)
    with pytest.raises(DamagedShard, match="atomprint data validate"):
        list(Store(tmp_path / "s"))


def test_labels_of_two_shapes_are_refused(tmp_path):
    one, two = crystals(2, labels=False)
    rows = [one.with_labels({"x": 1.0}), two.with_labels({"x": np.ones(two.n_atoms)})]
    with (
        pytest.raises(DataError, match="label 'x' has one shape"),
        StoreWriter(tmp_path / "s") as writer,
    ):
        writer.extend(rows)
