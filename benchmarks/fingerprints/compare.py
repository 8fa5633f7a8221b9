"""How far two tables of numbers are from each other."""

from typing import Any

import numpy as np


def difference(ours: np.ndarray, peer: np.ndarray, measure: str) -> dict[str, Any]:
    """Differences of two arrays of the same shape.

    Parameters
    ----------
    ours, peer
        ``(n_rows, n_columns)``.
    measure
        ``values``: differences relative to the largest value of their row, and of their column.
        ``counts``: the share of all counts that lie in another bin.

    Returns
    -------
    dict
        ``rows``, ``of_row_largest`` (largest and 99th percentile over rows) and
        ``of_column_largest``; or ``rows`` and ``moved``.
    """
    if ours.shape != peer.shape:
        raise RuntimeError(f"shapes differ: {ours.shape} here, {peer.shape} there")
    ours, peer = np.asarray(ours, dtype=np.float64), np.asarray(peer, dtype=np.float64)
    gap = np.abs(ours - peer)
    if measure == "counts":
        return {"rows": len(ours), "moved": number(gap.sum() / 2 / peer.sum())}
    row_largest, column_largest = np.abs(peer).max(axis=1), np.abs(peer).max(axis=0)
    of_row = gap.max(axis=1) / np.where(row_largest > 0, row_largest, 1)
    # A column that the peer has as zero (or rounding of zero) is judged beside the others.
    floor = 1e-2 * column_largest.max()
    of_column = gap.max(axis=0) / np.maximum(column_largest, floor)
    return {
        "rows": len(ours),
        "of_row_largest": number(of_row.max()),
        "of_row_largest_p99": number(np.quantile(of_row, 0.99)),
        "of_column_largest": number(of_column.max()),
    }


def number(value: float) -> float:
    """Round to three digits."""
    return float(f"{value:.3g}")
