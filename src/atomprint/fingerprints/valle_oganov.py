"""Fingerprint of Valle and Oganov: normalised distributions of distances or angles."""

from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from atomprint.fingerprints.base import Fingerprint, FingerprintSpec
from atomprint.fingerprints.channels import ChannelName
from atomprint.fingerprints.manybody import Species
from atomprint.fingerprints.mbtr import MBTR, MBTRSettings
from atomprint.structures.graph import GraphBatch


class ValleOganovSettings(FingerprintSpec):
    """Fingerprint of Valle & Oganov (Acta Cryst. A66, 507, 2010), as dscribe has it."""

    kind: Literal["valle_oganov"] = "valle_oganov"
    per: Literal["crystal"] = Field("crystal", description="A row per crystal.")
    function: Literal["distance", "angle"] = Field(
        "distance", description="What is distributed: distances in Å, or angles in degrees."
    )
    cutoff: float = Field(6.0, description="Neighbours are closer than this, in Å.", gt=0)
    n_points: int = Field(
        50, description="Points of the grid, from 0 to the cutoff or to 180 degrees.", ge=2
    )
    sigma: float | None = Field(
        None,
        description="Width of the Gaussians in Å or degrees; by default twice the distance of two "
        "grid points.",
        gt=0,
    )
    species: Species = Field(
        None,
        description="All elements that there can be, by symbols or atomic numbers: a block of "
        "columns for every combination, as in dscribe. By default channels instead.",
        min_length=1,
    )
    channels: tuple[ChannelName, ...] = Field(
        ("one", "electronegativity", "covalent_radius"),
        description="Element channels w, used without species: a term counts the product of w "
        "over its atoms.",
        min_length=1,
    )
    scale_channels: bool = Field(
        True, description="Divide every channel by its scale; without effect on the values."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pool != ("mean",):
            raise ValueError("pool is not for this kind: its rows are crystals' as they are")
        return self

    def build(self) -> "ValleOganov":
        """Make the fingerprint."""
        return ValleOganov(self)


class ValleOganov(Fingerprint):
    r"""Fingerprint of Valle and Oganov.

    .. math::
        g_{AB}(x) = \frac{V}{4π N_A N_B} Σ_{i∈A} Σ_{j∈B} \frac{1}{r_{ij}²} D(x - r_{ij})

    over the atoms i of the cell and all images j, D as in
    :class:`~atomprint.fingerprints.mbtr.MBTR`: it tends to 1 at large x (Valle & Oganov, Acta
    Cryst. A66, 507, 2010, who subtract this 1). Of angles, :math:`V / (N_A N_B N_C)` times the
    MBTR with smooth_cutoff, as in dscribe, which depends on the choice of the cell. With channels
    in place of species, N_A becomes :math:`Σ_i w_i`. Columns as in MBTR.

    Parameters
    ----------
    settings
        See :class:`ValleOganovSettings`.
    """

    settings_class = ValleOganovSettings
    settings: ValleOganovSettings

    def prepare(self) -> None:
        """See :meth:`Fingerprint.prepare`."""
        settings = self.settings
        pairs = settings.function == "distance"
        self.mbtr = MBTR(
            MBTRSettings(
                geometry=settings.function,
                n_points=settings.n_points,
                sigma=settings.sigma,
                weighting="inverse_square" if pairs else "smooth_cutoff",
                cutoff=settings.cutoff,
                species=settings.species,
                channels=settings.channels,
                scale_channels=settings.scale_channels,
                normalization="valle_oganov",
            )
        )
        self.cutoff = self.mbtr.cutoff
        self.needs_volume = True
        self.exempt = dict(self.mbtr.exempt)
        labels = [label.removeprefix(self.mbtr.kind) for label in self.mbtr.labels()]
        self.name_columns([self.kind + label for label in labels], self.mbtr.units)

    def reference(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_crystals, n_features)``."""
        return self.mbtr.reference(graph)

    def per_atom(self, graph: GraphBatch) -> Tensor:
        """Compute each atom's share before normalisation, ``(n_atoms, n_features)``."""
        return self.mbtr.per_atom(graph)
