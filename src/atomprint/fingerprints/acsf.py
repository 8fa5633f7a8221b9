"""Atom-centred symmetry functions of Behler, by species or by element channels."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from atomprint.fingerprints.base import FingerprintSpec
from atomprint.fingerprints.channels import (
    DEFAULT_CHANNELS,
    SHORT_NAMES,
    ChannelName,
    channel_table,
)
from atomprint.fingerprints.symmetry import AngularFunction, RadialFunction, SymmetryFunctions
from atomprint.ground import elements

Eta = Annotated[float, Field(ge=0)]
Zeta = Annotated[float, Field(ge=1, le=1024)]

DEFAULT_G2 = tuple((eta, shift) for eta in (0.5, 2.0) for shift in (1.5, 2.5, 3.5, 4.5))
DEFAULT_ANGULAR = tuple(
    (eta, zeta, sign) for eta in (0.005, 0.05) for zeta in (1.0, 4.0) for sign in (1.0, -1.0)
)


class ACSFSettings(FingerprintSpec):
    """Atom-centred symmetry functions (Behler, J. Chem. Phys. 134, 074106, 2011)."""

    kind: Literal["acsf"] = "acsf"
    cutoff: float = Field(6.0, description="Neighbours are closer than this, in Å.", gt=0)
    species: tuple[str, ...] | None = Field(
        None,
        description="Elements to tell apart (symbols or atomic numbers), with a block of columns "
        "for each and for each pair, as in dscribe; by default none, and channels are used, which "
        "have the same width for any chemistry.",
        min_length=1,
    )
    channels: tuple[ChannelName, ...] = Field(
        DEFAULT_CHANNELS,
        description="Element channels w, one block of columns each: a neighbour counts w_j, a pair "
        "w_j w_k. Not used where species are given.",
        min_length=1,
    )
    scale_channels: bool = Field(
        True, description="Divide every channel by its scale, so that it is of order 1."
    )
    g1: bool = Field(True, description="Whether G1, the sum of the cutoff function, is a column.")
    g2: tuple[tuple[Eta, float], ...] = Field(
        DEFAULT_G2, description="(η, R_s) of every G2: sharpness in Å⁻² and centre in Å."
    )
    g3: tuple[Eta, ...] = Field((), description="κ of every G3, in Å⁻¹.")
    g4: tuple[tuple[Eta, Zeta, float], ...] = Field(
        DEFAULT_ANGULAR,
        description="(η, ζ, λ) of every G4, with all three sides of the triangle: η in Å⁻², "
        "ζ ≥ 1, λ = 1 or -1.",
    )
    g5: tuple[tuple[Eta, Zeta, float], ...] = Field(
        (), description="(η, ζ, λ) of every G5, without the side r_jk: η in Å⁻², ζ ≥ 1, λ = ±1."
    )
    tolerance: float | None = Field(
        None,
        description="Approximate G4, and functions of a ζ that is not whole, to about this part of "
        "their function of two neighbours, without a loop over pairs, which pays at large cutoffs; "
        "approximation_error says how well. By default they are exact.",
        ge=1e-4,
        le=0.1,
    )

    @field_validator("species", mode="before")
    @classmethod
    def _in_order(cls, value: object) -> object:
        """Turn atomic numbers into symbols, in the order of atomic numbers."""
        if not isinstance(value, list | tuple):
            return value
        numbers = set()
        for one in value:
            number = elements.atomic_number.get(one) if isinstance(one, str) else one
            if not isinstance(number, int) or not 0 < number <= elements.MAX_Z:
                raise ValueError(f"{one!r} is no element; give symbols or atomic numbers")
            if number in numbers:
                raise ValueError(f"{elements.symbols[number]} is given twice; give it once")
            numbers.add(number)
        return tuple(elements.symbols[number] for number in sorted(numbers))

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Signs must be signs, and there must be a column."""
        for name in ("g4", "g5"):
            for function in getattr(self, name):
                if function[2] not in (1.0, -1.0):
                    raise ValueError(f"{name}: λ is 1 or -1, not {function[2]:g}")
        if not (self.g1 or self.g2 or self.g3 or self.g4 or self.g5):
            raise ValueError("no symmetry function is asked for: give g1, g2, g3, g4 or g5")
        return self

    def build(self) -> "ACSF":
        """Make the fingerprint."""
        return ACSF(self)


class ACSF(SymmetryFunctions):
    r"""Atom-centred symmetry functions.

    .. math::
        G^1 &= Σ_j w_j f_c(r_j), \quad G^2 = Σ_j w_j e^{-η(r_j-R_s)^2} f_c(r_j), \quad
        G^3 = Σ_j w_j \cos(κ r_j) f_c(r_j) \\
        G^4 &= 2^{1-ζ} Σ_{j<k} w_j w_k (1 + λ \cosθ_{jik})^ζ e^{-η(r_j^2 + r_k^2 + r_{jk}^2)}
        f_c(r_j) f_c(r_k) f_c(r_{jk}) \\
        G^5 &= 2^{1-ζ} Σ_{j<k} w_j w_k (1 + λ \cosθ_{jik})^ζ e^{-η(r_j^2 + r_k^2)}
        f_c(r_j) f_c(r_k)

    (Behler 2011, eqs. 4-9, with each pair of neighbours once, as in dscribe). Columns: for every
    channel G1, G2, G3; then for every channel G4, G5. With species, in the order of atomic numbers:
    for every species G1, G2, G3; then for every pair (a, b ≤ a) G4, G5, which are dscribe's columns
    in dscribe's order.

    Parameters
    ----------
    settings
        See :class:`ACSFSettings`.
    """

    settings_class = ACSFSettings
    settings: ACSFSettings

    def prepare(self) -> None:
        """See :meth:`Fingerprint.prepare`."""
        settings = self.settings
        self.cutoff = settings.cutoff
        radial = [RadialFunction()] if settings.g1 else []
        radial += [RadialFunction(eta, shift) for eta, shift in settings.g2]
        radial += [RadialFunction(kappa=kappa) for kappa in settings.g3]
        angular = [AngularFunction(e, 0.0, z, round(s), True) for e, z, s in settings.g4]
        angular += [AngularFunction(e, 0.0, z, round(s), False) for e, z, s in settings.g5]
        table = None
        if settings.species is None:
            table = channel_table(settings.channels, settings.scale_channels)
        self.set_functions(radial, angular, settings.species, table, settings.tolerance)
        if self.species is not None:
            names = [elements.symbols[z] for z in self.species]
            of_pairs = [f"{names[a]}-{names[b]}" for a, b in self.pairs]
        else:
            of_pairs = names = [SHORT_NAMES[name] for name in settings.channels]
        labels = []
        for name in names:
            labels += [f"acsf.{name}.g1"] if settings.g1 else []
            labels += [f"acsf.{name}.g2n{k}" for k in range(len(settings.g2))]
            labels += [f"acsf.{name}.g3n{k}" for k in range(len(settings.g3))]
        for name in of_pairs:
            labels += [f"acsf.{name}.g4n{k}" for k in range(len(settings.g4))]
            labels += [f"acsf.{name}.g5n{k}" for k in range(len(settings.g5))]
        self.name_columns(labels, "1")
