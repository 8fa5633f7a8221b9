"""Element channels: what a neighbour's element contributes to a fingerprint, as numbers.

A fingerprint with one block per pair of elements grows with the square of the number of elements.
A channel gives every element one number instead, so the size stays the same for any chemistry.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from atomprint.ground import elements

ChannelName = Literal[
    "one", "Z", "electronegativity", "covalent_radius", "valence", "group", "period", "mass"
]
"""Names of the channels. Sources of the numbers: :mod:`atomprint.ground.elements`."""

SHORT_NAMES: dict[ChannelName, str] = {
    "one": "one",
    "Z": "z",
    "electronegativity": "en",
    "covalent_radius": "rcov",
    "valence": "val",
    "group": "group",
    "period": "period",
    "mass": "mass",
}
"""How a channel is called in the label of a column."""

SCALES: dict[ChannelName, float] = {
    "one": 1.0,
    "Z": 50.0,
    "electronegativity": 2.0,
    "covalent_radius": 1.5,
    "valence": 6.0,
    "group": 9.0,
    "period": 4.0,
    "mass": 100.0,
}
"""A channel is the element's number (Å for radii, u for masses) divided by this, so that every
channel is of order 1: about the middle of its range over the periodic table."""

DEFAULT_CHANNELS: tuple[ChannelName, ...] = (
    "one",
    "electronegativity",
    "covalent_radius",
    "valence",
    "period",
)
"""Structure alone, then four numbers that together tell nearly all elements apart."""


def channel_table(channels: tuple[ChannelName, ...], scaled: bool = True) -> Tensor:
    """Weights of every element in the given channels.

    Parameters
    ----------
    channels
        Names of the channels.
    scaled
        Divide by :data:`SCALES`, which makes every channel dimensionless and of order 1.

    Returns
    -------
    Tensor
        ``(119, n_channels)`` float64; the row is the atomic number, row 0 is zero.
    """
    columns = []
    for name in channels:
        if name == "one":
            values = np.ones(elements.MAX_Z + 1)
        elif name == "Z":
            values = np.arange(elements.MAX_Z + 1, dtype=np.float64)
        else:
            values = np.array(getattr(elements, name))
        values[0] = 0.0
        columns.append(values / SCALES[name] if scaled else values)
    return torch.from_numpy(np.stack(columns, axis=-1))
