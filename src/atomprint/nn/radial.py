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


class ExpNormBasis(nn.Module):
    """``φ(r) exp(-β_k (exp(-α r) - μ_k)²)`` for k = 1 ... n_radial, φ the cosine cutoff.

    Gaussians of ``exp(-α r)``: dense where atoms are close, sparse where they are far (PhysNet,
    Unke & Meuwly 2019, eq. 7; equivariant transformer, Thölke & De Fabritiis 2022, eq. 5, with
    α = 5 / r_c in Å⁻¹, as torchmd-net has it). Centres μ start evenly spaced from
    ``exp(-r_c / Å)`` to 1, widths at ``β = (2 / n_radial (1 - exp(-r_c / Å)))⁻²``. Every function
    is zero from the cutoff on.

    Parameters
    ----------
    n_radial
        Number of functions.
    cutoff
        r_c in Å.
    trainable
        Whether μ and β are learned.
    """

    means: Tensor
    betas: Tensor

    def __init__(self, n_radial: int, cutoff: float, trainable: bool = True) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.alpha = 5.0 / cutoff
        start = math.exp(-cutoff)
        dtype = torch.get_default_dtype()
        means = torch.linspace(start, 1.0, n_radial, dtype=torch.float64).to(dtype)
        betas = torch.full((n_radial,), (2.0 / n_radial * (1.0 - start)) ** -2, dtype=dtype)
        if trainable:
            self.means, self.betas = nn.Parameter(means), nn.Parameter(betas)
        else:
            self.register_buffer("means", means)
            self.register_buffer("betas", betas)

    def forward(self, distances: Tensor) -> Tensor:
        """Values for distances (Å, any shape); adds a last axis of size ``n_radial``."""
        decay = torch.exp(-self.alpha * distances).unsqueeze(-1)
        bells = torch.exp(-self.betas * (decay - self.means) ** 2)
        return cosine_cutoff(distances, self.cutoff).unsqueeze(-1) * bells
