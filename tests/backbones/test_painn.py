"""PaiNN with folded images against the same network one edge at a time."""

import numpy as np
import pytest
import torch

from atomprint.backbones import PaiNNSettings
from atomprint.structures.graph import GraphBatch
from atomprint.testing.fingerprints import sample_crystals
from tests.reference.painn import painn

# Messages of 8 channels are fused, those of 6 are not.
SETTINGS = PaiNNSettings(n_channels=8, n_layers=2, n_radial=5, cutoff=4.5)
PLAIN = SETTINGS.model_copy(update={"n_channels": 6})


def random_network(settings=SETTINGS):
    """A network in which no weight is zero or one, norms and biases included."""
    torch.manual_seed(0)
    network = settings.build().double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        # Made in float32, torch's default: give them the digits of the reference.
        orders = torch.arange(1, SETTINGS.n_radial + 1, dtype=torch.float64)
        network.radial.frequencies.copy_(orders * torch.pi / SETTINGS.cutoff)
    return network


def errors(network, crystal, weights):
    graph = GraphBatch.from_crystals([crystal], SETTINGS.cutoff, torch.float64)
    with torch.no_grad():
        features = network(graph)
    scalars, vectors = painn(weights, network.settings, crystal)
    # With one atom a cell vectors are zero by symmetry: both count in units of the scalars.
    size = np.abs(scalars).max()
    return (
        np.abs(features.scalars.numpy() - scalars).max() / size,
        np.abs(features.vectors.numpy() - vectors).max() / size,
    )


@pytest.mark.parametrize("settings", [SETTINGS, PLAIN], ids=["fused", "plain"])
@pytest.mark.parametrize("crystal", sample_crystals(), ids=lambda crystal: crystal.id)
def test_folding_images_changes_nothing(crystal, settings):
    network = random_network(settings)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    assert max(errors(network, crystal, weights)) < 1e-12


def test_the_crystals_have_images_to_fold():
    for crystal in sample_crystals():
        graph = GraphBatch.from_crystals([crystal], SETTINGS.cutoff)
        assert graph.n_edges > 2 * len(graph.pairs[1])


@pytest.mark.parametrize(
    "name",
    [
        "embedding.weight",
        "messages.0.norm.weight",
        "messages.0.filter_scalar.weight",
        "messages.1.filter_vector.weight",
        "messages.1.context.2.bias",
        "updates.0.mix.weight",
        "updates.1.context.0.weight",
    ],
)
def test_the_comparison_sees_every_weight(name):
    network = random_network()
    weights = {key: tensor.numpy().copy() for key, tensor in network.state_dict().items()}
    weights[name] *= 1.001
    assert max(errors(network, sample_crystals()[1], weights)) > 1e-7


def test_an_image_left_out_is_found():
    """One edge too few, as if an image had been lost in folding."""
    network = random_network()
    crystal = sample_crystals()[1]
    graph = GraphBatch.from_crystals([crystal], SETTINGS.cutoff, torch.float64)
    short = GraphBatch(
        **{
            **{name: getattr(graph, name) for name in GraphBatch.__dataclass_fields__},
            "center_index": graph.center_index[1:],
            "neighbor_index": graph.neighbor_index[1:],
            "shifts": graph.shifts[1:],
        }
    )
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        scalars = network(short).scalars.numpy()
    assert np.abs(scalars - painn(weights, SETTINGS, crystal)[0]).max() > 1e-6
