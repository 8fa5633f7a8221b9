import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from atomprint.fingerprints import ADFSettings, channel_table
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from tests.fingerprints.common import SAMPLES, golden, values
from tests.reference import fingerprints as reference

CHANNELS = ("one", "electronegativity")


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("cutoff_function", ["none", "cosine"])
def test_agrees_with_the_slow_loop(name, cutoff_function):
    crystal, taper = SAMPLES[name], cutoff_function == "cosine"
    common = {"cutoff": 4.1, "cutoff_function": cutoff_function, "channels": CHANNELS}
    table = channel_table(CHANNELS).numpy()[crystal.numbers]
    moments = [reference.adf_moments(crystal, w, 4.1, 12, taper) for w in table.T]
    for path, tolerance in (("reference", 1e-11), ("fused", 1e-10)):
        found = values(ADFSettings(l_max=12, **common), crystal, path=path)
        np.testing.assert_allclose(found, np.concatenate(moments, axis=1), rtol=0, atol=tolerance)
    counts = [reference.adf_histogram(crystal, w, 4.1, 30, taper) for w in table.T]
    found = values(ADFSettings(form="histogram", n_bins=30, **common), crystal)
    np.testing.assert_allclose(found, np.concatenate(counts, axis=1), rtol=0, atol=1e-11)
    mean = values(ADFSettings(form="histogram", n_bins=30, per="crystal", **common), crystal)
    np.testing.assert_allclose(mean[0], found.mean(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["five", "eleven"])
def test_is_half_of_matscipy(name):
    crystal, arrays = golden(name)
    assert np.array_equal(2 * counted(crystal, 4.0, 36), arrays["matscipy_adf"])


def test_is_half_of_matscipy_live():
    angle_distribution = pytest.importorskip(
        "matscipy.angle_distribution", reason="matscipy is not installed"
    ).angle_distribution
    from matscipy.neighbours import neighbour_list

    crystal = SAMPLES["five"]
    atoms = Atoms(crystal.numbers, positions=crystal.positions, cell=crystal.cell, pbc=True)
    i, j, vectors = neighbour_list("ijD", atoms, 3.9)
    assert np.array_equal(2 * counted(crystal, 3.9, 50), angle_distribution(i, j, vectors, 50))


def counted(crystal, cutoff, n_bins):
    """Angles of the whole cell, each once."""
    settings = ADFSettings(
        form="histogram", cutoff=cutoff, n_bins=n_bins, cutoff_function="none", channels=("one",)
    )
    return values(settings, crystal).sum(0).round(9)


def test_the_curve_is_the_smoothed_histogram():
    """Moments, damped like heat on the sphere, against a fine histogram damped by hand."""
    crystal = SAMPLES["five"]
    n_bins, l_max, width = 30, 40, math.radians(15)
    curve = values(ADFSettings(form="curve", n_bins=n_bins, l_max=24, channels=("one",)), crystal)
    degrees = np.arange(l_max + 1)
    damping = (2 * degrees + 1) / 2 * np.exp(-degrees * (degrees + 1) * width**2 / 2)
    x = (np.arange(n_bins) + 0.5) * math.pi / n_bins
    at_bins = np.polynomial.legendre.legvander(np.cos(x), l_max) * np.sin(x)[:, None]
    triplets = reference.angles(crystal, np.ones(crystal.n_atoms), 4.5, True)
    for found, rows in zip(curve, triplets, strict=True):
        angles, weights = np.array(rows).T
        at_angles = np.polynomial.legendre.legvander(np.cos(angles), l_max)
        wanted = at_bins @ (damping * (weights @ at_angles))
        np.testing.assert_allclose(found, wanted, atol=1e-6 * wanted.max())


@pytest.mark.parametrize("form", ["curve", "histogram"])
@pytest.mark.parametrize("per", ["atom", "crystal"])
def test_probabilities_integrate_to_one(form, per):
    settings = ADFSettings(form=form, normalize="probability", per=per, n_bins=180)
    rows = values(settings, SAMPLES["five"]).reshape(-1, 3, 180)
    np.testing.assert_allclose(rows.sum(-1) * math.pi / 180, 1, atol=2e-4)


def test_first_moment_of_probability_is_one():
    moments = values(ADFSettings(normalize="probability"), SAMPLES["five"]).reshape(-1, 3, 9)
    np.testing.assert_allclose(moments[..., 0], 1, atol=1e-12)


def test_one_neighbor_makes_no_angle():
    cell = np.eye(3) * 30
    dimer = Crystal.make("dimer", [6, 8], cell, positions=[[0, 0, 0], [1.2, 0.3, 0.4]])
    for normalize in ("count", "probability"):
        for form in ("moments", "curve", "histogram"):
            found = values(ADFSettings(form=form, normalize=normalize), dimer)
            np.testing.assert_allclose(found, 0, atol=1e-14)


def test_equilateral_trimer():
    xyz = [[0, 0, 0], [2, 0, 0], [1, math.sqrt(3), 0]]
    trimer = Crystal.make("trimer", [6, 6, 6], np.eye(3) * 30, positions=xyz)
    moments = values(ADFSettings(cutoff_function="none", channels=("one",), l_max=3), trimer)
    wanted = [2 * np.polynomial.legendre.legval(0.5, np.eye(4)[degree]) for degree in range(4)]
    np.testing.assert_allclose(moments, [wanted] * 3, atol=1e-14)


@pytest.mark.parametrize("structure", ["sc", "bcc", "fcc"])
def test_moments_that_cubic_crystals_lack(structure):
    """Inversion kills odd l, cubic symmetry l = 2: only each neighbour with itself is left."""
    atoms = bulk("Cu", structure, a=3.0)
    crystal = Crystal.make("x", atoms.numbers, atoms.cell.array, positions=atoms.positions)
    settings = ADFSettings(cutoff=4.6, cutoff_function="none", channels=("one",))
    moments = values(settings, crystal)[0]
    n_neighbors = len(reference.neighbors(crystal, 4.6)[0][1])
    np.testing.assert_allclose(moments[[1, 2, 3, 5, 7]], -n_neighbors, atol=1e-11)
    assert moments[0] == pytest.approx(n_neighbors**2 - n_neighbors)
    assert moments[4] + n_neighbors > 1


def test_collinear_neighbors_count_in_the_last_bin():
    atoms = bulk("Po", "sc", a=3.0)
    crystal = Crystal.make("x", atoms.numbers, atoms.cell.array, positions=atoms.positions)
    settings = ADFSettings(
        form="histogram", cutoff=3.1, n_bins=12, cutoff_function="none", channels=("one",)
    )
    counts = values(settings, crystal, torch.float32)[0]
    assert counts[-1] == 3
    assert counts.sum() == 15


@pytest.mark.parametrize("n_bins", [1, 2, 7, 180, 2000])
def test_fused_bins_are_those_of_the_arc_cosine(n_bins):
    settings = ADFSettings(form="histogram", n_bins=n_bins, channels=CHANNELS, cutoff=5.0)
    adf = settings.build()
    graph = GraphBatch.from_crystals(list(SAMPLES.values()), 5.5, torch.float64)
    rows = []
    with torch.no_grad():
        for adf.path in ("reference", "fused"):
            rows.append(adf(graph))
    torch.testing.assert_close(rows[1], rows[0], rtol=0, atol=1e-12 * float(rows[0].max()))


def test_right_angles_begin_a_bin_and_straight_ones_end_the_last():
    """Six neighbours of a simple cube: 12 right angles and 3 straight ones."""
    crystal = Crystal.make("cube", [84], np.eye(3) * 3.35, positions=[[0.3, 0.2, 0.1]])
    counts = counted(crystal, 4.0, 36)
    assert counts[18] == 12
    assert counts[35] == 3
    assert counts.sum() == 15
