"""Fused kernels for GPUs, in Triton, which is imported only where they are asked for."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from atomprint.fingerprints.kernels.base import FusedKernel

if TYPE_CHECKING:
    from atomprint.fingerprints.kernels.gpu.kernel import GpuKernel


def gpu_kernel_of(kernel: FusedKernel | None) -> "GpuKernel | None":
    """Make the GPU kernel of what a kernel of the processor computes; None where there is none.

    There is one for every fingerprint that is quadratic in an expansion, if Triton is installed;
    none for the coefficients of an expansion themselves.
    """
    from atomprint.fingerprints.kernels.quadratic import QuadraticKernel

    if not isinstance(kernel, QuadraticKernel) or find_spec("triton") is None:
        return None
    if kernel.expansion.products.order is not None:
        return None
    from atomprint.fingerprints.kernels.gpu.kernel import GpuKernel

    return GpuKernel(kernel.expansion)
