"""Fingerprints as slow loops over the definitions, in NumPy, with neighbours found by brute force.

Nothing of atomprint is used but the crystal; where a formula has two forms, this is the other one
(sums over pairs of neighbours in place of squared moments, quadrature in place of a closed form).
"""

import itertools
import math

import numpy as np
from scipy.special import eval_legendre, spherical_in


def neighbors(crystal, cutoff):
    """For each atom the vectors to its neighbours (Å) and their indices, images one by one."""
    heights = 1 / np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)
    frac = crystal.positions @ np.linalg.inv(crystal.cell)
    spread = np.ceil(np.ptp(frac, axis=0)).astype(int)
    reach = np.ceil(cutoff / heights).astype(int) + spread + 1
    found = []
    for i in range(crystal.n_atoms):
        vectors, indices = [], []
        for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
            for j in range(crystal.n_atoms):
                vector = crystal.positions[j] + np.array(shift) @ crystal.cell
                vector = vector - crystal.positions[i]
                if 1e-6 < np.linalg.norm(vector) < cutoff:
                    vectors.append(vector)
                    indices.append(j)
        found.append((np.array(vectors).reshape(-1, 3), np.array(indices, dtype=int)))
    return found


def cosine_cutoff(r, cutoff):
    return 0.5 * (math.cos(math.pi * r / cutoff) + 1) if r < cutoff else 0.0


def rdf(crystal, weights, cutoff, n_bins, smearing=None, taper=False):
    """g of every atom, ``(n_atoms, n_bins)``; weights: one number per atom."""
    width = cutoff / n_bins
    reach = cutoff if taper or smearing is None else cutoff + 6 * smearing
    out = np.zeros((crystal.n_atoms, n_bins))
    for i, (vectors, indices) in enumerate(neighbors(crystal, reach)):
        for vector, j in zip(vectors, indices, strict=True):
            r = np.linalg.norm(vector)
            w = weights[i] * weights[j] * (cosine_cutoff(r, cutoff) if taper else 1)
            for b in range(n_bins):
                if smearing is None:
                    out[i, b] += w * (b * width <= r < (b + 1) * width)
                else:
                    x = (r - (b + 0.5) * width) / smearing
                    out[i, b] += (
                        w * width * math.exp(-x * x / 2) / math.sqrt(2 * math.pi) / smearing
                    )
    density = crystal.n_atoms / crystal.volume
    for b in range(n_bins):
        shell = 4 / 3 * math.pi * (((b + 1) * width) ** 3 - (b * width) ** 3)
        out[:, b] /= density * shell
    return out


def angles(crystal, weights, cutoff, taper):
    """For each atom the angles (radians) at it, each once, and their weights w_j w_k."""
    out = []
    for vectors, indices in neighbors(crystal, cutoff):
        rows = []
        for a, b in itertools.combinations(range(len(indices)), 2):
            ra, rb = np.linalg.norm(vectors[a]), np.linalg.norm(vectors[b])
            cosine = np.clip(vectors[a] @ vectors[b] / ra / rb, -1, 1)
            w = weights[indices[a]] * weights[indices[b]]
            if taper:
                w *= cosine_cutoff(ra, cutoff) * cosine_cutoff(rb, cutoff)
            rows.append((math.acos(cosine), w))
        out.append(rows)
    return out


def adf_histogram(crystal, weights, cutoff, n_bins, taper):
    out = np.zeros((crystal.n_atoms, n_bins))
    for i, rows in enumerate(angles(crystal, weights, cutoff, taper)):
        for angle, w in rows:
            out[i, min(int(angle / math.pi * n_bins), n_bins - 1)] += w
    return out


def adf_moments(crystal, weights, cutoff, l_max, taper):
    """M_l over ordered pairs, from the triplets themselves."""
    out = np.zeros((crystal.n_atoms, l_max + 1))
    for i, rows in enumerate(angles(crystal, weights, cutoff, taper)):
        for angle, w in rows:
            for degree in range(l_max + 1):
                out[i, degree] += 2 * w * eval_legendre(degree, math.cos(angle))
    return out


def ead(crystal, weights, cutoff, shells, eta, l_max):
    """The paper's blocks from the kernel: Σ_jk g_j g_k (r_j · r_k)^L, ``(n_atoms, L, shell)``."""
    out = np.zeros((crystal.n_atoms, l_max + 1, len(shells)))
    for i, (vectors, indices) in enumerate(neighbors(crystal, cutoff)):
        for k, center in enumerate(shells):
            g = []
            for vector, j in zip(vectors, indices, strict=True):
                r = np.linalg.norm(vector)
                shell = math.exp(-eta * (r - center) ** 2)
                g.append(weights[j] * shell * cosine_cutoff(r, cutoff))
            for degree in range(l_max + 1):
                for a in range(len(g)):
                    for b in range(len(g)):
                        out[i, degree, k] += g[a] * g[b] * (vectors[a] @ vectors[b]) ** degree
    return out


def ead_pyxtal(blocks, cutoff):
    """The convention of pyxtal_ff: block L sums all degrees up to L (see docs/fingerprints.md)."""
    out = np.zeros_like(blocks)
    for block in range(blocks.shape[1]):
        for degree in range(block + 1):
            factor = math.factorial(block) / math.factorial(degree) / cutoff ** (2 * block)
            out[:, block] += factor * blocks[:, degree]
    return out


def soap(crystal, weights, r_cut, n_max, l_max, sigma, taper=False):
    """p of every atom, order l, n, n' ≥ n; the radial integrals by quadrature.

    The density is expanded with ``e^{x·r/σ²} = 4π Σ i_l(xr/σ²) Y_lm Y_lm``, and the sum over m is
    the addition theorem, so that no spherical harmonic is ever evaluated.
    """
    points, quadrature = np.polynomial.legendre.leggauss(400)
    reach = r_cut + 12 * sigma + 4  # far enough for the widest basis function
    x = 0.5 * reach * (points + 1)
    quadrature = 0.5 * reach * quadrature

    def basis(degree):
        ends = np.linspace(1, r_cut, n_max)
        primitives = []
        for end in ends:
            alpha = -math.log(1e-3 / end**degree) / end**2
            primitives.append(x**degree * np.exp(-alpha * x**2))
        primitives = np.array(primitives)
        overlap = (primitives * quadrature * x**2) @ primitives.T
        values, vectors = np.linalg.eigh(overlap)
        return vectors @ np.diag(values**-0.5) @ vectors.T @ primitives

    def integral(functions, degree, r):
        z = x * r / sigma**2
        # i_l grows like e^z: take the growth out, so that nothing overflows.
        bessel = np.where(z < 300, spherical_in(degree, np.minimum(z, 300)), 0) * np.exp(-z)
        bessel = np.where(z < 300, bessel, _bessel_large(degree, np.maximum(z, 300)))
        density = np.exp(-((x - r) ** 2) / (2 * sigma**2)) * bessel
        return 4 * math.pi * functions @ (quadrature * x**2 * density)

    columns = [(d, n, m) for d in range(l_max + 1) for n in range(n_max) for m in range(n, n_max)]
    functions = [basis(degree) for degree in range(l_max + 1)]
    out = np.zeros((crystal.n_atoms, len(columns)))
    pad = 0 if taper else sigma * math.sqrt(-2 * math.log(1e-3))
    for i, (vectors, indices) in enumerate(neighbors(crystal, r_cut + pad)):
        r = np.linalg.norm(vectors, axis=1)
        w = [
            weights[j] * (cosine_cutoff(d, r_cut) if taper else 1)
            for j, d in zip(indices, r, strict=True)
        ]
        # The atom itself: at r = 0 only l = 0 is left, where P_0 = 1 for any direction.
        r, w = np.append(r, 0.0), np.append(w, weights[i])
        directions = np.vstack([vectors / r[:-1, None], [[0.0, 0.0, 1.0]]])
        cosines = np.clip(directions @ directions.T, -1, 1)
        for degree in range(l_max + 1):
            radial = np.array([integral(functions[degree], degree, d) for d in r]) * w[:, None]
            kernel = (2 * degree + 1) / (4 * math.pi) * eval_legendre(degree, cosines)
            matrix = radial.T @ kernel @ radial
            for column, (d, n, m) in enumerate(columns):
                if d == degree:
                    out[i, column] = math.pi * math.sqrt(8 / (2 * degree + 1)) * matrix[n, m]
    return out


def _bessel_large(degree, z):
    """``e^{-z} i_l(z)`` for large z: the asymptotic series, exact but for e^{-2z}."""
    total = np.zeros_like(z)
    for k in range(degree + 1):
        factor = math.factorial(degree + k) / math.factorial(k) / math.factorial(degree - k)
        total += (-1) ** k * factor / (2 * z) ** k
    return total / (2 * z)
