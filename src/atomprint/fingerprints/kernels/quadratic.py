"""The fused kernel of every fingerprint that is quadratic in an expansion."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from atomprint.fingerprints.harmonics import solid_harmonics
from atomprint.fingerprints.kernels import quadratic_loops as loops
from atomprint.fingerprints.kernels.base import FusedKernel
from atomprint.fingerprints.kernels.edges import EdgeBlock, Floats, rows_for
from atomprint.fingerprints.kernels.expansion import LINEAR, SELF, Expansion, Float64s, Ints
from atomprint.fingerprints.kernels.tiles import BATCH
from atomprint.ground.compiled import compiled
from atomprint.ground.threads import over_rows
from atomprint.ground.vectors import LANES


@dataclass(frozen=True)
class _Precision:
    """What tables of one float type are like.

    Attributes
    ----------
    n_terms
        Coefficients of an interval: cubics are enough for float32 and are read in registers;
        quintics keep float64's tables in the cache.
    value, slope
        How far joined intervals may stray from the given ones, relative to a column's largest.
    """

    n_terms: int
    value: float
    slope: float


_PRECISION = {
    np.dtype(np.float64): _Precision(6, 4e-12, 1e-9),
    np.dtype(np.float32): _Precision(4, 4e-7, 2e-5),
}


@dataclass(frozen=True)
class _Arrays:
    """All numbers of an expansion in one float type, as the loops want them."""

    weights: Floats
    center_weights: Floats
    center: Floats
    table: Floats
    begin: float
    step: float
    rise: Floats
    fall: Floats
    diagonal: Floats
    slope_factor: Floats
    coefficient: Floats


class QuadraticKernel(FusedKernel):
    """Fused rows and gradients of an :class:`Expansion`.

    One pass an atom: neighbours below the cutoff are gathered, sorted by element; harmonics and
    radial functions of 64 at a time are made in L1 and summed in registers, an expansion for each
    element; channels are mixed from elements (so that ten channels cost hardly more than one), and
    the products are taken. Nothing that is per edge is ever written to memory.

    Parameters
    ----------
    expansion
        What to compute.
    """

    has_gradient = True

    def __init__(self, expansion: Expansion) -> None:
        self.expansion = expansion
        self.l_max = int(expansion.degrees.max())
        self.n_padded = -(-expansion.n_radial // LANES) * LANES
        self.columns: Ints = np.ascontiguousarray(expansion.columns, dtype=np.int64)
        # A block's last vector may reach into the next block's columns: what that adds is in
        # places beyond n_radial, which nothing reads.
        self.width = -(-(int(self.columns.max()) + self.n_padded) // LANES) * LANES
        sizes = (2 * expansion.degrees + 1) * self.n_padded
        self.offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        self.size = int(sizes.sum())
        self.n_channels = expansion.weights.shape[1]
        # With one channel of equal weights and one table, elements need not be told apart.
        alike = len(np.unique(expansion.weights[1:])) == 1
        self.uniform = self.n_channels == 1 and alike and len(expansion.table.coefficients) == 1
        self._plan_values()
        self._arrays: dict[Any, _Arrays] = {}

    def _plan_values(self) -> None:
        """Decide which rows of values are made, and what columns take from them.

        Where only squares are asked for in a block, its products of different n are not made.
        """
        e, n_radial = self.expansion, self.expansion.n_radial
        block, left, right = e.products.block, e.products.left, e.products.right
        mixed = {int(b) for b in block[(right >= 0) & (left != right)]}
        channel, n = np.divmod(left, n_radial)
        other, other_n = np.divmod(np.maximum(right, 0), n_radial)
        order = np.zeros_like(block) if e.products.order is None else e.products.order
        keys: list[tuple[int, int, int, int, int]] = []
        for k in range(len(block)):
            b, a = int(block[k]), int(channel[k])
            if right[k] == SELF:
                keys.append((loops.SELF, b, a, a, 0))
            elif right[k] == LINEAR:
                keys.append((loops.LINEAR, b, a, a, int(order[k])))
            elif b in mixed:
                keys.append((loops.GRAM, b, a, int(other[k]), 0))
            else:
                keys.append((loops.SQUARE, b, a, a, 0))
        rows = sorted(set(keys))
        counts = [n_radial if key[0] == loops.GRAM else 1 for key in rows]
        bases = dict(zip(rows, np.cumsum([0, *counts[:-1]]) * self.n_padded, strict=True))
        place = np.array([bases[key] for key in keys], dtype=np.int64)
        gram = np.array([key[0] == loops.GRAM for key in keys], dtype=bool)
        place += np.where(gram, n * self.n_padded + other_n, n)
        table = np.array(rows, dtype=np.int64).reshape(-1, 5)
        self.row_kind, of_block = np.ascontiguousarray(table[:, 0]), table[:, 1]
        starts = np.where(
            self.row_kind == loops.SELF, self.columns[of_block], self.offsets[of_block]
        )
        self.row_offset = starts + table[:, 4] * self.n_padded
        self.row_terms = 2 * e.degrees[of_block] + 1
        self.row_left = np.ascontiguousarray(table[:, 2])
        self.row_right = np.ascontiguousarray(table[:, 3])
        self.row_left_n = np.zeros(len(rows), dtype=np.int64)
        self.row_count = np.array(counts, dtype=np.int64)
        self.n_values = int(self.row_count.sum()) * self.n_padded
        self.with_self = bool((self.row_kind == loops.SELF).any())
        # Made once and stored where more blocks than columns, or self terms, ask for them.
        self.with_stored = self.with_self or len(np.unique(self.columns)) < len(self.columns)
        factor = e.products.factor
        if e.mix is None:
            self.term_first = np.arange(len(place) + 1, dtype=np.uintp)
            self.term_value, self.term_factor = place, factor.astype(np.float64)
        else:
            column, product = np.nonzero(e.mix.T)
            firsts = np.searchsorted(column, np.arange(e.mix.shape[1] + 1))
            self.term_first = firsts.astype(np.uintp)
            self.term_value = place[product]
            self.term_factor = e.mix.T[column, product] * factor[product]
        # Unsigned: no index is from the end, and the loops need not ask.
        self.term_value = self.term_value.astype(np.uintp)
        self.n_columns = len(self.term_first) - 1

    def _in(self, dtype: Any) -> _Arrays:
        """Arrays of a float type, made once."""
        if dtype not in self._arrays:
            e = self.expansion
            given = e.table.coefficients
            missing = self.width - given.shape[-1]
            padded = np.pad(given, ((0, 0), (0, 0), (0, 0), (0, max(missing, 0))))[
                ..., : self.width
            ]
            table, step = _coarsen(padded, e.table.step, _PRECISION[dtype])
            center = np.zeros((e.center.shape[0], len(e.degrees), self.n_padded))
            center[:, :, : e.n_radial] = e.center
            rise, fall, diagonal = _recurrence(self.l_max)
            _, _, slope = _harmonic_slopes(self.l_max)
            self._arrays[dtype] = _Arrays(
                weights=e.weights.astype(dtype),
                center_weights=e.center_weights.astype(dtype),
                center=center.astype(dtype),
                table=table.astype(dtype),
                begin=e.table.start,
                step=step,
                rise=rise.astype(dtype),
                fall=fall.astype(dtype),
                diagonal=diagonal.astype(dtype),
                slope_factor=slope.astype(dtype),
                coefficient=self.term_factor.astype(dtype),
            )
        return self._arrays[dtype]

    def rows(self, block: EdgeBlock, n_threads: int = 1, out: Floats | None = None) -> Floats:
        """See :meth:`FusedKernel.rows`."""
        rows = rows_for(block, self.n_columns, out)
        over_rows(lambda a, b: self._run(block, a, b, rows, None), block.first, n_threads)
        return rows

    def gradient(self, block: EdgeBlock, row_gradients: Floats, n_threads: int = 1) -> Floats:
        """Pull a gradient back to the edge vectors, see :meth:`FusedKernel.gradient`."""
        out = np.zeros((block.n_edges, 3), dtype=block.vectors.dtype)
        given = np.ascontiguousarray(row_gradients, dtype=block.vectors.dtype)
        over_rows(lambda a, b: self._run(block, a, b, out, given), block.first, n_threads)
        return out

    def _run(
        self, block: EdgeBlock, start: int, stop: int, out: Floats, row_gradients: Floats | None
    ) -> None:
        e, arrays = self.expansion, self._in(block.vectors.dtype)
        single = self.n_channels == 1
        if self.uniform:
            elements, slots = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        else:
            elements, slots = block.slots
        weights = arrays.weights[elements]
        everything = block.cutoff <= e.cutoff
        stored = self.with_stored or arrays.table.shape[2] != 4
        weighted = single and bool((weights != 1).any())
        row_slope, slope_of, _ = _harmonic_slopes(self.l_max)
        common = (
            block.first, block.vectors, slots, start, stop, e.cutoff,
            weights, weights[:, 0] if single else np.ones_like(weights[:, 0]),
            e.table_of_element[elements],
            arrays.center_weights[block.numbers], arrays.center, e.table_of_element[block.numbers],
            single, self.l_max, e.degrees, self.columns, self.offsets, self.size, self.n_padded,
            arrays.table.reshape(-1), arrays.table.shape[1], arrays.table.shape[2], arrays.begin,
            arrays.step, self.width,
            arrays.rise, arrays.fall, arrays.diagonal, self.with_self, self.row_kind,
            self.row_offset, self.row_terms, self.row_left, self.row_left_n, self.row_count,
            self.row_right, self.term_first, self.term_value, arrays.coefficient, e.root,
            self.n_values, everything, stored, weighted,
        )  # fmt: skip
        if row_gradients is None:
            _rows(*common, out)
        else:
            _pull(*common, row_slope, slope_of, arrays.slope_factor, row_gradients, out)


@compiled(fastmath=True)
def _rows(
    first: Any, vectors: Any, slots: Any, start: int, stop: int, cutoff: float, weights: Any,
    radial_weights: Any, table_of_slot: Any, center_weights: Any, center: Any, center_table: Any,
    single: bool, l_max: int, degrees: Any, columns: Any, offsets: Any, size: int, n_padded: int,
    table: Any, n_intervals: int, n_terms: int, begin: float, step: float, width: int, rise: Any,
    fall: Any, diagonal: Any, with_self: bool, row_kind: Any, row_offset: Any, row_terms: Any,
    row_left: Any, row_left_n: Any, row_count: Any, row_right: Any, term_first: Any, term_value:
    Any, coefficient: Any, root: bool, n_values: int, everything: bool, stored: bool, weighted:
    bool, out: Any,
) -> None:  # fmt: skip
    """Rows of the centres from start to stop."""
    most = 1
    for i in range(start, stop):
        most = max(most, first[i + 1] - first[i])
    dtype = vectors.dtype
    single_terms = term_value.shape[0] == term_first.shape[0] - 1
    n_slots, n_channels = weights.shape
    n_kept = 1 if single else n_slots
    # Vectors reach beyond the last neighbour: what is there must be numbers.
    x, y, z = np.zeros(most + 8, dtype), np.zeros(most + 8, dtype), np.zeros(most + 8, dtype)
    r, kind = np.empty(most, dtype), np.zeros(most, np.int64)
    cells, places = np.empty(most, np.int64), np.empty(most, dtype)
    edge, ends = np.empty(most, np.int64), np.empty(n_slots + 1, np.int64)
    harmonics = np.empty((l_max + 1) ** 2 * BATCH, dtype)
    radial = np.empty(BATCH * width, dtype)
    of_slots, self_of_slots = np.empty((n_kept, size), dtype), np.empty((n_kept, width), dtype)
    used = np.empty(n_kept, np.bool_)
    coefficients, selves = np.empty((n_channels, size), dtype), np.empty((n_channels, width), dtype)
    values = np.empty(n_values, dtype)
    for i in range(start, stop):
        loops.gather(
            vectors, slots, first[i], first[i + 1], cutoff, n_slots, single, everything, x, y, z,
            r, kind, edge, ends,
        )  # fmt: skip
        loops.expand(
            x, y, z, r, kind, ends, n_kept, table_of_slot, radial_weights, l_max, degrees, columns,
            offsets, n_padded, table, n_intervals, n_terms, begin, step, width, rise, fall,
            diagonal, with_self, stored, weighted, cells, places, harmonics, radial, of_slots,
            self_of_slots, used,
        )  # fmt: skip
        loops.mix_channels(
            of_slots, self_of_slots, used, weights, n_kept, single, center_weights[i],
            center[center_table[i]], offsets, degrees, n_padded, with_self, coefficients, selves,
        )  # fmt: skip
        loops.fill_values(
            coefficients, selves, row_kind, row_offset, row_terms, row_left, row_left_n, row_count,
            row_right, n_padded, values,
        )  # fmt: skip
        loops.write_columns(values, term_first, term_value, coefficient, single_terms, root, out[i])


@compiled(fastmath=True)
def _pull(
    first: Any, vectors: Any, slots: Any, start: int, stop: int, cutoff: float, weights: Any,
    radial_weights: Any, table_of_slot: Any, center_weights: Any, center: Any, center_table: Any,
    single: bool, l_max: int, degrees: Any, columns: Any, offsets: Any, size: int, n_padded: int,
    table: Any, n_intervals: int, n_terms: int, begin: float, step: float, width: int, rise: Any,
    fall: Any, diagonal: Any, with_self: bool, row_kind: Any, row_offset: Any, row_terms: Any,
    row_left: Any, row_left_n: Any, row_count: Any, row_right: Any, term_first: Any, term_value:
    Any, coefficient: Any, root: bool, n_values: int, everything: bool, stored: bool, weighted:
    bool, slope_row: Any, slope_of: Any, slope_factor: Any, row_gradients: Any, out: Any,
) -> None:  # fmt: skip
    """Gradients by edge vectors of the centres from start to stop."""
    most = 1
    for i in range(start, stop):
        most = max(most, first[i + 1] - first[i])
    dtype = vectors.dtype
    n_slots, n_channels = weights.shape
    n_kept = 1 if single else n_slots
    # Vectors reach beyond the last neighbour: what is there must be numbers.
    x, y, z = np.zeros(most + 8, dtype), np.zeros(most + 8, dtype), np.zeros(most + 8, dtype)
    r, kind = np.empty(most, dtype), np.zeros(most, np.int64)
    cells, places = np.empty(most, np.int64), np.empty(most, dtype)
    edge, ends = np.empty(most, np.int64), np.empty(n_slots + 1, np.int64)
    harmonics = np.empty((l_max + 1) ** 2 * BATCH, dtype)
    radial, slopes = np.empty(BATCH * width, dtype), np.empty(BATCH * width, dtype)
    of_slots, self_of_slots = np.empty((n_kept, size), dtype), np.empty((n_kept, width), dtype)
    used = np.empty(n_kept, np.bool_)
    coefficients, selves = np.empty((n_channels, size), dtype), np.empty((n_channels, width), dtype)
    d_coefficients, d_selves = np.empty_like(coefficients), np.empty_like(selves)
    values = np.empty(n_values, dtype)
    d_values = np.empty_like(values)
    d_of_slot, d_self = np.empty(size, dtype), np.empty(width, dtype)
    d_harmonics = np.empty((l_max + 1) ** 2, dtype)
    for i in range(start, stop):
        loops.gather(
            vectors, slots, first[i], first[i + 1], cutoff, n_slots, single, everything, x, y, z,
            r, kind, edge, ends,
        )  # fmt: skip
        loops.expand(
            x, y, z, r, kind, ends, n_kept, table_of_slot, radial_weights, l_max, degrees, columns,
            offsets, n_padded, table, n_intervals, n_terms, begin, step, width, rise, fall,
            diagonal, with_self, stored, weighted, cells, places, harmonics, radial, of_slots,
            self_of_slots, used,
        )  # fmt: skip
        loops.mix_channels(
            of_slots, self_of_slots, used, weights, n_kept, single, center_weights[i],
            center[center_table[i]], offsets, degrees, n_padded, with_self, coefficients, selves,
        )  # fmt: skip
        d_values[:] = 0
        if root:
            loops.fill_values(
                coefficients, selves, row_kind, row_offset, row_terms, row_left, row_left_n,
                row_count, row_right, n_padded, values,
            )  # fmt: skip
        for k in range(term_first.shape[0] - 1):
            given = row_gradients[i, k]
            if root:
                total = given * 0
                for i_term in range(term_first[k], term_first[k + 1]):
                    total += coefficient[i_term] * values[term_value[i_term]]
                # The root has no slope at zero: its gradient is taken as zero there.
                given = given / (2 * np.sqrt(total)) if total > 0 else given * 0
            for i_term in range(term_first[k], term_first[k + 1]):
                d_values[term_value[i_term]] += coefficient[i_term] * given
        loops.pull_values(
            coefficients, row_kind, row_offset, row_terms, row_left, row_left_n, row_count,
            row_right, n_padded, d_values, d_coefficients, d_selves,
        )  # fmt: skip
        slot_start = 0
        for s in range(n_kept):
            if ends[s] > slot_start:
                d_of_slot[:] = 0
                d_self[:] = 0
                for a in range(n_channels):
                    # One channel's weights are in the radial functions already.
                    weight = weights.dtype.type(1) if single else weights[s, a]
                    for k in range(size):
                        d_of_slot[k] += weight * d_coefficients[a, k]
                    for k in range(width):
                        d_self[k] += weight * weight * d_selves[a, k]
                loops.pull_edges(
                    x, y, z, r, kind, edge, slot_start, ends[s], l_max, degrees, columns, offsets,
                    n_padded, table, table_of_slot, radial_weights, n_intervals, n_terms, begin,
                    step, width, rise, fall, diagonal, slope_row, slope_of, slope_factor,
                    d_of_slot, d_self, with_self, harmonics, radial, slopes, d_harmonics, out,
                )  # fmt: skip
            slot_start = ends[s]


def _coarsen(table: Float64s, step: float, precision: _Precision) -> tuple[Float64s, float]:
    """Join intervals of the cubics as far as the precision allows: small tables stay in the cache.

    Of the given cubics, values and slopes at the nodes are exact. A joined interval keeps those of
    its ends (and with six terms, of its middle), and is compared at all the nodes between.
    """
    n_intervals = table.shape[1]
    values = np.concatenate([table[:, :, 0], table[:, -1:].sum(axis=2)], axis=1)
    last_slope = table[:, -1:, 1] + 2 * table[:, -1:, 2] + 3 * table[:, -1:, 3]
    slopes = np.concatenate([table[:, :, 1], last_slope], axis=1)
    scale = np.abs(values).max(axis=(0, 1)) + 1e-300
    slope_scale = np.abs(slopes).max(axis=(0, 1)) + 1e-300
    n_terms = precision.n_terms
    powers = np.arange(n_terms)
    for factor in (256, 128, 64, 32, 16, 8, 4, 2):
        if n_intervals % factor:
            continue
        kept = np.arange(0, factor + 1, factor // (n_terms // 2 - 1))
        conditions = [(k / factor) ** powers for k in kept]
        conditions += [_slope_powers(k / factor, powers) for k in kept]
        given = [values[:, k : n_intervals + k : factor] for k in kept]
        given += [slopes[:, k : n_intervals + k : factor] * factor for k in kept]
        solution = np.linalg.inv(np.array(conditions))
        joined = np.einsum("pq,qtic->tipc", solution, np.array(given))
        close = True
        for k in set(range(factor)) - set(kept.tolist()):
            found = np.einsum("p,tipc->tic", (k / factor) ** powers, joined)
            error = np.abs(found - values[:, k:n_intervals:factor]).max(axis=(0, 1))
            found = np.einsum("p,tipc->tic", _slope_powers(k / factor, powers), joined) / factor
            slope_error = np.abs(found - slopes[:, k:n_intervals:factor]).max(axis=(0, 1))
            close = bool(
                (error < precision.value * scale).all()
                and (slope_error < precision.slope * slope_scale).all()
            )
            if not close:
                break
        if close:
            return np.ascontiguousarray(joined), step * factor
    return table, step


def _slope_powers(t: float, powers: Ints) -> Float64s:
    """Derivatives of the powers of t."""
    return np.asarray(powers * float(t) ** np.maximum(powers - 1, 0), dtype=np.float64)


@lru_cache
def _recurrence(l_max: int) -> tuple[Float64s, Float64s, Float64s]:
    """Coefficients of the harmonics' recurrences, see :func:`solid_harmonics`."""
    rise, fall = np.zeros((l_max + 1, l_max + 1)), np.zeros((l_max + 1, l_max + 1))
    diagonal = np.empty(l_max + 1)
    diagonal[0] = math.sqrt(1 / (4 * math.pi))
    for m in range(1, l_max + 1):
        diagonal[m] = math.sqrt((2 * m + 1) / (2 * m)) * (math.sqrt(2) if m == 1 else 1)
    for l in range(1, l_max + 1):  # noqa: E741 (the field's own letter)
        for m in range(l):
            a = math.sqrt((4 * l * l - 1) / (l * l - m * m))
            rise[l, m] = a
            if l - 1 > m:
                fall[l, m] = a * math.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1))
    return rise, fall, diagonal


@lru_cache
def _harmonic_slopes(l_max: int) -> tuple[Ints, Ints, Float64s]:
    """Derivatives of solid harmonics along x, y, z in terms of those of one degree less.

    Returns
    -------
    row, of, factor
        Each ``(3, n_terms)``: the derivative of ``row`` along the axis holds ``factor * of``.
        Found by a least-squares fit, exact but for rounding, since each is a polynomial of
        degree l - 1 that solves Laplace's equation.
    """
    points = torch.randn(16 * (l_max + 1), 3, dtype=torch.float64, generator=_generator())
    points = points / torch.linalg.vector_norm(points, dim=1, keepdim=True)
    with torch.inference_mode(False), torch.enable_grad():
        points = points.clone().requires_grad_(True)
        values = solid_harmonics(points, max(l_max, 1))  # degree 0 has no slope to ask for
        # The pass back is linear in its weights, and its slope by them is the Jacobian: an axis
        # costs one pass, and not every harmonic one, which took minutes at degree 24.
        weights = torch.ones_like(values, requires_grad=True)
        (summed,) = torch.autograd.grad(values, points, weights, create_graph=True)
        slopes = [
            torch.autograd.grad(along.sum(), weights, retain_graph=True)[0]
            for along in summed.unbind(1)
        ]
        values = values.detach()
    terms: list[list[tuple[int, int, float]]] = [[], [], []]
    for degree in range(1, l_max + 1):
        start = (degree - 1) ** 2
        rows, columns = slice(degree**2, (degree + 1) ** 2), slice(start, degree**2)
        for axis, slope in enumerate(slopes):
            solution = torch.linalg.lstsq(values[:, columns], slope[:, rows]).solution
            for row, factors in enumerate(solution.T.tolist(), degree**2):
                terms[axis] += [
                    (row, of, factor)
                    for of, factor in enumerate(factors, start)
                    if abs(factor) > 1e-10
                ]
    longest = max(len(axis) for axis in terms)
    padded = [axis + [(0, 0, 0.0)] * (longest - len(axis)) for axis in terms]
    row_of = np.array([[t[0] for t in axis] for axis in padded], dtype=np.int64).reshape(3, -1)
    of = np.array([[t[1] for t in axis] for axis in padded], dtype=np.int64).reshape(3, -1)
    factors = np.array([[t[2] for t in axis] for axis in padded], dtype=np.float64).reshape(3, -1)
    return row_of, of, factors


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
