"""Compiled loops of :mod:`atomprint.nn.pair_messages`: filters are made in registers.

Eight channels at a time. Filters of a pair, five numbers a channel, are sums over the radial basis
that stay in registers, are multiplied by the neighbour's features and added up: nothing as large
as pairs times channels is ever written to memory.

Backwards, a vector that is read from memory serves two radial functions: with one, processors wait
for loads, of which they start no more than of multiply-adds.
"""

from typing import Any

import numpy as np

from atomprint.ground.compiled import compiled
from atomprint.ground.vectors import LANES, fma, load, spread, spread_from, store


@compiled()
def add_messages(
    start: int,
    stop: int,
    first: Any,
    neighbor: Any,
    basis: Any,
    along: Any,
    scalar_filter: Any,
    vector_filter: Any,
    context: Any,
    vectors: Any,
    to_scalars: Any,
    to_vectors: Any,
) -> None:
    """Messages to the atoms ``start`` to ``stop - 1``, written to ``to_scalars, to_vectors``.

    Parameters
    ----------
    first, neighbor
        Pairs of centre i are ``first[i]`` to ``first[i + 1]``; ``neighbor`` is each one's other
        atom.
    basis, along
        ``(n_pairs, n_basis)`` and ``(n_pairs, 3, n_basis)``.
    scalar_filter, vector_filter
        ``(n_basis, 2 n)`` and ``(n_basis, n)``, n a multiple of 8.
    context, vectors
        Of the atoms, ``(n_atoms, 3 n)`` and ``(n_atoms, 3, n)``.
    to_scalars, to_vectors
        ``(n_atoms, n)`` and ``(n_atoms, 3, n)``.
    """
    n_basis, n = vector_filter.shape
    zero = spread(vector_filter.dtype.type(0))
    for i in range(start, stop):
        for c in range(0, n, LANES):
            s, x, y, z = zero, zero, zero, zero
            for p in range(first[i], first[i + 1]):
                f1, f2, fx, fy, fz = zero, zero, zero, zero, zero
                for k in range(n_basis):
                    b = spread(basis[p, k])
                    f1 = fma(b, load(scalar_filter, 2 * n * k + c), f1)
                    f2 = fma(b, load(scalar_filter, 2 * n * k + n + c), f2)
                    w = load(vector_filter, n * k + c)
                    fx = fma(spread(along[p, 0, k]), w, fx)
                    fy = fma(spread(along[p, 1, k]), w, fy)
                    fz = fma(spread(along[p, 2, k]), w, fz)
                j = 3 * n * neighbor[p] + c
                s = fma(f1, load(context, j), s)
                gate = f2 * load(context, j + n)
                third = load(context, j + 2 * n)
                x = fma(gate, load(vectors, j), fma(fx, third, x))
                y = fma(gate, load(vectors, j + n), fma(fy, third, y))
                z = fma(gate, load(vectors, j + 2 * n), fma(fz, third, z))
            store(to_scalars, n * i + c, s)
            store(to_vectors, 3 * n * i + c, x)
            store(to_vectors, 3 * n * i + n + c, y)
            store(to_vectors, 3 * n * i + 2 * n + c, z)


@compiled()
def pull_messages(
    start: int,
    stop: int,
    first: Any,
    order: Any,
    center: Any,
    basis: Any,
    along: Any,
    scalar_filter: Any,
    vector_filter: Any,
    context: Any,
    vectors: Any,
    of_scalars: Any,
    of_vectors: Any,
    of_context: Any,
    of_neighbors: Any,
    of_scalar_filter: Any,
    of_vector_filter: Any,
) -> None:
    """Gradient of a loss by what :func:`add_messages` was given, for some neighbours.

    Parameters
    ----------
    first, order, center
        Pairs whose neighbour is atom j are ``order[first[j]]`` to ``order[first[j + 1] - 1]``;
        ``center`` is each pair's other atom.
    of_scalars, of_vectors
        Gradient by the messages, ``(n_atoms, n)`` and ``(n_atoms, 3, n)``.
    of_context, of_neighbors
        Where the gradients by ``context`` and ``vectors`` of these atoms are written.
    of_scalar_filter, of_vector_filter
        Where the gradients by the filters are added.
    """
    n_basis, n = vector_filter.shape
    dtype = vector_filter.dtype
    zero = spread(dtype.type(0))
    # Radial functions in twos: of an odd number the last has a partner that nothing is done with.
    even = n_basis + n_basis % 2
    most = 0
    for j in range(start, stop):
        most = max(most, first[j + 1] - first[j])
    # Of the pairs of one neighbour: four numbers for each radial function, and four vectors.
    radial = np.zeros(4 * even * most, dtype)
    gradients = np.empty(4 * LANES * most, dtype)
    for j in range(start, stop):
        n_pairs = first[j + 1] - first[j]
        for q in range(n_pairs):
            p = order[first[j] + q]
            for k in range(n_basis):
                at = 4 * (n_pairs * k + q)
                radial[at] = basis[p, k]
                radial[at + 1] = along[p, 0, k]
                radial[at + 2] = along[p, 1, k]
                radial[at + 3] = along[p, 2, k]
        for c in range(0, n, LANES):
            for q in range(n_pairs):
                i = center[order[first[j] + q]]
                at = 4 * LANES * q
                store(gradients, at, load(of_scalars, n * i + c))
                store(gradients, at + LANES, load(of_vectors, 3 * n * i + c))
                store(gradients, at + 2 * LANES, load(of_vectors, 3 * n * i + n + c))
                store(gradients, at + 3 * LANES, load(of_vectors, 3 * n * i + 2 * n + c))
            at = 3 * n * j + c
            c1, c2, c3 = load(context, at), load(context, at + n), load(context, at + 2 * n)
            vx, vy, vz = load(vectors, at), load(vectors, at + n), load(vectors, at + 2 * n)
            d1, d2, d3, ux, uy, uz = zero, zero, zero, zero, zero, zero
            # What comes from the neighbour is the same for all of its pairs: gradients are summed
            # over pairs with the basis alone and multiplied afterwards.
            for k in range(0, even, 2):
                s1, x2, y2, z2, s3 = zero, zero, zero, zero, zero
                t1, xx, yy, zz, t3 = zero, zero, zero, zero, zero
                one, two = 4 * n_pairs * k, 4 * n_pairs * (k + 1)
                for q in range(n_pairs):
                    g = 4 * LANES * q
                    s, x = load(gradients, g), load(gradients, g + LANES)
                    y, z = load(gradients, g + 2 * LANES), load(gradients, g + 3 * LANES)
                    b = spread_from(radial, one + 4 * q)
                    s1, x2, y2, z2 = fma(b, s, s1), fma(b, x, x2), fma(b, y, y2), fma(b, z, z2)
                    b = spread_from(radial, two + 4 * q)
                    t1, xx, yy, zz = fma(b, s, t1), fma(b, x, xx), fma(b, y, yy), fma(b, z, zz)
                    s3 = fma(spread_from(radial, one + 4 * q + 1), x, s3)
                    t3 = fma(spread_from(radial, two + 4 * q + 1), x, t3)
                    s3 = fma(spread_from(radial, one + 4 * q + 2), y, s3)
                    t3 = fma(spread_from(radial, two + 4 * q + 2), y, t3)
                    s3 = fma(spread_from(radial, one + 4 * q + 3), z, s3)
                    t3 = fma(spread_from(radial, two + 4 * q + 3), z, t3)
                for half in range(min(2, n_basis - k)):
                    if half == 1:
                        s1, x2, y2, z2, s3 = t1, xx, yy, zz, t3
                    s2 = fma(vx, x2, fma(vy, y2, vz * z2))
                    k1, k3 = 2 * n * (k + half) + c, n * (k + half) + c
                    w1, w2 = load(scalar_filter, k1), load(scalar_filter, k1 + n)
                    d1, d2 = fma(w1, s1, d1), fma(w2, s2, d2)
                    d3 = fma(load(vector_filter, k3), s3, d3)
                    ux, uy, uz = fma(w2, x2, ux), fma(w2, y2, uy), fma(w2, z2, uz)
                    store(of_scalar_filter, k1, fma(c1, s1, load(of_scalar_filter, k1)))
                    store(of_scalar_filter, k1 + n, fma(c2, s2, load(of_scalar_filter, k1 + n)))
                    store(of_vector_filter, k3, fma(c3, s3, load(of_vector_filter, k3)))
            store(of_context, at, d1)
            store(of_context, at + n, d2)
            store(of_context, at + 2 * n, d3)
            store(of_neighbors, at, c2 * ux)
            store(of_neighbors, at + n, c2 * uy)
            store(of_neighbors, at + 2 * n, c2 * uz)
