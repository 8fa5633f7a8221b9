"""Compiled loops of :mod:`atomprint.nn.pair_messages`: filters are made in registers.

Eight channels at a time. Filters of a pair, five numbers a channel, are sums over the radial basis
that stay in registers, are multiplied by the neighbour's features and added up: nothing as large
as pairs times channels is ever written to memory.
"""

from typing import Any

from atomprint.ground.compiled import compiled
from atomprint.ground.vectors import LANES, fma, load, spread, store


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
    zero = spread(vector_filter.dtype.type(0))
    for j in range(start, stop):
        for c in range(0, n, LANES):
            at = 3 * n * j + c
            c1, c2, c3 = load(context, at), load(context, at + n), load(context, at + 2 * n)
            vx, vy, vz = load(vectors, at), load(vectors, at + n), load(vectors, at + 2 * n)
            d1, d2, d3, ux, uy, uz = zero, zero, zero, zero, zero, zero
            # What comes from the neighbour is the same for all of its pairs: gradients are summed
            # over pairs with the basis alone, seven sums in registers, and multiplied afterwards.
            for k in range(n_basis):
                s1, x2, y2, z2, x3, y3, z3 = zero, zero, zero, zero, zero, zero, zero
                for q in range(first[j], first[j + 1]):
                    p = order[q]
                    i = center[p]
                    x = load(of_vectors, 3 * n * i + c)
                    y = load(of_vectors, 3 * n * i + n + c)
                    z = load(of_vectors, 3 * n * i + 2 * n + c)
                    b = spread(basis[p, k])
                    s1 = fma(b, load(of_scalars, n * i + c), s1)
                    x2, y2, z2 = fma(b, x, x2), fma(b, y, y2), fma(b, z, z2)
                    x3 = fma(spread(along[p, 0, k]), x, x3)
                    y3 = fma(spread(along[p, 1, k]), y, y3)
                    z3 = fma(spread(along[p, 2, k]), z, z3)
                s2 = fma(vx, x2, fma(vy, y2, vz * z2))
                s3 = x3 + y3 + z3
                k1, k3 = 2 * n * k + c, n * k + c
                w1, w2 = load(scalar_filter, k1), load(scalar_filter, k1 + n)
                d1, d2, d3 = fma(w1, s1, d1), fma(w2, s2, d2), fma(load(vector_filter, k3), s3, d3)
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
