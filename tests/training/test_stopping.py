"""Signals, locks and full disks: a run ends with a sentence, and what was saved stays whole."""

import resource
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from atomprint.cli.main import run
from atomprint.ground.errors import UsageError
from atomprint.training.checkpoint import load_state, save_state
from atomprint.training.pretrain import STATE, pretrain
from atomprint.training.run import locked
from atomprint.training.stopping import Stopped, StopRequests
from tests.toy import toy_crystals
from tests.training.tiny import tiny_pretraining

N_STEPS = 150


@pytest.fixture(scope="module")
def command(tiny_data):
    """Words of a run, but for its --out."""
    words = ["loop.checkpoint_every=100000", "loop.log_every=1", f"loop.n_steps={N_STEPS}"]
    start = ["pretrain", str(tiny_data / "tiny.yaml")]
    return [*start, "--data", str(tiny_data / "toy.parquet"), *words]


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """Weights of a run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run([*command, "--out", str(out)]) == 0
    return load_file(out / "model.safetensors")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(
    command, whole, tmp_path, number, status
):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "atomprint.cli.main", *command, "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background inherit "ignore interrupts"; a person's shell does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        if any(f.read_text().count("\n") > 5 for f in out.rglob("metrics.csv")):
            process.send_signal(number)
            break
        time.sleep(0.01)
    _, err = process.communicate(timeout=90)
    assert process.returncode == status, err
    assert f"atomprint pretrain --resume {out}" in err
    assert "Traceback" not in err
    assert (out / STATE).is_file()
    assert not (out / "model.safetensors").exists()

    assert run(["pretrain", "--resume", str(out)]) == 0
    for name, tensor in load_file(out / "model.safetensors").items():
        assert torch.equal(tensor, whole[name]), name


def test_stopped_within_the_process(tmp_path):
    def ask(step, total, numbers):
        if step == 7:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped) as stopped:
        pretrain(toy_crystals(40), tiny_pretraining(n_steps=30), tmp_path / "run", progress=ask)
    assert stopped.value.step == 7
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.fixture
def interrupts():
    """Tests that run in the background inherit "ignore interrupts"; a person's shell does not."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


def test_a_second_signal_is_not_waited_for(interrupts):
    with StopRequests() as requests:
        signal.raise_signal(signal.SIGINT)
        assert requests.asked == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handlers_of_others_are_left_alone():
    heard = []
    old = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with StopRequests() as requests:
            signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        assert requests.asked is None
    finally:
        signal.signal(signal.SIGTERM, old)


def test_two_writers_on_one_run_folder(tmp_path):
    folder = tmp_path / "run"
    with locked(folder), pytest.raises(UsageError, match="another process is writing"):
        pretrain(toy_crystals(40), tiny_pretraining(n_steps=2), folder)
    pretrain(toy_crystals(40), tiny_pretraining(n_steps=2), folder)
    with locked(folder), pytest.raises(UsageError, match="another process is writing"):
        pretrain(toy_crystals(40), tiny_pretraining(n_steps=2), folder, resume=True)
    with pytest.raises(UsageError, match="not empty"):
        pretrain(toy_crystals(40), tiny_pretraining(n_steps=2), folder)


def test_resuming_nothing_makes_no_folder(tmp_path):
    with pytest.raises(UsageError, match="no run to resume"):
        pretrain(toy_crystals(40), tiny_pretraining(n_steps=2), tmp_path / "no", resume=True)
    assert not (tmp_path / "no").exists()


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path):
    folder = tmp_path / "run"
    seen = []

    class Caught(Exception):
        pass

    def keep(trainer):
        seen.append(trainer)
        raise Caught

    from atomprint.training import pretrain as module

    original = module.save_state
    try:
        module.save_state = lambda path, trainer: (original(path, trainer), keep(trainer))
        with pytest.raises(Caught):
            pretrain(toy_crystals(40), tiny_pretraining(n_steps=30), folder)
    finally:
        module.save_state = original
    before = (folder / STATE).read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limit[1]))
    try:
        with pytest.raises(UsageError, match=r"cannot be written .* is intact"):
            save_state(folder / STATE, seen[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (folder / STATE).read_bytes() == before
    assert [f.name for f in folder.iterdir() if f.name.endswith(".part")] == []
    load_state(folder / STATE, seen[0])
