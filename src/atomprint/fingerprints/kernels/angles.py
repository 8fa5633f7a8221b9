"""Fused kernel of the histogram of angles."""

import math

import numpy as np

from atomprint.fingerprints.kernels.base import FusedKernel
from atomprint.fingerprints.kernels.edges import EdgeBlock, Floats, Ints, rows_for
from atomprint.fingerprints.kernels.expansion import Float64s
from atomprint.ground.compiled import compiled
from atomprint.ground.threads import over_rows

# Cells of the table from cosines to bins: enough that few cells hold the edge of a bin.
_CELLS = 4096


class AngleHistogramKernel(FusedKernel):
    """Fused rows of :class:`~atomprint.fingerprints.adf.ADF` as a histogram.

    Neighbours are sorted by element, and every pair of elements has one histogram of the products
    of cutoff functions, whatever the number of channels. A bin is found from the cosine: a table
    gives the bin at a cell's upper end, and comparisons with the cosines of the edges do the rest,
    so that no arc cosine is taken and no angle falls in another bin than its own.

    Parameters
    ----------
    weights
        Element channels, ``(119, n_channels)``.
    n_bins
        Number of equal bins from 0 to π.
    cutoff
        In Å; farther neighbours are skipped.
    smooth
        Whether a neighbour's weight goes to 0 at the cutoff as a cosine.
    probability
        Whether a row is divided by its integral over radians.
    """

    def __init__(
        self, weights: Float64s, n_bins: int, cutoff: float, smooth: bool, probability: bool
    ) -> None:
        self.weights = np.ascontiguousarray(weights, dtype=np.float64)
        self.n_bins = n_bins
        self.cutoff = cutoff
        self.smooth = smooth
        self.probability = probability
        self.edges = np.cos(np.arange(n_bins + 1) * (math.pi / n_bins))
        if n_bins % 2 == 0:
            self.edges[n_bins // 2] = 0.0  # not 6e-17: right angles begin a bin
        self.edges[n_bins] = -2.0  # the last bin holds 180 degrees, and what rounding adds
        ends = -1 + (np.arange(_CELLS + 1) + 1) * (2 / _CELLS) + 1e-9
        self.bins = np.searchsorted(-self.edges, -ends, side="right").astype(np.int32) - 1
        self.bins = np.clip(self.bins, 0, n_bins - 1)

    def rows(self, block: EdgeBlock, n_threads: int = 1, out: Floats | None = None) -> Floats:
        """See :meth:`FusedKernel.rows`; columns are ``n_channels * n_bins``."""
        n_channels = self.weights.shape[1]
        out = rows_for(block, n_channels * self.n_bins, out)
        most = int((block.composition > 0).sum(1).max()) if len(block.composition) else 1

        def run(start: int, stop: int) -> None:
            _rows(
                start, stop, block.first, block.neighbor_numbers, block.vectors, self.weights,
                self.edges, self.bins, self.cutoff, self.smooth, self.probability, most, out,
            )  # fmt: skip

        over_rows(run, block.first, n_threads)
        return out


@compiled(error_model="numpy")
def _rows(
    start: int,
    stop: int,
    first: Ints,
    neighbor_numbers: Ints,
    vectors: Floats,
    weights: Float64s,
    edges: Float64s,
    bins: Ints,
    cutoff: float,
    smooth: bool,
    probability: bool,
    most: int,
    out: Floats,
) -> None:
    """Rows of the centres from start to stop; ``most`` elements in a crystal."""
    n_channels, n_bins = weights.shape[1], len(edges) - 1
    longest = 0
    for i in range(start, stop):
        longest = max(longest, first[i + 1] - first[i])
    scratch = np.empty((4, longest))
    kept = np.empty(longest, dtype=np.int64)
    lengths = np.empty(longest)
    cosines = np.empty(longest)
    sums = np.empty((most, most, n_bins))
    counts = np.zeros(119, dtype=np.int64)
    elements = np.empty(119, dtype=np.int64)
    ends = np.empty(120, dtype=np.int64)
    for i in range(start, stop):
        n, n_elements = 0, 0
        for e in range(first[i], first[i + 1]):
            x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
            r = np.sqrt(x * x + y * y + z * z)
            if r < cutoff:
                kept[n] = e
                lengths[n] = r
                n += 1
                element = neighbor_numbers[e]
                if counts[element] == 0:
                    elements[n_elements] = element
                    n_elements += 1
                counts[element] += 1
        # Sort by element; counts become the next place of each.
        place = 0
        for s in range(n_elements):
            size = counts[elements[s]]
            counts[elements[s]] = place
            place += size
            ends[s] = place
        for k in range(n):
            e, r = kept[k], lengths[k]
            j = counts[neighbor_numbers[e]]
            counts[neighbor_numbers[e]] = j + 1
            scratch[0, j], scratch[1, j] = vectors[e, 0] / r, vectors[e, 1] / r
            scratch[2, j] = vectors[e, 2] / r
            scratch[3, j] = 0.5 * (math.cos(math.pi / cutoff * r) + 1.0) if smooth else 1.0
        sums[:n_elements, :n_elements] = 0.0
        begin = 0
        for s in range(n_elements):
            for j in range(begin, ends[s]):
                lower = j + 1
                for t in range(s, n_elements):
                    _bin_pairs(scratch, j, lower, ends[t], edges, bins, cosines, sums[s, t])
                    lower = ends[t]
            begin = ends[s]
            counts[elements[s]] = 0
        for c in range(n_channels):
            row = out[i, c * n_bins : (c + 1) * n_bins]
            row[:] = 0
            total = 0.0
            for s in range(n_elements):
                for t in range(s, n_elements):
                    factor = weights[elements[s], c] * weights[elements[t], c]
                    for b in range(n_bins):
                        row[b] += factor * sums[s, t, b]
                        total += factor * sums[s, t, b]
            if probability and total > 0:
                for b in range(n_bins):
                    row[b] *= n_bins / (math.pi * total)


@compiled(error_model="numpy")
def _bin_pairs(
    scratch: Float64s,
    j: int,
    start: int,
    stop: int,
    edges: Float64s,
    bins: Ints,
    cosines: Float64s,
    sums: Float64s,
) -> None:
    """Add the angles between neighbour j and those from start to stop to a histogram."""
    x, y, z, height = scratch[0, j], scratch[1, j], scratch[2, j], scratch[3, j]
    half = 0.5 * (len(bins) - 1)
    # Two loops: the first works on vectors of numbers, which scattered sums would prevent.
    for k in range(start, stop):
        cosines[k] = x * scratch[0, k] + y * scratch[1, k] + z * scratch[2, k]
    last = len(bins) - 1
    for k in range(start, stop):
        cosine = cosines[k]
        b = bins[max(0, min(last, int((cosine + 1.0) * half)))]
        while cosine <= edges[b + 1]:
            b += 1
        sums[b] += height * scratch[3, k]
