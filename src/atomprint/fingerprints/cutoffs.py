"""Functions that let a neighbour's weight go smoothly to zero at the cutoff."""

import math
from typing import Literal

import torch
from torch import Tensor

CutoffFunction = Literal["none", "cosine"]


def cosine_cutoff(distances: Tensor, cutoff: float) -> Tensor:
    """``(cos(π r / r_c) + 1) / 2`` below the cutoff, 0 above (Behler, JCP 134, 074106, eq. 4).

    The value and the first derivative vanish at the cutoff; the second derivative jumps there.
    """
    value = 0.5 * (torch.cos(math.pi / cutoff * distances) + 1)
    return torch.where(distances < cutoff, value, torch.zeros_like(value))
