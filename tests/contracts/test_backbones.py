"""Every backbone keeps the laws, and every law catches a backbone that breaks it."""

import typing

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from atomprint.backbones import AtomFeatures, Backbone, BackboneSettings, ETSettings, PaiNNSettings
from atomprint.nn.radial import cosine_cutoff
from atomprint.structures.graph import GraphBatch, sum_by_index
from atomprint.testing.backbones import (
    LAWS,
    LawBroken,
    check,
    features_of,
    prepared,
    sample_crystals,
)

SMALL = {"cutoff": 4.5, "n_channels": 8, "n_layers": 2}

MEMBERS = {
    "painn": PaiNNSettings(**SMALL, n_radial=6),
    "painn-told": PaiNNSettings(**SMALL, n_radial=6, elements="properties"),
    "painn-one-layer": PaiNNSettings(**SMALL | {"n_layers": 1}, n_radial=3),
    "et": ETSettings(**SMALL, n_heads=2, n_radial=6),
    "et-deep": ETSettings(**SMALL | {"n_layers": 4}, n_heads=8, n_radial=10),
    "et-plain": ETSettings(
        **SMALL | {"n_layers": 1},
        n_heads=1,
        n_radial=5,
        neighbor_embedding=False,
        trainable_radial=False,
    ),
    "et-torchmd": ETSettings(**SMALL, n_heads=4, n_radial=6, vector_cutoff=False),
}

UNION = typing.get_args(typing.get_args(BackboneSettings)[0])


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_keeps_the_laws(member, law):
    if not check(law, MEMBERS[member].build):
        pytest.skip(f"exempt: {MEMBERS[member].build().exempt[law]}")


def test_the_members_tested_are_those_of_the_union():
    assert {type(settings) for settings in MEMBERS.values()} == set(UNION)


@pytest.mark.parametrize("model", UNION)
def test_the_defaults_keep_the_cheap_laws(model):
    for law in ("features", "rotation", "saving"):
        assert check(law, model().build)


@pytest.mark.parametrize("settings", MEMBERS.values(), ids=MEMBERS)
def test_settings_survive_json(settings):
    assert TypeAdapter(BackboneSettings).validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize("model", UNION)
def test_every_setting_is_described(model):
    for name, field in model.model_fields.items():
        if name != "kind":
            assert field.description, f"{model.__name__}.{name} has no description"


def test_exemptions_are_needed():
    """A law that a member is exempt from is one that it breaks."""
    exempt = [(m, law) for m, s in MEMBERS.items() for law in s.build().exempt]
    assert exempt == [("et-torchmd", "smooth")]
    for member, law in exempt:
        with pytest.raises(LawBroken):
            LAWS[law](MEMBERS[member].build)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=["64", "32"]
)
def test_the_device_makes_no_difference(member, dtype, tolerance):
    backbone = MEMBERS[member].build().to(dtype)
    graph = GraphBatch.from_crystals(sample_crystals(), backbone.cutoff, dtype)

    def values(device):
        moved = graph.to(device)
        positions = moved.positions.clone().requires_grad_()
        found = backbone.to(device)(moved.with_geometry(positions))
        assert found.scalars.device.type == device
        energy = found.scalars.square().mean() * found.scalars[:, 0].sum()
        (slope,) = torch.autograd.grad(energy + found.vectors.square().sum(), positions)
        return [v.detach().cpu().double() for v in (found.scalars, found.vectors, slope)]

    for on_cpu, on_gpu in zip(values("cpu"), values("cuda"), strict=True):
        assert float((on_cpu - on_gpu).abs().max() / on_cpu.abs().max()) < tolerance


class Sound(Backbone):
    """Neighbours by element, and nothing wrong with it: the base of the broken ones."""

    def __init__(self):
        super().__init__()
        self.cutoff, self.n_channels = 4.0, 5
        self.embedding = nn.Embedding(119, 5)
        self.mix = nn.Linear(5, 5)

    def forward(self, graph):
        graph = graph.within(self.cutoff)
        near = cosine_cutoff(graph.distances, self.cutoff)[:, None]
        messages = near * self.embedding(graph.numbers)[graph.neighbor_index]
        direction = graph.edge_vectors / graph.distances[:, None]
        scalars = self.mix(sum_by_index(messages, graph.center_index, graph.n_atoms))
        vectors = sum_by_index(
            direction[:, :, None] * messages[:, None, :], graph.center_index, graph.n_atoms
        )
        scalars, vectors = self.change(graph, torch.sin(scalars), vectors)
        return AtomFeatures(scalars, vectors, self.before(graph, messages, vectors, scalars))

    def change(self, graph, scalars, vectors):
        return scalars, vectors

    def before(self, graph, messages, vectors, scalars):
        """All layers: one before the last."""
        return torch.tanh(sum_by_index(messages, graph.center_index, graph.n_atoms)), scalars

    def sums(self, graph, values):
        return sum_by_index(values, graph.center_index, graph.n_atoms)


class NoVectors(Sound):
    """Sound too: an architecture without vectors."""

    def change(self, graph, scalars, vectors):
        return scalars, None


class FeaturesShape(Sound):
    def change(self, graph, scalars, vectors):
        return scalars[:, :4], vectors


class FeaturesVectorShape(Sound):
    def change(self, graph, scalars, vectors):
        return scalars, vectors.transpose(1, 2)


class FeaturesType(Sound):
    def change(self, graph, scalars, vectors):
        return scalars, vectors.float()


class FeaturesWithoutLayers(Sound):
    def before(self, *parts):
        return ()


class FeaturesOtherLayer(Sound):
    """The last layer is not what the scalars are."""

    def before(self, graph, messages, vectors, scalars):
        return (2 * scalars,)


class FeaturesLayerShape(Sound):
    def before(self, graph, messages, vectors, scalars):
        return scalars[:, :2], scalars


class Rotation(Sound):
    def change(self, graph, scalars, vectors):
        return scalars + vectors[:, 0], vectors


class RotationOfALayer(Sound):
    def before(self, graph, messages, vectors, scalars):
        return vectors[:, 0], scalars


class RotationOfVectors(Sound):
    def change(self, graph, scalars, vectors):
        return scalars, vectors.roll(1, dims=1)


class Reflection(Sound):
    """The vector product of two vectors does not change its sign with them."""

    def change(self, graph, scalars, vectors):
        return scalars, vectors + torch.linalg.cross(vectors, vectors.roll(1, dims=2), dim=1)


class ReflectionOfScalars(Sound):
    """A triple product tells left from right."""

    def change(self, graph, scalars, vectors):
        return scalars + torch.linalg.det(vectors[:, :, :3])[:, None], vectors


class Translation(Sound):
    def change(self, graph, scalars, vectors):
        return scalars + torch.sin(graph.positions.square().sum(1, keepdim=True)), vectors


class Permutation(Sound):
    def change(self, graph, scalars, vectors):
        return scalars * torch.arange(1, graph.n_atoms + 1)[:, None], vectors


class PermutationOfALayer(Sound):
    def before(self, graph, messages, vectors, scalars):
        return scalars * torch.arange(graph.n_atoms)[:, None], scalars


class Lattice(Sound):
    def change(self, graph, scalars, vectors):
        size = torch.linalg.vector_norm(graph.cells, dim=(1, 2))
        return scalars + size[graph.crystal_index, None], vectors


class Supercell(Sound):
    def change(self, graph, scalars, vectors):
        sums = sum_by_index(scalars, graph.crystal_index, graph.n_crystals)
        return scalars + sums[graph.crystal_index], vectors


class SmallCell(Sound):
    """Sees one image of every neighbour only."""

    def change(self, graph, scalars, vectors):
        _, center, neighbor = graph.pairs
        seen = self.embedding(graph.numbers)[neighbor]
        return scalars + sum_by_index(seen, center, graph.n_atoms), vectors


class LoneAtom(Sound):
    def change(self, graph, scalars, vectors):
        count = torch.bincount(graph.center_index, minlength=graph.n_atoms)
        return scalars / count[:, None], vectors


class LoneAtomGradient(Sound):
    """The spread of a crystal's atoms: with one atom, the square root's slope at zero."""

    def change(self, graph, scalars, vectors):
        counts = graph.n_atoms_per_crystal[:, None]
        means = sum_by_index(graph.positions, graph.crystal_index, graph.n_crystals) / counts
        apart = graph.positions - means[graph.crystal_index]
        return scalars + apart.square().sum(1, keepdim=True).sqrt(), vectors


class LoneAtomDisturbs(Sound):
    """Gives a crystal without edges a share in the others."""

    def change(self, graph, scalars, vectors):
        has = torch.bincount(graph.center_index, minlength=graph.n_atoms) > 0
        return scalars * has.double().mean(), vectors


class InversionCenter(Sound):
    """The length of a vector that is zero has no slope."""

    def change(self, graph, scalars, vectors):
        return scalars + vectors.square().sum(1).sqrt(), vectors


class InversionCenterSecond(Sound):
    """A slope, but no second one."""

    def change(self, graph, scalars, vectors):
        return scalars + vectors.square().sum(1) ** 1.5, vectors


class Cutoff(Sound):
    def forward(self, graph):
        found = super().forward(graph)
        farthest = 0.1 * self.sums(graph, torch.exp(-graph.distances)[:, None])
        scalars = found.scalars + farthest
        return AtomFeatures(scalars, found.vectors, (found.layers[0], scalars))


class Smooth(Sound):
    def change(self, graph, scalars, vectors):
        return scalars + 0.01 * self.sums(graph, torch.ones_like(graph.distances)[:, None]), vectors


class SmoothVectors(Sound):
    def change(self, graph, scalars, vectors):
        return scalars, vectors + 0.01 * self.sums(graph, graph.edge_vectors)[:, :, None]


class SmoothSlope(Sound):
    """Continuous, with a kink."""

    def change(self, graph, scalars, vectors):
        linear = 0.1 * (1 - graph.distances / self.cutoff)[:, None]
        return scalars + self.sums(graph, linear), vectors


class Parameters(Sound):
    def __init__(self):
        super().__init__()
        self.idle = nn.Linear(2, 2)


class ParametersZero(Sound):
    """In the graph of derivatives, but acting on zeros."""

    def __init__(self):
        super().__init__()
        self.dead = nn.Linear(5, 5, bias=False)

    def change(self, graph, scalars, vectors):
        return scalars + self.dead(torch.zeros_like(scalars)), vectors


class Forces(Sound):
    def change(self, graph, scalars, vectors):
        return scalars + torch.sin(scalars.detach()), vectors


class ForcesOfCells(Sound):
    def forward(self, graph):
        return super().forward(graph.with_geometry(graph.positions, graph.cells.detach()))


class SecondDerivatives(Sound):
    """The slope is right, its slope is not there."""

    def change(self, graph, scalars, vectors):
        start = scalars.detach()
        return torch.sin(start) + torch.cos(start) * (scalars - start), vectors


class ForcesOfALayer(Sound):
    def before(self, graph, messages, vectors, scalars):
        return torch.sin(scalars.detach()), scalars


class BatchOfALayer(Sound):
    def before(self, graph, messages, vectors, scalars):
        return scalars - scalars.mean(0), scalars


class BatchOfLayers(Sound):
    """As many layers as the batch has crystals."""

    def before(self, graph, messages, vectors, scalars):
        return (scalars,) * graph.n_crystals


class Batch(Sound):
    def change(self, graph, scalars, vectors):
        return scalars - scalars.mean(0), vectors


class Saving(Sound):
    """Random numbers that are drawn once, used and not saved."""

    def __init__(self):
        super().__init__()
        self.projection = torch.randn(5, 5)

    def change(self, graph, scalars, vectors):
        return scalars @ self.projection.to(scalars), vectors


class SavingShapes(Sound):
    """Weights whose shapes change from one to the next."""

    count = 0

    def __init__(self):
        super().__init__()
        SavingShapes.count += 1
        self.register_buffer("odd", torch.zeros(SavingShapes.count))


class Untouched(Sound):
    def change(self, graph, scalars, vectors):
        graph.positions.mul_(1.0001)
        return scalars, vectors


class UntouchedWeights(Sound):
    def forward(self, graph):
        found = super().forward(graph)
        with torch.no_grad():
            self.embedding.weight[0] += 1
        return found


class UntouchedState(Sound):
    calls = 0

    def change(self, graph, scalars, vectors):
        self.calls += 1
        return scalars + self.calls, vectors


BROKEN = {
    "features": [
        FeaturesShape,
        FeaturesVectorShape,
        FeaturesType,
        FeaturesWithoutLayers,
        FeaturesOtherLayer,
        FeaturesLayerShape,
    ],
    "rotation": [Rotation, RotationOfVectors, RotationOfALayer],
    "reflection": [Reflection, ReflectionOfScalars],
    "translation": [Translation],
    "permutation": [Permutation, PermutationOfALayer],
    "lattice": [Lattice],
    "supercell": [Supercell],
    "small_cell": [SmallCell],
    "lone_atom": [LoneAtom, LoneAtomGradient, LoneAtomDisturbs],
    "inversion_center": [InversionCenter, InversionCenterSecond],
    "cutoff": [Cutoff],
    "smooth": [Smooth, SmoothVectors, SmoothSlope],
    "parameters": [Parameters, ParametersZero],
    "forces": [Forces, ForcesOfCells, ForcesOfALayer],
    "second_derivatives": [SecondDerivatives],
    "batch": [Batch, BatchOfALayer, BatchOfLayers],
    "saving": [Saving, SavingShapes],
    "untouched": [Untouched, UntouchedWeights, UntouchedState],
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("sound", [Sound, NoVectors])
def test_a_sound_backbone_keeps_every_law(sound, law):
    assert check(law, sound)


@pytest.mark.parametrize(
    ("law", "broken"), [(law, broken) for law, all in BROKEN.items() for broken in all]
)
def test_every_law_catches_a_broken_member(law, broken):
    with pytest.raises(LawBroken):
        check(law, broken)


@pytest.mark.parametrize("broken", [Reflection, ReflectionOfScalars])
def test_what_only_a_reflection_shows(broken):
    assert check("rotation", broken)


def test_what_only_second_derivatives_show():
    assert check("forces", SecondDerivatives)


def test_the_law_of_wrapping_catches_unwrapped_atoms(monkeypatch):
    # Atoms are wrapped by GraphBatch, before any backbone: break that.
    monkeypatch.setattr("atomprint.structures.graph._wrapped", lambda positions, *rest: positions)
    with pytest.raises(LawBroken):
        check("wrapping", Translation)


def test_every_law_has_a_broken_member():
    assert {*BROKEN, "wrapping"} == set(LAWS)


@pytest.mark.parametrize(
    "exempt", [{"smooth": ""}, {"no such law": "because"}], ids=["no reason", "no law"]
)
def test_an_exemption_names_a_law_and_a_reason(exempt):
    class Exempt(Sound):
        pass

    Exempt.exempt = exempt
    with pytest.raises(LawBroken):
        check("rotation", Exempt)


def test_not_a_number_breaks_a_law():
    class NaN(Sound):
        def change(self, graph, scalars, vectors):
            return scalars * np.nan, vectors

    for law in ("rotation", "batch", "cutoff", "smooth", "parameters", "forces", "lone_atom"):
        with pytest.raises(LawBroken):
            check(law, NaN)


def test_vectors_that_come_and_go_break_a_law():
    class Sometimes(Sound):
        def change(self, graph, scalars, vectors):
            return scalars, vectors if graph.n_crystals > 1 else None

    with pytest.raises(LawBroken):
        check("batch", Sometimes)


@pytest.mark.parametrize("member", MEMBERS)
def test_features_depend_on_what_they_should(member):
    """Elements, distances and angles all matter: a constant keeps most laws."""
    backbone = prepared(MEMBERS[member].build)
    crystal = sample_crystals()[2]
    before = features_of(backbone, [crystal]).scalars
    other = crystal.numbers.copy()
    other[0] += 1
    moved = crystal.positions.copy()
    moved[0] += 0.05
    for changed in (
        crystal.with_geometry(moved, crystal.cell),
        crystal.with_geometry(crystal.positions * 1.01, crystal.cell * 1.01),
    ):
        assert (features_of(backbone, [changed]).scalars - before).abs().amax(1).min() > 1e-8
    replaced = type(crystal).make("x", other, crystal.cell, positions=crystal.positions)
    assert (features_of(backbone, [replaced]).scalars - before).abs().amax(1).min() > 1e-8
