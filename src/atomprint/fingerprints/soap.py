"""SOAP power spectrum, in dscribe's and featomic's conventions, by channels or by species."""

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from atomprint.fingerprints.base import Fingerprint
from atomprint.fingerprints.channels import SHORT_NAMES, channel_table
from atomprint.fingerprints.harmonics import solid_harmonics
from atomprint.fingerprints.kernels.expansion import Expansion, RadialTable
from atomprint.fingerprints.soap_columns import coefficient_products, pairs_of, power_columns
from atomprint.fingerprints.soap_radial import (
    Float64s,
    gto_dscribe,
    gto_featomic,
    polynomial_dscribe,
    tabulate,
)
from atomprint.fingerprints.soap_settings import SOAPSettings, SOAPWeighting
from atomprint.fingerprints.sums import Chunks
from atomprint.fingerprints.tables import look_up
from atomprint.ground import elements
from atomprint.ground.errors import UsageError
from atomprint.structures.graph import GraphBatch

if TYPE_CHECKING:
    from atomprint.fingerprints.kernels.base import FusedKernel

__all__ = ["SOAP", "SOAPSettings", "SOAPWeighting"]


class SOAP(Fingerprint):
    r"""SOAP power spectrum.

    The density of channel (or species) a about an atom, :math:`ρ^a(r) = Σ_j w_a(Z_j) f(r_j)
    e^{-|r-r_j|²/2σ²}` with the atom itself included, is expanded in :math:`g_{nl}(r) Y_{lm}`;
    then, in dscribe's convention,

    .. math::
        p^{ab}_{nn'l} = π \sqrt{8/(2l+1)} Σ_m c^a_{nlm} c^b_{n'lm}

    (Himanen et al., Comput. Phys. Commun. 247, 106949, 2020); in featomic's the density has the
    factor :math:`(πσ²)^{-3/4}` and the prefactor is :math:`(-1)^l/\sqrt{2l+1}`, times √2 for a ≠ b.
    Radial functions: :mod:`atomprint.fingerprints.soap_radial`.

    Columns: pair of densities, then l, n and n' ≥ n (all n' for different densities).

    Parameters
    ----------
    settings
        See :class:`SOAPSettings`.

    Attributes
    ----------
    radial_table
        Radial integrals with all factors that depend on the distance alone, float64; column
        ``l * n_max + n``.

    Raises
    ------
    UsageError
        If float64 cannot tell the radial functions apart; when called, if a crystal has an element
        that is not in the list of species.
    """

    table: Tensor
    radial: Tensor
    radial32: Tensor
    at_center: Tensor
    selection: Tensor
    left: Tensor
    right: Tensor
    factors: Tensor

    settings_class = SOAPSettings
    settings: SOAPSettings

    def prepare(self) -> None:
        """See :meth:`Fingerprint.prepare`."""
        settings = self.settings
        self.cutoff = settings.reach
        self.n_max, self.l_max = settings.n_max, settings.l_max
        self.mean_first = settings.average == "inner" and self.per == "crystal"
        self.by_species = settings.resolution != "channels"
        names = list(settings.species or (SHORT_NAMES[name] for name in settings.channels))
        self.register_buffer("table", _density_weights(settings))
        self.n_densities = self.table.shape[1]

        # The table is the same for all densities, and settings that share it are common.
        shared = settings.model_copy(
            update={
                "resolution": "channels",
                "species": None,
                "channels": ("one",),
                "cross_channels": False,
                "scale_channels": True,
                "per": "atom",
                "pool": ("mean",),
                "average": "outer",
            }
        )
        self.radial_table, at_center = _radial_table(shared)
        # A copy: loading weights writes into buffers, and the table is shared.
        radial = torch.from_numpy(self.radial_table.coefficients[0].copy())
        self.register_buffer("radial", radial)
        # Kept beside the float64 table so that it is not converted in every call.
        self.register_buffer("radial32", radial.float(), persistent=False)
        self.register_buffer("at_center", torch.from_numpy(at_center.copy()))

        pairs = pairs_of(settings.resolution, names, settings.cross_channels)
        self.columns = power_columns(pairs, self.n_max, self.l_max, settings.convention)
        self.register_buffer("selection", torch.from_numpy(self.columns.places))
        self.register_buffer("left", torch.from_numpy(self.columns.left))
        self.register_buffer("right", torch.from_numpy(self.columns.right))
        self.register_buffer("factors", torch.from_numpy(self.columns.factors))
        unit = "Å^3" if settings.convention == "dscribe" else "1"
        self.name_columns([f"soap.{label}" for label in self.columns.labels], unit)
        self.exempt = self._exemptions()

    def _exemptions(self) -> dict[str, str]:
        """Laws that cannot hold with these settings."""
        settings = self.settings
        if settings.cutoff_function == "cosine" or self.cutoff < settings.cutoff:
            return {}
        if settings.convention == "featomic":
            return {"smooth": "without a cutoff function a neighbour appears at once, fully"}
        if settings.weighting is not None and self.cutoff == settings.weighting.r0:
            return {}
        return {
            "smooth": "as in dscribe, a Gaussian appears at once, with amplitude 0.001 at r_cut"
        }

    def make_kernel(self) -> "FusedKernel | None":
        """See :meth:`Fingerprint.make_kernel`."""
        from atomprint.fingerprints.kernels.quadratic import QuadraticKernel

        return QuadraticKernel(self.expansion())

    def expansion(self) -> Expansion:
        """These settings as an expansion: its products, or itself for the inner average."""
        products = self.columns.products()
        if self.mean_first:
            products = coefficient_products(self.n_densities, self.n_max, self.l_max)
        degrees = np.arange(self.l_max + 1)
        weights = self.table.cpu().numpy()
        center = np.zeros((1, self.l_max + 1, self.n_max))
        center[0, 0] = self.at_center.cpu().numpy()
        return Expansion(
            cutoff=self.cutoff,
            table=self.radial_table,
            table_of_element=np.zeros(elements.MAX_Z + 1, dtype=np.int64),
            weights=weights,
            n_radial=self.n_max,
            degrees=degrees,
            columns=degrees * self.n_max,
            center_weights=weights,
            center=center,
            products=products,
        )

    def check_elements(self, numbers: Tensor) -> None:
        """Refuse atomic numbers that are not among the settings' species.

        Raises
        ------
        UsageError
            With the elements that are missing.
        """
        species = self.settings.species
        if species is None:
            return
        known = {elements.atomic_number[symbol] for symbol in species}
        missing = sorted(set(torch.unique(numbers).tolist()) - known)
        if missing:
            names = ", ".join(elements.symbols[number] for number in missing)
            raise UsageError(
                f"soap: the crystals hold {names}, which the setting species does not list; add "
                "them to species"
            )

    def forward(self, graph: GraphBatch) -> Tensor:
        """See :meth:`Fingerprint.forward`."""
        self.check_elements(graph.numbers)
        return super().forward(graph)

    def reference(self, graph: GraphBatch) -> Tensor:
        """See :meth:`Fingerprint.reference`."""
        self.check_elements(graph.numbers)
        return super().reference(graph)

    def summands(self, graph: GraphBatch) -> Tensor:
        """Rows of atoms; of the inner average all coefficients, by l, density, n and m."""
        if not self.mean_first:
            return super().summands(graph)
        blocks = self._coefficients(graph.within(self.cutoff))
        return torch.cat([block.flatten(1) for block in blocks], dim=1)

    @property
    def n_summands(self) -> int:
        """See :meth:`Fingerprint.n_summands`."""
        if not self.mean_first:
            return super().n_summands
        return self.n_densities * self.n_max * (self.l_max + 1) ** 2

    def of_mean(self, means: Tensor) -> Tensor:
        """Power spectra of the mean coefficients."""
        n = self.n_densities * self.n_max
        sizes = [n * (2 * degree + 1) for degree in range(self.l_max + 1)]
        blocks = torch.split(means, sizes, dim=1)
        return self._power_spectrum([block.view(len(means), n, -1) for block in blocks])

    def per_atom(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms, n_columns)``."""
        return self._power_spectrum(self._coefficients(graph.within(self.cutoff)))

    def _power_spectrum(self, coefficients: list[Tensor]) -> Tensor:
        """Columns of the settings from coefficients of each l, ``(n, n_columns)``.

        Only pairs of densities that have columns are multiplied: with many species the matrix of
        all pairs would be far larger than the columns.
        """
        blocks = []
        for degree, block in enumerate(coefficients):
            by_density = block.view(len(block), self.n_densities, self.n_max, 2 * degree + 1)
            product = by_density[:, self.left] @ by_density[:, self.right].mT
            blocks.append(product * self.factors.to(block)[:, degree, None, None])
        return torch.stack(blocks, dim=1).flatten(1)[:, self.selection]

    def _coefficients(self, graph: GraphBatch) -> list[Tensor]:
        """Expansion coefficients, for each l ``(n_atoms, n_densities * n_max, 2l + 1)``."""
        table = self.table.to(graph.distances)
        blocks = self._by_species(graph) if self.by_species else self._by_weights(graph, table)
        # The atom itself, at r = 0, has the l = 0 part only.
        itself = table[graph.numbers][:, :, None] * self.at_center.to(table)
        blocks[0] = blocks[0] + itself.flatten(1)[:, :, None]
        return blocks

    def _by_weights(self, graph: GraphBatch, table: Tensor) -> list[Tensor]:
        """Sums over neighbours, where every neighbour has a part in all densities."""
        r = graph.distances
        weights = table[graph.numbers[graph.neighbor_index]]
        chunks = Chunks(graph.center_index, graph.n_atoms)
        packed = chunks.pack(
            torch.cat([graph.edge_vectors / r[:, None], r[:, None], weights], dim=1)
        )
        harmonics = solid_harmonics(packed[:, :3], self.l_max)
        radial = self._radial(packed[:, 3])
        left = (radial[:, :, None, :] * packed[:, None, 4:, None]).flatten(2)
        return [
            chunks.sum_outer(left[:, degree], harmonics[:, degree**2 : (degree + 1) ** 2])
            for degree in range(self.l_max + 1)
        ]

    def _by_species(self, graph: GraphBatch) -> list[Tensor]:
        """Sums over neighbours, where every neighbour belongs to one density.

        The sums are over neighbours of one atom and one species, and only those that there are.
        """
        species = self.settings.species or ()
        slots = torch.zeros(elements.MAX_Z + 1, dtype=torch.int64, device=graph.device)
        known = [elements.atomic_number[symbol] for symbol in species]
        slots[known] = torch.arange(len(known), device=graph.device)
        key = graph.center_index * self.n_densities + slots[graph.numbers[graph.neighbor_index]]
        order = torch.argsort(key, stable=True)
        target, index = torch.unique_consecutive(key[order], return_inverse=True)
        chunks = Chunks(index, len(target))
        r = graph.distances[order]
        one = torch.ones_like(r)
        packed = chunks.pack(
            torch.stack([*(graph.edge_vectors[order] / r[:, None]).T, r, one], dim=1)
        )
        harmonics = solid_harmonics(packed[:, :3], self.l_max)
        radial = self._radial(packed[:, 3]) * packed[:, 4, None, None]
        blocks = []
        for degree in range(self.l_max + 1):
            sums = chunks.sum_outer(radial[:, degree], harmonics[:, degree**2 : (degree + 1) ** 2])
            shape = (graph.n_atoms * self.n_densities, *sums.shape[1:])
            block = sums.new_zeros(shape).index_copy(0, target, sums)
            block = block.view(graph.n_atoms, self.n_densities, *sums.shape[1:])
            if self.settings.resolution == "mu1nu1":
                known_sum = block[:, :-1].sum(dim=1, keepdim=True)
                block = torch.cat([block[:, :-1], known_sum], dim=1)
            blocks.append(block.flatten(1, 2))
        return blocks

    def _radial(self, r: Tensor) -> Tensor:
        """Orthonormal radial integrals at distances, ``(n_edges, l_max + 1, n_max)``.

        Piecewise cubics of the tabulated integral and its derivative. The integrals are mixed to
        orthonormal ones before they are tabulated, in float64: mixing has large coefficients of
        both signs, and done after the sum over neighbours it would cost float32 three digits.
        """
        table = self.radial32 if r.dtype == torch.float32 else self.radial
        position = (r - self.radial_table.start) / self.radial_table.step
        return look_up(position, table.to(r)).view(-1, self.l_max + 1, self.n_max)


def _density_weights(settings: SOAPSettings) -> Tensor:
    """Weights of every element in every density, ``(119, n_densities)`` float64."""
    if settings.species is None:
        return channel_table(settings.channels, settings.scale_channels)
    numbers = [elements.atomic_number[symbol] for symbol in settings.species]
    table = torch.zeros(elements.MAX_Z + 1, len(numbers), dtype=torch.float64)
    table[numbers, range(len(numbers))] = 1.0
    if settings.resolution == "mu1nu1":
        table = torch.cat([table, table.sum(dim=1, keepdim=True)], dim=1)
    return table


@lru_cache(maxsize=16)
def _radial_table(settings: SOAPSettings) -> tuple[RadialTable, Float64s]:
    """Tabulate the radial integrals; and those of the centre atom times Y_00, ``(n_max,)``."""
    makers = {
        ("dscribe", "gto"): gto_dscribe,
        ("dscribe", "polynomial"): polynomial_dscribe,
        ("featomic", "gto"): gto_featomic,
    }
    make = makers[settings.convention, settings.basis]
    radial = make(settings.cutoff, settings.sigma, settings.n_max, settings.l_max)
    weight = settings.weight_of_distance()
    width = settings.cutoff_width or math.inf
    table = tabulate(radial, weight, settings.reach, settings.kink, settings.n_max, width)
    at_zero = radial(np.zeros(1))[0][0, : settings.n_max]
    return table, at_zero * settings.weight_of_center() / math.sqrt(4 * math.pi)
