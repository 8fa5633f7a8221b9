"""Principal components of unit spread, fitted on the corpus."""

import torch
from torch import Tensor, nn


class Whitener(nn.Module):
    """The first principal components of standardised columns, each divided by its own spread.

    Features of a fingerprint repeat each other; an error of its plain features counts what they
    share many times over. Here every direction in which the corpus differs counts the same, down to
    the last component kept.

    Parameters
    ----------
    size
        Number of columns.
    n_components
        Number of components.
    """

    mean: Tensor
    directions: Tensor

    def __init__(self, size: int, n_components: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("directions", torch.zeros(size, n_components))

    def fit(self, values: Tensor) -> None:
        """Fit on rows of ``values`` ``(n, size)``.

        A component that (nearly) never changes becomes zero.
        """
        values = values.to(torch.float64)
        mean = values.mean(0)
        scale = values.std(0, correction=0)
        constant = scale <= 1e-6 * mean.abs() + 1e-12
        scale = torch.where(constant, torch.full_like(scale, torch.inf), scale)
        centered = (values - mean) / scale
        variances, vectors = torch.linalg.eigh(centered.T @ centered / len(values))
        n = self.directions.shape[1]
        variances, vectors = variances.flip(0)[:n], vectors.flip(1)[:, :n]
        kept = variances > 1e-8 * variances[0]
        factor = torch.where(kept, variances.clamp(min=1e-300).rsqrt(), torch.zeros_like(variances))
        # The sign of a component is free: its largest entry is positive, on every machine.
        largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
        self.mean.copy_(mean)
        self.directions.copy_(vectors * largest.sign() * factor / scale[:, None])

    def forward(self, values: Tensor) -> Tensor:
        """Components ``(n, n_components)`` of rows ``(n, size)``."""
        # Targets are exact whatever the network's precision.
        with torch.autocast(values.device.type, enabled=False):
            components: Tensor = (values - self.mean) @ self.directions
        return components
