"""Small operations on vectors."""

import torch
from torch import Tensor


def unit_vectors(vectors: Tensor) -> Tensor:
    """Vectors divided by their lengths; zero, with zero derivatives, where the length is zero.

    Parameters
    ----------
    vectors
        ``(..., 3)``, any unit.

    Returns
    -------
    Tensor
        ``(..., 3)``, without unit. Derivatives of every order are finite.
    """
    squared = (vectors * vectors).sum(dim=-1, keepdim=True)
    # The root is never taken at zero: its slope there is infinite, and 0 * inf is not a number.
    nonzero = squared > 0
    inverse = torch.rsqrt(torch.where(nonzero, squared, torch.ones_like(squared)))
    return torch.where(nonzero, vectors * inverse, torch.zeros_like(vectors))
