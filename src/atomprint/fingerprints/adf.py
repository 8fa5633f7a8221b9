"""Angular distribution: of the angles between an atom's neighbours, and its Legendre moments."""

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from atomprint.fingerprints.base import Fingerprint, FingerprintSpec, crystal_mean
from atomprint.fingerprints.channels import SHORT_NAMES, ChannelName, channel_table
from atomprint.fingerprints.cutoffs import CutoffFunction, cosine_cutoff
from atomprint.fingerprints.harmonics import solid_harmonics
from atomprint.fingerprints.sums import Chunks
from atomprint.structures.graph import GraphBatch, sum_by_index

if TYPE_CHECKING:
    from atomprint.fingerprints.kernels.base import FusedKernel
    from atomprint.fingerprints.kernels.expansion import Expansion

# Cubics over this many intervals hold the cosine cutoff to 1e-14.
_INTERVALS = 2048


class ADFSettings(FingerprintSpec):
    """Angular distribution of neighbours, as moments, a smooth curve or a histogram."""

    kind: Literal["adf"] = "adf"
    cutoff: float = Field(
        4.5,
        description="Neighbours are closer than this, in Å; beyond the first shells angles "
        "are mostly an uncorrelated background.",
        gt=0,
    )
    form: Literal["moments", "curve", "histogram"] = Field(
        "moments",
        description="moments: Legendre moments M_l, exact, smooth and without a loop over "
        "triplets. curve: the smoothed distribution that they make. histogram: hard bins over "
        "triplets.",
    )
    l_max: int = Field(8, description="Largest l of moments and curve.", ge=0, le=24)
    n_bins: int = Field(36, description="Bins or points from 0 to 180 degrees.", ge=1)
    smearing: float = Field(
        15.0,
        description="Width of the curve's smoothing, in degrees; a small one needs a large "
        "l_max, at which l_max (l_max + 1) σ² / 2 should be 5 or more.",
        gt=0,
    )
    cutoff_function: CutoffFunction = Field(
        "cosine", description="cosine: a neighbour's weight goes smoothly to 0 at the cutoff."
    )
    channels: tuple[ChannelName, ...] = Field(
        ("one", "electronegativity", "covalent_radius"),
        description="Element channels w; an angle counts w_j w_k.",
        min_length=1,
    )
    scale_channels: bool = Field(
        True, description="Divide every channel by its scale, so that it is of order 1."
    )
    normalize: Literal["count", "probability"] = Field(
        "count",
        description="count: sums over the angles. probability: divided by their total weight (of "
        "the atom, or of the crystal): histogram and curve integrate to 1 over radians, M_0 is 1.",
    )

    def build(self) -> "ADF":
        """Make the fingerprint."""
        return ADF(self)


class ADF(Fingerprint):
    r"""Angular distribution.

    With neighbour weights :math:`g_j = w_j f_c(r_{ij})`:

    - moments: :math:`M_l(i) = Σ_{j≠k} g_j g_k P_l(\cosθ_{jik})
      = \frac{4π}{2l+1} Σ_m \big(Σ_j g_j Y_{lm}(\hat r_j)\big)² - Σ_j g_j²` (addition
      theorem), over ordered pairs of neighbours.
    - curve: :math:`A(θ) = \frac{\sinθ}{2} Σ_l \frac{2l+1}{2} M_l e^{-l(l+1)σ²/2} P_l(\cosθ)`, per
      radian, each pair once, smoothed by the heat kernel on the sphere, at the centres of bins.
    - histogram: :math:`A_b = Σ_{j<k} g_j g_k` over the angles in the bin, each pair once; the last
      bin holds 180 degrees too.

    Columns: channel, then l or bin.

    Parameters
    ----------
    settings
        See :class:`ADFSettings`.
    """

    table: Tensor
    legendre: Tensor

    settings_class = ADFSettings
    settings: ADFSettings

    def prepare(self) -> None:
        """See :meth:`Fingerprint.prepare`."""
        settings = self.settings
        self.cutoff = settings.cutoff
        self.form = settings.form
        self.l_max = settings.l_max
        self.n_bins = settings.n_bins
        self.smooth = settings.cutoff_function == "cosine"
        self.probability = settings.normalize == "probability"
        self.register_buffer("table", channel_table(settings.channels, settings.scale_channels))
        angles = (torch.arange(self.n_bins, dtype=torch.float64) + 0.5) * math.pi / self.n_bins
        self.register_buffer(
            "legendre", _curve_matrix(angles, self.l_max, math.radians(settings.smearing))
        )
        labels, unit = [], "1"
        for name in settings.channels:
            prefix = f"adf.{SHORT_NAMES[name]}"
            if self.form == "moments":
                labels += [f"{prefix}.l{degree}" for degree in range(self.l_max + 1)]
            else:
                letter = "a" if self.form == "curve" else "b"
                labels += [f"{prefix}.{letter}{b}" for b in range(self.n_bins)]
                density = self.form == "curve" or self.probability
                unit = "1/rad" if density else "1"
        self.name_columns(labels, unit)
        exempt = {}
        if not self.smooth:
            exempt["smooth"] = "every neighbour within the cutoff counts fully"
        elif self.probability:
            exempt["smooth"] = "an atom's last angle counts fully, however small its weight"
        if self.form == "histogram":
            exempt["float32"] = "an angle within a rounding of a bin edge falls in either bin"
        self.exempt = exempt

    def reference(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms | n_crystals, n_channels * (l_max + 1 | n_bins))``."""
        if self.per == "crystal" and self.settings.pool == ("mean",):
            # A probability is divided by the weight of all the crystal's angles.
            return self._rows(graph, per_crystal=True)
        return super().reference(graph)

    def per_atom(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms, n_channels * (l_max + 1 | n_bins))``."""
        return self._rows(graph, per_crystal=False)

    def _rows(self, graph: GraphBatch, per_crystal: bool) -> Tensor:
        """Compute rows of atoms, or at once those of crystals."""
        graph = graph.within(self.cutoff)
        weights = self.table.to(graph.distances)[graph.numbers][graph.neighbor_index]
        if self.smooth:
            weights = weights * cosine_cutoff(graph.distances, self.cutoff)[:, None]
        # The sum of g_j g_k over ordered pairs; exactly zero with a single neighbour.
        itself = sum_by_index(weights.square(), graph.center_index, graph.n_atoms)
        sums = sum_by_index(weights, graph.center_index, graph.n_atoms)
        total = (sums.square() - itself)[..., None]
        if self.form == "histogram":
            values = self._histogram(graph, weights)
            total = total * (0.5 * math.pi / self.n_bins)
        else:
            values = self._moments(graph, weights, itself)
        if per_crystal:
            values, total = crystal_mean(values, graph), crystal_mean(total, graph)
        if self.form == "curve":
            values, total = values @ self.legendre.to(values), 0.5 * total
        if self.probability:
            # Without angles there is nothing to divide: the row stays zero.
            values = values / torch.where(total > 0, total, torch.ones_like(total))
        return values.flatten(1)

    def make_kernel(self) -> "FusedKernel | None":
        """See :meth:`Fingerprint.make_kernel`; None where a sum over angles is divided by."""
        whole_crystal = self.per == "crystal" and self.settings.pool == ("mean",)
        if self.probability and (whole_crystal or self.form != "histogram"):
            return None
        if self.form == "histogram":
            from atomprint.fingerprints.kernels.angles import AngleHistogramKernel

            weights = self.table.double().cpu().numpy()
            return AngleHistogramKernel(
                weights, self.n_bins, self.cutoff, self.smooth, self.probability
            )
        from atomprint.fingerprints.kernels.quadratic import QuadraticKernel

        return QuadraticKernel(self.expansion())

    def expansion(self) -> "Expansion":
        """Moments or curve as one quadratic form of an expansion with a single radial function."""
        from atomprint.fingerprints.kernels.expansion import SELF, Expansion, Products, RadialTable

        n_degrees, n_channels = self.l_max + 1, self.table.shape[1]
        degrees = np.arange(n_degrees)
        # Of every channel, the products of all l and then the self term.
        block = np.tile(np.append(degrees, 0), n_channels)
        left = np.repeat(np.arange(n_channels), n_degrees + 1)
        right = np.where(np.tile(np.arange(n_degrees + 1), n_channels) == n_degrees, SELF, left)
        factor = np.tile(np.append(4 * math.pi / (2 * degrees + 1), 1.0), n_channels)
        mix = np.concatenate([np.eye(n_degrees), -np.ones((1, n_degrees))])
        if self.form == "curve":
            mix = mix @ self.legendre.double().cpu().numpy()
        return Expansion(
            cutoff=self.cutoff,
            table=RadialTable(0.0, self.cutoff / _INTERVALS, self._radial_table()),
            table_of_element=np.zeros(119, dtype=np.int64),
            weights=self.table.double().cpu().numpy(),
            n_radial=1,
            degrees=degrees,
            columns=np.zeros(n_degrees, dtype=np.int64),
            center_weights=np.zeros((119, n_channels)),
            center=np.zeros((1, n_degrees, 1)),
            products=Products(block, left, right, factor),
            mix=np.kron(np.eye(n_channels), mix),
        )

    def _radial_table(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
        """The cutoff function as cubics with exact values and slopes at the nodes."""
        angle = np.linspace(0, math.pi, _INTERVALS + 1)
        value = 0.5 * (np.cos(angle) + 1) if self.smooth else np.ones_like(angle)
        slope = -0.5 * np.sin(angle) * (math.pi / _INTERVALS) * self.smooth
        rise = np.diff(value)
        square = 3 * rise - 2 * slope[:-1] - slope[1:]
        cube = slope[:-1] + slope[1:] - 2 * rise
        coefficients = np.stack([value[:-1], slope[:-1], square, cube], axis=1)
        return coefficients[None, :, :, None]

    def _moments(self, graph: GraphBatch, weights: Tensor, itself: Tensor) -> Tensor:
        """M_l of every atom, ``(n_atoms, n_channels, l_max + 1)``; itself: ``Σ_j g_j²``."""
        directions = graph.edge_vectors / graph.distances[:, None]
        chunks = Chunks(graph.center_index, graph.n_atoms)
        packed = chunks.pack(torch.cat([directions, weights], dim=1))
        harmonics = solid_harmonics(packed[:, :3], self.l_max)
        sums = chunks.sum_outer(packed[:, 3:], harmonics).square()
        moments = []
        for degree in range(self.l_max + 1):
            block = sums[..., degree**2 : (degree + 1) ** 2].sum(-1)
            moments.append(4 * math.pi / (2 * degree + 1) * block - itself)
        return torch.stack(moments, dim=-1)

    def _histogram(self, graph: GraphBatch, weights: Tensor) -> Tensor:
        """Weight of the angles in each bin, ``(n_atoms, n_channels, n_bins)``."""
        first, second = pairs_of_neighbors(graph)
        vectors = (graph.edge_vectors / graph.distances[:, None]).detach()
        cosines = (vectors[first] * vectors[second]).sum(-1)
        angles = torch.acos(cosines.clamp(-1, 1))
        bins = (angles * (self.n_bins / math.pi)).long().clamp_max(self.n_bins - 1)
        index = graph.center_index[first] * self.n_bins + bins
        flat = sum_by_index(weights[first] * weights[second], index, graph.n_atoms * self.n_bins)
        return flat.view(graph.n_atoms, self.n_bins, -1).transpose(1, 2)


def pairs_of_neighbors(graph: GraphBatch) -> tuple[Tensor, Tensor]:
    """All unordered pairs of edges with the same centre.

    Returns
    -------
    first, second
        Indices into the edges, ``(n_triplets,)``, first < second.
    """
    counts = torch.bincount(graph.center_index, minlength=graph.n_atoms)
    end = torch.cumsum(counts, 0)[graph.center_index]
    edges = torch.arange(graph.n_edges, device=graph.device)
    partners = end - edges - 1
    first = torch.repeat_interleave(edges, partners)
    start = torch.cumsum(partners, 0) - partners
    rank = torch.arange(first.shape[0], device=graph.device) - start[first]
    return first, first + 1 + rank


def _curve_matrix(angles: Tensor, l_max: int, width: float) -> Tensor:
    """Matrix from moments to the smoothed curve at some angles, ``(l_max + 1, n_angles)``."""
    cosines = torch.cos(angles)
    rows = [torch.ones_like(cosines), cosines]
    for degree in range(2, l_max + 1):
        rows.append(((2 * degree - 1) * cosines * rows[-1] - (degree - 1) * rows[-2]) / degree)
    degrees = torch.arange(l_max + 1, dtype=torch.float64)[:, None]
    damping = torch.exp(-0.5 * degrees * (degrees + 1) * width**2)
    return (2 * degrees + 1) / 4 * damping * torch.stack(rows[: l_max + 1]) * torch.sin(angles)
