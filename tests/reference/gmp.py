"""Gaussian multipoles from their definition: a density on a grid, and Cartesian harmonics."""

import math

import numpy as np

from tests.reference.fingerprints import neighbors


def mcsh(xyz, degree):
    """Maxwell-Cartesian solid harmonics ``r^(2l+1) (-∂)^l (1/r)``, written out.

    Returns
    -------
    dict
        Values by the exponents (a, b, c) of the derivative, for all a + b + c = degree.
    """
    r2 = sum(u**2 for u in xyz)
    one = {
        0: lambda p: 1.0,
        1: lambda p: p[0],
        2: lambda p: 3 * p[0] ** 2 - r2,
        3: lambda p: 15 * p[0] ** 3 - 9 * p[0] * r2,
        4: lambda p: 105 * p[0] ** 4 - 90 * p[0] ** 2 * r2 + 9 * r2**2,
    }
    two = {
        (1, 1): lambda p, q: 3 * p * q,
        (2, 1): lambda p, q: 15 * p**2 * q - 3 * q * r2,
        (3, 1): lambda p, q: 105 * p**3 * q - 45 * p * q * r2,
        (2, 2): lambda p, q: 105 * p**2 * q**2 - 15 * (p**2 + q**2) * r2 + 3 * r2**2,
    }
    three = {
        (1, 1, 1): lambda p, q, s: 15 * p * q * s,
        (2, 1, 1): lambda p, q, s: 105 * p**2 * q * s - 15 * q * s * r2,
    }
    found = {}
    for a in range(degree + 1):
        for b in range(degree - a + 1):
            exponents = (a, b, degree - a - b)
            order = sorted(range(3), key=lambda k: -exponents[k])
            powers = tuple(exponents[k] for k in order if exponents[k] > 0)
            axes = [xyz[k] for k in order if exponents[k] > 0]
            if len(powers) <= 1:
                found[exponents] = one[degree](axes)
            else:
                found[exponents] = (two if len(powers) == 2 else three)[powers](*axes)
    return found


def gmp(crystal, gaussians, cutoff, width, degree, sigma, reach, spacing=0.1):
    """One column, by the rectangle rule on a grid around every atom (exact for Gaussians).

    The grid ends at ``reach`` on all six sides; lengths in Å.

    ``gaussians[Z]`` are rows (B, β). Of the density, each neighbour's share is weighted by the
    cosine that falls from 1 at cutoff - width to 0 at the cutoff. Degree -1: the density itself.
    """
    out = []
    for i, (vectors, indices) in enumerate(neighbors(crystal, cutoff)):
        atoms = [(np.zeros(3), crystal.numbers[i], 1.0)]
        for vector, j in zip(vectors, indices, strict=True):
            r = np.linalg.norm(vector)
            fade = 1.0
            if width is not None and r > cutoff - width:
                fade = 0.5 * (1 + math.cos(math.pi * (r - cutoff + width) / width))
            atoms.append((vector, crystal.numbers[j], fade))
        if degree == -1:
            out.append(
                sum(
                    fade * b * math.exp(-beta * vector @ vector)
                    for vector, z, fade in atoms
                    for b, beta in gaussians[z]
                )
            )
            continue
        line = np.linspace(-reach, reach, 2 * round(reach / spacing) + 1)
        n = len(line)
        terms = [(v, fade * b, beta) for v, z, fade in atoms for b, beta in gaussians[z]]
        x, y, u = (
            np.array([np.exp(-beta * (line - v[axis]) ** 2) for v, _, beta in terms])
            for axis in range(3)
        )
        x *= np.array([height for _, height, _ in terms])[:, None]
        density = (x.T @ (y[:, :, None] * u[:, None, :]).reshape(len(terms), -1)).reshape(n, n, n)
        xyz = np.meshgrid(line, line, line, indexing="ij")
        probe = np.exp(-sum(u**2 for u in xyz) / (2 * sigma**2))
        probe *= (sigma * math.sqrt(2 * math.pi)) ** -3 * (line[1] - line[0]) ** 3
        total = 0.0
        for exponents, harmonic in mcsh(xyz, degree).items():
            multiplicity = math.factorial(degree) / math.prod(map(math.factorial, exponents))
            total += multiplicity * float((probe * density * harmonic).sum()) ** 2
        out.append(math.sqrt(total))
    return np.array(out)
