"""Conversion gives what `read_crystals` gives, however it is cut, shared out or killed."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from atomprint.data.embedded import CORPUS
from atomprint.data.store import Store, is_store
from atomprint.data.store import convert as convert_module
from atomprint.data.store.convert import _tasks, convert, read_quarantine
from atomprint.data.store.store import read_description
from atomprint.data.store.writer import StoreWriter
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.reading import read_crystals
from atomprint.structures.reading.stream import CrystalStream

XYZ = """{n}
Lattice="4 0 0 0 4 0 0 0 {c}" Properties=species:S:1:pos:R:3{columns} {labels}pbc="T T T"
"""


def xyz(path, rows):
    """Crystals of one atom; each row: lattice constant, labels as text."""
    path.write_text(
        "".join(
            XYZ.format(n=1, c=c, columns="", labels=labels) + "Si 0 0 0\n" for c, labels in rows
        )
    )


@pytest.fixture
def folder(tmp_path):
    """Files of several formats with labels, texts, dates and faults."""
    path = tmp_path / "in"
    path.mkdir()
    xyz(
        path / "a.xyz",
        [
            (3 + i / 10, f"energy={i} kind=good when=2019-04-{i % 28 + 1:02d} "
             + ("gap=metal " if i == 4 else f"gap={i / 7} "))
            for i in range(23)
        ],
    )  # fmt: skip
    (path / "broken.cif").write_text("data_x\n_cell_length_a 3\n")
    for i in range(40):
        (path / f"p{i:02d}.vasp").write_text(
            f"x\n1.0\n{3 + i / 10} 0 0\n0 4 0\n0 0 5\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
        )
    (path / "z.xyz").write_text((path / "a.xyz").read_text().replace("Si 0", "Xx 0", 1))
    table = tmp_path / "labels.csv"
    table.write_text("id,hardness\n" + "".join(f"p{i:02d},{i}\n" for i in range(45)))
    return path, table


def assert_like_reading(store, folder, table=None):
    wanted = read_crystals(folder, labels=table)
    assert [c.id for c in store] == [c.id for c in wanted.crystals]
    for one, other in zip(store, wanted.crystals, strict=True):
        np.testing.assert_array_equal(one.numbers, other.numbers)
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-6)
        assert one.labels.keys() == other.labels.keys()
        for name, value in one.labels.items():
            np.testing.assert_array_equal(value, other.labels[name])
    assert store.units == wanted.units
    return wanted


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shard", [4, 1000])
def test_a_store_is_what_reading_gives(tmp_path, folder, workers, shard):
    path, table = folder
    found = convert(path, tmp_path / "s", labels=table, workers=workers, shard_crystals=shard)
    wanted = assert_like_reading(found.store, path, table)
    assert len(found.store) == 86 - 1 - len([p for p in wanted.problems if p.kind == "duplicate"])
    assert "hardness" in found.store.labels
    assert "when" in found.store.labels
    assert "kind" not in found.store.labels

    def told(problems):
        return sorted((p.file, p.id, p.kind) for p in problems)

    assert told(found.problems) == told(wanted.problems)
    assert told(read_quarantine(tmp_path / "s")) == told(wanted.problems)
    assert found.notes == wanted.notes


def test_arrays_an_atom_survive(tmp_path):
    text = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:forces:R:3 pbc="T T T"\n'
    (tmp_path / "a.xyz").write_text(
        f"2\n{text}Si 0 0 0 1 2 3\nSi 2 2 2 4 5 6\n1\n{text}Si 0 0 0 7 8 9\n"
    )
    store = convert(tmp_path / "a.xyz", tmp_path / "s").store
    np.testing.assert_array_equal(store[0].labels["forces"], [[1, 2, 3], [4, 5, 6]])
    assert_like_reading(store, tmp_path / "a.xyz")


def test_large_files_are_not_read_whole_by_workers(folder, monkeypatch):
    path, _ = folder
    # The first and the last file are the larger ones.
    monkeypatch.setattr(convert_module, "_BYTES_A_TASK", 1000)
    with CrystalStream(path) as stream:
        tasks = list(_tasks(stream, 0))
        sizes = [stream.size_of(number) for number in range(stream.n_files)]
        assert next(_tasks(stream, 5))[0] == 5
    assert [task for task in tasks if isinstance(task, int)] == [0, stream.n_files - 1]
    shared = [task for task in tasks if isinstance(task, list)]
    assert [n for task in shared for n in task] == list(range(1, stream.n_files - 1))
    assert all(sum(sizes[n] for n in task) <= 1000 for task in shared)
    assert len(shared) > 2


def test_cuts_do_not_depend_on_workers(tmp_path, folder, monkeypatch):
    # Some files are read by workers and some are not.
    monkeypatch.setattr(convert_module, "_BYTES_A_TASK", 1000)
    hashes = {
        convert(folder[0], tmp_path / f"s{n}", workers=n, shard_crystals=7).store.hash()
        for n in (1, 2)
    }
    assert len(hashes) == 1


CHILD = """
import os, signal, sys
from pathlib import Path
from atomprint.data.store.convert import convert
at, when, source, out, workers = int(sys.argv[1]), sys.argv[2], *sys.argv[3:6]
count, replace = 0, Path.replace
def killing(self, target):
    global count
    count += 1
    if count == at and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = replace(self, target)
    if count == at and when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return result
if __name__ == "__main__":
    Path.replace = killing
    convert(source, out, workers=int(workers), shard_crystals=20)
"""


@pytest.mark.parametrize(("workers", "when"), [("1", "before"), ("1", "after"), ("2", "before")])
def test_killed_at_commits_it_ends_as_if_never_killed(tmp_path, folder, workers, when):
    """`Path.replace` is the one moment at which anything becomes visible."""
    path, _ = folder
    wanted = convert(path, tmp_path / "wanted", shard_crystals=20).store
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    out = tmp_path / "s"
    for kill in range(30):
        # Every run first writes store.json twice: die one, two or three replacements later.
        at = str(3 + kill % 3)
        done = subprocess.run(
            [sys.executable, str(child), at, when, str(path), str(out), workers],
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.returncode == 0
    assert kill > 3
    store = Store(out)
    assert store.description.complete
    assert list(store.ids()) == list(wanted.ids())
    assert store.hash() == wanted.hash()
    assert not list(out.rglob("*.part"))
    assert len(list(out.rglob("*.shard"))) == len(list((tmp_path / "wanted").rglob("*.shard")))


def test_going_on_skips_what_is_committed(tmp_path, folder, monkeypatch):
    path, _ = folder
    seen = []

    def stop(done, total, numbers):
        seen.append(numbers["crystals"])
        if numbers["crystals"] == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(path, tmp_path / "s", shard_crystals=8, progress=stop)
    assert is_store(tmp_path / "s")
    found = convert(path, tmp_path / "s", shard_crystals=8)
    assert found.resumed == 24
    assert_like_reading(found.store, path)
    again = convert(path, tmp_path / "s", shard_crystals=8)
    assert again.resumed == len(again.store)
    assert len(again.problems) == len(found.problems)


def test_other_files_need_another_store(tmp_path, folder):
    path, _ = folder
    convert(path, tmp_path / "s")
    (path / "new.vasp").write_text((path / "p01.vasp").read_text())
    with pytest.raises(UsageError, match="made of other files"):
        convert(path, tmp_path / "s")


def test_strict_refuses(tmp_path, folder):
    with pytest.raises(DataError):
        convert(folder[0], tmp_path / "s", strict=True)


def test_two_units_of_a_label_are_refused(tmp_path):
    from atomprint.structures.crystal import Crystal
    from atomprint.structures.writing import write_parquet

    for name, unit in (("a", "eV"), ("b", "meV")):
        crystal = Crystal.make(name, [14], np.eye(3) * 4, frac=[[0, 0, 0]], labels={"gap": 1.0})
        write_parquet(tmp_path / f"{name}.parquet", [crystal], {"gap": unit})
    with pytest.raises(DataError, match=r"in eV in .* and in meV"):
        convert(tmp_path, tmp_path / "s")


def test_the_embedded_corpus(tmp_path):
    store = convert(CORPUS, tmp_path / "s").store
    assert_like_reading(store, CORPUS)
    assert json.loads((tmp_path / "s" / "store.json").read_text())["complete"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files in any bytes")
def test_names_and_ids_that_are_no_utf8(tmp_path):
    """A file from another system, and a lone surrogate in a JSON."""
    folder = tmp_path / "in"
    folder.mkdir()
    text = "x\n1.0\n3 0 0\n0 3 0\n0 0 3\nNa\n1\nDirect\n0 0 0\n"
    for name in (b"m\xe4rz.vasp", b"broken\xe4.cif"):
        content = text if name.endswith(b"vasp") else "data_x\n"
        (folder / os.fsdecode(name)).write_text(content)
    found = convert(tmp_path / "in", tmp_path / "s", workers=2)
    assert list(found.store.ids()) == ["m?rz"]
    assert [p.id for p in found.problems] == ["broken?"]
    assert [c.id for c in read_crystals(tmp_path / "in").crystals] == ["m?rz"]


def test_a_store_is_not_converted_again(tmp_path, folder):
    convert(folder[0], tmp_path / "s")
    with pytest.raises(UsageError, match="is a store already"):
        convert(tmp_path / "s", tmp_path / "t")


def test_fingerprints_of_a_store(tmp_path, folder, shell):
    import pyarrow.parquet as pq

    convert(folder[0], tmp_path / "s", exact=True, shard_crystals=20)
    tables = []
    for name, source in (("a", folder[0]), ("b", tmp_path / "s")):
        out = tmp_path / f"{name}.parquet"
        status, _, err = shell("fingerprint", source, "--kind", "ead", "--per", "crystal",
                               "--out", out)  # fmt: skip
        assert status == 0, err
        tables.append(pq.read_table(out))
    assert tables[0]["id"].to_pylist() == tables[1]["id"].to_pylist()
    for name in tables[0].column_names[1:]:
        one, other = (table[name].to_numpy() for table in tables)
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_an_interruption_before_the_first_word_is_started_anew(folder, tmp_path):
    """The store is described, and what is to be read is not yet: nothing is in it."""
    paths, table = folder
    out = tmp_path / "s"
    with StoreWriter(out):
        pass
    assert read_description(out).inputs == ""
    convert(paths, out, labels=table)
    assert_like_reading(Store(out), paths, table)
    # Still earlier: there is only the folder that shards shall be in.
    (tmp_path / "t" / "shards").mkdir(parents=True)
    convert(paths, tmp_path / "t", labels=table)
    assert len(Store(tmp_path / "t")) == len(Store(out))
    (tmp_path / "u" / "shards").mkdir(parents=True)
    (tmp_path / "u" / "shards" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="holds something else"):
        convert(paths, tmp_path / "u", labels=table)
