"""Settings of SOAP, and what of them depends on the distance alone."""

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from atomprint.fingerprints.base import FingerprintSpec
from atomprint.fingerprints.channels import ChannelName
from atomprint.fingerprints.cutoffs import CutoffFunction
from atomprint.fingerprints.soap_columns import Resolution, count_columns
from atomprint.fingerprints.soap_radial import THRESHOLD, Float64s, Radial
from atomprint.ground import elements
from atomprint.ground.settings import Settings

if TYPE_CHECKING:
    from atomprint.fingerprints.soap import SOAP

MOST_COLUMNS = 500_000
"""Columns beyond these are refused: a row of 500,000 has 4 MB, and its names 40 MB."""


class SOAPWeighting(Settings):
    """Weight of a neighbour's density by its distance, dscribe's ``weighting``."""

    function: Literal["poly", "pow", "exp"] = Field(
        "poly",
        description="poly: c (1 + 2(r/r0)³ - 3(r/r0)²)^m up to r0 and 0 beyond. "
        "pow: c / (d + (r/r0)^m). exp: c / (d + exp(-r/r0)).",
    )
    r0: float = Field(description="Scale of the distance, in Å.", ge=0.1)
    c: float = Field(1.0, description="Factor of the whole.", ge=0)
    m: int = Field(
        1,
        description="poly and pow: the exponent, a whole number (others have derivatives that no "
        "table holds).",
        ge=1,
        le=64,
    )
    d: float = Field(1.0, description="pow and exp: the offset d; above 0 for pow.", ge=0)

    @model_validator(mode="after")
    def _finite_at_zero(self) -> "SOAPWeighting":
        if self.function == "pow" and self.d == 0:
            raise ValueError("weighting pow is infinite at r = 0 with d = 0; give d above 0")
        return self

    def __call__(self, r: Float64s) -> tuple[Float64s, Float64s]:
        """Value and slope at distances; the formula of poly goes on beyond r0."""
        x = r / self.r0
        if self.function == "poly":
            base = 1 + 2 * x**3 - 3 * x**2
            slope = self.m * base ** (self.m - 1) * (6 * x**2 - 6 * x) / self.r0
            return self.c * base**self.m, self.c * slope
        power = x**self.m if self.function == "pow" else np.exp(-x)
        change = self.m * x ** (self.m - 1) if self.function == "pow" else -power
        below = self.d + power
        return self.c / below, -self.c * change / self.r0 / below**2


class SOAPSettings(FingerprintSpec):
    """Smooth overlap of atomic positions (Bartók et al., Phys. Rev. B 87, 184115, 2013)."""

    kind: Literal["soap"] = "soap"
    convention: Literal["dscribe", "featomic"] = Field(
        "dscribe",
        description="Whose numbers: radial basis, density and prefactor of dscribe or featomic.",
    )
    basis: Literal["gto", "polynomial"] = Field(
        "gto", description="Radial functions; polynomial is dscribe's only."
    )
    average: Literal["outer", "inner"] = Field(
        "outer",
        description="Per crystal only. outer: mean of the atoms' power spectra. inner: power "
        "spectrum of the mean coefficients.",
    )
    cutoff: float = Field(
        5.0,
        description="r_cut in Å, where the radial basis ends. In dscribe's convention without a "
        "cutoff function Gaussians that reach inside count too, and the graph must reach 3.717 σ "
        "further.",
        gt=1.0,
    )
    n_max: int = Field(8, description="Number of radial functions.", ge=1, le=16)
    l_max: int = Field(6, description="Largest degree of the spherical harmonics.", ge=0, le=12)
    sigma: float = Field(0.5, description="Width of an atom's Gaussian density, in Å.", gt=0)
    cutoff_function: CutoffFunction = Field(
        "none",
        description="none: every neighbour within reach counts fully, as in dscribe and with "
        "featomic's Step. cosine: only neighbours within r_cut, their density going smoothly to 0 "
        "there, as with featomic's ShiftedCosine, and for training targets.",
    )
    cutoff_width: float | None = Field(
        None,
        description="Width in Å of the shell below r_cut over which the cosine falls from 1 to 0; "
        "none: from r = 0 on.",
        ge=0.05,
    )
    weighting: SOAPWeighting | None = Field(
        None, description="Weight of neighbours by distance; none: all count fully."
    )
    center_weight: float | None = Field(
        None,
        description="Weight of the centre atom's own density, dscribe's w0 and featomic's "
        "center_atom_weight; none: the weighting at r = 0, or 1.",
        ge=0,
    )
    resolution: Resolution = Field(
        "channels",
        description="What densities there are. channels: one for every element channel (one alone "
        "is dscribe's compression mu2). crossover: one for every species. full: one for every "
        "species, and products between species too (dscribe's off). mu1nu1: products of every "
        "species with all together.",
    )
    species: tuple[str, ...] | None = Field(
        None,
        description="Elements that can occur, as symbols (or atomic numbers), in any order; needed "
        "with a resolution other than channels.",
    )
    channels: tuple[ChannelName, ...] = Field(
        ("one",),
        description="Element channels w: the density of channel c weighs every atom by w_c. With "
        "resolution channels only.",
        min_length=1,
    )
    cross_channels: bool = Field(
        False, description="Power spectra between different channels too, not only within one."
    )
    scale_channels: bool = Field(
        True, description="Divide every channel by its scale, so that it is of order 1."
    )

    @field_validator("species", mode="before")
    @classmethod
    def _sorted_symbols(cls, given: Any) -> Any:
        """Symbols by atomic number, each once, so that one set of elements has one id."""
        if given is None or isinstance(given, str) or not hasattr(given, "__iter__"):
            return given
        numbers = set()
        for one in given:
            number = elements.atomic_number.get(one) if isinstance(one, str) else int(one)
            if number is None or not 1 <= number <= elements.MAX_Z:
                raise ValueError(f"{one!r} is no element; give symbols or atomic numbers")
            numbers.add(number)
        if not numbers:
            raise ValueError("species is empty; name the elements that can occur")
        return tuple(elements.symbols[number] for number in sorted(numbers))

    @model_validator(mode="after")
    def _fits_together(self) -> "SOAPSettings":
        if self.average == "inner" and self.pool != ("mean",):
            raise ValueError(
                "average inner has one row a crystal, of mean coefficients; leave out pool"
            )
        if self.convention == "featomic" and self.basis != "gto":
            raise ValueError(f"convention featomic has the basis gto only, not {self.basis}")
        if self.convention == "featomic" and self.weighting is not None:
            raise ValueError("weighting is dscribe's; featomic's convention has none")
        by_quadrature = self.convention == "featomic" or self.basis == "polynomial"
        if by_quadrature and self.sigma < self.cutoff / 100:
            raise ValueError(
                f"sigma is below a hundredth of the cutoff, {self.cutoff} Å, too narrow for the "
                "radial integrals; raise it"
            )
        if self.cutoff_width is not None and self.cutoff_function == "none":
            raise ValueError("cutoff_width needs cutoff_function cosine")
        if self.cutoff_width is not None and self.cutoff_width > self.cutoff:
            raise ValueError(f"cutoff_width is above the cutoff, {self.cutoff} Å; lower it")
        if self.resolution == "channels":
            if self.species is not None:
                raise ValueError(
                    "species belongs to a resolution by species; add resolution mu1nu1, crossover "
                    "or full"
                )
            return self
        if self.species is None:
            raise ValueError(
                f"resolution {self.resolution} needs species: name the elements that can occur"
            )
        if self.channels != ("one",) or self.cross_channels:
            raise ValueError(
                f"channels belong to resolution channels, not to {self.resolution}; leave them out"
            )
        size = count_columns(self.resolution, len(self.species), self.n_max, self.l_max)
        if size > MOST_COLUMNS:
            raise ValueError(
                f"resolution {self.resolution} of {len(self.species)} species has {size:,} "
                f"columns, more than {MOST_COLUMNS:,}; name fewer species, lower n_max or l_max, "
                "or take crossover, mu1nu1 or channels"
            )
        return self

    def build(self) -> "SOAP":
        """Make the fingerprint."""
        from atomprint.fingerprints.soap import SOAP

        return SOAP(self)

    @property
    def reach(self) -> float:
        """Distance in Å at and beyond which a neighbour adds nothing."""
        pad = 0.0
        if self.convention == "dscribe" and self.cutoff_function == "none":
            pad = self.sigma * math.sqrt(-2 * math.log(THRESHOLD))
        reach = self.cutoff + pad
        ends = self.weighting is not None and self.weighting.function == "poly"
        return min(reach, self.weighting.r0) if ends and self.weighting else reach

    @property
    def kink(self) -> float:
        """Distance in Å within reach where the second derivative of the weight jumps; or 0."""
        if self.cutoff_width is None or self.cutoff - self.cutoff_width >= self.reach:
            return 0.0
        return self.cutoff - self.cutoff_width

    def weight_of_distance(self) -> Radial:
        """All that multiplies a neighbour's density and depends on its distance alone.

        Up to :attr:`reach`, and beyond it as the formulas go on: ``(n,)`` to two ``(n, 1)``.
        """
        weighting, r_cut = self.weighting, self.cutoff
        width = 0.0
        if self.cutoff_function == "cosine":
            width = r_cut if self.cutoff_width is None else self.cutoff_width

        def weight(r: Float64s) -> tuple[Float64s, Float64s]:
            value, slope = np.ones_like(r), np.zeros_like(r)
            if weighting is not None:
                value, slope = weighting(r)
            if width:
                phase = np.maximum(math.pi * (r - r_cut + width) / width, 0)
                taper, change = (1 + np.cos(phase)) / 2, -math.pi / (2 * width) * np.sin(phase)
                value, slope = value * taper, slope * taper + value * change
            return value[:, None], slope[:, None]

        return weight

    def weight_of_center(self) -> float:
        """Weight of the centre atom's own density."""
        if self.center_weight is not None:
            return self.center_weight
        return float(self.weighting(np.zeros(1))[0][0]) if self.weighting is not None else 1.0
