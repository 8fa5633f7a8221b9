"""What the symmetry functions of Behler (ACSF) and of Gastegger (wACSF) have in common."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from atomprint.fingerprints.adf import pairs_of_neighbors
from atomprint.fingerprints.base import Fingerprint
from atomprint.fingerprints.cutoffs import cosine_cutoff
from atomprint.fingerprints.harmonics import solid_harmonics
from atomprint.fingerprints.sums import Chunks
from atomprint.ground import elements
from atomprint.ground.errors import UsageError
from atomprint.structures.graph import GraphBatch, sum_by_index

if TYPE_CHECKING:
    from atomprint.fingerprints.kernels.base import FusedKernel
    from atomprint.fingerprints.kernels.expansion import Expansion
    from atomprint.fingerprints.low_rank import LowRank

LARGEST_EXACT_ZETA = 16
"""Up to here an integer ζ is expanded in Legendre polynomials; l_max is ζ."""

NUMBERS_AT_A_TIME = 1 << 22
"""Numbers that sums over pairs of neighbours hold at a time, whatever the input's size."""


@dataclass(frozen=True)
class RadialFunction:
    """``e^{-η (r - μ)²} cos(κ r) f_c(r)``: η (``eta``) in Å⁻², μ (``shift``) in Å, κ in Å⁻¹."""

    eta: float = 0.0
    shift: float = 0.0
    kappa: float = 0.0


@dataclass(frozen=True)
class AngularFunction:
    """``2^{1-ζ} (1 + λ cosθ)^ζ g(r_ij) g(r_ik) [g(r_jk)]``, g a :class:`RadialFunction`.

    ``third_side`` says whether the distance r_jk between the neighbours counts too.
    """

    eta: float
    shift: float
    zeta: float
    sign: int
    third_side: bool

    @property
    def radial(self) -> RadialFunction:
        """The function g."""
        return RadialFunction(self.eta, self.shift)

    @property
    def exact(self) -> bool:
        """Whether no loop over pairs of neighbours is needed."""
        return not self.third_side and self.zeta == int(self.zeta) <= LARGEST_EXACT_ZETA


class SymmetryFunctions(Fingerprint):
    """Sums of radial functions over neighbours and of angular ones over pairs of neighbours.

    Each neighbour counts with weights, one per channel; in a sum over pairs, a channel's weights
    are multiplied. With species there is a channel of weight 1 or 0 for each, and pairs of
    channels take the place of channels in the angular part.

    Attributes
    ----------
    approximation
        The angular functions as sums of terms that need no pairs; None where pairs are taken.
    """

    table: Tensor
    radial: tuple[RadialFunction, ...]
    angular: tuple[AngularFunction, ...]
    species: tuple[int, ...] | None
    pairs: tuple[tuple[int, int], ...]
    approximation: "LowRank | None"

    def set_functions(
        self,
        radial: Sequence[RadialFunction],
        angular: Sequence[AngularFunction],
        species: Sequence[str] | None,
        table: Tensor | None,
        tolerance: float | None = None,
    ) -> None:
        """Set the functions, and either the species or the table of channel weights, (119, n).

        With a tolerance, functions that are not exact without pairs are approximated.
        """
        self.radial, self.angular = tuple(radial), tuple(angular)
        if species is not None:
            self.species = tuple(sorted(elements.atomic_number[symbol] for symbol in species))
            table = torch.zeros(elements.MAX_Z + 1, len(species), dtype=torch.float64)
            table[list(self.species), range(len(species))] = 1
            # As in dscribe: each species with those up to itself.
            self.pairs = tuple((a, b) for a in range(len(species)) for b in range(a + 1))
        else:
            if table is None:
                raise ValueError("either species or a table of weights is needed")
            self.species = None
            self.pairs = tuple((c, c) for c in range(table.shape[1]))
        self.register_buffer("table", table)
        self.approximation = None
        if tolerance is not None and not all(function.exact for function in self.angular):
            from atomprint.fingerprints.low_rank import low_rank

            self.approximation = low_rank(self.angular, self.cutoff, tolerance)
            # With few neighbours hardly anything but rounding is left of the difference.
            reason = "sums over all neighbours and their self terms nearly cancel"
            self.exempt = self.exempt | {"float32": reason}

    @property
    def approximation_error(self) -> tuple[float, ...]:
        """For every angular function the largest error of one pair of neighbours of weight 1.

        All zero without approximation; see :class:`~atomprint.fingerprints.low_rank.LowRank`.
        """
        if self.approximation is None:
            return (0.0,) * len(self.angular)
        return self.approximation.errors

    def check_species(self, numbers: Tensor) -> None:
        """Refuse elements that are not among the species."""
        if self.species is None:
            return
        present = set(torch.unique(numbers).tolist())
        missing = sorted(present - set(self.species))
        if missing:
            names = ", ".join(elements.symbols[z] for z in missing)
            raise UsageError(
                f"fingerprint {self.kind}: {names} in a crystal, but not in species; add it there, "
                "or leave species out and use channels, which serve every element"
            )

    def per_atom(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms, n_columns)``."""
        self.check_species(graph.numbers)
        graph = graph.within(self.cutoff)
        weights = self.table.to(graph.positions)[graph.numbers][graph.neighbor_index]
        n = graph.n_atoms
        rows_radial = weights.new_zeros((n, weights.shape[1], len(self.radial)))
        if self.radial:
            chunks = Chunks(graph.center_index, n)
            packed = chunks.pack(torch.cat([graph.distances[:, None], weights], dim=1))
            values = radial_values(packed[:, 0], self.radial, self.cutoff)
            rows_radial = chunks.sum_outer(packed[:, 1:], values)
        if self.approximation is not None:
            sums = self.approximation.sums(graph, weights, self.pairs)
            return torch.cat([rows_radial.flatten(1), sums.flatten(1)], dim=1)
        exact = [k for k, function in enumerate(self.angular) if function.exact]
        other = [k for k, function in enumerate(self.angular) if not function.exact]
        parts = []
        if exact:
            parts.append(self._by_moments(graph, weights, [self.angular[k] for k in exact]))
        if other:
            parts.append(self._by_pairs(graph, weights, [self.angular[k] for k in other]))
        rows_angular = weights.new_zeros((n, len(self.pairs), 0))
        if parts:
            place = torch.tensor(exact + other, device=weights.device)
            rows_angular = torch.cat(parts, dim=2)[:, :, torch.argsort(place)]
        return torch.cat([rows_radial.flatten(1), rows_angular.flatten(1)], dim=1)

    def _by_moments(
        self, graph: GraphBatch, weights: Tensor, functions: Sequence[AngularFunction]
    ) -> Tensor:
        """Angular functions without r_jk and of integer ζ, ``(n_atoms, n_pairs, n_functions)``.

        (1 + λ cosθ)^ζ is a sum of Legendre polynomials, and each of those by the addition theorem
        a sum over m of products of the neighbours' expansion in spherical harmonics; the terms of a
        neighbour with itself are taken off. No pair of neighbours is ever looked at.
        """
        distinct = list(dict.fromkeys(function.radial for function in functions))
        l_max = max(int(function.zeta) for function in functions)
        r = graph.distances[:, None]
        chunks = Chunks(graph.center_index, graph.n_atoms)
        packed = chunks.pack(torch.cat([graph.edge_vectors / r, r, weights], dim=1))
        values = radial_values(packed[:, 3], distinct, self.cutoff)
        weighted = packed[:, 4:, None] * values[:, None, :]
        ones = packed.new_ones((packed.shape[0], 1))
        itself = chunks.sum_outer(weighted.square().flatten(1), ones)
        itself = itself.view(graph.n_atoms, -1, len(distinct))
        sums = chunks.sum_outer(weighted.flatten(1), solid_harmonics(packed[:, :3], l_max))
        sums = sums.view(graph.n_atoms, weights.shape[1], len(distinct), -1)
        left, right = (list(side) for side in zip(*self.pairs, strict=True))
        alike = weights.new_tensor([float(a == b) for a, b in self.pairs])[:, None]
        moments = []
        for degree in range(l_max + 1):
            block = sums[..., degree**2 : (degree + 1) ** 2]
            products = (block[:, left] * block[:, right]).sum(-1)
            moments.append(4 * math.pi / (2 * degree + 1) * products)
        columns = []
        for function in functions:
            k, zeta = distinct.index(function.radial), int(function.zeta)
            factors = legendre_factors(zeta, function.sign)
            total = sum(
                (moments[degree][..., k] * factor for degree, factor in enumerate(factors)),
                torch.zeros_like(moments[0][..., k]),
            )
            own = itself[:, left, k] * (alike[:, 0] * (1.0 + function.sign) ** zeta)
            # Pairs within a channel are found twice, pairs of two species once.
            columns.append(2.0 ** (1 - zeta) * (total - own) * (1 - 0.5 * alike[:, 0]))
        return torch.stack(columns, dim=-1)

    def _by_pairs(
        self, graph: GraphBatch, weights: Tensor, functions: Sequence[AngularFunction]
    ) -> Tensor:
        """Any angular functions, from all pairs of neighbours, ``(n_atoms, n_pairs, n)``.

        Pairs are taken some at a time, and those of one time made again for the gradient, so that
        memory is bounded.
        """
        n_pairs, n = len(self.pairs), len(functions)
        first, second = pairs_of_neighbors(graph)
        width = n * (1 if self.species is not None else n_pairs) + 16
        step = max(1, NUMBERS_AT_A_TIME // width)
        total = weights.new_zeros((graph.n_atoms, n_pairs, n))
        distinct = list(dict.fromkeys(function.radial for function in functions))
        values = radial_values(graph.distances, distinct, self.cutoff)

        def part(vectors: Tensor, values: Tensor, a: Tensor, b: Tensor) -> Tensor:
            terms = self._terms(vectors, values, a, b, functions, distinct)
            center = graph.center_index[a]
            if self.species is not None:
                channel = weights.argmax(dim=1)
                high = torch.maximum(channel[a], channel[b])
                low = torch.minimum(channel[a], channel[b])
                index = center * n_pairs + (high * (high + 1)).div(2, rounding_mode="floor") + low
                flat = sum_by_index(terms, index, graph.n_atoms * n_pairs)
                return flat.view(graph.n_atoms, n_pairs, n)
            outer = (weights[a] * weights[b])[:, :, None] * terms[:, None, :]
            return sum_by_index(outer, center, graph.n_atoms)

        for start in range(0, first.shape[0], step):
            a, b = first[start : start + step], second[start : start + step]
            if torch.is_grad_enabled() and graph.edge_vectors.requires_grad:
                more: Tensor = checkpoint(
                    part, graph.edge_vectors, values, a, b, use_reentrant=False
                )
                total = total + more
            else:
                total = total + part(graph.edge_vectors, values, a, b)
        return total

    def _terms(
        self,
        vectors: Tensor,
        values: Tensor,
        first: Tensor,
        second: Tensor,
        functions: Sequence[AngularFunction],
        distinct: Sequence[RadialFunction],
    ) -> Tensor:
        """Angular functions of pairs of neighbours, ``(n_pairs_of_edges, n_functions)``."""
        one, two = vectors[first], vectors[second]
        lengths = torch.linalg.vector_norm(one, dim=1) * torch.linalg.vector_norm(two, dim=1)
        cosine = (one * two).sum(1) / lengths
        products = values[first] * values[second]
        third = None
        if any(function.third_side for function in functions):
            # Two atoms at one place have no direction to each other: no gradient there.
            r_jk = (two - one).square().sum(1).clamp_min(1e-20).sqrt()
            third = radial_values(r_jk, distinct, self.cutoff)
        columns = []
        for function in functions:
            k = distinct.index(function.radial)
            base = (1 + function.sign * cosine).clamp_min(0)
            column = 2.0 ** (1 - function.zeta) * base**function.zeta * products[:, k]
            if function.third_side and third is not None:
                column = column * third[:, k]
            columns.append(column)
        return torch.stack(columns, dim=-1)

    def expansion(self) -> "Expansion | None":
        """The same as an expansion in spherical harmonics; None if some column is not of it."""
        if self.approximation is not None:
            from atomprint.fingerprints.kernels.low_rank_expansion import low_rank_expansion

            return low_rank_expansion(self, self.approximation)
        if not all(function.exact for function in self.angular):
            return None
        from atomprint.fingerprints.kernels.symmetry_expansion import expansion_of

        return expansion_of(self)

    def make_kernel(self) -> "FusedKernel | None":
        """See :meth:`Fingerprint.make_kernel`."""
        from atomprint.fingerprints.kernels.triplets import symmetry_kernel

        return symmetry_kernel(self)


def radial_values(r: Tensor, functions: Sequence[RadialFunction], cutoff: float) -> Tensor:
    """Radial functions at distances (Å), ``(n,) -> (n, n_functions)``."""

    def column(get: str) -> Tensor:
        return r.new_tensor([getattr(function, get) for function in functions])

    gap = r[:, None] - column("shift")
    # Far from a shell nothing is left; floats below the normal range would only be slow.
    values = torch.exp((-column("eta") * gap.square()).clamp_min(-80.0))
    if any(function.kappa for function in functions):
        values = values * torch.cos(column("kappa") * r[:, None])
    return values * cosine_cutoff(r, cutoff)[:, None]


def legendre_factors(zeta: int, sign: int) -> list[float]:
    """Factors b_l of ``(1 + λ x)^ζ = Σ_l b_l P_l(x)``, l from 0 to ζ.

    ``b_l = λ^l (2 l + 1) 2^ζ ζ!² / ((ζ - l)! (ζ + l + 1)!)``, from Rodrigues' formula by partial
    integration; they are all positive for λ = 1, and so lose no digits.
    """
    top = 2**zeta * math.factorial(zeta) ** 2
    return [
        sign**degree
        * ((2 * degree + 1) * top)
        / (math.factorial(zeta - degree) * math.factorial(zeta + degree + 1))
        for degree in range(zeta + 1)
    ]
