"""Graph networks: crystal graphs -> features of every atom. One file an architecture."""

from atomprint.backbones.base import AtomFeatures, Backbone
from atomprint.backbones.painn import PaiNN, PaiNNSettings

BackboneSettings = PaiNNSettings

__all__ = ["AtomFeatures", "Backbone", "BackboneSettings", "PaiNN", "PaiNNSettings"]
