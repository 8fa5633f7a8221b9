"""Stores on a web server and in fsspec's memory: through faults, and within the cache's size."""

import multiprocessing
import os
import pickle
import time
import zlib

import numpy as np
import pytest

from atomprint.data.load import load_crystals
from atomprint.data.store import Store, cache, is_store, remote
from atomprint.data.store.cache import ShardCache
from atomprint.data.store.convert import convert
from atomprint.data.store.copying import merge_stores
from atomprint.data.store.layout import DamagedShard
from atomprint.data.store.remote import RemoteShards
from atomprint.data.store.stats import store_stats
from atomprint.data.store.validate import validate_store
from atomprint.ground.errors import DataError, UsageError
from tests.data.store.server import serve
from tests.data.store.test_store import assert_same, crystals, written

pytest.importorskip("fsspec", reason="stores elsewhere need fsspec")
pytest.importorskip("aiohttp", reason="stores on web servers need aiohttp")


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "WAITS", (0.01, 0.01, 0.01))
    monkeypatch.setattr(remote, "TIMEOUT", 0.5)


@pytest.fixture
def local(tmp_path):
    return written(tmp_path / "web" / "s", crystals(20), shard_crystals=7, exact=True)


@pytest.fixture
def web(tmp_path, local):
    with serve(tmp_path / "web") as (url, faults):
        yield f"{url}/s", faults


def cached(tmp_path):
    return sorted(path for path in (tmp_path / "cache").glob("*.shard"))


def test_the_same_crystals(tmp_path, local, web):
    url, faults = web
    store = Store(url)
    # Opening reads headers alone.
    assert {name for name, asked in faults.seen if asked != "HEAD"} == {
        "store.json", "00000000.shard", "00000001.shard", "00000002.shard"
    }  # fmt: skip
    assert not cached(tmp_path)
    assert (len(store), store.hash(), store.units) == (20, local.hash(), local.units)
    np.testing.assert_array_equal(store.sizes, local.sizes)
    np.testing.assert_array_equal(store.volumes, local.volumes)
    assert not cached(tmp_path)
    assert_same(store[8], crystals(20)[8], 0)
    assert len(cached(tmp_path)) == 1
    for read, wanted in zip(store, crystals(20), strict=True):
        assert_same(read, wanted, 0)
    assert store_stats(store).n_bytes == store_stats(local).n_bytes

    n_asked = len(faults.seen)
    for read, wanted in zip(Store(url), crystals(20), strict=True):
        assert_same(read, wanted, 0)
    assert all(stop - start < 1 << 17 for start, stop in _ranges(faults.seen[n_asked:]))
    assert {name for name, _ in faults.seen[n_asked:]} >= {"store.json"}


def _ranges(seen):
    for _, asked in seen:
        if asked.startswith("bytes="):
            start, stop = asked[len("bytes=") :].split("-")
            yield int(start), int(stop)


def test_verbs_take_addresses(tmp_path, local, web):
    url, _ = web
    assert is_store(url)
    assert [c.id for c in load_crystals(url).crystals] == [c.id for c in local]
    assert pickle.loads(pickle.dumps(Store(url)))[3].id == local[3].id
    merge_stores([Store(url)], tmp_path / "copy")
    assert [c.id for c in Store(tmp_path / "copy")] == [c.id for c in local]
    with pytest.raises(UsageError, match="is a store already"):
        convert(url, tmp_path / "other")
    with pytest.raises(UsageError, match="only stores on this machine"):
        validate_store(url)


def test_memory_and_unlisted_folders(local):
    import fsspec

    files = fsspec.filesystem("memory")
    files.put(str(local.path), "/bucket/s", recursive=True)
    try:
        for read, wanted in zip(Store("memory://bucket/s"), local, strict=True):
            assert_same(read, wanted, 0)
    finally:
        files.rm("/bucket", recursive=True)


@pytest.mark.parametrize("fault", ["breaks_off", "hangs", "fails"])
def test_a_fault_now_and_then_is_lived_through(local, web, fault):
    url, faults = web
    store = Store(url)
    for name in ("store.json", "00000000.shard", "00000001.shard", "00000002.shard"):
        getattr(faults, fault)[name] = 2
    for read, wanted in zip(store, local, strict=True):
        assert_same(read, wanted, 0)
    getattr(faults, fault)["store.json"] = 2
    assert len(Store(url)) == 20


@pytest.mark.parametrize("fault", ["breaks_off", "hangs", "fails"])
def test_a_fault_that_stays_is_one_sentence(tmp_path, web, fault, monkeypatch):
    url, faults = web
    store = Store(url)
    monkeypatch.setattr(remote, "WAITS", (0.01,))
    getattr(faults, fault)["00000001.shard"] = 100
    assert store[0].id
    with pytest.raises(
        DataError, match=r"00000001.shard: cannot be read after 2 attempts"
    ) as error:
        _ = store[8]
    assert "\n" not in str(error.value)
    assert len(cached(tmp_path)) == 1
    getattr(faults, fault)["00000001.shard"] = 0
    assert store[8].id


def test_a_server_that_is_gone(web, monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.01,))
    with pytest.raises(DataError, match="cannot be read after 2 attempts"):
        Store("http://127.0.0.1:9/s")


def test_a_slow_server_is_waited_for(local, web):
    url, faults = web
    faults.delay = 0.2
    start = time.monotonic()
    assert Store(url)[0].id == local[0].id
    assert time.monotonic() - start > 0.2


def test_what_is_not_there(web):
    url, faults = web
    with pytest.raises(UsageError, match=r"is no store \(there is no store.json\)"):
        Store(f"{url}/other")
    faults.forbids.add("store.json")
    with pytest.raises(DataError, match="does not let you read it"):
        Store(url)
    with pytest.raises(UsageError, match="is no kind of address"):
        Store("nothing://a/b")


def test_a_missing_package_is_named(monkeypatch):
    import fsspec.core

    def without(url, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", without)
    with pytest.raises(UsageError, match=r"s3:// needs s3fs; .*'atomprint\[remote\]' s3fs"):
        Store("s3://bucket/store")


def test_a_server_without_ranges(web, monkeypatch):
    monkeypatch.setattr(remote, "FIRST", 100)
    url, faults = web
    faults.ranges = False
    with pytest.raises(DataError, match="does not send parts of files"):
        _ = Store(url)[0]


def test_missing_and_damaged_shards(tmp_path, local, web):
    url, _ = web
    store = Store(url)
    file = local.path / "shards" / "00000001.shard"
    data = bytearray(file.read_bytes())
    place = local.headers[1][1].arrays["positions"]
    data[place.offset] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedShard, match="bytes were changed in: positions"):
        _ = store[8]
    assert not [p for p in (tmp_path / "cache").iterdir() if p.suffix in (".shard", ".part")]
    file.write_bytes(data[:-100])
    with pytest.raises(DamagedShard, match="came from"):
        _ = store[8]
    with pytest.raises(DamagedShard, match="is cut off"):
        Store(url)
    file.unlink()
    with pytest.raises(DamagedShard, match="is no longer there"):
        _ = store[8]
    with pytest.raises(DamagedShard, match="is not there, though the store names it"):
        Store(url)


class TestCache:
    def fill(self, content):
        def fill(file, there):
            file.write(content[there:])

        return fill

    def test_never_larger_than_it_may_be_and_the_latest_stay(self, tmp_path):
        kept = ShardCache(tmp_path, max_bytes=1000)
        for number in range(20):
            path = kept.get(f"k{number}", 300, self.fill(bytes([number]) * 300))
            assert path.read_bytes() == bytes([number]) * 300
            os.utime(path, (number, number))
            if number >= 3:
                kept.get("k0", 300, self.fill(b"\0" * 300))
            assert sum(p.stat().st_size for p in tmp_path.glob("*.shard")) <= 1000
        # k0 was used all the time.
        assert {p.stem for p in tmp_path.glob("*.shard")} >= {"k0", "k19"}

    def test_too_large(self, tmp_path, monkeypatch):
        with pytest.raises(UsageError, match="has no place in a cache of"):
            ShardCache(tmp_path, max_bytes=10).get("k", 300, self.fill(b""))
        monkeypatch.setenv(cache.SIZE_VARIABLE, "many")
        with pytest.raises(UsageError, match="'many' is no number of GiB"):
            ShardCache(tmp_path)
        monkeypatch.setenv(cache.SIZE_VARIABLE, "0.5")
        assert ShardCache(tmp_path).max_bytes == 1 << 29

    def test_what_a_killed_process_left_is_gone_on_with(self, tmp_path):
        (tmp_path / "k.part").write_bytes(b"abc")
        asked = []

        def fill(file, there):
            asked.append(there)
            file.write(b"abcdef"[there:])

        path = ShardCache(tmp_path, max_bytes=10).get("k", 6, fill)
        assert (path.read_bytes(), asked) == (b"abcdef", [3])

    def test_what_it_left_may_be_wrong(self, tmp_path):
        (tmp_path / "k.part").write_bytes(b"xyz")
        asked = []

        def fill(file, there):
            asked.append(there)
            file.write(b"abcdef"[there:])
            file.flush()
            if zlib.crc32((tmp_path / "k.part").read_bytes()) != zlib.crc32(b"abcdef"):
                raise cache.not_as_it_should(DamagedShard("changed"))

        path = ShardCache(tmp_path, max_bytes=10).get("k", 6, fill)
        assert (path.read_bytes(), asked) == (b"abcdef", [3, 0])

    def test_processes_fetch_once(self, tmp_path, web, local):
        url, faults = web
        context = multiprocessing.get_context("spawn")
        folder = str(tmp_path / "cache")
        with context.Pool(3, initializer=_set_folder, initargs=(folder,)) as pool:
            found = pool.map(_all_ids, [url] * 3)
        assert found == [[c.id for c in local]] * 3
        n_bytes = [header.n_bytes for _, header in local.headers]
        whole = [(0, n - 1) for n in n_bytes]
        fetched = [asked for asked in _ranges(faults.seen) if asked in whole]
        # Headers are asked for with a stop of their own; of shards so small it is the same one.
        assert len(fetched) == 3 + 3 * 3


def _set_folder(folder):
    os.environ[cache.FOLDER_VARIABLE] = folder


def _all_ids(url):
    store = Store(url)
    return [crystal.id for crystal in store]


def test_large_stores_are_read_by_rows(local, web, monkeypatch):
    from atomprint.data.store import store as stores

    monkeypatch.setattr(stores, "_MOST_MAPPED", 0)
    monkeypatch.setattr(stores, "_OPENED", 2)
    for store in (Store(web[0]), Store(local.path)):
        for index in (0, 8, 15, 1, 9, 19):
            assert_same(store[index], local[index], 0)
            assert len(store._opened) <= 2
            assert len(store._arrays) <= 2
        assert list(store.ids()) == [c.id for c in local]
        assert store.id(9) == local.id(9)


def test_headers_that_are_long(tmp_path, monkeypatch, web, local):
    monkeypatch.setattr(remote, "FIRST", 40)
    assert Store(web[0]).hash() == local.hash()
    assert isinstance(Store(web[0])._remote, RemoteShards)
