"""The fused kernel of symmetry functions that need pairs of neighbours: G4, and any ζ."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atomprint.fingerprints.kernels.base import FusedKernel
from atomprint.fingerprints.kernels.edges import EdgeBlock, Floats, rows_for
from atomprint.fingerprints.kernels.symmetry_expansion import cubics
from atomprint.fingerprints.kernels.triplet_loops import ABSENT, POLYNOMIAL, TABLE
from atomprint.fingerprints.kernels.triplet_runs import pull_run, rows_run
from atomprint.ground.threads import over_rows
from atomprint.ground.vectors import LANES

if TYPE_CHECKING:
    from atomprint.fingerprints.symmetry import RadialFunction, SymmetryFunctions

_TOLERANCE = {np.dtype(np.float64): 2e-13, np.dtype(np.float32): 3e-8}
"""How far tables and polynomials may stray, relative to a function's largest value."""

_LARGEST_DEGREE = 24
"""Of a polynomial of the third side; where it takes more, a table is used."""


def symmetry_kernel(fingerprint: "SymmetryFunctions") -> FusedKernel:
    """The fastest kernel of a fingerprint: by expansion where that is exact, or by triplets."""
    expansion = fingerprint.expansion()
    if expansion is not None:
        from atomprint.fingerprints.kernels.quadratic import QuadraticKernel

        kernel: FusedKernel = QuadraticKernel(expansion)
    else:
        kernel = TripletKernel(fingerprint)
    return kernel if fingerprint.species is None else _OfSpecies(fingerprint, kernel)


class _OfSpecies(FusedKernel):
    """A kernel that refuses elements which are not among the species."""

    def __init__(self, fingerprint: "SymmetryFunctions", kernel: FusedKernel) -> None:
        self.kernel, self.check = kernel, fingerprint.check_species
        self.has_gradient = kernel.has_gradient

    def rows(self, block: EdgeBlock, n_threads: int = 1, out: Floats | None = None) -> Floats:
        """See :meth:`FusedKernel.rows`."""
        self.check(torch.from_numpy(np.union1d(block.numbers, block.neighbor_numbers)))
        return self.kernel.rows(block, n_threads, out)

    def gradient(self, block: EdgeBlock, row_gradients: Floats, n_threads: int = 1) -> Floats:
        """See :meth:`FusedKernel.gradient`."""
        return self.kernel.gradient(block, row_gradients, n_threads)


@dataclass(frozen=True)
class _Arrays:
    """All numbers of the functions in one float type, as the loops want them."""

    weights: Floats
    fold: Floats
    table: Floats
    width: int
    step: float
    third_kind: Any
    polynomials: Floats
    third: Floats
    third_step: float
    scale: Floats


class TripletKernel(FusedKernel):
    """Fused rows and gradients of symmetry functions, by explicit pairs of neighbours.

    Neighbours below the cutoff are sorted by element; pairs of them are taken 256 at a time, eight
    in each vector. Radial functions come from a table, once per neighbour; the function of the
    third side is a polynomial in r_jk², so that no root, exponential or cosine is taken of a pair.
    Sums are made for each pair of elements, and channels mixed from them.

    Parameters
    ----------
    fingerprint
        Whose functions to compute.
    """

    has_gradient = True

    def __init__(self, fingerprint: "SymmetryFunctions") -> None:
        self.cutoff = fingerprint.cutoff
        angular = fingerprint.angular
        keys = list(dict.fromkeys((f.radial, f.third_side) for f in angular))
        powers = list(dict.fromkeys((f.zeta, f.sign) for f in angular))
        self.radial_keys = [key[0] for key in keys]
        self.third_side = [key[1] for key in keys]
        which = [
            (keys.index((f.radial, f.third_side)), powers.index((f.zeta, f.sign))) for f in angular
        ]
        self.term_g = np.array([g for g, _ in which], dtype=np.int64)
        self.term_power = np.array([power for _, power in which], dtype=np.int64)
        self.zeta = np.array([zeta for zeta, _ in powers], dtype=np.float64)
        self.sign = np.array([sign for _, sign in powers], dtype=np.float64)
        self.scale = np.array([2.0 ** (1 - f.zeta) for f in angular])
        self.functions: list[RadialFunction] = [*self.radial_keys, *fingerprint.radial]
        self.n_radial, self.n_angular = len(fingerprint.radial), len(angular)
        self.table = fingerprint.table.numpy()
        self.n_channels = self.table.shape[1]
        self.by_species = fingerprint.species is not None
        self.single = not self.by_species and self.n_channels == 1
        self.slot_of_element = np.zeros(self.table.shape[0], dtype=np.int64)
        if fingerprint.species is not None:
            self.slot_of_element[list(fingerprint.species)] = range(self.n_channels)
        elif not self.single:
            self.slot_of_element[:] = range(self.table.shape[0])
        self.n_columns = len(fingerprint.labels()) or (
            self.n_channels * self.n_radial + len(fingerprint.pairs) * self.n_angular
        )
        self._arrays: dict[Any, _Arrays] = {}

    def _in(self, dtype: Any) -> _Arrays:
        """Arrays of a float type, made once."""
        if dtype in self._arrays:
            return self._arrays[dtype]
        tolerance = _TOLERANCE[dtype]
        table, step = cubics(self.functions, self.cutoff, tolerance)
        polynomials: list[Floats] = []
        kinds = []
        for function, third_side in zip(self.radial_keys, self.third_side, strict=True):
            polynomial = _polynomial(function, self.cutoff, tolerance) if third_side else None
            kinds.append(ABSENT if not third_side else TABLE if polynomial is None else POLYNOMIAL)
            polynomials.append(np.zeros(1) if polynomial is None else polynomial)
        third = np.ascontiguousarray(np.moveaxis(table[:, :, : len(kinds)], 2, 0))
        if TABLE not in kinds:
            third = np.zeros((len(kinds), 1, 4))
        if self.by_species:
            weights = np.eye(self.n_channels)
        elif self.single:
            weights = np.ones((1, 1))
        else:
            weights = self.table
        fold = self.table[:, 0] if self.single else np.ones(self.table.shape[0])
        longest = max(map(len, polynomials), default=1)
        padded = np.zeros((len(kinds), longest))  # leading zeros are of higher powers
        for k, polynomial in enumerate(polynomials):
            padded[k, longest - len(polynomial) :] = polynomial
        width = LANES * max(1, -(-len(self.functions) // LANES))
        wide = np.zeros((len(table), 4, width))
        wide[:, :, : len(self.functions)] = table
        self._arrays[dtype] = _Arrays(
            weights=weights.astype(dtype),
            fold=fold.astype(dtype),
            table=wide.reshape(-1).astype(dtype),
            width=width,
            step=step,
            third_kind=np.array(kinds, dtype=np.int64),
            polynomials=padded.astype(dtype),
            third=third.astype(dtype),
            third_step=step,
            scale=self.scale.astype(dtype),
        )
        return self._arrays[dtype]

    def rows(self, block: EdgeBlock, n_threads: int = 1, out: Floats | None = None) -> Floats:
        """See :meth:`FusedKernel.rows`."""
        rows = rows_for(block, self.n_columns, out)
        rows[:] = 0
        arguments = self._arguments(block)
        over_rows(lambda a, b: rows_run(*arguments, a, b, rows), block.first, n_threads)
        return rows

    def gradient(self, block: EdgeBlock, row_gradients: Floats, n_threads: int = 1) -> Floats:
        """Pull a gradient back to the edge vectors, see :meth:`FusedKernel.gradient`."""
        out = np.zeros((block.n_edges, 3), dtype=block.vectors.dtype)
        given = np.ascontiguousarray(row_gradients, dtype=block.vectors.dtype)
        arguments = self._arguments(block)
        over_rows(lambda a, b: pull_run(*arguments, a, b, given, out), block.first, n_threads)
        return out

    def _arguments(self, block: EdgeBlock) -> tuple[Any, ...]:
        """What both compiled loops read."""
        arrays = self._in(block.vectors.dtype)
        return (
            block.first, block.vectors, self.slot_of_element[block.neighbor_numbers],
            arrays.fold[block.neighbor_numbers], self.cutoff, arrays.weights, self.by_species,
            self.n_radial, arrays.table, arrays.width, arrays.step, arrays.third_kind,
            arrays.polynomials, arrays.third, self.zeta, self.sign, self.term_g, self.term_power,
            arrays.scale,
        )  # fmt: skip


def _polynomial(function: "RadialFunction", cutoff: float, tolerance: float) -> Floats | None:
    """Polynomial P of ``g(r_jk) = ((1 - x) / 2)² P(x)``, ``x = 2 (r_jk / r_c)² - 1``.

    The cutoff function is ``cos²(π r / 2 r_c)``, and ``cos(π √y / 2) / (1 - y)`` is entire in y,
    and so is a Gaussian around zero. None if a polynomial of bearable degree does not reach the
    tolerance, or if the Gaussian is not around zero.

    Returns
    -------
    Floats or None
        Coefficients, highest power first.
    """
    if function.kappa or (function.shift and function.eta):
        return None

    def exact(x: Any) -> Any:
        root = np.sqrt((x + 1) / 2)
        ratio = math.pi / 2 * np.sinc((1 - root) / 2) / (1 + root)
        return np.exp(-function.eta * cutoff**2 * (x + 1) / 2) * ratio**2

    grid = np.linspace(-1, 1, 2001)
    wanted = exact(grid)
    for degree in range(4, _LARGEST_DEGREE + 1):
        nodes = np.polynomial.chebyshev.chebinterpolate(exact, degree)
        coefficients = np.polynomial.chebyshev.cheb2poly(nodes)[::-1]
        if np.abs(np.polyval(coefficients, grid) - wanted).max() < tolerance * wanted.max():
            return np.ascontiguousarray(coefficients)
    return None
