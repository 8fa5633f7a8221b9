"""What the GPU benchmark counts, on the processor."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from atomprint.fingerprints.kernels.expansion import Expansion, Products, RadialTable

FILE = Path(__file__).parents[2] / "benchmarks" / "fingerprints_gpu.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("fingerprints_gpu", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_operations_and_bytes_counted_by_hand(benchmark):
    # One channel; l = 0 and l = 1 with two radial columns each; one product of each; no map.
    e = Expansion(
        cutoff=3.0,
        table=RadialTable(0.0, 0.1, np.zeros((1, 30, 4, 4))),
        table_of_element=np.zeros(119, dtype=np.int64),
        weights=np.ones((119, 1)),
        n_radial=2,
        degrees=np.array([0, 1]),
        columns=np.array([0, 2]),
        center_weights=np.zeros((119, 1)),
        center=np.zeros((1, 2, 2)),
        products=Products(np.array([0, 1]), np.array([0, 0]), np.array([0, 1]), np.ones(2)),
    )
    counted = benchmark.count(e, n_atoms=10, n_edges=100)
    per_edge = 12 + 5 * 3 + 6 * 4 + 2 * ((1 + 2 * 1) + (1 + 2 * 3))
    assert counted.operations == 100 * per_edge + 10 * (2 * 1 + 2 * 3)
    assert counted.bytes == 100 * (12 + 8) + 10 * 4 * (2 * (2 + 6) + 2)
    assert counted.floor(counted.operations / 2, counted.bytes) == 2.0
    assert counted.floor(counted.operations, counted.bytes / 3) == 3.0


def test_crystals_have_the_atoms_asked_for(benchmark):
    made = benchmark.crystals(64)
    assert sum(c.n_atoms for c in made) == 64


def test_what_disagrees_is_noticed(benchmark):
    assert benchmark.agrees({"rows float64": 1e-11, "gradient float32": 9e-6})
    assert not benchmark.agrees({"rows float64": 1e-9})
    assert not benchmark.agrees({"rows float64": 1e-12, "gradient float32": 2e-5})


def test_every_case_has_an_expansion(benchmark):
    for settings in benchmark.CASES.values():
        assert settings.build().kernel.expansion.n_radial > 0
