"""Symmetry functions whose angular part is of low rank, as an expansion for the fused kernel."""

import math
from typing import TYPE_CHECKING

import numpy as np

from atomprint.fingerprints.kernels.expansion import (
    LINEAR,
    SELF,
    Expansion,
    Float64s,
    Products,
    hermite_table,
)
from atomprint.fingerprints.kernels.symmetry_expansion import cubics

if TYPE_CHECKING:
    from atomprint.fingerprints.low_rank import LowRank, Term
    from atomprint.fingerprints.symmetry import SymmetryFunctions

_RUN = 8
"""Functions of a block: what the kernel pads blocks to."""

_N_INTERVALS = 4096


def low_rank_expansion(fingerprint: "SymmetryFunctions", terms: "LowRank") -> Expansion:
    """Radial functions are coefficients of l = 0; each term of the angular ones is a square.

    Parameters
    ----------
    fingerprint
        With at least one angular function.
    terms
        All of its angular functions.
    """
    radial = fingerprint.radial
    n_runs = -(-len(radial) // _RUN)
    blocks = _blocks(terms)
    degrees = [0] * n_runs + [degree for degree, _ in blocks]
    values, slopes, step = _tabulate(fingerprint, terms, n_runs, blocks)

    entries: list[tuple[int, int, int, float]] = []
    mix: list[tuple[int, int, float]] = []
    n_channels, column = fingerprint.table.shape[1], 0
    for c in range(n_channels):
        for n in range(len(radial)):
            mix.append((len(entries), column, 1.0))
            left = c * _RUN + n % _RUN
            entries.append((n // _RUN, left, LINEAR, math.sqrt(4 * math.pi)))
            column += 1
    for a, b in fingerprint.pairs:
        half = 0.5 if a == b else 1.0
        for place, (degree, block) in enumerate(blocks, n_runs):
            for k, term in enumerate(block):
                left, right = a * _RUN + k, b * _RUN + k
                to, strength = column + term.function, half * term.strength
                mix.append((len(entries), to, strength))
                factor = 4 * math.pi / (2 * degree + 1)
                entries.append((place, left, right, factor))
                if a == b:
                    mix.append((len(entries), to, -strength))
                    entries.append((place, left, SELF, 1.0))
        column += len(terms.functions)
    matrix = np.zeros((len(entries), column))
    for row, to, number in mix:
        matrix[row, to] = number
    n_elements = fingerprint.table.shape[0]
    return Expansion(
        cutoff=fingerprint.cutoff,
        table=hermite_table(0.0, step, values, slopes),
        table_of_element=np.zeros(n_elements, dtype=np.int64),
        weights=fingerprint.table.numpy(),
        n_radial=_RUN,
        degrees=np.array(degrees, dtype=np.int64),
        columns=np.arange(len(degrees), dtype=np.int64) * _RUN,
        center_weights=np.zeros((n_elements, n_channels)),
        center=np.zeros((1, len(degrees), _RUN)),
        products=Products(
            block=np.array([e[0] for e in entries], dtype=np.int64),
            left=np.array([e[1] for e in entries], dtype=np.int64),
            right=np.array([e[2] for e in entries], dtype=np.int64),
            factor=np.array([e[3] for e in entries]),
        ),
        mix=matrix,
    )


def _blocks(terms: "LowRank") -> list[tuple[int, list["Term"]]]:
    """Terms of one degree, eight at a time: ``(degree, terms)``."""
    blocks = []
    for degree in range(terms.l_max + 1):
        same = terms.of_degree(degree)
        blocks += [(degree, same[k : k + _RUN]) for k in range(0, len(same), _RUN)]
    return blocks


def _tabulate(
    fingerprint: "SymmetryFunctions",
    terms: "LowRank",
    n_runs: int,
    blocks: list[tuple[int, list["Term"]]],
) -> tuple[Float64s, Float64s, float]:
    """Values and slopes of all radial functions at the nodes, and the step between these."""
    cutoff = fingerprint.cutoff
    distinct = list(dict.fromkeys(function.radial for function in terms.functions))
    both = [*fingerprint.radial, *distinct]
    coarse, step = cubics(both, cutoff, 1e-13)
    n = max(_N_INTERVALS, len(coarse))
    step = cutoff / n
    nodes = np.arange(n + 1) * step
    x = 2 * nodes / cutoff - 1
    near = 0.5 * (np.cos(math.pi * nodes / cutoff) + 1)
    near_slope = -0.5 * math.pi / cutoff * np.sin(math.pi * nodes / cutoff)
    given, given_slope = [], []
    for function in both:
        gap = nodes - function.shift
        gauss = np.exp(np.maximum(-function.eta * gap**2, -80.0))
        wave = np.cos(function.kappa * nodes)
        turn = -function.kappa * np.sin(function.kappa * nodes)
        given.append(gauss * wave * near)
        given_slope.append(
            gauss * (turn * near + wave * near_slope - 2 * function.eta * gap * wave * near)
        )
    width = _RUN * (n_runs + len(blocks))
    values, slopes = np.zeros((n + 1, width)), np.zeros((n + 1, width))
    for k in range(len(fingerprint.radial)):
        values[:, k], slopes[:, k] = given[k], given_slope[k]
    for place, (_, block) in enumerate(blocks, n_runs):
        for k, term in enumerate(block):
            which = len(fingerprint.radial) + distinct.index(terms.functions[term.function].radial)
            polynomial = np.polynomial.chebyshev.chebval(x, term.polynomial)
            slope = np.polynomial.chebyshev.chebval(
                x, np.polynomial.chebyshev.chebder(term.polynomial)
            )
            to = place * _RUN + k
            values[:, to] = given[which] * polynomial
            slopes[:, to] = given_slope[which] * polynomial + given[which] * slope * 2 / cutoff
    return values, slopes, step
