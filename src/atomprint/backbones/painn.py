"""PaiNN, the polarizable atom interaction network (Schütt et al. 2021, arXiv 2102.03150)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from atomprint.backbones.base import AtomFeatures, Backbone
from atomprint.backbones.elements import ELEMENTS, ElementStart, element_embedding
from atomprint.ground.settings import Settings
from atomprint.nn.pair_messages import PairList, pair_messages
from atomprint.nn.radial import BesselBasis, cosine_cutoff
from atomprint.structures.graph import GraphBatch, sum_by_index


class PaiNNSettings(Settings):
    """Settings of PaiNN; the defaults train on a laptop."""

    kind: Literal["painn"] = "painn"
    cutoff: float = Field(6.0, gt=0, description="range of one message, Å")
    n_channels: int = Field(128, ge=1, description="width of scalar and vector features")
    n_layers: int = Field(3, ge=1, description="number of message and update blocks")
    n_radial: int = Field(16, ge=1, description="number of Bessel functions of the distance")
    typical_neighbors: float = Field(
        20.0, gt=0, description="messages are divided by the square root of this number"
    )
    elements: ElementStart = Field("random", description=ELEMENTS)

    def build(self) -> "PaiNN":
        """Make the network, with random weights."""
        return PaiNN(self)


class PaiNN(Backbone):
    """PaiNN, with the periodic images of a neighbour folded together before any message.

    A message of PaiNN is a product of a feature of the neighbour and a filter that is *linear*
    in the radial basis. All periodic images of an atom carry the same features, so the sum over
    images can be taken over the basis instead of over the messages::

        sum_S  x_j * W(r_ijS)  =  x_j * (sum_S B(r_ijS)) W

    This is exact. It makes the cost of a layer proportional to the number of distinct
    (centre, neighbour) pairs, at most ``n_atoms**2`` a crystal, whatever the cutoff: in a cell
    of seven atoms at 6 Å an eighth or less of the number of edges.
    """

    def __init__(self, settings: PaiNNSettings) -> None:
        super().__init__()
        self.settings = settings
        self.cutoff = settings.cutoff
        self.n_channels = settings.n_channels
        self.radial = BesselBasis(settings.n_radial, settings.cutoff)
        self.embedding = element_embedding(settings.elements, settings.n_channels)
        scale = settings.typical_neighbors**-0.5
        self.messages = nn.ModuleList(
            Message(settings.n_channels, settings.n_radial + 1, scale)
            for _ in range(settings.n_layers)
        )
        self.updates = nn.ModuleList(Update(settings.n_channels) for _ in range(settings.n_layers))

    def forward(self, graph: GraphBatch) -> AtomFeatures:
        """Features of every atom."""
        edges = graph.within(self.cutoff)
        pair_index, pair_center, pair_neighbor = edges.pairs
        n_pairs = pair_center.shape[0]
        # The column of ones carries the filter's bias; the cutoff multiplies both.
        basis = torch.cat(
            [self.radial(edges.distances), torch.ones_like(edges.distances)[:, None]], 1
        )
        basis = basis * cosine_cutoff(edges.distances, self.cutoff)[:, None]
        direction = edges.edge_vectors / edges.distances[:, None]
        scalar_basis = sum_by_index(basis, pair_index, n_pairs)
        vector_basis = sum_by_index(direction[:, :, None] * basis[:, None, :], pair_index, n_pairs)

        pairs = PairList(pair_center, pair_neighbor, graph.n_atoms)
        scalars = self.embedding(graph.numbers)
        vectors = scalars.new_zeros((graph.n_atoms, 3, self.n_channels))
        layers = []
        for message, update in zip(self.messages, self.updates, strict=True):
            scalars, vectors = message(scalars, vectors, scalar_basis, vector_basis, pairs)
            scalars, vectors = update(scalars, vectors)
            layers.append(scalars)
        return AtomFeatures(scalars, vectors, tuple(layers))


class Message(nn.Module):
    """The message block (eqs. 7 and 8), over pairs with their images summed."""

    def __init__(self, n_channels: int, n_basis: int, scale: float) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.scale = scale
        self.norm = nn.LayerNorm(n_channels)
        self.context = nn.Sequential(
            nn.Linear(n_channels, n_channels), nn.SiLU(), nn.Linear(n_channels, 3 * n_channels)
        )
        self.filter_scalar = nn.Linear(n_basis, 2 * n_channels, bias=False)
        self.filter_vector = nn.Linear(n_basis, n_channels, bias=False)

    def forward(
        self,
        scalars: Tensor,
        vectors: Tensor,
        scalar_basis: Tensor,
        vector_basis: Tensor,
        pairs: PairList,
    ) -> tuple[Tensor, Tensor]:
        """New scalars ``(n_atoms, n)`` and vectors ``(n_atoms, 3, n)``.

        The bases of a pair are ``(n_pairs, n_basis)`` and ``(n_pairs, 3, n_basis)``.
        """
        to_scalars, to_vectors = pair_messages(
            pairs,
            scalar_basis,
            vector_basis,
            self.filter_scalar.weight,
            self.filter_vector.weight,
            self.context(self.norm(scalars)),
            vectors,
        )
        return scalars + self.scale * to_scalars, vectors + self.scale * to_vectors


class Update(nn.Module):
    """The update block (eqs. 9 and 10): scalars and vectors of one atom talk to each other."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.norm = nn.LayerNorm(n_channels)
        self.mix = nn.Linear(n_channels, 2 * n_channels, bias=False)
        self.context = nn.Sequential(
            nn.Linear(2 * n_channels, n_channels), nn.SiLU(), nn.Linear(n_channels, 3 * n_channels)
        )

    def forward(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """New scalars ``(n_atoms, n)`` and vectors ``(n_atoms, 3, n)``."""
        left, right = self.mix(vectors).split(self.n_channels, dim=-1)
        # The small constant keeps the gradient of the length finite at zero vectors.
        length = torch.sqrt((right * right).sum(dim=1) + 1e-8)
        context = self.context(torch.cat([self.norm(scalars), length], dim=-1))
        to_vector, to_inner, to_scalar = context.split(self.n_channels, dim=-1)
        inner = (left * right).sum(dim=1)
        return scalars + to_scalar + to_inner * inner, vectors + to_vector[:, None, :] * left
