"""Stores as files of other programs, and back."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from atomprint.data.export import export
from atomprint.data.store import Store, StoreWriter
from atomprint.data.store.convert import convert
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from tests.toy import toy_crystals


@pytest.fixture
def store(tmp_path):
    with StoreWriter(tmp_path / "store", units={"gap": "eV"}, shard_crystals=7) as writer:
        for index, crystal in enumerate(toy_crystals(20)):
            labels = {"gap": 0.1 * index, "forces": np.full((crystal.n_atoms, 3), 0.1 * index)}
            writer.add(crystal.with_labels(labels if index % 5 else {}))
    return Store(tmp_path / "store")


@pytest.mark.parametrize("name", ["a.extxyz", "a.xyz.gz", "a.db", "a.parquet"])
def test_from_a_store_and_back(tmp_path, store, name):
    found = export(tmp_path / "store", tmp_path / "out" / name)
    assert found.n_written == 20
    # Units are lost where there is no place for them, and that is said.
    assert bool(found.notes) == (name != "a.parquet")
    convert(tmp_path / "out" / name, tmp_path / "again", exact=name != "a.parquet")
    for old, new in zip(store, Store(tmp_path / "again"), strict=True):
        assert (old.id, set(old.labels)) == (new.id, set(new.labels))
        tolerance = 3e-6 if name == "a.parquet" else 0
        np.testing.assert_array_equal(old.numbers, new.numbers)
        np.testing.assert_allclose(new.cell, old.cell, atol=tolerance, rtol=0)
        difference = np.linalg.solve(old.cell.T, (new.positions - old.positions).T)
        np.testing.assert_allclose(difference - np.round(difference), 0, atol=tolerance)
        for label, value in old.labels.items():
            np.testing.assert_array_equal(new.labels[label], value)


def test_cifs_and_files(tmp_path, store):
    found = export(tmp_path / "store", tmp_path / "cifs")
    assert found.form == "cif"
    assert any("forces" in text for text in found.notes)
    again = export(tmp_path / "cifs", tmp_path / "b.extxyz")
    assert again.n_written == 20
    by_id = {crystal.id: crystal for crystal in read_crystals(tmp_path / "b.extxyz").crystals}
    assert {id: c.labels.get("gap") for id, c in by_id.items()} == {
        crystal.id: crystal.labels.get("gap") for crystal in store
    }


def test_labels_of_one_shape_only_in_some_shards(tmp_path):
    one, two = toy_crystals(2)
    with StoreWriter(tmp_path / "store", shard_crystals=1) as writer:
        writer.extend([one.with_labels({"a": 1.0}), two.with_labels({"b": np.ones(two.n_atoms)})])
    export(tmp_path / "store", tmp_path / "a.parquet")
    found = read_crystals(tmp_path / "a.parquet").crystals
    assert [sorted(crystal.labels) for crystal in found] == [["a"], ["b"]]


def test_what_cannot_be_exported(tmp_path, store):
    with pytest.raises(UsageError, match="cannot tell what to write"):
        export(tmp_path / "store", tmp_path / "a.txt")
    with pytest.raises(UsageError, match="does not exist"):
        export(tmp_path / "absent", tmp_path / "a.db")
    with StoreWriter(tmp_path / "empty"):
        pass
    with pytest.raises(DataError, match="holds no crystal"):
        export(tmp_path / "empty", tmp_path / "a.db")


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux tells its peak memory")
def test_memory_does_not_grow_with_the_store(tmp_path):
    """Measured as what a second export adds to the process of a first, of a tenth of the size."""
    rng = np.random.default_rng(0)
    for name, n in (("few", 20), ("many", 400)):
        with StoreWriter(tmp_path / name, exact=True) as writer:
            for index in range(n):
                positions = rng.uniform(0, 60, (1000, 3))
                numbers = np.full(1000, 14)
                writer.add(Crystal.make(f"c{index}", numbers, 60 * np.eye(3), positions=positions))
    code = (
        "import re, sys; from atomprint.data.export import export;"
        # Not ru_maxrss, which a process has from the one that started it.
        "peak = lambda: int(re.search('VmHWM:\\s+([0-9]+)', open('/proc/self/status').read())[1]);"
        "export(sys.argv[1], sys.argv[3]); before = peak();"
        "export(sys.argv[2], sys.argv[3]); print(peak() - before)"
    )
    words = [sys.executable, "-c", code, tmp_path / "few", tmp_path / "many", tmp_path / "a.xyz"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    # 400 crystals as Python holds them are 13 MiB, their text is 23 MiB, and the mapped file 10.
    assert int(done.stdout) < 14 * 1024
