"""Graph networks: crystal graphs -> features of every atom. One file an architecture."""

from typing import Annotated

from pydantic import Field

from atomprint.backbones.base import AtomFeatures, Backbone
from atomprint.backbones.equivariant_transformer import (
    EquivariantTransformer,
    ETSettings,
    load_torchmd_state,
)
from atomprint.backbones.painn import PaiNN, PaiNNSettings

BackboneSettings = Annotated[PaiNNSettings | ETSettings, Field(discriminator="kind")]

__all__ = [
    "AtomFeatures",
    "Backbone",
    "BackboneSettings",
    "ETSettings",
    "EquivariantTransformer",
    "PaiNN",
    "PaiNNSettings",
    "load_torchmd_state",
]
