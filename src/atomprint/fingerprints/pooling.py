"""From blocks of atoms' rows to the result: atoms in order, or crystals pooled as they come."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.fingerprints.base import Fingerprint
from atomprint.structures.crystal import Crystal

Array = npt.NDArray[Any]
_MOMENTS = {"variance": 2, "third": 3, "fourth": 4}


class Pooler:
    """Collects the rows of a fingerprint, block after block, and pools those of crystals.

    The same numbers as :func:`atomprint.fingerprints.base.pool_atoms`, with sums in float64. The
    moments of a crystal whose atoms come in several runs need all rows a second time, when the
    mean is known.

    Parameters
    ----------
    fingerprint
        Whose rows.
    crystals
        All of them.
    dtype
        Float type of the result.
    """

    def __init__(self, fingerprint: Fingerprint, crystals: Sequence[Crystal], dtype: str) -> None:
        self.per = fingerprint.per
        self.pools = fingerprint.settings.pool
        self.counts = np.array([c.n_atoms for c in crystals], dtype=np.int64)
        self.first_atom = np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)
        n_rows = int(self.first_atom[-1]) if self.per == "atom" else len(crystals)
        self.values: Array = np.zeros((n_rows, fingerprint.n_features), dtype=dtype)
        self.needs_moments = self.per == "crystal" and bool(set(self.pools) & set(_MOMENTS))
        self.n_passes = 2 if self.needs_moments else 1
        self.needs_more = False
        # Sums over atoms of crystals that come in runs: index -> (sum, moments).
        self._sums: dict[int, Array] = {}
        self._moments: dict[int, dict[str, Array]] = {}

    def add(self, rows: Array, first: int, last: int, start: int, passing: int) -> None:
        """Take the rows of crystals first to last, or a run of one crystal's atoms from start.

        Parameters
        ----------
        rows
            ``(n_centers, n_columns)``.
        first, last
            Crystals that the rows belong to.
        start
            First atom of the run, within its crystal; 0 for whole crystals.
        passing
            0, or 1 in the second pass.
        """
        if self.per == "atom":
            if passing == 0:
                begin = int(self.first_atom[first]) + start
                self.values[begin : begin + len(rows)] = rows
            return
        whole = len(rows) == int(self.first_atom[last] - self.first_atom[first])
        if whole:
            if passing == 0:
                self._pool_whole(rows, first, last)
            return
        if passing == 0:
            known = self._sums.get(first)
            total = rows.sum(axis=0, dtype=np.float64)
            self._sums[first] = total if known is None else known + total
        elif self.needs_moments:
            gap = rows.astype(np.float64) - self._sums[first] / self.counts[first]
            moments = self._moments.setdefault(first, {})
            for name in set(self.pools) & set(_MOMENTS):
                moments[name] = moments.get(name, 0.0) + (gap ** _MOMENTS[name]).sum(axis=0)

    def _pool_whole(self, rows: Array, first: int, last: int) -> None:
        starts = self.first_atom[first:last] - self.first_atom[first]
        counts = self.counts[first:last, None]
        total = np.add.reduceat(rows, starts, axis=0, dtype=np.float64)
        mean = total / counts
        blocks = []
        for name in self.pools:
            if name == "mean":
                blocks.append(mean)
            elif name == "sum":
                blocks.append(total)
            else:
                gap = rows - np.repeat(mean, counts[:, 0], axis=0)
                powers = gap ** _MOMENTS[name]
                blocks.append(np.add.reduceat(powers, starts, axis=0) / counts)
        self.values[first:last] = np.concatenate(blocks, axis=1)

    def end_pass(self, passing: int) -> None:
        """Pool the crystals that came in runs, or ask for their rows once more."""
        self.needs_more = passing == 0 and self.needs_moments and bool(self._sums)
        if self.needs_more:
            return
        for index, total in self._sums.items():
            blocks = []
            for name in self.pools:
                if name == "sum":
                    blocks.append(total)
                elif name == "mean":
                    blocks.append(total / self.counts[index])
                else:
                    blocks.append(self._moments[index][name] / self.counts[index])
            self.values[index] = np.concatenate(blocks)
