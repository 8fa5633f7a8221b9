"""From features of atoms to one target."""

from typing import Literal

import torch
from torch import Tensor, nn

from atomprint.heads.target import Target
from atomprint.structures.graph import GraphBatch, sum_by_index

Pooling = Literal["mean", "mean+max", "attention"]


def mean_over_crystals(values: Tensor, graph: GraphBatch) -> Tensor:
    """Mean of atomic rows over each crystal, ``(n_crystals, ...)``."""
    total = sum_by_index(values, graph.crystal_index, graph.n_crystals)
    return total / graph.n_atoms_per_crystal.to(values.dtype)[:, None]


class Head(nn.Module):
    """Predict one target, standardised (or logits, for classes).

    Per atom: an MLP of the atom's features. Per crystal: an MLP of features pooled over the
    atoms of the cell, which does not change with the choice of cell.

    Parameters
    ----------
    target
        What to predict.
    n_channels
        Width of the backbone's scalars.
    pooling
        ``mean``; ``mean+max`` (the mean and the maximum, side by side); or ``attention`` (a
        weighted mean with learned weights). All three are the same for a supercell.
    n_hidden
        Width of the hidden layer.
    """

    def __init__(self, target: Target, n_channels: int, pooling: Pooling, n_hidden: int) -> None:
        super().__init__()
        self.target = target
        self.pooling: Pooling = pooling
        self.project = nn.Linear(n_channels, n_hidden)
        n_pooled = n_hidden
        if target.per == "crystal" and pooling == "mean+max":
            n_pooled = 2 * n_hidden
        if target.per == "crystal" and pooling == "attention":
            self.score = nn.Linear(n_channels, 1)
        self.out = nn.Sequential(
            nn.Linear(n_pooled, n_hidden), nn.SiLU(), nn.Linear(n_hidden, target.size)
        )

    def forward(self, scalars: Tensor, graph: GraphBatch) -> Tensor:
        """``(n_atoms | n_crystals, size)`` from scalars ``(n_atoms, n_channels)``."""
        hidden = nn.functional.silu(self.project(scalars))
        if self.target.per == "crystal":
            hidden = self._pool(hidden, scalars, graph)
        out: Tensor = self.out(hidden)
        return out

    def _pool(self, hidden: Tensor, scalars: Tensor, graph: GraphBatch) -> Tensor:
        if self.pooling == "attention":
            weight = torch.exp(5 * torch.tanh(self.score(scalars) / 5))
            both = mean_over_crystals(torch.cat([hidden * weight, weight], 1), graph)
            return both[:, :-1] / both[:, -1:]
        mean = mean_over_crystals(hidden, graph)
        if self.pooling == "mean":
            return mean
        index = graph.crystal_index[:, None].expand_as(hidden)
        largest = hidden.new_full(mean.shape, -torch.inf).scatter_reduce(0, index, hidden, "amax")
        return torch.cat([mean, largest], 1)
