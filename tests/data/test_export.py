"""Stores as files of other programs, and back."""

import json
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect

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


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.extxyz", "extxyz"), ("a.xyz.gz", "extxyz"), ("a.db", "ase"), ("a.parquet", "parquet"),
        ("b.parquet", "lemat"), ("a.aselmdb", "lmdb"), ("a.lmdb", "lmdb"), ("a.atp", "atompack"),
        ("a.json", "pymatgen"), ("a.json.gz", "pymatgen"),
    ],
)  # fmt: skip
def test_from_a_store_and_back(tmp_path, store, name, form):
    for package in {"lmdb", "atompack"} & {form}:
        pytest.importorskip(package, reason=f"{package} is not installed")
    asked = "lemat" if form == "lemat" else None
    found = export(tmp_path / "store", tmp_path / "out" / name, form=asked)
    assert (found.n_written, found.form) == (20, form)
    # Units are lost where there is no place for them, and that is said.
    states_units = form in ("parquet", "lemat", "ase", "lmdb")
    assert bool(found.notes) == (not states_units)
    again = convert(tmp_path / "out" / name, tmp_path / "again", exact=form != "parquet").store
    assert (again.units["gap"] == "eV") == states_units
    for old, new in zip(store, again, strict=True):
        assert (old.id, set(old.labels)) == (new.id, set(new.labels))
        tolerance = {"parquet": 3e-6, "pymatgen": 1e-14}.get(form, 0)
        np.testing.assert_array_equal(old.numbers, new.numbers)
        np.testing.assert_allclose(new.cell, old.cell, atol=tolerance, rtol=0)
        difference = np.linalg.solve(old.cell.T, (new.positions - old.positions).T)
        np.testing.assert_allclose(difference - np.round(difference), 0, atol=tolerance)
        for label, value in old.labels.items():
            np.testing.assert_array_equal(new.labels[label], value)


@pytest.mark.parametrize("name", ["b.parquet", "a.aselmdb", "a.atp", "a.json"])
def test_labels_of_all_shapes_from_a_store(tmp_path, name):
    """Of a store, the shapes are known beforehand; of files they are looked for."""
    for package in {"a.aselmdb": ["lmdb"], "a.atp": ["atompack"]}.get(name, []):
        pytest.importorskip(package, reason=f"{package} is not installed")
    form = "lemat" if name == "b.parquet" else None
    rng = np.random.default_rng(0)
    with StoreWriter(tmp_path / "store", shard_crystals=2, exact=True) as writer:
        for index, crystal in enumerate(toy_crystals(7)):
            labels = {"charge": rng.normal(size=crystal.n_atoms), "e": float(index)}
            labels |= {"moments": rng.normal(size=(crystal.n_atoms, 3))}
            labels |= {"stress": rng.normal(size=(1, 9))} if name != "a.json" else {}
            writer.add(crystal.with_labels(labels))
    export(tmp_path / "store", tmp_path / name, form=form)
    (tmp_path / "again").mkdir()
    export(tmp_path / name, tmp_path / "again" / name, form=form)
    for path in (tmp_path / name, tmp_path / "again" / name):
        found = read_crystals(path).crystals
        for old, new in zip(Store(tmp_path / "store"), found, strict=True):
            assert set(old.labels) == set(new.labels)
            for label, value in old.labels.items():
                np.testing.assert_array_equal(new.labels[label], value)
                assert np.shape(new.labels[label]) == np.shape(value)


def test_units_stand_where_ase_looks_for_them(tmp_path, store):
    lmdb = pytest.importorskip("lmdb", reason="lmdb is not installed")
    for name in ("a.aselmdb", "a.db"):
        export(tmp_path / "store", tmp_path / name)
    opened = lmdb.open(str(tmp_path / "a.aselmdb"), subdir=False, readonly=True, lock=False)
    with opened as database, database.begin() as transaction:
        in_lmdb = json.loads(zlib.decompress(transaction.get(b"metadata")))
    for metadata in (in_lmdb, connect(tmp_path / "a.db").metadata):
        assert metadata["key_descriptions"]["gap"][2] == "eV"


def test_a_form_that_is_not_the_endings(tmp_path, store):
    with pytest.raises(UsageError, match=r"ends with .db is no 'lemat' but 'ase'"):
        export(tmp_path / "store", tmp_path / "a.db", form="lemat")
    with pytest.raises(UsageError, match="without an ending is no 'lemat' but 'cif' or 'poscar'"):
        export(tmp_path / "store", tmp_path / "a", form="lemat")


def test_what_is_there_is_not_written_over(tmp_path, store):
    (tmp_path / "a.extxyz").write_text("mine")
    with pytest.raises(UsageError, match=r"a\.extxyz: is there already; .* give --overwrite"):
        export(tmp_path / "store", tmp_path / "a.extxyz")
    assert (tmp_path / "a.extxyz").read_text() == "mine"
    export(tmp_path / "store", tmp_path / "a.extxyz", overwrite=True)
    assert len(read_crystals(tmp_path / "a.extxyz").crystals) == 20
    # A folder may hold more than crystals.
    for out in ("cifs", "a.lmdb"):
        (tmp_path / out).mkdir()
        with pytest.raises(UsageError, match="is a folder that is there already"):
            export(tmp_path / "store", tmp_path / out, overwrite=True)


def test_a_file_that_fails_does_not_replace_the_one_that_is_there(tmp_path):
    (tmp_path / "a.extxyz").write_text("mine")
    (crystal,) = toy_crystals(1)
    with StoreWriter(tmp_path / "store") as writer:
        writer.add(crystal.with_labels({"pos": 1.0}))
    with pytest.raises(UsageError, match="cannot hold a label called 'pos'"):
        export(tmp_path / "store", tmp_path / "a.extxyz", overwrite=True)
    assert (tmp_path / "a.extxyz").read_text() == "mine"


def test_poscars(tmp_path, store):
    found = export(tmp_path / "store", tmp_path / "poscars", form="poscar")
    assert found.form == "poscar"
    assert "labels per atom, which POSCARs do not hold: forces" in found.notes
    assert {path.suffix for path in (tmp_path / "poscars").iterdir()} == {".vasp", ".csv"}
    by_id = {crystal.id: crystal for crystal in read_crystals(tmp_path / "poscars").crystals}
    for crystal in store:
        np.testing.assert_array_equal(by_id[crystal.id].positions, crystal.positions)
        assert by_id[crystal.id].labels.get("gap") == crystal.labels.get("gap")


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
@pytest.mark.parametrize("name", ["a.xyz", "a.aselmdb"])
def test_memory_does_not_grow_with_the_store(tmp_path, name):
    """Measured as what a second export adds to the process of a first, of a tenth of the size."""
    if name == "a.aselmdb":
        pytest.importorskip("lmdb", reason="lmdb is not installed")
    rng = np.random.default_rng(0)
    for size, n in (("few", 20), ("many", 400)):
        with StoreWriter(tmp_path / size, exact=True) as writer:
            for index in range(n):
                positions = rng.uniform(0, 60, (1000, 3))
                numbers = np.full(1000, 14)
                writer.add(Crystal.make(f"c{index}", numbers, 60 * np.eye(3), positions=positions))
    code = (
        "import re, sys; from atomprint.data.export import export;"
        # Not ru_maxrss, which a process has from the one that started it.
        "peak = lambda: int(re.search('VmHWM:\\s+([0-9]+)', open('/proc/self/status').read())[1]);"
        "export(sys.argv[1], sys.argv[3]); before = peak();"
        "export(sys.argv[2], sys.argv[3], overwrite=True); print(peak() - before)"
    )
    words = [sys.executable, "-c", code, tmp_path / "few", tmp_path / "many", tmp_path / name]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    # 400 crystals as Python holds them are 13 MiB, their text is 23 MiB, rows of LMDB 12, and the
    # mapped store 10.
    assert int(done.stdout) < 14 * 1024
