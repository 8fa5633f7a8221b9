"""Compiled programs of :mod:`atomprint.fingerprints.kernels.triplets`: a run of centres each."""

from typing import Any

import numpy as np

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
    raise_power,
    total,
)
from atomprint.ground.compiled import compiled
from atomprint.ground.vectors import LANES, fma, load, spread, store


@compiled(fastmath=True)
def rows_run(
    first: Any, vectors: Any, slots: Any, fold: Any, cutoff: float, weights: Any, by_species: bool,
    n_radial: int, table: Any, width: int, step: float, third_kind: Any, polynomials: Any,
    third: Any, zeta: Any, sign: Any, term_g: Any, term_power: Any, scale: Any, start: int,
    stop: int, out: Any,
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
    radial_sums, column = np.empty(width, dtype), np.empty(width, dtype)
    sums = np.empty(n_terms, dtype)
    cosine, x = np.zeros(BATCH, dtype), np.zeros(BATCH, dtype)
    factors, powers = np.zeros(n_g * BATCH, dtype), np.zeros(n_powers * BATCH, dtype)
    none = np.empty(0, dtype)
    n_intervals = table.shape[0] // (4 * width)
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
                r, begins[s], ends[s], fold, edge, table, n_intervals, step, width, n_g, size,
                False, g, none, radial_sums, none, none, column,
            )  # fmt: skip
            for c in range(n_channels):
                for n in range(n_radial):
                    out[i, c * n_radial + n] += weights[s, c] * radial_sums[n_g + n]
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
                        add_terms(count, term_g, term_power, factors, powers, sums)
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


@compiled(fastmath=True)
def pull_run(
    first: Any, vectors: Any, slots: Any, fold: Any, cutoff: float, weights: Any, by_species: bool,
    n_radial: int, table: Any, width: int, step: float, third_kind: Any, polynomials: Any,
    third: Any, zeta: Any, sign: Any, term_g: Any, term_power: Any, scale: Any, start: int,
    stop: int, row_gradients: Any, out: Any,
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
    radial_sums, given, column = np.zeros((3, width), dtype)
    coefficients = np.empty(n_terms, dtype)
    cosine, x = np.zeros(size, dtype), np.zeros(size, dtype)
    sides, side_slopes = np.zeros(n_g * size, dtype), np.zeros(n_g * size, dtype)
    powers, power_slopes = np.zeros((2, n_powers * size), dtype)
    by_cosine, by_side = np.zeros(size, dtype), np.zeros(size, dtype)
    # Terms of one radial factor follow one another.
    ends_of_g = np.zeros(n_g + 1, np.int64)
    for t in range(n_terms):
        ends_of_g[term_g[t] + 1] += 1
    ends_of_g = np.cumsum(ends_of_g)
    order = np.argsort(term_g, kind="mergesort")
    power_of = term_power[order]
    n_intervals = table.shape[0] // (4 * width)
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
                    given[n_g + n] += weights[s, c] * row_gradients[i, c * n_radial + n]
            for k in range(begins[s], ends[s] + LANES):
                dx[k] = dy[k] = dz[k] = dr[k] = 0
                for e in range(n_g):
                    dg[e * size + k] = 0
            fill_radial(
                r, begins[s], ends[s], fold, edge, table, n_intervals, step, width, n_g, size,
                True, g, slopes, radial_sums, given, dr, column,
            )  # fmt: skip
        for i_one in range(n_used if n_terms > 0 else 0):
            one = used[i_one]
            for i_two in range(i_one, n_used):
                two = used[i_two]
                coefficients[:] = 0
                if by_species:
                    high, low = max(one, two), min(one, two)
                    at = base + (high * (high + 1) // 2 + low) * n_terms
                    for k in range(n_terms):
                        coefficients[k] = scale[order[k]] * row_gradients[i, at + order[k]]
                else:
                    for c in range(n_channels):
                        weight = weights[one, c] * weights[two, c]
                        for k in range(n_terms):
                            value = row_gradients[i, base + c * n_terms + order[k]]
                            coefficients[k] += weight * scale[order[k]] * value
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
                        at = p * size
                        fill_power(count, cosine, sign[p], zeta[p] - 1, power_slopes, at)
                        raise_power(count, cosine, sign[p], zeta[p], powers, power_slopes, at)
                    pull_factors(
                        j, k, count, sides, side_slopes, powers, power_slopes, ends_of_g, power_of,
                        coefficients, g, size, by_cosine, by_side, dg,
                    )  # fmt: skip
                    pull_triangles(
                        j, k, count, ux, uy, uz, r, cosine, by_cosine, by_side, unit_scale, dx, dy,
                        dz, dr,
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


@compiled(fastmath=True)
def pull_factors(
    j: int, start: int, count: int, sides: Any, side_slopes: Any, powers: Any, power_slopes: Any,
    ends_of_g: Any, power_of: Any, coefficients: Any, g: Any, size: int, by_cosine: Any,
    by_side: Any, dg: Any,
) -> None:  # fmt: skip
    """Gradients by the cosines, third sides and radial factors of neighbour j with others."""
    zero = spread(g.dtype.type(0))
    for p in range(0, count, LANES):
        store(by_cosine, p, zero)
        store(by_side, p, zero)
    for e in range(ends_of_g.shape[0] - 1):
        here, gj = e * size, spread(g[e * size + j])
        own = zero
        for p in range(0, count, LANES):
            k = here + start + p
            value, slope = zero, zero
            for t in range(ends_of_g[e], ends_of_g[e + 1]):
                weight, at = spread(coefficients[t]), power_of[t] * size + p
                value = fma(weight, load(powers, at), value)
                slope = fma(weight, load(power_slopes, at), slope)
            side, gk = load(sides, here + p), load(g, k)
            product, both = gj * gk, side * value
            store(by_cosine, p, fma(product * side, slope, load(by_cosine, p)))
            store(by_side, p, fma(product * load(side_slopes, here + p), value, load(by_side, p)))
            own = fma(both, gk, own)
            store(dg, k, fma(both, gj, load(dg, k)))
        dg[here + j] += total(own)


@compiled(fastmath=True)
def pull_triangles(
    j: int, start: int, count: int, ux: Any, uy: Any, uz: Any, r: Any, cosine: Any, by_cosine: Any,
    by_side: Any, unit_scale: float, dx: Any, dy: Any, dz: Any, dr: Any,
) -> None:  # fmt: skip
    """Gradients by directions and distances of neighbour j and the others."""
    zero = spread(r.dtype.type(0))
    xj, yj, zj, rj = spread(ux[j]), spread(uy[j]), spread(uz[j]), spread(r[j])
    double = spread(r.dtype.type(2 * unit_scale))
    own_x, own_y, own_z, own_r = zero, zero, zero, zero
    for p in range(0, count, LANES):
        k = start + p
        # x = (r_j² + r_k² - 2 r_j r_k cosθ) scale - 1
        c, rk, side = load(cosine, p), load(r, k), load(by_side, p) * double
        along = load(by_cosine, p) - side * (rj * rk)
        own_r = own_r + side * (rj - rk * c)
        store(dr, k, load(dr, k) + side * (rk - rj * c))
        own_x = fma(along, load(ux, k), own_x)
        own_y = fma(along, load(uy, k), own_y)
        own_z = fma(along, load(uz, k), own_z)
        store(dx, k, fma(along, xj, load(dx, k)))
        store(dy, k, fma(along, yj, load(dy, k)))
        store(dz, k, fma(along, zj, load(dz, k)))
    dx[j] += total(own_x)
    dy[j] += total(own_y)
    dz[j] += total(own_z)
    dr[j] += total(own_r)
