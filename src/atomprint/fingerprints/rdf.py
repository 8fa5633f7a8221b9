"""Radial distribution function, weighted by element channels."""

import math
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor

from atomprint.fingerprints.base import (
    Fingerprint,
    FingerprintSpec,
    Per,
    crystal_mean,
    pool_atoms,
)
from atomprint.fingerprints.channels import SHORT_NAMES, ChannelName, channel_table
from atomprint.fingerprints.cutoffs import CutoffFunction, cosine_cutoff
from atomprint.fingerprints.sums import Chunks
from atomprint.structures.graph import GraphBatch, sum_by_index

if TYPE_CHECKING:
    from atomprint.fingerprints.kernels.base import FusedKernel

# A smeared neighbour is followed this many widths beyond the last bin, where exp(-x²/2) = 4e-6.
_PAD_WIDTHS = 5.0


class RDFSettings(FingerprintSpec):
    """Radial distribution function g(r), per atom or per crystal."""

    kind: Literal["rdf"] = "rdf"
    per: Per = Field("crystal", description="A row per atom, or the mean over a crystal's atoms.")
    cutoff: float = Field(6.0, description="End of the last bin, in Å.", gt=0)
    n_bins: int = Field(60, description="Number of equal bins from 0 to the cutoff.", ge=1)
    smearing: float | None = Field(
        0.1,
        description="Width σ of a Gaussian in Å that each distance becomes; null: hard bins.",
        gt=0,
    )
    cutoff_function: CutoffFunction = Field(
        "none",
        description="cosine: let the weight of a neighbour go smoothly to 0 at the cutoff, for use "
        "as a training target; g then no longer tends to 1. With none, smeared neighbours up to 5σ "
        "beyond the cutoff are counted too, so that the last bins are complete.",
    )
    channels: tuple[ChannelName, ...] = Field(
        ("one", "electronegativity", "covalent_radius"),
        description="Element channels w; a pair counts w_i w_j.",
        min_length=1,
    )
    scale_channels: bool = Field(
        True, description="Divide every channel by its scale, so that it is of order 1."
    )
    divide_by_mean: bool = Field(
        False,
        description="Divide weights by their mean in the crystal, so that every g tends to 1.",
    )
    normalize: Literal["g", "count"] = Field(
        "g",
        description="g: divide by the density and the volume of the bin's shell, so that g tends "
        "to 1. count: neighbours per atom in the bin.",
    )

    def build(self) -> "RDF":
        """Make the fingerprint."""
        return RDF(self)


class RDF(Fingerprint):
    r"""Radial distribution function.

    .. math::
        g(b) = \frac{1}{N ρ \frac{4π}{3}(e_{b+1}^3 - e_b^3)} Σ_i Σ_j w_i w_j K_b(r_{ij})

    with bin edges e_b, N atoms of density ρ in the cell, and K_b the indicator of the bin (hard)
    or :math:`Δ e^{-(r-c_b)²/2σ²} / \sqrt{2π}σ` at its centre c_b (smeared). Hard, with weight 1,
    it is the textbook g(r) (Allen & Tildesley, Computer Simulation of Liquids, sec. 2.6). Per atom
    it is the same without the sum over i, so that the mean over atoms is the crystal's.
    Columns: channel, then bin.

    Parameters
    ----------
    settings
        See :class:`RDFSettings`.
    """

    table: Tensor
    centers: Tensor
    shell_volumes: Tensor

    settings_class = RDFSettings
    settings: RDFSettings

    def prepare(self) -> None:
        """See :meth:`Fingerprint.prepare`."""
        settings = self.settings
        smooth = settings.cutoff_function == "cosine"
        pad = 0.0 if smooth else _PAD_WIDTHS * (settings.smearing or 0.0)
        self.cutoff = settings.cutoff + pad
        self.smooth = smooth
        self.smearing = settings.smearing
        self.n_bins = settings.n_bins
        self.r_max = settings.cutoff
        self.width = settings.cutoff / settings.n_bins
        self.divide_by_mean = settings.divide_by_mean
        self.normalize = settings.normalize
        self.needs_volume = settings.normalize == "g"
        edges = torch.arange(self.n_bins + 1, dtype=torch.float64) * self.width
        self.register_buffer("centers", 0.5 * (edges[1:] + edges[:-1]))
        self.register_buffer("shell_volumes", 4 * math.pi / 3 * (edges[1:] ** 3 - edges[:-1] ** 3))
        self.register_buffer("table", channel_table(settings.channels, settings.scale_channels))
        names = [SHORT_NAMES[name] for name in settings.channels]
        self.name_columns([f"rdf.{name}.b{b}" for name in names for b in range(self.n_bins)], "1")
        if self.smearing is None:
            self.exempt = {
                "float32": "a distance within a rounding of a bin edge falls in either bin",
            }
            if not self.smooth:
                self.exempt["smooth"] = "a hard bin jumps when a neighbour crosses its edge"

    def forward(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms | n_crystals, n_channels * n_bins)``."""
        kernel = self._kernel_for(graph)
        if kernel is None:
            return self.reference(graph)
        from atomprint.fingerprints.kernels.bridge import rows_of_graph

        # Asked for first: kernels read volumes without a gradient, and the graph keeps them so.
        volumes = graph.volumes
        rows = rows_of_graph(kernel, graph, self.cutoff, self._at_constant_volume)
        if self.normalize == "g" and volumes.requires_grad:
            # To the kernel volumes are constants; g is proportional to the volume.
            rows = rows * (volumes / volumes.detach())[graph.crystal_index, None]
        return rows if self.per == "atom" else pool_atoms(rows, graph, self.settings.pool)

    def _at_constant_volume(self, graph: GraphBatch) -> Tensor:
        """Rows of atoms whose gradients do not include the volume's, as the kernel's do not."""
        graph.__dict__["volumes"] = graph.volumes.detach()
        return self.per_atom(graph)

    def make_kernel(self) -> "FusedKernel | None":
        """See :meth:`Fingerprint.make_kernel`."""
        from atomprint.fingerprints.kernels.histograms import RDFKernel

        return RDFKernel(
            self.table.double().cpu().numpy(),
            n_bins=self.n_bins,
            r_max=self.r_max,
            smearing=self.smearing,
            cutoff=self.cutoff,
            smooth=self.smooth,
            divide_by_mean=self.divide_by_mean,
            density=self.normalize == "g",
        )

    def reference(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms | n_crystals, n_channels * n_bins)``, see :meth:`forward`."""
        if self.per == "crystal" and self.settings.pool == ("mean",):
            return self._rows(graph, per_crystal=True)
        return super().reference(graph)

    def per_atom(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms, n_channels * n_bins)``."""
        return self._rows(graph, per_crystal=False)

    def _rows(self, graph: GraphBatch, per_crystal: bool) -> Tensor:
        """Compute rows of atoms, or at once those of crystals."""
        graph = graph.within(self.cutoff)
        r = graph.distances
        per_atom = self.table.to(r)[graph.numbers]
        if self.divide_by_mean:
            per_atom = per_atom / crystal_mean(per_atom, graph)[graph.crystal_index]
        weights = per_atom[graph.center_index] * per_atom[graph.neighbor_index]
        if self.smooth:
            weights = weights * cosine_cutoff(r, self.r_max)[:, None]
        index, size = graph.center_index, graph.n_atoms
        if per_crystal:
            index, size = graph.crystal_index[index], graph.n_crystals
        counts = self._deposit(weights, r, index, size)
        if per_crystal:
            counts = counts / graph.n_atoms_per_crystal.to(r)[:, None, None]
        if self.normalize == "g":
            density = graph.n_atoms_per_crystal.to(r) / graph.volumes
            density = density if per_crystal else density[graph.crystal_index]
            counts = counts / (density[:, None, None] * self.shell_volumes.to(r))
        return counts.flatten(1)

    def _deposit(self, weights: Tensor, r: Tensor, index: Tensor, size: int) -> Tensor:
        """Weighted number of distances in each bin, ``(size, n_channels, n_bins)``."""
        if self.smearing is None:
            bins = (r.detach() / self.width).long().clamp_max(self.n_bins - 1)
            flat = sum_by_index(weights, index * self.n_bins + bins, size * self.n_bins)
            return flat.view(size, self.n_bins, -1).transpose(1, 2)
        chunks = Chunks(index, size)
        packed = chunks.pack(torch.cat([r[:, None], weights], dim=1))
        gap = (packed[:, :1] - self.centers.to(r)) / self.smearing
        height = self.width / (math.sqrt(2 * math.pi) * self.smearing)
        # Far from a bin nothing is left; floats below the normal range would only be slow.
        exponent = (-0.5 * gap.square()).clamp_min(-80.0)
        return chunks.sum_outer(packed[:, 1:] * height, torch.exp(exponent))
