"""What a network knows of the elements before it has seen a crystal."""

from typing import Literal

import numpy as np
import torch
from torch import nn

from atomprint.ground import elements

ElementStart = Literal["random", "properties"]
"""How the vectors of elements start: each by itself, or as projections of tabulated properties."""

ELEMENTS = (
    "how vectors of elements start: random, or as projections of properties (electronegativity, "
    "covalent radius, group, period, valence), which makes alike elements start alike"
)
"""What the backbones' setting says."""

PROPERTIES = ("electronegativity", "covalent_radius", "group", "period", "valence")
"""Names in :mod:`atomprint.ground.elements`; together they tell nearly all elements apart."""

LAST = 96
"""Means and spreads of properties are those of H to Cm; beyond, most are not known."""


def element_embedding(start: ElementStart, n_channels: int) -> nn.Embedding:
    """Make a trainable vector for every element; its row is the atomic number.

    Parameters
    ----------
    start
        ``random``: independent normal numbers of spread 1. ``properties``: one random projection
        of every element's properties, each of these at mean 0 and spread 1 over the elements, so
        that distances between elements are, in the mean over projections, those between their
        properties. What is learned of one element then holds for its kin until labels say
        otherwise. Both are trained like any other weight.
    n_channels
        Length of a vector.

    Returns
    -------
    nn.Embedding
        ``(119, n_channels)``; row 0 is no element.
    """
    embedding = nn.Embedding(elements.MAX_Z + 1, n_channels)
    if start == "properties":
        columns = np.stack([getattr(elements, name) for name in PROPERTIES], axis=1)
        known = columns[1 : LAST + 1]
        table = torch.from_numpy((columns - known.mean(axis=0)) / known.std(axis=0)).float()
        projection = torch.randn(len(PROPERTIES), n_channels) / len(PROPERTIES) ** 0.5
        with torch.no_grad():
            embedding.weight.copy_(table @ projection)
            embedding.weight[0] = 0.0
    return embedding
