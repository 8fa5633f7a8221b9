"""PaiNN's messages over pairs of atoms: plain, and fused on the processor."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atomprint.ground.threads import over_rows
from atomprint.ground.vectors import LANES


@dataclass(frozen=True)
class PairList:
    """Which atoms meet; each pair stands once and has messages both ways.

    Attributes
    ----------
    first, second
        Atoms of each pair, ``(n_pairs,)`` int64. An atom may meet itself, as its own periodic
        image: that is one message.
    n_atoms
        How many atoms there are.
    """

    first: Tensor
    second: Tensor
    n_atoms: int


def pair_messages(
    pairs: PairList,
    bases: Tensor,
    scalar_filter: Tensor,
    vector_filter: Tensor,
    context: Tensor,
    vectors: Tensor,
) -> tuple[Tensor, Tensor]:
    """Sum PaiNN's messages (Schütt et al. 2021, arXiv 2102.03150, eqs. 7 and 8) over neighbours.

    With a pair's radial basis ``b`` and that times its direction ``a``, filters are ``f1, f2 =
    scalar_filter @ b`` and ``f3 = vector_filter @ a``; with ``x1, x2, x3`` the thirds of the
    sender's context, its messages are ``f1 x1`` to the scalars and ``f2 x2 vectors + f3 x3`` to the
    vectors of the receiver. The second atom of a pair sends to the first, and the first to the
    second, for whom the direction is ``-a``.

    On the processor compiled loops do all of it at once, forwards and backwards, if the number
    of channels is a multiple of 8, everything has one float type, and no gradient by the bases is
    asked for (they depend on positions only). Otherwise plain PyTorch does, whose gradients can
    be differentiated again. Both give the same numbers but for rounding.

    Parameters
    ----------
    pairs
        Which atoms meet.
    bases
        ``(n_pairs, n_basis, 4)``: the radial basis of each pair, and that times each component of
        the direction from the first to the second atom.
    scalar_filter, vector_filter
        Weights, ``(2 n, n_basis)`` and ``(n, n_basis)``.
    context, vectors
        Features of the atoms, ``(n_atoms, 3 n)`` and ``(n_atoms, 3, n)``.

    Returns
    -------
    to_scalars, to_vectors
        ``(n_atoms, n)`` and ``(n_atoms, 3, n)``.
    """
    if bases.device.type == "cpu":
        # Under autocast what a linear layer makes is in half precision; the loops have none.
        context = context.to(bases.dtype)
    given = (bases, scalar_filter, vector_filter, context, vectors)
    if _can_be_fused(*given):
        made: tuple[Tensor, Tensor] = _Fused.apply(pairs, *given)  # type: ignore[no-untyped-call]
        return made
    return plain_pair_messages(pairs, *given)


def plain_pair_messages(
    pairs: PairList,
    bases: Tensor,
    scalar_filter: Tensor,
    vector_filter: Tensor,
    context: Tensor,
    vectors: Tensor,
) -> tuple[Tensor, Tensor]:
    """:func:`pair_messages` in plain PyTorch, on any device."""
    gates = torch.nn.functional.linear(bases[:, :, 0], scalar_filter)
    along = torch.nn.functional.linear(bases[:, :, 1:].transpose(1, 2), vector_filter)
    senders = (context, vectors)
    to_first = _sent(pairs.second, *senders, gates, along)
    # An atom that meets itself has had its message.
    other = (pairs.first != pairs.second).to(gates.dtype)[:, None]
    to_second = _sent(pairs.first, *senders, gates * other, -along * other[:, None])
    scalars, gated = (
        _sum(one, pairs.first, pairs.n_atoms).index_add(0, pairs.second, two)
        for one, two in zip(to_first, to_second, strict=True)
    )
    return scalars, gated


def _sent(
    senders: Tensor, context: Tensor, vectors: Tensor, gates: Tensor, along: Tensor
) -> tuple[Tensor, Tensor]:
    """Messages one way, a row a pair."""
    n = along.shape[-1]
    # index_select, not indexing: its gradient is a sum over rows, several times as fast.
    context = context.index_select(0, senders)
    of_gates, of_vector = torch.split_with_sizes(context, [2 * n, n], -1)
    to_scalar, to_vector = torch.split_with_sizes(gates * of_gates, [n, n], -1)
    along = along * of_vector[:, None, :]
    return to_scalar, along + to_vector[:, None, :] * vectors.index_select(0, senders)


def _sum(values: Tensor, index: Tensor, size: int) -> Tensor:
    return values.new_zeros((size, *values.shape[1:])).index_add(0, index, values)


def _can_be_fused(bases: Tensor, *rest: Tensor) -> bool:
    if bases.requires_grad or bases.device.type != "cpu":
        return False
    dtypes = {tensor.dtype for tensor in (bases, *rest)}
    n_channels = rest[1].shape[0]
    return len(dtypes) == 1 and dtypes <= {torch.float32, torch.float64} and n_channels % LANES == 0


def _in_blocks(scalar_filter: Tensor, vector_filter: Tensor) -> Tensor:
    """Filters as the loops read them, ``(n / 8, n_basis, 3, 8)``."""
    n, n_basis = vector_filter.shape
    filters = torch.cat([scalar_filter, vector_filter]).view(3, n // LANES, LANES, n_basis)
    return filters.permute(1, 3, 0, 2).contiguous()


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pairs: PairList,
        bases: Tensor,
        scalar_filter: Tensor,
        vector_filter: Tensor,
        context: Tensor,
        vectors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        # Numba is loaded by those who compute, not by those who ask what there is.
        from atomprint.nn.pair_loops import add_messages

        filters = _in_blocks(scalar_filter, vector_filter)
        given = (bases.contiguous(), filters, context.contiguous(), vectors.contiguous())
        ctx.pairs = pairs
        ctx.save_for_backward(*given)
        to_scalars = context.new_zeros((pairs.n_atoms, len(vector_filter)))
        to_vectors = torch.zeros_like(given[-1])
        arrays = [pairs.first.numpy(), pairs.second.numpy()]
        arrays += [tensor.detach().numpy() for tensor in (*given, to_scalars, to_vectors)]

        def run(start: int, stop: int) -> None:
            add_messages(start, stop, *arrays)

        over_rows(run, np.arange(len(filters) + 1), torch.get_num_threads())
        return to_scalars, to_vectors

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_scalars: Tensor, of_vectors: Tensor) -> tuple[Any, ...]:
        from atomprint.nn.pair_loops import pull_messages

        pairs, given = ctx.pairs, ctx.saved_tensors
        _, filters, context, vectors = given
        of_context, of_neighbors = torch.zeros_like(context), torch.zeros_like(vectors)
        of_filters = torch.zeros_like(filters)
        arrays = [pairs.first.numpy(), pairs.second.numpy()]
        arrays += [tensor.detach().numpy() for tensor in given]
        arrays += [of_scalars.contiguous().numpy(), of_vectors.contiguous().numpy()]
        arrays += [of_context.numpy(), of_neighbors.numpy(), of_filters.numpy()]

        def run(start: int, stop: int) -> None:
            pull_messages(start, stop, *arrays)

        over_rows(run, np.arange(len(filters) + 1), torch.get_num_threads())
        n_basis = filters.shape[1]
        rows = of_filters.permute(2, 0, 3, 1).reshape(-1, n_basis)
        n = len(rows) // 3
        return None, None, rows[: 2 * n], rows[2 * n :], of_context, of_neighbors
