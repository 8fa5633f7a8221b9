"""Compiled loops of :mod:`atomprint.nn.pair_messages`: filters are made in registers.

Eight channels and two pairs at a time. Filters of a pair, five numbers a channel, are sums over the
radial basis that stay in registers, serve both directions of the pair, are multiplied by the
neighbour's features and added up: nothing as large as pairs times channels is ever written to
memory. Pairs are taken in chunks whose bases stay in the cache while all channels have their turn.

Threads share the channels, so that no two of them write to the same number and results do not
depend on how many there are.
"""

from typing import Any

import numpy as np

from atomprint.ground.compiled import compiled
from atomprint.ground.vectors import LANES, fma, load, spread, spread_from, store

# Pairs whose bases, 272 bytes each with 17 functions in float32, stay in the nearest cache.
_CHUNK = 64


@compiled()
def _two_filters(bases: Any, a: int, b: int, filters: Any, at: int, n_basis: int) -> Any:
    """Filters of two pairs for the channels of a block: f1, f2 and the three of f3 for either.

    ``a`` and ``b`` are where the pairs' bases begin, ``at`` where the block's filters do.
    """
    zero = spread(filters.dtype.type(0))
    f1, f2, fx, fy, fz = zero, zero, zero, zero, zero
    g1, g2, gx, gy, gz = zero, zero, zero, zero, zero
    for k in range(n_basis):
        w1 = load(filters, at + 3 * LANES * k)
        w2 = load(filters, at + 3 * LANES * k + LANES)
        w3 = load(filters, at + 3 * LANES * k + 2 * LANES)
        r = spread_from(bases, a + 4 * k)
        f1, f2 = fma(r, w1, f1), fma(r, w2, f2)
        fx = fma(spread_from(bases, a + 4 * k + 1), w3, fx)
        fy = fma(spread_from(bases, a + 4 * k + 2), w3, fy)
        fz = fma(spread_from(bases, a + 4 * k + 3), w3, fz)
        r = spread_from(bases, b + 4 * k)
        g1, g2 = fma(r, w1, g1), fma(r, w2, g2)
        gx = fma(spread_from(bases, b + 4 * k + 1), w3, gx)
        gy = fma(spread_from(bases, b + 4 * k + 2), w3, gy)
        gz = fma(spread_from(bases, b + 4 * k + 3), w3, gz)
    return f1, f2, fx, fy, fz, g1, g2, gx, gy, gz


@compiled()
def _send(
    i: int, j: int, n: int, c: int, f1: Any, f2: Any, fx: Any, fy: Any, fz: Any, context: Any,
    vectors: Any, to_scalars: Any, to_vectors: Any,
) -> None:  # fmt: skip
    """Add the message of atom j to atom i, for the channels from ``c`` on."""
    at, to = 3 * n * j + c, 3 * n * i + c
    gate, c3 = f2 * load(context, at + n), load(context, at + 2 * n)
    s = fma(f1, load(context, at), load(to_scalars, n * i + c))
    x = fma(gate, load(vectors, at), fma(fx, c3, load(to_vectors, to)))
    y = fma(gate, load(vectors, at + n), fma(fy, c3, load(to_vectors, to + n)))
    z = fma(gate, load(vectors, at + 2 * n), fma(fz, c3, load(to_vectors, to + 2 * n)))
    store(to_scalars, n * i + c, s)
    store(to_vectors, to, x)
    store(to_vectors, to + n, y)
    store(to_vectors, to + 2 * n, z)


@compiled()
def add_messages(
    start: int,
    stop: int,
    first: Any,
    second: Any,
    bases: Any,
    filters: Any,
    context: Any,
    vectors: Any,
    to_scalars: Any,
    to_vectors: Any,
) -> None:
    """Add the messages of channels ``8 start`` to ``8 stop - 1``, both ways of every pair.

    Parameters
    ----------
    first, second
        Atoms of each pair, ``(n_pairs,)``; those of one atom with itself have one message.
    bases
        ``(n_pairs, n_basis, 4)``: radial functions, and times the direction from the first to the
        second atom.
    filters
        ``(n / 8, n_basis, 3, 8)`` for n channels: those of scalars, of gates and of directions.
    context, vectors
        Of the atoms, ``(n_atoms, 3 n)`` and ``(n_atoms, 3, n)``.
    to_scalars, to_vectors
        ``(n_atoms, n)`` and ``(n_atoms, 3, n)``.
    """
    n_pairs, n_basis, _ = bases.shape
    n = to_scalars.shape[1]
    zero = spread(filters.dtype.type(0))
    row = 4 * n_basis
    for chunk in range(0, n_pairs, _CHUNK):
        end = min(chunk + _CHUNK, n_pairs)
        for block in range(start, stop):
            c = LANES * block
            for u in range(chunk, end, 2):
                # Of an odd number of pairs the last is its own partner, which is left out.
                n_here = min(2, end - u)
                f1, f2, fx, fy, fz, g1, g2, gx, gy, gz = _two_filters(
                    bases, row * u, row * (u + n_here - 1), filters, 3 * c * n_basis, n_basis
                )
                for half in range(n_here):
                    if half == 1:
                        f1, f2, fx, fy, fz = g1, g2, gx, gy, gz
                    i, j = first[u + half], second[u + half]
                    _send(i, j, n, c, f1, f2, fx, fy, fz, context, vectors, to_scalars, to_vectors)
                    if i != j:
                        # The other way the direction is the opposite one.
                        fx, fy, fz = zero - fx, zero - fy, zero - fz
                        _send(
                            j, i, n, c, f1, f2, fx, fy, fz, context, vectors, to_scalars, to_vectors
                        )


@compiled()
def _pull(
    i: int, j: int, n: int, c: int, f1: Any, f2: Any, fx: Any, fy: Any, fz: Any, context: Any,
    vectors: Any, of_scalars: Any, of_vectors: Any, of_context: Any, of_neighbors: Any,
) -> Any:  # fmt: skip
    """Gradients of the message of atom j to atom i: add those by j, return those by the filters."""
    at, by = 3 * n * j + c, 3 * n * i + c
    s, x = load(of_scalars, n * i + c), load(of_vectors, by)
    y, z = load(of_vectors, by + n), load(of_vectors, by + 2 * n)
    c1, c2, c3 = load(context, at), load(context, at + n), load(context, at + 2 * n)
    vx, vy, vz = load(vectors, at), load(vectors, at + n), load(vectors, at + 2 * n)
    t, gate = fma(x, vx, fma(y, vy, z * vz)), f2 * c2
    along = fma(fx, x, fma(fy, y, fz * z))
    store(of_context, at, fma(f1, s, load(of_context, at)))
    store(of_context, at + n, fma(f2, t, load(of_context, at + n)))
    store(of_context, at + 2 * n, load(of_context, at + 2 * n) + along)
    store(of_neighbors, at, fma(gate, x, load(of_neighbors, at)))
    store(of_neighbors, at + n, fma(gate, y, load(of_neighbors, at + n)))
    store(of_neighbors, at + 2 * n, fma(gate, z, load(of_neighbors, at + 2 * n)))
    return s * c1, t * c2, x * c3, y * c3, z * c3


@compiled()
def pull_messages(
    start: int,
    stop: int,
    first: Any,
    second: Any,
    bases: Any,
    filters: Any,
    context: Any,
    vectors: Any,
    of_scalars: Any,
    of_vectors: Any,
    of_context: Any,
    of_neighbors: Any,
    of_filters: Any,
) -> None:
    """Gradient of a loss by what :func:`add_messages` was given, for the same channels.

    Parameters
    ----------
    of_scalars, of_vectors
        Gradient by the messages, ``(n_atoms, n)`` and ``(n_atoms, 3, n)``.
    of_context, of_neighbors, of_filters
        Where the gradients by ``context``, ``vectors`` and ``filters`` are added.
    """
    n_pairs, n_basis, _ = bases.shape
    n = of_scalars.shape[1]
    zero = spread(filters.dtype.type(0))
    row = 4 * n_basis
    for chunk in range(0, n_pairs, _CHUNK):
        end = min(chunk + _CHUNK, n_pairs)
        for block in range(start, stop):
            c = LANES * block
            for u in range(chunk, end, 2):
                n_here = min(2, end - u)
                a, b = row * u, row * (u + n_here - 1)
                f1, f2, fx, fy, fz, g1, g2, gx, gy, gz = _two_filters(
                    bases, a, b, filters, 3 * c * n_basis, n_basis
                )
                # Gradients by the filters of two pairs, p and q; of the last by itself q.
                p1, p2, px, py, pz = zero, zero, zero, zero, zero
                q1, q2, qx, qy, qz = zero, zero, zero, zero, zero
                for half in range(n_here):
                    if half == 1:
                        f1, f2, fx, fy, fz = g1, g2, gx, gy, gz
                        p1, p2, px, py, pz = q1, q2, qx, qy, qz
                    i, j = first[u + half], second[u + half]
                    q1, q2, qx, qy, qz = _pull(
                        i, j, n, c, f1, f2, fx, fy, fz, context, vectors, of_scalars, of_vectors,
                        of_context, of_neighbors,
                    )  # fmt: skip
                    if i != j:
                        fx, fy, fz = zero - fx, zero - fy, zero - fz
                        o1, o2, ox, oy, oz = _pull(
                            j, i, n, c, f1, f2, fx, fy, fz, context, vectors, of_scalars,
                            of_vectors, of_context, of_neighbors,
                        )  # fmt: skip
                        q1, q2 = q1 + o1, q2 + o2
                        qx, qy, qz = qx - ox, qy - oy, qz - oz
                at = 3 * c * n_basis
                for k in range(n_basis):
                    r, t = spread_from(bases, a + 4 * k), spread_from(bases, b + 4 * k)
                    d1, d2 = load(of_filters, at), load(of_filters, at + LANES)
                    d3 = load(of_filters, at + 2 * LANES)
                    d1, d2 = fma(r, p1, fma(t, q1, d1)), fma(r, p2, fma(t, q2, d2))
                    d3 = fma(spread_from(bases, a + 4 * k + 1), px, d3)
                    d3 = fma(spread_from(bases, a + 4 * k + 2), py, d3)
                    d3 = fma(spread_from(bases, a + 4 * k + 3), pz, d3)
                    d3 = fma(spread_from(bases, b + 4 * k + 1), qx, d3)
                    d3 = fma(spread_from(bases, b + 4 * k + 2), qy, d3)
                    d3 = fma(spread_from(bases, b + 4 * k + 3), qz, d3)
                    store(of_filters, at, d1)
                    store(of_filters, at + LANES, d2)
                    store(of_filters, at + 2 * LANES, d3)
                    at += 3 * LANES


@compiled()
def fold_images(
    center: Any, neighbor: Any, arrows: Any, distances: Any, cutoff: float, n_radial: int
) -> Any:
    """Pairs of atoms and their bases, summed over periodic images.

    Parameters
    ----------
    center, neighbor
        Atoms of each edge, ``(n_edges,)``, sorted by both; every edge has its mirror image.
    arrows, distances
        From the centre to the neighbour, ``(n_edges, 3)``, and their lengths, Å.
    cutoff, n_radial
        Of the Bessel functions.

    Returns
    -------
    first, second, bases
        Atoms of each pair, the first not above the second, and ``(n_pairs, n_radial + 1, 4)`` as in
        :func:`add_messages`: Bessel functions times the cosine cutoff, and the cutoff alone.
    """
    n_pairs = 0
    i, j = -1, -1
    for e in range(len(center)):
        if center[e] <= neighbor[e] and (center[e] != i or neighbor[e] != j):
            i, j = center[e], neighbor[e]
            n_pairs += 1
    first, second = np.empty(n_pairs, center.dtype), np.empty(n_pairs, center.dtype)
    bases = np.zeros((n_pairs, n_radial + 1, 4), arrows.dtype)
    radial = np.empty(n_radial + 1)
    size = np.sqrt(2 / cutoff)
    p = -1
    i, j = -1, -1
    for e in range(len(center)):
        if center[e] > neighbor[e]:
            continue
        if center[e] != i or neighbor[e] != j:
            i, j = center[e], neighbor[e]
            p += 1
            first[p], second[p] = i, j
        r = np.float64(distances[e])
        if r >= cutoff:
            continue
        angle = np.pi * r / cutoff
        cosine = np.cos(angle)
        taper = 0.5 * (cosine + 1)
        # sin(n a) = 2 cos(a) sin((n - 1) a) - sin((n - 2) a)
        before, now = 0.0, np.sin(angle) * size * taper / r
        for k in range(n_radial):
            radial[k] = now
            before, now = now, 2 * cosine * now - before
        radial[n_radial] = taper
        x, y, z = arrows[e, 0] / r, arrows[e, 1] / r, arrows[e, 2] / r
        for k in range(n_radial + 1):
            value = radial[k]
            bases[p, k, 0] += value
            bases[p, k, 1] += value * x
            bases[p, k, 2] += value * y
            bases[p, k, 3] += value * z
    return first, second, bases
