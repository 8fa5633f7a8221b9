"""From a source to a store: how many, again, through kills."""

import os
import signal
import subprocess
import sys
import time

import pytest

from atomprint.data.sources import FilesSettings, OptimadeSettings
from atomprint.data.store import Store
from atomprint.data.store.validate import validate_store
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.writing import write_parquet
from tests.data.sources.answers import optimade_entry, optimade_pages, same
from tests.toy import toy_crystals

CRYSTALS = toy_crystals(40)
ENTRIES = [optimade_entry(crystal) for crystal in CRYSTALS]

PROGRAM = """
import sys
from atomprint.data.sources import OptimadeSettings, Surroundings
from atomprint.data.sources.fetch import fetch
from atomprint.data.sources.web import Web
OptimadeSettings.shard_crystals = 7
source = OptimadeSettings(base_url=sys.argv[1])
found = fetch(source, sys.argv[2], None, Surroundings(Web(waits=(0, 0))))
print(len(found.store), found.resumed)
"""


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(OptimadeSettings, "shard_crystals", 7)


def test_a_number_is_kept_and_a_larger_one_adds(server, get, tmp_path):
    optimade_pages(server, ENTRIES)
    source = OptimadeSettings(base_url=server.url)
    first = get(source, tmp_path / "s", n=9)
    same(first.store, CRYSTALS[:9])
    assert not first.exhausted
    n_asked = len(server.asked)
    assert len(get(source, tmp_path / "s", n=9).store) == 9
    assert len(server.asked) == n_asked  # there is enough already
    more = get(source, tmp_path / "s", n=30)
    same(more.store, CRYSTALS[:30])
    assert (more.resumed, more.problems) == (9, [])
    last = get(source, tmp_path / "s")
    same(last.store, CRYSTALS)
    assert last.exhausted
    n_asked = len(server.asked)
    assert get(source, tmp_path / "s", n=100).exhausted
    assert len(server.asked) == n_asked  # there is no more


def test_other_settings_do_not_go_into_the_same_store(server, get, tmp_path):
    optimade_pages(server, ENTRIES)
    get(OptimadeSettings(base_url=server.url), tmp_path / "s", n=9)
    with pytest.raises(UsageError, match="store of something else"):
        get(OptimadeSettings(base_url=server.url, filter="nsites<3"), tmp_path / "s", n=9)


def test_a_second_crystal_of_an_id_is_left_out(server, get, tmp_path):
    optimade_pages(server, [*ENTRIES, ENTRIES[3]])
    found = get(OptimadeSettings(base_url=server.url), tmp_path / "s")
    same(found.store, CRYSTALS)
    assert [(p.id, p.kind) for p in found.problems] == [(CRYSTALS[3].id, "duplicate")]


def test_nothing_usable_is_an_error_with_the_reason(server, get, tmp_path):
    bad = optimade_entry(CRYSTALS[0], structure_features=["disorder"])
    optimade_pages(server, [bad])
    with pytest.raises(
        DataError, match=r"no crystal came; the first that was left out: .*disorder"
    ):
        get(OptimadeSettings(base_url=server.url), tmp_path / "s")


def test_a_fetch_that_is_killed_twice_goes_on_to_the_same_store(server, get, tmp_path):
    optimade_pages(server, ENTRIES)
    whole = get(OptimadeSettings(base_url=server.url), tmp_path / "whole").store
    command = [sys.executable, "-c", PROGRAM, server.url, str(tmp_path / "s")]
    committed = 0
    for n_answers in (4, 5):
        server.asked.clear()
        server.plan = ["ok"] * n_answers + ["wait:60"]
        process = subprocess.Popen(command)
        while len(server.asked) <= n_answers:
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        before, committed = committed, len(Store(tmp_path / "s"))
        assert before < committed < len(CRYSTALS)
    server.plan = []
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [str(len(CRYSTALS)), str(committed)]
    store = Store(tmp_path / "s")
    same(store, CRYSTALS)
    assert store.hash() == whole.hash()
    assert (tmp_path / "s" / "quarantine.jsonl").read_text() == ""
    assert not validate_store(tmp_path / "s").damages


def test_memory_does_not_grow_with_pages(server, get, tmp_path):
    """Of a source of many pages no more than one is held."""
    import tracemalloc

    from atomprint.data.sources import Surroundings
    from atomprint.data.sources.web import Web

    def peak(n_pages):
        many = [{**entry, "id": f"{i}-{entry['id']}"} for i in range(n_pages) for entry in ENTRIES]
        optimade_pages(server, many, size=len(ENTRIES))
        source = OptimadeSettings(base_url=server.url)
        around = Surroundings(Web(waits=(0,)))
        tracemalloc.start()
        for page in source.pages(around):
            list(page.items)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(12) < 1.5 * peak(3)


def test_files_on_disk_are_a_source(get, tmp_path):
    write_parquet(tmp_path / "a.parquet", CRYSTALS[:15])
    write_parquet(tmp_path / "b.parquet", CRYSTALS[15:])
    source = FilesSettings(path=str(tmp_path / "*.parquet"), source="toys", licence="CC0")
    first = get(source, tmp_path / "s", n=18)
    same(first.store, CRYSTALS[:18])
    found = get(source, tmp_path / "s")
    same(found.store, CRYSTALS)
    assert (found.resumed, found.exhausted) == (18, True)
    (part,) = found.store.provenance
    assert (part.source, part.licence) == ("toys", "CC0")
    write_parquet(tmp_path / "b.parquet", CRYSTALS[14:])
    with pytest.raises(UsageError, match="store of something else"):
        get(source, tmp_path / "s")
