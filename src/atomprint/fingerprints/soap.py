"""SOAP power spectrum in the GTO basis, with element channels in place of species."""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from atomprint.fingerprints.base import Fingerprint, FingerprintSpec, crystal_mean
from atomprint.fingerprints.channels import SHORT_NAMES, ChannelName, channel_table
from atomprint.fingerprints.cutoffs import CutoffFunction, cosine_cutoff
from atomprint.fingerprints.harmonics import solid_harmonics
from atomprint.fingerprints.sums import Chunks
from atomprint.fingerprints.tables import look_up
from atomprint.ground.errors import UsageError
from atomprint.structures.graph import GraphBatch

# Gaussians and basis functions are followed down to this amplitude, dscribe's choice.
_THRESHOLD = 1e-3
# Intervals of the table of radial integrals: cubics then hold 11 digits (tests/fingerprints).
_N_INTERVALS = 2048
# Smallest to largest eigenvalue of the overlap of radial functions: below, rounding decides.
_INDEPENDENT = 1e-13


class SOAPSettings(FingerprintSpec):
    """Smooth overlap of atomic positions (Bartók et al., Phys. Rev. B 87, 184115, 2013)."""

    kind: Literal["soap"] = "soap"
    average: Literal["outer", "inner"] = Field(
        "outer",
        description="Per crystal only. outer: mean of the atoms' power spectra. inner: power "
        "spectrum of the mean coefficients.",
    )
    cutoff: float = Field(
        5.0,
        description="r_cut in Å, where the radial basis ends. Without a cutoff function Gaussians "
        "that reach inside count too, and the graph must reach 3.717 σ further.",
        gt=1.0,
    )
    n_max: int = Field(8, description="Number of radial functions.", ge=1, le=16)
    l_max: int = Field(6, description="Largest degree of the spherical harmonics.", ge=0, le=12)
    sigma: float = Field(0.5, description="Width of an atom's Gaussian density, in Å.", gt=0)
    cutoff_function: CutoffFunction = Field(
        "none",
        description="none: every neighbour within reach counts fully, as in dscribe. cosine: only "
        "neighbours within r_cut, their density going smoothly to 0 there, for training targets.",
    )
    channels: tuple[ChannelName, ...] = Field(
        ("one", "electronegativity", "covalent_radius"),
        description="Element channels w: the density of channel c weighs every atom by w_c.",
        min_length=1,
    )
    cross_channels: bool = Field(
        False, description="Power spectra between different channels too, not only within one."
    )
    scale_channels: bool = Field(
        True, description="Divide every channel by its scale, so that it is of order 1."
    )

    def build(self) -> "SOAP":
        """Make the fingerprint."""
        return SOAP(self)


class SOAP(Fingerprint):
    r"""SOAP power spectrum, in the convention of dscribe's ``rbf='gto'``.

    The density of channel c about an atom, :math:`ρ^c(r) = Σ_j w_c(Z_j) e^{-|r-r_j|²/2σ²}` with the
    atom itself included, is expanded in :math:`g_{nl}(r) Y_{lm}`; then

    .. math::
        p^{ab}_{nn'l} = π \sqrt{8/(2l+1)} Σ_m c^a_{nlm} c^b_{n'lm}

    With the one channel ``one`` this is dscribe's compression ``mu2``, and dscribe's uncompressed
    SOAP of a crystal of one species. The radial basis is Löwdin's orthonormalisation of
    :math:`r^l e^{-α_{nl} r²}` (Himanen et al., Comput. Phys. Commun. 247, 106949, 2020, sec. 2.4).

    Columns: channel (or pair of channels), then l, n and n' ≥ n (all n' for different channels).

    Parameters
    ----------
    settings
        See :class:`SOAPSettings`.
    """

    table: Tensor
    radial: Tensor
    radial32: Tensor
    at_center: Tensor
    selection: Tensor

    settings_class = SOAPSettings
    settings: SOAPSettings

    def prepare(self) -> None:
        """See :meth:`Fingerprint.prepare`."""
        settings = self.settings
        smooth = settings.cutoff_function == "cosine"
        pad = 0.0 if smooth else settings.sigma * math.sqrt(-2 * math.log(_THRESHOLD))
        self.cutoff = settings.cutoff + pad
        self.smooth = smooth
        self.inner = settings.average == "inner"
        self.r_cut, self.n_max, self.l_max = settings.cutoff, settings.n_max, settings.l_max
        self.n_channels = len(settings.channels)
        self.register_buffer("table", channel_table(settings.channels, settings.scale_channels))
        coefficients, at_center = _radial_table(
            self.r_cut, settings.sigma, self.n_max, self.l_max, self.cutoff
        )
        self.register_buffer("radial", coefficients)
        self.register_buffer("at_center", at_center / math.sqrt(4 * math.pi))
        self.step = self.cutoff / _N_INTERVALS
        # Kept beside the float64 table so that it is not converted in every call.
        self.register_buffer("radial32", coefficients.float(), persistent=False)
        self._select_columns(settings)
        if not smooth:
            self.exempt = {
                "smooth": "as in dscribe, a Gaussian appears at once, with amplitude 0.001 at r_cut"
            }

    def _select_columns(self, settings: SOAPSettings) -> None:
        """Set the labels, and which elements of the matrix ``c c^T`` they are."""
        names = [SHORT_NAMES[name] for name in settings.channels]
        n, width = self.n_max, self.n_max * self.n_channels
        columns: list[list[int]] = []
        labels: list[str] = []
        for first, second in (
            (a, b)
            for a in range(self.n_channels)
            for b in range(a, self.n_channels)
            if a == b or settings.cross_channels
        ):
            pair = names[first] if first == second else f"{names[first]}-{names[second]}"
            for degree in range(self.l_max + 1):
                for row in range(n):
                    for column in range(row if first == second else 0, n):
                        labels.append(f"soap.{pair}.n{row}n{column}l{degree}")
                        place = (first * n + row) * width + second * n + column
                        columns.append([degree, place])
        degrees, places = torch.tensor(columns).T
        self.register_buffer("selection", degrees * width**2 + places)
        self.name_columns(labels, "1")

    def reference(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms | n_crystals, n_features)``."""
        if not (self.per == "crystal" and self.inner):
            return super().reference(graph)
        coefficients = self._coefficients(graph.within(self.cutoff))
        return self._power_spectrum([crystal_mean(block, graph) for block in coefficients])

    def per_atom(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms, n_columns)``."""
        return self._power_spectrum(self._coefficients(graph.within(self.cutoff)))

    def _power_spectrum(self, coefficients: list[Tensor]) -> Tensor:
        """Columns of the settings from coefficients of each l, ``(n, n_columns)``."""
        blocks = []
        for degree, block in enumerate(coefficients):
            prefactor = math.pi * math.sqrt(8 / (2 * degree + 1))
            blocks.append((prefactor * torch.bmm(block, block.mT)).flatten(1))
        return torch.cat(blocks, dim=1)[:, self.selection]

    def _coefficients(self, graph: GraphBatch) -> list[Tensor]:
        """Expansion coefficients, for each l ``(n_atoms, n_channels * n_max, 2l + 1)``."""
        r = graph.distances
        table = self.table.to(r)[graph.numbers]
        weights = table[graph.neighbor_index]
        if self.smooth:
            weights = weights * cosine_cutoff(r, self.r_cut)[:, None]
        chunks = Chunks(graph.center_index, graph.n_atoms)
        packed = chunks.pack(
            torch.cat([graph.edge_vectors / r[:, None], r[:, None], weights], dim=1)
        )
        harmonics = solid_harmonics(packed[:, :3], self.l_max)
        radial = self._radial(packed[:, 3])
        left = (radial[:, :, None, :] * packed[:, None, 4:, None]).flatten(1)
        width = self.n_channels * self.n_max
        blocks = [
            chunks.sum_outer(
                left[:, degree * width : (degree + 1) * width],
                harmonics[:, degree**2 : (degree + 1) ** 2],
            )
            for degree in range(self.l_max + 1)
        ]
        # The atom itself, at r = 0, has the l = 0 part only.
        itself = (table[:, :, None] * self.at_center.to(r)).flatten(1)
        blocks[0] = blocks[0] + itself[:, :, None]
        return blocks

    def _radial(self, r: Tensor) -> Tensor:
        """Orthonormal radial integrals at distances, ``(n_edges, l_max + 1, n_max)``.

        Piecewise cubics of the tabulated integral and its derivative. The integrals are mixed to
        orthonormal ones before they are tabulated, in float64: mixing has large coefficients of
        both signs, and done after the sum over neighbours it would cost float32 three digits.
        """
        table = self.radial32 if r.dtype == torch.float32 else self.radial
        values = look_up(r / self.step, table.to(r))
        return values.view(-1, self.l_max + 1, self.n_max)


def _radial_table(
    r_cut: float, sigma: float, n_max: int, l_max: int, r_end: float
) -> tuple[Tensor, Tensor]:
    r"""Tabulate the orthonormal radial integrals from 0 to ``r_end``.

    .. math::
        R_{nl}(r) = Σ_{n'} β_{nn'l} \Big(\frac{π}{α_{n'l}+η}\Big)^{3/2}
        \Big(\frac{η}{α_{n'l}+η}\Big)^l r^l e^{-α_{n'l} η r² / (α_{n'l}+η)},\quad η = 1/2σ²

    Returns
    -------
    coefficients
        Of the cubics in t, the fraction of an interval: ``(n_intervals, 4, (l_max + 1) * n_max)``.
    at_center
        R_n0(0), ``(n_max,)``.
    """
    float64 = torch.float64
    # Basis function n has fallen to the threshold at radius a_n, spread from 1 Å to r_cut.
    a = torch.linspace(1.0, r_cut, n_max, dtype=float64)
    eta = 1 / (2 * sigma**2)
    r = torch.linspace(0, r_end, _N_INTERVALS + 1, dtype=float64)[:, None]
    values, slopes = [], []
    for degree in range(l_max + 1):
        alpha = -torch.log(_THRESHOLD / a**degree) / a**2
        power = degree + 1.5
        overlap = 0.5 * math.gamma(power) * (alpha[:, None] + alpha) ** -power
        eigenvalues, vectors = torch.linalg.eigh(overlap)
        if eigenvalues[0] < _INDEPENDENT * eigenvalues[-1]:
            raise UsageError(
                f"soap: {n_max} radial functions within {r_cut} Å are too alike at l = {degree} to "
                "be told apart in float64; lower n_max or l_max"
            )
        beta = vectors @ torch.diag(eigenvalues**-0.5) @ vectors.T
        decay = alpha * eta / (alpha + eta)
        size = (math.pi / (alpha + eta)) ** 1.5 * (eta / (alpha + eta)) ** degree
        gaussian = size * torch.exp(-decay * r**2)
        slope = -2 * decay * r ** (degree + 1) * gaussian
        if degree > 0:
            slope = slope + degree * r ** (degree - 1) * gaussian
        values.append((r**degree * gaussian) @ beta.T)
        slopes.append(slope @ beta.T)
    value = torch.cat(values, dim=1)
    slope = torch.cat(slopes, dim=1) * (r_end / _N_INTERVALS)
    rise = value[1:] - value[:-1]
    # Hermite's cubic: values and slopes of both ends of the interval.
    cubic = [
        value[:-1],
        slope[:-1],
        3 * rise - 2 * slope[:-1] - slope[1:],
        -2 * rise + slope[:-1] + slope[1:],
    ]
    return torch.stack(cubic, dim=1), value[0, :n_max]
