"""The compiled loops of :mod:`atomprint.fingerprints.kernels.triplets`.

Flat arrays of the block's float type; a run of numbers is a multiple of LANES long, and what pads
it has weight zero. Scratch is allocated once a call, for the atom with most neighbours.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from atomprint.ground.compiled import compiled
from atomprint.ground.vectors import LANES, fma, load, spread, store

BATCH = 32 * LANES
"""Pairs of neighbours taken at a time, so that all that is made of them stays in L1."""

ABSENT, POLYNOMIAL, TABLE = 0, 1, 2
"""How a function of the third side r_jk is computed: it is 1; from a polynomial; from a table."""


@intrinsic
def minimum(typing_context: Any, a: Any, b: Any) -> Any:
    """The smaller of the numbers of two vectors, place by place."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = context.get_value_type(signature.args[0])
        bits = 32 if isinstance(vector.element, ir.FloatType) else 64
        kind = ir.FunctionType(vector, [vector] * 2)
        name = f"llvm.minnum.v{LANES}f{bits}"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, arguments)

    return a(a, a), generate


@intrinsic
def total(typing_context: Any, vector: Any) -> Any:
    """The sum of a vector's numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(signature.args[0])
        bits = 32 if isinstance(kind.element, ir.FloatType) else 64
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(kind.element, [kind.element, kind]),
            f"llvm.vector.reduce.fadd.v{LANES}f{bits}",
        )
        zero = ir.Constant(kind.element, 0.0)
        return builder.call(function, [zero, *arguments], fastmath=("reassoc",))

    return vector.dtype(vector), generate


@compiled(fastmath=True)
def gather(
    vectors: Any, slots: Any, start: int, stop: int, cutoff: float, used: Any, begins: Any,
    ends: Any, ux: Any, uy: Any, uz: Any, r: Any, edge: Any,
) -> int:  # fmt: skip
    """Collect the edges below the cutoff by slot; returns how many slots have some.

    ``used`` names those slots, in order; neighbours of slot s are ``begins[s]`` to ``ends[s]``, and
    LANES places of zeros follow each slot.
    """
    square = cutoff * cutoff
    for s in range(ends.shape[0]):
        ends[s] = 0
    for e in range(start, stop):
        x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
        if x * x + y * y + z * z < square:
            ends[slots[e]] += 1
    n_used, place = 0, 0
    for s in range(ends.shape[0]):
        begins[s] = place
        if ends[s] > 0:
            used[n_used] = s
            n_used += 1
            after = place + ends[s]
            for k in range(after, after + LANES):
                ux[k] = uy[k] = uz[k] = r[k] = 0
            ends[s] = place
            place = after + LANES
    one = vectors.dtype.type(1)
    for e in range(start, stop):
        x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
        length = x * x + y * y + z * z
        if length < square:
            k = ends[slots[e]]
            ends[slots[e]] = k + 1
            length = np.sqrt(length)
            inverse = one / length
            ux[k], uy[k], uz[k] = x * inverse, y * inverse, z * inverse
            r[k] = length
            edge[k] = e
    return n_used


@compiled(fastmath=True)
def fill_radial(
    r: Any, start: int, stop: int, weight: Any, edge: Any, table: Any, n_intervals: int,
    step: float, width: int, n_g: int, stride: int, with_slopes: bool, g: Any, slopes: Any,
    sums: Any, coefficients: Any, pull: Any, column: Any,
) -> None:  # fmt: skip
    """Radial functions of a slot's neighbours, from cubics (n_intervals * 4 * width,).

    Values times the neighbour's weight are added to ``sums`` (width,), and those of the first
    ``n_g`` columns go to ``g`` (n_g * stride,) too. With slopes, their derivatives by r go to
    ``slopes``, and those of all columns, times ``coefficients`` (width,), to ``pull``. ``column``
    (width,) is scratch.
    """
    inverse = r.dtype.type(1 / step)
    two, three = spread(r.dtype.type(2)), spread(r.dtype.type(3))
    for k in range(start, stop):
        place = r[k] * inverse
        cell = min(int(place), n_intervals - 1)
        t = spread(place - r.dtype.type(cell))
        cubic = cell * 4 * width
        w = spread(weight[edge[k]])
        for n in range(0, width, LANES):
            at = cubic + n
            value = fma(load(table, at + 3 * width), t, load(table, at + 2 * width))
            value = fma(fma(value, t, load(table, at + width)), t, load(table, at)) * w
            store(sums, n, load(sums, n) + value)
            store(column, n, value)
        for e in range(n_g):
            g[e * stride + k] = column[e]
        if with_slopes:
            steep = w * spread(inverse)
            along = spread(r.dtype.type(0))
            for n in range(0, width, LANES):
                at = cubic + n
                slope = fma(
                    three * load(table, at + 3 * width), t, two * load(table, at + 2 * width)
                )
                slope = fma(slope, t, load(table, at + width)) * steep
                along = fma(slope, load(coefficients, n), along)
                store(column, n, slope)
            for e in range(n_g):
                slopes[e * stride + k] = column[e]
            pull[k] = total(along)
    for e in range(n_g):
        for k in range(stop, stop + LANES):
            g[e * stride + k] = 0


@compiled(fastmath=True)
def fill_pairs(
    j: int, start: int, count: int, ux: Any, uy: Any, uz: Any, r: Any, scale: float, cosine: Any,
    x: Any, at: int,
) -> None:  # fmt: skip
    """Cosines and third sides of neighbour j with ``count`` others from ``start`` on.

    Written from place ``at`` on; the third side as ``x = 2 (r_jk / r_c)² - 1``, at most 1, where
    ``scale`` is ``2 / r_c²``.
    """
    factor, one, two = ux.dtype.type(scale), ux.dtype.type(1), ux.dtype.type(2)
    xj, yj, zj = spread(ux[j]), spread(uy[j]), spread(uz[j])
    double = spread(-(two * factor * r[j]))
    base, top = spread(factor * r[j] * r[j] - one), spread(one)
    factors = spread(factor)
    for p in range(0, count, LANES):
        k = start + p
        rk = load(r, k)
        c = fma(xj, load(ux, k), fma(yj, load(uy, k), zj * load(uz, k)))
        store(cosine, at + p, c)
        # r_jk² = r_j² + r_k² - 2 r_j r_k cosθ, in units of r_c² / 2 and less 1.
        side = fma(rk, fma(factors, rk, double * c), base)
        store(x, at + p, minimum(side, top))


@compiled(fastmath=True)
def multiply_third(
    count: int, kind: int, polynomial: Any, table: Any, inverse_step: float, scale: float,
    x: Any, out: Any, first: int,
) -> None:  # fmt: skip
    """Multiply ``out[first : first + count]`` by a function of the third side.

    ``count`` is a multiple of 4 LANES. The polynomial P gives ``((1 - x) / 2)² P(x)``, highest
    coefficient first; a table holds cubics in r_jk.
    """
    half = x.dtype.type(0.5)
    if kind == POLYNOMIAL:
        halves = spread(half)
        for p in range(0, count, 4 * LANES):
            x0, x1 = load(x, p), load(x, p + LANES)
            x2, x3 = load(x, p + 2 * LANES), load(x, p + 3 * LANES)
            top = spread(polynomial[0])
            v0, v1, v2, v3 = top, top, top, top
            for d in range(1, polynomial.shape[0]):
                c = spread(polynomial[d])
                v0, v1 = fma(v0, x0, c), fma(v1, x1, c)
                v2, v3 = fma(v2, x2, c), fma(v3, x3, c)
            x0, x1 = halves - x0 * halves, halves - x1 * halves
            x2, x3 = halves - x2 * halves, halves - x3 * halves
            q = first + p
            store(out, q, (load(out, q) * v0) * (x0 * x0))
            q += LANES
            store(out, q, (load(out, q) * v1) * (x1 * x1))
            q += LANES
            store(out, q, (load(out, q) * v2) * (x2 * x2))
            q += LANES
            store(out, q, (load(out, q) * v3) * (x3 * x3))
    elif kind == TABLE:
        last = table.shape[0] - 1
        unit = x.dtype.type(inverse_step)
        squared = x.dtype.type(1 / scale)
        one, zero = x.dtype.type(1), x.dtype.type(0)
        for p in range(count):
            place = np.sqrt(max((x[p] + one) * squared, zero)) * unit
            cell = min(int(place), last)
            t = place - x.dtype.type(cell)
            cubic = table[cell]
            out[first + p] *= ((cubic[3] * t + cubic[2]) * t + cubic[1]) * t + cubic[0]


@compiled(fastmath=True)
def fill_third(
    count: int, kind: int, polynomial: Any, table: Any, inverse_step: float, scale: float,
    x: Any, values: Any, slopes: Any, first: int,
) -> None:  # fmt: skip
    """A function of the third side and its derivative by x, from place ``first`` on."""
    one, half = x.dtype.type(1), x.dtype.type(0.5)
    if kind == POLYNOMIAL:
        halves, zero = spread(half), spread(x.dtype.type(0))
        for p in range(0, count, LANES):
            y = load(x, p)
            v, d = spread(polynomial[0]), zero
            for k in range(1, polynomial.shape[0]):
                d = fma(d, y, v)
                v = fma(v, y, spread(polynomial[k]))
            q = halves - y * halves
            store(values, first + p, q * q * v)
            store(slopes, first + p, q * (q * d - v))
    elif kind == TABLE:
        last = table.shape[0] - 1
        unit, squared = x.dtype.type(inverse_step), x.dtype.type(1 / scale)
        two, three = x.dtype.type(2), x.dtype.type(3)
        small = x.dtype.type(1e-20)
        for p in range(count):
            side = np.sqrt(max((x[p] + one) * squared, small))
            cell = min(int(side * unit), last)
            t = side * unit - x.dtype.type(cell)
            cubic = table[cell]
            values[first + p] = ((cubic[3] * t + cubic[2]) * t + cubic[1]) * t + cubic[0]
            slope = (three * cubic[3] * t + two * cubic[2]) * t + cubic[1]
            # r_jk² = (x + 1) / scale, so that dr_jk/dx = 1 / (2 scale r_jk).
            slopes[first + p] = slope * unit * squared * half / side
    else:
        for p in range(count):
            values[first + p], slopes[first + p] = one, x.dtype.type(0)


@compiled(fastmath=True)
def fill_power(count: int, cosine: Any, sign: float, zeta: float, out: Any, first: int) -> None:
    """``(1 + λ cosθ)^ζ`` of pairs, from place ``first`` of ``out`` on."""
    one, zero = cosine.dtype.type(1), cosine.dtype.type(0)
    ones, factor = spread(one), spread(cosine.dtype.type(sign))
    whole = int(zeta)
    if zeta == 0:
        for p in range(0, count, LANES):
            store(out, first + p, ones)
    elif whole == zeta:
        # ζ = 2^twos (2 rest + 1): square first, then as the bits of the rest say.
        twos = 0
        while whole % 2 == 0:
            twos += 1
            whole //= 2
        rest = whole // 2
        for p in range(0, count, LANES):
            base = fma(factor, load(cosine, p), ones)
            for _ in range(twos):
                base = base * base
            value = base
            left = rest
            while left > 0:
                base = base * base
                if left % 2 == 1:
                    value = value * base
                left //= 2
            store(out, first + p, value)
    else:
        for p in range(count):
            base_one = max(one + cosine.dtype.type(sign) * cosine[p], zero)
            out[first + p] = base_one ** cosine.dtype.type(zeta)


@compiled(fastmath=True)
def raise_power(
    count: int, cosine: Any, sign: float, zeta: float, values: Any, slopes: Any, first: int
) -> None:
    """``(1 + λ cosθ)^ζ`` and its derivative by the cosine, from place ``first`` on.

    ``slopes`` holds ``(1 + λ cosθ)^(ζ-1)`` before.
    """
    ones = spread(cosine.dtype.type(1))
    factor, both = spread(cosine.dtype.type(sign)), spread(cosine.dtype.type(sign * zeta))
    for p in range(first, first + count, LANES):
        low = load(slopes, p)
        store(values, p, low * fma(factor, load(cosine, p - first), ones))
        store(slopes, p, low * both)


@compiled(fastmath=True)
def add_terms(
    count: int, term_g: Any, term_power: Any, weights: Any, powers: Any, sums: Any
) -> None:
    """Add to ``sums[t]`` the products of its two factors over a batch of 4 LANES' multiple."""
    zero = spread(weights.dtype.type(0))
    for t in range(term_g.shape[0]):
        a, b = term_g[t] * BATCH, term_power[t] * BATCH
        v0, v1, v2, v3 = zero, zero, zero, zero
        for p in range(0, count, 4 * LANES):
            v0 = fma(load(weights, a + p), load(powers, b + p), v0)
            q = p + LANES
            v1 = fma(load(weights, a + q), load(powers, b + q), v1)
            q += LANES
            v2 = fma(load(weights, a + q), load(powers, b + q), v2)
            q += LANES
            v3 = fma(load(weights, a + q), load(powers, b + q), v3)
        sums[t] += total((v0 + v1) + (v2 + v3))
