"""Neighbours and graphs: complete against brute force, and conventions as stated."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from atomprint.structures.neighbors import find_neighbors
from tests.toy import toy_crystals


def brute_force(crystal: Crystal, cutoff: float) -> list[tuple[int, int, int, int, int]]:
    """Every (i, j, S) with 0 < r < cutoff, over more images than can matter."""
    heights = crystal.volume / np.linalg.norm(
        np.cross(np.roll(crystal.cell, -1, axis=0), np.roll(crystal.cell, -2, axis=0)), axis=1
    )
    spread = np.ptp(crystal.frac, axis=0)
    reach = np.ceil(cutoff / heights + spread).astype(int) + 1
    found = []
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        translation = np.array(shift) @ crystal.cell
        delta = crystal.positions[None] + translation - crystal.positions[:, None]
        r = np.linalg.norm(delta, axis=-1)
        for i, j in zip(*np.nonzero((r < cutoff) & (r > 1e-6)), strict=True):
            found.append((int(i), int(j), *shift))
    return sorted(found)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n_atoms=st.integers(1, 4), cutoff=st.floats(1.0, 7.0))
def test_neighbours_equal_brute_force_in_skewed_cells(seed, n_atoms, cutoff):
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(2.0, 5.0, 3)) + rng.uniform(-1.5, 1.5, (3, 3)) * (1 - np.eye(3))
    if abs(np.linalg.det(cell)) < 8:
        return
    # Atoms far outside the cell count as well.
    frac = rng.uniform(-2.0, 3.0, (n_atoms, 3))
    crystal = Crystal.make("x", [6] * n_atoms, cell, frac=frac)
    found = find_neighbors(crystal.positions, crystal.cell, cutoff)
    rows = np.column_stack([found.center_index, found.neighbor_index, found.shifts])
    assert sorted(map(tuple, rows.tolist())) == brute_force(crystal, cutoff)


def test_the_cutoff_is_strict():
    crystal = Crystal.make("sc", [29], np.eye(3) * 2.5, frac=[[0, 0, 0]])
    assert len(find_neighbors(crystal.positions, crystal.cell, 2.5).center_index) == 0
    assert len(find_neighbors(crystal.positions, crystal.cell, 2.5 + 1e-9).center_index) == 6


def test_edges_are_sorted_and_vectors_point_to_the_neighbour():
    crystals = toy_crystals(4)
    graph = GraphBatch.from_crystals(crystals, 5.0, torch.float64)
    key = graph.center_index * graph.n_atoms + graph.neighbor_index
    assert (key.diff() >= 0).all()
    assert (
        graph.crystal_index[graph.center_index] == graph.crystal_index[graph.neighbor_index]
    ).all()
    assert float(graph.distances.max()) < 5.0
    # Every edge has its mirror image: full lists.
    total = torch.zeros(3, dtype=torch.float64).add(graph.edge_vectors.sum(0))
    torch.testing.assert_close(total, torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_pairs_fold_all_images_of_a_neighbour():
    graph = GraphBatch.from_crystals(toy_crystals(3), 6.0)
    index, center, neighbor = graph.pairs
    assert torch.equal(center[index], graph.center_index)
    assert torch.equal(neighbor[index], graph.neighbor_index)
    pairs = set(zip(center.tolist(), neighbor.tolist(), strict=True))
    assert len(pairs) == len(center) < graph.n_edges


def test_within_is_the_graph_of_the_smaller_cutoff():
    crystals = toy_crystals(3)
    small = GraphBatch.from_crystals(crystals, 4.0)
    part = GraphBatch.from_crystals(crystals, 6.0).within(4.0)
    for name in ("center_index", "neighbor_index"):
        assert torch.equal(getattr(part, name), getattr(small, name))
    torch.testing.assert_close(part.distances.sort()[0], small.distances.sort()[0])
    with pytest.raises(ValueError, match=r"built at 4\.0 Å"):
        small.within(6.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vectors_are_the_same_with_and_without_a_gradient(dtype):
    """A compiled loop makes them where no gradient can be wanted, PyTorch where one can."""
    graph = GraphBatch.from_crystals(toy_crystals(3), 5.0, dtype)
    moved = graph.with_geometry(graph.positions + 0.1, graph.cells * 1.01)
    for one in (graph, moved):
        asked = one.with_geometry(one.positions.clone().requires_grad_())
        assert asked.edge_vectors.requires_grad
        assert asked.distances.requires_grad
        assert not one.edge_vectors.requires_grad
        for name in ("edge_vectors", "distances"):
            plain, fast = getattr(asked, name).detach(), getattr(one, name)
            assert fast.dtype == dtype
            # Ten roundings of coordinates of about 10 Å.
            limit = 100 * torch.finfo(dtype).eps
            torch.testing.assert_close(fast, plain, rtol=0, atol=limit)
    # Cells alone may ask for one, too.
    strained = graph.with_geometry(graph.positions, graph.cells.clone().requires_grad_())
    assert strained.distances.requires_grad


@pytest.mark.parametrize("gradient", [False, True])
def test_distances_are_of_vectors_that_were_handed_over(gradient):
    """As for second derivatives, where vectors have a gradient and positions are known no more."""
    graph = GraphBatch.from_crystals(toy_crystals(1), 5.0, torch.float64)
    other = replace(graph)
    other.__dict__["edge_vectors"] = (2 * graph.edge_vectors).requires_grad_(gradient)
    torch.testing.assert_close(other.distances.detach(), 2 * graph.distances)
    assert other.distances.requires_grad == gradient


def test_a_float_type_without_a_compiled_loop_is_served():
    graph = GraphBatch.from_crystals(toy_crystals(3), 5.0)
    half = graph.to(dtype=torch.bfloat16)
    assert half.distances.dtype == torch.bfloat16
    assert (half.distances.float() - graph.distances).abs().max() < 0.3


def test_far_away_coordinates_cost_no_digits():
    crystal = toy_crystals(1)[0]
    far = crystal.with_geometry(crystal.positions + 4000 * crystal.cell.sum(0), crystal.cell)
    near, moved = (GraphBatch.from_crystals([c], 5.0) for c in (crystal, far))
    torch.testing.assert_close(near.distances, moved.distances, rtol=1e-6, atol=1e-6)


def test_other_elements_share_the_geometry():
    """What was computed of distances is not computed again, and nothing else changes."""
    graph = GraphBatch.from_crystals(toy_crystals(3), 4.0)
    computed = {name: getattr(graph, name) for name in ("edge_vectors", "distances", "volumes")}
    pairs = graph.pairs
    numbers = graph.numbers + 1
    other = graph.with_numbers(numbers)
    assert torch.equal(other.numbers, graph.numbers + 1)
    assert other.numbers is numbers
    for name, value in computed.items():
        assert getattr(other, name) is value
    assert other.pairs is pairs
    for name in ("positions", "cells", "crystal_index", "center_index", "neighbor_index", "shifts"):
        assert getattr(other, name) is getattr(graph, name)
    assert (other.cutoff, other.ids) == (graph.cutoff, graph.ids)
    # Before anything was computed, it is computed where it is asked for.
    fresh = GraphBatch.from_crystals(toy_crystals(3), 4.0)
    torch.testing.assert_close(fresh.with_numbers(numbers).distances, graph.distances)
    # Other positions share none of it.
    moved = other.with_geometry(2 * graph.positions, 2 * graph.cells)
    torch.testing.assert_close(moved.distances, 2 * graph.distances)
