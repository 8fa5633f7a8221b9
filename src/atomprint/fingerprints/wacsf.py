"""Weighted atom-centred symmetry functions, whose width does not depend on the elements."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from atomprint.fingerprints.base import FingerprintSpec
from atomprint.fingerprints.channels import SHORT_NAMES, ChannelName, channel_table
from atomprint.fingerprints.symmetry import AngularFunction, RadialFunction, SymmetryFunctions

Eta = Annotated[float, Field(ge=0)]
Zeta = Annotated[float, Field(ge=1, le=1024)]


class WACSFSettings(FingerprintSpec):
    """Weighted symmetry functions (Gastegger et al., J. Chem. Phys. 148, 241709, 2018)."""

    kind: Literal["wacsf"] = "wacsf"
    cutoff: float = Field(6.0, description="Neighbours are closer than this, in Å.", gt=1.5)
    channels: tuple[ChannelName, ...] = Field(
        ("Z",),
        description="Element channels w: a neighbour counts w_j, a pair w_j w_k; the paper's is Z.",
        min_length=1,
    )
    scale_channels: bool = Field(
        False,
        description="Divide every channel by its scale, so that it is of order 1; the paper and "
        "SchNetPack take atomic numbers as they are.",
    )
    n_radial: int = Field(
        22, description="Radial functions on a grid from 0.5 Å to 0.5 Å below the cutoff.", ge=0
    )
    n_angular: int = Field(
        5,
        description="Radial parts of angular functions, from 1 Å to 0.5 Å below the cutoff.",
        ge=0,
    )
    radial_grid: Literal["shifted", "centered"] = Field(
        "shifted",
        description="shifted: Gaussians at the grid's points μ, η = 1 / 2Δ², Δ the spacing. "
        "centered: Gaussians at 0 of widths o from 1 Å on, η = 1 / 2o².",
    )
    angular_grid: Literal["shifted", "centered"] = Field(
        "centered", description="The same for the radial parts of angular functions."
    )
    radial: tuple[tuple[Eta, float], ...] | None = Field(
        None, description="(η, μ) in Å⁻² and Å of every radial function; replaces the grid."
    )
    angular: tuple[tuple[Eta, float], ...] | None = Field(
        None, description="(η, μ) of every radial part of angular functions; replaces the grid."
    )
    zetas: tuple[Zeta, ...] = Field(
        (1.0,),
        description="Exponents ζ; each is taken with λ = -1 and λ = 1. Integers up to 16 without "
        "crossterms need no loop over pairs of neighbours.",
    )
    crossterms: bool = Field(
        False,
        description="Whether the distance r_jk between the two neighbours counts in angular "
        "functions, as in the paper; SchNetPack leaves it out by default.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        """A grid of shifted Gaussians takes its width from its spacing; some column must be."""
        for name, grid, count, given in (
            ("n_radial", self.radial_grid, self.n_radial, self.radial),
            ("n_angular", self.angular_grid, self.n_angular, self.angular),
        ):
            if given is None and grid == "shifted" and count == 1:
                raise ValueError(f"{name}: a grid of one point has no spacing; give 2 or more")
        n_radial = self.n_radial if self.radial is None else len(self.radial)
        n_angular = self.n_angular if self.angular is None else len(self.angular)
        if n_radial + n_angular * len(self.zetas) == 0:
            raise ValueError("no symmetry function is asked for: give n_radial or n_angular")
        return self

    def build(self) -> "WACSF":
        """Make the fingerprint."""
        return WACSF(self)


class WACSF(SymmetryFunctions):
    r"""Weighted atom-centred symmetry functions.

    .. math::
        W^{rad} &= Σ_j w_j e^{-η(r_j-μ)^2} f_c(r_j) \\
        W^{ang} &= 2^{1-ζ} Σ_{j<k} w_j w_k (1 + λ \cosθ_{jik})^ζ g(r_j) g(r_k) [g(r_{jk})],
        \quad g(r) = e^{-η(r-μ)^2} f_c(r)

    (Gastegger et al. 2018, eqs. 7-8). Columns: for every channel the radial functions; then for
    every channel the angular ones: radial part, then λ (-1, then 1), then ζ. With one channel this
    is SchNetPack's order.

    Parameters
    ----------
    settings
        See :class:`WACSFSettings`.
    """

    settings_class = WACSFSettings
    settings: WACSFSettings

    def prepare(self) -> None:
        """See :meth:`Fingerprint.prepare`."""
        settings = self.settings
        self.cutoff = settings.cutoff
        stop = settings.cutoff - 0.5
        start = 0.5 if settings.radial_grid == "shifted" else 1.0
        plain = settings.radial
        if plain is None:
            plain = _grid(settings.radial_grid, start, stop, settings.n_radial)
        pairs = settings.angular
        if pairs is None:
            pairs = _grid(settings.angular_grid, 1.0, stop, settings.n_angular)
        angular, names = [], []
        for k, (eta, shift) in enumerate(pairs):
            for sign, letter in ((-1, "m"), (1, "p")):
                for zeta in settings.zetas:
                    angular.append(AngularFunction(eta, shift, zeta, sign, settings.crossterms))
                    names.append(f"ang{k}{letter}z{zeta:g}")
        self.set_functions(
            [RadialFunction(eta, shift) for eta, shift in plain],
            angular,
            None,
            channel_table(settings.channels, settings.scale_channels),
        )
        labels = []
        channels = [SHORT_NAMES[name] for name in settings.channels]
        for channel in channels:
            labels += [f"wacsf.{channel}.rad{k}" for k in range(len(plain))]
        for channel in channels:
            labels += [f"wacsf.{channel}.{name}" for name in names]
        self.name_columns(labels, "1")


def _grid(grid: str, start: float, stop: float, count: int) -> tuple[tuple[float, float], ...]:
    """(η, μ) of evenly spaced Gaussians, or of centred ones with evenly spaced widths."""
    step = (stop - start) / (count - 1) if count > 1 else math.inf
    points = [start + k * step if k else start for k in range(count)]
    if grid == "shifted":
        return tuple((0.5 / step**2, point) for point in points)
    return tuple((0.5 / point**2, 0.0) for point in points)
