"""Functions of one variable from a table of cubics, with derivatives of any order."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def look_up(position: Tensor, table: Tensor) -> Tensor:
    """Evaluate piecewise cubics.

    Parameters
    ----------
    position
        Where to evaluate, in units of an interval: cell k reaches from k to k + 1. ``(n,)``;
        differentiable, any number of times.
    table
        Coefficients of ``1, t, t², t³`` in each cell, t from 0 to 1, ``(n_cells, 4, n_functions)``.
        No gradient flows into it.

    Returns
    -------
    Tensor
        ``(n, n_functions)``.
    """
    values: Tensor = _LookUp.apply(position, table, 0)  # type: ignore[no-untyped-call]
    return values


class _LookUp(torch.autograd.Function):
    """The ``order``-th derivative of the cubics; its own derivative is the next one.

    An embedding bag reads four rows of the table and adds them in one pass, ten times as fast as
    gathering them and multiplying; but PyTorch cannot differentiate it twice, and this can.
    """

    @staticmethod
    def forward(ctx: Any, position: Tensor, table: Tensor, order: int) -> Tensor:
        ctx.save_for_backward(position, table)
        ctx.order = order
        cell = position.long().clamp(0, table.shape[0] - 1)
        t = position - cell
        # The order-th derivative of t^k is k! / (k - order)! t^(k - order).
        powers = [
            math.perm(k, order) * t ** max(k - order, 0) if k >= order else torch.zeros_like(t)
            for k in range(4)
        ]
        rows = cell[:, None] * 4 + torch.arange(4, device=cell.device)
        weights = torch.stack(powers, dim=-1)
        return F.embedding_bag(rows, table.flatten(0, 1), mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        position, table = ctx.saved_tensors
        slope: Tensor = _LookUp.apply(position, table, ctx.order + 1)  # type: ignore[no-untyped-call]
        return (gradients[0] * slope).sum(-1), None, None
