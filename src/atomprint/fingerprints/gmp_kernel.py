"""The fused kernel of Gaussian multipoles: tables for the elements that come."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atomprint.fingerprints.gmp import multipole_factor
from atomprint.fingerprints.kernels.base import FusedKernel
from atomprint.fingerprints.kernels.edges import EdgeBlock, Floats
from atomprint.fingerprints.kernels.expansion import (
    LINEAR,
    Expansion,
    Float64s,
    Products,
    RadialTable,
    hermite_table,
)
from atomprint.fingerprints.kernels.quadratic import QuadraticKernel
from atomprint.ground.elements import MAX_Z

if TYPE_CHECKING:
    from atomprint.fingerprints.gmp import GMP

# Intervals of the tables, which the kernel joins two by two to quintics in float64: errors of 2e-11
# and 1e-6 of a column's largest value (tests measure).
_N_INTERVALS = {np.dtype(np.float64): 1024, np.dtype(np.float32): 256}
# From so many elements on, all are tabulated at once.
_MANY_ELEMENTS = 8


class GMPKernel(FusedKernel):
    """Fused rows and gradients of :class:`GMP`.

    Every element has its own radial functions. In float32 all elements are tabulated at once
    (20 MB with the default settings); in float64 (160 MB for all) only those that come, as long as
    they are few.

    Parameters
    ----------
    fingerprint
        Whose rows to compute.
    """

    has_gradient = True

    def __init__(self, fingerprint: "GMP") -> None:
        self.fingerprint = fingerprint
        self._soft = fingerprint.settings.softening
        orders = fingerprint.settings.orders
        # The density, of order -1, comes first and is no length.
        self._squared = slice(1 if orders[0] == -1 else 0, None)
        self._made: dict[Any, tuple[frozenset[int], QuadraticKernel]] = {}

    def rows(self, block: EdgeBlock, n_threads: int = 1, out: Floats | None = None) -> Floats:
        """See :meth:`FusedKernel.rows`.

        Raises
        ------
        UsageError
            If an element has no Gaussians.
        """
        values = self._kernel_of(block).rows(block, n_threads, out)
        if not self.fingerprint.settings.square:
            lengths = values[:, self._squared]
            roots = np.sqrt(lengths + self._soft**2)
            values[:, self._squared] = _over(lengths, roots + self._soft)
        return values

    def gradient(self, block: EdgeBlock, row_gradients: Floats, n_threads: int = 1) -> Floats:
        """Pull a gradient back to the edge vectors, see :meth:`FusedKernel.gradient`.

        The squares are computed once more: they are not kept between the two calls.
        """
        kernel = self._kernel_of(block)
        given = row_gradients.astype(block.vectors.dtype)
        if not self.fingerprint.settings.square:
            lengths = kernel.rows(block, n_threads)[:, self._squared]
            roots = np.sqrt(lengths + self._soft**2)
            given[:, self._squared] = _over(given[:, self._squared], 2 * roots)
        return kernel.gradient(block, given, n_threads)

    def _kernel_of(self, block: EdgeBlock) -> QuadraticKernel:
        """The kernel with tables of all elements of a block, and of those that came before."""
        seen = np.bincount(block.neighbor_numbers, minlength=MAX_Z + 1)
        seen += np.bincount(block.numbers, minlength=MAX_Z + 1)
        present = np.flatnonzero(seen)
        dtype = block.vectors.dtype
        made, kernel = self._made.get(dtype, (frozenset[int](), None))
        if kernel is None or not made.issuperset(present.tolist()):
            known = self.fingerprint.gaussians.known
            self.fingerprint.refuse_unknown(torch.from_numpy(present).to(self._device))
            made = made.union(present.tolist())
            if dtype == np.float32 or len(made) >= _MANY_ELEMENTS:
                made = frozenset(np.flatnonzero(known).tolist())
            kernel = QuadraticKernel(expansion(self.fingerprint, sorted(made), _N_INTERVALS[dtype]))
            self._made[dtype] = made, kernel
        return kernel

    @property
    def _device(self) -> torch.device:
        return self.fingerprint.known.device


def _over(above: Floats, below: Floats) -> Floats:
    """Quotient, 0 where the denominator is."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def expansion(fingerprint: "GMP", elements: list[int], n_intervals: int) -> Expansion:
    """The expansion whose squares the columns are: a table per element, a block per order.

    Parameters
    ----------
    fingerprint
        What to compute.
    elements
        Atomic numbers that are tabulated; others must not come.
    n_intervals
        Intervals of the tables, about.
    """
    blocks = fingerprint.blocks
    n_radial = max(len(sigmas) for _, sigmas in blocks)
    table_of_element = np.zeros(MAX_Z + 1, dtype=np.int64)
    table_of_element[elements] = np.arange(len(elements))
    center = np.zeros((len(elements), len(blocks), n_radial))
    for b, (degree, sigmas) in enumerate(blocks):
        for n, sigma in enumerate(sigmas):
            if degree == 0:
                size, _ = fingerprint.gaussians.probed(sigma, 0)
                center[:, b, n] = size[elements].sum(-1) / math.sqrt(4 * math.pi)
    pairs = [(b, n) for b, (_, sigmas) in enumerate(blocks) for n in range(len(sigmas))]
    block, left = np.array(pairs, dtype=np.int64).T
    factor = np.array([multipole_factor(blocks[b][0]) for b in block])
    right = left.copy()
    if fingerprint.settings.orders[0] == -1 and not fingerprint.settings.square:
        right[0], factor[0] = LINEAR, math.sqrt(4 * math.pi)
    present = np.zeros((MAX_Z + 1, 1))
    present[elements] = 1.0
    return Expansion(
        cutoff=fingerprint.cutoff,
        table=_table(fingerprint, elements, n_intervals, n_radial),
        table_of_element=table_of_element,
        weights=present,
        n_radial=n_radial,
        degrees=np.array([degree for degree, _ in blocks], dtype=np.int64),
        columns=np.arange(len(blocks), dtype=np.int64) * n_radial,
        center_weights=present,
        center=center,
        products=Products(block, left, right, factor),
    )


def _table(fingerprint: "GMP", elements: list[int], n_intervals: int, n_radial: int) -> RadialTable:
    """Tabulate ``f_c(r) Σ_g C_g r^l exp(-γ_g r²)``, zero in columns that a block does not use."""
    cutoff, width = fingerprint.cutoff, fingerprint.settings.taper
    if width is None:
        start, step, n_nodes = 0.0, cutoff / n_intervals, n_intervals + 1
    else:
        # Where the taper begins is a node, and so is the cutoff; the first may lie below 0. The
        # numbers of intervals are multiples of 8, so that the kernel can join some.
        step = width / (8 * math.ceil(n_intervals * width / cutoff / 8))
        n_nodes = 8 * math.ceil(cutoff / step / 8 - 1e-9) + 1
        start = cutoff - (n_nodes - 1) * step
    r = start + step * np.arange(n_nodes)
    part = np.zeros_like(r) if width is None else np.maximum((r - (cutoff - width)) / width, 0)
    fade = 0.5 * (np.cos(np.pi * part) + 1)
    fade_slope = -0.5 * np.pi * np.sin(np.pi * part) / (width or 1.0)
    shape = (len(elements), n_nodes, len(fingerprint.blocks) * n_radial)
    values, slopes = np.zeros(shape), np.zeros(shape)
    for b, (degree, sigmas) in enumerate(fingerprint.blocks):
        power = r**degree
        power_slope = degree * r ** max(degree - 1, 0)
        for n, sigma in enumerate(sigmas):
            size, decay = fingerprint.gaussians.probed(sigma, degree)
            for k, z in enumerate(elements):
                terms = size[z] * np.exp(-np.multiply.outer(r**2, decay[z]))
                plain: Float64s = terms.sum(-1)
                slope = -2 * r * (terms @ decay[z])
                values[k, :, b * n_radial + n] = power * plain * fade
                slopes[k, :, b * n_radial + n] = (
                    power_slope * plain + power * slope
                ) * fade + power * plain * fade_slope
    return hermite_table(start, step, values, slopes)
