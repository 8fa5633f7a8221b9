"""Embedded atom density: squared moments of the neighbours' density in Gaussian shells."""

import math
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from atomprint.fingerprints.base import Fingerprint, FingerprintSpec
from atomprint.fingerprints.channels import (
    DEFAULT_CHANNELS,
    SHORT_NAMES,
    ChannelName,
    channel_table,
)
from atomprint.fingerprints.cutoffs import cosine_cutoff
from atomprint.fingerprints.sums import Chunks
from atomprint.structures.graph import GraphBatch

if TYPE_CHECKING:
    from atomprint.fingerprints.kernels.base import FusedKernel
    from atomprint.fingerprints.kernels.expansion import Expansion

# Intervals of the table of radial functions, for the fused kernel.
_N_INTERVALS = 2048


class EADSettings(FingerprintSpec):
    """Embedded atom density (Zhang, Hu, Jiang, J. Phys. Chem. Lett. 10, 4962, 2019)."""

    kind: Literal["ead"] = "ead"
    cutoff: float = Field(6.0, description="Neighbours are closer than this, in Å.", gt=0)
    channels: tuple[ChannelName, ...] = Field(
        DEFAULT_CHANNELS,
        description="Element channels c_j, one block of columns each.",
        min_length=1,
    )
    scale_channels: bool = Field(
        True, description="Divide every channel by its scale, so that it is of order 1."
    )
    l_max: int = Field(3, description="Largest angular moment L.", ge=0, le=8)
    n_shells: int = Field(
        8, description="Number of Gaussian shells, evenly spaced from first_shell on.", ge=1
    )
    first_shell: float = Field(1.0, description="Centre of the first shell, in Å.", ge=0)
    shells: tuple[Annotated[float, Field(ge=0)], ...] | None = Field(
        None,
        description="Centres r_s of the shells in Å; replaces n_shells and first_shell.",
        min_length=1,
    )
    eta: float | None = Field(
        None,
        description="Sharpness of the shells in Å⁻²; by default 1 / Δ², Δ the spacing of shells.",
        gt=0,
    )
    convention: Literal["paper", "pyxtal"] = Field(
        "paper",
        description="paper: block L sums the monomials of degree L (Å^2L). pyxtal: as in pyxtal_ff,"
        " block L sums all degrees up to L, in units of the cutoff (dimensionless).",
    )
    learnable: bool = Field(
        False, description="Let the element weights c_j be trained, from the channels' numbers on."
    )

    @model_validator(mode="after")
    def _check_shells(self) -> Self:
        """Shells must be where neighbours are, and have a width."""
        if self.shells is None and self.first_shell >= self.cutoff:
            raise ValueError("first_shell must be below the cutoff")
        if self.shells is not None and self.eta is None and len(set(self.shells)) < 2:
            raise ValueError("a single shell has no spacing to take its width from: give eta too")
        return self

    def build(self) -> "EAD":
        """Make the fingerprint."""
        return EAD(self)


class EAD(Fingerprint):
    r"""Embedded atom density.

    .. math::
        ρ_i^{L,η,r_s} = Σ_{l_x+l_y+l_z=L} \frac{L!}{l_x! l_y! l_z!}
        \Big[Σ_j c_j x^{l_x} y^{l_y} z^{l_z} e^{-η(r-r_s)^2} f_c(r)\Big]^2

    (Zhang et al. 2019, eqs. 3-5), with f_c the cosine cutoff. Columns: channel, then L, then shell.

    Parameters
    ----------
    settings
        See :class:`EADSettings`.
    """

    table: Tensor
    shells: Tensor
    combine: Tensor

    settings_class = EADSettings
    settings: EADSettings

    def prepare(self) -> None:
        """See :meth:`Fingerprint.prepare`."""
        settings = self.settings
        self.cutoff = settings.cutoff
        spacing = (settings.cutoff - settings.first_shell) / settings.n_shells
        evenly = tuple(settings.first_shell + k * spacing for k in range(settings.n_shells))
        shells = settings.shells or evenly
        if settings.shells and len(shells) > 1:
            spacing = (max(shells) - min(shells)) / (len(shells) - 1)
        self.eta = settings.eta if settings.eta is not None else 1 / spacing**2
        self.l_max = settings.l_max
        self.register_buffer("shells", torch.tensor(shells, dtype=torch.float64))
        table = channel_table(settings.channels, settings.scale_channels)
        if settings.learnable:
            self.table = nn.Parameter(table.to(torch.get_default_dtype()))
        else:
            self.register_buffer("table", table)
        self.powers = _powers(settings.l_max)
        self.register_buffer("combine", self._combination(settings.convention))
        labels, units = [], []
        for name in settings.channels:
            for degree in range(settings.l_max + 1):
                for k in range(len(shells)):
                    labels.append(f"ead.{SHORT_NAMES[name]}.L{degree}k{k}")
                    plain = settings.convention == "pyxtal" or degree == 0
                    units.append("1" if plain else f"Å^{2 * degree}")
        self.name_columns(labels, units)

    def _combination(self, convention: str) -> Tensor:
        """How squares of moments (in units of the cutoff) add to blocks, (n_moments, l_max + 1)."""
        matrix = torch.zeros(len(self.powers), self.l_max + 1, dtype=torch.float64)
        for row, power in enumerate(self.powers):
            for block in range(self.l_max + 1):
                factor = math.factorial(block) / math.prod(math.factorial(n) for n in power)
                degree = sum(power)
                if convention == "paper" and degree == block:
                    matrix[row, block] = factor * self.cutoff ** (2 * degree)
                elif convention == "pyxtal" and degree <= block:
                    # pyxtal_ff divides block L by r_c^2L, whatever the degree of the monomial.
                    matrix[row, block] = factor * self.cutoff ** (2 * (degree - block))
        return matrix

    def expansion(self) -> "Expansion":
        """The same as squares of spherical-harmonic sums, for the fused kernel.

        ``ρ_L = Σ_jk g_j g_k (r_j · r_k)^L``, and ``cos^L`` is a sum of Legendre polynomials with
        factors that are all positive: no digit is lost.
        """
        from atomprint.fingerprints.kernels.expansion import Expansion, Products, hermite_table

        shells, n = self.shells.numpy(), len(self.shells)
        step = self.cutoff / _N_INTERVALS
        r = np.arange(_N_INTERVALS + 1)[:, None] * step
        gap, turn = r - shells, math.pi / self.cutoff
        shell = np.exp(-self.eta * gap**2)
        taper, taper_slope = 0.5 * (np.cos(turn * r) + 1), -0.5 * turn * np.sin(turn * r)
        radial = shell * taper
        slope = shell * taper_slope - 2 * self.eta * gap * radial
        values, slopes = [radial], [slope]
        for _ in range(self.l_max):
            values.append(values[-1] * r / self.cutoff)
            slopes.append((slopes[-1] * r + values[-2]) / self.cutoff)
        # Block (L, l): radial functions times (r / r_c)^L, harmonics of degree l = L, L - 2, ...
        blocks = [
            (power, degree) for power in range(self.l_max + 1) for degree in range(power, -1, -2)
        ]
        mix = np.zeros((len(blocks), self.l_max + 1))
        for k, (power, degree) in enumerate(blocks):
            legendre = np.polynomial.legendre.poly2leg([0.0] * power + [1.0])[degree]
            factor = legendre * 4 * math.pi / (2 * degree + 1)
            for block in range(power, self.l_max + 1):
                if self.settings.convention == "paper" and block == power:
                    mix[k, block] = factor * self.cutoff ** (2 * power)
                elif self.settings.convention == "pyxtal":
                    ratio = math.factorial(block) / math.factorial(power)
                    mix[k, block] = factor * ratio * self.cutoff ** (2 * (power - block))
        table = self.table.detach().double().numpy()
        n_channels = table.shape[1]
        indices = np.indices((n_channels, len(blocks), n), dtype=np.int64).reshape(3, -1)
        left = indices[0] * n + indices[2]
        return Expansion(
            cutoff=self.cutoff,
            table=hermite_table(0.0, step, np.concatenate(values, 1), np.concatenate(slopes, 1)),
            table_of_element=np.zeros(len(table), dtype=np.int64),
            weights=table,
            n_radial=n,
            degrees=np.array([degree for _, degree in blocks]),
            columns=np.array([power * n for power, _ in blocks]),
            center_weights=np.zeros_like(table),
            center=np.zeros((1, len(blocks), n)),
            products=Products(indices[1], left, left, np.ones(len(left))),
            mix=np.kron(np.eye(n_channels), np.kron(mix, np.eye(n))),
        )

    def make_kernel(self) -> "FusedKernel | None":
        """See :meth:`Fingerprint.make_kernel`; learnable weights change, and have none."""
        if self.settings.learnable:
            return None
        from atomprint.fingerprints.kernels.quadratic import QuadraticKernel

        return QuadraticKernel(self.expansion())

    def per_atom(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms, n_channels * (l_max + 1) * n_shells)``."""
        graph = graph.within(self.cutoff)
        weights = self.table.to(graph.positions)[graph.numbers][graph.neighbor_index]
        edges = torch.cat(
            [graph.edge_vectors / self.cutoff, graph.distances[:, None], weights], dim=1
        )
        chunks = Chunks(graph.center_index, graph.n_atoms)
        packed = chunks.pack(edges)
        vectors, r, weights = packed[:, :3], packed[:, 3:4], packed[:, 4:]
        gap = r - self.shells.to(r)
        # Far from a shell nothing is left; floats below the normal range would only be slow.
        exponent = (-self.eta * gap.square()).clamp_min(-80.0)
        radial = torch.exp(exponent) * cosine_cutoff(r, self.cutoff)
        left = (weights[:, :, None] * radial[:, None, :]).flatten(1)
        moments = chunks.sum_outer(left, _monomials(vectors, self.powers))
        density = moments.square() @ self.combine.to(moments)
        n_channels, n_shells = weights.shape[1], radial.shape[1]
        blocks = density.view(graph.n_atoms, n_channels, n_shells, self.l_max + 1)
        return blocks.transpose(2, 3).reshape(graph.n_atoms, -1)


def _powers(l_max: int) -> list[tuple[int, int, int]]:
    """Exponents (l_x, l_y, l_z) of all monomials up to a degree, lower degrees first."""
    return [
        (a, b, degree - a - b)
        for degree in range(l_max + 1)
        for a in range(degree, -1, -1)
        for b in range(degree - a, -1, -1)
    ]


def _monomials(vectors: Tensor, powers: list[tuple[int, int, int]]) -> Tensor:
    """``x^a y^b z^c`` of vectors ``(n_edges, 3)``, one column per exponent triple."""
    axes = vectors.unbind(-1)
    known = {(0, 0, 0): torch.ones_like(axes[0])}
    for power in powers[1:]:
        axis = next(k for k in range(3) if power[k] > 0)
        lower = tuple(n - (k == axis) for k, n in enumerate(power))
        known[power] = known[lower[0], lower[1], lower[2]] * axes[axis]
    return torch.stack([known[power] for power in powers], dim=-1)
