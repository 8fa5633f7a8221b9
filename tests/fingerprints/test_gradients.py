"""Every fingerprint can be differentiated in positions and cells, column by column."""

import pytest
import torch

from atomprint.fingerprints import ADFSettings, EADSettings, RDFSettings, SOAPSettings
from atomprint.structures.graph import GraphBatch
from tests.fingerprints.common import SAMPLES

SMALL = {
    "rdf": RDFSettings(cutoff=3.5, n_bins=5, smearing=0.3, channels=("one", "Z")),
    "rdf-atom": RDFSettings(
        cutoff=3.5, n_bins=5, smearing=0.3, per="atom", cutoff_function="cosine", channels=("Z",)
    ),
    "adf": ADFSettings(cutoff=3.5, l_max=4, channels=("one", "valence")),
    "adf-curve": ADFSettings(
        cutoff=3.5, form="curve", n_bins=6, channels=("one",), normalize="probability"
    ),
    "adf-histogram": ADFSettings(cutoff=3.5, form="histogram", n_bins=6, channels=("one",)),
    "soap": SOAPSettings(cutoff=2.5, n_max=2, l_max=2, sigma=0.3, channels=("one", "Z")),
    "soap-inner": SOAPSettings(
        cutoff=2.5,
        n_max=2,
        l_max=2,
        per="crystal",
        average="inner",
        cutoff_function="cosine",
        cross_channels=True,
        channels=("one", "Z"),
    ),
    "ead": EADSettings(cutoff=3.5, n_shells=2, l_max=2, channels=("one", "Z")),
}


@pytest.mark.parametrize("name", SMALL)
def test_gradcheck(name):
    fingerprint = SMALL[name].build()
    graph = GraphBatch.from_crystals(
        [SAMPLES["one"], SAMPLES["two"]], fingerprint.cutoff, torch.float64
    )

    def call(positions, cells):
        return fingerprint(graph.with_geometry(positions, cells))

    positions = graph.positions.clone().requires_grad_()
    cells = graph.cells.clone().requires_grad_()
    assert torch.autograd.gradcheck(call, (positions, cells), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", ["ead", "soap", "adf", "rdf-atom"])
def test_second_derivatives(name):
    """Forces fitted through a fingerprint need them."""
    fingerprint = SMALL[name].build()
    graph = GraphBatch.from_crystals([SAMPLES["two"]], fingerprint.cutoff, torch.float64)

    def call(positions):
        # A fixed mixture of columns: all of them would take long.
        values = fingerprint(graph.with_geometry(positions))
        mixture = torch.linspace(-1, 1, values.numel(), dtype=torch.float64).view_as(values)
        return (values * mixture).sum()

    positions = graph.positions.clone().requires_grad_()
    assert torch.autograd.gradgradcheck(call, positions, atol=1e-5, rtol=1e-3)
