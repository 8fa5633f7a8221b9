"""PaiNN one edge at a time, in NumPy, from the equations of Schütt et al. 2021 (arXiv 2102.03150).

Takes the weights of :class:`atomprint.backbones.PaiNN` by name. Where that class departs from the
paper (layer norms before the two context networks, messages divided by the square root of a typical
number of neighbours, filters whose bias is also cut off) so does this.
"""

import itertools

import numpy as np


def painn(weights, settings, crystal):
    """Scalars ``(n_atoms, n)`` and vectors ``(n_atoms, 3, n)`` of one crystal."""
    n = settings.n_channels
    edges = list(edges_of(crystal, settings.cutoff))
    s = weights["embedding.weight"][crystal.numbers]
    v = np.zeros((crystal.n_atoms, 3, n))
    for layer in range(settings.n_layers):
        s, v = message(weights, f"messages.{layer}", settings, s, v, edges)
        s, v = update(weights, f"updates.{layer}", s, v)
    return s, v


def edges_of(crystal, cutoff):
    """(centre, neighbour, vector from centre to neighbour) of every pair below the cutoff."""
    heights = 1 / np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)
    reach = [range(-k, k + 1) for k in np.ceil(cutoff / heights).astype(int) + 1]
    for i, j in itertools.product(range(crystal.n_atoms), repeat=2):
        for shift in itertools.product(*reach):
            r = crystal.positions[j] + np.array(shift) @ crystal.cell - crystal.positions[i]
            if 1e-9 < np.linalg.norm(r) < cutoff:
                yield i, j, r


def message(weights, name, settings, s, v, edges):
    """Equations 7 and 8: sum over neighbours j and each of their images."""
    n = settings.n_channels
    ds, dv = np.zeros_like(s), np.zeros_like(v)
    for i, j, r_ij in edges:
        r = np.linalg.norm(r_ij)
        cut = 0.5 * (np.cos(np.pi * r / settings.cutoff) + 1)
        k = np.arange(1, settings.n_radial + 1)
        bessel = np.sqrt(2 / settings.cutoff) * np.sin(k * np.pi * r / settings.cutoff) / r
        basis = np.append(bessel, 1.0)
        w_scalar = weights[f"{name}.filter_scalar.weight"] @ basis * cut
        w_vector = weights[f"{name}.filter_vector.weight"] @ basis * cut
        phi = context(weights, name, layer_norm(weights, f"{name}.norm", s[j]))
        ds[i] += phi[:n] * w_scalar[:n]
        gated = phi[n : 2 * n] * w_scalar[n:]
        along = phi[2 * n :] * w_vector
        dv[i] += v[j] * gated + np.outer(r_ij / r, along)
    scale = settings.typical_neighbors**-0.5
    return s + scale * ds, v + scale * dv


def update(weights, name, s, v):
    """Equations 9 and 10, atom by atom."""
    n = s.shape[1]
    new_s, new_v = s.copy(), v.copy()
    for i in range(len(s)):
        both = v[i] @ weights[f"{name}.mix.weight"].T
        left, right = both[:, :n], both[:, n:]
        length = np.sqrt((right**2).sum(0) + 1e-8)
        normed = layer_norm(weights, f"{name}.norm", s[i])
        a_vv, a_sv, a_ss = np.split(context(weights, name, np.append(normed, length)), 3)
        new_s[i] += a_ss + a_sv * (left * right).sum(0)
        new_v[i] += a_vv * left
    return new_s, new_v


def context(weights, name, x):
    """Two linear maps with SiLU between."""
    hidden = weights[f"{name}.context.0.weight"] @ x + weights[f"{name}.context.0.bias"]
    hidden = hidden / (1 + np.exp(-hidden))
    return weights[f"{name}.context.2.weight"] @ hidden + weights[f"{name}.context.2.bias"]


def layer_norm(weights, name, x):
    """Layer norm of one atom's scalars, with torch's small constant."""
    normed = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return normed * weights[f"{name}.weight"] + weights[f"{name}.bias"]
