"""What a fused kernel promises."""

from abc import ABC, abstractmethod

from atomprint.fingerprints.kernels.edges import EdgeBlock, Floats


class FusedKernel(ABC):
    """The fused program of one fingerprint with given settings: rows of atoms from an edge block.

    Agrees with the fingerprint's plain PyTorch to 1e-10 in float64 and 1e-5 in float32, relative
    to the largest value of a column. Tables are made once, in float64; a kernel never changes its
    block.

    Attributes
    ----------
    has_gradient
        Whether :meth:`gradient` works.
    """

    has_gradient: bool = False

    @abstractmethod
    def rows(self, block: EdgeBlock, n_threads: int = 1, out: Floats | None = None) -> Floats:
        """Compute ``(n_centers, n_columns)`` in the float type of the block's vectors.

        Parameters
        ----------
        block
            Neighbours of the centres.
        n_threads
            Threads to share the centres.
        out
            Where to write, C-contiguous and of that type; None makes an array.
        """

    def gradient(self, block: EdgeBlock, row_gradients: Floats, n_threads: int = 1) -> Floats:
        """Pull a gradient back from rows to edge vectors.

        Parameters
        ----------
        block
            As given to :meth:`rows`.
        row_gradients
            Derivative of something by every value of the rows, ``(n_centers, n_columns)``.
        n_threads
            Threads to share the centres.

        Returns
        -------
        Floats
            Its derivative by every edge vector, ``(n_edges, 3)``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no gradient")
