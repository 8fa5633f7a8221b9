"""Every fingerprint keeps the laws, and every law catches a fingerprint that breaks it."""

import functools
import math
import typing

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from atomprint.fingerprints import (
    ACSFSettings,
    ADFSettings,
    EADSettings,
    FingerprintSettings,
    GMPSettings,
    LMBTRSettings,
    LocalPropertiesSettings,
    MBTRSettings,
    RDFSettings,
    SOAPSettings,
    ValleOganovSettings,
    WACSFSettings,
    fingerprint_id,
)
from atomprint.fingerprints.base import Fingerprint, FingerprintSpec, crystal_mean
from atomprint.fingerprints.cutoffs import cosine_cutoff
from atomprint.fingerprints.soap import SOAPWeighting
from atomprint.ground import elements
from atomprint.ground.errors import UsageError
from atomprint.structures.graph import sum_by_index
from atomprint.testing.fingerprints import LAWS, LawBroken, check

# For members by species: every element that a test may ask for.
ALL_SPECIES = elements.symbols[1:95]
# Those of the crystals that the laws are checked with: for members of very many columns.
SOME_SPECIES = ("Li", "N", "O", "Na", "Si", "Cl", "Ca", "Ti", "Fe", "Cu", "Ba")

MEMBERS = {
    "rdf": RDFSettings(),
    "rdf-atom-taper": RDFSettings(per="atom", cutoff_function="cosine"),
    "rdf-hard": RDFSettings(smearing=None, divide_by_mean=True),
    "rdf-hard-taper": RDFSettings(
        smearing=None, cutoff_function="cosine", per="atom", normalize="count"
    ),
    "adf": ADFSettings(),
    "adf-probability": ADFSettings(normalize="probability", channels=("Z", "mass")),
    "adf-curve-crystal": ADFSettings(form="curve", per="crystal", l_max=12),
    "adf-curve-full": ADFSettings(form="curve", cutoff_function="none", cutoff=3.5),
    "adf-histogram": ADFSettings(form="histogram"),
    "adf-histogram-crystal": ADFSettings(
        form="histogram", normalize="probability", per="crystal", cutoff_function="none"
    ),
    "soap": SOAPSettings(n_max=4, l_max=4),
    "soap-channels": SOAPSettings(channels=("one", "Z", "valence"), cutoff=4.0, sigma=0.4),
    "soap-taper-cross": SOAPSettings(
        channels=("one", "electronegativity"),
        cross_channels=True,
        cutoff_function="cosine",
        n_max=4,
        l_max=3,
    ),
    "soap-polynomial": SOAPSettings(basis="polynomial", cutoff=4.0, n_max=3, l_max=3),
    "soap-featomic": SOAPSettings(
        convention="featomic", cutoff_function="cosine", cutoff_width=0.5, n_max=4, l_max=3
    ),
    "soap-featomic-step": SOAPSettings(convention="featomic", cutoff=4.0, n_max=3, l_max=2),
    "soap-species": SOAPSettings(
        resolution="full", species=ALL_SPECIES, cutoff=3.0, n_max=2, l_max=1, center_weight=0.5
    ),
    "soap-mu1nu1": SOAPSettings(
        resolution="mu1nu1",
        species=ALL_SPECIES,
        cutoff=3.0,
        n_max=2,
        l_max=2,
        weighting=SOAPWeighting(function="pow", r0=2.0, m=3),
    ),
    "soap-crossover": SOAPSettings(
        resolution="crossover",
        species=ALL_SPECIES,
        cutoff=3.5,
        n_max=3,
        l_max=2,
        weighting=SOAPWeighting(r0=3.4),
    ),
    "soap-inner": SOAPSettings(per="crystal", average="inner", n_max=4, l_max=4),
    "soap-outer-taper": SOAPSettings(per="crystal", cutoff_function="cosine", n_max=3, l_max=2),
    "ead": EADSettings(),
    "ead-pyxtal": EADSettings(
        per="crystal", convention="pyxtal", channels=("Z",), scale_channels=False
    ),
    "ead-moments": EADSettings(
        per="crystal", pool=("mean", "variance", "third", "fourth"), l_max=1, channels=("one",)
    ),
    "soap-sum": SOAPSettings(per="crystal", pool=("sum",), n_max=3, l_max=2),
    "ead-learnable": EADSettings(learnable=True, l_max=4, shells=(1.5, 2.5), eta=1.0),
    "acsf": ACSFSettings(),
    "acsf-species": ACSFSettings(
        species=ALL_SPECIES,
        cutoff=3.4,
        g2=((1.0, 2.0),),
        g3=(1.5,),
        g4=((0.05, 2.0, -1.0),),
    ),
    "acsf-without-triplets": ACSFSettings(g4=(), g5=((0.05, 1.0, -1.0), (0.2, 8.0, 1.0))),
    "acsf-approximate": ACSFSettings(
        tolerance=0.01,
        channels=("one", "valence"),
        g4=((0.02, 1.0, 1.0), (0.05, 2.0, -1.0)),
        g5=((0.05, 1.5, 1.0), (0.05, 2.0, -1.0)),
    ),
    "acsf-approximate-species": ACSFSettings(
        tolerance=0.05, species=SOME_SPECIES, cutoff=4.0, g2=(), g4=((0.02, 1.0, 1.0),)
    ),
    "wacsf": WACSFSettings(),
    "wacsf-crossterms": WACSFSettings(
        crossterms=True, angular_grid="shifted", zetas=(1.0, 1.5), channels=("Z", "valence")
    ),
    "wacsf-crystal": WACSFSettings(
        per="crystal", n_angular=2, zetas=(4.0,), scale_channels=True, radial_grid="centered"
    ),
    "gmp": GMPSettings(),
    "gmp-square": GMPSettings(square=True, orders=(0, 2, 4), sigmas=(0.3, 0.7, 2.0)),
    "gmp-crystal": GMPSettings(per="crystal", orders=(-1, 1), sigmas=(0.5,), cutoff=5.0, taper=5.0),
    "gmp-hard": GMPSettings(cutoff=5.0, taper=None),
    "local-properties": LocalPropertiesSettings(),
    "local-properties-crystal": LocalPropertiesSettings(
        per="crystal",
        pool=("mean", "variance"),
        channels=("Z", "valence"),
        widths=(0.5, 1.5),
        cutoff=4.0,
    ),
    "mbtr-atoms": MBTRSettings(geometry="atomic_number", normalization="l2"),
    "mbtr-pairs": MBTRSettings(cutoff=4.0, weighting="inverse_square", n_points=20),
    "mbtr-sum": MBTRSettings(
        geometry="inverse_distance",
        cutoff=4.0,
        n_points=9,
        normalization="none",
        species=SOME_SPECIES,
    ),
    "mbtr-angles": MBTRSettings(geometry="angle", cutoff=4.0, n_points=12, normalization="l2"),
    "mbtr-cosines": MBTRSettings(
        geometry="cosine",
        weighting="smooth_cutoff",
        cutoff=3.5,
        n_points=3,
        sigma=0.5,
        species=SOME_SPECIES,
        normalize_gaussians=False,
    ),
    "lmbtr": LMBTRSettings(cutoff=4.0, n_points=20),
    "lmbtr-pairs": LMBTRSettings(
        geometry="inverse_distance", scale=1.8, normalization="l2", species=SOME_SPECIES, n_points=8
    ),
    "lmbtr-angles": LMBTRSettings(
        geometry="angle",
        weighting="smooth_cutoff",
        cutoff=3.4,
        n_points=3,
        species=SOME_SPECIES,
        per="crystal",
    ),
    "lmbtr-cosines": LMBTRSettings(geometry="cosine", cutoff=3.6, n_points=12),
    "valle-oganov": ValleOganovSettings(cutoff=5.0, n_points=20),
    "valle-oganov-species": ValleOganovSettings(cutoff=4.0, n_points=10, species=SOME_SPECIES),
    "valle-oganov-angles": ValleOganovSettings(function="angle", cutoff=3.5, n_points=12),
}

UNION = typing.get_args(typing.get_args(FingerprintSettings)[0])

# What a fingerprint keeps from call to call could break these: they start with one that was
# never called.
LAWS_OF_THE_FRESH = ("batch", "untouched")


@functools.cache
def built(member):
    """A member, built once for all tests: its tables cost more than most of what is asked of it."""
    return MEMBERS[member].build()


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("path", ["reference", "fused"])
@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_keeps_the_laws(member, path, law):
    fingerprint = built(member)
    if path == "fused" and fingerprint.kernel is None:
        pytest.skip("these settings have no fused kernel")
    if law in LAWS_OF_THE_FRESH:
        fingerprint = MEMBERS[member].build()
    # A kernel without a gradient leaves gradients to the reference.
    gradient = path == "reference" or fingerprint.kernel.has_gradient
    fingerprint.path = path if gradient else "auto"
    if not check(law, fingerprint):
        pytest.skip(f"exempt: {fingerprint.exempt[law]}")


def test_the_members_tested_are_those_of_the_union():
    assert {type(settings) for settings in MEMBERS.values()} == set(UNION)


@pytest.mark.parametrize("settings", MEMBERS.values(), ids=MEMBERS)
def test_settings_survive_json_and_their_id_travels(settings):
    adapter = TypeAdapter(FingerprintSettings)
    again = adapter.validate_json(settings.model_dump_json())
    assert again == settings
    assert fingerprint_id(again) == fingerprint_id(settings)


@pytest.mark.parametrize("model", UNION)
def test_settings_that_cannot_be_are_refused(model):
    values = {"species": ("H",)} if model.model_fields.get("species") else {}
    for cutoff in (0.0, -1.0, math.inf, math.nan, 1e4):
        with pytest.raises(ValueError, match=r"cutoff|finite|greater"):
            model(cutoff=cutoff, **values)
    with pytest.raises(ValueError, match="pool names one twice"):
        model(per="crystal", pool=("sum", "sum"))


@pytest.mark.parametrize(
    "settings",
    [
        SOAPSettings(channels=("Z", "Z")),
        WACSFSettings(zetas=(1.0, 1.0)),
        GMPSettings(sigmas=(0.5, 0.5000001)),
    ],
    ids=lambda one: one.kind,
)
def test_columns_have_names_of_their_own(settings):
    with pytest.raises(UsageError, match="two columns would be called"):
        settings.build()


def test_different_settings_have_different_ids():
    ids = {fingerprint_id(settings) for settings in MEMBERS.values()}
    assert len(ids) == len(MEMBERS)
    assert fingerprint_id(EADSettings(cutoff=6.0)) == fingerprint_id(EADSettings())


@pytest.mark.parametrize("model", UNION)
def test_every_setting_is_described(model):
    for name, field in model.model_fields.items():
        if name != "kind":
            assert field.description, f"{model.__name__}.{name} has no description"


class SoundSettings(FingerprintSpec):
    """Settings of fingerprints that only this file knows."""

    kind: typing.Literal["sound"] = "sound"

    def build(self):
        return Sound(self)


class Sound(Fingerprint):
    """Coordination by element, and nothing wrong with it: the base of the broken ones."""

    settings_class = SoundSettings

    def prepare(self):
        self.cutoff = 4.0
        self.name_columns(["sound.a", "sound.b"], "1")

    def per_atom(self, graph):
        graph = graph.within(self.cutoff)
        r = graph.distances
        near = cosine_cutoff(r, self.cutoff)
        heavy = near * graph.numbers[graph.neighbor_index].to(r)
        rows = torch.stack([near, heavy], dim=1)
        return self.change(graph, sum_by_index(rows, graph.center_index, graph.n_atoms))

    def change(self, graph, values):
        return values


class Rotation(Sound):
    def change(self, graph, values):
        x = graph.edge_vectors[:, :1].square() * cosine_cutoff(graph.distances, 4.0)[:, None]
        return values + sum_by_index(x, graph.center_index, graph.n_atoms)


class Translation(Sound):
    def change(self, graph, values):
        return values + graph.positions.square().sum(1, keepdim=True)


class Permutation(Sound):
    def change(self, graph, values):
        return values * torch.arange(1, graph.n_atoms + 1)[:, None]


class Lattice(Sound):
    def change(self, graph, values):
        return values + torch.linalg.vector_norm(graph.cells, dim=(1, 2))[graph.crystal_index, None]


class Supercell(Sound):
    def __init__(self):
        super().__init__(per="crystal", pool=("sum",))
        self.exempt = {}


class SmallCell(Sound):
    """Sees one image of every neighbour only."""

    def per_atom(self, graph):
        graph = graph.within(self.cutoff)
        _, center, neighbor = graph.pairs
        seen = graph.numbers[neighbor].to(graph.dtype)[:, None].expand(-1, 2)
        return sum_by_index(seen, center, graph.n_atoms)


class LoneAtom(Sound):
    def change(self, graph, values):
        return values / values[:, :1]


class LoneAtomGradient(Sound):
    """The spread of a crystal's atoms: with one atom, the square root's slope at zero."""

    def change(self, graph, values):
        apart = graph.positions - crystal_mean(graph.positions, graph)[graph.crystal_index]
        return values + apart.square().sum(1, keepdim=True).sqrt()


class Smooth(Sound):
    def change(self, graph, values):
        counts = torch.bincount(graph.center_index, minlength=graph.n_atoms)
        return values + counts[:, None]


class SmoothSlope(Sound):
    """Continuous, with a kink."""

    def change(self, graph, values):
        linear = (1 - graph.distances / self.cutoff)[:, None]
        return values + sum_by_index(linear, graph.center_index, graph.n_atoms)


class Gradient(Sound):
    def change(self, graph, values):
        return values + values.detach() ** 2


class GradientOfCells(Sound):
    def per_atom(self, graph):
        return super().per_atom(graph.with_geometry(graph.positions, graph.cells.detach()))


class Batch(Sound):
    def change(self, graph, values):
        return values - values.mean(0)


class Untouched(Sound):
    def change(self, graph, values):
        graph.positions.mul_(1.0001)
        return values


class UntouchedState(Sound):
    calls = 0

    def change(self, graph, values):
        self.calls += 1
        return values + self.calls


class Labels(Sound):
    def prepare(self):
        super().prepare()
        # name_columns would refuse; a member of another's may not call it.
        self._labels = ("sound.a", "sound.a")


class LabelsMissing(Sound):
    def prepare(self):
        super().prepare()
        self.name_columns(["sound.a"], "1")


class LabelsType(Sound):
    def change(self, graph, values):
        return values.double()


class Float32(Sound):
    def change(self, graph, values):
        return (values + 1e4) - 1e4


class Cutoff(Sound):
    def per_atom(self, graph):
        return crystal_mean(
            graph.distances.new_ones(graph.n_atoms, 2) * graph.n_edges / graph.n_atoms, graph
        )[graph.crystal_index]


BROKEN = {
    "rotation": [Rotation],
    "translation": [Translation],
    "permutation": [Permutation],
    "lattice": [Lattice],
    "supercell": [Supercell],
    "small_cell": [SmallCell],
    "lone_atom": [LoneAtom, LoneAtomGradient],
    "smooth": [Smooth, SmoothSlope],
    "gradient": [Gradient, GradientOfCells],
    "batch": [Batch],
    "untouched": [Untouched, UntouchedState],
    "labels": [Labels, LabelsMissing, LabelsType],
    "float32": [Float32],
    "cutoff": [Cutoff],
}


@pytest.mark.parametrize("law", LAWS)
def test_a_sound_fingerprint_keeps_every_law(law):
    assert check(law, Sound())


@pytest.mark.parametrize(
    ("law", "broken"), [(law, broken) for law, all in BROKEN.items() for broken in all]
)
def test_every_law_catches_a_broken_member(law, broken):
    with pytest.raises(LawBroken):
        check(law, broken())


def test_the_law_of_wrapping_catches_unwrapped_atoms(monkeypatch):
    # Atoms are wrapped by GraphBatch, before any fingerprint: break that.
    monkeypatch.setattr("atomprint.structures.graph._wrapped", lambda positions, *rest: positions)
    with pytest.raises(LawBroken):
        check("wrapping", Translation())


def test_every_law_has_a_broken_member():
    assert {*BROKEN, "wrapping"} == set(LAWS)


@pytest.mark.parametrize(
    "exempt", [{"smooth": ""}, {"no such law": "because"}], ids=["no reason", "no law"]
)
def test_an_exemption_names_a_law_and_a_reason(exempt):
    fingerprint = Sound()
    fingerprint.exempt = exempt
    with pytest.raises(LawBroken):
        check("rotation", fingerprint)


def test_exemptions_are_needed():
    """A law that a member is exempt from is one that it breaks, at least somewhere."""
    for name, law in (("soap", "smooth"), ("rdf-hard", "smooth"), ("adf-curve-full", "smooth")):
        with pytest.raises(LawBroken):
            LAWS[law](MEMBERS[name].build())


def test_not_a_number_breaks_a_law():
    class NaN(Sound):
        def change(self, graph, values):
            return values * np.nan

    for law in ("rotation", "batch", "float32", "cutoff", "smooth", "gradient"):
        with pytest.raises(LawBroken):
            check(law, NaN())
