"""Symmetry functions as slow loops over neighbours and pairs of them, from their definitions."""

import itertools
import math

import numpy as np

from tests.reference.fingerprints import cosine_cutoff, neighbors


def radial(r, function, cutoff):
    eta, shift, kappa = function
    value = math.exp(-eta * (r - shift) ** 2) * math.cos(kappa * r)
    return value * cosine_cutoff(r, cutoff)


def radial_columns(crystal, weights, functions, cutoff):
    """Sums over neighbours; functions: (eta, shift, kappa) each. ``(n_atoms, n_functions)``."""
    out = np.zeros((crystal.n_atoms, len(functions)))
    for i, (vectors, indices) in enumerate(neighbors(crystal, cutoff)):
        for vector, j in zip(vectors, indices, strict=True):
            for k, function in enumerate(functions):
                out[i, k] += weights[j] * radial(np.linalg.norm(vector), function, cutoff)
    return out


def angular_columns(crystal, pair_weight, functions, cutoff):
    """Sums over pairs of neighbours, each pair once, ``(n_atoms, n_functions)``.

    functions: (eta, shift, zeta, sign, third_side) each; pair_weight: of two atoms' indices.
    """
    out = np.zeros((crystal.n_atoms, len(functions)))
    for i, (vectors, indices) in enumerate(neighbors(crystal, cutoff)):
        for a, b in itertools.combinations(range(len(indices)), 2):
            weight = pair_weight(indices[a], indices[b])
            if weight == 0:
                continue
            ra, rb = np.linalg.norm(vectors[a]), np.linalg.norm(vectors[b])
            between = np.linalg.norm(vectors[b] - vectors[a])
            cosine = np.clip(vectors[a] @ vectors[b] / ra / rb, -1, 1)
            for k, (eta, shift, zeta, sign, third_side) in enumerate(functions):
                value = 2 ** (1 - zeta) * (1 + sign * cosine) ** zeta * weight
                for r in (ra, rb, between)[: 3 if third_side else 2]:
                    value *= radial(r, (eta, shift, 0.0), cutoff)
                out[i, k] += value
    return out
