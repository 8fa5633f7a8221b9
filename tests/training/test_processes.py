"""One process and several end with the same weights; one that is lost, or a signal, ends all."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atomprint.ground.errors import UsageError
from atomprint.ground.launches import Launch, launched
from atomprint.training.finetune import finetune
from atomprint.training.pretrain import STATE, _pretrain, pretrain
from atomprint.training.processes import launch_for
from tests.toy import toy_crystals
from tests.training import shared_runs
from tests.training.tiny import TINY_MODEL, tiny_finetuning

ROOT = Path(__file__).resolve().parents[2]
# Seconds; a machine that does other things too starts processes slowly.
PATIENCE = 400


def together(n, *words):
    """Start a module in several processes, as torchrun does; return them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n, "MASTER_ADDR": "127.0.0.1"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **{name: str(value) for name, value in place.items()},
                "MASTER_PORT": str(port),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
            },
        )
        for rank in range(n)
    ]


def ended(processes):
    """What all of them said, when they ended well."""
    for process in processes:
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The shared runs of one process, of two, and of three that finish what one has begun."""
    folder = tmp_path_factory.mktemp("runs")
    shared_runs.start(folder / "begun")
    shutil.copytree(folder / "begun", folder / "elastic")
    shutil.copytree(folder / "begun", folder / "elastic-sharded")
    two = together(2, "tests.training.shared_runs", str(folder))
    shared_runs.main(folder / "one", folder / "begun")
    ended(two)
    return folder


def same(one, other, *, logs=True):
    """Compare weights and logs of two runs."""
    expected, found = (load_file(f / "model.safetensors") for f in (one, other))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=2e-5, msg=name)
    if not logs:
        return
    rows = [json.loads((f / "history.json").read_text())["rows"] for f in (one, other)]
    assert len(rows[0]) == len(rows[1])
    for expected, found in zip(*rows, strict=True):
        # Spreads over a batch's atoms are no sums over its parts.
        expected = {k: v for k, v in expected.items() if not k.endswith("spread")}
        assert {k: found[k] for k in expected} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", [*shared_runs.RUNS, "mixed"])
def test_two_processes_end_with_the_weights_of_one(runs, name):
    same(runs / "one" / name, runs / "two" / name)
    state = load_file(runs / "two" / name / STATE)
    assert any(key.startswith("averaged/") for key in state)


def test_speeds_are_of_the_whole_batch(runs):
    """Atoms by crystals of a second tell whose batches were counted, whatever the time."""

    def atoms_per_crystal(how):
        (log,) = (runs / how / "balanced").glob("logs/*/metrics.csv")
        with log.open() as file:
            rows = [row for row in csv.DictReader(file) if row["crystals/s"]]
        return [float(row["atoms/s"]) / float(row["crystals/s"]) for row in rows]

    one = atoms_per_crystal("one")
    assert len(set(one)) > 1
    assert atoms_per_crystal("two") == pytest.approx(one, rel=1e-9)


@pytest.mark.parametrize("name", shared_runs.SHARDED)
def test_processes_that_hold_shards_end_with_the_weights_of_one(runs, name):
    same(runs / "one" / name, runs / "sharded" / name)
    # What is saved is whole, so that any number of processes can go on with it.
    states = [load_file(runs / how / name / STATE) for how in ("two", "sharded")]
    assert {k: v.shape for k, v in states[0].items()} == {k: v.shape for k, v in states[1].items()}
    averaged = [k for k in states[0] if k.startswith(("averaged/", "best/", "task/model."))]
    assert averaged
    for key in averaged:
        torch.testing.assert_close(states[1][key], states[0][key], rtol=1e-3, atol=2e-5, msg=key)


def test_processes_that_hold_shards_go_on_with_what_one_began(runs):
    same(runs / "one" / "many", runs / "elastic-sharded" / "many", logs=False)


def test_a_run_that_stops_early_stops_in_all(runs):
    rows = json.loads((runs / "two" / "patient" / "history.json").read_text())["rows"]
    assert rows[-1]["step"] < shared_runs.N_STEPS


def test_two_processes_go_on_with_what_one_began(runs):
    # The first row of a log after a stop is a mean over fewer steps.
    same(runs / "one" / "many", runs / "elastic" / "many", logs=False)
    same(runs / "one" / "many", runs / "begun" / "many", logs=False)


@contextmanager
def command(*words):
    """Run atomprint pretrain; it and its processes are gone afterwards, whatever happened."""
    start = [sys.executable, "-m", "atomprint.cli.main", "pretrain"]
    process = subprocess.Popen(
        [*start, *map(str, words)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_steps(out, n):
    """Wait until a run has logged some steps."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if any(f.read_text().count("\n") > n for f in out.rglob("metrics.csv")):
            return
        time.sleep(0.02)
    raise AssertionError("the run did not begin")


def children(process):
    """Processes that a process has started."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


LONG = ("loop.checkpoint_every=2", "loop.log_every=1", "loop.n_steps=100000")


@pytest.fixture(scope="module")
def stopped(tiny_data, tmp_path_factory):
    """A run of two processes that SIGTERM has ended: its folder, status and what it said."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    words = [tiny_data / "tiny.yaml", "--data", tiny_data / "toy.parquet", "--out", out]
    with command(*words, *LONG, "loop.devices=2") as process:
        wait_for_steps(out, 5)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE)
    return out, process.returncode, said


def test_a_signal_stops_all_processes_after_the_same_step(stopped):
    out, status, (printed, err) = stopped
    assert status == 143, err
    assert err == f"atomprint: interrupted; continue with: atomprint pretrain --resume {out}\n"
    assert printed == ""
    assert (out / STATE).is_file()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the processes in /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_run_with_one_sentence(stopped, tmp_path, victim):
    out = tmp_path / "run"
    shutil.copytree(stopped[0], out)
    shutil.rmtree(out / "logs")
    with command("--resume", out, "--devices", 2) as process:
        wait_for_steps(out, 3)
        os.kill(sorted(children(process))[victim], signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    (line,) = err.splitlines()
    assert f"atomprint pretrain --resume {out}" in line
    assert ("has ended before its time" if victim else "was ended by SIGKILL") in line


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the processes in /proc")
def test_processes_stop_when_their_launcher_is_killed(stopped, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(stopped[0], out)
    shutil.rmtree(out / "logs")
    with command("--resume", out) as process:
        wait_for_steps(out, 3)
        pids = children(process)
        assert len(pids) == 2, "a resumed run has as many processes as it was started with"
        process.kill()
    deadline = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "they go on without their launcher"
        time.sleep(0.05)


def test_an_error_of_all_processes_is_said_once(tiny_data, tmp_path):
    words = (tiny_data / "tiny.yaml", "--data", tiny_data / "none.cif", "--out", tmp_path / "run")
    with command(*words, "--devices", 2) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in (1, 2)
    (line,) = err.splitlines()
    assert "none.cif" in line


def test_what_processes_cannot_share_is_refused(tmp_path):
    class Shared:
        world_size, is_global_zero, device = 2, True, torch.device("cpu")

    settings = shared_runs.settings_of([{"kind": "distillation", "loss": "relational"}])
    with pytest.raises(UsageError, match="relational compares atoms of the whole batch, which 2 "):
        _pretrain(toy_crystals(8), settings, tmp_path / "run", False, None, None, None, Shared())
    assert not (tmp_path / "run").exists()
    loop = tiny_finetuning().loop.model_copy(update={"devices": 2})
    settings = tiny_finetuning().model_copy(update={"loop": loop})
    with pytest.raises(UsageError, match="fine-tuning on few labels is done by one process"):
        finetune(toy_crystals(8), toy_crystals(8), (), TINY_MODEL, settings)


TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "a",
    "MASTER_PORT": "1",
}
SLURM = {"SLURM_NTASKS": "6", "SLURM_NNODES": "2", "SLURM_PROCID": "4", "SLURM_JOB_ID": "77"}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, None),
        (TORCHRUN, Launch(3, 4, 2, "torchrun")),
        ({**TORCHRUN, "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "RANK": "0"}, None),
        ({**SLURM, "SLURM_STEP_ID": "0"}, Launch(4, 6, 3, "slurm")),
        ({**SLURM, "SLURM_STEP_ID": "0", "SLURM_NTASKS_PER_NODE": "3"}, Launch(4, 6, 3, "slurm")),
        # A batch script of six tasks that has not used srun: this is one process.
        (SLURM, None),
    ],
)
def test_launchers_are_known_by_their_variables(environment, wanted):
    assert launched(environment) == wanted


def test_machines_with_unequal_numbers_are_refused():
    with pytest.raises(UsageError, match="5 processes are not 2 on every machine"):
        launched({**TORCHRUN, "WORLD_SIZE": "5"})


def test_devices_must_be_those_that_were_started(monkeypatch):
    with pytest.raises(UsageError, match="nothing has started so many"):
        pretrain(toy_crystals(8), shared_runs.settings_of([{"kind": "masking"}], loop=DEVICES))
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert launch_for(1) == launch_for(2) == Launch(3, 4, 2, "torchrun")
    with pytest.raises(UsageError, match=r"leave out loop\.devices"):
        launch_for(4)


DEVICES = {"devices": 2}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads have names on Linux only")
def test_threads_of_the_backend_end_before_the_interpreter_does(tmp_path):
    """A thread that is late would need Python's lock of an interpreter that is ending: SIGABRT."""
    processes = together(2, "tests.training.leaving", str(tmp_path / "run"))
    for process in processes:
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        during, after = out.splitlines()
        assert during != "[]"
        assert after == "[]"


def test_slurm_starts_processes_too(tmp_path):
    """With the variables that srun sets."""
    place = {"SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_NTASKS_PER_NODE": "2"}
    more = {"SLURM_STEP_ID": "0", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        more["MASTER_PORT"] = str(probe.getsockname()[1])
    script = (
        "from pathlib import Path; import sys; from tests.training import shared_runs as s;"
        "s.pretrain(s.crystals(), s.RUNS['few'], Path(sys.argv[1]))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "run")],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **place, **more, "SLURM_PROCID": rank, "SLURM_LOCALID": rank},
        )
        for rank in "01"
    ]
    ended(processes)
    pretrain(shared_runs.crystals(), shared_runs.RUNS["few"], tmp_path / "alone")
    same(tmp_path / "alone", tmp_path / "run")
