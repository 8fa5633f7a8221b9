"""Bring targets to zero mean and unit spread, with numbers fitted on the training part only."""

import torch
from torch import Tensor, nn


class Standardizer(nn.Module):
    """``(x - mean) / scale`` per column; travels in the checkpoint as two buffers.

    Parameters
    ----------
    size
        Number of columns.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def fit(self, values: Tensor) -> None:
        """Set mean and scale from rows of ``values`` (n, size); NaN entries do not count.

        A column that (nearly) never changes gets the scale 1, so that it standardises to about 0
        instead of to noise.
        """
        values = values.to(torch.float64)
        known = torch.isfinite(values)
        filled = torch.where(known, values, torch.zeros_like(values))
        count = known.sum(0).clamp(min=1)
        mean = filled.sum(0) / count
        spread = torch.where(known, values - mean, torch.zeros_like(values))
        scale = (spread.square().sum(0) / count).sqrt()
        constant = scale <= 1e-6 * mean.abs() + 1e-12
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(constant, torch.ones_like(scale), scale))

    def forward(self, values: Tensor) -> Tensor:
        """Values in units of the spread."""
        return (values - self.mean) / self.scale

    def inverse(self, standardized: Tensor) -> Tensor:
        """Values in their own unit."""
        return standardized * self.scale + self.mean
