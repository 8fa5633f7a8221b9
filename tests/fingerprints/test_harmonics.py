import math

import numpy as np
import pytest
import torch
from scipy.special import eval_legendre, sph_harm_y

from atomprint.fingerprints.harmonics import solid_harmonics


@pytest.fixture
def directions():
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return vectors / vectors.norm(dim=1, keepdim=True)


def test_addition_theorem(directions):
    y = solid_harmonics(directions, 12)
    cosines = (directions @ directions.T).numpy()
    for degree in range(13):
        block = y[:, degree**2 : (degree + 1) ** 2]
        found = 4 * math.pi / (2 * degree + 1) * (block @ block.T).numpy()
        np.testing.assert_allclose(found, eval_legendre(degree, cosines), atol=1e-13)


def test_agrees_with_scipy(directions):
    y = solid_harmonics(directions, 8).numpy()
    x = directions.numpy()
    theta, phi = np.arccos(x[:, 2]), np.arctan2(x[:, 1], x[:, 0])
    for degree in range(9):
        for m in range(degree + 1):
            value = (-1) ** m * sph_harm_y(degree, m, theta, phi)  # undo Condon-Shortley
            factor = math.sqrt(2) if m else 1
            np.testing.assert_allclose(
                y[:, degree**2 + degree + m], factor * value.real, atol=1e-13
            )
            if m:
                np.testing.assert_allclose(
                    y[:, degree**2 + degree - m], factor * value.imag, atol=1e-13
                )


def test_orthonormal():
    """Over a quadrature that is exact for these polynomials."""
    z, weights = np.polynomial.legendre.leggauss(20)
    phi = np.arange(40) * 2 * math.pi / 40
    s = np.sqrt(1 - z**2)
    grid = np.stack(
        [np.outer(s, np.cos(phi)), np.outer(s, np.sin(phi)), np.outer(z, np.ones(40))], axis=-1
    )
    y = solid_harmonics(torch.from_numpy(grid.reshape(-1, 3)), 12).numpy()
    area = np.repeat(weights, 40) * 2 * math.pi / 40
    np.testing.assert_allclose((y * area[:, None]).T @ y, np.eye(169), atol=1e-12)


def test_solid_harmonics_scale_with_their_degree(directions):
    once, twice = solid_harmonics(directions, 5), solid_harmonics(2 * directions, 5)
    degrees = torch.tensor([d for d in range(6) for _ in range(2 * d + 1)])
    torch.testing.assert_close(twice, once * 2.0**degrees)


def test_gradients_are_finite_at_the_poles_and_at_zero():
    special = torch.tensor([[0, 0, 1.0], [0, 0, -1], [1, 0, 0], [0, 0, 0]], dtype=torch.float64)
    special.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: solid_harmonics(v, 6), special)
    assert torch.autograd.gradgradcheck(lambda v: solid_harmonics(v, 3), special)


def test_float32(directions):
    found = solid_harmonics(directions.float(), 12).double()
    assert float((found - solid_harmonics(directions, 12)).abs().max()) < 5e-6
