"""Gaussians fitted to a spherical density; lengths in Å."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Array = npt.NDArray[np.float64]

NEAREST = 1.5
"""Smallest ratio of neighbouring exponents: closer ones have large coefficients of both signs."""

WIDEST = 0.2
"""Smallest exponent, in units of 1 / <r²>: a wider one would follow the far tail only."""


@dataclass(frozen=True)
class Fit:
    """``Σ_g B_g exp(-β_g r²)``: B in e/Å³, β in Å⁻², and how far it is from the density.

    ``misplaced`` is the fraction of the charge that is elsewhere, ``½ ∫ 4πr² |Δρ| dr / N``.
    """

    heights: Array
    exponents: Array
    misplaced: float

    def density(self, r: Array) -> Array:
        """Value at distances in Å."""
        return np.asarray(np.exp(-np.outer(r**2, self.exponents)) @ self.heights)


def fit(r: Array, weights: Array, density: Array, electrons: float, n: int) -> Fit:
    """Fit n Gaussians: least squares of 4πr²ρ(r), with exactly the given charge.

    Heights follow from exponents by linear algebra; exponents are found by Nelder and Mead's
    search from several evenly tempered starts, and the best is kept.
    """
    radius = np.sqrt(4 * np.pi * (weights * r**4 * density).sum() / electrons)
    least = WIDEST / radius**2
    best: Fit | None = None
    for first, last in ((0.35, 4.0), (0.5, 12.0), (0.7, 30.0)):
        widest = first / radius**2
        ratio = (last / first) ** (1 / (n - 1)) if n > 1 else 4.0
        steps = np.full(n - 1, np.log(max(ratio / NEAREST - 1, 0.05)))
        start = np.concatenate([[np.log(widest / least - 1)], steps])
        found = minimize(
            lambda x: _heights(_exponents(x, least), r, weights, density, electrons)[1],
            start,
            method="Nelder-Mead",
            options={"maxiter": 400 * n, "xatol": 1e-5, "fatol": 1e-12, "adaptive": True},
        )
        exponents = _exponents(found.x, least)
        heights, _ = _heights(exponents, r, weights, density, electrons)
        gap = np.exp(-np.outer(r**2, exponents)) @ heights - density
        misplaced = float(2 * np.pi * (weights * r**2 * np.abs(gap)).sum() / electrons)
        if best is None or misplaced < best.misplaced:
            best = Fit(heights, exponents, misplaced)
    assert best is not None
    return best


def _exponents(x: Array, least: float) -> Array:
    """Ascending exponents above the least, neighbours at least NEAREST apart, from free numbers."""
    first = least * (1 + np.exp(np.clip(x[0], -30, 4)))
    ratios = NEAREST * (1 + np.exp(np.clip(x[1:], -30, 4)))
    return np.asarray(first * np.cumprod(np.concatenate([[1.0], ratios])))


def _heights(
    exponents: Array, r: Array, weights: Array, density: Array, electrons: float
) -> tuple[Array, float]:
    """Best heights of given exponents, and the squared error, in units of electrons."""
    root = np.sqrt(weights) * 4 * np.pi * r**2
    charges = (np.pi / exponents) ** 1.5
    # Columns of charge 1, so that the condition on the charge is that fractions add to N.
    matrix = root[:, None] * np.exp(-np.outer(r**2, exponents)) / charges
    wanted = root * density
    # The last fraction is what the others leave.
    rest = matrix[:, :-1] - matrix[:, -1:]
    target = wanted - electrons * matrix[:, -1]
    fractions, *_ = np.linalg.lstsq(rest, target, rcond=None)
    gap = rest @ fractions - target
    complete = np.append(fractions, electrons - fractions.sum())
    return complete / charges, float(gap @ gap) / electrons**2
