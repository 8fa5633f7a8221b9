"""The equivariant transformer against torchmd-net, and at the edges of what it is given.

Golden values: golden/make_torchmd_et.py, run with torchmd-net 3.1.0 and torch 2.13.0.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from atomprint.backbones import ETSettings, load_torchmd_state
from atomprint.ground.errors import DataError
from atomprint.nn.radial import ExpNormBasis
from atomprint.nn.vectors import unit_vectors
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from atomprint.testing.fingerprints import sample_crystals

GOLDEN = dict(np.load(Path(__file__).parents[1] / "golden" / "torchmd_et.npz"))
NETWORKS = ("published", "smooth", "bare")
PLACES = ("lone", "water", "cluster", "box", "skewed")
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5}
"""Largest difference from torchmd-net in float64, in units of the largest value."""


def settings_of(network):
    """Our settings for the ones that torchmd-net was given."""
    theirs = json.loads(str(GOLDEN[f"{network}/settings"]))
    return ETSettings(
        cutoff=theirs["cutoff_upper"],
        n_channels=theirs["embedding_dimension"],
        n_layers=theirs["num_layers"],
        n_heads=theirs["num_heads"],
        n_radial=theirs["num_rbf"],
        trainable_radial=theirs["trainable_rbf"],
        neighbor_embedding=theirs["neighbor_embedding"],
        vector_cutoff=theirs["vector_cutoff"],
    )


def state_of(network):
    prefix = f"{network}/weights/"
    return {
        key.removeprefix(prefix): torch.from_numpy(value)
        for key, value in GOLDEN.items()
        if key.startswith(prefix)
    }


def crystal_of(place, cutoff):
    """A configuration; without a cell, in one so large that no image is near."""
    numbers = GOLDEN[f"configurations/{place}/numbers"]
    positions = GOLDEN[f"configurations/{place}/positions"]
    large = np.eye(3) * (np.ptp(positions, axis=0).max() + 2 * cutoff)
    cell = GOLDEN.get(f"configurations/{place}/cell", large)
    return Crystal.make(place, numbers, cell, positions=positions)


def loaded(network, dtype=torch.float64):
    backbone = settings_of(network).build().to(dtype)
    load_torchmd_state(backbone, state_of(network))
    return backbone


def worst(value, wanted):
    wanted = torch.from_numpy(wanted)
    error = (value.detach().double() - wanted).abs().max()
    return float(error / wanted.abs().max().clamp_min(1e-9))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("network", NETWORKS)
def test_scalars_vectors_and_gradients_are_those_of_torchmd_net(network, place, dtype):
    backbone = loaded(network, dtype)
    graph = GraphBatch.from_crystals([crystal_of(place, backbone.cutoff)], backbone.cutoff, dtype)
    graph = graph.with_geometry(graph.positions.clone().requires_grad_())
    features = backbone(graph)
    wanted = {key: GOLDEN[f"{network}/{place}/{key}"] for key in ("scalars", "vectors", "gradient")}
    assert worst(features.scalars, wanted["scalars"]) < TOLERANCE[dtype]
    assert worst(features.vectors, wanted["vectors"]) < TOLERANCE[dtype]
    value = features.scalars.square().sum() + features.vectors.square().sum()
    (gradient,) = torch.autograd.grad(value, graph.positions)
    assert worst(gradient, wanted["gradient"]) < 10 * TOLERANCE[dtype]


def test_the_configurations_together_are_as_they_are_alone():
    backbone = loaded("published")
    crystals = [crystal_of(place, backbone.cutoff) for place in PLACES]
    features = backbone(GraphBatch.from_crystals(crystals, backbone.cutoff, torch.float64))
    wanted = np.concatenate([GOLDEN[f"published/{place}/vectors"] for place in PLACES])
    assert worst(features.vectors, wanted) < 1e-11


@pytest.mark.parametrize(
    "name",
    [
        "embedding.weight",
        "radial.betas",
        "neighborhood.filter.bias",
        "neighborhood.combine.weight",
        "layers.0.out.weight",
        "layers.1.value.weight",
        "layers.1.value_filter.bias",
        "layers.2.mix.weight",
        "layers.7.key_filter.weight",
        "norm.bias",
    ],
)
def test_the_comparison_sees_every_weight(name):
    """A weight that is off by a part in a thousand is found out."""
    backbone = loaded("published")
    with torch.no_grad():
        backbone.get_parameter(name).mul_(1.001)
    graph = GraphBatch.from_crystals(
        [crystal_of("skewed", backbone.cutoff)], backbone.cutoff, torch.float64
    )
    features = backbone(graph)
    errors = [
        worst(getattr(features, key), GOLDEN[f"published/skewed/{key}"])
        for key in ("scalars", "vectors")
    ]
    assert max(errors) > 1e-7


def test_the_comparison_sees_the_order_of_heads():
    """Without their interleaving of heads and parts, weights of the right shapes are wrong."""
    state = state_of("smooth")
    backbone = loaded("smooth")
    own = backbone.state_dict()
    own["layers.1.value.weight"] = state["representation_model.attention_layers.1.v_proj.weight"]
    backbone.load_state_dict(own)
    graph = GraphBatch.from_crystals(
        [crystal_of("box", backbone.cutoff)], backbone.cutoff, torch.float64
    )
    assert worst(backbone(graph).scalars, GOLDEN["smooth/box/scalars"]) > 1e-3


def test_loading_names_what_it_did_not_use():
    unused = load_torchmd_state(settings_of("published").build(), state_of("published"))
    assert unused
    assert all(not name.startswith("representation_model.attention") for name in unused)
    assert any(name.startswith("output_model.") for name in unused)


@pytest.mark.parametrize("prefix", ["", "model.", "model.representation_model."])
def test_loading_finds_the_network_whatever_is_around_it(prefix):
    inner = "representation_model."
    state = {
        prefix + name.removeprefix(inner): tensor
        for name, tensor in state_of("smooth").items()
        if name.startswith(inner)
    }
    backbone = settings_of("smooth").build()
    load_torchmd_state(backbone, state)
    for ours, wanted in zip(backbone.parameters(), loaded("smooth").parameters(), strict=True):
        assert torch.allclose(ours, wanted.float())


def test_loading_keeps_heavier_elements_than_theirs():
    backbone = settings_of("bare").build()
    before = backbone.embedding.weight.detach().clone()
    load_torchmd_state(backbone, state_of("bare"))
    theirs = state_of("bare")["representation_model.embedding.weight"]
    assert torch.equal(backbone.embedding.weight[90:], before[90:])
    assert torch.equal(backbone.embedding.weight[:90], theirs.float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layers": 9}, "no representation_model.attention_layers.8"),
        ({"n_layers": 7}, "8 layers"),
        ({"n_radial": 49}, "shape"),
        ({"n_channels": 24}, "shape"),
    ],
)
def test_loading_refuses_other_settings(change, message):
    backbone = settings_of("published").model_copy(update=change).build()
    with pytest.raises(DataError, match=message):
        load_torchmd_state(backbone, state_of("published"))


def test_a_refused_load_changes_nothing():
    backbone = settings_of("published").model_copy(update={"n_layers": 7}).build()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(DataError):
        load_torchmd_state(backbone, state_of("published"))
    assert all(torch.equal(before[name], now) for name, now in backbone.state_dict().items())


def test_loading_refuses_weights_of_something_else():
    with pytest.raises(DataError, match="out_norm"):
        load_torchmd_state(ETSettings().build(), {"weight": torch.zeros(3)})


def test_the_published_preset():
    settings = ETSettings.published()
    assert (settings.n_channels, settings.n_layers, settings.n_heads) == (128, 8, 8)
    assert (settings.n_radial, settings.cutoff, settings.trainable_radial) == (50, 8.0, True)
    assert settings.neighbor_embedding


def test_heads_must_divide_channels():
    with pytest.raises(ValidationError, match="multiple of n_heads"):
        ETSettings(n_channels=30, n_heads=4)


def test_second_derivatives():
    torch.manual_seed(0)
    backbone = ETSettings(n_channels=4, n_layers=2, n_heads=2, n_radial=5, cutoff=3.6).build()
    backbone = backbone.double()
    graph = GraphBatch.from_crystals(sample_crystals()[1:2], 3.6, torch.float64)

    def outputs(positions):
        features = backbone(graph.with_geometry(positions))
        return features.scalars.square().sum() + features.vectors.square().sum()

    start = graph.positions.clone().requires_grad_()
    assert torch.autograd.gradgradcheck(outputs, (start,))


def test_every_element_has_an_embedding():
    backbone = ETSettings(n_channels=4, n_heads=2, n_layers=1).build()
    for number in (1, 118):
        crystal = Crystal.make("x", [number], np.eye(3) * 2.7, frac=[[0, 0, 0]])
        graph = GraphBatch.from_crystals([crystal], backbone.cutoff)
        assert torch.isfinite(backbone(graph).scalars).all()


def test_expnorm_is_its_formula():
    basis = ExpNormBasis(7, 5.0).double()
    r = np.array([0.0, 0.7, 2.5, 4.999, 5.0, 7.0])
    mu = np.linspace(np.exp(-5.0), 1, 7)
    beta = (2 / 7 * (1 - np.exp(-5.0))) ** -2
    fade = np.where(r < 5, 0.5 * (np.cos(np.pi * r / 5) + 1), 0)
    wanted = fade[:, None] * np.exp(-beta * (np.exp(-r)[:, None] - mu) ** 2)
    # Centres and widths are made in float32, torch's default.
    np.testing.assert_allclose(basis(torch.from_numpy(r)).detach(), wanted, atol=3e-6)


def test_expnorm_trains_only_if_asked():
    assert len(list(ExpNormBasis(5, 4.0).parameters())) == 2
    assert not list(ExpNormBasis(5, 4.0, trainable=False).parameters())
    assert set(ExpNormBasis(5, 4.0, trainable=False).state_dict()) == {"means", "betas"}


def test_unit_vectors_at_zero_length():
    vectors = torch.tensor([[0.0, 0, 0], [3.0, 0, 4.0]], dtype=torch.float64, requires_grad=True)
    units = unit_vectors(vectors)
    assert torch.equal(units.detach()[0], torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(units.detach()[1], torch.tensor([0.6, 0, 0.8], dtype=torch.float64))
    (first,) = torch.autograd.grad(units.sum(), vectors, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), vectors)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()
