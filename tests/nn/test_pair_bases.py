"""Radial bases of pairs, summed over images: the compiled loop, plain PyTorch, and the formula."""

import numpy as np
import pytest
import torch

from atomprint.nn.pair_bases import pair_bases
from atomprint.nn.radial import BesselBasis
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from atomprint.testing.fingerprints import sample_crystals

CUTOFF, N_RADIAL = 4.5, 5


def radial_functions():
    """Of float64: they are made in torch's default."""
    radial = BesselBasis(N_RADIAL, CUTOFF).double()
    radial.frequencies.copy_(torch.arange(1, N_RADIAL + 1, dtype=torch.float64) * np.pi / CUTOFF)
    return radial


def graph_of(crystals, dtype=torch.float64):
    return GraphBatch.from_crystals(crystals, CUTOFF, dtype)


def edge_by_edge(graph):
    """Sums of every ordered pair of atoms, by the formula."""
    sums = {}
    arrows, distances = graph.edge_vectors.numpy(), graph.distances.numpy()
    edges = zip(graph.center_index.tolist(), graph.neighbor_index.tolist(), strict=True)
    for (i, j), arrow, r in zip(edges, arrows, distances, strict=True):
        taper = 0.5 * (np.cos(np.pi * r / CUTOFF) + 1)
        orders = np.arange(1, N_RADIAL + 1)
        waves = np.sqrt(2 / CUTOFF) * np.sin(orders * np.pi * r / CUTOFF) / r
        basis = taper * np.append(waves, 1.0)
        row = basis[:, None] * np.append(1.0, arrow / r)
        sums[i, j] = sums.get((i, j), 0) + row
    return sums


@pytest.mark.parametrize("plain", [False, True], ids=["compiled", "plain"])
def test_bases_are_sums_over_images(plain):
    graph = graph_of(sample_crystals())
    wanted = edge_by_edge(graph)
    if plain:
        graph = graph.with_geometry(graph.positions.clone().requires_grad_())
    pairs, bases = pair_bases(graph, radial_functions(), CUTOFF)
    assert bases.requires_grad == plain
    found = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert found == sorted(found)
    assert set(found) == {(i, j) for i, j in wanted if i <= j}
    assert any(i == j for i, j in found)
    for (i, j), row in zip(found, bases.detach().numpy(), strict=True):
        np.testing.assert_allclose(row, wanted[i, j], rtol=0, atol=1e-12)
        # Seen from the other atom: the same functions, the opposite direction.
        np.testing.assert_allclose(row * [1, -1, -1, -1], wanted[j, i], rtol=0, atol=1e-12)


def test_float32_is_float64_rounded():
    fine = pair_bases(graph_of(sample_crystals()), radial_functions(), CUTOFF)[1]
    coarse = pair_bases(
        graph_of(sample_crystals(), torch.float32), BesselBasis(N_RADIAL, CUTOFF), CUTOFF
    )[1]
    assert coarse.dtype == torch.float32
    assert (coarse.double() - fine).abs().max() < 2e-6


def test_atoms_without_neighbors_have_no_pairs():
    alone = Crystal.make("lone", [26], 20 * np.eye(3), frac=[[0.1, 0.2, 0.3]])
    pairs, bases = pair_bases(graph_of([alone]), radial_functions(), CUTOFF)
    assert len(pairs.first) == len(pairs.second) == 0
    assert bases.shape == (0, N_RADIAL + 1, 4)
