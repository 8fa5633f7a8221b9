"""The fuzzers run, keep what breaks, and find nothing in a few inputs; fuzz/run.py tries many."""

import random
import signal

import pytest
from fuzz import run
from fuzz.mutate import mutate
from fuzz.seeds import SEEDS
from fuzz.targets import TARGETS, Surprise, resealed


@pytest.mark.parametrize("target", TARGETS)
def test_a_few_broken_inputs_end_in_sentences(target, tmp_path):
    check, seeds, dice = TARGETS[target](tmp_path), SEEDS[target](), random.Random(target)
    for data in seeds:
        check(data)
    for _ in range(25):
        check(mutate(dice.choice(seeds), seeds, dice))


def test_every_target_has_seeds():
    assert SEEDS.keys() == TARGETS.keys()


def test_what_breaks_is_kept_once(tmp_path, monkeypatch):
    def check(data):
        if data == b"loop":
            while True:
                pass
        if data == b"surprise":
            raise Surprise("a crystal that is none: x")
        data.decode("ascii")

    monkeypatch.setattr(run, "FINDINGS", tmp_path / "findings")
    monkeypatch.setitem(TARGETS, "cif", lambda folder: check)
    old = signal.getsignal(signal.SIGPROF)
    try:
        session = run.Session("cif", 60.0, 0.2, tmp_path)
        for data in (b"fine", b"\xff", b"\xfe", b"surprise", b"loop", b"fine"):
            session(data)
    finally:
        signal.signal(signal.SIGPROF, old)
    assert session.results()["cases"] == 6
    assert sorted(key.split()[0] for key in session.found) == [
        "Surprise",
        "UnicodeDecodeError",
        "hang",
    ]
    kept = {path.read_bytes() for path in (tmp_path / "findings" / "cif").glob("*.input")}
    assert kept == {b"\xff", b"surprise", b"loop"}


def test_a_changed_header_gets_its_checksum():
    shard = SEEDS["store"]()[0]
    assert resealed(shard) == shard
    changed = bytearray(shard)
    changed[30] ^= 1
    assert resealed(bytes(changed))[:12] == shard[:12]
    assert resealed(bytes(changed)) != bytes(changed)
