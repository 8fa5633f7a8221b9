"""Radial bases and cutoff functions of interatomic distances."""

import math

import torch
from torch import Tensor, nn


def cosine_cutoff(distances: Tensor, cutoff: float) -> Tensor:
    """``(cos(π r / r_c) + 1) / 2`` below the cutoff, 0 above (Behler 2011, eq. 5)."""
    value = 0.5 * (torch.cos(math.pi * distances / cutoff) + 1)
    return torch.where(distances < cutoff, value, torch.zeros_like(value))


class BesselBasis(nn.Module):
    """``sqrt(2 / r_c) sin(n π r / r_c) / r`` for n = 1 ... n_radial (DimeNet, eq. 7).

    Parameters
    ----------
    n_radial
        Number of functions.
    cutoff
        r_c in Å.
    """

    frequencies: Tensor

    def __init__(self, n_radial: int, cutoff: float) -> None:
        super().__init__()
        self.prefactor = math.sqrt(2 / cutoff)
        frequencies = torch.arange(1, n_radial + 1, dtype=torch.float64) * math.pi / cutoff
        self.register_buffer("frequencies", frequencies.to(torch.get_default_dtype()))

    def forward(self, distances: Tensor) -> Tensor:
        """Values for distances (Å, any shape); adds a last axis of size ``n_radial``."""
        r = distances.unsqueeze(-1)
        return self.prefactor * torch.sin(r * self.frequencies) / r
