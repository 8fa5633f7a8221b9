"""Heads whose predictions turn with the crystal: a vector an atom, a symmetric tensor a crystal."""

import torch
from torch import Tensor, nn

from atomprint.backbones.base import AtomFeatures
from atomprint.ground.errors import UsageError
from atomprint.heads.head import mean_over_crystals
from atomprint.nn.radial import BesselBasis, cosine_cutoff
from atomprint.nn.vectors import unit_vectors
from atomprint.structures.graph import GraphBatch, sum_by_index

# Number of products of vectors, and of radial functions, that a tensor is made of.
_N_PRODUCTS = 8


class VectorHead(nn.Module):
    """A vector an atom: its vector features, gated by its scalars and mixed to one.

    Parameters
    ----------
    n_channels
        Width of the backbone's features.
    n_hidden
        Width of the hidden layer.
    """

    def __init__(self, n_channels: int, n_hidden: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(n_channels, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_channels)
        )
        self.mix = nn.Linear(n_channels, 1, bias=False)

    def forward(self, features: AtomFeatures) -> Tensor:
        """``(n_atoms, 3)``.

        Raises
        ------
        UsageError
            If the backbone has no vectors.
        """
        gated = vectors_of(features) * self.gate(features.scalars)[:, None, :]
        found: Tensor = self.mix(gated).squeeze(-1)
        return found


class TensorHead(nn.Module):
    """A symmetric 3 x 3 tensor a crystal, the mean over its atoms of three parts.

    - an isotropic one, a number from the scalars times the unit tensor;
    - symmetric products ``u vᵀ + v uᵀ`` of mixed vector features, weighed by the scalars;
    - products ``r rᵀ`` of the directions to the neighbours, weighed by scalars of both atoms and
      the distance. At a site with inversion symmetry all vector features vanish: of a strained
      but otherwise perfect crystal only this part tells one axis from another.

    Parameters
    ----------
    n_channels
        Width of the backbone's features.
    n_hidden
        Width of the hidden layer.
    cutoff
        Of the neighbours, Å; at most that of the graphs.
    """

    def __init__(self, n_channels: int, n_hidden: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.weigh = nn.Sequential(
            nn.Linear(n_channels, n_hidden),
            nn.SiLU(),
            nn.Linear(n_hidden, 1 + 3 * _N_PRODUCTS),
        )
        self.left = nn.Linear(n_channels, _N_PRODUCTS, bias=False)
        self.right = nn.Linear(n_channels, _N_PRODUCTS, bias=False)
        self.radial = BesselBasis(_N_PRODUCTS, cutoff)

    def forward(self, features: AtomFeatures, graph: GraphBatch) -> Tensor:
        """``(n_crystals, 3, 3)``, symmetric.

        Parameters
        ----------
        features
            Of every atom.
        graph
            What they were computed of.

        Raises
        ------
        UsageError
            If the backbone has no vectors.
        """
        vectors = vectors_of(features)
        weights = self.weigh(features.scalars)
        isotropic, product, center, neighbor = weights.split([1] + 3 * [_N_PRODUCTS], dim=-1)
        left, right = self.left(vectors) * product[:, None, :], self.right(vectors)
        ours = (left[:, :, None, :] * right[:, None, :, :]).sum(-1)

        edges = graph.within(self.cutoff)
        basis = self.radial(edges.distances) * cosine_cutoff(edges.distances, self.cutoff)[:, None]
        weight = (center[edges.center_index] * neighbor[edges.neighbor_index] * basis).sum(-1)
        direction = unit_vectors(edges.edge_vectors)
        dyads = weight[:, None, None] * direction[:, :, None] * direction[:, None, :]
        theirs = sum_by_index(dyads, edges.center_index, graph.n_atoms)

        unit = torch.eye(3, dtype=graph.dtype, device=graph.device)
        tensors = isotropic[:, :, None] * unit + ours + ours.transpose(1, 2) + theirs
        return mean_over_crystals(tensors.flatten(1), graph).view(-1, 3, 3)


def vectors_of(features: AtomFeatures) -> Tensor:
    """Vector features, ``(n_atoms, 3, n_channels)``.

    Raises
    ------
    UsageError
        If the backbone has none.
    """
    if features.vectors is None:
        raise UsageError(
            "this objective predicts vectors, which the backbone does not have; take another "
            "backbone, or let the objective use derivatives of an energy"
        )
    return features.vectors
