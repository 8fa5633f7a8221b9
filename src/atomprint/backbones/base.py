"""What every backbone promises."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor, nn

from atomprint.ground.errors import UsageError
from atomprint.structures.graph import GraphBatch


@dataclass(frozen=True)
class AtomFeatures:
    """What a backbone knows of every atom.

    Attributes
    ----------
    scalars
        Invariant features, ``(n_atoms, n_channels)``.
    vectors
        Equivariant features, ``(n_atoms, 3, n_channels)``, or None if the architecture has none.
    layers
        Invariant features after each layer, the last of which are ``scalars``.
    """

    scalars: Tensor
    vectors: Tensor | None
    layers: tuple[Tensor, ...] = ()

    def layer(self, index: int) -> Tensor:
        """Scalars ``(n_atoms, n_channels)`` after a layer, from 0; negative from the last.

        Raises
        ------
        UsageError
            If there is no such layer.
        """
        count = len(self.layers)
        if not -count <= index < count:
            raise UsageError(
                f"the network has {count} layers and no layer {index}; "
                f"choose from {-count} to {count - 1}"
            )
        return self.layers[index]


class Backbone(nn.Module, ABC):
    """A graph network over a :class:`GraphBatch`.

    Scalars do not change under rotation, translation, permutation, another choice of the same
    lattice or a supercell; neighbours beyond ``cutoff`` do nothing; one crystal's features do
    not depend on what else is in the batch. :mod:`atomprint.testing` checks all of it.

    Attributes
    ----------
    cutoff
        In Å: the graph must be built at this cutoff or above.
    n_channels
        Width of the features.
    exempt
        Laws of :mod:`atomprint.testing.backbones` that cannot hold, each with the reason.
    """

    cutoff: float
    n_channels: int
    exempt: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def forward(self, graph: GraphBatch) -> AtomFeatures:
        """Compute the features of every atom of the batch."""
