"""Nets: which building unit is joined to which, across which faces of the cell.

A periodic net is a finite graph whose edges carry lattice translations (its labelled quotient
graph; Chung, Hahn and Klee, Acta Cryst. A 40, 42, 1984). Where its vertices lie follows from that
alone: the standard realisation puts each in the middle of its neighbours, in the cell in which
edges point as evenly as they can (Kotani and Sunada, Trans. Am. Math. Soc. 353, 1, 2001). So a net
is a line of a table, and nets can be drawn at random too. Names are RCSR's (O'Keeffe et al., Acc.
Chem. Res. 41, 1782, 2008).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Edge = tuple[int, int, tuple[int, int, int]]


@dataclass(frozen=True)
class Net:
    """A periodic graph.

    Attributes
    ----------
    name
        RCSR's, or ``random``.
    n_vertices
        Vertices in a cell.
    edges
        ``(i, j, shift)``: vertex i is joined to vertex j of the cell at ``shift``.
    dimension
        Directions in which it goes on: 1 a chain, 2 a layer, 3 a framework; the first so many of
        the cell's.
    """

    name: str
    n_vertices: int
    edges: tuple[Edge, ...]
    dimension: int

    @property
    def degrees(self) -> list[int]:
        """Edge ends at each vertex."""
        ends = np.zeros(self.n_vertices, dtype=int)
        for i, j, _ in self.edges:
            ends[i] += 1
            ends[j] += 1
        return [int(n) for n in ends]


_X, _Y, _Z, _O = (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)


def _loops(name: str, dimension: int, *shifts: tuple[int, int, int]) -> Net:
    return Net(name, 1, tuple((0, 0, shift) for shift in shifts), dimension)


def _pairs(name: str, dimension: int, *shifts: tuple[int, int, int]) -> Net:
    return Net(name, 2, tuple((0, 1, shift) for shift in shifts), dimension)


NETS: tuple[Net, ...] = (
    _loops("chain", 1, _X),
    _pairs("zigzag", 1, _O, _X),
    _loops("double chain", 1, _X, _X),
    _loops("sql", 2, _X, _Y),
    _pairs("sql", 2, _O, _X, _Y, (1, 1, 0)),
    _pairs("hcb", 2, _O, _X, _Y),
    _loops("hxl", 2, _X, _Y, (1, 1, 0)),
    Net(
        "kgm", 3,
        ((0, 1, _O), (0, 1, _X), (1, 2, _O), (1, 2, (-1, 1, 0)), (2, 0, _O), (2, 0, (0, -1, 0))), 2,
    ),
    _loops("pcu", 3, _X, _Y, _Z),
    _pairs("dia", 3, _O, _X, _Y, _Z),
    _loops("bcu", 3, _X, _Y, _Z, (-1, -1, -1)),
    _loops("hex", 3, _X, _Y, (1, 1, 0), _Z),
    _loops("fcu", 3, _X, _Y, _Z, (1, -1, 0), (1, 0, -1), (0, 1, -1)),
    Net("cds", 2, ((0, 0, _X), (1, 1, _Y), (0, 1, _O), (0, 1, _Z)), 3),
    _pairs("acs", 3, _O, _X, _Y, _Z, (1, 0, 1), (0, 1, 1)),
    Net("srs", 4, ((0, 1, _O), (0, 2, _O), (0, 3, _O), (1, 2, _X), (2, 3, _Y), (3, 1, _Z)), 3),
    Net(
        "ths", 4,
        ((0, 1, _O), (2, 3, _O), (0, 2, _O), (0, 2, _X), (1, 3, _Z), (1, 3, (0, 1, 1))), 3,
    ),
    Net(
        "nbo", 3,
        (
            (0, 1, (-1, 0, 0)), (0, 1, _Y), (0, 2, (-1, 0, 0)), (0, 2, _Z), (1, 2, (0, -1, 0)),
            (1, 2, _Z),
        ), 3,
    ),
    Net(
        "sod", 6,
        (
            (0, 1, _Z), (0, 2, (0, -1, 0)), (0, 4, _O), (0, 5, _O), (1, 2, _X), (1, 3, _O),
            (1, 5, _O), (2, 3, _O), (2, 4, _O), (3, 4, (0, 0, -1)), (3, 5, _Y),
            (4, 5, (-1, 0, 0)),
        ), 3,
    ),
)  # fmt: skip
"""Common nets, chains and layers included."""


def random_net(
    rng: np.random.Generator, degrees: Sequence[int], sides: Sequence[int], dimension: int
) -> Net | None:
    """Join edge ends at random.

    Parameters
    ----------
    rng
        Makes the choices.
    degrees
        Edge ends of every vertex.
    sides
        0 or 1 of every vertex: edges go from 0 to 1. All 0: they go anywhere.
    dimension
        Directions in which edges may leave the cell.

    Returns
    -------
    Net or None
        None where the draw falls apart or does not go on in so many directions.
    """
    ends = np.repeat(np.arange(len(degrees)), degrees)
    if any(sides):
        side = np.asarray(sides)[ends]
        first, second = rng.permutation(ends[side == 0]), rng.permutation(ends[side == 1])
        if len(first) != len(second):
            return None
    else:
        if len(ends) % 2:
            return None
        ends = rng.permutation(ends)
        first, second = ends[::2], ends[1::2]
    shifts = rng.choice([-1, 0, 0, 1], size=(len(first), 3))
    shifts[:, dimension:] = 0
    edges = tuple(
        (int(i), int(j), (int(s[0]), int(s[1]), int(s[2])))
        for i, j, s in zip(first, second, shifts, strict=True)
    )
    if any(i == j and not any(shift) for i, j, shift in edges):
        return None
    net = Net("random", len(degrees), edges, dimension)
    return net if _spans(net) == dimension else None


def _spans(net: Net) -> int:
    """Rank of the translations along closed walks; -1 where the graph is in pieces."""
    place: dict[int, FloatArray] = {0: np.zeros(3)}
    while True:
        before = len(place)
        for i, j, shift in net.edges:
            if i in place and j not in place:
                place[j] = place[i] + shift
            elif j in place and i not in place:
                place[i] = place[j] - shift
        if len(place) == before:
            break
    if before < net.n_vertices:
        return -1
    cycles = np.array([place[i] + shift - place[j] for i, j, shift in net.edges])
    return int(np.linalg.matrix_rank(cycles))


def realise(net: Net, lengths: FloatArray | None = None) -> tuple[FloatArray, FloatArray] | None:
    """Place a net: fractional coordinates of the vertices, and a cell.

    Directions in which the net does not go on have cell vectors of length 1 that stand upright on
    the others.

    Parameters
    ----------
    net
        The graph.
    lengths
        Of its edges, in any unit, ``(n_edges,)``; all 1 by default.

    Returns
    -------
    frac : (n, 3) array
        Each vertex is in the middle of its neighbours, nearer to those of short edges.
    cell : (3, 3) array
        Rows. Edges have these lengths in the mean. None where the net has no such embedding:
        vertices fall together that are joined.
    """
    n, d = net.n_vertices, net.dimension
    i = np.array([edge[0] for edge in net.edges])
    j = np.array([edge[1] for edge in net.edges])
    shift = np.array([edge[2] for edge in net.edges], dtype=float)
    lengths = np.ones(len(i)) if lengths is None else lengths
    weight = 1 / lengths
    laplacian, pull = np.zeros((n, n)), np.zeros((n, 3))
    np.add.at(laplacian, (i, i), weight)
    np.add.at(laplacian, (j, j), weight)
    np.add.at(laplacian, (i, j), -weight)
    np.add.at(laplacian, (j, i), -weight)
    np.add.at(pull, i, shift * weight[:, None])
    np.add.at(pull, j, -shift * weight[:, None])
    frac = np.linalg.lstsq(laplacian, pull, rcond=None)[0]
    along = frac[j] + shift - frac[i]
    spread = along[:, :d].T @ (along[:, :d] * weight[:, None] ** 2)
    values, vectors = np.linalg.eigh(spread)
    if values[0] < 1e-6 * values[-1]:
        return None
    cell = np.eye(3)
    cell[:d, :d] = vectors @ np.diag(values**-0.5) @ vectors.T
    relative = np.linalg.norm(along @ cell, axis=1) * weight
    if relative.min() < 0.3 * relative.mean():
        return None
    cell[:d] /= relative.mean()
    return np.asarray(frac), cell


def is_roomy(frac: FloatArray, cell: FloatArray, closest: float) -> bool:
    """Whether no two vertices, images included, are nearer than so many mean edge lengths."""
    grid = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    apart = frac[:, None, None] - frac[None, :, None]
    apart = apart - np.round(apart) + grid
    distance = np.linalg.norm(apart @ cell, axis=-1)
    distance[distance < 1e-9] = np.inf if len(frac) == 1 else 0.0
    same = np.eye(len(frac), dtype=bool)[:, :, None] & (np.abs(grid).sum(1) == 0)[None, None]
    distance[same] = np.inf
    return bool(distance.min() > closest)
