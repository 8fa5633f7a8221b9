"""Sums over neighbours of products of two factors, the core of every fingerprint here."""

import torch
from torch import Tensor

from atomprint.structures.graph import sum_by_index


def sum_outer(left: Tensor, right: Tensor, index: Tensor, size: int) -> Tensor:
    """Sum outer products ``left[e] ⊗ right[e]`` over the rows e that share an index.

    The products themselves (often hundreds of numbers per edge) are never written to memory:
    rows of one index are gathered into chunks of equal length, and each chunk is one small matrix
    product. Chunks of one index are added last. Unlike padding to the longest list of neighbours,
    this wastes less than one chunk per index, whatever else is in the batch.

    Parameters
    ----------
    left, right
        ``(n_rows, p)`` and ``(n_rows, q)``.
    index
        ``(n_rows,)`` int64, ascending.
    size
        Number of rows of the result.

    Returns
    -------
    Tensor
        ``(size, p, q)``.
    """
    n_rows = left.shape[0]
    if n_rows == 0:
        return (left.sum(0)[:, None] * right.sum(0)).expand(size, -1, -1)
    layout = Chunks(index, size)
    return layout.sum_outer(layout.pack(left), layout.pack(right))


class Chunks:
    """Where each row of a sorted list goes when rows of one index are packed into chunks.

    Parameters
    ----------
    index
        ``(n_rows,)`` int64, ascending.
    size
        Number of distinct targets; ``index < size``.
    """

    def __init__(self, index: Tensor, size: int) -> None:
        n_rows = index.shape[0]
        counts = torch.bincount(index, minlength=size)
        occupied = max(1, int((counts > 0).sum()))
        # About the mean number of rows per target: most targets then fill one or two chunks.
        self.length = max(4, -(-n_rows // occupied // 4) * 4)
        self.size = size
        per_target = (counts + self.length - 1) // self.length
        first_chunk = torch.cumsum(per_target, 0) - per_target
        first_row = torch.cumsum(counts, 0) - counts
        rank = torch.arange(n_rows, device=index.device) - first_row[index]
        self.slot = first_chunk[index] * self.length + rank
        self.target = torch.repeat_interleave(torch.arange(size, device=index.device), per_target)

    def pack(self, rows: Tensor) -> Tensor:
        """``(n_rows, p) -> (n_chunks, length, p)``, empty places filled with zeros."""
        n_chunks = self.target.shape[0]
        packed = rows.new_zeros((n_chunks * self.length, rows.shape[1]))
        return packed.index_copy(0, self.slot, rows).view(n_chunks, self.length, rows.shape[1])

    def sum_outer(self, left: Tensor, right: Tensor) -> Tensor:
        """Sum ``left ⊗ right`` of packed rows per target, ``(size, p, q)``."""
        return sum_by_index(torch.bmm(left.mT, right), self.target, self.size)
