"""Sums over neighbours of products of two factors, the core of every fingerprint here."""

import torch
from torch import Tensor

from atomprint.structures.graph import sum_by_index


class Chunks:
    """Sum outer products ``left[e] ⊗ right[e]`` over the edges e of one atom (or crystal).

    The products themselves (often hundreds of numbers per edge) are never written to memory: edges
    of one target are packed into chunks of equal length, and each chunk is one small matrix
    product. Pack what is small (distances, directions, weights), compute both factors from it, and
    sum. Empty places are zero: a factor must contain the weights, so that they add nothing.

    Parameters
    ----------
    index
        Target of each edge, ``(n_edges,)`` int64, ascending.
    size
        Number of targets.
    """

    def __init__(self, index: Tensor, size: int) -> None:
        counts = torch.bincount(index, minlength=size)
        self.size = size
        self.length = _chunk_length(counts)
        self.single = bool((counts <= self.length).all())
        needed = (counts + self.length - 1) // self.length
        n_chunks = torch.ones_like(counts) if self.single else needed
        first_chunk = torch.cumsum(n_chunks, 0) - n_chunks
        first_edge = torch.cumsum(counts, 0) - counts
        # Edges are sorted, so edge e of a target that starts at edge s is its (e - s)-th.
        offset = first_chunk * self.length - first_edge
        self.slot = torch.arange(index.shape[0], device=index.device) + offset[index]
        self.target = torch.repeat_interleave(torch.arange(size, device=index.device), n_chunks)

    def pack(self, rows: Tensor) -> Tensor:
        """``(n_edges, p) -> (n_slots, p)``, empty places filled with zeros."""
        packed = rows.new_zeros((self.target.shape[0] * self.length, rows.shape[1]))
        return packed.index_copy_(0, self.slot, rows)

    def sum_outer(self, left: Tensor, right: Tensor) -> Tensor:
        """Sum ``left ⊗ right`` per target: ``(n_slots, p), (n_slots, q) -> (size, p, q)``."""
        shape = (self.target.shape[0], self.length)
        left, right = left.reshape(*shape, left.shape[1]), right.reshape(*shape, right.shape[1])
        products = torch.bmm(left.mT, right)
        return products if self.single else sum_by_index(products, self.target, self.size)


def _chunk_length(counts: Tensor) -> int:
    """Length of chunks that wastes few places without making many chunks.

    Parameters
    ----------
    counts
        Edges per target, ``(size,)``.
    """
    longest = int(counts.max()) if counts.numel() else 0
    candidates = sorted({max(1, -(-longest // k)) for k in (1, 2, 3, 4, 6, 8, 16, 32)})
    lengths = torch.tensor(candidates, device=counts.device)
    chunks = (counts[:, None] + lengths - 1).div(lengths, rounding_mode="floor").sum(0)
    # A chunk's own cost (writing and adding its product) counts like that of 8 more places.
    return candidates[int((chunks * (lengths + 8)).argmin())]
