"""Angular functions without pairs, approximately: the stated error is the largest one."""

import itertools

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from atomprint.fingerprints import ACSFSettings
from atomprint.fingerprints.kernels.quadratic import QuadraticKernel
from atomprint.fingerprints.low_rank import SHORTEST
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from atomprint.testing.fingerprints import sample_crystals
from tests.fingerprints.common import GOLDEN_NAMES, golden

PLAIN = {"channels": ("one",), "scale_channels": False, "g1": False, "g2": ()}
G4 = ((0.005, 1.0, 1.0), (0.005, 4.0, -1.0), (0.05, 2.0, 1.0), (0.05, 1.0, -1.0))


def rows_of(settings, crystals, path="auto", dtype=torch.float64):
    fingerprint = settings.build()
    fingerprint.path = path
    with torch.no_grad():
        return fingerprint(GraphBatch.from_crystals(crystals, fingerprint.cutoff, dtype)).numpy()


def both(crystals, tolerance, cutoff=6.0):
    """Approximate and exact columns, and the stated errors."""
    settings = ACSFSettings(**PLAIN, g4=G4, cutoff=cutoff, tolerance=tolerance)
    exact = settings.model_copy(update={"tolerance": None})
    stated = np.array(settings.build().approximation_error)
    return rows_of(settings, crystals), rows_of(exact, crystals), stated


def triangles(cutoff, count=400):
    """One atom with two neighbours, and nothing else, at distances where errors are stated."""
    generator = np.random.default_rng(0)
    made = []
    while len(made) < count:
        directions = generator.normal(size=(2, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        distances = generator.uniform(SHORTEST, cutoff, size=(2, 1))
        xyz = np.concatenate([np.zeros((1, 3)), directions * distances]) + 2 * cutoff
        made.append(Crystal.make("three", [14, 8, 20], np.eye(3) * 4 * cutoff, positions=xyz))
    return made


@pytest.mark.parametrize("cutoff", [4.0, 6.0])
@pytest.mark.parametrize("tolerance", [0.02, 0.002])
def test_the_stated_error_is_the_largest_of_a_pair(tolerance, cutoff):
    found, exact, stated = both(triangles(cutoff), tolerance, cutoff)
    largest = np.abs(found - exact)[::3].max(0)
    # Stated for a grid; and not far more than is found.
    assert (largest < 1.1 * stated).all()
    assert (largest > 0.05 * stated).all()


def test_crystals_are_within_what_pairs_allow():
    crystals = [*sample_crystals(), *(golden(name)[0] for name in GOLDEN_NAMES)]
    found, exact, stated = both(crystals, 0.01)
    graph = GraphBatch.from_crystals(crystals, 6.0, torch.float64)
    assert float(graph.distances.min()) > SHORTEST
    n = torch.bincount(graph.center_index, minlength=graph.n_atoms).numpy()[:, None]
    assert (np.abs(found - exact) <= stated * n * (n - 1) / 2).all()
    assert (np.abs(found - exact).max(0) < 0.02 * np.abs(exact).max(0)).all()


def test_a_smaller_tolerance_is_closer():
    crystals = sample_crystals()
    errors = []
    for tolerance in (0.03, 0.003, 0.0003):
        found, exact, stated = both(crystals, tolerance)
        errors.append((np.abs(found - exact).max(0) / np.abs(exact).max(0), stated))
    for one, other in itertools.pairwise(errors):
        assert (other[0] < one[0]).all()
        assert (other[1] < one[1]).all()


@pytest.mark.parametrize("species", [None, ("Li", "N", "O", "Na", "Cl", "Ti", "Cu", "Ba")])
def test_programs_agree(species):
    settings = ACSFSettings(species=species, g4=G4, g5=((0.05, 1.5, -1.0),), tolerance=0.01)
    assert isinstance(settings.build().make_kernel(), QuadraticKernel) == (species is None)
    crystals = sample_crystals()
    reference = rows_of(settings, crystals, "reference")
    size = np.abs(reference).max(0)
    # A column in which large terms cancel cannot keep its digits in float32.
    for dtype, tolerance, part in ((torch.float64, 1e-10, 1e-6), (torch.float32, 1e-5, 1e-2)):
        scale = np.maximum(size, part * size.max())
        fused = rows_of(settings, crystals, "fused", dtype)
        assert (np.abs(fused - reference) / scale).max() < tolerance


def test_what_is_exact_without_pairs_stays_exact():
    g5 = ((0.05, 2.0, 1.0), (0.05, 8.0, -1.0))
    settings = ACSFSettings(**PLAIN, g4=G4[:1], g5=g5, tolerance=0.1)
    assert settings.build().approximation_error[1:] == (0.0, 0.0)
    exact = settings.model_copy(update={"tolerance": None})
    crystals = sample_crystals()
    found, wanted = rows_of(settings, crystals), rows_of(exact, crystals)
    assert np.abs(found - wanted)[:, 1:].max() < 1e-10 * np.abs(wanted).max()
    # Where nothing has to be approximated, nothing is.
    alone = ACSFSettings(**PLAIN, g4=(), g5=g5, tolerance=0.1).build()
    assert alone.approximation is None
    assert alone.approximation_error == (0.0, 0.0)


def test_one_neighbor_makes_no_pair():
    dimer = Crystal.make("dimer", [8, 8], np.eye(3) * 20, positions=[[5, 5, 5], [5, 5, 6.2]])
    settings = ACSFSettings(**PLAIN, g4=G4, tolerance=0.01)
    for path in ("reference", "fused"):
        assert np.abs(rows_of(settings, [dimer], path)).max() < 1e-12


def test_tolerances_that_cannot_be_held_are_refused():
    for tolerance in (1e-6, 0.5, 0.0):
        with pytest.raises(ValidationError, match="tolerance"):
            ACSFSettings(tolerance=tolerance)
