"""From features of atoms to one target."""

from typing import Literal

import torch
from torch import Tensor, nn

from atomprint.heads.target import Target
from atomprint.structures.graph import GraphBatch, sum_by_index

Pooling = Literal["mean", "mean+max", "attention"]

_ROUNDING = 64
"""Rounding errors by which values of atoms that are alike may differ, relative."""
_MOST = 0.01
"""The same at most, for half precision, where so many would be half of the value."""


def mean_over_crystals(values: Tensor, graph: GraphBatch) -> Tensor:
    """Mean of atomic rows over each crystal, ``(n_crystals, ...)``."""
    total = sum_by_index(values, graph.crystal_index, graph.n_crystals)
    return total / graph.n_atoms_per_crystal.to(values.dtype)[:, None]


def max_over_crystals(values: Tensor, graph: GraphBatch) -> Tensor:
    """Maximum of atomic rows over each crystal, ``(n_crystals, n)``, column by column.

    Atoms that are alike have the same values but for rounding, which must not choose one of them:
    the gradient is shared by all within some rounding errors of the maximum. The sums over weights
    are the same either way; norms of gradients by features, by which objectives are balanced, are
    not.
    """
    fixed = values.detach()
    index = graph.crystal_index[:, None].expand_as(values)
    largest = fixed.new_full((graph.n_crystals, values.shape[1]), -torch.inf)
    largest = largest.scatter_reduce(0, index, fixed, "amax")
    least = largest - min(_ROUNDING * torch.finfo(values.dtype).eps, _MOST) * (1 + largest.abs())
    alike = (fixed >= least[graph.crystal_index]).to(values.dtype)
    shares = alike / sum_by_index(alike, graph.crystal_index, graph.n_crystals)[graph.crystal_index]
    mean = sum_by_index(values * shares, graph.crystal_index, graph.n_crystals)
    return largest + (mean - mean.detach())


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
        return torch.cat([mean, max_over_crystals(hidden, graph)], 1)
