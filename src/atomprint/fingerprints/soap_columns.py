"""Columns of SOAP: which pairs of densities, and which of their products, in which order."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from atomprint.fingerprints.kernels.expansion import LINEAR, Products

Ints = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Resolution = Literal["channels", "mu1nu1", "crossover", "full"]


@dataclass(frozen=True)
class PowerColumns:
    """Columns of a power spectrum: pair of densities, then l, n and n'.

    Attributes
    ----------
    labels
        Without the kind, such as ``Ti-O.n0n3l2``.
    left, right
        Densities of every pair, ``(n_pairs,)``.
    factors
        What products of each pair and degree are multiplied by, ``(n_pairs, l_max + 1)``.
    pair, degree, first, second
        Of every column: which pair, l, n and n', ``(n_columns,)``.
    n_max
        Radial functions of a density.
    """

    labels: tuple[str, ...]
    left: Ints
    right: Ints
    factors: Float64s
    pair: Ints
    degree: Ints
    first: Ints
    second: Ints
    n_max: int

    @property
    def places(self) -> Ints:
        """Where the columns are in an array ``(l_max + 1, n_pairs, n_max, n_max)``, flattened."""
        n, n_pairs = self.n_max, len(self.left)
        places: Ints = ((self.degree * n_pairs + self.pair) * n + self.first) * n + self.second
        return places

    def products(self) -> Products:
        """The columns as products of an expansion whose block l has the degree l."""
        n = self.n_max
        return Products(
            block=self.degree,
            left=self.left[self.pair] * n + self.first,
            right=self.right[self.pair] * n + self.second,
            factor=self.factors[self.pair, self.degree],
        )


def coefficient_products(n_densities: int, n_max: int, l_max: int) -> Products:
    """All coefficients of an expansion whose block l has the degree l: by l, density, n and m."""
    each = [
        (degree, density * n_max + n, order)
        for degree in range(l_max + 1)
        for density in range(n_densities)
        for n in range(n_max)
        for order in range(2 * degree + 1)
    ]
    block, left, order = np.array(each, dtype=np.int64).T
    return Products(block, left, np.full_like(left, LINEAR), np.ones(len(left)), order)


def pairs_of(
    resolution: Resolution, names: list[str], cross_channels: bool
) -> list[tuple[int, int, str]]:
    """Pairs of densities, each once: first and second density and what columns call them.

    For ``mu1nu1`` the density after all of ``names`` is that of all species together.
    """
    n = len(names)
    if resolution == "mu1nu1":
        return [(a, n, f"{name}-all") for a, name in enumerate(names)]
    crossed = resolution == "full" or cross_channels
    return [
        (a, b, names[a] if a == b else f"{names[a]}-{names[b]}")
        for a in range(n)
        for b in range(a, n if crossed else a + 1)
    ]


def count_columns(resolution: Resolution, n_densities: int, n_max: int, l_max: int) -> int:
    """Number of columns with species resolution; dscribe's numbers."""
    same, different = n_max * (n_max + 1) // 2, n_max**2
    per_degree = {
        "mu1nu1": n_densities * different,
        "crossover": n_densities * same,
        "full": n_densities * same + n_densities * (n_densities - 1) // 2 * different,
    }
    return (l_max + 1) * per_degree[resolution]


def power_columns(
    pairs: list[tuple[int, int, str]], n_max: int, l_max: int, convention: str
) -> PowerColumns:
    """Make the columns of some pairs of densities.

    Within one density n' ≥ n, the others being the same; between two all n and n'.

    Parameters
    ----------
    pairs
        From :func:`pairs_of`.
    n_max, l_max
        Size of the expansion.
    convention
        ``dscribe``: factor π √(8/(2l+1)). ``featomic``: (-1)^l / √(2l+1), and √2 more between two
        densities, so that a pair counts for both of its orders.
    """
    n, orders = n_max, np.arange(n_max)
    upper = np.triu_indices(n)
    every = (np.repeat(orders, n), np.tile(orders, n))
    degrees = np.arange(l_max + 1)
    if convention == "dscribe":
        by_degree = math.pi * np.sqrt(8 / (2 * degrees + 1))
    else:
        by_degree = (-1.0) ** degrees / np.sqrt(2 * degrees + 1)
    parts: list[list[Ints]] = [[], [], [], []]
    labels: list[str] = []
    for index, (a, b, name) in enumerate(pairs):
        first, second = upper if a == b else every
        size = len(first)
        parts[0].append(np.full(size * (l_max + 1), index))
        parts[1].append(np.repeat(degrees, size))
        parts[2].append(np.tile(first, l_max + 1))
        parts[3].append(np.tile(second, l_max + 1))
        ends = [f"n{i}n{j}" for i, j in zip(first.tolist(), second.tolist(), strict=True)]
        labels += [f"{name}.{end}l{degree}" for degree in range(l_max + 1) for end in ends]
    left = np.array([a for a, _, _ in pairs], dtype=np.int64)
    right = np.array([b for _, b, _ in pairs], dtype=np.int64)
    twice = np.where((left != right) & (convention == "featomic"), math.sqrt(2), 1.0)
    pair, degree, first, second = (np.concatenate(part).astype(np.int64) for part in parts)
    factors = twice[:, None] * by_degree
    return PowerColumns(tuple(labels), left, right, factors, pair, degree, first, second, n_max)
