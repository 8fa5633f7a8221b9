"""On a CUDA device every fingerprint has the values it has on the processor."""

import pytest
import torch

from atomprint.structures.graph import GraphBatch
from tests.contracts.test_fingerprints import MEMBERS
from tests.fingerprints.common import SAMPLES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_device_makes_no_difference(member, dtype):
    fingerprint = MEMBERS[member].build()
    graph = GraphBatch.from_crystals(list(SAMPLES.values()), fingerprint.cutoff, dtype)
    on_cpu = fingerprint(graph).detach()
    on_gpu = fingerprint.to("cuda")(graph.to("cuda")).detach()
    assert on_gpu.device.type == "cuda"
    tolerance = 1e-10 if dtype == torch.float64 else 2e-5
    error = (on_gpu.cpu() - on_cpu).abs() / (on_cpu.abs().amax(0) + 1e-3 * on_cpu.abs().max())
    if dtype == torch.float32 and "float32" in fingerprint.exempt:
        pytest.skip(f"float32: {fingerprint.exempt['float32']}")
    assert float(error.max()) < tolerance


def test_a_module_left_on_the_processor_follows_the_graph():
    fingerprint = MEMBERS["rdf"].build()
    graph = GraphBatch.from_crystals(list(SAMPLES.values()), fingerprint.cutoff)
    assert fingerprint(graph.to("cuda")).device.type == "cuda"
