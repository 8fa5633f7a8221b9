"""Angular functions of triangles without a loop over pairs of neighbours, approximately.

A function of two neighbours and the angle between them, ``K(r_j, r_k, cosθ)``, is expanded in
Legendre polynomials of cosθ, and each coefficient ``K_l(r_j, r_k)``, a symmetric matrix over
distances, in its eigenfunctions: ``K_l ≈ Σ_q s_lq u_lq(r_j) u_lq(r_k)``. By the addition theorem
its sum over pairs is then a sum of squares of the neighbours' expansion in spherical harmonics.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from atomprint.fingerprints.harmonics import solid_harmonics
from atomprint.fingerprints.sums import Chunks
from atomprint.structures.graph import GraphBatch

if TYPE_CHECKING:
    from atomprint.fingerprints.symmetry import AngularFunction, RadialFunction

Float64s = npt.NDArray[np.float64]

SHORTEST = 0.8
"""In Å: errors are stated for neighbours from here to the cutoff."""

LARGEST_DEGREE = 14
"""Terms of a higher degree in the angle are left out, whatever the tolerance."""

_N_POLYNOMIALS = 14
_N_DISTANCES, _N_ANGLES = 64, 96


@dataclass(frozen=True)
class Term:
    """``s P_l(cosθ) u(r_j) u(r_k)``, ``u = g p``, of one angular function.

    Attributes
    ----------
    function
        Index of the angular function, whose radial factor g is.
    degree
        l.
    strength
        s, of either sign.
    polynomial
        Coefficients of p in Chebyshev polynomials of ``2 r / cutoff - 1``.
    """

    function: int
    degree: int
    strength: float
    polynomial: Float64s


@dataclass(frozen=True)
class LowRank:
    """Angular functions as sums of terms.

    Attributes
    ----------
    functions
        The angular functions.
    terms
        Their terms, by degree and then by function.
    errors
        For every function the largest error of one pair of neighbours of weight 1, at distances
        from :data:`SHORTEST` to the cutoff and any angle (on a grid); a sum over pairs is in error
        by no more than this times the sum of ``|w_j w_k|``.
    """

    functions: tuple["AngularFunction", ...]
    cutoff: float
    terms: tuple[Term, ...]
    errors: tuple[float, ...]

    @property
    def l_max(self) -> int:
        """Largest degree."""
        return max(term.degree for term in self.terms)

    def of_degree(self, degree: int) -> list[Term]:
        """Terms of one degree, which are columns next to one another."""
        return [term for term in self.terms if term.degree == degree]

    def radial_of_terms(self, r: Tensor) -> Tensor:
        """The functions u of all terms at distances (Å), ``(n,) -> (n, n_terms)``.

        Polynomials are made in float64: in float32 those of narrow functions would lose digits.
        """
        from atomprint.fingerprints.symmetry import radial_values

        radial = list(dict.fromkeys(f.radial for f in self.functions))
        which = [radial.index(self.functions[term.function].radial) for term in self.terms]
        x = 2 * r.double() / self.cutoff - 1
        powers = [torch.ones_like(x), x]
        for _ in range(_N_POLYNOMIALS - 2):
            powers.append(2 * x * powers[-1] - powers[-2])
        matrix = torch.from_numpy(np.stack([term.polynomial for term in self.terms], axis=1))
        values = radial_values(r.double(), radial, self.cutoff)[:, which]
        return (values * (torch.stack(powers, dim=1) @ matrix.to(r.device))).to(r.dtype)

    def sums(self, graph: GraphBatch, weights: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
        """Sum over pairs of neighbours, ``(n_atoms, n_pairs_of_channels, n_functions)``.

        Terms of a neighbour with itself, as approximated, are taken off.

        Parameters
        ----------
        graph
            With edges below the cutoff only.
        weights
            Of every edge's neighbour in each channel, ``(n_edges, n_channels)``.
        pairs
            Channels whose weights are multiplied.
        """
        r, n = graph.distances[:, None], graph.n_atoms
        chunks = Chunks(graph.center_index, n)
        packed = chunks.pack(torch.cat([graph.edge_vectors / r, r, weights], dim=1))
        harmonics = solid_harmonics(packed[:, :3], self.l_max)
        radial = self.radial_of_terms(packed[:, 3])
        ones = packed.new_ones((packed.shape[0], 1))
        left, right = (list(side) for side in zip(*pairs, strict=True))
        alike = weights.new_tensor([float(a == b) for a, b in pairs])[:, None]
        total = weights.new_zeros((n, len(pairs), len(self.functions)))
        first = 0
        for degree in range(self.l_max + 1):
            terms = self.of_degree(degree)
            values = radial[:, first : first + len(terms)]
            first += len(terms)
            weighted = (packed[:, 4:, None] * values[:, None, :]).flatten(1)
            block = chunks.sum_outer(weighted, harmonics[:, degree**2 : (degree + 1) ** 2])
            block = block.view(n, weights.shape[1], len(terms), 2 * degree + 1)
            itself = chunks.sum_outer(weighted.square(), ones).view(n, weights.shape[1], -1)
            product = 4 * math.pi / (2 * degree + 1) * (block[:, left] * block[:, right]).sum(-1)
            mix = weights.new_zeros((len(terms), len(self.functions)))
            for k, term in enumerate(terms):
                mix[k, term.function] = term.strength
            total = total + (product - alike * itself[:, left]) @ mix
        # Pairs within a channel are found twice, pairs of two species once.
        return total * (1 - 0.5 * alike)


@lru_cache(maxsize=32)
def low_rank(functions: tuple["AngularFunction", ...], cutoff: float, tolerance: float) -> LowRank:
    """Expand angular functions; those that are exact by Legendre polynomials stay so.

    Parameters
    ----------
    functions
        The functions.
    cutoff
        In Å.
    tolerance
        Terms are taken until what is left of K is this part of it, as the root of the mean square
        over the volume of both neighbours, or until :data:`LARGEST_DEGREE`.
    """
    from atomprint.fingerprints.symmetry import legendre_factors

    terms: list[Term] = []
    errors = []
    for k, function in enumerate(functions):
        if function.exact:
            zeta = int(function.zeta)
            one = np.eye(_N_POLYNOMIALS)[0]
            for degree, factor in enumerate(legendre_factors(zeta, function.sign)):
                terms.append(Term(k, degree, 2.0 ** (1 - zeta) * factor, one))
            errors.append(0.0)
        else:
            own = _eigenfunctions(k, function, cutoff, tolerance)
            terms += own
            errors.append(_largest_error(function, cutoff, own))
    terms.sort(key=lambda term: (term.degree, term.function))
    return LowRank(functions, cutoff, tuple(terms), tuple(errors))


def radial_factor(function: "RadialFunction", r: Any, cutoff: float) -> Float64s:
    """g(r) in NumPy."""
    near = 0.5 * (np.cos(math.pi * np.minimum(r / cutoff, 1.0)) + 1)
    return np.asarray(near * np.exp(-function.eta * (r - function.shift) ** 2))


def _without_radial(function: "AngularFunction", cutoff: float, a: Any, b: Any, x: Any) -> Float64s:
    """K without the factors g of the two neighbours."""
    value = 2.0 * ((1 + function.sign * x) / 2) ** function.zeta
    if function.third_side:
        third = np.sqrt(np.maximum(a * a + b * b - 2 * a * b * x, 0.0))
        value = value * radial_factor(function.radial, third, cutoff)
    return np.asarray(value + 0 * a * b)


def _eigenfunctions(
    index: int, function: "AngularFunction", cutoff: float, tolerance: float
) -> list[Term]:
    """The terms of one function: eigenfunctions among g times polynomials of r."""
    x, weight_x = np.polynomial.legendre.leggauss(_N_ANGLES)
    t, weight_t = np.polynomial.legendre.leggauss(_N_DISTANCES)
    r = (t + 1) * cutoff / 2
    # Neighbours are at r with a density of r².
    root = np.sqrt(weight_t) * r * radial_factor(function.radial, r, cutoff)
    degrees = np.arange(LARGEST_DEGREE + 1)
    legendre = np.polynomial.legendre.legvander(x, LARGEST_DEGREE) * weight_x[:, None]
    values = _without_radial(function, cutoff, r[:, None, None], r[None, :, None], x)
    values = values * (root[:, None] * root)[:, :, None]
    kernel = values @ (legendre * (degrees + 0.5))
    basis = root[:, None] * np.polynomial.chebyshev.chebvander(t, _N_POLYNOMIALS - 1)
    # Combinations of polynomials that are next to nothing where g is not would lose digits.
    u, size, v = np.linalg.svd(basis, full_matrices=False)
    kept = size > 1e-7 * size[0]
    u, size, v = u[:, kept], size[kept], v[kept]
    terms: list[tuple[float, float, Term]] = []
    for degree in range(LARGEST_DEGREE + 1):
        strengths, vectors = np.linalg.eigh(u.T @ kernel[:, :, degree] @ u)
        for strength, vector in zip(strengths, vectors.T, strict=True):
            term = Term(index, degree, float(strength), v.T @ (vector / size))
            share = float(strength**2) * 2 / (2 * degree + 1)
            # A term costs a sum for each m: those that are worth most for it come first.
            terms.append((share / (2 * degree + 1), share, term))
    terms.sort(key=lambda one: -one[0])
    whole = float((values**2 @ weight_x).sum())
    left, chosen = whole, []
    for _, share, term in terms:
        if left <= tolerance**2 * whole or share < 1e-4 * tolerance**2 * whole:
            break
        chosen.append(term)
        left -= share
    return chosen


def _largest_error(function: "AngularFunction", cutoff: float, terms: Sequence[Term]) -> float:
    """Largest error of one pair, on a grid of distances and angles."""
    r = np.linspace(min(SHORTEST, cutoff / 4), cutoff, 64)
    x = np.cos(np.linspace(0, math.pi, 91))
    g = radial_factor(function.radial, r, cutoff)
    powers = np.polynomial.chebyshev.chebvander(2 * r / cutoff - 1, _N_POLYNOMIALS - 1)
    radial = powers @ np.stack([term.polynomial for term in terms], axis=1)
    degrees = np.array([term.degree for term in terms])
    by_degree = np.zeros((len(r), len(r), degrees.max() + 1))
    for degree in range(by_degree.shape[2]):
        strength = np.array([term.strength for term in terms if term.degree == degree])
        part = radial[:, degrees == degree]
        by_degree[:, :, degree] = (part * strength) @ part.T
    found = by_degree @ np.polynomial.legendre.legvander(x, by_degree.shape[2] - 1).T
    wanted = _without_radial(function, cutoff, r[:, None, None], r[None, :, None], x)
    return float((np.abs(found - wanted) * (g[:, None] * g)[:, :, None]).max())
