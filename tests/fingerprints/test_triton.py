"""The GPU kernels agree with the processor's, in Triton's interpreter."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")

ROOT = Path(__file__).parents[2]
TOLERANCE = {
    "rows float64": 1e-10,
    "gradient float64": 1e-10,
    "rows float32": 1e-5,
    "gradient float32": 1e-5,
    "weights": 1e-6,  # against central differences
    "second": 1e-10,
}


@pytest.fixture(scope="module")
def errors():
    """Largest errors of all checks; Triton reads its setting when imported: another process."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(
        [sys.executable, "-m", "tests.fingerprints.triton_checks"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize("name", ["soap-like", "shared-columns", "self-terms", "linear", "root"])
def test_expansions_agree_with_the_processor(errors, name, kind):
    assert errors[name][kind] < TOLERANCE[kind]


@pytest.mark.parametrize("kind", ["rows float64", "rows float32"])
@pytest.mark.parametrize("name", ["soap-channels", "soap-featomic-step", "ead", "wacsf"])
def test_members_agree_with_their_reference(errors, name, kind):
    assert errors[name][kind] < TOLERANCE[kind]
