"""Rows of a graph's atoms on a GPU, for every fingerprint quadratic in an expansion."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from atomprint.fingerprints.harmonics import solid_harmonics
from atomprint.fingerprints.kernels.expansion import LINEAR, SELF, Expansion
from atomprint.fingerprints.kernels.gpu import programs
from atomprint.structures.graph import GraphBatch, sum_by_index

_HELD = 4096
"""Numbers that a program may hold at once in its sums, which sets edges per step."""
_STEP = 32
"""Most edges per step."""


@dataclass(frozen=True)
class _Degree:
    """Blocks of one degree, and the sizes that the compiler must know."""

    degree: int
    block: Tensor
    column: Tensor
    offset: Tensor
    with_self: Tensor
    n_rows: int
    tile: int


@dataclass(frozen=True)
class _Edges:
    """Edges of a batch sorted by centre: first of each centre, elements, centres."""

    first: Tensor
    elements: Tensor
    centers: Tensor


@dataclass(frozen=True)
class _Products:
    """Products of one block: places among coefficients of a block, and among all products."""

    block: int
    place: Tensor
    left: Tensor
    right: Tensor


class _Tables:
    """All numbers of an expansion on one device, in one float type."""

    def __init__(self, e: Expansion, dtype: torch.dtype, device: torch.device) -> None:
        def floats(values: Any) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values), dtype=dtype, device=device)

        def ints(values: Any) -> Tensor:
            return torch.as_tensor(np.asarray(values), dtype=torch.int64, device=device)

        self.l_max = int(e.degrees.max())
        self.weights, self.center_weights = floats(e.weights), floats(e.center_weights)
        self.center, self.table = floats(e.center), floats(e.table.coefficients)
        self.table_of_element = ints(e.table_of_element)
        # As numbers of the launch they would be float32.
        self.limits = floats([e.table.start, 1 / e.table.step, e.cutoff])
        self.recurrence = floats(_recurrence(self.l_max))
        self.mix = None if e.mix is None else floats(e.mix)
        self.factor = floats(e.products.factor)
        sizes = (2 * e.degrees + 1) * e.n_radial
        self.offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self.size = int(sizes.sum())
        p = e.products
        squared = np.isin(np.arange(len(e.degrees)), p.block[p.right == SELF])
        self.n_columns = max(1 << (e.n_radial - 1).bit_length(), 2)
        self.degrees: list[_Degree] = []
        for degree in np.unique(e.degrees):
            blocks = np.flatnonzero(e.degrees == degree)
            n_rows = 1 << (2 * int(degree)).bit_length()
            tile = max(2, min(_STEP, _HELD // (n_rows * self.n_columns)))
            self.degrees.append(
                _Degree(
                    int(degree), ints(blocks), ints(e.columns[blocks]), ints(self.offsets[blocks]),
                    ints(squared[blocks]), n_rows, 1 << (tile.bit_length() - 1),
                )
            )  # fmt: skip
        self.pairs: list[_Products] = []
        self.linear: list[_Products] = []
        self.selves: list[_Products] = []
        for block in np.unique(p.block):
            for groups, kind in (
                (self.pairs, p.right >= 0),
                (self.linear, p.right == LINEAR),
                (self.selves, p.right == SELF),
            ):
                place = np.flatnonzero((p.block == block) & kind)
                if len(place):
                    groups.append(
                        _Products(
                            int(block), ints(place), ints(p.left[place]),
                            ints(np.maximum(p.right[place], 0)),
                        )
                    )  # fmt: skip


class GpuKernel:
    """Rows of an :class:`Expansion` on a CUDA device, differentiable.

    Coefficients of every centre are made by one Triton launch a degree, which reads an edge's
    vector, makes harmonics and radial functions in registers and writes nothing per edge; products
    and the linear map are matrix products of PyTorch. Gradients reach positions, cells, and channel
    weights given as a tensor. A gradient that is to be differentiated again is taken from plain
    PyTorch.

    Parameters
    ----------
    expansion
        What to compute.
    """

    def __init__(self, expansion: Expansion) -> None:
        self.expansion = expansion
        self._tables: dict[tuple[torch.dtype, torch.device], _Tables] = {}

    def tables(self, dtype: torch.dtype, device: torch.device) -> _Tables:
        """Numbers of the expansion on a device, made once."""
        if (dtype, device) not in self._tables:
            self._tables[dtype, device] = _Tables(self.expansion, dtype, device)
        return self._tables[dtype, device]

    def rows(self, graph: GraphBatch, weights: Tensor | None = None) -> Tensor:
        """Compute ``(n_atoms, n_columns)`` in the graph's float type.

        Parameters
        ----------
        graph
            Reaches the expansion's cutoff or beyond; edges are sorted by centre.
        weights
            Channel weights by element in place of the expansion's, ``(119, n_channels)``; may
            need a gradient.
        """
        coefficients, selves = self.coefficients(graph, weights)
        return self._columns(coefficients, selves, self.tables(graph.dtype, graph.positions.device))

    def coefficients(
        self, graph: GraphBatch, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the coefficients and the self terms of every atom.

        Returns
        -------
        coefficients
            ``(n_atoms, n_channels, size)``: blocks in order, each ``(2l + 1, n_radial)``.
        selves
            ``(n_atoms, n_channels, n_blocks, n_radial)``; filled where a product asks for them.
        """
        tables = self.tables(graph.dtype, graph.positions.device)
        counts = torch.bincount(graph.center_index, minlength=graph.n_atoms)
        edges = _Edges(
            functional.pad(torch.cumsum(counts, 0), (1, 0)),
            graph.numbers[graph.neighbor_index],
            graph.center_index,
        )
        weights = tables.weights if weights is None else weights
        made = _Coefficients.apply(graph.edge_vectors, weights, self.expansion, tables, edges)  # type: ignore[no-untyped-call]
        coefficients, selves = made
        own = tables.center_weights[graph.numbers]
        if bool((self.expansion.center_weights != 0).any()):
            added = tables.center[tables.table_of_element[graph.numbers]]
            parts = []
            for block, degree in enumerate(self.expansion.degrees):
                part = own[:, :, None] * added[:, None, block]
                parts.append(functional.pad(part, (0, 2 * int(degree) * self.expansion.n_radial)))
            coefficients = coefficients + torch.cat(parts, dim=2)
        return coefficients, selves

    def _columns(self, coefficients: Tensor, selves: Tensor, tables: _Tables) -> Tensor:
        """Products, linear map and root."""
        e, n_atoms = self.expansion, coefficients.shape[0]
        parts, places = [], []
        for group in (*tables.pairs, *tables.linear):
            offset, terms = int(tables.offsets[group.block]), 2 * int(e.degrees[group.block]) + 1
            block = coefficients[:, :, offset : offset + terms * e.n_radial]
            block = block.reshape(n_atoms, -1, terms, e.n_radial).transpose(1, 2).flatten(2)
            if any(group is one for one in tables.linear):
                parts.append(block[:, 0, group.left])
            elif 2 * len(group.place) > block.shape[2] ** 2 // 2:
                gram = block.transpose(1, 2) @ block
                parts.append(gram.flatten(1)[:, group.left * block.shape[2] + group.right])
            else:
                parts.append((block[..., group.left] * block[..., group.right]).sum(1))
            places.append(group.place)
        for group in tables.selves:
            parts.append(selves[:, :, group.block].reshape(n_atoms, -1)[:, group.left])
            places.append(group.place)
        products = torch.cat(parts, dim=1)[:, torch.argsort(torch.cat(places))] * tables.factor
        columns = products if tables.mix is None else products @ tables.mix
        if e.root:  # the root has no slope at zero: its gradient is taken as zero there
            positive = columns > 0
            columns = torch.where(positive, columns, 1).sqrt() * positive
        return columns


def plain_coefficients(
    vectors: Tensor, weights: Tensor, e: Expansion, tables: _Tables, edges: _Edges
) -> tuple[Tensor, Tensor]:
    """The same sums over neighbours in plain PyTorch, differentiable any number of times.

    Writes every edge's terms to memory, ``n_edges * n_channels * size`` numbers.
    """
    length = torch.linalg.vector_norm(vectors, dim=1)
    start, inverse, cutoff = tables.limits.unbind()
    place = (length - start) * inverse
    interval = place.detach().long().clamp(0, tables.table.shape[1] - 1)
    cubic = tables.table[tables.table_of_element[edges.elements], interval]
    t = (place - interval)[:, None]
    radial = ((cubic[:, 3] * t + cubic[:, 2]) * t + cubic[:, 1]) * t + cubic[:, 0]
    radial = radial * (length < cutoff)[:, None]
    harmonics = solid_harmonics(vectors / length[:, None], tables.l_max)
    weight, n_atoms = weights[edges.elements], len(edges.first) - 1
    parts, selves = [], []
    for degree, column in zip(e.degrees.tolist(), e.columns.tolist(), strict=True):
        some = weight[:, :, None] * radial[:, None, column : column + e.n_radial]
        of_degree = harmonics[:, degree**2 : (degree + 1) ** 2]
        terms = of_degree[:, None, :, None] * some[:, :, None, :]
        parts.append(sum_by_index(terms.flatten(2), edges.centers, n_atoms))
        selves.append(sum_by_index(some.square(), edges.centers, n_atoms))
    return torch.cat(parts, dim=2), torch.stack(selves, dim=2)


class _Coefficients(torch.autograd.Function):
    @staticmethod
    def forward(
        vectors: Tensor, weights: Tensor, e: Expansion, tables: _Tables, edges: _Edges
    ) -> tuple[Tensor, Tensor]:
        vectors, weights = vectors.detach().contiguous(), weights.detach().contiguous()
        n, n_channels, n_blocks = len(edges.first) - 1, weights.shape[1], len(e.degrees)
        out = vectors.new_zeros(n, n_channels, tables.size)
        selves = vectors.new_zeros(n, n_channels, n_blocks, e.n_radial)
        for d in tables.degrees if n else ():
            programs.forward[n, len(d.block), n_channels](
                *_shared(vectors, weights, tables, edges, d), out, selves, tables.table.shape[1],
                tables.table.shape[3], n_channels, tables.size, n_blocks, e.n_radial, d.degree,
                tables.l_max + 1, d.n_rows, tables.n_columns, d.tile,
            )  # fmt: skip
        return out, selves

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        vectors, weights, *rest = inputs
        ctx.save_for_backward(vectors, weights)
        ctx.rest = rest

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        vectors, weights = ctx.saved_tensors
        e, tables, edges = ctx.rest
        if torch.is_grad_enabled():  # create_graph=True
            wanted = [
                x for x, k in zip((vectors, weights), ctx.needs_input_grad, strict=False) if k
            ]
            plain = plain_coefficients(vectors, weights, e, tables, edges)
            found = iter(torch.autograd.grad(plain, wanted, given, create_graph=True))
            both = [next(found) if need else None for need in ctx.needs_input_grad[:2]]
            return both[0], both[1], None, None, None
        n, n_channels, n_blocks = len(edges.first) - 1, weights.shape[1], len(e.degrees)
        learning = bool(ctx.needs_input_grad[1])
        vectors, weights = vectors.detach().contiguous(), weights.detach().contiguous()
        out = torch.zeros_like(vectors)
        by_edge = vectors.new_zeros(len(vectors) if learning else 1, n_channels)
        pull, pull_selves = (one.contiguous() for one in given)
        for d in tables.degrees if n else ():
            programs.backward[(n,)](
                *_shared(vectors, weights, tables, edges, d), pull, pull_selves, out, by_edge,
                tables.table.shape[1], tables.table.shape[3], n_channels, tables.size, n_blocks,
                len(d.block), e.n_radial, d.degree, tables.l_max + 1, d.n_rows, tables.n_columns,
                d.tile, learning,
            )  # fmt: skip
        by_weight = sum_by_index(by_edge, edges.elements, len(weights)) if learning else None
        return out, by_weight, None, None, None


def _shared(
    vectors: Tensor, weights: Tensor, tables: _Tables, edges: _Edges, d: _Degree
) -> tuple[Tensor, ...]:
    """What both programs read."""
    return (
        edges.first, vectors, edges.elements, weights, tables.table_of_element, tables.table,
        tables.limits, tables.recurrence, d.block, d.column, d.offset, d.with_self,
    )  # fmt: skip


def _recurrence(l_max: int) -> Any:
    """Coefficients of the harmonics' recurrences on the sphere, ``(3, l_max + 1, l_max + 1)``.

    Diagonal, rise and fall, at (l, m); see :func:`solid_harmonics` for the source.
    """
    values = np.zeros((3, l_max + 1, l_max + 1))
    diagonal = math.sqrt(1 / (4 * math.pi))
    for m in range(l_max + 1):
        if m > 0:
            diagonal *= math.sqrt((2 * m + 1) / (2 * m)) * (math.sqrt(2) if m == 1 else 1)
        values[0, m, m] = diagonal
        for l in range(m + 1, l_max + 1):  # noqa: E741 (the field's own letter)
            rise = math.sqrt((4 * l * l - 1) / (l * l - m * m))
            values[1, l, m] = rise
            if l - 1 > m:
                fall = math.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1))
                values[2, l, m] = rise * fall
    return values
