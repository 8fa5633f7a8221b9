"""Distances to the nearest points, by brute force in blocks.

With some thirty axes a tree looks at nearly every point anyway; a product of matrices is faster.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_BLOCK = 512


def mean_distances(rows: Array, points: Array, k: int, leave_one_out: bool = False) -> Array:
    """Mean Euclidean distance of rows to their ``k`` nearest points, ``(n_rows,)``.

    Parameters
    ----------
    rows
        ``(n_rows, n_axes)``.
    points
        ``(n_points, n_axes)``, more than ``k`` of them.
    k
        Neighbours.
    leave_one_out
        Rows are the points, in the same order, and no point is a neighbour of itself.
    """
    result = np.empty(len(rows))
    lengths = (points**2).sum(1)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        squares = (block**2).sum(1)[:, None] + lengths - 2 * block @ points.T
        if leave_one_out:
            at = np.arange(len(block))
            squares[at, start + at] = np.inf
        nearest = np.argpartition(squares, k - 1, axis=1)[:, :k]
        # The difference itself: the expanded square has lost the digits of small distances.
        gaps = block[:, None, :] - points[nearest]
        result[start : start + _BLOCK] = np.sqrt((gaps**2).sum(-1)).mean(1)
    return result
