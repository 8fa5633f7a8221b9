"""Crystals made by a Ray cluster: the same ones, whatever becomes of its machines."""

import sys
import time
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import pytest

from atomprint.api import fetch_corpus
from atomprint.data.sources.base import Card, Surroundings
from atomprint.data.sources.blocks import Block, BlockSource
from atomprint.data.sources.fetch import fetch
from atomprint.ground.errors import UsageError
from atomprint.structures.reading.result import Record
from tests.ray_cluster import two_workers


class Slow(BlockSource):
    """Three crystals a block, each of which says its number."""

    card: ClassVar[Card] = Card(title="slow", domain="", size="", licence="", citation="")
    shard_crystals: ClassVar[int] = 6
    kind: Literal["slow"] = "slow"

    @property
    def described(self) -> str:
        """Its name."""
        return "slow"

    def identity(self) -> str:
        """Always the same."""
        return "slow"

    def block(self, number: int) -> Block:
        """Take a while."""
        time.sleep(0.2)
        records = [
            Record(np.array([14]), np.eye(3) * (4 + number), np.zeros((1, 3)), id=f"{number}-{row}")
            for row in range(3)
        ]
        return Block(records, {"bad": number})


@pytest.mark.parametrize("killed", [False, True], ids=["two workers", "one is killed"])
def test_a_cluster_makes_what_one_process_makes(tmp_path, killed):
    here = fetch(Slow(), tmp_path / "here", 30).store
    with two_workers() as (cluster, nodes):

        def kill(done, total):
            if killed and len(nodes) == 2 and done > 6:
                cluster.remove_node(nodes.pop(), allow_graceful=False)

        around = replace(Surroundings(), ray=cluster.address)
        there = fetch(Slow(), tmp_path / "there", 30, around, kill).store
        assert len(nodes) == 2 - killed
    assert list(there.ids()) == list(here.ids())
    assert there.hash() == here.hash()
    said = [(tmp_path / one / "source.json").read_text() for one in ("here", "there")]
    assert said[0] == said[1]


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    around = replace(Surroundings(), ray="auto")
    with pytest.raises(UsageError, match=r"pip install 'atomprint\[ray\]'"):
        fetch(Slow(), tmp_path / "s", 3, around)
    assert not (tmp_path / "s").exists()


def test_a_cluster_fetches_nothing(tmp_path):
    with pytest.raises(UsageError, match="fetched, not computed"):
        fetch_corpus("oqmd", tmp_path / "s", 3, ray="auto")
    assert not (tmp_path / "s").exists()
