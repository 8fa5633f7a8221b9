"""What a network is asked for: targets, their scale, and the heads that predict them."""

from atomprint.heads.model import Model, ModelSettings
from atomprint.heads.target import Target

__all__ = ["Model", "ModelSettings", "Target"]
