"""Many-body tensor representations by loops over atoms, pairs and triplets, from the definitions.

Huo & Rupp, Mach. Learn.: Sci. Technol. 3, 045017 (2022), with the weighting functions and the
order of columns of dscribe (Himanen et al., Comput. Phys. Commun. 247, 106949, 2020).
"""

import math

import numpy as np
from scipy.stats import norm


def images(crystal, cutoff):
    """Neighbours of every atom: lists of (vector, atom), 0 < r < cutoff."""
    heights = 1 / np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)
    spread = crystal.frac.max(0) - crystal.frac.min(0)
    reach = np.ceil(cutoff / heights + spread).astype(int)
    shifts = [
        np.array([a, b, c]) @ crystal.cell
        for a in range(-reach[0], reach[0] + 1)
        for b in range(-reach[1], reach[1] + 1)
        for c in range(-reach[2], reach[2] + 1)
    ]
    out = []
    for center in crystal.positions:
        found = []
        for j, other in enumerate(crystal.positions):
            for shift in shifts:
                vector = other + shift - center
                if 1e-6 < np.linalg.norm(vector) < cutoff:
                    found.append((vector, j))
        out.append(found)
    return out


def broaden(value, grid):
    """Part of a Gaussian in every cell around a grid point, by the width of a cell."""
    start, stop, n, sigma = grid
    step = (stop - start) / (n - 1)
    x = start + np.arange(n) * step
    return (norm.cdf((x + step / 2 - value) / sigma) - norm.cdf((x - step / 2 - value) / sigma)) / (
        step
    )


def weight_of_pair(r, weighting):
    kind, cutoff, threshold = weighting
    if kind == "exp":
        return math.exp(math.log(threshold) / cutoff * r)
    return r**-2


def weight_of_triplet(r_a, r_b, r_c, weighting):
    """Weight with the centre between r_a and r_b; 0 where it is left out."""
    kind, cutoff, parameter = weighting
    if kind == "exp":
        weight = math.exp(0.5 * math.log(parameter) / cutoff * (r_a + r_b + r_c))
        return weight if weight >= parameter else 0.0
    y = parameter
    product = 1.0
    for r in (r_a, r_b):
        x = r / cutoff
        product *= 1 + y * x ** (y + 1) - (y + 1) * x**y
    return product


def triplets(crystal, function, weighting):
    """Every angle once: (centre, one end, other end, value, weight)."""
    cutoff = weighting[1]
    for j, found in enumerate(images(crystal, cutoff)):
        for first in range(len(found)):
            for second in range(first + 1, len(found)):
                (a, i), (b, k) = found[first], found[second]
                r_a, r_b, r_c = (np.linalg.norm(v) for v in (a, b, a - b))
                weight = weight_of_triplet(r_a, r_b, r_c, weighting)
                if weight > 0:
                    cosine = np.clip(a @ b / r_a / r_b, -1, 1)
                    angle = math.degrees(math.acos(cosine))
                    yield j, i, k, angle if function == "angle" else cosine, weight


def mbtr_k1(crystal, species, grid):
    out = np.zeros((len(species), grid[2]))
    for number in crystal.numbers:
        out[species.index(number)] += broaden(number, grid)
    return out.ravel()


def mbtr_k2(crystal, species, function, weighting, grid):
    """Every pair of the crystal once, by kinds of pairs."""
    blocks = {}
    for i in range(len(species)):
        for j in range(i, len(species)):
            blocks[i, j] = np.zeros(grid[2])
    for i, found in enumerate(images(crystal, weighting[1])):
        for vector, j in found:
            kinds = sorted(species.index(crystal.numbers[k]) for k in (i, j))
            r = np.linalg.norm(vector)
            value = r if function == "distance" else 1 / r
            blocks[tuple(kinds)] += 0.5 * weight_of_pair(r, weighting) * broaden(value, grid)
    return np.concatenate(list(blocks.values()))


def mbtr_k3(crystal, species, function, weighting, grid):
    """Every angle of the crystal once, by the kind of its centre, then by those of its ends."""
    n = len(species)
    blocks = {(i, j, k): np.zeros(grid[2]) for j in range(n) for i in range(n) for k in range(i, n)}
    for j, i, k, value, weight in triplets(crystal, function, weighting):
        a, b, c = (species.index(crystal.numbers[m]) for m in (i, j, k))
        blocks[min(a, c), b, max(a, c)] += weight * broaden(value, grid)
    return np.concatenate(list(blocks.values()))


def lmbtr_k2(crystal, species, function, weighting, grid):
    """Every neighbour, by its kind; dscribe keeps an empty block for the centre X first."""
    out = np.zeros((crystal.n_atoms, len(species) + 1, grid[2]))
    for i, found in enumerate(images(crystal, weighting[1])):
        for vector, j in found:
            r = np.linalg.norm(vector)
            value = r if function == "distance" else 1 / r
            kind = 1 + species.index(crystal.numbers[j])
            out[i, kind] += weight_of_pair(r, weighting) * broaden(value, grid)
    return out.reshape(crystal.n_atoms, -1)


def lmbtr_k3(crystal, species, function, weighting, grid):
    """Angles with the atom X at an end (X, centre, other) and in the middle (end, X, end)."""
    n = len(species) + 1
    out = np.zeros((crystal.n_atoms, n * (3 * n - 1) // 2, grid[2]))
    for j, i, k, value, weight in triplets(crystal, function, weighting):
        a, b, c = (1 + species.index(crystal.numbers[m]) for m in (i, j, k))
        low, high = min(a, c), max(a, c)
        row = weight * broaden(value, grid)
        out[j, high + low * n - low * (low + 1) // 2] += row
        out[i, n * (n + 1) // 2 + (b - 1) * n + c] += row
        out[k, n * (n + 1) // 2 + (b - 1) * n + a] += row
    return out.reshape(crystal.n_atoms, -1)
