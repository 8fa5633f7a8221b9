"""PaiNN's messages over pairs of atoms: plain, and fused on the processor."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atomprint.ground.threads import over_rows
from atomprint.ground.vectors import LANES


@dataclass(frozen=True)
class PairList:
    """Which atoms meet, sorted by centre.

    Attributes
    ----------
    center, neighbor
        Atoms of each pair, ``(n_pairs,)`` int64; centres ascend.
    n_atoms
        How many atoms there are.
    """

    center: Tensor
    neighbor: Tensor
    n_atoms: int

    @cached_property
    def by_center(self) -> Any:
        """Pairs of centre i are ``by_center[i]`` to ``by_center[i + 1]``."""
        return _starts(self.center, self.n_atoms)

    @cached_property
    def by_neighbor(self) -> tuple[Any, Any]:
        """Pairs sorted by neighbour, and where those of each begin."""
        order = np.argsort(self.neighbor.numpy(), kind="stable")
        return order, _starts(self.neighbor, self.n_atoms)


def _starts(index: Tensor, size: int) -> Any:
    counts = torch.bincount(index, minlength=size)
    return torch.nn.functional.pad(torch.cumsum(counts, 0), (1, 0)).numpy()


def pair_messages(
    pairs: PairList,
    basis: Tensor,
    along: Tensor,
    scalar_filter: Tensor,
    vector_filter: Tensor,
    context: Tensor,
    vectors: Tensor,
) -> tuple[Tensor, Tensor]:
    """Sum PaiNN's messages (Schütt et al. 2021, arXiv 2102.03150, eqs. 7 and 8) over neighbours.

    With filters ``f1, f2 = basis @ scalar_filter.T`` and ``f3 = along @ vector_filter.T`` of a
    pair, and ``x1, x2, x3`` the thirds of the neighbour's context, its messages are ``f1 x1`` to
    the scalars and ``f2 x2 vectors + f3 x3`` to the vectors of the centre.

    On the processor compiled loops do all of it at once, forwards and backwards, if the number
    of channels is a multiple of 8, everything has one float type, and no gradient by the bases is
    asked for (they depend on positions only). Otherwise plain PyTorch does, whose gradients can
    be differentiated again. Both give the same numbers but for rounding.

    Parameters
    ----------
    pairs
        Which atoms meet.
    basis, along
        Radial basis of each pair, ``(n_pairs, n_basis)``, and times the direction,
        ``(n_pairs, 3, n_basis)``.
    scalar_filter, vector_filter
        Weights, ``(2 n, n_basis)`` and ``(n, n_basis)``.
    context, vectors
        Features of the atoms, ``(n_atoms, 3 n)`` and ``(n_atoms, 3, n)``.

    Returns
    -------
    to_scalars, to_vectors
        ``(n_atoms, n)`` and ``(n_atoms, 3, n)``.
    """
    if basis.device.type == "cpu":
        # Under autocast what a linear layer makes is in half precision; the loops have none.
        context = context.to(basis.dtype)
    given = (basis, along, scalar_filter, vector_filter, context, vectors)
    if _can_be_fused(*given):
        made: tuple[Tensor, Tensor] = _Fused.apply(pairs, *given)  # type: ignore[no-untyped-call]
        return made
    return plain_pair_messages(pairs, *given)


def plain_pair_messages(
    pairs: PairList,
    basis: Tensor,
    along: Tensor,
    scalar_filter: Tensor,
    vector_filter: Tensor,
    context: Tensor,
    vectors: Tensor,
) -> tuple[Tensor, Tensor]:
    """:func:`pair_messages` in plain PyTorch, on any device."""
    n = vector_filter.shape[0]
    # index_select, not indexing: its gradient is a sum over rows, several times as fast.
    context = context.index_select(0, pairs.neighbor)
    of_gates, of_vector = torch.split_with_sizes(context, [2 * n, n], -1)
    gates = torch.nn.functional.linear(basis, scalar_filter) * of_gates
    to_scalar, to_vector = torch.split_with_sizes(gates, [n, n], -1)
    along = torch.nn.functional.linear(along, vector_filter) * of_vector[:, None, :]
    along = along + to_vector[:, None, :] * vectors.index_select(0, pairs.neighbor)
    return _sum(to_scalar, pairs), _sum(along, pairs)


def _sum(values: Tensor, pairs: PairList) -> Tensor:
    out = values.new_zeros((pairs.n_atoms, *values.shape[1:]))
    return out.index_add(0, pairs.center, values)


def _can_be_fused(basis: Tensor, along: Tensor, *rest: Tensor) -> bool:
    if basis.requires_grad or along.requires_grad or basis.device.type != "cpu":
        return False
    dtypes = {tensor.dtype for tensor in (basis, along, *rest)}
    n_channels = rest[1].shape[0]
    return len(dtypes) == 1 and dtypes <= {torch.float32, torch.float64} and n_channels % LANES == 0


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pairs: PairList,
        basis: Tensor,
        along: Tensor,
        scalar_filter: Tensor,
        vector_filter: Tensor,
        context: Tensor,
        vectors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        # Numba is loaded by those who compute, not by those who ask what there is.
        from atomprint.nn.pair_loops import add_messages

        scalar_filter, vector_filter = (
            scalar_filter.t().contiguous(),
            vector_filter.t().contiguous(),
        )
        context, vectors = context.contiguous(), vectors.contiguous()
        basis, along = basis.contiguous(), along.contiguous()
        ctx.pairs = pairs
        to_scalars = context.new_empty((pairs.n_atoms, vector_filter.shape[1]))
        to_vectors = torch.empty_like(vectors)
        given = (basis, along, scalar_filter, vector_filter, context, vectors)
        ctx.save_for_backward(*given)
        arrays = [tensor.detach().numpy() for tensor in given]
        first, neighbor = pairs.by_center, pairs.neighbor.numpy()
        out = (to_scalars.numpy(), to_vectors.numpy())

        def run(start: int, stop: int) -> None:
            add_messages(start, stop, first, neighbor, *arrays, *out)

        over_rows(run, first, torch.get_num_threads())
        return to_scalars, to_vectors

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_scalars: Tensor, of_vectors: Tensor) -> tuple[Any, ...]:
        from atomprint.nn.pair_loops import pull_messages

        pairs = ctx.pairs
        given = ctx.saved_tensors
        context, vectors = given[4:]
        order, first = pairs.by_neighbor
        arrays = [t.detach().numpy() for t in given]
        gradients = (of_scalars.contiguous().numpy(), of_vectors.contiguous().numpy())
        of_context, of_neighbors = torch.empty_like(context), torch.empty_like(vectors)
        out = (of_context.numpy(), of_neighbors.numpy())
        sums = []

        def run(start: int, stop: int) -> None:
            # Every thread adds up filters of its own.
            filters = (np.zeros_like(arrays[2]), np.zeros_like(arrays[3]))
            sums.append((start, filters))
            pull_messages(
                start, stop, first, order, pairs.center.numpy(), *arrays, *gradients, *out, *filters
            )

        over_rows(run, first, torch.get_num_threads())
        # Always in one order: floating-point sums depend on it, threads end in any.
        sums.sort(key=lambda one: one[0])
        of_scalar_filter, of_vector_filter = (
            torch.from_numpy(sum(filters[k] for _, filters in sums)).t() for k in range(2)
        )
        return None, None, None, of_scalar_filter, of_vector_filter, of_context, of_neighbors
