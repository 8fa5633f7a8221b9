"""From blocks of atoms' rows to the result: atoms in order, or crystals pooled as they come."""

from collections.abc import Sequence

import numpy as np
import torch

from atomprint.fingerprints.base import Fingerprint
from atomprint.fingerprints.blocks import Array, Run
from atomprint.fingerprints.kernels.base import FusedKernel
from atomprint.fingerprints.kernels.edges import EdgeBlock

_MOMENTS = {"variance": 2, "third": 3, "fourth": 4}


class Pooler:
    """Collects the rows of a fingerprint, block after block, and pools those of crystals.

    The same numbers as :func:`atomprint.fingerprints.base.pool_atoms`, with sums in float64. What
    belongs to one block only is written by the thread that computed it (:meth:`take`); what runs of
    a cut crystal add to its pools is merged in order (:meth:`merge`). The moments of such a crystal
    need its rows a second time, when the mean is known.

    Parameters
    ----------
    fingerprint
        Whose rows.
    counts
        Atoms of every crystal.
    dtype
        Float type of the result.
    """

    def __init__(self, fingerprint: Fingerprint, counts: Sequence[int], dtype: str) -> None:
        self.fingerprint, self.per = fingerprint, fingerprint.per
        self.pools = fingerprint.settings.pool
        self.counts = np.asarray(counts, dtype=np.int64)
        self.first_atom = np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)
        n_rows = int(self.first_atom[-1]) if self.per == "atom" else len(counts)
        # Not zeroed: the thread that writes a row is the first to touch its memory.
        self.values: Array = np.empty((n_rows, fingerprint.n_features), dtype=dtype)
        self.needs_moments = self.per == "crystal" and bool(set(self.pools) & set(_MOMENTS))
        # Of crystals that come in runs, by index: sum over atoms, and moments (a row each).
        self._sums: dict[int, Array] = {}
        self._moments: dict[int, Array] = {}

    def take(self, kernel: FusedKernel, block: EdgeBlock, run: Run, passing: int) -> Array | None:
        """Compute a block's rows and write what is complete; several threads may do so at once.

        Parameters
        ----------
        kernel
            Of this fingerprint.
        block
            The run's neighbours.
        run
            Whole crystals, or some atoms of one.
        passing
            0, or 1 in the second pass.

        Returns
        -------
        Array or None
            What :meth:`merge` wants of a run of a cut crystal.
        """
        first, last = run.flat.before + run.first, run.flat.before + run.last
        if self.per == "atom":
            if passing == 0:
                begin = int(self.first_atom[first]) + run.start
                kernel.rows(block, 1, self.values[begin : begin + block.n_centers])
            return None
        if not run.is_cut:
            self._pool_whole(kernel.rows(block), first, last)
            return None
        if passing == 0:
            total: Array = kernel.rows(block).sum(axis=0, dtype=np.float64)
            return total
        if not self.needs_moments:
            return None
        gap = kernel.rows(block).astype(np.float64) - self._sums[first] / self.counts[first]
        return np.stack([(gap**power).sum(axis=0) for power in _MOMENTS.values()])

    def _pool_whole(self, rows: Array, first: int, last: int) -> None:
        starts = self.first_atom[first:last] - self.first_atom[first]
        counts = self.counts[first:last, None]
        total = np.add.reduceat(rows, starts, axis=0, dtype=np.float64)
        mean = total / counts
        if self.fingerprint.mean_first:
            self.values[first:last] = self._of_mean(mean)
            return
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

    def _of_mean(self, means: Array) -> Array:
        # Wherever the fingerprint was moved to: kernels do not care, its buffers do.
        device = next((buffer.device for buffer in self.fingerprint.buffers()), "cpu")
        with torch.inference_mode():
            rows = self.fingerprint.of_mean(torch.from_numpy(means).to(device))
        made: Array = rows.cpu().numpy()
        return made

    def merge(self, part: Array, run: Run, passing: int) -> None:
        """Add what a run of a cut crystal gave; called in the order of runs, by one thread.

        Parameters
        ----------
        part
            From :meth:`take`.
        run, passing
            As there.
        """
        known = self._moments if passing else self._sums
        index = run.flat.before + run.first
        known[index] = known[index] + part if index in known else part

    def result(self) -> Array:
        """Pool the crystals that came in runs, and give all rows."""
        powers = list(_MOMENTS)
        for index, total in self._sums.items():
            if self.fingerprint.mean_first:
                self.values[index] = self._of_mean(total[None] / self.counts[index])[0]
                continue
            blocks = []
            for name in self.pools:
                if name == "sum":
                    blocks.append(total)
                elif name == "mean":
                    blocks.append(total / self.counts[index])
                else:
                    blocks.append(self._moments[index][powers.index(name)] / self.counts[index])
            self.values[index] = np.concatenate(blocks)
        return self.values
