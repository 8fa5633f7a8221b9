"""On a CUDA device every backbone has the features and forces it has on the processor."""

import pytest
import torch

from atomprint.backbones import ETSettings, PaiNNSettings
from atomprint.structures.graph import GraphBatch
from atomprint.testing.fingerprints import sample_crystals

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

MEMBERS = {"painn": PaiNNSettings(), "et": ETSettings(), "et-published": ETSettings.published()}


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_device_makes_no_difference(member, dtype):
    torch.manual_seed(0)
    backbone = MEMBERS[member].build().to(dtype)
    graph = GraphBatch.from_crystals(sample_crystals(), backbone.cutoff, dtype)
    on_cpu = everything(backbone, graph)
    on_gpu = everything(backbone.to("cuda"), graph.to("cuda"))
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    for name, value in on_gpu.items():
        assert value.device.type == "cuda"
        error = (value.cpu() - on_cpu[name]).abs().max() / on_cpu[name].abs().max()
        assert float(error) < tolerance, name


def everything(backbone, graph):
    """Scalars, vectors and the gradient of their squared sum in positions."""
    graph = graph.with_geometry(graph.positions.detach().clone().requires_grad_())
    features = backbone(graph)
    value = features.scalars.square().sum() + features.vectors.square().sum()
    (gradient,) = torch.autograd.grad(value, graph.positions)
    return {
        "scalars": features.scalars.detach(),
        "vectors": features.vectors.detach(),
        "gradient": gradient,
    }
