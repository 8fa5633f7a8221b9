"""Every path of every member gives the same numbers and gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atomprint.fingerprints import EAD, SOAP
from atomprint.fingerprints.kernels.bridge import block_of_graph
from atomprint.ground import elements
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from atomprint.testing.fingerprints import sample_crystals
from tests.contracts.test_fingerprints import MEMBERS, built

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def crystals(fingerprint=None):
    """Those of the laws, and some at random: many elements, a lone atom, tiny and long cells."""
    rng = np.random.default_rng(5)
    found = sample_crystals()
    for k, n in enumerate((1, 2, 6, 11)):
        cell = rng.normal(scale=0.7, size=(3, 3)) + np.eye(3) * (2.5 + 1.6 * n ** (1 / 3))
        sites = rng.uniform(size=(n, 3))
        found.append(Crystal.make(f"r{k}", rng.integers(1, 90, n), cell, frac=sites))
    species = getattr(getattr(fingerprint, "settings", None), "species", None)
    if species:
        # Elements that are not listed are refused: others of the list take their place.
        listed = np.array([elements.symbols.index(symbol) for symbol in species])
        found = [replace(c, numbers=listed[c.numbers % len(listed)]) for c in found]
    found.append(Crystal.make("lone", [14], np.eye(3) * 40.0, frac=[[0.1, 0.2, 0.3]]))
    return found


def fused(member):
    """The member on its fused path; skips where these settings have none."""
    fingerprint = built(member)
    if fingerprint.kernel is None:
        pytest.skip("these settings have no fused kernel")
    fingerprint.path = "fused"
    return fingerprint


def columns_differ(found, wanted):
    """Largest difference of every column, in units of its largest value.

    A column in which there is hardly anything but the tails of others is held to their scale: in
    float32 a neighbour just below the cutoff has a distance from it of few digits.
    """
    scale = wanted.abs().amax(0)
    least = 1e-5 if wanted.dtype == torch.float64 else 1e-4
    scale = torch.maximum(scale, least * scale.amax())
    return ((found - wanted).abs().amax(0) / scale).amax().item()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("member", MEMBERS)
def test_fused_rows_are_those_of_the_reference(member, dtype):
    fingerprint = fused(member)
    if dtype == torch.float32 and "float32" in fingerprint.exempt:
        pytest.skip(f"exempt: {fingerprint.exempt['float32']}")
    graph = GraphBatch.from_crystals(crystals(fingerprint), fingerprint.cutoff + 0.7, dtype)
    with torch.no_grad():
        wanted, found = fingerprint.reference(graph), fingerprint(graph)
    assert found.shape == wanted.shape
    assert found.dtype == dtype
    assert columns_differ(found, wanted) < TOLERANCE[dtype]


@pytest.mark.parametrize("more", [0.0, 0.7], ids=["own cutoff", "larger graph"])
@pytest.mark.parametrize("member", MEMBERS)
def test_fused_gradients_are_those_of_the_reference(member, more):
    fingerprint = fused(member)
    if not fingerprint.kernel.has_gradient:
        pytest.skip("this kernel has no gradient")
    if any(p.requires_grad for p in fingerprint.parameters()):
        pytest.skip("learnable weights have the reference only")
    reach = fingerprint.cutoff + more
    graph = GraphBatch.from_crystals(crystals(fingerprint), reach, torch.float64)
    graph = graph.with_geometry(graph.positions.requires_grad_(), graph.cells.requires_grad_())
    inputs = [graph.positions, graph.cells]
    rows = fingerprint.reference(graph)
    weights = torch.randn(rows.shape, dtype=rows.dtype, generator=torch.Generator().manual_seed(1))
    size = rows.detach().abs().amax(0)
    weights = weights / torch.maximum(size, 1e-9 * size.amax())
    wanted = torch.autograd.grad((rows * weights).sum(), inputs, retain_graph=True)
    found = torch.autograd.grad((fingerprint(graph) * weights).sum(), inputs)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() <= 1e-7 * other.abs().max()


@pytest.mark.parametrize("member", MEMBERS)
def test_threads_do_not_change_a_bit(member):
    fingerprint = fused(member)
    graph = GraphBatch.from_crystals(crystals(fingerprint), fingerprint.cutoff, torch.float64)
    before = torch.get_num_threads()
    try:
        rows = []
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            with torch.no_grad():
                rows.append(fingerprint(graph))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(rows[0], rows[1])


@pytest.mark.parametrize("element", ["many", "one"])
@pytest.mark.parametrize("member", MEMBERS)
def test_kernels_leave_out_what_lies_beyond_their_cutoff(member, element):
    fingerprint = fused(member)
    given = crystals(fingerprint)
    if element == "one":
        given = [replace(c, numbers=np.full_like(c.numbers, 14)) for c in given]
    rows = []
    for more in (0.0, 1.3):
        graph = GraphBatch.from_crystals(given, fingerprint.cutoff + more, torch.float64)
        rows.append(fingerprint.kernel.rows(block_of_graph(graph, graph.edge_vectors)))
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-9, atol=1e-12 * np.abs(rows[0]).max())


@pytest.mark.parametrize("path", ["reference", "fused"])
def test_a_graph_that_does_not_reach_so_far_is_refused(path):
    fingerprint = MEMBERS["ead"].build()
    fingerprint.path = path
    graph = GraphBatch.from_crystals(crystals()[:2], fingerprint.cutoff - 0.5)
    with pytest.raises(ValueError, match="build it at the largest cutoff"):
        fingerprint(graph)


def test_fingerprints_of_one_graph_share_its_edges_and_nothing_else():
    graph = GraphBatch.from_crystals(crystals(), 6.0, torch.float64)
    short, long = SOAP(cutoff=5.0, cutoff_function="cosine", channels=("one",)), EAD(cutoff=6.0)
    alone = [one(replace(graph)) for one in (short, long)]
    together = [one(graph) for one in (short, long, short)]
    for found, wanted in zip(together, [*alone, alone[0]], strict=True):
        assert torch.equal(found, wanted)
    moved = graph.with_geometry(graph.positions * 1.01, graph.cells * 1.01)
    assert not torch.equal(long(moved), alone[1])


def test_a_path_that_cannot_be_taken_is_refused_with_the_reason():
    learnable = MEMBERS["ead-learnable"].build()
    learnable.path = "fused"
    graph = GraphBatch.from_crystals(crystals()[:1], learnable.cutoff)
    with pytest.raises(UsageError, match="no fused kernel"):
        learnable(graph)


def test_second_derivatives_go_through_the_fused_path_too():
    fingerprint = MEMBERS["ead"].build()
    slopes = []
    for path in ("fused", "reference"):
        fingerprint.path = path
        graph = GraphBatch.from_crystals(crystals()[:3], fingerprint.cutoff, torch.float64)
        graph = graph.with_geometry(graph.positions.requires_grad_(), graph.cells.requires_grad_())
        inputs = [graph.positions, graph.cells]
        rows = fingerprint(graph)
        (slope,) = torch.autograd.grad((rows**2).sum(), graph.positions, create_graph=True)
        slopes.append(torch.autograd.grad((slope**3).sum(), inputs))
    for one, other in zip(*slopes, strict=True):
        assert (one - other).abs().max() <= 1e-7 * other.abs().max()


HARD = (
    "rdf", "adf", "adf-histogram", "soap-taper-cross", "soap-featomic", "ead", "wacsf",
    "acsf", "gmp", "local-properties", "mbtr-pairs", "lmbtr-cosines",
    "valle-oganov",
)  # fmt: skip
"""One member of every kernel, and of those that have none."""


@st.composite
def hard_cells(draw):
    """Crystals nobody would choose: nearly flat, long, skewed, atoms far outside the cell."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_atoms = draw(st.integers(1, 5))
    edge = draw(st.floats(2.2, 4.5))
    cell = np.eye(3) * edge + rng.normal(scale=0.25, size=(3, 3))
    cell[draw(st.integers(0, 2))] *= draw(st.sampled_from([0.25, 0.6, 1.0, 5.0]))
    for _ in range(draw(st.integers(0, 3))):
        i, j = rng.permutation(3)[:2]
        cell[i] += draw(st.integers(-3, 3)) * cell[j]
    sites = rng.uniform(-2, 3, size=(n_atoms, 3))
    return Crystal.make("hard", rng.integers(1, 90, n_atoms), cell, frac=sites)


@pytest.mark.parametrize("member", HARD)
@settings(deadline=None, max_examples=15)
@given(hard_cells(), st.integers(-2, 2), st.integers(0, 2))
def test_hard_cells_on_every_path_and_in_another_lattice(member, crystal, times, axis):
    fingerprint = built(member)
    fingerprint.path = "auto"
    other = crystal.cell.copy()
    other[axis] += times * other[(axis + 1) % 3]
    again = Crystal.make("again", crystal.numbers, other, positions=crystal.positions)
    with torch.no_grad():
        rows = []
        for one in (crystal, again):
            graph = GraphBatch.from_crystals([one], fingerprint.cutoff, torch.float64)
            rows += [fingerprint.reference(graph), fingerprint(graph)]
    assert torch.isfinite(rows[0]).all()
    # A distance or an angle of symmetry may lie on the edge of a hard bin.
    total = [r.sum(1) if "histogram" in member else r for r in rows]
    scale = max(float(total[0].abs().max()), 1e-9)
    for one in total[1:]:
        assert (one - total[0]).abs().max() <= 1e-9 * scale
