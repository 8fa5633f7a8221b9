"""Symmetry functions as an expansion in spherical harmonics, and tables of their radial parts."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from atomprint.fingerprints.kernels.expansion import (
    LINEAR,
    SELF,
    Expansion,
    Float64s,
    Products,
    RadialTable,
)

if TYPE_CHECKING:
    from atomprint.fingerprints.symmetry import RadialFunction, SymmetryFunctions

_RUN = 8
"""Radial functions of a block come in runs of this many, which is what the kernel pads to."""


def cubics(
    functions: "Sequence[RadialFunction]", cutoff: float, tolerance: float
) -> tuple[Float64s, float]:
    """Radial functions with their cutoff function as piecewise cubics from 0 to the cutoff.

    Returns
    -------
    coefficients, step
        ``(n_intervals, 4, n_functions)`` and the length of an interval in Å: the fewest intervals
        (a power of two) at which the error between nodes is below the tolerance, relative to each
        function's largest value beyond 0.5 Å, where neighbours are.
    """
    eta, shift, kappa = (
        np.array([getattr(function, name) for function in functions], dtype=np.float64)
        for name in ("eta", "shift", "kappa")
    )

    def both(r: Any) -> tuple[Float64s, Float64s]:
        """Values and derivatives of the functions at some distances up to the cutoff."""
        x, gap = r[:, None], r[:, None] - shift
        gauss = np.exp(np.maximum(-eta * gap**2, -80.0))
        wave, turn = np.cos(kappa * x), -kappa * np.sin(kappa * x)
        angle = math.pi * x / cutoff
        near, slope = 0.5 * (np.cos(angle) + 1), -0.5 * math.pi / cutoff * np.sin(angle)
        slopes = turn * near + wave * slope - 2 * eta * gap * wave * near
        return gauss * wave * near, gauss * slopes

    if not functions:
        return np.zeros((1, 4, 0)), cutoff
    n = 64
    while True:
        step = cutoff / n
        nodes = np.arange(n + 1) * step
        nodes[-1] = cutoff
        values, slopes = both(nodes)
        v, s = values, slopes * step
        rise = v[1:] - v[:-1]
        table = np.stack(
            [v[:-1], s[:-1], 3 * rise - 2 * s[:-1] - s[1:], s[:-1] + s[1:] - 2 * rise], axis=1
        )
        middle, _ = both(nodes[:-1] + step / 2)
        guess = table[:, 0] + table[:, 1] / 2 + table[:, 2] / 4 + table[:, 3] / 8
        size = np.abs(middle[nodes[:-1] >= min(0.5, cutoff / 4)]).max(axis=0) + 1e-300
        if (np.abs(guess - middle) / size).max() < tolerance or n >= 1 << 15:
            return table, step
        n *= 2


def expansion_of(fingerprint: "SymmetryFunctions") -> Expansion:
    """The expansion of symmetry functions without r_jk and with integer ζ.

    Radial functions are coefficients of l = 0; angular ones of one radial part are the same
    coefficients for every l, and their products are mixed with the factors of Legendre's
    polynomials, less the terms of a neighbour with itself.
    """
    from atomprint.fingerprints.symmetry import legendre_factors

    radial, angular = fingerprint.radial, fingerprint.angular
    distinct = list(dict.fromkeys(function.radial for function in angular))
    n_radial = _RUN * max(1, -(-len(distinct) // _RUN))
    if not angular:
        n_radial = _RUN * -(-len(radial) // _RUN)
    l_max = max((int(function.zeta) for function in angular), default=-1)
    n_runs = -(-len(radial) // n_radial)
    table, step = cubics([*radial, *distinct], fingerprint.cutoff, 1e-13)
    first_angular = n_runs * n_radial
    wide = np.zeros((table.shape[0], 4, first_angular + n_radial * bool(angular)))
    wide[:, :, : len(radial)] = table[:, :, : len(radial)]
    wide[:, :, first_angular : first_angular + len(distinct)] = table[:, :, len(radial) :]
    n_channels, n_blocks = fingerprint.table.shape[1], n_runs + l_max + 1

    entries: list[tuple[int, int, int, float]] = []
    mix: list[tuple[int, int, float]] = []
    for c in range(n_channels):
        for n in range(len(radial)):
            mix.append((len(entries), len(mix), 1.0))
            left = c * n_radial + n % n_radial
            entries.append((n // n_radial, left, LINEAR, math.sqrt(4 * math.pi)))
    column = len(mix)
    for a, b in fingerprint.pairs if angular else ():
        start = len(entries)
        for k in range(len(distinct)):
            left, right = a * n_radial + k, b * n_radial + k
            for degree in range(l_max + 1):
                factor = 4 * math.pi / (2 * degree + 1)
                entries.append((n_runs + degree, left, right, factor))
            if a == b:
                entries.append((n_runs, left, SELF, 1.0))
        for function in angular:
            zeta = int(function.zeta)
            scale = 2.0 ** (1 - zeta) * (0.5 if a == b else 1.0)
            place = start + distinct.index(function.radial) * (l_max + 1 + (a == b))
            for degree, factor in enumerate(legendre_factors(zeta, function.sign)):
                mix.append((place + degree, column, scale * factor))
            if a == b and function.sign == 1:
                mix.append((place + l_max + 1, column, -scale * 2.0**zeta))
            column += 1
    matrix = np.zeros((len(entries), column))
    for row, to, factor in mix:
        matrix[row, to] = factor
    columns = np.arange(n_blocks) * n_radial
    columns[n_runs:] = first_angular
    zeros = np.zeros((fingerprint.table.shape[0], n_channels))
    return Expansion(
        cutoff=fingerprint.cutoff,
        table=RadialTable(0.0, step, wide[None]),
        table_of_element=np.zeros(fingerprint.table.shape[0], dtype=np.int64),
        weights=fingerprint.table.numpy(),
        n_radial=n_radial,
        degrees=np.array([0] * n_runs + list(range(l_max + 1)), dtype=np.int64),
        columns=columns.astype(np.int64),
        center_weights=zeros,
        center=np.zeros((1, n_blocks, n_radial)),
        products=Products(
            block=np.array([e[0] for e in entries], dtype=np.int64),
            left=np.array([e[1] for e in entries], dtype=np.int64),
            right=np.array([e[2] for e in entries], dtype=np.int64),
            factor=np.array([e[3] for e in entries]),
        ),
        mix=matrix,
    )
