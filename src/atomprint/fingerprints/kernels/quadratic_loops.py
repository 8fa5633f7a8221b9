"""The compiled loops of :mod:`atomprint.fingerprints.kernels.quadratic`.

All arrays that hold numbers are flat and of the block's float type; ``Layout`` in that module says
where what is. Scratch is allocated once a call, for the atom with most neighbours.
"""

from typing import Any

import numpy as np

from atomprint.fingerprints.kernels.tiles import BATCH, add_outer, add_outer_cubic
from atomprint.ground.compiled import compiled
from atomprint.ground.vectors import LANES, fma, load, spread, store

GRAM, SQUARE, LINEAR, SELF = 0, 1, 2, 3
"""Kinds of rows of values: c_n c_n' for all n', c_n², c_n, Σ_j (w R_n)²; LANES-padded."""


@compiled()
def gather(
    vectors: Any,
    slots: Any,
    start: int,
    stop: int,
    cutoff: float,
    n_slots: int,
    single: bool,
    everything: bool,
    x_unit: Any,
    y_unit: Any,
    z_unit: Any,
    r: Any,
    kind: Any,
    edge: Any,
    ends: Any,
) -> int:
    """Collect the edges below the cutoff, sorted by slot; returns how many there are.

    With ``single``, slots are not told apart: all neighbours are in slot 0, in the given order.
    With ``everything`` there is no edge at or beyond the cutoff. Slots of a single element are not
    read, and ``kind`` must be zero already.

    ``x_unit``, ``y_unit``, ``z_unit`` and ``r`` are filled with directions and distances, ``kind``
    with slots and ``edge`` with where each came from; neighbours of slot s end at ``ends[s]``.
    """
    square = vectors.dtype.type(cutoff * cutoff)
    if single and everything:
        part = vectors[start:stop]
        for k in range(part.shape[0]):
            x, y, z = part[k, 0], part[k, 1], part[k, 2]
            length = np.sqrt(x * x + y * y + z * z)
            inverse = vectors.dtype.type(1.0) / length
            x_unit[k] = x * inverse
            y_unit[k] = y * inverse
            z_unit[k] = z * inverse
            r[k] = length
        if n_slots > 1:
            for k in range(part.shape[0]):
                kind[k] = slots[start + k]
        for k in range(part.shape[0]):
            edge[k] = start + k
        ends[0] = stop - start
        return int(stop - start)
    for s in range(n_slots + 1):
        ends[s] = 0
    for e in range(start, stop):
        x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
        if x * x + y * y + z * z < square:
            ends[0 if single else slots[e] + 1] += 1
    count = ends[0]
    if single:
        ends[0] = 0
    else:
        for s in range(n_slots):
            ends[s + 1] += ends[s]
        count = ends[n_slots]
    one = vectors.dtype.type(1.0)
    for e in range(start, stop):
        x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
        length = x * x + y * y + z * z
        if length < square:
            # ends[s] is where the next neighbour of slot s goes, and in the end where they end.
            slot = 0 if single else slots[e]
            k = ends[slot]
            ends[slot] = k + 1
            kind[k] = slots[e] if n_slots > 1 else 0
            length = np.sqrt(length)
            inverse = one / length
            x_unit[k] = x * inverse
            y_unit[k] = y * inverse
            z_unit[k] = z * inverse
            r[k] = length
            edge[k] = e
    return int(count)


@compiled()
def fill_harmonics(
    x: Any, y: Any, z: Any, start: int, count: int, l_max: int, rise: Any, fall: Any, diagonal:
    Any, out: Any,
) -> None:  # fmt: skip
    """Real spherical harmonics of neighbours, row (l, m) of ``out`` (n_harmonics * BATCH,).

    The recurrences of :func:`atomprint.fingerprints.harmonics.solid_harmonics`, with coefficients
    a in ``rise``, b in ``fall`` (by l and m) and ratios of sectoral factors in ``diagonal``.
    Vectors reach up to 7 numbers beyond ``count``: arrays are padded.
    """
    for j in range(0, count, LANES):
        store(out, j, spread(diagonal[0]))
    for m in range(1, l_max + 1):
        # Rows (m, m) and (m, -m): real and imaginary part of (x + iy)^m.
        here, there = (m * m + 2 * m) * BATCH, (m * m) * BATCH
        before, beneath = (m * m - 1) * BATCH, ((m - 1) * (m - 1)) * BATCH
        ratio = spread(diagonal[m])
        for j in range(0, count, LANES):
            x_j, y_j = load(x, start + j), load(y, start + j)
            real = load(out, before + j) * ratio
            if m == 1:
                store(out, here + j, x_j * real)
                store(out, there + j, y_j * real)
            else:
                imaginary = load(out, beneath + j) * ratio
                store(out, here + j, x_j * real - y_j * imaginary)
                store(out, there + j, fma(x_j, imaginary, y_j * real))
    for l in range(1, l_max + 1):  # noqa: E741 (the field's own letter)
        for m in range(-l + 1, l):
            a, b = spread(rise[l, abs(m)]), spread(fall[l, abs(m)])
            row, first = (l * l + l + m) * BATCH, ((l - 1) * (l - 1) + l - 1 + m) * BATCH
            if abs(m) <= l - 2:
                second = ((l - 2) * (l - 2) + l - 2 + m) * BATCH
                for j in range(0, count, LANES):
                    raised = a * load(z, start + j) * load(out, first + j)
                    store(out, row + j, raised - b * load(out, second + j))
            else:
                for j in range(0, count, LANES):
                    store(out, row + j, a * load(z, start + j) * load(out, first + j))


@compiled()
def find_cells(
    r: Any, kind: Any, count: int, table_of_slot: Any, n_tables: int,
    n_intervals: int, begin: float, step: float,
    width: int, cells: Any, places: Any,
) -> None:  # fmt: skip
    """Where in the flat table each neighbour's cubics begin, and its place in the interval."""
    dtype = r.dtype.type
    inverse, shift = dtype(1.0 / step), dtype(begin)
    row = 4 * width
    for k in range(count):
        place = (r[k] - shift) * inverse
        cell = min(max(int(place), 0), n_intervals - 1)
        places[k] = place - dtype(cell)
        cells[k] = cell * row
    if n_tables > 1:
        for k in range(count):
            cells[k] += table_of_slot[kind[k]] * n_intervals * row


@compiled()
def weigh_harmonics(
    weight_of_slot: Any, kind: Any, start: int, count: int, n_rows: int, weights: Any, out: Any
) -> None:
    """Multiply the harmonics of neighbours by their slots' weights."""
    for j in range(count):
        weights[j] = weight_of_slot[kind[start + j]]
    for row in range(n_rows):
        for j in range(0, count, LANES):
            store(out, row * BATCH + j, load(out, row * BATCH + j) * load(weights, j))


@compiled()
def fill_radial(
    r: Any, kind: Any, start: int, count: int, table: Any, table_of_slot: Any, weight_of_slot: Any,
    n_intervals: int, n_terms: int, begin: float, step: float, width: int, out: Any,
) -> None:  # fmt: skip
    """Weighted radial functions of neighbours from flat polynomials (n_intervals, n_terms, width).

    Neighbour j's are ``out[j * width : (j + 1) * width]``.
    """
    dtype = r.dtype.type
    inverse, shift = dtype(1.0 / step), dtype(begin)
    for j in range(count):
        place = (r[start + j] - shift) * inverse
        cell = min(max(int(place), 0), n_intervals - 1)
        t = spread(dtype(place - dtype(cell)))
        slot = kind[start + j]
        factor = spread(weight_of_slot[slot])
        base = (table_of_slot[slot] * n_intervals + cell) * n_terms * width
        for k in range(0, width, LANES):
            value = load(table, base + (n_terms - 1) * width + k)
            for term in range(n_terms - 2, -1, -1):
                value = fma(value, t, load(table, base + term * width + k))
            store(out, j * width + k, value * factor)


@compiled()
def fill_radial_slope(
    r: Any, kind: Any, start: int, count: int, table: Any, table_of_slot: Any, weight_of_slot: Any,
    n_intervals: int, n_terms: int, begin: float, step: float, width: int, out: Any,
) -> None:  # fmt: skip
    """Derivatives of the radial functions by r, laid out like :func:`fill_radial`'s."""
    dtype = r.dtype.type
    inverse, shift = dtype(1.0 / step), dtype(begin)
    for j in range(count):
        place = (r[start + j] - shift) * inverse
        cell = min(max(int(place), 0), n_intervals - 1)
        t = spread(dtype(place - dtype(cell)))
        slot = kind[start + j]
        scale = spread(inverse * weight_of_slot[slot])
        base = (table_of_slot[slot] * n_intervals + cell) * n_terms * width
        for k in range(0, width, LANES):
            value = load(table, base + (n_terms - 1) * width + k) * spread(dtype(n_terms - 1))
            for term in range(n_terms - 2, 0, -1):
                slope = load(table, base + term * width + k) * spread(dtype(term))
                value = fma(value, t, slope)
            store(out, j * width + k, value * scale)


@compiled(fastmath=True)
def expand(
    x: Any, y: Any, z: Any, r: Any, kind: Any, ends: Any, n_slots: int, table_of_slot: Any,
    radial_weights: Any, l_max: int, degrees: Any, columns: Any, offsets: Any, n_padded: int,
    table: Any, n_intervals: int, n_terms: int, begin: float, step: float, width: int, rise: Any,
    fall: Any, diagonal: Any, with_self: bool, stored: bool, weighted: bool, cells: Any, places:
    Any, harmonics: Any, radial: Any, of_slots: Any, self_of_slots: Any, used: Any,
) -> None:  # fmt: skip
    """Sum the expansion over neighbours, for each slot on its own.

    ``of_slots`` (n_slots, size) gets the coefficients, ``self_of_slots`` (n_slots, width) the sums
    of squared radial functions; ``used[s]`` says whether slot s has a neighbour. Radial functions
    are ``stored`` where several blocks or self terms need them, and else made in registers.
    """
    begin_of_slot = 0
    for s in range(n_slots):
        used[s] = ends[s] > begin_of_slot
        if used[s]:
            of_slots[s, :] = 0
            self_of_slots[s, :] = 0
        begin_of_slot = ends[s]
    slot, total_count = 0, ends[n_slots - 1]
    if not stored:
        n_tables = table.shape[0] // (n_intervals * n_terms * width)
        find_cells(
            r, kind, total_count, table_of_slot, n_tables, n_intervals, begin, step, width, cells,
            places,
        )  # fmt: skip
    for start in range(0, total_count, BATCH):
        count = min(BATCH, total_count - start)
        fill_harmonics(x, y, z, start, count, l_max, rise, fall, diagonal, harmonics)
        if stored:
            fill_radial(
                r, kind, start, count, table, table_of_slot, radial_weights, n_intervals, n_terms,
                begin, step, width, radial,
            )  # fmt: skip
        elif weighted:
            n_rows = (l_max + 1) * (l_max + 1)
            weigh_harmonics(radial_weights, kind, start, count, n_rows, radial, harmonics)
        done = 0
        while done < count:
            while ends[slot] <= start + done:
                slot += 1
            run = min(ends[slot] - start, count) - done
            out = of_slots[slot]
            for b in range(degrees.shape[0]):
                n_rows = 2 * degrees[b] + 1
                left = degrees[b] * degrees[b] * BATCH + done
                for lane in range(0, n_padded, LANES):
                    if stored:
                        add_outer(
                            n_rows, harmonics, left, BATCH, 1, radial, done * width + columns[b] +
                            lane, width, run, out, offsets[b] + lane, n_padded,
                        )  # fmt: skip
                    else:
                        add_outer_cubic(
                            n_rows, harmonics, left, table, cells, places, start + done, columns[b]
                            + lane, width, run, out, offsets[b] + lane, n_padded,
                        )  # fmt: skip
            if with_self:
                squares = self_of_slots[slot]
                for k in range(0, width, LANES):
                    total = load(squares, k)
                    for j in range(done, done + run):
                        value = load(radial, j * width + k)
                        total = fma(value, value, total)
                    store(squares, k, total)
            done += run


@compiled()
def add_scaled(weight: float, given: Any, total: Any, size: int) -> None:
    """``total += weight * given`` over the first numbers of flat arrays, size padded."""
    factor = spread(given.dtype.type(weight))
    for k in range(0, size, LANES):
        store(total, k, fma(factor, load(given, k), load(total, k)))


@compiled()
def mix_channels(
    of_slots: Any, self_of_slots: Any, used: Any, weights: Any, n_slots: int, single: bool,
    center_weights: Any, center: Any, offsets: Any, degrees: Any, n_padded: int, with_self: bool,
    coefficients: Any, selves: Any,
) -> None:  # fmt: skip
    """Coefficients of channels from those of slots, and what the centre itself adds."""
    n_channels, size = coefficients.shape
    coefficients[:] = 0
    selves[:] = 0
    for a in range(n_channels):
        for s in range(n_slots):
            # One channel is weighted already, and all of it is in slot 0.
            weight = coefficients.dtype.type(1) if single else weights[s, a]
            if used[s] and weight != 0:
                add_scaled(weight, of_slots[s], coefficients[a], size)
                if with_self:
                    add_scaled(weight * weight, self_of_slots[s], selves[a], selves.shape[1])
        if center_weights[a] != 0:
            for b in range(degrees.shape[0]):
                if degrees[b] == 0:
                    for n in range(n_padded):
                        coefficients[a, offsets[b] + n] += center_weights[a] * center[b, n]


@compiled()
def fill_values(
    coefficients: Any, selves: Any, row_kind: Any, row_offset: Any, row_terms: Any, row_left: Any,
    row_left_n: Any, row_count: Any, row_right: Any, n_padded: int, values: Any,
) -> None:  # fmt: skip
    """Rows of values, each ``n_padded`` numbers, from the coefficients of one atom.

    A GRAM entry stands for ``row_count`` rows, of as many n from ``row_left_n`` on.
    """
    base = 0
    for row in range(row_kind.shape[0]):
        offset, kind = row_offset[row], row_kind[row]
        left, right = coefficients[row_left[row]], coefficients[row_right[row]]
        if kind == GRAM:
            values[base : base + row_count[row] * n_padded] = 0
            for lane in range(0, n_padded, LANES):
                add_outer(
                    row_count[row], left, offset + row_left_n[row], 1, n_padded, right, offset +
                    lane, n_padded, row_terms[row], values, base + lane, n_padded,
                )  # fmt: skip
        else:
            for n in range(0, n_padded, LANES):
                if kind == SELF:
                    total = load(selves[row_left[row]], offset + n)
                elif kind == LINEAR:
                    total = load(left, offset + n)
                else:
                    total = spread(left.dtype.type(0))
                    for m in range(row_terms[row]):
                        value = load(left, offset + m * n_padded + n)
                        total = fma(value, value, total)
                store(values, base + n, total)
        base += row_count[row] * n_padded


@compiled(fastmath=True)
def write_columns(
    values: Any, term_first: Any, term_value: Any, coefficient: Any, single_terms: bool, root:
    bool, out: Any,
) -> None:  # fmt: skip
    """Columns of one atom from its values; with ``single_terms`` each takes one value only."""
    if single_terms:
        for k in range(out.shape[0]):
            out[k] = coefficient[k] * values[term_value[k]]
    else:
        for k in range(out.shape[0]):
            total = coefficient.dtype.type(0)
            for i in range(term_first[k], term_first[k + 1]):
                total += coefficient[i] * values[term_value[i]]
            out[k] = total
    if root:
        for k in range(out.shape[0]):
            out[k] = np.sqrt(max(out[k], out.dtype.type(0)))


@compiled(fastmath=True)
def pull_values(
    coefficients: Any, row_kind: Any, row_offset: Any, row_terms: Any, row_left: Any, row_left_n:
    Any, row_count: Any, row_right: Any, n_padded: int, d_values: Any, d_coefficients: Any,
    d_selves: Any,
) -> None:  # fmt: skip
    """Gradient by coefficients and self terms from the gradient by values."""
    d_coefficients[:] = 0
    d_selves[:] = 0
    base = 0
    for row in range(row_kind.shape[0]):
        offset, a, b, kind = row_offset[row], row_left[row], row_right[row], row_kind[row]
        if kind == SELF:
            for n in range(n_padded):
                d_selves[a, offset + n] += d_values[base + n]
        elif kind == LINEAR:
            for n in range(n_padded):
                d_coefficients[a, offset + n] += d_values[base + n]
        elif kind == SQUARE:
            for m in range(row_terms[row]):
                for n in range(n_padded):
                    k = offset + m * n_padded + n
                    d_coefficients[a, k] += 2 * d_values[base + n] * coefficients[a, k]
        else:
            for i in range(row_count[row]):
                left_n, given = row_left_n[row] + i, base + i * n_padded
                for m in range(row_terms[row]):
                    start = offset + m * n_padded
                    total = d_values[given] * 0
                    factor = coefficients[a, start + left_n]
                    for n in range(n_padded):
                        total += d_values[given + n] * coefficients[b, start + n]
                        d_coefficients[b, start + n] += d_values[given + n] * factor
                    d_coefficients[a, start + left_n] += total
        base += row_count[row] * n_padded


@compiled(fastmath=True)
def pull_edges(
    x_unit: Any, y_unit: Any, z_unit: Any, r: Any, kind: Any, edge: Any, slot_start: int,
    slot_stop: int, l_max: int, degrees: Any, columns: Any, offsets: Any, n_padded: int, table:
    Any, table_of_slot: Any, radial_weights: Any, n_intervals: int, n_terms: int, begin: float,
    step: float, width: int, rise: Any, fall: Any, diagonal: Any, slope_row: Any, slope_of: Any,
    slope_factor: Any, d_of_slot: Any, d_self: Any, with_self: bool, harmonics: Any, radial: Any,
    slopes: Any, d_harmonics: Any, out: Any,
) -> None:  # fmt: skip
    """Gradient by the edge vectors of one slot's neighbours, written to their rows of ``out``.

    ``slope_row``, ``slope_of`` (3, n_terms) and ``slope_factor`` are the derivatives of solid
    harmonics: that of row ``slope_row[k, i]`` along axis k holds ``slope_factor[k, i]`` times row
    ``slope_of[k, i]``.
    """
    for start in range(slot_start, slot_stop, BATCH):
        count = min(BATCH, slot_stop - start)
        fill_harmonics(x_unit, y_unit, z_unit, start, count, l_max, rise, fall, diagonal, harmonics)
        fill_radial(
            r, kind, start, count, table, table_of_slot, radial_weights, n_intervals, n_terms,
            begin, step, width, radial,
        )  # fmt: skip
        fill_radial_slope(
            r, kind, start, count, table, table_of_slot, radial_weights, n_intervals, n_terms,
            begin, step, width, slopes,
        )  # fmt: skip
        for j in range(count):
            along = r[start + j] * 0
            if with_self:
                for k in range(width):
                    along += 2 * d_self[k] * radial[j * width + k] * slopes[j * width + k]
            for row in range(d_harmonics.shape[0]):
                d_harmonics[row] = 0
            for b in range(degrees.shape[0]):
                degree, column = degrees[b], j * width + columns[b]
                for m in range(2 * degree + 1):
                    row = degree * degree + m
                    base = offsets[b] + m * n_padded
                    total, slope = along * 0, along * 0
                    for n in range(n_padded):
                        total += d_of_slot[base + n] * radial[column + n]
                        slope += d_of_slot[base + n] * slopes[column + n]
                    along += slope * harmonics[row * BATCH + j]
                    d_harmonics[row] += total
            x, y, z = x_unit[start + j], y_unit[start + j], z_unit[start + j]
            gx, gy, gz = along * 0, along * 0, along * 0
            for i in range(slope_row.shape[1]):
                gx += (
                    slope_factor[0, i]
                    * d_harmonics[slope_row[0, i]]
                    * harmonics[slope_of[0, i] * BATCH + j]
                )
                gy += (
                    slope_factor[1, i]
                    * d_harmonics[slope_row[1, i]]
                    * harmonics[slope_of[1, i] * BATCH + j]
                )
                gz += (
                    slope_factor[2, i]
                    * d_harmonics[slope_row[2, i]]
                    * harmonics[slope_of[2, i] * BATCH + j]
                )
            # Harmonics depend on the direction alone: no part along the edge, and 1 / r across.
            radially = gx * x + gy * y + gz * z
            inverse = 1 / r[start + j]
            e = edge[start + j]
            out[e, 0] = along * x + (gx - radially * x) * inverse
            out[e, 1] = along * y + (gy - radially * y) * inverse
            out[e, 2] = along * z + (gz - radially * z) * inverse
