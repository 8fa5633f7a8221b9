"""What every test starts from: one thread a process, no deadlines, and tiny runs to look at."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# Tables are as wide wherever the tests run.
os.environ["COLUMNS"] = "80"
# A busy machine is no bug: no deadlines; and the same examples every time.
settings.register_profile("atomprint", deadline=None, derandomize=True)
settings.load_profile("atomprint")

TINY = """\
model:
  backbone: {kind: painn, cutoff: 4.0, n_channels: 8, n_layers: 1, n_radial: 4}
  n_hidden: 8
objectives:
  - {kind: fingerprints, fingerprints: [{kind: ead, cutoff: 4.0, n_shells: 2, l_max: 1}]}
loop: {n_steps: 3, batch: {max_crystals: 8}, log_every: 1, evaluate_every: 2, device: cpu}
valid_fraction: 0.2
"""
# Settings of fine-tuning, as on the command line.
FEW_STEPS = ("n_steps=3", "learning_rates=[1e-3]", "loop.evaluate_every=1")


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in this process: (status, standard output, standard error)."""
    from atomprint.cli.main import run

    def call(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty crystals with the label ``energy``, and tiny.yaml: settings of three steps."""
    from atomprint.structures.writing import write_parquet
    from tests.toy import toy_crystals

    folder = tmp_path_factory.mktemp("data")
    write_parquet(folder / "toy.parquet", toy_crystals(40), {"energy": "eV"})
    (folder / "tiny.yaml").write_text(TINY)
    return folder


@pytest.fixture(scope="session")
def tiny_runs(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs made by the commands: ``pretrain``, and ``tuned-0``, ``tuned-1``, ``tuned-small``."""
    from atomprint.cli.main import run

    folder = tmp_path_factory.mktemp("runs")
    data = str(tiny_data / "toy.parquet")
    source = str(folder / "pretrain")
    made = [["pretrain", str(tiny_data / "tiny.yaml"), "--data", data, "--out", source]]
    for name, seed, n_train in (("0", "0", "30"), ("1", "1", "30"), ("small", "0", "12")):
        made.append(
            ["finetune", *FEW_STEPS, "--from", source, "--data", data, "--target", "energy"]
        )
        made[-1] += ["--twin", "--seed", seed, "--n-train", n_train, "--device", "cpu"]
        made[-1] += ["--out", str(folder / f"tuned-{name}")]
    for words in made:
        assert run(words) == 0
    return folder


def read_json(text: str) -> dict[str, Any]:
    """One JSON object and nothing else."""
    assert text.count("\n") == 1, text
    value = json.loads(text)
    assert isinstance(value, dict)
    return value
