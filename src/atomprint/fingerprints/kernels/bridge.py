"""Fused kernels as functions of a graph batch, with gradients through PyTorch."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atomprint.fingerprints.kernels.base import FusedKernel
from atomprint.fingerprints.kernels.edges import EdgeBlock
from atomprint.ground.elements import MAX_Z
from atomprint.structures.graph import GraphBatch

# Kernels pass over edges beyond their cutoff. Up to so many times the cutoff that is cheaper than a
# list of its own for every fingerprint.
_NOT_MUCH_MORE = 1.25


def rows_of_graph(
    kernel: FusedKernel,
    graph: GraphBatch,
    cutoff: float,
    reference: Callable[[GraphBatch], Tensor],
) -> Tensor:
    """Rows of a graph's atoms by a fused kernel, ``(n_atoms, n_columns)``.

    Differentiable in positions and cells if the kernel has a gradient. A gradient that is to be
    differentiated again (``create_graph=True``) is taken from the reference.

    Parameters
    ----------
    kernel
        What computes.
    graph
        Any graph that reaches the cutoff.
    cutoff
        The fingerprint's, in Å.
    reference
        The same rows in plain PyTorch.
    """
    if not cutoff <= graph.cutoff <= _NOT_MUCH_MORE * cutoff:
        graph = graph.within(cutoff)  # which refuses a graph that does not reach so far
    rows: Tensor = _Fused.apply(graph.edge_vectors, kernel, graph, reference)  # type: ignore[no-untyped-call]
    return rows


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        vectors: Tensor,
        kernel: FusedKernel,
        graph: GraphBatch,
        reference: Callable[[GraphBatch], Tensor],
    ) -> Tensor:
        # Fingerprints of one graph share it.
        if "edge_block" not in graph.__dict__:
            graph.__dict__["edge_block"] = block_of_graph(graph, vectors)
        block: EdgeBlock = graph.__dict__["edge_block"]
        ctx.save_for_backward(vectors)
        ctx.kernel, ctx.block, ctx.graph, ctx.reference = kernel, block, graph, reference
        return torch.from_numpy(kernel.rows(block, torch.get_num_threads()))

    @staticmethod
    def backward(ctx: Any, *row_gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (given,) = row_gradients
        if torch.is_grad_enabled():  # create_graph=True
            (vectors,) = ctx.saved_tensors
            graph = replace(ctx.graph)
            graph.__dict__["edge_vectors"] = vectors
            rows = ctx.reference(graph)
            (gradient,) = torch.autograd.grad(rows, vectors, given, create_graph=True)
            return gradient, None, None, None
        plain = ctx.kernel.gradient(ctx.block, given.numpy(), torch.get_num_threads())
        return torch.from_numpy(plain), None, None, None


def block_of_graph(graph: GraphBatch, vectors: Tensor) -> EdgeBlock:
    """The edges of a graph on the processor, whose centres are all of its atoms."""
    counts = torch.bincount(graph.center_index, minlength=graph.n_atoms)
    first = torch.nn.functional.pad(torch.cumsum(counts, 0), (1, 0))
    elements = graph.crystal_index * (MAX_Z + 1) + graph.numbers
    composition = torch.bincount(elements, minlength=graph.n_crystals * (MAX_Z + 1))
    return EdgeBlock(
        numbers=graph.numbers.numpy(),
        first=first.numpy(),
        neighbor_numbers=graph.numbers[graph.neighbor_index].numpy(),
        vectors=np.ascontiguousarray(vectors.detach().numpy()),
        cutoff=graph.cutoff,
        crystal_index=graph.crystal_index.numpy(),
        composition=composition.view(graph.n_crystals, MAX_Z + 1).numpy(),
        # Not the graph's own property: made here it would be kept without its gradient.
        volumes=torch.linalg.det(graph.cells.detach().double()).abs().numpy(),
    )
