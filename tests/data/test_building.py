"""Corpora of several parts: shares, terms, kills."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from atomprint.data import building
from atomprint.data.building import MixSettings, build, quotas
from atomprint.data.sources import OptimadeSettings
from atomprint.data.store import Provenance, Store, StoreWriter
from atomprint.data.store.validate import validate_store
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.writing import write_parquet
from tests.data.sources.answers import optimade_entry, optimade_pages
from tests.data.sources.server import Server
from tests.toy import toy_crystals

CRYSTALS = toy_crystals(60)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    optimade_pages(made, [optimade_entry(crystal) for crystal in CRYSTALS], size=5)
    yield made
    made.close()


@pytest.fixture
def parts(server, tmp_path, monkeypatch):
    """A store, a file with the same ids, and a source."""
    monkeypatch.setattr(OptimadeSettings, "per_second", None)
    terms = Provenance(source="ours", licence="CC0", citation="us")
    with StoreWriter(tmp_path / "store", provenance=[terms]) as writer:
        writer.extend(CRYSTALS[:40])
    write_parquet(tmp_path / "file.parquet", CRYSTALS[20:])
    return {
        "a": {"weight": 2, "path": str(tmp_path / "store")},
        "b": {"weight": 1, "source": {"kind": "files", "path": str(tmp_path / "file.parquet"),
              "source": "theirs", "licence": "CC BY 4.0"}},
        "c": {"weight": 1, "source": {"kind": "optimade", "base_url": server.url}},
    }  # fmt: skip


def mix(parts, **more):
    return MixSettings.model_validate({"parts": parts, **more})


def ids(store, name):
    return [c.id.partition("/")[2] for c in store if c.id.startswith(f"{name}/")]


@pytest.mark.parametrize("workers", [1, 3])
def test_every_part_gives_its_share(parts, tmp_path, workers):
    built = build(mix(parts), 20, tmp_path / "out", workers=workers)
    assert [len(ids(built.store, name)) for name in "abc"] == [10, 5, 5]
    by_id = {crystal.id: crystal for crystal in CRYSTALS}
    for crystal in built.store:
        assert crystal.formula == by_id[crystal.id.partition("/")[2]].formula
        assert not crystal.labels
    # Crystals of stores and files are drawn from all of them, a server's first ones are taken.
    assert set(ids(built.store, "a")) <= {c.id for c in CRYSTALS[:40]}
    assert ids(built.store, "a") != [c.id for c in CRYSTALS[:10]]
    assert ids(built.store, "b") != [c.id for c in CRYSTALS[20:25]]
    assert ids(built.store, "c") == [c.id for c in CRYSTALS[:5]]
    assert not (tmp_path / "out" / ".parts").exists()


def test_terms_of_all_parts_come_along(parts, tmp_path):
    built = build(mix(parts), 20, tmp_path / "out")
    terms = [(part.source.partition(",")[0], part.licence) for part in built.store.provenance]
    assert terms == [("ours", "CC0"), ("theirs", "CC BY 4.0"), ("Toy provider", "CC-BY-4.0")]
    record = json.loads((tmp_path / "out" / "mix.json").read_text())
    assert [(part["name"], part["taken"]) for part in record["parts"]] == [
        ("a", 10), ("b", 5), ("c", 5),
    ]  # fmt: skip


def test_the_seed_decides_and_nothing_else(parts, tmp_path):
    first = build(mix(parts), 20, tmp_path / "1").store.hash()
    assert build(mix(parts), 20, tmp_path / "2", workers=2).store.hash() == first
    assert build(mix(parts, seed=1), 20, tmp_path / "3").store.hash() != first
    again = build(mix(parts), 20, tmp_path / "1")
    assert (again.store.hash(), again.resumed) == (first, 20)
    assert [part.taken for part in again.parts] == [10, 5, 5]


def test_a_pool_is_drawn_from(parts, tmp_path):
    parts["c"]["pool"] = 50
    built = build(mix(parts), 20, tmp_path / "out")
    assert len(ids(built.store, "c")) == 5
    assert ids(built.store, "c") != [c.id for c in CRYSTALS[:5]]
    assert set(ids(built.store, "c")) <= {c.id for c in CRYSTALS[:50]}


def test_a_part_that_is_too_small_gives_what_it_has(parts, tmp_path):
    built = build(mix(parts), 100, tmp_path / "out")
    assert [(part.asked, part.taken) for part in built.parts] == [(50, 40), (25, 25), (25, 25)]
    assert len(built.store) == 90


def test_another_mix_does_not_go_into_the_same_store(parts, tmp_path):
    build(mix(parts), 20, tmp_path / "out")
    with pytest.raises(UsageError, match="store of something else"):
        build(mix(parts, seed=1), 20, tmp_path / "out")
    parts["a"]["weight"] = 3
    with pytest.raises(UsageError, match="store of something else"):
        build(mix(parts), 24, tmp_path / "out")


class Killed(Exception):
    """In place of a kill."""


def test_a_store_with_holes_is_not_built_on(parts, tmp_path):
    out = tmp_path / "out"
    build(MixSettings(parts={"a": parts["a"]}), 10, out)
    (shard,) = (out / "shards").iterdir()
    shard.write_bytes(shard.read_bytes()[:-3])
    validate_store(out, repair=True)
    with pytest.raises(UsageError, match="lacks crystals of damaged shards"):
        build(MixSettings(parts={"a": parts["a"]}), 10, out)


def test_another_number_is_called_so(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "_EVERY", 1)

    def stop(stage, done, total):
        if stage == "write" and done == 5:
            raise Killed

    with pytest.raises(Killed):
        build(mix(parts), 20, tmp_path / "out", progress=stop)
    for _ in range(2):  # begun, and complete
        with pytest.raises(UsageError, match=r"of this mix with --n 20, .* one with --n 24"):
            build(mix(parts), 24, tmp_path / "out")
        assert len(build(mix(parts), 20, tmp_path / "out").store) == 20


@pytest.mark.parametrize("workers", [1, 2])
def test_a_part_that_cannot_be_had_is_named(server, parts, tmp_path, workers):
    server.answers["/v1/structures"] = lambda query: 400
    with pytest.raises(DataError, match=r"/v1/structures: the server answers 400"):
        build(mix(parts), 20, tmp_path / "out", workers=workers)


PROGRAM = """
import sys, json
from atomprint.data import building
from atomprint.data.sources import OptimadeSettings
from atomprint.data.store import writer
OptimadeSettings.shard_crystals, OptimadeSettings.per_second = 7, None
made = building.StoreWriter
building.StoreWriter = lambda *a, **k: made(*a, shard_crystals=4, **k)
parts = json.loads(sys.argv[1])
stop = int(sys.argv[3])
def progress(stage, done, total):
    if stage == "write" and done >= stop:
        print("here", flush=True)
        sys.stdin.read()
building._EVERY = 1
built = building.build(building.MixSettings(parts=parts), 40, sys.argv[2], progress=progress)
print(built.store.hash(), built.resumed)
"""


def test_killed_while_fetching_and_while_writing_it_ends_the_same(server, parts, tmp_path):
    command = [sys.executable, "-c", PROGRAM, json.dumps(parts), str(tmp_path / "out")]
    server.plan = ["ok"] * 2 + ["wait:60"]
    process = subprocess.Popen([*command, "1000"])
    while len(server.asked) <= 2:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    server.plan = []
    process = subprocess.Popen(
        [*command, "27"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().strip() == "here"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert 0 < len(Store(tmp_path / "out")) < 27
    ended = subprocess.run([*command, "1000"], capture_output=True, text=True, check=True)
    found, resumed = ended.stdout.split()
    assert int(resumed) == 24
    command[-1] = str(tmp_path / "whole")
    whole = subprocess.run([*command, "1000"], capture_output=True, text=True, check=True)
    assert whole.stdout.split() == [found, "0"]
    assert len(Store(tmp_path / "out")) == 40


def test_quotas_add_up():
    assert quotas([2, 1, 1], 20) == [10, 5, 5]
    assert quotas([1, 1, 1], 10) == [4, 3, 3]
    assert sum(quotas([0.1, 0.7, 3.3, 12.9], 1_000_003)) == 1_000_003


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({}, "needs a path or a source"),
        ({"path": "x", "source": {"kind": "files", "path": "y"}}, "and not both"),
        ({"path": "x", "weight": 0}, "greater than 0"),
        ({"source": {"kind": "nonsense"}}, "nonsense"),
    ],
)
def test_parts_that_make_no_sense_are_refused(part, message):
    with pytest.raises(ValueError, match=message):
        mix({"a": part})


@pytest.mark.parametrize("name", ["", ".hidden", "a/b"])
def test_names_that_are_no_names_are_refused(name):
    with pytest.raises(ValueError, match="no name for a part"):
        mix({name: {"path": "x"}})


def test_the_embedded_crystals_are_a_part(tmp_path):
    built = build(mix({"base": {"path": "embedded"}}), 30, tmp_path / "out")
    assert len(built.store) == 30
    assert built.store.provenance[0].licence.startswith("MIT")
    assert replace(built.store[0], id="x").formula
