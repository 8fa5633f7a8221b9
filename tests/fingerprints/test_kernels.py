"""The parts of the fused kernels, each against a few lines of NumPy."""

import numpy as np
import pytest
import torch

from atomprint.fingerprints import EAD
from atomprint.fingerprints.harmonics import solid_harmonics
from atomprint.fingerprints.kernels import quadratic_loops as loops
from atomprint.fingerprints.kernels.edges import EdgeBlock
from atomprint.fingerprints.kernels.expansion import hermite_table
from atomprint.fingerprints.kernels.quadratic import (
    QuadraticKernel,
    _coarsen,
    _harmonic_slopes,
    _Precision,
    _recurrence,
)
from atomprint.fingerprints.kernels.tiles import BATCH, add_outer, add_outer_cubic
from atomprint.ground.threads import over_rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 5, 8, 13, 14, 25, 40])
@pytest.mark.parametrize("count", [0, 1, 3, 7, 61])
def test_tiles_add_outer_products(dtype, n_rows, count):
    rng = np.random.default_rng(n_rows + 100 * count)
    left = rng.normal(size=(n_rows, 80)).astype(dtype)
    right = rng.normal(size=(70, 24)).astype(dtype)
    out = rng.normal(size=(n_rows, 16)).astype(dtype)
    wanted = out.copy()
    wanted[:, 8:] += left[:, 2 : 2 + count] @ right[4 : 4 + count, 16:]
    flat = out.ravel()
    add_outer(
        n_rows, left.ravel(), 2, 80, 1, right.ravel(), 4 * 24 + 16, 24, count, flat, 8, 16
    )  # fmt: skip
    np.testing.assert_allclose(out, wanted, rtol=3e-5 if dtype == np.float32 else 1e-12, atol=1e-5)


@pytest.mark.parametrize("n_rows", [1, 3, 7, 13, 17])
def test_tiles_read_cubics_on_the_way(n_rows):
    rng = np.random.default_rng(n_rows)
    count, width = 37, 16
    left = rng.normal(size=(n_rows, BATCH))
    table = rng.normal(size=(9, 4, width))
    cell, place = rng.integers(0, 9, 50), rng.uniform(size=50)
    out = np.zeros((n_rows, 8))
    add_outer_cubic(
        n_rows, left.ravel(), 0, table.ravel(), cell * 4 * width, place, 5, 8, width, count,
        out.ravel(), 0, 8,
    )  # fmt: skip
    powers = place[5 : 5 + count, None] ** np.arange(4)
    right = np.einsum("jk,jkn->jn", powers, table[cell[5 : 5 + count], :, 8:])
    np.testing.assert_allclose(out, left[:, :count] @ right, atol=1e-12)


@pytest.mark.parametrize("l_max", [0, 1, 2, 6, 12])
def test_harmonics_and_their_slopes_are_those_of_the_reference(l_max):
    vectors = torch.randn(23, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    units = (vectors / vectors.norm(dim=1, keepdim=True)).requires_grad_()
    wanted = solid_harmonics(units, l_max)
    x, y, z = (np.pad(c, (0, 8)) for c in units.detach().numpy().T)
    out = np.zeros((l_max + 1) ** 2 * BATCH)
    loops.fill_harmonics(x, y, z, 0, 23, l_max, *_recurrence(l_max), out)
    found = out.reshape(-1, BATCH)[:, :23]
    np.testing.assert_allclose(found.T, wanted.detach().numpy(), atol=1e-13)
    row, of, factor = _harmonic_slopes(l_max)
    slopes = np.zeros((3, *found.shape))
    for axis in range(3):
        np.add.at(slopes[axis], row[axis], factor[axis][:, None] * found[of[axis]])
    for k in range(1, (l_max + 1) ** 2):
        (gradient,) = torch.autograd.grad(wanted[:, k].sum(), units, retain_graph=True)
        np.testing.assert_allclose(slopes[:, k], gradient.T.numpy(), atol=1e-11)


@pytest.mark.parametrize("n_terms", [4, 6])
def test_coarser_tables_keep_their_precision(n_terms):
    """Values and slopes, everywhere and not at nodes only."""
    r = np.linspace(0, 6, 2049)[:, None]
    centers = np.linspace(1, 5, 7)
    value = np.exp(-2 * (r - centers) ** 2)
    table = hermite_table(0.0, 6 / 2048, value, -4 * (r - centers) * value)
    sizes = []
    for tolerance in (1e-11, 1e-7, 1e-4):
        wanted = _Precision(n_terms, tolerance, 30 * tolerance)
        joined, step = _coarsen(table.coefficients, table.step, wanted)
        assert joined.shape[1] * step == pytest.approx(6)
        assert joined.shape[2] == n_terms
        sizes.append(joined.shape[1])
        at = np.random.default_rng(0).uniform(0, 6, 500)
        cell = np.minimum((at / step).astype(int), joined.shape[1] - 1)
        t, powers = at / step - cell, np.arange(n_terms)[:, None]
        found = np.einsum("kj,jkn->jn", t**powers, joined[0, cell])
        slope = np.einsum("kj,jkn->jn", powers * t ** np.maximum(powers - 1, 0), joined[0, cell])
        gap = at[:, None] - centers
        exact = np.exp(-2 * gap**2)
        # What the given table itself is off comes on top.
        assert np.abs(found - exact).max() < 2 * tolerance + 2e-11
        assert np.abs(slope / step + 4 * gap * exact).max() < 150 * tolerance + 5e-8
    assert sizes[0] >= sizes[1] > sizes[2]


def test_threads_share_all_centers_once():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 40, 57)
    first = np.concatenate([[0], np.cumsum(counts)])
    block = EdgeBlock(
        numbers=np.ones(57, np.int64), first=first, neighbor_numbers=np.ones(first[-1], np.int64),
        vectors=np.ones((first[-1], 3)), cutoff=3.0, crystal_index=np.zeros(57, np.int64),
        composition=np.zeros((1, 119), np.int64), volumes=np.ones(1),
    )  # fmt: skip
    for n_threads in (1, 2, 3, 8):
        seen = np.zeros(57, int)

        def mark(start, stop, seen=seen):
            seen[start:stop] += 1

        over_rows(mark, block.first, n_threads)
        assert (seen == 1).all()


def test_an_error_in_a_thread_reaches_the_caller():
    first = np.arange(21)
    block = EdgeBlock(
        numbers=np.ones(20, np.int64), first=first, neighbor_numbers=np.ones(20, np.int64),
        vectors=np.ones((20, 3)), cutoff=3.0, crystal_index=np.zeros(20, np.int64),
        composition=np.zeros((1, 119), np.int64), volumes=np.ones(1),
    )  # fmt: skip

    def fail(start, stop):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        over_rows(fail, block.first, 2)


def test_an_empty_block_has_no_rows():
    kernel = EAD().kernel
    assert isinstance(kernel, QuadraticKernel)
    block = EdgeBlock(
        numbers=np.zeros(0, np.int64), first=np.zeros(1, np.int64),
        neighbor_numbers=np.zeros(0, np.int64), vectors=np.zeros((0, 3)), cutoff=6.0,
        crystal_index=np.zeros(0, np.int64), composition=np.zeros((0, 119), np.int64),
        volumes=np.zeros(0),
    )  # fmt: skip
    assert kernel.rows(block).shape == (0, EAD().n_features)
    assert kernel.gradient(block, np.zeros((0, EAD().n_features))).shape == (0, 3)
