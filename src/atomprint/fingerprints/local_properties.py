"""Properties of an atom's element, of its surroundings' elements, and how far the two differ."""

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor

from atomprint.fingerprints.base import Fingerprint, FingerprintSpec
from atomprint.fingerprints.channels import SHORT_NAMES, ChannelName, channel_table
from atomprint.fingerprints.cutoffs import cosine_cutoff
from atomprint.ground import elements
from atomprint.structures.graph import GraphBatch, sum_by_index

if TYPE_CHECKING:
    from atomprint.fingerprints.kernels.base import FusedKernel

# What the atom itself weighs in its surroundings: a hundredth of a neighbour in contact. It keeps
# an atom without neighbours smooth and finite, whose surroundings are itself.
_SELF_WEIGHT = 0.01


class LocalPropertiesSettings(FingerprintSpec):
    """Local properties: what an atom's element and those around it are like."""

    kind: Literal["local_properties"] = "local_properties"
    cutoff: float = Field(6.0, description="Range of the surroundings, in Å.", gt=0)
    widths: tuple[float, ...] = Field(
        (1.0, 2.0),
        description="How far beyond contact neighbours count, in Å: surroundings of each width "
        "have columns of their own.",
        min_length=1,
    )
    channels: tuple[ChannelName, ...] = Field(
        ("electronegativity", "covalent_radius", "group", "period", "valence"),
        description="Properties of the elements.",
        min_length=1,
    )

    def build(self) -> "LocalProperties":
        """Make the fingerprint."""
        return LocalProperties(self)


class LocalProperties(Fingerprint):
    r"""Local properties of elements.

    For a property p, the weight of neighbour j (all its periodic images counted) is

    .. math::
        w_{ij} = e^{-(x_{ij} / σ)^2} f_c(r_{ij}),  \quad x_{ij} = \max(0, r_{ij} - R_i - R_j)

    with covalent radii R and the cosine cutoff f_c: 1 for neighbours in contact, falling off over
    a width σ beyond. Columns are p of the atom itself, then for every width the mean over the
    surroundings and the mean difference from the atom

    .. math::
        m_i = \frac{Σ_j w_{ij} p_j + ε p_i}{Σ_j w_{ij} + ε},  \quad
        d_i = \frac{Σ_j w_{ij} |p_j - p_i|}{Σ_j w_{ij} + ε}

    (ε = 0.01). After the local property differences of Ward et al., Phys. Rev. B 96, 024104, 2017
    (sec. II B), which weigh neighbours by the areas of Voronoi faces; those jump when a face
    appears, these weights are smooth. Pooled over a crystal the first block is the mean and the
    variance of a composition (Ward et al., npj Comput. Mater. 2, 16028, 2016).

    Columns: own, then for each width near and difference; within each the channels.

    Parameters
    ----------
    settings
        See :class:`LocalPropertiesSettings`.
    """

    table: Tensor
    radii: Tensor

    settings_class = LocalPropertiesSettings
    settings: LocalPropertiesSettings

    def prepare(self) -> None:
        """See :meth:`Fingerprint.prepare`."""
        self.cutoff = self.settings.cutoff
        self.register_buffer("table", channel_table(self.settings.channels))
        radii = torch.tensor(elements.covalent_radius, dtype=torch.float64)
        self.register_buffer("radii", radii)
        names = [SHORT_NAMES[name] for name in self.settings.channels]
        blocks = ["own"]
        for width in self.settings.widths:
            blocks += [f"near{width:g}", f"difference{width:g}"]
        self.name_columns(
            [f"local_properties.{name}.{block}" for block in blocks for name in names], "1"
        )

    def make_kernel(self) -> "FusedKernel":
        """See :meth:`Fingerprint.make_kernel`."""
        from atomprint.fingerprints.kernels.local_properties import LocalPropertiesKernel

        return LocalPropertiesKernel(
            self.table.double().cpu().numpy(),
            self.radii.double().cpu().numpy(),
            self.settings.widths,
            self.cutoff,
            _SELF_WEIGHT,
        )

    def per_atom(self, graph: GraphBatch) -> Tensor:
        """See :meth:`Fingerprint.per_atom`."""
        edges = graph.within(self.cutoff)
        center, neighbor = edges.center_index, edges.neighbor_index
        radii = self.radii.to(edges.distances)[graph.numbers]
        own = self.table.to(edges.distances)[graph.numbers]
        beyond = (edges.distances - radii[center] - radii[neighbor]).clamp(min=0)
        taper = cosine_cutoff(edges.distances, self.cutoff)
        widths = beyond.new_tensor(self.settings.widths)
        # Beyond this nothing is left; floats below the normal range would only be slow.
        exponent = (-((beyond[:, None] / widths) ** 2)).clamp_min(-80.0)
        weights = torch.exp(exponent) * taper[:, None]
        # Images of one neighbour have the same properties: their weights are added first.
        pair_index, pair_center, pair_neighbor = edges.pairs
        weights = sum_by_index(weights, pair_index, pair_center.shape[0])
        there, here = own[pair_neighbor], own[pair_center]
        gap = (there - here).abs()
        total = sum_by_index(weights, pair_center, graph.n_atoms) + _SELF_WEIGHT
        blocks = [own]
        for index in range(len(self.settings.widths)):
            weight, norm = weights[:, index, None], total[:, index, None]
            near = sum_by_index(weight * there, pair_center, graph.n_atoms) + _SELF_WEIGHT * own
            apart = sum_by_index(weight * gap, pair_center, graph.n_atoms)
            blocks += [near / norm, apart / norm]
        return torch.cat(blocks, dim=1)
