"""The neighbour search against an independent program, and where it is hardest."""

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from vesin import NeighborList

from atomprint.structures.search import search


def by_vesin(positions, cell, cutoff):
    """Edges of one crystal in our order: (center, neighbor, shift) rows and vectors."""
    center, neighbor, shifts, vectors, distances = NeighborList(
        cutoff=cutoff, full_list=True, n_threads=1
    ).compute(positions, cell, True, quantities="ijSDd")
    inside = distances < cutoff
    rows = np.column_stack([center, neighbor, shifts])[inside].astype(np.int64)
    order = np.lexsort(rows.T[::-1])
    return rows[order], vectors[inside][order]


def by_us(positions, cell, cutoff):
    found = search(positions, cell[None], np.array([0, len(positions)]), cutoff)
    center = np.repeat(np.arange(len(positions)), np.diff(found.first))
    return np.column_stack([center, found.neighbor_index, found.shifts]), found.vectors


def same(positions, cell, cutoff):
    rows, vectors = by_us(positions, cell, cutoff)
    wanted, wanted_vectors = by_vesin(positions, cell, cutoff)
    np.testing.assert_array_equal(rows, wanted)
    np.testing.assert_allclose(vectors, wanted_vectors, atol=1e-10)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.floats(1.0, 7.0),
    st.sampled_from(["plain", "flat", "needle", "skewed"]),
)
def test_same_edges_as_vesin_in_any_cell(seed, n_atoms, cutoff, shape):
    rng = np.random.default_rng(seed)
    cell = rng.normal(size=(3, 3)) + 3 * np.eye(3)
    if shape == "flat":
        cell[2] *= 0.3
    elif shape == "needle":
        cell[0] *= 12
    elif shape == "skewed":
        cell[1] += rng.integers(-6, 7) * cell[0]
        cell[2] += rng.integers(-6, 7) * cell[1]
    # vesin does not say what it does with cells that are thinner than about a tenth of an Å.
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    if heights.min() < 0.4:
        return
    positions = rng.uniform(-1.5, 2.5, (n_atoms, 3)) @ cell
    same(positions, cell, cutoff)


@pytest.mark.parametrize("repeat", [(7, 6, 8), (30, 3, 3), (1, 20, 18), (2, 11, 12)])
def test_large_crystals_have_the_same_edges(repeat):
    atoms = bulk("NaCl", "rocksalt", a=5.64).repeat(repeat)
    assert len(atoms) >= 256  # below, there are no bins
    atoms.rattle(0.1, seed=1)
    same(atoms.positions, atoms.cell.array, 4.5)


def test_a_run_of_centers_is_a_part_of_the_whole():
    rng = np.random.default_rng(3)
    sizes = np.array([3, 300, 1, 7])
    cells = np.stack([np.eye(3) * (4 + n ** (1 / 3) * 2) for n in sizes])
    first_atom = np.concatenate([[0], np.cumsum(sizes)])
    positions = np.concatenate(
        [rng.uniform(size=(n, 3)) @ c for n, c in zip(sizes, cells, strict=True)]
    )
    whole = search(positions, cells, first_atom, 5.0)
    for start, stop in ((0, 1), (2, 5), (100, 304), (303, 311), (5, 5)):
        part = search(positions, cells, first_atom, 5.0, start=start, stop=stop)
        edges = slice(whole.first[start], whole.first[stop])
        np.testing.assert_array_equal(part.first, whole.first[start : stop + 1] - edges.start)
        np.testing.assert_array_equal(part.neighbor_index, whole.neighbor_index[edges])
        np.testing.assert_array_equal(part.vectors, whole.vectors[edges])


def test_the_cutoff_itself_is_left_out_and_no_atom_is_its_own_neighbor():
    cube = np.eye(3) * 2.5
    rows, _ = by_us(np.zeros((1, 3)), cube, 2.5)
    assert len(rows) == 0
    rows, vectors = by_us(np.zeros((1, 3)), cube, 2.5 + 1e-9)
    assert len(rows) == 6
    assert np.abs(vectors).sum(1) == pytest.approx(2.5)


def test_a_dense_slab_in_a_large_box_has_more_edges_than_the_density_says():
    grid = np.stack(np.meshgrid(*[np.arange(8) * 1.5] * 2, [0.0, 1.5]), axis=-1).reshape(-1, 3)
    same(grid, np.diag([12.0, 12.0, 200.0]), 5.0)


def test_vectors_come_in_the_type_asked_for_and_shifts_can_be_left_out():
    found = search(
        np.zeros((1, 3)), np.eye(3)[None] * 3, np.array([0, 1]), 4.0, dtype=np.float32,
        with_shifts=False,
    )  # fmt: skip
    assert found.vectors.dtype == np.float32
    assert found.shifts.shape == (0, 3)
    assert len(found.vectors) == found.first[-1] == 6
