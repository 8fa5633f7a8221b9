"""The Triton programs: coefficients of an expansion, and their gradients by edge vectors.

One launch for every degree l, so that the harmonics are unrolled by the compiler. Sums are held as
``(m, edge, n)`` and reduced over edges once at the end: the loop has multiplications and additions
only, in the full precision of the float type.
"""

from typing import Any

import triton
import triton.language as tl


@triton.jit
def _legendre(
    z: Any, m: tl.constexpr, degree: tl.constexpr, stride: tl.constexpr, recurrence: Any
) -> Any:
    """``Q_l^m`` and its derivative by z on the unit sphere, see :func:`solid_harmonics`.

    The coefficients of the recurrence are read at ``l stride + m``: diagonal (l = m), rise, fall.
    """
    size: tl.constexpr = stride * stride
    before, before_slope, slope = z * 0, z * 0, z * 0
    current = tl.load(recurrence + m * stride + m) + before
    for l in tl.static_range(m + 1, degree + 1):  # noqa: E741 (the field's own letter)
        rise = tl.load(recurrence + size + l * stride + m)
        fall = tl.load(recurrence + 2 * size + l * stride + m)
        following = rise * z * current - fall * before
        following_slope = rise * (current + z * slope) - fall * before_slope
        before, before_slope = current, slope
        current, slope = following, following_slope
    return current, slope


@triton.jit
def _harmonics(
    x: Any, y: Any, z: Any, n_rows: tl.constexpr, degree: tl.constexpr, stride: tl.constexpr,
    recurrence: Any,
) -> Any:  # fmt: skip
    """Harmonics of one degree, ``(n_rows, n_edges)``, row l + m; zero beyond 2l."""
    row = tl.arange(0, n_rows)[:, None]
    real, imaginary = x * 0 + 1, x * 0
    values = (row * 0).to(x.dtype) + imaginary[None, :]
    for m in tl.static_range(0, degree + 1):
        if m > 0:
            following = x * real - y * imaginary
            imaginary = x * imaginary + y * real
            real = following
        q, _ = _legendre(z, m, degree, stride, recurrence)
        if m > 0:
            values = tl.where(row == degree - m, (q * imaginary)[None, :], values)
        values = tl.where(row == degree + m, (q * real)[None, :], values)
    return values


@triton.jit
def _edges(vectors: Any, edge: Any, here: Any, limits: Any, n_intervals: Any) -> Any:
    """Unit vectors, lengths, whether they count, and places in the table of a tile of edges."""
    x = tl.load(vectors + 3 * edge, mask=here, other=1)
    y = tl.load(vectors + 3 * edge + 1, mask=here, other=0)
    z = tl.load(vectors + 3 * edge + 2, mask=here, other=0)
    r = tl.sqrt(x * x + y * y + z * z)
    counts = here & (r < tl.load(limits + 2))
    place = (r - tl.load(limits)) * tl.load(limits + 1)
    interval = tl.minimum(tl.maximum(place.to(tl.int32), 0), n_intervals - 1)
    return x / r, y / r, z / r, r, counts, interval, place - interval.to(r.dtype)


@triton.jit
def forward(
    first: Any, vectors: Any, elements: Any, weights: Any, table_of_element: Any, table: Any,
    limits: Any, recurrence: Any, block_of: Any, column_of: Any, offset_of: Any, with_self: Any,
    out: Any, selves: Any, n_intervals: Any, width: Any, n_channels: Any, size: Any, n_blocks: Any,
    n_radial: tl.constexpr, degree: tl.constexpr, stride: tl.constexpr, n_rows: tl.constexpr,
    n_columns: tl.constexpr, tile: tl.constexpr,
) -> None:  # fmt: skip
    """Coefficients of one centre, block of this degree, and channel.

    ``out`` is ``(n_centers, n_channels, size)``, ``selves``
    ``(n_centers, n_channels, n_blocks, n_radial)``.
    """
    center = tl.program_id(0).to(tl.int64)
    which, channel = tl.program_id(1), tl.program_id(2)
    block = tl.load(block_of + which)
    column, offset = tl.load(column_of + which), tl.load(offset_of + which)
    start, stop = tl.load(first + center), tl.load(first + center + 1)
    n = tl.arange(0, n_columns)
    known = (n < n_radial)[None, :]
    total = tl.zeros((n_rows, tile, n_columns), vectors.dtype.element_ty)
    squares = tl.zeros((tile, n_columns), vectors.dtype.element_ty)
    for at in range(start, stop, tile):
        edge = at + tl.arange(0, tile)
        here = edge < stop
        x, y, z, _, counts, interval, t = _edges(vectors, edge, here, limits, n_intervals)
        element = tl.load(elements + edge, mask=here, other=0)
        weight = tl.load(weights + element * n_channels + channel, mask=counts, other=0)
        kind = tl.load(table_of_element + element)
        cell = (kind * n_intervals + interval) * 4 * width + column
        cubic = table + cell[:, None] + n[None, :]
        valid = counts[:, None] & known
        t = t[:, None]
        radial = tl.load(cubic + 3 * width, mask=valid, other=0)
        radial = radial * t + tl.load(cubic + 2 * width, mask=valid, other=0)
        radial = radial * t + tl.load(cubic + width, mask=valid, other=0)
        radial = (radial * t + tl.load(cubic, mask=valid, other=0)) * weight[:, None]
        harmonics = _harmonics(x, y, z, n_rows, degree, stride, recurrence)
        total += harmonics[:, :, None] * radial[None, :, :]
        squares += radial * radial
    row = tl.arange(0, n_rows)[:, None]
    place = (center * n_channels + channel) * size + offset
    sums = tl.sum(total, axis=1)
    tl.store(out + place + row * n_radial + n[None, :], sums, mask=(row <= 2 * degree) & known)
    if tl.load(with_self + which) != 0:
        place = ((center * n_channels + channel) * n_blocks + block) * n_radial
        tl.store(selves + place + n, tl.sum(squares, axis=0), mask=n < n_radial)


@triton.jit
def backward(
    first: Any, vectors: Any, elements: Any, weights: Any, table_of_element: Any, table: Any,
    limits: Any, recurrence: Any, block_of: Any, column_of: Any, offset_of: Any, with_self: Any,
    given: Any, given_selves: Any, out: Any, out_weights: Any, n_intervals: Any, width: Any,
    n_channels: Any, size: Any, n_blocks: Any, n_here: Any, n_radial: tl.constexpr,
    degree: tl.constexpr, stride: tl.constexpr, n_rows: tl.constexpr, n_columns: tl.constexpr,
    tile: tl.constexpr, learning: tl.constexpr,
) -> None:  # fmt: skip
    """Add one degree's share to the gradients of one centre's edges.

    An edge belongs to one centre, and launches follow each other: no atomic additions, and the
    same numbers every time. ``out`` is ``(n_edges, 3)``; ``out_weights`` is the derivative by the
    weight that the edge has in a channel, ``(n_edges, n_channels)``.
    """
    center = tl.program_id(0).to(tl.int64)
    start, stop = tl.load(first + center), tl.load(first + center + 1)
    n = tl.arange(0, n_columns)
    row = tl.arange(0, n_rows)[:, None]
    known = (n < n_radial)[None, :]
    for at in range(start, stop, tile):
        edge = at + tl.arange(0, tile)
        here = edge < stop
        x, y, z, r, counts, interval, t = _edges(vectors, edge, here, limits, n_intervals)
        element = tl.load(elements + edge, mask=here, other=0)
        kind = tl.load(table_of_element + element)
        harmonics = _harmonics(x, y, z, n_rows, degree, stride, recurrence)
        t = t[:, None]
        turned = harmonics * 0  # derivative by each harmonic, (m, edge)
        along = r * 0  # derivative by the length
        for which in range(0, n_here):
            block = tl.load(block_of + which)
            column, offset = tl.load(column_of + which), tl.load(offset_of + which)
            cell = (kind * n_intervals + interval) * 4 * width + column
            cubic = table + cell[:, None] + n[None, :]
            valid = counts[:, None] & known
            c1 = tl.load(cubic + width, mask=valid, other=0)
            c2 = tl.load(cubic + 2 * width, mask=valid, other=0)
            c3 = tl.load(cubic + 3 * width, mask=valid, other=0)
            radial = ((c3 * t + c2) * t + c1) * t + tl.load(cubic, mask=valid, other=0)
            slope = ((3 * c3 * t + 2 * c2) * t + c1) * tl.load(limits + 1)
            for channel in range(0, n_channels):
                weight = tl.load(weights + element * n_channels + channel, mask=counts, other=0)
                place = (center * n_channels + channel) * size + offset
                pull = tl.load(
                    given + place + row * n_radial + n[None, :],
                    mask=(row <= 2 * degree) & known,
                    other=0,
                )
                by_harmonic = tl.sum(pull[:, None, :] * radial[None, :, :], axis=2)
                by_slope = tl.sum(pull[:, None, :] * slope[None, :, :], axis=2)
                turned += weight[None, :] * by_harmonic
                along += weight * tl.sum(by_slope * harmonics, axis=0)
                by_weight = tl.sum(by_harmonic * harmonics, axis=0)
                if tl.load(with_self + which) != 0:
                    place = ((center * n_channels + channel) * n_blocks + block) * n_radial
                    pull_self = tl.load(given_selves + place + n, mask=n < n_radial, other=0)
                    squared = tl.sum(pull_self[None, :] * radial * slope, axis=1)
                    along += 2 * weight * weight * squared
                    by_weight += 2 * weight * tl.sum(pull_self[None, :] * radial * radial, axis=1)
                if learning:
                    target = out_weights + edge.to(tl.int64) * n_channels + channel
                    tl.store(target, tl.load(target, mask=here, other=0) + by_weight, mask=here)
        # Derivatives of Q(z) Re (x + iy)^m and Q(z) Im (x + iy)^m on the sphere; what points along
        # the edge does not turn it, and is taken off.
        dx, dy, dz = x * 0, x * 0, x * 0
        real, imaginary = x * 0 + 1, x * 0
        for m in tl.static_range(0, degree + 1):
            q, q_slope = _legendre(z, m, degree, stride, recurrence)
            cosine = tl.sum(tl.where(row == degree + m, turned, 0), axis=0)
            if m == 0:
                dz += cosine * q_slope
            else:
                sine = tl.sum(tl.where(row == degree - m, turned, 0), axis=0)
                dx += m * q * (cosine * real + sine * imaginary)
                dy += m * q * (sine * real - cosine * imaginary)
                following = x * real - y * imaginary
                imaginary = x * imaginary + y * real
                real = following
                dz += q_slope * (cosine * real + sine * imaginary)
        inward = dx * x + dy * y + dz * z
        target = out + 3 * edge.to(tl.int64)
        gx = along * x + (dx - inward * x) / r
        gy = along * y + (dy - inward * y) / r
        gz = along * z + (dz - inward * z) / r
        tl.store(target, tl.load(target, mask=here, other=0) + gx, mask=here)
        tl.store(target + 1, tl.load(target + 1, mask=here, other=0) + gy, mask=here)
        tl.store(target + 2, tl.load(target + 2, mask=here, other=0) + gz, mask=here)
