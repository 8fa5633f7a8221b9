"""Carry pre-trained weights over to a new model, and say what went where."""

from dataclasses import dataclass

from torch import nn

from atomprint.heads.model import Model


@dataclass(frozen=True)
class TransferReport:
    """Which weights were carried over.

    Attributes
    ----------
    loaded
        Carried over.
    new
        Of the new model, with random weights: its heads.
    left
        Of the old model, not wanted: its heads.
    """

    loaded: tuple[str, ...]
    new: tuple[str, ...]
    left: tuple[str, ...]


def transfer_backbone(source: Model, destination: Model) -> TransferReport:
    """Copy the backbone's weights; both models must have the same backbone settings."""
    destination.backbone.load_state_dict(source.backbone.state_dict())

    def names(model: nn.Module) -> set[str]:
        return set(model.state_dict())

    loaded = {n for n in names(destination) if n.startswith("backbone.")}
    return TransferReport(
        tuple(sorted(loaded)),
        tuple(sorted(names(destination) - loaded)),
        tuple(sorted(n for n in names(source) if not n.startswith("backbone."))),
    )
