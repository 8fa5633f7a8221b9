"""Fingerprints computed by a Ray cluster: the same file, whatever becomes of its machines."""

import sys

import pytest

import atomprint
from atomprint.fingerprints.streaming import job as jobs
from atomprint.fingerprints.streaming import run as runs
from atomprint.ground.errors import UsageError
from atomprint.structures.writing import write_parquet
from tests.ray_cluster import two_workers
from tests.toy import toy_crystals

PART = 7


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Sixty crystals, seven a part."""
    for module in (jobs, runs):
        monkeypatch.setattr(module, "PART_CRYSTALS", PART)
    write_parquet(tmp_path / "crystals.parquet", toy_crystals(60), exact=True)
    return tmp_path / "crystals.parquet"


def write(data, out, **options):
    # On the slow path, so that a part takes about a second and a machine is lost at work.
    return atomprint.fingerprint_file(data, "soap", out, per="atom", path="reference", **options)[0]


@pytest.mark.parametrize("killed", [False, True], ids=["two workers", "one is killed"])
def test_a_cluster_computes_what_one_process_computes(data, tmp_path, killed):
    write(data, tmp_path / "here.parquet")
    with two_workers() as (cluster, nodes):

        def kill(stage, done, total, numbers):
            # Two parts are done; of the four that wait, two are the lost machine's.
            if killed and stage == "fingerprint" and len(nodes) == 2 and done > PART:
                cluster.remove_node(nodes.pop(), allow_graceful=False)

        write(data, tmp_path / "there.parquet", ray=cluster.address, progress=kill)
        assert len(nodes) == 2 - killed
    assert (tmp_path / "here.parquet").read_bytes() == (tmp_path / "there.parquet").read_bytes()


def test_without_ray_it_says_what_to_install(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"atomprint\[ray\]"):
        write(data, tmp_path / "f.parquet", ray="auto")
