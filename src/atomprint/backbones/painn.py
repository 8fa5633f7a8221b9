"""PaiNN, the polarizable atom interaction network (Schütt et al. 2021, arXiv 2102.03150)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from atomprint.backbones.base import AtomFeatures, Backbone
from atomprint.backbones.elements import ELEMENTS, ElementStart, element_embedding
from atomprint.ground.settings import Settings
from atomprint.nn.pair_bases import pair_bases
from atomprint.nn.pair_messages import PairList, pair_messages
from atomprint.nn.radial import BesselBasis
from atomprint.structures.graph import GraphBatch


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

    This is exact. It makes the cost of a layer proportional to the number of distinct pairs of
    atoms, at most ``n_atoms (n_atoms + 1) / 2`` a crystal, whatever the cutoff: in a cell of seven
    atoms at 6 Å a fifteenth or less of the number of edges. A pair's filters serve both of its
    atoms, for whom they differ in the sign of the direction only.
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
        pairs, bases = pair_bases(graph.within(self.cutoff), self.radial, self.cutoff)
        scalars = self.embedding(graph.numbers)
        vectors = scalars.new_zeros((graph.n_atoms, 3, self.n_channels))
        layers = []
        for message, update in zip(self.messages, self.updates, strict=True):
            scalars, vectors = message(scalars, vectors, bases, pairs)
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
        self, scalars: Tensor, vectors: Tensor, bases: Tensor, pairs: PairList
    ) -> tuple[Tensor, Tensor]:
        """New scalars ``(n_atoms, n)`` and vectors ``(n_atoms, 3, n)``.

        The bases of a pair are ``(n_pairs, n_basis, 4)``.
        """
        to_scalars, to_vectors = pair_messages(
            pairs,
            bases,
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
