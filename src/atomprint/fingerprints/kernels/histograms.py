"""Fused kernel of the radial distribution function: hard and smeared bins."""

import math

import numpy as np

from atomprint.fingerprints.kernels.base import FusedKernel
from atomprint.fingerprints.kernels.edges import EdgeBlock, Floats, Ints, rows_for
from atomprint.fingerprints.kernels.expansion import Float64s
from atomprint.ground.compiled import compiled
from atomprint.ground.threads import over_rows
from atomprint.ground.vectors import LANES, fma, load, spread, store

# A Gaussian is followed this many widths: beyond, e^(-x²/2) is below 1e-24, and below 1e-10 in
# float32. Bins at short distance are divided by small shells and need more than the float's own.
_REACH = {np.dtype(np.float64): 10.6, np.dtype(np.float32): 7.0}


class RDFKernel(FusedKernel):
    """Fused rows of :class:`~atomprint.fingerprints.rdf.RDF`, and gradients of smeared bins.

    An atom's neighbours of one element make one histogram, whatever the number of channels: the
    channels' weights are the same for all of them and are multiplied in afterwards. The Gaussian
    of a neighbour over equally spaced bins is a geometric progression times a table:
    ``exp(-(t - k h)²/2) = exp(-t²/2) (exp(t h))^k exp(-(k h)²/2)``.

    Parameters
    ----------
    weights
        Element channels, ``(119, n_channels)``.
    n_bins, r_max
        Number of equal bins from 0 to r_max (Å).
    smearing
        Width of the Gaussians in Å; None for hard bins.
    cutoff
        In Å; farther neighbours are skipped.
    smooth
        Whether a neighbour's weight goes to 0 at the cutoff as a cosine.
    divide_by_mean
        Whether channels are divided by their mean in the crystal.
    density
        Whether counts are divided by the density and the shells' volumes.
    """

    def __init__(
        self,
        weights: Float64s,
        n_bins: int,
        r_max: float,
        smearing: float | None,
        cutoff: float,
        smooth: bool,
        divide_by_mean: bool,
        density: bool,
    ) -> None:
        self.has_gradient = smearing is not None
        self.weights = np.ascontiguousarray(weights, dtype=np.float64)
        self.n_bins = n_bins
        self.width = r_max / n_bins
        self.smearing = smearing
        self.cutoff = cutoff
        self.smooth = smooth
        self.divide_by_mean = divide_by_mean
        self.density = density
        edges = np.arange(n_bins + 1) * self.width
        self.shells = 4 * math.pi / 3 * (edges[1:] ** 3 - edges[:-1] ** 3)

    def _factors(self, block: EdgeBlock) -> tuple[Float64s, Float64s]:
        """Per crystal: what channels and what bins are multiplied by."""
        n_crystals, n_channels = len(block.volumes), self.weights.shape[1]
        n_atoms = np.maximum(block.composition.sum(1), 1)[:, None]
        of_channel = np.ones((n_crystals, n_channels))
        if self.divide_by_mean:
            of_channel = (block.composition @ self.weights / n_atoms) ** -2.0
        of_bin = np.ones((n_crystals, self.n_bins))
        if self.density:
            of_bin = block.volumes[:, None] / n_atoms / self.shells
        return of_channel, of_bin

    def _decay(self, dtype: np.dtype[np.floating]) -> tuple[float, Float64s, int]:
        """Bin width in σ, ``height exp(-(k h)²/2)`` for k = 0, 1, ..., and bins of the pad."""
        assert self.smearing is not None
        hop = self.width / self.smearing
        # |t| <= h / 2, so bin k is nearer than (k - 1/2) h to the distance.
        reach = int(_REACH[np.dtype(dtype)] / hop + 0.5)
        height = hop / math.sqrt(2 * math.pi)
        decay = height * np.exp(-0.5 * (np.arange(reach + 1) * hop) ** 2)
        beyond = math.ceil((self.cutoff - self.width * self.n_bins) / self.width) + 1
        return hop, decay, max(beyond, 1)

    def rows(self, block: EdgeBlock, n_threads: int = 1, out: Floats | None = None) -> Floats:
        """See :meth:`FusedKernel.rows`; columns are ``n_channels * n_bins``."""
        dtype = block.vectors.dtype
        of_channel, of_bin = self._factors(block)
        out = rows_for(block, self.weights.shape[1] * self.n_bins, out)
        hop, decay, beyond = self._decay(dtype) if self.smearing else (0.0, np.zeros(1), 1)

        def run(start: int, stop: int) -> None:
            _rows(
                start, stop, block.numbers, block.first, block.neighbor_numbers, block.vectors,
                block.crystal_index, self.weights, of_channel, of_bin, dtype.type(self.width),
                self.cutoff, self.smooth, hop, decay, beyond, out,
            )  # fmt: skip

        over_rows(run, block.first, n_threads)
        return out

    def gradient(self, block: EdgeBlock, row_gradients: Floats, n_threads: int = 1) -> Floats:
        """See :meth:`FusedKernel.gradient`; volumes are constants here."""
        dtype = block.vectors.dtype
        of_channel, of_bin = self._factors(block)
        hop, decay, beyond = self._decay(dtype)
        given = np.ascontiguousarray(row_gradients, dtype=dtype)
        out = np.zeros((block.n_edges, 3), dtype=dtype)

        def run(start: int, stop: int) -> None:
            _gradient(
                start, stop, block.numbers, block.first, block.neighbor_numbers, block.vectors,
                block.crystal_index, self.weights, of_channel, of_bin, dtype.type(self.width),
                self.cutoff, self.smooth, hop, decay, beyond, given, out,
            )  # fmt: skip

        over_rows(run, block.first, n_threads)
        return out


@compiled(error_model="numpy")
def _rows(
    start: int,
    stop: int,
    numbers: Ints,
    first: Ints,
    neighbor_numbers: Ints,
    vectors: Floats,
    crystal_index: Ints,
    weights: Float64s,
    of_channel: Float64s,
    of_bin: Float64s,
    width: float,
    cutoff: float,
    smooth: bool,
    hop: float,
    decay: Float64s,
    beyond: int,
    out: Floats,
) -> None:
    """Rows of the centres from start to stop; ``hop == 0``: hard bins."""
    n_channels, n_bins = weights.shape[1], of_bin.shape[1]
    pad = len(decay) - 1
    stride = n_bins + 2 * pad + beyond + LANES
    sums = np.empty(119 * stride)
    slot_of = np.full(119, -1)
    elements = np.empty(119, dtype=np.int64)
    # The progression on vectors: its powers of more than 8 must not overflow.
    in_vectors = 0.0 < hop < 4.0
    window = np.zeros(-(-(2 * pad + 1) // LANES) * LANES)
    for k in range(2 * pad + 1):
        window[k] = decay[abs(k - pad)]
    odd, pairs, upper = _lanes()
    for i in range(start, stop):
        n_elements = 0
        for e in range(first[i], first[i + 1]):
            x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
            r = np.sqrt(x * x + y * y + z * z)
            if r >= cutoff:
                continue
            element = neighbor_numbers[e]
            if slot_of[element] < 0:
                slot_of[element] = n_elements
                elements[n_elements] = element
                sums[n_elements * stride : (n_elements + 1) * stride] = 0.0
                n_elements += 1
            base = slot_of[element] * stride
            height = 0.5 * (math.cos(math.pi / cutoff * r) + 1.0) if smooth else 1.0
            place = r / width
            b = int(place)
            if hop == 0.0:
                sums[base + min(b, n_bins - 1)] += height
                continue
            t = (place - b - 0.5) * hop
            up = math.exp(t * hop)
            if in_vectors:
                lowest = height * math.exp(-t * (0.5 * t + pad * hop))
                _add_progression(sums, base + b, lowest, up, window, odd, pairs, upper)
                continue
            down = 1.0 / up
            left = right = height * math.exp(-0.5 * t * t)
            b += base + pad
            sums[b] += right * decay[0]
            for k in range(1, pad + 1):
                right *= up
                left *= down
                sums[b + k] += right * decay[k]
                sums[b - k] += left * decay[k]
        crystal = crystal_index[i]
        for c in range(n_channels):
            row = out[i, c * n_bins : (c + 1) * n_bins]
            row[:] = 0
            itself = of_channel[crystal, c] * weights[numbers[i], c]
            for n in range(n_elements):
                factor = itself * weights[elements[n], c]
                for b in range(n_bins):
                    row[b] += factor * sums[n * stride + pad + b] * of_bin[crystal, b]
        for n in range(n_elements):
            slot_of[elements[n]] = -1


@compiled()
def _lanes() -> tuple[Float64s, Float64s, Float64s]:
    """Which lanes of a vector have an odd number, the second bit of it set, the third bit."""
    lane = np.arange(LANES)
    one, two, four = lane % 2, lane // 2 % 2, lane // 4
    return one.astype(np.float64), two.astype(np.float64), four.astype(np.float64)


@compiled()
def _add_progression(
    sums: Float64s,
    start: int,
    lowest: float,
    ratio: float,
    window: Float64s,
    odd: Float64s,
    pairs: Float64s,
    upper: Float64s,
) -> None:
    """Add ``lowest ratio^k window[k]`` to ``sums[start + k]`` for every k of the window."""
    one = spread(1.0)
    # ratio^0 ... ratio^7: each lane is multiplied by the powers of two in its number.
    squared = ratio * ratio
    fourth = squared * squared
    bit = load(odd, 0)
    powers = fma(spread(ratio), bit, one - bit) * spread(lowest)
    bit = load(pairs, 0)
    powers = powers * fma(spread(squared), bit, one - bit)
    bit = load(upper, 0)
    powers = powers * fma(spread(fourth), bit, one - bit)
    eighth = spread(fourth * fourth)
    for k in range(0, len(window), LANES):
        store(sums, start + k, fma(powers, load(window, k), load(sums, start + k)))
        powers = powers * eighth


@compiled(error_model="numpy")
def _gradient(
    start: int,
    stop: int,
    numbers: Ints,
    first: Ints,
    neighbor_numbers: Ints,
    vectors: Floats,
    crystal_index: Ints,
    weights: Float64s,
    of_channel: Float64s,
    of_bin: Float64s,
    width: float,
    cutoff: float,
    smooth: bool,
    hop: float,
    decay: Float64s,
    beyond: int,
    row_gradients: Floats,
    out: Floats,
) -> None:
    """Gradients by the edge vectors of the centres from start to stop; smeared bins."""
    n_channels, n_bins = weights.shape[1], of_bin.shape[1]
    pad = len(decay) - 1
    wanted = np.zeros((119, n_bins + 2 * pad + beyond))
    seen = np.zeros(119, dtype=np.bool_)
    elements = np.empty(119, dtype=np.int64)
    sharpness = hop / width  # 1 / σ
    for i in range(start, stop):
        n_elements, crystal = 0, crystal_index[i]
        for e in range(first[i], first[i + 1]):
            x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
            r = np.sqrt(x * x + y * y + z * z)
            if r >= cutoff:
                continue
            element = neighbor_numbers[e]
            if not seen[element]:
                seen[element] = True
                elements[n_elements] = element
                n_elements += 1
                for b in range(n_bins):
                    total = 0.0
                    for c in range(n_channels):
                        factor = of_channel[crystal, c] * weights[numbers[i], c]
                        total += factor * weights[element, c] * row_gradients[i, c * n_bins + b]
                    wanted[element, pad + b] = total * of_bin[crystal, b]
            place = r / width
            b = int(place)
            t = (place - b - 0.5) * hop
            up = math.exp(t * hop)
            down = 1.0 / up
            left = right = math.exp(-0.5 * t * t)
            b += pad
            value = wanted[element, b] * right * decay[0]
            slope = -t * value
            for k in range(1, pad + 1):
                right *= up
                left *= down
                above = wanted[element, b + k] * right * decay[k]
                below = wanted[element, b - k] * left * decay[k]
                value += above + below
                slope += (k * hop - t) * above - (k * hop + t) * below
            slope *= sharpness
            if smooth:
                angle = math.pi / cutoff * r
                slope *= 0.5 * (math.cos(angle) + 1.0)
                slope -= 0.5 * math.pi / cutoff * math.sin(angle) * value
            slope /= r
            out[e, 0], out[e, 1], out[e, 2] = slope * x, slope * y, slope * z
        for n in range(n_elements):
            seen[elements[n]] = False
