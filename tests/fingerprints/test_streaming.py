"""Files of fingerprints: the same whatever computes them, and whenever the command is killed."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

import atomprint
from atomprint.fingerprints.streaming import job as jobs
from atomprint.fingerprints.streaming import run as runs
from atomprint.fingerprints.streaming.parts import PartFolder
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.reading import read_crystals
from atomprint.structures.reading.stream import CrystalStream
from atomprint.structures.writing import write_parquet
from tests.toy import as_ase, toy_crystals

SMALL = {"soap": {"cutoff": 3.0, "n_max": 2, "l_max": 1}, "ead": {"cutoff": 3.0, "n_shells": 2}}
N = 60


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Seven crystals a part."""
    for module in (jobs, runs):
        monkeypatch.setattr(module, "PART_CRYSTALS", 7)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sixty crystals in several files of several kinds, with things that cannot be read."""
    folder = tmp_path_factory.mktemp("crystals")
    crystals = toy_crystals(N)
    write_parquet(folder / "b.parquet", crystals[:30], exact=True)
    write_parquet(folder / "d.parquet", crystals[25:50], exact=True)  # five were read before
    for crystal in crystals[50:]:
        as_ase(crystal).write(folder / f"c-{crystal.id}.cif")
    frames = [as_ase(crystal) for crystal in crystals[:8]]
    frames[3].positions[1] = frames[3].positions[0]
    from ase.io import write

    write(folder / "e.extxyz", frames)
    (folder / "a.cif").write_text("data_x\nloop_\n")
    (folder / "z.cif").write_text("nothing")
    return folder


def write(data, out, kind="soap,ead", **options):
    settings = {name: SMALL[name] for name in kind.split(",")}
    options = {"per": "crystal", **options}
    return atomprint.fingerprint_file(data, kind, out, **options, **settings)[0]


def test_the_stream_reads_what_read_crystals_reads(data):
    wanted = read_crystals(data)
    with CrystalStream(data) as stream:
        read = list(stream.read())
        places = [one.after for one in read]
        items = [one.item for one in read]
        crystals = [item for item in items if hasattr(item, "numbers")]
        assert [c.id for c in crystals] == [c.id for c in wanted.crystals]
        for found, known in zip(crystals, wanted.crystals, strict=True):
            assert (found.positions == known.positions).all()
            assert found.source == known.source
        problems = [item for item in items if not hasattr(item, "numbers")]
        assert [(p.file, p.id, p.kind) for p in problems] == [
            (p.file, p.id, p.kind) for p in wanted.problems if p.kind != "label"
        ]
        # From any place on it is the rest.
        for k in range(0, len(read), 5):
            ids = {item.id for item in items[: k + 1] if hasattr(item, "numbers")}
            rest = [one.item for one in stream.read(places[k], ids)]
            assert [(r.id, type(r)) for r in rest] == [(r.id, type(r)) for r in items[k + 1 :]]


@pytest.mark.parametrize("per", ["atom", "crystal"])
def test_the_numbers_are_those_in_memory(data, tmp_path, per):
    written = write(data, tmp_path / "f.parquet", per=per)
    table = pq.read_table(tmp_path / "f.parquet")
    crystals = read_crystals(data).crystals
    wanted = atomprint.fingerprint(crystals, "soap,ead", per=per, **SMALL)
    assert table.column("id").to_pylist() == wanted.ids
    names = ["id", *(["atom"] if per == "atom" else []), *wanted.values]
    assert table.column_names == names
    for name, values in wanted.values.items():
        np.testing.assert_allclose(table.column(name).to_numpy(), values, rtol=1e-12, atol=1e-12)
    if per == "atom":
        assert table.column("atom").to_pylist() == wanted.atoms.tolist()
    about = json.loads(table.schema.metadata[b"atomprint"])
    assert about["units"] == wanted.units
    assert [one["kind"] for one in about["fingerprints"]] == ["soap", "ead"]
    assert about["fingerprint_id"] == wanted.about["fingerprint_id"]
    assert written.crystals == len(crystals)
    assert written.rows == table.num_rows
    assert {p.kind for p in written.problems} == {"broken", "duplicate", "overlap"}
    assert not (tmp_path / "f.parquet.parts").exists()


def test_every_format_holds_the_same(data, tmp_path):
    import csv

    for ending in ("parquet", "csv", "npz", "npy"):
        write(data, tmp_path / f"f.{ending}", per="atom", dtype="float32")
    table = pq.read_table(tmp_path / "f.parquet")
    values = np.stack([column.to_numpy() for column in table.columns[2:]], axis=1)
    assert values.dtype == np.float32
    assert (np.load(tmp_path / "f.npy") == values).all()
    with np.load(tmp_path / "f.npz") as file:
        assert (file["values"] == values).all()
        assert file["id"].tolist() == table.column("id").to_pylist()
        assert file["atom"].tolist() == table.column("atom").to_pylist()
        assert file["columns"].tolist() == table.column_names[2:]
        assert len(file["units"]) == values.shape[1]
        assert json.loads(str(file["about"]))["dtype"] == "float32"
    with (tmp_path / "f.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == table.column_names
    assert np.allclose([[float(v) for v in row[2:]] for row in rows[1:]], values, rtol=1e-6)


def test_worker_processes_change_no_bit(data, tmp_path):
    write(data, tmp_path / "one.parquet")
    written = write(data, tmp_path / "two.parquet", workers=2)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert written.crystals == N + 7  # the frames of the extxyz have names of their own


@pytest.mark.parametrize(("fails", "lost"), [(5, (1, 2)), (6, ())])
def test_a_failure_midway_is_gone_on_from(data, tmp_path, monkeypatch, fails, lost):
    """Parts that are there are not computed again, those after a gap included."""
    write(data, tmp_path / "whole.parquet")
    out = tmp_path / "f.parquet"
    made = []
    make = runs.make_part

    def fail(job, part, threads=None):
        made.append(part.info.index)
        if len(made) == fails:
            raise RuntimeError("lost")
        return make(job, part, threads)

    monkeypatch.setattr(runs, "make_part", fail)
    with pytest.raises(RuntimeError):
        write(data, out)
    folder = tmp_path / "f.parquet.parts"
    assert len(list(folder.glob("part-*.parquet"))) == fails - 1
    for index in lost:
        (folder / f"part-{index:07d}.parquet").write_bytes(b"PAR1 torn")
    written = write(data, out)
    assert made[fails:] == [*lost, *range(fails - 1, max(made) + 1)]
    assert written.resumed == 7 * (fails - 1 - len(lost))
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    whole = write(data, tmp_path / "again.parquet")
    assert written.problems == whole.problems


KILLED = """
import sys
from atomprint.fingerprints.streaming import job, run
job.PART_CRYSTALS = run.PART_CRYSTALS = 2
from atomprint.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments_nothing_is_lost_or_doubled(data, tmp_path, monkeypatch, workers):
    """A real process, killed with SIGKILL again and again."""
    words = ["fingerprint", str(data), "--kind", "soap", "--set", "cutoff=3.0", "--json"]
    words += ["--per", "crystal", "--workers", str(workers), "--set", "l_max=1", "--set", "n_max=2"]

    def start(out):
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, *words, "--out", str(out)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    for module in (jobs, runs):
        monkeypatch.setattr(module, "PART_CRYSTALS", 2)
    soap = {"cutoff": 3.0, "n_max": 2, "l_max": 1}
    atomprint.fingerprint_file(data, "soap", tmp_path / "whole.parquet", per="crystal", soap=soap)
    out = tmp_path / "f.parquet"
    parts = tmp_path / "f.parquet.parts"
    rng = random.Random(workers)
    kills, progress = 0, set()
    while True:
        process = start(out)
        if kills == 4:
            break
        deadline = time.monotonic() + 60
        seen = len(list(parts.glob("part-*.parquet")))
        # Killed a moment after it has done one or two more parts, wherever it is by then.
        goal = seen + rng.randint(1, 8)
        while process.poll() is None and time.monotonic() < deadline:
            if len(list(parts.glob("part-*.parquet"))) >= goal:
                time.sleep(rng.random() * 0.02)
                break
            time.sleep(0.002)
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        progress.add(len(list(parts.glob("part-*.parquet"))))
    answer = json.loads(process.communicate()[0])
    assert kills >= 2
    assert len(progress) == kills, "a restart had lost parts"
    assert answer["resumed"] > 0
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not parts.exists()


def test_killed_between_the_output_and_the_end(data, tmp_path, monkeypatch):
    out = tmp_path / "f.parquet"
    monkeypatch.setattr(PartFolder, "remove", lambda self: None)
    first = write(data, out)
    monkeypatch.undo()
    for module in (jobs, runs):
        monkeypatch.setattr(module, "PART_CRYSTALS", 7)
    again = write(data, out)
    assert (again.rows, again.crystals, again.resumed) == (first.rows, first.crystals, again.rows)
    assert again.problems == first.problems
    assert not (tmp_path / "f.parquet.parts").exists()


def test_unfinished_work_of_something_else_is_not_touched(data, tmp_path, monkeypatch):
    out = tmp_path / "f.parquet"

    def fail(*args):
        raise RuntimeError

    monkeypatch.setattr(runs, "merge", fail)
    with pytest.raises(RuntimeError):
        write(data, out)
    before = sorted((tmp_path / "f.parquet.parts").iterdir())
    with pytest.raises(UsageError, match="other settings"):
        write(data, out, kind="soap")
    with pytest.raises(UsageError, match="other inputs"):
        write(data / "b.parquet", out)
    with pytest.raises(UsageError, match="dtype"):
        write(data, out, dtype="float32")
    assert sorted((tmp_path / "f.parquet.parts").iterdir()) == before
    (tmp_path / "f.parquet.parts" / "mine.txt").touch()
    with pytest.raises(UsageError, match=r"mine\.txt"):
        write(data, out)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        UsageError, match=r"f.parquet.parts: unfinished work cannot be kept .*--out"
    ):
        PartFolder(tmp_path / "file" / "f.parquet", {})


def test_two_commands_do_not_work_on_one_output(data, tmp_path):
    folder = PartFolder(tmp_path / "f.parquet", {"a": 1})
    with pytest.raises(UsageError, match="another process"):
        PartFolder(tmp_path / "f.parquet", {"a": 1})
    folder.close()
    PartFolder(tmp_path / "f.parquet", {"a": 1}).close()


def test_the_folder_goes_away_while_its_lock_is_taken(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="there are no such locks on Windows")
    out, real, n_calls = tmp_path / "f.parquet", fcntl.flock, itertools.count()

    def flock(file, how):
        if next(n_calls) == 0:  # the one before has ended just now
            shutil.rmtree(tmp_path / "f.parquet.parts")
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    first = PartFolder(out, {})
    with pytest.raises(UsageError, match="another process works there"):
        PartFolder(out, {})
    first.add(0, b"")
    first.remove()
    assert not list(tmp_path.iterdir())


def test_what_is_refused(data, tmp_path):
    out = tmp_path / "f.parquet"
    with pytest.raises(UsageError, match="give each kind once"):
        write(data, out, kind="soap,soap")
    with pytest.raises(UsageError, match="give --per"):
        atomprint.fingerprint_file(data, "soap,rdf", out)
    with pytest.raises(UsageError, match=r"for instance soap\.cutoff"):
        atomprint.fingerprint_file(data, "soap,ead", out, per="atom", cutoff=3.0)
    with pytest.raises(UsageError, match="'rdf' is none of the kinds"):
        atomprint.fingerprint_file(data, "soap,ead", out, per="atom", rdf={"cutoff": 3.0})
    with pytest.raises(UsageError, match="workers=0"):
        write(data, out, workers=0)
    with pytest.raises(UsageError, match=r"\.npy"):
        write(data, tmp_path / "f.xlsx")
    with pytest.raises(UsageError, match="path 'fused' cannot be taken"):
        atomprint.fingerprint_file(data, "ead", out, path="fused", learnable=True)
    with pytest.raises(UsageError, match="memory=0"):
        write(data, out, memory=0)
    # Nothing was begun that other settings would be told of.
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"a\.cif"):
        write(data, out, strict=True)
    with pytest.raises(DataError, match=r"no crystal could be read.*a\.cif"):
        write(data / "a.cif", tmp_path / "g.parquet")
    assert not (tmp_path / "g.parquet.parts").exists()


def test_memory_does_not_grow_with_the_number_of_crystals(tmp_path):
    """Reading, computing and writing four times as many takes hardly more."""
    code = """
import sys, resource, tracemalloc
import atomprint
from atomprint.fingerprints.streaming import job, run
job.PART_CRYSTALS = run.PART_CRYSTALS = 200
settings = dict(cutoff=3.0, n_max=3, l_max=2, per="atom", dtype="float32")
atomprint.fingerprint_file(sys.argv[1], "soap", sys.argv[1] + ".warm.npy", **settings)
tracemalloc.start()
atomprint.fingerprint_file(sys.argv[2], "soap", sys.argv[2] + ".npy", **settings)
print(tracemalloc.get_traced_memory()[1])
"""
    peaks = []
    write_parquet(tmp_path / "warm.parquet", toy_crystals(10))
    for n in (1000, 4000):
        write_parquet(tmp_path / f"{n}.parquet", toy_crystals(n))
        words = [sys.executable, "-c", code, str(tmp_path / "warm.parquet")]
        done = subprocess.run(
            [*words, str(tmp_path / f"{n}.parquet")], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    # Ids stay in memory, some hundred bytes each.
    assert peaks[1] < peaks[0] + 3000 * 1000
