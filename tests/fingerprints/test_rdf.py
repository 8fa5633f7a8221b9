import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.geometry.rdf import get_rdf

from atomprint.fingerprints import RDFSettings, channel_table
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from tests.fingerprints.common import GOLDEN_NAMES, SAMPLES, golden, values
from tests.reference import fingerprints as reference


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("smearing", [None, 0.15])
@pytest.mark.parametrize("cutoff_function", ["none", "cosine"])
def test_agrees_with_the_slow_loop(name, smearing, cutoff_function):
    crystal = SAMPLES[name]
    settings = RDFSettings(
        per="atom",
        cutoff=4.2,
        n_bins=21,
        smearing=smearing,
        cutoff_function=cutoff_function,
        channels=("one", "electronegativity"),
    )
    table = channel_table(settings.channels).numpy()[crystal.numbers]
    wanted = [
        reference.rdf(crystal, w, 4.2, 21, smearing, cutoff_function == "cosine") for w in table.T
    ]
    # The pad of 5 σ leaves out neighbours of amplitude e^-12.5, which the loop counts up to 6 σ.
    tolerance = 1e-12 if cutoff_function == "cosine" or smearing is None else 2e-5
    np.testing.assert_allclose(
        values(settings, crystal), np.concatenate(wanted, axis=1), rtol=0, atol=tolerance
    )
    mean = values(settings.model_copy(update={"per": "crystal"}), crystal)
    np.testing.assert_allclose(
        mean[0], np.concatenate(wanted, axis=1).mean(0), rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_agrees_with_ase_and_matscipy(name):
    crystal, arrays = golden(name)
    hard = RDFSettings(cutoff=4.0, n_bins=40, smearing=None, channels=("one",))
    np.testing.assert_allclose(values(hard, crystal)[0], arrays["ase_rdf"], rtol=0, atol=1e-12)
    counts = values(hard.model_copy(update={"normalize": "count"}), crystal)[0]
    np.testing.assert_allclose(counts * crystal.n_atoms, arrays["matscipy_distances"], atol=1e-12)


def test_agrees_with_ase_live():
    atoms = Atoms(
        "SiO", cell=np.eye(3) * 9 + 0.1, scaled_positions=[[0.1, 0.2, 0], [0.3, 0.5, 0.7]]
    )
    atoms.pbc = True
    crystal = Crystal.make("x", atoms.numbers, atoms.cell.array, positions=atoms.positions)
    wanted = get_rdf(atoms.repeat(2), 7.0, 35)[0]
    found = values(RDFSettings(cutoff=7.0, n_bins=35, smearing=None, channels=("one",)), crystal)[0]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("structure", "shells"),
    [
        ("sc", [(1.0, 6), (math.sqrt(2), 12), (math.sqrt(3), 8)]),
        ("bcc", [(math.sqrt(3) / 2, 8), (1.0, 6), (math.sqrt(2), 12)]),
        ("fcc", [(math.sqrt(0.5), 12), (1.0, 6), (math.sqrt(1.5), 24)]),
    ],
)
def test_shells_of_cubic_crystals(structure, shells):
    atoms = bulk("Cu", structure, a=3.97)
    crystal = Crystal.make("x", atoms.numbers, atoms.cell.array, positions=atoms.positions)
    settings = RDFSettings(
        cutoff=1.74 * 3.97, n_bins=200, smearing=None, normalize="count", channels=("one",)
    )
    counts = values(settings, crystal)[0]
    for distance, count in shells:
        b = int(distance * 3.97 / (1.74 * 3.97 / 200))
        assert counts[b] == count


def test_tends_to_one():
    rng = np.random.default_rng(3)
    numbers, frac = rng.integers(1, 90, 120), rng.random((120, 3))
    crystal = Crystal.make("gas", numbers, np.eye(3) * 16, frac=frac)
    settings = RDFSettings(cutoff=14.0, n_bins=7, smearing=0.2, divide_by_mean=True)
    g = values(settings, crystal).reshape(3, 7)
    np.testing.assert_allclose(g[:, 2:], 1, atol=0.07)


def test_the_last_bin_is_complete():
    """Without a taper a smeared neighbour beyond the last bin still reaches into it."""
    cell = np.eye(3) * 30
    crystal = Crystal.make("dimer", [6, 6], cell, positions=[[0, 0, 0], [5.1, 0, 0]])
    settings = RDFSettings(cutoff=5.0, n_bins=50, normalize="count", channels=("one",))
    g = values(settings, crystal)[0]
    assert g[-1] == pytest.approx(math.exp(-0.5 * 1.5**2) / math.sqrt(2 * math.pi), rel=1e-9)


@pytest.mark.parametrize("per", ["atom", "crystal"])
def test_second_derivatives_know_the_volume_once(per):
    """By cells: to the kernel the volume is a constant, which is put right outside of it."""
    rdf = RDFSettings(per=per, cutoff=3.5, n_bins=10, channels=("one",)).build()
    graph = GraphBatch.from_crystals([SAMPLES["two"]], rdf.cutoff, torch.float64)
    found = []
    for rdf.path in ("reference", "fused"):
        cells = graph.cells.clone().requires_grad_()
        rows = rdf(graph.with_geometry(graph.positions, cells))
        (slope,) = torch.autograd.grad(rows.square().sum(), cells, create_graph=True)
        (bend,) = torch.autograd.grad(slope.square().sum(), cells)
        found.append((slope.detach(), bend))
    for reference_value, fused_value in zip(*found, strict=True):
        torch.testing.assert_close(fused_value, reference_value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("per_width", [0.02, 0.7, 3.0, 5.0, 19.0, 60.0])
def test_fused_bins_of_any_width(per_width):
    """Bins from a fiftieth of σ to 60 σ: many in a Gaussian, a few, and none but its own."""
    n_bins = 12
    smearing = 4.0 / n_bins / per_width
    if per_width < 0.1:
        n_bins, smearing = 400, 0.5
    settings = RDFSettings(
        cutoff=4.0, n_bins=n_bins, smearing=smearing, cutoff_function="cosine", per="atom"
    )
    rdf = settings.build()
    graph = GraphBatch.from_crystals(list(SAMPLES.values()), 4.5, torch.float64)
    graph = graph.with_geometry(graph.positions.requires_grad_())
    found = []
    for rdf.path in ("reference", "fused"):
        rows = rdf(graph)
        (slope,) = torch.autograd.grad(rows.square().sum(), graph.positions, retain_graph=True)
        found.append((rows.detach(), slope))
    for wanted, fused in zip(*found, strict=True):
        torch.testing.assert_close(fused, wanted, rtol=0, atol=1e-12 * float(wanted.abs().max()))
