import numpy as np
import pytest
import torch
from ase.build import bulk

from atomprint.fingerprints import SOAP, SOAPSettings, channel_table
from atomprint.fingerprints.harmonics import solid_harmonics
from atomprint.fingerprints.kernels.expansion import LINEAR
from atomprint.fingerprints.soap_settings import SOAPWeighting
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from tests.fingerprints.common import GOLDEN_NAMES, SAMPLES, golden, relative, values
from tests.reference import fingerprints as reference


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("cutoff_function", ["none", "cosine"])
def test_agrees_with_quadrature(name, cutoff_function):
    crystal = SAMPLES[name]
    settings = SOAPSettings(
        cutoff=3.0,
        n_max=3,
        l_max=3,
        sigma=0.4,
        channels=("one", "period"),
        cutoff_function=cutoff_function,
    )
    table = channel_table(settings.channels).numpy()[crystal.numbers]
    taper = cutoff_function == "cosine"
    wanted = [reference.soap(crystal, w, 3.0, 3, 3, 0.4, taper) for w in table.T]
    assert relative(values(settings, crystal), np.concatenate(wanted, axis=1)) < 1e-10


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_agrees_with_dscribe(name):
    crystal, arrays = golden(name)
    one = SOAPSettings(cutoff=5.0, n_max=5, l_max=4, sigma=0.5)
    assert relative(values(one, crystal), arrays["soap_mu2"]) < 1e-11
    weighted = one.model_copy(update={"channels": ("Z",)})
    assert relative(values(weighted, crystal), arrays["soap_mu2_z"]) < 1e-11
    alike = SOAPSettings(cutoff=4.0, n_max=6, l_max=5, sigma=0.4)
    assert relative(values(alike, crystal), arrays["soap_off_one_species"]) < 1e-11
    single = relative(values(one, crystal, torch.float32), arrays["soap_mu2"])
    assert single < 1e-5


@pytest.mark.parametrize("name", GOLDEN_NAMES)
@pytest.mark.parametrize("average", ["inner", "outer"])
def test_averages_agree_with_dscribe(name, average):
    crystal, arrays = golden(name)
    settings = SOAPSettings(n_max=5, l_max=4, per="crystal", average=average)
    found, wanted = values(settings, crystal), arrays[f"soap_mu2_{average}"]
    assert found.shape == wanted.shape == (1, 75)
    assert relative(found, wanted) < 1e-11


def test_agrees_with_dscribe_at_the_usual_size():
    crystal, arrays = golden("eleven")
    settings = SOAPSettings(cutoff=6.0)
    found = values(settings, crystal)[:4]
    assert relative(found, arrays["soap_mu2_large"]) < 1e-10
    assert relative(values(settings, crystal, torch.float32)[:4], arrays["soap_mu2_large"]) < 1e-5


def test_lone_atom():
    """Only the atom itself is left: p_nn'0 = π √8 c_n c_n', and nothing for l > 0."""
    cell = np.eye(3) * 40
    crystal = Crystal.make("lone", [14], cell, frac=[[0.3, 0.4, 0.5]])
    p = values(SOAPSettings(cutoff=4.0, n_max=3, l_max=2), crystal)[0]
    # R_n0(0) = ∫ r² g_n0 4π e^{-r²/2σ²}, by quadrature over the primitive Gaussians.
    x, w = np.polynomial.legendre.leggauss(300)
    x, w = 10 * (x + 1), 10 * w
    primitive = np.exp(-np.log(1e3) * x**2 / np.linspace(1, 4, 3)[:, None] ** 2)
    eigenvalues, vectors = np.linalg.eigh((primitive * w * x**2) @ primitive.T)
    basis = vectors @ np.diag(eigenvalues**-0.5) @ vectors.T @ primitive
    c = 4 * np.pi * basis @ (w * x**2 * np.exp(-2 * x**2)) / np.sqrt(4 * np.pi)
    wanted = [np.pi * np.sqrt(8) * c[n] * c[m] for n in range(3) for m in range(n, 3)]
    np.testing.assert_allclose(p[:6], wanted, rtol=1e-11)
    assert np.all(p[6:] == 0)


def test_inner_and_outer_average():
    crystal = SAMPLES["five"]
    rows = values(SOAPSettings(n_max=4, l_max=3), crystal)
    outer = values(SOAPSettings(n_max=4, l_max=3, per="crystal"), crystal)
    np.testing.assert_allclose(outer[0], rows.mean(0), rtol=1e-12)
    inner = values(SOAPSettings(n_max=4, l_max=3, per="crystal", average="inner"), crystal)
    assert relative(inner, outer) > 0.01
    # Where all atoms are alike, the mean of coefficients is every atom's own.
    atoms = bulk("Cu", "fcc", a=3.6).repeat(2)
    alike = Crystal.make("x", atoms.numbers, atoms.cell.array, positions=atoms.positions)
    inner = values(SOAPSettings(n_max=4, l_max=3, per="crystal", average="inner"), alike)
    assert relative(inner, values(SOAPSettings(n_max=4, l_max=3), alike)[:1]) < 1e-12


def test_cross_channels_hold_the_others():
    """All blocks together are the power spectrum of any mixture of the channels."""
    crystal = SAMPLES["five"]
    settings = SOAPSettings(n_max=3, l_max=2, channels=("one", "Z"), cross_channels=True)
    fingerprint = settings.build()
    names, rows = fingerprint.labels(), values(settings, crystal)
    column = {name: rows[:, k] for k, name in enumerate(names)}
    within = values(settings.model_copy(update={"cross_channels": False}), crystal)
    within_names = settings.model_copy(update={"cross_channels": False}).build().labels()
    for k, name in enumerate(within_names):
        np.testing.assert_allclose(column[name], within[:, k], rtol=1e-13)
    # A mixed density ρ_one + 2 ρ_Z, from a fingerprint whose table is mixed by hand.
    mixed = SOAPSettings(n_max=3, l_max=2, channels=("one",)).build()
    mixed.table.copy_((fingerprint.table @ torch.tensor([1.0, 2.0]).double())[:, None])
    graph = GraphBatch.from_crystals([crystal], mixed.cutoff, torch.float64)
    found = mixed(graph).numpy()
    for k, name in enumerate(mixed.labels()):
        _, _, place = name.split(".")
        n, m, degree = int(place[1]), int(place[3]), place[4:]
        wanted = (
            column[f"soap.one.{place}"] + 4 * column[f"soap.z.{place}"]
            + 2 * column[f"soap.one-z.n{n}n{m}{degree}"]
            + 2 * column[f"soap.one-z.n{m}n{n}{degree}"]
        )  # fmt: skip
        np.testing.assert_allclose(found[:, k], wanted, rtol=1e-10)


def test_number_of_features():
    assert SOAPSettings().build().n_features == 252
    channels = ("one", "electronegativity", "covalent_radius")
    three = SOAPSettings(cross_channels=True, channels=channels).build().n_features
    assert three == 3 * 252 + 3 * 7 * 64


ELEMENTS = ["O", "Ti", "Ba", "N", "Li"]


def test_species_are_resolved_sums():
    """Sums over the species' own columns are those of all atoms together, without species."""
    crystal = SAMPLES["five"]
    small = {"n_max": 3, "l_max": 2}
    together = values(SOAPSettings(**small), crystal)
    every = SOAPSettings(resolution="full", species=ELEMENTS, **small)
    names, rows = every.build().labels(), values(every, crystal)
    total = dict.fromkeys(SOAPSettings(**small).build().labels(), 0.0)
    for k, name in enumerate(names):
        _, pair, place = name.split(".")
        n, m, degree = int(place[1]), int(place[3]), place[4:]
        same = "-" not in pair
        key = f"soap.one.n{min(n, m)}n{max(n, m)}{degree}"
        total[key] = total[key] + rows[:, k] * (1 if same or n != m else 2)
    for k, name in enumerate(total):
        np.testing.assert_allclose(total[name], together[:, k], rtol=1e-10, atol=1e-12)
    # mu1nu1: a species with all; crossover: the species alone, a part of the full columns.
    mixed = SOAPSettings(resolution="mu1nu1", species=ELEMENTS, **small)
    found = values(mixed, crystal).reshape(-1, len(ELEMENTS), 3, 3, 3).sum(1)
    pick = [(degree, n, m) for degree in range(3) for n in range(3) for m in range(n, 3)]
    np.testing.assert_allclose(
        np.stack([found[:, d, n, m] for d, n, m in pick], 1), together, rtol=1e-10, atol=1e-12
    )
    alone = SOAPSettings(resolution="crossover", species=ELEMENTS, **small)
    kept = [k for k, name in enumerate(names) if "-" not in name]
    np.testing.assert_allclose(values(alone, crystal), rows[:, kept], rtol=1e-12)


def test_many_species_need_no_matrix_of_all_pairs():
    """89 species: as many columns as dscribe has, over the densities that there are."""
    species = list(range(1, 90))
    crossover = SOAPSettings(resolution="crossover", species=species)
    assert crossover.build().n_features == 22_428
    assert SOAPSettings(resolution="mu1nu1", species=species).build().n_features == 39_872
    with pytest.raises(UsageError, match=r"1,776,796 columns.*crossover"):
        SOAP(resolution="full", species=species)
    crystal = SAMPLES["five"]
    few = values(SOAPSettings(resolution="crossover", species=ELEMENTS), crystal)
    many = values(crossover, crystal)
    names = crossover.build().labels()
    place = [names.index(x) for x in SOAP(resolution="crossover", species=ELEMENTS).labels()]
    np.testing.assert_allclose(many[:, place], few, rtol=1e-12)
    assert np.all(np.delete(many, place, axis=1) == 0)


@pytest.mark.parametrize("path", ["auto", "reference"])
def test_an_element_that_is_not_listed_is_refused(path):
    soap = SOAP(resolution="full", species=["O", "Ti"], n_max=2, l_max=1)
    soap.path = path
    graph = GraphBatch.from_crystals([SAMPLES["five"]], soap.cutoff, torch.float64)
    with pytest.raises(UsageError, match="hold Li, N, Ba, which the setting species"):
        soap(graph)
    with pytest.raises(UsageError, match="hold Li, N, Ba"):
        soap.reference(graph)


def test_the_order_of_species_does_not_matter():
    first = SOAP(resolution="full", species=["Ti", "O", 8])
    assert first.settings.species == ("O", "Ti")
    assert first.id == SOAP(resolution="full", species=(8, 22)).id
    assert first.labels()[0] == "soap.O.n0n0l0"
    assert first.labels()[-1] == "soap.Ti.n7n7l6"


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"resolution": "full"}, "needs species"),
        ({"species": ["O"]}, "belongs to a resolution"),
        ({"resolution": "full", "species": ["Q"]}, "'Q' is no element"),
        ({"resolution": "full", "species": []}, "species is empty"),
        ({"resolution": "crossover", "species": ["O"], "channels": ["Z"]}, "channels belong"),
        ({"convention": "featomic", "basis": "polynomial"}, "basis gto only"),
        ({"convention": "featomic", "weighting": {"r0": 2.0}}, "weighting is dscribe's"),
        ({"cutoff_width": 0.5}, "needs cutoff_function"),
        ({"cutoff_width": 9.0, "cutoff_function": "cosine"}, "above the cutoff"),
        ({"weighting": {"function": "pow", "r0": 2.0, "d": 0}}, "infinite at r = 0"),
        ({"weighting": {"r0": 2.0, "m": 0}}, "greater than or equal to 1"),
        ({"cutoff": -1.0}, "greater than 1"),
        ({"l_max": 13}, "less than or equal to 12"),
        ({"sigma": 0.04, "basis": "polynomial"}, "a hundredth of the cutoff"),
        ({"sigma": 0.0}, "greater than 0"),
        ({"cutoff_function": "cosine", "cutoff_width": 0.01}, "greater than or equal to 0.05"),
    ],
)
def test_settings_that_cannot_be_are_refused(keywords, words):
    with pytest.raises(UsageError, match=words):
        SOAP(**keywords)


@pytest.mark.parametrize(
    "weighting",
    [
        SOAPWeighting(function="poly", r0=3.0, c=1.2, m=2),
        SOAPWeighting(function="pow", r0=1.5, d=0.4, m=3),
        SOAPWeighting(function="exp", r0=1.5, c=0.7, d=0.4),
    ],
)
def test_slopes_of_weights_are_derivatives(weighting):
    settings = SOAPSettings(
        cutoff=3.0, weighting=weighting, cutoff_function="cosine", cutoff_width=1.2
    )
    weight = settings.weight_of_distance()
    r = np.linspace(0.1, 2.95, 50)
    _, slope = weight(r)
    step = 1e-6
    measured = (weight(r + step)[0] - weight(r - step)[0]) / (2 * step)
    np.testing.assert_allclose(slope, measured, atol=1e-8)


def test_a_weighting_that_ends_shortens_the_reach():
    """Beyond r0 a poly weighting is zero: no neighbour there is needed, and nothing jumps."""
    soap = SOAP(weighting={"r0": 3.5})
    assert soap.cutoff == 3.5
    assert not soap.exempt
    assert SOAP(weighting={"r0": 50.0}).cutoff == pytest.approx(5.0 + 3.717 * 0.5, abs=1e-3)
    assert "smooth" in SOAP(weighting={"r0": 50.0}).exempt


def test_the_expansion_is_complete():
    """The definition of an expansion, by loops over neighbours, gives the rows."""
    crystal = SAMPLES["two"]
    soap = SOAP(
        resolution="mu1nu1", species=["Na", "Cl"], n_max=2, l_max=2, cutoff=3.0, center_weight=0.4,
        convention="featomic", cutoff_function="cosine", cutoff_width=0.7,
    )  # fmt: skip
    rows = values(soap.settings, crystal)
    np.testing.assert_allclose(rows_of_expansion(soap.expansion(), crystal), rows, atol=1e-12)
    # Of the inner average the coefficients, whose mean it is made of.
    inner = SOAP(soap.settings.model_copy(update={"per": "crystal", "average": "inner"}))
    graph = GraphBatch.from_crystals([crystal], inner.cutoff, torch.float64)
    wanted = inner.summands(graph).numpy()
    assert wanted.shape[1] == inner.n_summands > inner.n_features
    np.testing.assert_allclose(rows_of_expansion(inner.expansion(), crystal), wanted, atol=1e-12)


def rows_of_expansion(e, crystal):
    rows = []
    for i, (vectors, indices) in enumerate(reference.neighbors(crystal, e.cutoff)):
        n_densities = e.weights.shape[1]
        c = [np.zeros((n_densities * e.n_radial, 2 * degree + 1)) for degree in e.degrees]
        own = e.center_weights[crystal.numbers[i]]
        for vector, j in zip(vectors, indices, strict=True):
            r = np.linalg.norm(vector)
            interval, t = divmod((r - e.table.start) / e.table.step, 1)
            cubic = e.table.coefficients[0, int(interval)]
            radial = cubic[0] + t * (cubic[1] + t * (cubic[2] + t * cubic[3]))
            y = solid_harmonics(torch.from_numpy(vector / r)[None], max(e.degrees))[0].numpy()
            for b, degree in enumerate(e.degrees):
                part = radial[e.columns[b] : e.columns[b] + e.n_radial]
                left = np.outer(e.weights[crystal.numbers[j]], part).ravel()
                c[b] += np.outer(left, y[degree**2 : (degree + 1) ** 2])
        c[0] += np.outer(own, e.center[0, 0]).reshape(-1, 1)
        p = e.products
        orders = np.zeros_like(p.block) if p.order is None else p.order
        row = [
            f * (c[b][left][order] if right == LINEAR else c[b][left] @ c[b][right])
            for b, left, right, f, order in zip(
                p.block, p.left, p.right, p.factor, orders, strict=True
            )
        ]
        rows.append(row)
    return np.array(rows)


def test_paths_agree_where_the_table_begins_below_zero():
    """A kink near the middle puts the table's first node below r = 0."""
    soap = SOAP(cutoff=3.0, n_max=3, l_max=3, cutoff_function="cosine", cutoff_width=1.7)
    assert soap.radial_table.start < 0
    graph = GraphBatch.from_crystals([SAMPLES["five"]], soap.cutoff, torch.float64)
    assert relative(soap(graph).numpy(), soap.reference(graph).numpy()) < 1e-12
