"""Real spherical harmonics as polynomials, so that no direction is special."""

import math

import torch
from torch import Tensor


def solid_harmonics(vectors: Tensor, l_max: int) -> Tensor:
    r"""Real solid harmonics ``r^l Y_lm``, orthonormal on the unit sphere.

    Without the Condon-Shortley phase: ``Y_lm ∝ P_l^m(cos θ) cos(mφ)`` for m > 0 and
    ``sin(|m|φ)`` for m < 0. As polynomials in x, y, z they need no angles: values and gradients
    are finite everywhere, at the poles and at the zero vector too. The functions
    :math:`Q_l^m = N_l^m r^l P_l^m(z/r) / \sin^mθ` follow the recurrence of the fully normalised
    Legendre functions (Holmes & Featherstone, J. Geodesy 76, 279, 2002, eqs. 11-12), which is
    stable in float32.

    Parameters
    ----------
    vectors
        ``(n, 3)``; unit vectors give Y_lm itself.
    l_max
        Largest degree.

    Returns
    -------
    Tensor
        ``(n, (l_max + 1)²)``; the column of (l, m) is ``l² + l + m``.
    """
    x, y, z = vectors.unbind(-1)
    square = vectors.square().sum(-1)
    # Real and imaginary part of (x + iy)^m, that is sin^m θ times cos mφ and sin mφ.
    real, imaginary = [torch.ones_like(x)], [torch.zeros_like(x)]
    for _ in range(l_max):
        re, im = real[-1], imaginary[-1]
        real.append(x * re - y * im)
        imaginary.append(x * im + y * re)

    columns: dict[tuple[int, int], Tensor] = {}
    diagonal = math.sqrt(1 / (4 * math.pi))
    for m in range(l_max + 1):
        if m > 0:
            # For m = 1 the factor √2 of real harmonics with m ≠ 0 comes in.
            diagonal *= math.sqrt((2 * m + 1) / (2 * m)) * (math.sqrt(2) if m == 1 else 1)
        before: Tensor | None = None
        current = torch.full_like(z, diagonal)
        for l in range(m, l_max + 1):  # noqa: E741 (the field's own letter)
            if l > m:
                a = math.sqrt((4 * l * l - 1) / (l * l - m * m))
                following = a * z * current
                if before is not None:
                    b = a * math.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1))
                    following = following - b * square * before
                before, current = current, following
            columns[l, m] = current * real[m] if m > 0 else current
            if m > 0:
                columns[l, -m] = current * imaginary[m]
    ordered = [columns[k, m] for k in range(l_max + 1) for m in range(-k, k + 1)]
    return torch.stack(ordered, dim=-1)
