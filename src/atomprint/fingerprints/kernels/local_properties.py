"""Fused kernel of local properties of elements."""

import math

import numpy as np

from atomprint.fingerprints.kernels.base import FusedKernel
from atomprint.fingerprints.kernels.edges import EdgeBlock, Floats, Ints, rows_for
from atomprint.fingerprints.kernels.expansion import Float64s
from atomprint.ground.compiled import compiled
from atomprint.ground.threads import over_rows


class LocalPropertiesKernel(FusedKernel):
    """Fused rows of :class:`~atomprint.fingerprints.local_properties.LocalProperties`.

    Neighbours of one element have the same properties: their weights are added up first.

    Parameters
    ----------
    table
        Properties of the elements, ``(119, n_channels)``.
    radii
        Covalent radii in Å, ``(119,)``.
    widths
        How far beyond contact neighbours count, in Å.
    cutoff
        In Å; farther neighbours are skipped.
    self_weight
        Of the atom itself among its surroundings.
    """

    def __init__(
        self,
        table: Float64s,
        radii: Float64s,
        widths: tuple[float, ...],
        cutoff: float,
        self_weight: float,
    ) -> None:
        self.table = np.ascontiguousarray(table)
        self.radii = np.ascontiguousarray(radii)
        self.widths = np.array(widths, dtype=np.float64)
        self.cutoff = cutoff
        self.self_weight = self_weight

    def rows(self, block: EdgeBlock, n_threads: int = 1, out: Floats | None = None) -> Floats:
        """See :meth:`FusedKernel.rows`; columns: own, then near and difference of each width."""
        n_columns = self.table.shape[1] * (1 + 2 * len(self.widths))
        out = rows_for(block, n_columns, out)
        elements, slots = block.slots

        def run(start: int, stop: int) -> None:
            _rows(
                start, stop, block.numbers, block.first, elements, slots, block.vectors, self.table,
                self.radii, self.widths, self.cutoff, self.self_weight, out,
            )  # fmt: skip

        over_rows(run, block.first, n_threads)
        return out


@compiled(error_model="numpy")
def _rows(
    start: int,
    stop: int,
    numbers: Ints,
    first: Ints,
    elements: Ints,
    slots: Ints,
    vectors: Floats,
    table: Float64s,
    radii: Float64s,
    widths: Float64s,
    cutoff: float,
    self_weight: float,
    out: Floats,
) -> None:
    """Rows of the centres from start to stop; the neighbour of an edge is ``elements[slot]``."""
    n_channels, n_widths = table.shape[1], len(widths)
    sums = np.zeros((n_widths, len(elements)))
    here = np.empty(len(elements), np.int64)
    is_here = np.zeros(len(elements), np.bool_)
    for i in range(start, stop):
        n_here = 0
        radius = radii[numbers[i]]
        for e in range(first[i], first[i + 1]):
            x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
            r = math.sqrt(x * x + y * y + z * z)
            if r >= cutoff:
                continue
            slot = slots[e]
            if not is_here[slot]:
                is_here[slot] = True
                here[n_here] = slot
                n_here += 1
            beyond = max(0.0, r - radius - radii[elements[slot]])
            taper = 0.5 * (math.cos(math.pi / cutoff * r) + 1.0)
            for w in range(n_widths):
                place = beyond / widths[w]
                sums[w, slot] += taper * math.exp(-place * place)
        own = table[numbers[i]]
        for c in range(n_channels):
            out[i, c] = own[c]
        for w in range(n_widths):
            total = self_weight
            for k in range(n_here):
                total += sums[w, here[k]]
            for c in range(n_channels):
                near, apart = self_weight * own[c], 0.0
                for k in range(n_here):
                    weight, there = sums[w, here[k]], table[elements[here[k]], c]
                    near += weight * there
                    apart += weight * abs(there - own[c])
                at = n_channels * (1 + 2 * w) + c
                out[i, at] = near / total
                out[i, at + n_channels] = apart / total
        for k in range(n_here):
            is_here[here[k]] = False
            sums[:, here[k]] = 0.0
