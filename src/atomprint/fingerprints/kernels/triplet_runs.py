"""Compiled programs of :mod:`atomprint.fingerprints.kernels.triplets`: a run of centres each."""

from typing import Any

import numpy as np
from numba import njit

from atomprint.fingerprints.kernels.triplet_loops import (
    ABSENT,
    BATCH,
    add_terms,
    fill_pairs,
    fill_power,
    fill_radial,
    fill_third,
    gather,
    multiply_third,
)
from atomprint.ground.vectors import LANES, load, spread, store


@njit(nogil=True, cache=True, fastmath=True)
def rows_run(
    first: Any, vectors: Any, slots: Any, fold: Any, cutoff: float, weights: Any, by_species: bool,
    n_radial: int, table: Any, step: float, third_kind: Any, polynomials: Any, third: Any,
    zeta: Any, sign: Any, term_g: Any, term_power: Any, scale: Any, start: int, stop: int, out: Any,
) -> None:  # fmt: skip
    """Rows of the centres from start to stop; ``out`` is zero there."""
    most = 1
    for i in range(start, stop):
        most = max(most, first[i + 1] - first[i])
    dtype = vectors.dtype
    n_slots, n_channels = weights.shape
    n_g, n_powers, n_terms = third_kind.shape[0], zeta.shape[0], term_g.shape[0]
    size = most + LANES * (min(n_slots, most) + 1)
    ux, uy, uz, r = np.zeros((4, size), dtype)
    g = np.zeros(max(n_g, 1) * size, dtype)
    edge, used = np.empty(size, np.int64), np.empty(n_slots, np.int64)
    begins, ends = np.empty(n_slots, np.int64), np.empty(n_slots, np.int64)
    radial_sums, sums = np.empty(n_radial, dtype), np.empty(n_terms, dtype)
    cosine, x, lanes = np.zeros(BATCH, dtype), np.zeros(BATCH, dtype), np.zeros(LANES, dtype)
    factors, powers = np.zeros(n_g * BATCH, dtype), np.zeros(n_powers * BATCH, dtype)
    none = np.empty(0, dtype)
    unit_scale = 2 / cutoff**2
    inverse_step = 1 / step
    for i in range(start, stop):
        n_used = gather(
            vectors, slots, first[i], first[i + 1], cutoff, used, begins, ends, ux, uy, uz, r, edge
        )
        for i_used in range(n_used):
            s = used[i_used]
            radial_sums[:] = 0
            fill_radial(
                r, begins[s], ends[s], fold, edge, table, step, n_g, size, False, g, none,
                radial_sums, none, none,
            )  # fmt: skip
            for c in range(n_channels):
                for n in range(n_radial):
                    out[i, c * n_radial + n] += weights[s, c] * radial_sums[n]
        for i_one in range(n_used if n_terms > 0 else 0):
            one = used[i_one]
            for i_two in range(i_one, n_used):
                two = used[i_two]
                sums[:] = 0
                count = 0
                for j in range(begins[one], ends[one]):
                    k = j + 1 if one == two else begins[two]
                    while k < ends[two] or (count > 0 and j == ends[one] - 1):
                        # As many of the others as there is room for, and are there.
                        take = min((ends[two] - k + LANES - 1) // LANES * LANES, BATCH - count)
                        take = max(take, 0)
                        fill_pairs(j, k, take, ux, uy, uz, r, unit_scale, cosine, x, count)
                        for e in range(n_g):
                            own = spread(g[e * size + j])
                            for p in range(0, take, LANES):
                                value = own * load(g, e * size + k + p)
                                store(factors, e * BATCH + count + p, value)
                        k += take
                        count += take
                        if count < BATCH and not (j == ends[one] - 1 and k >= ends[two]):
                            continue
                        # Full, or the last of these two elements: pad, and add up.
                        zero = spread(vectors.dtype.type(0))
                        while count % (4 * LANES) != 0:
                            store(cosine, count, zero)
                            store(x, count, zero)
                            for e in range(n_g):
                                store(factors, e * BATCH + count, zero)
                            count += LANES
                        for e in range(n_g):
                            if third_kind[e] != ABSENT:
                                multiply_third(
                                    count, third_kind[e], polynomials[e], third[e], inverse_step,
                                    unit_scale, x, factors, e * BATCH,
                                )  # fmt: skip
                        for p in range(n_powers):
                            fill_power(count, cosine, sign[p], zeta[p], powers, p * BATCH)
                        add_terms(count, term_g, term_power, factors, powers, lanes, sums)
                        count = 0
                base = n_channels * n_radial
                if by_species:
                    base += (max(one, two) * (max(one, two) + 1) // 2 + min(one, two)) * n_terms
                    for t in range(n_terms):
                        out[i, base + t] += scale[t] * sums[t]
                else:
                    for c in range(n_channels):
                        weight = weights[one, c] * weights[two, c]
                        for t in range(n_terms):
                            out[i, base + c * n_terms + t] += weight * scale[t] * sums[t]


@njit(nogil=True, cache=True, fastmath=True)
def pull_run(
    first: Any, vectors: Any, slots: Any, fold: Any, cutoff: float, weights: Any, by_species: bool,
    n_radial: int, table: Any, step: float, third_kind: Any, polynomials: Any, third: Any,
    zeta: Any, sign: Any, term_g: Any, term_power: Any, scale: Any, start: int, stop: int,
    row_gradients: Any, out: Any,
) -> None:  # fmt: skip
    """Gradients by edge vectors of the centres from start to stop; ``out`` is zero there."""
    most = 1
    for i in range(start, stop):
        most = max(most, first[i + 1] - first[i])
    dtype = vectors.dtype
    n_slots, n_channels = weights.shape
    n_g, n_powers, n_terms = third_kind.shape[0], zeta.shape[0], term_g.shape[0]
    size = most + LANES * (min(n_slots, most) + 1)
    ux, uy, uz, r = np.zeros((4, size), dtype)
    dx, dy, dz, dr = np.zeros((4, size), dtype)
    g, slopes = np.zeros(max(n_g, 1) * size, dtype), np.zeros(max(n_g, 1) * size, dtype)
    dg = np.zeros(max(n_g, 1) * size, dtype)
    edge, used = np.empty(size, np.int64), np.empty(n_slots, np.int64)
    begins, ends = np.empty(n_slots, np.int64), np.empty(n_slots, np.int64)
    radial_sums, given = np.zeros(n_radial, dtype), np.empty(n_radial, dtype)
    coefficients = np.empty(n_terms, dtype)
    cosine, x = np.zeros(size, dtype), np.zeros(size, dtype)
    sides, side_slopes = np.zeros(n_g * size, dtype), np.zeros(n_g * size, dtype)
    lower = np.zeros(n_powers * size, dtype)
    sum_of_g, slope_of_g = np.zeros((2, max(n_g, 1) * LANES), dtype)
    lanes = np.zeros((4 + n_g) * LANES, dtype)
    unit_scale = 2 / cutoff**2
    inverse_step = 1 / step
    base = n_channels * n_radial
    for i in range(start, stop):
        n_used = gather(
            vectors, slots, first[i], first[i + 1], cutoff, used, begins, ends, ux, uy, uz, r, edge
        )
        for i_used in range(n_used):
            s = used[i_used]
            given[:] = 0
            for c in range(n_channels):
                for n in range(n_radial):
                    given[n] += weights[s, c] * row_gradients[i, c * n_radial + n]
            for k in range(begins[s], ends[s] + LANES):
                dx[k] = dy[k] = dz[k] = dr[k] = 0
                for e in range(n_g):
                    dg[e * size + k] = 0
            fill_radial(
                r, begins[s], ends[s], fold, edge, table, step, n_g, size, True, g, slopes,
                radial_sums, given, dr,
            )  # fmt: skip
        for i_one in range(n_used if n_terms > 0 else 0):
            one = used[i_one]
            for i_two in range(i_one, n_used):
                two = used[i_two]
                coefficients[:] = 0
                if by_species:
                    high, low = max(one, two), min(one, two)
                    at = base + (high * (high + 1) // 2 + low) * n_terms
                    for t in range(n_terms):
                        coefficients[t] = scale[t] * row_gradients[i, at + t]
                else:
                    for c in range(n_channels):
                        weight = weights[one, c] * weights[two, c]
                        for t in range(n_terms):
                            value = row_gradients[i, base + c * n_terms + t]
                            coefficients[t] += weight * scale[t] * value
                for j in range(begins[one], ends[one]):
                    k = j + 1 if one == two else begins[two]
                    count = max((ends[two] - k + LANES - 1) // LANES * LANES, 0)
                    if count == 0:
                        continue
                    fill_pairs(j, k, count, ux, uy, uz, r, unit_scale, cosine, x, 0)
                    for e in range(n_g):
                        fill_third(
                            count, third_kind[e], polynomials[e], third[e], inverse_step,
                            unit_scale, x, sides, side_slopes, e * size,
                        )  # fmt: skip
                    for p in range(n_powers):
                        fill_power(count, cosine, sign[p], zeta[p] - 1, lower, p * size)
                    _pull_row(
                        j, k, count, ux, uy, uz, r, cosine, sides, side_slopes, lower, zeta, sign,
                        term_g, term_power, coefficients, g, size, n_g, unit_scale, sum_of_g,
                        slope_of_g, lanes, dx, dy, dz, dr, dg,
                    )  # fmt: skip
        for i_used in range(n_used):
            s = used[i_used]
            for k in range(begins[s], ends[s]):
                along = dr[k]
                for e in range(n_g):
                    along += dg[e * size + k] * slopes[e * size + k]
                # Only the part across the direction turns it.
                turn = dx[k] * ux[k] + dy[k] * uy[k] + dz[k] * uz[k]
                inverse = r.dtype.type(1) / r[k]
                along -= turn * inverse
                out[edge[k], 0] = along * ux[k] + dx[k] * inverse
                out[edge[k], 1] = along * uy[k] + dy[k] * inverse
                out[edge[k], 2] = along * uz[k] + dz[k] * inverse


@njit(nogil=True, cache=True, fastmath=True)
def _pull_row(
    j: int, start: int, count: int, ux: Any, uy: Any, uz: Any, r: Any, cosine: Any, sides: Any,
    side_slopes: Any, lower: Any, zeta: Any, sign: Any, term_g: Any, term_power: Any,
    coefficients: Any, g: Any, size: int, n_g: int, unit_scale: float, sum_of_g: Any,
    slope_of_g: Any, lanes: Any, dx: Any, dy: Any, dz: Any, dr: Any, dg: Any,
) -> None:  # fmt: skip
    """Gradient of the pairs of neighbour j with those from start on, added to both."""
    zero = spread(r.dtype.type(0))
    one = spread(r.dtype.type(1))
    xj, yj, zj, rj = spread(ux[j]), spread(uy[j]), spread(uz[j]), spread(r[j])
    double = spread(r.dtype.type(2 * unit_scale))
    own_x, own_y, own_z, own_r = zero, zero, zero, zero
    for e in range(n_g):
        store(lanes, e * LANES, zero)
    for p in range(0, count, LANES):
        k = start + p
        c = load(cosine, p)
        for e in range(n_g):
            store(sum_of_g, e * LANES, zero)
            store(slope_of_g, e * LANES, zero)
        for t in range(term_g.shape[0]):
            at, q = term_g[t] * LANES, term_power[t]
            low = load(lower, q * size + p)
            weight = spread(coefficients[t])
            value = low * (one + spread(r.dtype.type(sign[q])) * c)
            slope = low * spread(r.dtype.type(zeta[q] * sign[q]))
            store(sum_of_g, at, load(sum_of_g, at) + weight * value)
            store(slope_of_g, at, load(slope_of_g, at) + weight * slope)
        by_cosine, by_side = zero, zero
        for e in range(n_g):
            gj, gk = spread(g[e * size + j]), load(g, e * size + k)
            side, total = load(sides, e * size + p), load(sum_of_g, e * LANES)
            product = gj * gk
            by_cosine = by_cosine + product * side * load(slope_of_g, e * LANES)
            by_side = by_side + product * load(side_slopes, e * size + p) * total
            both = side * total
            store(lanes, e * LANES, load(lanes, e * LANES) + both * gk)
            store(dg, e * size + k, load(dg, e * size + k) + both * gj)
        # x = (r_j² + r_k² - 2 r_j r_k cosθ) scale - 1
        rk = load(r, k)
        by_side = by_side * double
        by_cosine = by_cosine - by_side * rj * rk
        own_r = own_r + by_side * (rj - rk * c)
        store(dr, k, load(dr, k) + by_side * (rk - rj * c))
        own_x = own_x + by_cosine * load(ux, k)
        own_y = own_y + by_cosine * load(uy, k)
        own_z = own_z + by_cosine * load(uz, k)
        store(dx, k, load(dx, k) + by_cosine * xj)
        store(dy, k, load(dy, k) + by_cosine * yj)
        store(dz, k, load(dz, k) + by_cosine * zj)
    at = n_g * LANES
    store(lanes, at, own_x)
    store(lanes, at + LANES, own_y)
    store(lanes, at + 2 * LANES, own_z)
    store(lanes, at + 3 * LANES, own_r)
    for k in range(LANES):
        dx[j] += lanes[at + k]
        dy[j] += lanes[at + LANES + k]
        dz[j] += lanes[at + 2 * LANES + k]
        dr[j] += lanes[at + 3 * LANES + k]
        for e in range(n_g):
            dg[e * size + j] += lanes[e * LANES + k]
