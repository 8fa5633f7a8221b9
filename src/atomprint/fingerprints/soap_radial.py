"""Radial bases of SOAP, and the table of their integrals with a Gaussian at a distance."""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

from atomprint.fingerprints.kernels.expansion import RadialTable, hermite_table
from atomprint.ground.errors import UsageError

Float64s = npt.NDArray[np.float64]
Radial = Callable[[Float64s], tuple[Float64s, Float64s]]
"""From distances in Å, ``(n,)``, values and slopes of functions, each ``(n, n_functions)``."""

THRESHOLD = 1e-3
"""Gaussians and basis functions are followed down to this amplitude, dscribe's choice."""

# Smallest to largest eigenvalue of the overlap of radial functions: below, rounding decides.
_INDEPENDENT = 1e-13
# A table is refined until its cubics hold the functions to this part of each one's largest value.
_TABLE_ERROR = 5e-12
_FIRST_INTERVALS, _MOST_INTERVALS = 1024, 32768
# From here e^-z i_l(z) is its finite series, but for e^-2z.
_LARGE = 60.0


def gto_dscribe(r_cut: float, sigma: float, n_max: int, l_max: int) -> Radial:
    r"""Integrals of dscribe's basis ``gto`` with a Gaussian of amplitude 1 at a distance.

    The basis is Löwdin's orthonormalisation of :math:`r^l e^{-α_{nl} r²}`, which falls to 0.001 at
    radii :math:`a_n` spread from 1 Å to r_cut (Himanen et al., Comput. Phys. Commun. 247, 106949,
    2020, sec. 2.4). Over all space, with :math:`η = 1/2σ²`,

    .. math::
        R_{nl}(r) = Σ_{n'} β_{nn'l} \Big(\frac{π}{α_{n'l}+η}\Big)^{3/2}
        \Big(\frac{η}{α_{n'l}+η}\Big)^l r^l e^{-α_{n'l} η r² / (α_{n'l}+η)}

    Returns
    -------
    Radial
        Of functions l-major, ``l * n_max + n``.

    Raises
    ------
    UsageError
        If float64 cannot tell the radial functions apart.
    """
    ends = np.linspace(1.0, r_cut, n_max)
    eta = 1 / (2 * sigma**2)
    sizes, decays, mixing = [], [], []
    for degree in range(l_max + 1):
        alpha = -np.log(THRESHOLD / ends**degree) / ends**2
        power = degree + 1.5
        overlap = 0.5 * math.gamma(power) * (alpha[:, None] + alpha) ** -power
        mixing.append(_inverse_root(overlap, f"{n_max} radial functions within {r_cut} Å", degree))
        decays.append(alpha * eta / (alpha + eta))
        sizes.append((math.pi / (alpha + eta)) ** 1.5 * (eta / (alpha + eta)) ** degree)

    def radial(r: Float64s) -> tuple[Float64s, Float64s]:
        values, slopes = [], []
        x = r[:, None]
        for degree, (size, decay, beta) in enumerate(zip(sizes, decays, mixing, strict=True)):
            gaussian = size * np.exp(-decay * x**2)
            slope = -2 * decay * x ** (degree + 1) * gaussian
            if degree > 0:
                slope += degree * x ** (degree - 1) * gaussian
            values.append((x**degree * gaussian) @ beta.T)
            slopes.append(slope @ beta.T)
        return np.concatenate(values, axis=1), np.concatenate(slopes, axis=1)

    return radial


def polynomial_dscribe(r_cut: float, sigma: float, n_max: int, l_max: int) -> Radial:
    r"""Integrals of dscribe's basis ``polynomial`` with a Gaussian of amplitude 1.

    :math:`g_n(r) = Σ_{n'} β_{nn'} (r_c - r)^{n'+2}`, n' = 1 ... n_max, orthonormal on 0 to r_cut
    and zero beyond, with :math:`β = S^{-1/2}`; the integral over r is dscribe's, by 100 points of
    Gauss and Legendre. The overlap S has condition numbers beyond float64 from n_max = 7 on: β is
    computed with 100 digits.
    """
    x, weights = np.polynomial.legendre.leggauss(100)
    points = r_cut * 0.5 * (x + 1)
    with localcontext() as context:
        context.prec = 100
        rc = Decimal(r_cut)
        overlap = [
            [2 * rc ** (7 + i + j) / ((5 + i + j) * (6 + i + j) * (7 + i + j)) for j in orders]
            for orders in [range(1, n_max + 1)]
            for i in orders
        ]
        beta = _inverse_root_of_decimals(overlap)
        rests = [rc - Decimal(float(point)) for point in points]
        powers = [[rest ** (n + 3) for n in range(n_max)] for rest in rests]
        basis = np.array(
            [
                [float(sum(b * p for b, p in zip(row, power, strict=True))) for row in beta]
                for power in powers
            ]
        )
    return _by_quadrature(points, basis * (0.5 * r_cut * weights)[:, None], sigma, l_max)


def gto_featomic(r_cut: float, sigma: float, n_max: int, l_max: int) -> Radial:
    r"""Integrals of featomic's basis ``Gto`` with its Gaussian density.

    Functions :math:`r^n e^{-r²/2s_n²}`, n = 0 ... n_max - 1, :math:`s_n = \max(\sqrt n, 1)
    r_c/n_{max}`, the same for every l, divided by their norms and then orthonormalised after
    Löwdin; the density is :math:`(πσ²)^{-3/4} e^{-r²/2σ²}`. The integral over all r is by
    quadrature, converged to rounding.

    Raises
    ------
    UsageError
        If float64 cannot tell the radial functions apart.
    """
    order = np.arange(n_max)
    widths = np.sqrt(np.maximum(order, 1)) * r_cut / n_max
    power = order[:, None] + order + 3
    spread = 1 / (2 * widths[:, None] ** 2) + 1 / (2 * widths**2)
    gamma = np.vectorize(math.gamma)
    overlap = gamma(power / 2) / 2 * spread ** (-power / 2)
    norms = np.sqrt(np.diag(overlap))
    overlap = overlap / norms / norms[:, None]
    beta = _inverse_root(overlap, f"{n_max} radial functions within {r_cut} Å", 0) / norms
    end = r_cut + 9 * sigma  # where a Gaussian that is inside has fallen to 3e-18
    # Panels of two widths: no scale of the integrand is below one width or r_c / n_max.
    n_panels = math.ceil(0.5 * end / min(sigma, r_cut / n_max))
    x, one_panel = np.polynomial.legendre.leggauss(16)
    half = 0.5 * end / n_panels
    points = (half * (x + 1) + 2 * half * np.arange(n_panels)[:, None]).ravel()
    weights = np.tile(half * one_panel, n_panels)
    primitive = points[:, None] ** order * np.exp(-0.5 * (points[:, None] / widths) ** 2)
    size = (math.pi * sigma**2) ** -0.75
    basis = size * weights[:, None] * (primitive @ beta.T)
    return _by_quadrature(points, basis, sigma, l_max)


def _by_quadrature(points: Float64s, basis: Float64s, sigma: float, l_max: int) -> Radial:
    r"""Integrals of any basis with a Gaussian at a distance R, by quadrature over r.

    .. math::
        R_{nl}(R) = 4π ∫ r² g_n(r) e^{-(r²+R²)/2σ²} i_l(rR/σ²) dr

    with the modified spherical Bessel functions, since :math:`e^{x·R/σ²} = 4π Σ i_l Y_{lm}
    Y_{lm}`.

    Parameters
    ----------
    points
        In Å, ``(n_points,)``.
    basis
        g_n at the points times the quadrature's weights, ``(n_points, n_max)``.
    """
    weighted = 4 * math.pi * points[:, None] ** 2 * basis

    def some(r: Float64s) -> tuple[Float64s, Float64s]:
        x = r[:, None]
        # The growth e^z of the Bessel functions goes into the Gaussian.
        gaussian = np.exp(-((points - x) ** 2) / (2 * sigma**2))
        bessel = scaled_bessel(points * x / sigma**2, l_max + 1)
        values, slopes = [], []
        for degree in range(l_max + 1):
            lower = degree * bessel[degree - 1] if degree else 0.0
            turned = (lower + (degree + 1) * bessel[degree + 1]) / (2 * degree + 1)
            values.append((gaussian * bessel[degree]) @ weighted)
            change = gaussian * (points * turned - x * bessel[degree]) / sigma**2
            slopes.append(change @ weighted)
        return np.concatenate(values, axis=1), np.concatenate(slopes, axis=1)

    def radial(r: Float64s) -> tuple[Float64s, Float64s]:
        parts = [some(part) for part in np.array_split(r, max(1, len(r) // 256))]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    return radial


def scaled_bessel(z: Float64s, l_max: int) -> Float64s:
    """Modified spherical Bessel functions without their growth, ``e^-z i_l(z)`` for z ≥ 0.

    For small z by ratios of neighbouring orders, from high orders down (which is stable), for
    large z by the finite series in 1/z, upwards.

    Returns
    -------
    Float64s
        ``(l_max + 1, *z.shape)``.
    """
    small, large = np.minimum(z, _LARGE), np.maximum(z, _LARGE)
    out = np.empty((l_max + 1, *z.shape))
    with np.errstate(invalid="ignore", divide="ignore"):
        first = np.where(small > 1e-8, -np.expm1(-2 * small) / (2 * small), 1 - small)
    ratio = np.zeros_like(z)
    ratios = np.empty_like(out)
    for degree in range(l_max + 50, 0, -1):
        ratio = small / (2 * degree + 1 + small * ratio)
        if degree <= l_max:
            ratios[degree] = ratio
    # Upwards i_{l+1} = i_{l-1} - (2l + 1) i_l / z, good for z far above l.
    before, current = 1 / (2 * large), 1 / (2 * large)
    out[0] = np.where(z < _LARGE, first, current)
    for degree in range(1, l_max + 1):
        first = first * ratios[degree]
        if degree == 1:
            current = before * (1 - 1 / large)
        else:
            before, current = current, before - (2 * degree - 1) / large * current
        out[degree] = np.where(z < _LARGE, first, current)
    return out


def _inverse_root(matrix: Float64s, what: str, degree: int) -> Float64s:
    """S^(-1/2), symmetric (Löwdin)."""
    eigenvalues, vectors = np.linalg.eigh(matrix)
    if eigenvalues[0] < _INDEPENDENT * eigenvalues[-1]:
        raise UsageError(
            f"soap: {what} are too alike at l = {degree} to be told apart in float64; "
            "lower n_max or l_max"
        )
    root: Float64s = vectors @ np.diag(eigenvalues**-0.5) @ vectors.T
    return root


def _inverse_root_of_decimals(matrix: list[list[Decimal]]) -> list[list[Decimal]]:
    """S^(-1/2) by the coupled Newton iteration of Denman and Beavers, in the context's digits."""
    n = len(matrix)
    root = [row.copy() for row in matrix]
    inverse = [[Decimal(int(i == j)) for j in range(n)] for i in range(n)]
    for _ in range(400):
        a, b = _inverse(inverse), _inverse(root)
        following = [[(root[i][j] + a[i][j]) / 2 for j in range(n)] for i in range(n)]
        inverse = [[(inverse[i][j] + b[i][j]) / 2 for j in range(n)] for i in range(n)]
        change = max(abs(following[i][i] - root[i][i]) / abs(root[i][i]) for i in range(n))
        root = following
        if change < Decimal("1e-30"):
            return inverse
    raise UsageError("soap: the polynomial basis could not be made orthonormal; lower n_max")


def _inverse(matrix: list[list[Decimal]]) -> list[list[Decimal]]:
    """Inverse of a positive definite matrix, by elimination (no pivots are needed)."""
    n = len(matrix)
    rows = [row + [Decimal(int(i == j)) for j in range(n)] for i, row in enumerate(matrix)]
    for k in range(n):
        pivot = rows[k][k]
        rows[k] = [x / pivot for x in rows[k]]
        for i in range(n):
            factor = rows[i][k]
            if i != k and factor:
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[k], strict=True)]
    return [row[n:] for row in rows]


def tabulate(
    radial: Radial, factor: Radial, end: float, kink: float, n_max: int, width: float = math.inf
) -> RadialTable:
    """Tabulate products of radial integrals and a factor that depends on the distance alone.

    Intervals are halved until the cubics hold every function to 5e-12 of its largest value
    (compared halfway between nodes, where Hermite's cubic is worst), or rounding decides.

    Parameters
    ----------
    radial
        The integrals, l-major.
    factor
        One function, ``(n, 1)``, smooth from 0 to ``end`` but for one kink.
    end
        In Å; the last interval ends there or a little beyond.
    kink
        In Å; a node of the table. 0 if there is none.
    n_max
        Radial functions of one l.
    width
        In Å; the shell in which the factor falls, which the coarsest table resolves.

    Raises
    ------
    UsageError
        If the functions are too narrow for a table.
    """
    n_intervals = _FIRST_INTERVALS
    while end / n_intervals > width / 8:
        n_intervals *= 2
    # A power of two intervals, which reach less than two too far so that the kink is a node.
    start, step = 0.0, end / n_intervals
    if kink > end / 2:
        step = kink / math.floor(n_intervals * kink / end)
    elif kink > 0:
        before_kink = math.ceil(n_intervals * kink / end)
        step = (end - kink) / (n_intervals - before_kink)
        start = kink - before_kink * step

    def evaluate(r: Float64s) -> Float64s:
        """Values and slopes, ``(2, n, n_columns)``."""
        value, slope = radial(np.abs(r))
        # The integrals go on below zero like r^l times an even function.
        degree = np.arange(value.shape[1]) // n_max
        odd = np.where(r[:, None] < 0, (-1.0) ** degree, 1.0)
        value, slope = value * odd, slope * odd * np.where(r[:, None] < 0, -1.0, 1.0)
        weight, change = factor(r)
        return np.stack([value * weight, slope * weight + value * change])

    nodes = evaluate(start + step * np.arange(n_intervals + 1, dtype=np.float64))
    before = math.inf
    while True:
        middles = evaluate(start + step * (np.arange(n_intervals, dtype=np.float64) + 0.5))
        (v0, s0), (v1, s1) = nodes[:, :-1], nodes[:, 1:]
        guess = (v0 + v1) / 2 + step * (s0 - s1) / 8
        scale = np.abs(nodes[0]).max(axis=0) + 1e-300
        error = float((np.abs(guess - middles[0]) / scale).max())
        if error < _TABLE_ERROR or error > before / 4:
            break
        if n_intervals > _MOST_INTERVALS:
            raise UsageError(
                f"soap: radial functions that end at {end:.3g} Å are too narrow to be tabulated; "
                "raise sigma"
            )
        merged = np.empty((2, 2 * n_intervals + 1, nodes.shape[2]))
        merged[:, ::2], merged[:, 1::2] = nodes, middles
        nodes, step, n_intervals, before = merged, step / 2, 2 * n_intervals, error
    return hermite_table(start, step, nodes[0], nodes[1])
