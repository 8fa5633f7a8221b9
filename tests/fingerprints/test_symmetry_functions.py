"""ACSF and wACSF: loops over definitions, dscribe's and SchNetPack's numbers, every path."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from atomprint.fingerprints import ACSF, WACSF, ACSFSettings, WACSFSettings, channel_table
from atomprint.fingerprints import symmetry as core
from atomprint.fingerprints.kernels.quadratic import QuadraticKernel
from atomprint.fingerprints.kernels.triplet_loops import ABSENT, POLYNOMIAL, TABLE
from atomprint.fingerprints.kernels.triplets import TripletKernel
from atomprint.fingerprints.symmetry import RadialFunction, legendre_factors
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from atomprint.testing.fingerprints import sample_crystals
from tests.fingerprints.common import GOLDEN_NAMES, SAMPLES, golden, relative
from tests.reference import symmetry as loops

HERE = Path(__file__).parent.parent / "golden"
PATHS = ("reference", "fused")
# Of tests/golden/make_acsf.py.
DSCRIBE = {
    "cutoff": 5.0,
    "g2": ((0.5, 0.0), (2.0, 1.5), (1.0, 3.0)),
    "g3": (1.0, 2.5),
    "g4": ((0.005, 1, 1), (0.005, 4, -1), (0.3, 2, 1), (2.0, 16, -1)),
    "g5": ((0.01, 1, -1), (0.1, 3, 1), (0.1, 8, -1)),
}
SAMPLE_SPECIES = ("Li", "N", "O", "Na", "Cl", "Ti", "Cu", "Ba")


def rows_of(settings, crystals, path, dtype=torch.float64):
    fingerprint = settings.build()
    fingerprint.path = path
    with torch.no_grad():
        graph = GraphBatch.from_crystals(crystals, fingerprint.cutoff, dtype)
        return fingerprint(graph).numpy()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_acsf_is_that_of_dscribe(name, path):
    crystal, _ = golden(name)
    with np.load(HERE / "acsf.npz") as file:
        wanted = file[f"{name}/acsf"]
    settings = ACSFSettings(species=sorted(set(crystal.numbers.tolist())), **DSCRIBE)
    found = rows_of(settings, [crystal], path)[: len(wanted)]
    assert found.shape == wanted.shape
    assert relative(found, wanted) < 1e-12
    # Small columns too: each against its own largest value.
    scale = np.abs(wanted).max(0) + 1e-9 * np.abs(wanted).max()
    assert (np.abs(found - wanted).max(0) / scale).max() < 1e-8


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["one", "two", "five"])
def test_weights_of_atomic_numbers_are_those_of_pyxtal_ff(name, path):
    crystal, _ = golden(name)
    with np.load(HERE / "acsf.npz") as file:
        wanted = file[f"{name}/pyxtal_weighted"]
    settings = ACSFSettings(
        cutoff=5.0,
        channels=("Z",),
        scale_channels=False,
        g1=False,
        g2=[(eta, shift) for eta in (0.5, 1.0) for shift in (0.0, 2.0)],
        g4=[(eta, zeta, sign) for zeta in (1, 4) for sign in (1, -1) for eta in (0.05, 0.3)],
        g5=[(0.05, zeta, sign) for zeta in (1, 4) for sign in (1, -1)],
    )
    found = rows_of(settings, [crystal], path)
    assert (np.abs(found - wanted).max(0) / np.abs(wanted).max(0)).max() < 1e-10


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", GOLDEN_NAMES)
@pytest.mark.parametrize("form", ["plain", "crossterms"])
def test_wacsf_is_that_of_schnetpack(name, form, path):
    crystal, _ = golden(name)
    with np.load(HERE / "wacsf.npz") as file:
        wanted = file[f"{name}/{form}"]
    settings = WACSFSettings(cutoff=5.0)
    if form == "crossterms":
        settings = WACSFSettings(cutoff=5.0, crossterms=True, zetas=(1, 4), radial_grid="centered")
    found = rows_of(settings, [crystal], path)
    assert found.shape == wanted.shape
    scale = np.abs(wanted).max(0) + 1e-6 * np.abs(wanted).max()
    assert (np.abs(found - wanted).max(0) / scale).max() < 1e-9


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", SAMPLES)
def test_channels_are_those_of_the_loops(name, path):
    crystal = SAMPLES[name]
    settings = ACSFSettings(
        cutoff=4.0,
        channels=("one", "Z"),
        g2=((1.0, 2.0),),
        g3=(1.5,),
        g4=((0.05, 1.0, 1), (0.5, 2.5, -1), (40.0, 1.0, 1)),
        g5=((0.1, 3.0, -1), (0.1, 1.7, 1), (0.0, 20.0, 1)),
    )
    radial = [(0.0, 0.0, 0.0), (1.0, 2.0, 0.0), (0.0, 0.0, 1.5)]
    angular = [(eta, 0.0, zeta, sign, True) for eta, zeta, sign in settings.g4]
    angular += [(eta, 0.0, zeta, sign, False) for eta, zeta, sign in settings.g5]
    weights = channel_table(settings.channels).numpy()[crystal.numbers]
    wanted = [loops.radial_columns(crystal, w, radial, 4.0) for w in weights.T]
    wanted += [
        loops.angular_columns(crystal, lambda a, b, w=w: w[a] * w[b], angular, 4.0)
        for w in weights.T
    ]
    wanted = np.hstack(wanted)
    found = rows_of(settings, [crystal], path)
    scale = np.abs(wanted).max(0) + 1e-9
    assert (np.abs(found - wanted) / scale).max() < 1e-10


@pytest.mark.parametrize("path", PATHS)
def test_shifted_crossterms_are_those_of_the_loops(path):
    crystal = SAMPLES["five"]
    settings = WACSFSettings(
        cutoff=3.6, radial=(), angular=((1.0, 2.0), (0.2, 0.0)), zetas=(2,), crossterms=True
    )
    functions = [(e, s, 2, sign, True) for e, s in settings.angular for sign in (-1, 1)]
    z = crystal.numbers
    wanted = loops.angular_columns(crystal, lambda a, b: z[a] * z[b], functions, 3.6)
    assert relative(rows_of(settings, [crystal], path), wanted) < 1e-11
    kinds = settings.build().kernel._in(np.dtype(np.float64)).third_kind
    assert kinds.tolist() == [TABLE, POLYNOMIAL]


def test_species_and_channels_hold_the_same():
    # Blocks of species add up to the channel in which every element counts 1.
    functions = {"g3": (1.0,), "g5": ((0.1, 2.0, 1),)}
    one = rows_of(ACSFSettings(channels=("one",), **functions), sample_crystals(), "fused")
    by_species = ACSFSettings(species=SAMPLE_SPECIES, **functions)
    rows = rows_of(by_species, sample_crystals(), "fused")
    n_radial, n_angular = 1 + len(by_species.g2) + 1, len(by_species.g4) + 1
    cut = len(SAMPLE_SPECIES) * n_radial
    radial = rows[:, :cut].reshape(len(rows), -1, n_radial).sum(1)
    angular = rows[:, cut:].reshape(len(rows), -1, n_angular).sum(1)
    np.testing.assert_allclose(np.hstack([radial, angular]), one, rtol=1e-11)


def test_columns_of_species_are_named_as_they_lie():
    crystal = Crystal.make(
        "three", [1, 8, 14], np.eye(3) * 30, positions=[[0, 0, 0], [1.0, 0, 0], [0, 1.2, 0.1]]
    )
    settings = ACSFSettings(species=("Si", "H", 8), g2=(), g4=((0.005, 1, 1),))
    fingerprint = settings.build()
    assert settings.species == ("H", "O", "Si")
    rows = rows_of(settings, [crystal], "reference")
    for atom, pair in enumerate(("Si-O", "Si-H", "O-H")):
        filled = {
            label for label, x in zip(fingerprint.labels(), rows[atom], strict=True) if x != 0
        }
        assert {label for label in filled if "g4" in label} == {f"acsf.{pair}.g4n0"}


def test_a_dimer_has_radial_functions_only():
    crystal = Crystal.make("two", [6, 8], np.eye(3) * 30, positions=[[0, 0, 0], [0, 0, 1.3]])
    settings = WACSFSettings(radial=((0.5, 1.0),), zetas=(1, 2.5), crossterms=True)
    rows = rows_of(settings, [crystal], "fused")
    near = 0.5 * (math.cos(math.pi * 1.3 / 6) + 1)
    np.testing.assert_allclose(
        rows[:, 0], [8 * math.exp(-0.045) * near, 6 * math.exp(-0.045) * near]
    )
    assert (rows[:, 1:] == 0).all()
    # By moments, what is left is the rounding of a difference.
    rows = rows_of(WACSFSettings(), [crystal], "reference")
    assert np.abs(rows[:, 22:]).max() < 1e-13 * 64


@pytest.mark.parametrize("path", PATHS)
def test_an_equilateral_triangle_has_cosine_one_half(path):
    side = 2.0
    xyz = [[0, 0, 0], [side, 0, 0], [side / 2, side * math.sqrt(0.75), 0]]
    crystal = Crystal.make("three", [6, 6, 6], np.eye(3) * 30, positions=xyz)
    settings = ACSFSettings(
        channels=("one",), g1=False, g2=(), g4=((0.1, 3, 1), (0.1, 2.5, -1)), g5=((0.1, 2, -1),)
    )
    f = math.exp(-0.4) * 0.5 * (math.cos(math.pi / 3) + 1)
    wanted = [1.5**3 / 4 * f**3, 0.5**2.5 * 2**-1.5 * f**3, 0.5**2 / 2 * f**2]
    np.testing.assert_allclose(rows_of(settings, [crystal], path), [wanted] * 3, rtol=1e-11)


def test_memory_of_pairs_is_bounded_and_parts_add_up(monkeypatch):
    settings = ACSFSettings(species=SAMPLE_SPECIES)
    crystals = sample_crystals()
    graph = GraphBatch.from_crystals(crystals, 6.0, torch.float64)
    graph = graph.with_geometry(graph.positions.clone().requires_grad_())
    fingerprint = settings.build()
    whole = fingerprint.reference(graph)
    (slope,) = torch.autograd.grad(whole.sum(), graph.positions, retain_graph=True)
    sizes = []
    terms = core.SymmetryFunctions._terms

    def counted(self, vectors, values, first, *rest):
        sizes.append(len(first))
        return terms(self, vectors, values, first, *rest)

    monkeypatch.setattr(core.SymmetryFunctions, "_terms", counted)
    monkeypatch.setattr(core, "NUMBERS_AT_A_TIME", 24 * 100)
    parts = fingerprint.reference(graph)
    assert max(sizes) <= 100 < sum(sizes)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-14)
    (again,) = torch.autograd.grad(parts.sum(), graph.positions)
    torch.testing.assert_close(again, slope, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("settings", [ACSFSettings(cutoff=3.5), WACSFSettings(cutoff=3.5)])
def test_the_reference_can_be_differentiated_twice(settings):
    fingerprint = settings.build()
    graph = GraphBatch.from_crystals([SAMPLES["two"]], 3.5, torch.float64)
    columns = torch.linspace(-1, 1, fingerprint.n_features, dtype=torch.float64)

    def energy(positions):
        rows = fingerprint.reference(graph.with_geometry(positions))
        return torch.tanh(rows @ columns / 1e3).sum()

    assert torch.autograd.gradgradcheck(energy, graph.positions.clone().requires_grad_())


@pytest.mark.parametrize("zeta", [1, 2, 5, 16])
@pytest.mark.parametrize("sign", [1, -1])
def test_legendre_factors_make_the_power(zeta, sign):
    x = np.linspace(-1, 1, 11)
    found = np.polynomial.legendre.legval(x, legendre_factors(zeta, sign))
    np.testing.assert_allclose(found, (1 + sign * x) ** zeta, rtol=1e-11, atol=1e-11 * 2**zeta)


def test_triplets_are_only_taken_where_they_are_needed():
    assert isinstance(WACSF().kernel, QuadraticKernel)
    assert isinstance(WACSF(zetas=(1, 16)).kernel, QuadraticKernel)
    assert isinstance(ACSF(g4=(), g5=((0.1, 2, 1),)).kernel, QuadraticKernel)
    assert WACSF(n_angular=0).expansion() is not None
    for fingerprint in (ACSF(), WACSF(zetas=(1.5,)), WACSF(zetas=(17,)), WACSF(crossterms=True)):
        assert isinstance(fingerprint.kernel, TripletKernel)
        assert fingerprint.expansion() is None
    kernel = ACSF(g4=((0.01, 1, 1),), g5=((0.01, 1, 1),)).kernel
    assert set(kernel._in(np.dtype(np.float32)).third_kind) == {POLYNOMIAL, ABSENT}


def test_both_programs_agree_where_both_can():
    settings = ACSFSettings(g4=(), g5=((0.1, 2, 1), (0.1, 6, -1), (0.4, 1, 1)), g3=(0.7,))
    fingerprint = settings.build()
    wanted = rows_of(settings, sample_crystals(), "fused")
    fingerprint._kernel, fingerprint._kernel_made = TripletKernel(fingerprint), True
    graph = GraphBatch.from_crystals(sample_crystals(), 6.0, torch.float64)
    assert relative(fingerprint(graph).numpy(), wanted) < 1e-11


@pytest.mark.parametrize("path", PATHS)
def test_an_element_that_is_not_among_the_species_is_refused(path):
    with pytest.raises(UsageError, match="Na, Cl in a crystal, but not in species"):
        rows_of(ACSFSettings(species=("O", "Ti")), [SAMPLES["two"]], path)


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"species": ("Xx",)}, "is no element"),
        ({"species": ("O", 8)}, "O is given twice"),
        ({"g4": ((0.1, 1, 0.5),)}, "λ is 1 or -1"),
        ({"g5": ((0.1, 0.5, 1),)}, "greater than or equal to 1"),
        ({"g2": ((-1, 0),)}, "greater than or equal to 0"),
        ({"g1": False, "g2": (), "g4": ()}, "no symmetry function"),
        ({"cutoff": 0}, "greater than 0"),
    ],
)
def test_bad_settings_of_acsf_are_refused(keywords, reason):
    with pytest.raises(UsageError, match=reason):
        ACSF(**keywords)


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"n_radial": 1}, "no spacing"),
        ({"n_radial": 0, "n_angular": 0}, "no symmetry function"),
        ({"n_radial": 0, "zetas": ()}, "no symmetry function"),
        ({"zetas": (0.5,)}, "greater than or equal to 1"),
        ({"cutoff": 1.5}, "greater than 1.5"),
    ],
)
def test_bad_settings_of_wacsf_are_refused(keywords, reason):
    with pytest.raises(UsageError, match=reason):
        WACSF(**keywords)


def test_no_angular_or_no_radial_functions_are_fine():
    assert rows_of(WACSFSettings(n_radial=0), sample_crystals(), "fused").shape == (8, 10)
    assert rows_of(WACSFSettings(n_angular=0), sample_crystals(), "fused").shape == (8, 22)
    only = ACSFSettings(g1=False, g2=(), channels=("one",))
    assert rows_of(only, sample_crystals(), "fused").shape == (8, 8)
    assert rows_of(only, sample_crystals(), "reference").shape == (8, 8)


def test_no_number_is_lost_at_the_third_sides_cutoff():
    # Two neighbours farther from each other than the cutoff: G4 is zero, G5 is not.
    xyz = [[0, 0, 0], [3.2, 0, 0], [-3.2, 0, 0.01]]
    crystal = Crystal.make("three", [6, 6, 6], np.eye(3) * 40, positions=xyz)
    settings = ACSFSettings(
        channels=("one",), g1=False, g2=(), g4=((0.01, 1, -1),), g5=((0.01, 1, -1),)
    )
    rows = rows_of(settings, [crystal], "fused")
    assert rows[0, 0] == 0
    assert rows[0, 1] > 0.1


def test_radial_functions_are_a_function_of_all_three_numbers():
    r = torch.tensor([1.0, 2.0], dtype=torch.float64)
    both = core.radial_values(r, [RadialFunction(0.3, 1.5, 2.0)], 4.0)
    wanted = [loops.radial(float(x), (0.3, 1.5, 2.0), 4.0) for x in r]
    np.testing.assert_allclose(both[:, 0].numpy(), wanted, rtol=1e-14)
