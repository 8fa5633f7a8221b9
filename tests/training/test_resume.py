"""A killed run, resumed, ends with the same weights as one that was never stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atomprint.backbones import ETSettings
from atomprint.ground.errors import DataError, UsageError
from atomprint.training.pretrain import STATE, PretrainSettings, pretrain
from atomprint.training.run import make_fabric
from tests.toy import toy_crystals
from tests.training.tiny import tiny_pretraining

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys, time
from pathlib import Path
from atomprint.training.pretrain import pretrain
from tests.training.tiny import tiny_pretraining
from tests.toy import toy_crystals

def slowly(step, total, numbers):
    print(step, flush=True)
    time.sleep(0.05)

pretrain(toy_crystals(40), tiny_pretraining(n_steps=30), Path(sys.argv[1]), progress=slowly)
"""


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    whole = tmp_path / "whole"
    pretrain(toy_crystals(40), tiny_pretraining(n_steps=30), whole)

    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(killed)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
        },
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 17:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    time.sleep(0.1)
    assert (killed / STATE).is_file()
    assert not (killed / "model.safetensors").exists()

    pretrain(toy_crystals(40), tiny_pretraining(n_steps=30), killed, resume=True)
    expected, found = (load_file(f / "model.safetensors") for f in (whole, killed))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("weighting", ["uncertainty", "balance"])
def test_any_mixture_resumes_to_the_same_weights(tmp_path, weighting):
    """On a schedule, with everything that objectives draw, fit and remember."""
    first, *_ = tiny_pretraining().objectives
    values = tiny_pretraining(n_steps=14).model_dump()
    values["task_weights"] = weighting
    values["perturbation"] = {"rattle": 0.05, "strain": 0.02, "clean": 0.2}
    values["objectives"] = [
        {**first.model_dump(), "components": 4},
        {"kind": "masking", "fraction": 0.3, "start": 0.3},
        {"kind": "denoising", "by": "energy", "strain": True, "stop": 0.6},
        {"kind": "conditioned"},
        {"kind": "labels", "names": ["energy"]},
        {"kind": "distillation", "teacher": {"kind": "ema"}, "hidden": 0.3},
    ]
    settings = PretrainSettings.model_validate(values)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    pretrain(toy_crystals(30), settings, whole)

    def stop(step, total, numbers):
        if step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(toy_crystals(30), settings, stopped, progress=stop)
    assert (stopped / STATE).is_file()
    resumed = pretrain(toy_crystals(30), settings, stopped, resume=True)
    assert {row["step"] for row in resumed.history} >= {10, 14}
    for file in (STATE, "model.safetensors"):
        expected, found = (load_file(folder / file) for folder in (whole, stopped))
        assert expected.keys() == found.keys()
        different = [n for n, value in expected.items() if not torch.equal(found[n], value)]
        assert different == []


def test_resuming_needs_the_same_settings_and_data(tmp_path):
    out = tmp_path / "run"
    pretrain(toy_crystals(20), tiny_pretraining(n_steps=4), out)
    with pytest.raises(UsageError, match="other settings"):
        pretrain(toy_crystals(20), tiny_pretraining(n_steps=6), out, resume=True)
    with pytest.raises(DataError, match="not those"):
        pretrain(toy_crystals(21), tiny_pretraining(n_steps=4), out, resume=True)
    with pytest.raises(UsageError, match="not empty"):
        pretrain(toy_crystals(20), tiny_pretraining(n_steps=4), out)


def test_a_broken_state_is_named(tmp_path):
    out = tmp_path / "run"
    pretrain(toy_crystals(20), tiny_pretraining(n_steps=4), out)
    state = out / STATE
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(DataError, match=r"state\.safetensors: the state of the run cannot be read"):
        pretrain(toy_crystals(20), tiny_pretraining(n_steps=4), out, resume=True)


@pytest.mark.parametrize("device", ["tpu", "abacus", "cuda"])
def test_a_device_that_is_not_there_is_a_usage_error(device):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    loop = tiny_pretraining(n_steps=1).loop.model_copy(update={"device": device})
    with pytest.raises(UsageError, match=f"device '{device}' cannot be used"):
        make_fabric(loop, None)


def test_logs_are_written(tmp_path):
    out = tmp_path / "run"
    pretrain(toy_crystals(20), tiny_pretraining(n_steps=4), out)
    metrics = list(out.glob("logs/*/metrics.csv"))
    assert metrics, "no CSV log"
    assert "train/loss" in metrics[0].read_text().splitlines()[0]
    assert list(out.glob("logs/*/events.out.tfevents.*")), "no TensorBoard log"


@pytest.mark.parametrize("backbone", [None, ETSettings(n_channels=8, n_layers=1, n_heads=2)])
def test_mixed_precision_trains_and_leaves_weights_in_float32(backbone):
    settings = tiny_pretraining(n_steps=25)
    if backbone is not None:
        model = settings.model.model_copy(update={"backbone": backbone})
        settings = settings.model_copy(update={"model": model})
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        loop = settings.loop.model_copy(update={"precision": precision})
        result = pretrain(toy_crystals(40), settings.model_copy(update={"loop": loop}))
        losses[precision] = result.history[-1]["train/loss"]
        assert {p.dtype for p in result.model.parameters()} == {torch.float32}
    assert losses["bf16-mixed"] != losses["32-true"], "nothing was computed in bfloat16"
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], rel=0.05)
