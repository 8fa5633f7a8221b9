"""Radial bases of SOAP and their tables, against quadrature and other forms of the formulas."""

import math

import numpy as np
import pytest
from scipy.special import ive

from atomprint.fingerprints import SOAP, SOAPSettings
from atomprint.fingerprints.kernels.expansion import RadialTable
from atomprint.fingerprints.soap_radial import (
    gto_dscribe,
    gto_featomic,
    polynomial_dscribe,
    scaled_bessel,
    tabulate,
)
from atomprint.ground.errors import UsageError

BASES = {"gto": gto_dscribe, "polynomial": polynomial_dscribe, "featomic": gto_featomic}
R_CUT, SIGMA, N_MAX, L_MAX = 4.0, 0.45, 4, 3


def read(table: RadialTable, r):
    interval, t = np.divmod((r - table.start) / table.step, 1)
    cubic = table.coefficients[0][interval.astype(int)]
    t = t[:, None]
    return cubic[:, 0] + t * (cubic[:, 1] + t * (cubic[:, 2] + t * cubic[:, 3]))


def primitives(kind, x, degree):
    """The radial functions before they are made orthonormal, as the definitions have them."""
    if kind == "gto":
        ends = np.linspace(1, R_CUT, N_MAX)
        alpha = -np.log(1e-3 / ends**degree) / ends**2
        return np.array([x**degree * np.exp(-a * x**2) for a in alpha])
    if kind == "polynomial":
        return np.array([np.clip(R_CUT - x, 0, None) ** (n + 2) for n in range(1, N_MAX + 1)])
    widths = [max(math.sqrt(n), 1) * R_CUT / N_MAX for n in range(N_MAX)]
    return np.array([x**n * np.exp(-(x**2) / (2 * s**2)) for n, s in enumerate(widths)])


@pytest.mark.parametrize("kind", BASES)
def test_integrals_are_those_of_the_density(kind):
    """c_nl0 of one Gaussian on the z axis, from its values on a grid of r and cos θ."""
    x, w = np.polynomial.legendre.leggauss(500)
    x, w = 7.5 * (x + 1), 7.5 * w
    if kind == "polynomial":  # it ends at the cutoff, where an integral over more has a kink
        x, w = x * R_CUT / 15, w * R_CUT / 15
    u, v = np.polynomial.legendre.leggauss(300)
    distances = np.array([0.0, 0.7, 2.3, 3.9, 5.1])
    found = BASES[kind](R_CUT, SIGMA, N_MAX, L_MAX)(distances)[0]
    size = (math.pi * SIGMA**2) ** -0.75 if kind == "featomic" else 1.0
    for degree in range(L_MAX + 1):
        rows = primitives(kind, x, degree)
        overlap = (rows * w * x**2) @ rows.T
        # featomic divides by the norms first, which turns Löwdin's functions.
        norms = np.sqrt(np.diag(overlap)) if kind == "featomic" else np.ones(N_MAX)
        eigenvalues, vectors = np.linalg.eigh(overlap / np.outer(norms, norms))
        basis = vectors @ np.diag(eigenvalues**-0.5) @ vectors.T @ (rows / norms[:, None])
        legendre = np.polynomial.legendre.Legendre.basis(degree)(u)
        for k, r in enumerate(distances):
            square = x[:, None] ** 2 + r**2 - 2 * x[:, None] * r * u
            density = size * np.exp(-square / (2 * SIGMA**2))
            # 2π ∫ dcosθ Y_l0 ρ, and Y_l0(z) = sqrt((2l+1)/4π): the quotient is R_nl(r).
            angular = 2 * math.pi * density @ (v * legendre)
            wanted = basis @ (w * x**2 * angular)
            part = found[k, degree * N_MAX : (degree + 1) * N_MAX]
            np.testing.assert_allclose(part, wanted, atol=1e-9 * np.abs(found).max())


@pytest.mark.parametrize("kind", BASES)
def test_slopes_are_derivatives(kind):
    radial = BASES[kind](R_CUT, SIGMA, N_MAX, L_MAX)
    r = np.linspace(0.05, 5.0, 40)
    step = 1e-5
    measured = (radial(r + step)[0] - radial(r - step)[0]) / (2 * step)
    _, slope = radial(r)
    np.testing.assert_allclose(slope, measured, atol=1e-8 * np.abs(slope).max())


def test_bessel_functions():
    """Small, middle and large arguments against SciPy's."""
    z = np.array([1e-12, 1e-6, 0.01, 0.7, 5.0, 30.0, 59.9, 60.1, 200.0, 5e3])
    found = scaled_bessel(z, 13)
    for degree in range(14):
        wanted = np.sqrt(np.pi / (2 * z)) * ive(degree + 0.5, z)
        np.testing.assert_allclose(found[degree], wanted, rtol=2e-13, atol=1e-300)
    assert scaled_bessel(np.zeros(1), 2).ravel().tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    "keywords",
    [
        {"cutoff": 6.0},
        {"sigma": 0.25, "cutoff_function": "cosine"},
        {"n_max": 9, "l_max": 9, "cutoff": 6.0},
        {"cutoff_function": "cosine", "cutoff_width": 0.37},
        {"cutoff_function": "cosine", "cutoff_width": 0.05, "n_max": 3},
        {"cutoff_function": "cosine", "cutoff_width": 4.9},
        {"weighting": {"r0": 3.3, "m": 4}, "cutoff_function": "cosine", "cutoff_width": 2.0},
        {"weighting": {"function": "pow", "r0": 1.2, "m": 4}},
        {"weighting": {"function": "exp", "r0": 0.4, "d": 0.01}},
        {"basis": "polynomial", "n_max": 12},
        {"convention": "featomic", "cutoff_function": "cosine", "cutoff_width": 0.5},
        {"convention": "featomic", "sigma": 0.15, "n_max": 3, "l_max": 3},
    ],
    ids=str,
)
def test_the_table_holds_the_integrals(keywords):
    """Everywhere to 1e-10 of a column's largest value, kinks of the weights included."""
    settings = SOAPSettings(**keywords)
    kind = "featomic" if settings.convention == "featomic" else settings.basis
    table = SOAP(**keywords).radial_table
    n, reach = settings.n_max, settings.reach
    near = np.linspace(-3e-3, 3e-3, 61)
    r = np.concatenate(
        [np.random.default_rng(1).uniform(0, reach, 2000), settings.kink + near, reach + near]
    )
    r = r[(r >= 0) & (r < reach)]
    exact = BASES[kind](settings.cutoff, settings.sigma, n, settings.l_max)(r)[0]
    exact = exact * settings.weight_of_distance()(r)[0]
    found = read(table, r)
    error = np.abs(found - exact).max(0) / np.abs(exact).max(0)
    assert error.max() < 1e-10
    assert -reach / 500 < table.start <= 0
    assert table.coefficients.shape[1] % 1024 == 0
    assert table.start + table.step * table.coefficients.shape[1] >= reach * (1 - 1e-12)
    at_kink = (settings.kink - table.start) / table.step
    assert abs(at_kink - round(at_kink)) < 1e-6


def test_a_kink_between_nodes_would_show():
    """Why kinks lie on nodes: a table that does not know of it is a thousand times worse."""
    settings = SOAPSettings(cutoff_function="cosine", cutoff_width=0.3)
    radial = gto_dscribe(5.0, 0.5, 8, 6)
    r = settings.kink + np.linspace(-2e-3, 2e-3, 81)
    exact = radial(r)[0] * settings.weight_of_distance()(r)[0]
    errors = []
    for kink in (settings.kink, 0.0):
        table = tabulate(radial, settings.weight_of_distance(), 5.0, kink, 8, 0.3)
        errors.append(float((np.abs(read(table, r) - exact).max(0) / np.abs(exact).max(0)).max()))
    assert errors[0] < 1e-10
    assert errors[1] > 100 * errors[0]


def test_many_polynomials_are_orthonormal():
    """Twelve of them, whose overlap float64 cannot invert: from the integrals of a narrow density.

    A Gaussian much narrower than the functions gives g_n itself, times (2πσ²)^(3/2).
    """
    sigma, r_cut, n_max = 5e-5, 5.0, 12
    # dscribe's points are too few for it: points of its quadrature are where it is exact.
    x, w = np.polynomial.legendre.leggauss(100)
    x, w = 2.5 * (x + 1), 2.5 * w
    found = polynomial_dscribe(r_cut, sigma, n_max, 0)(x)[0]
    # Only the point itself is within reach of the Gaussian: 4π x² g w i_0 e^-z, i_0 e^-z = σ²/2x².
    basis = found / (2 * math.pi * sigma**2 * w[:, None])
    gram = (basis * (w * x**2)[:, None]).T @ basis
    np.testing.assert_allclose(gram, np.eye(n_max), atol=1e-12)


def test_a_basis_that_float64_cannot_tell_apart_is_refused():
    with pytest.raises(UsageError, match="lower n_max"):
        SOAP(cutoff=3.0, n_max=16)
    SOAP(cutoff=6.0, n_max=9, l_max=9)
