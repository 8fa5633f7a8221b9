"""Blocks: which crystals, or which atoms of a huge one, are computed at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from atomprint.ground.elements import MAX_Z
from atomprint.structures.crystal import Crystal

if TYPE_CHECKING:
    from atomprint.fingerprints.kernels.edges import EdgeBlock

Array = npt.NDArray[Any]
Dtype = Literal["float32", "float64"]


@dataclass(frozen=True, slots=True)
class Flat:
    """Crystals one after the other: blocks are views of these.

    Attributes
    ----------
    numbers, positions, cells, volumes
        Of all atoms and of all crystals.
    first_atom
        Atoms of crystal c are ``first_atom[c]`` to ``first_atom[c + 1]``.
    before
        How many crystals came before the first of these.
    crystals
        As they were given.
    """

    numbers: Array
    positions: Array
    cells: Array
    volumes: Array
    first_atom: Array
    before: int
    crystals: Sequence[Crystal]

    @classmethod
    def of(cls, crystals: Sequence[Crystal], before: int) -> "Flat":
        """Put crystals one after the other, ``before`` others having come before."""
        from atomprint.fingerprints.kernels.edges import bring_back

        counts = np.array([len(c.numbers) for c in crystals], dtype=np.int64)
        first_atom = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        cells = np.array([c.cell for c in crystals])
        positions = np.concatenate([c.positions for c in crystals])
        bring_back(positions, cells, np.linalg.inv(cells), first_atom)
        return cls(
            numbers=np.concatenate([c.numbers for c in crystals]),
            positions=positions,
            cells=cells,
            volumes=np.abs(np.linalg.det(cells)),
            first_atom=first_atom,
            before=before,
            crystals=crystals,
        )

    @property
    def counts(self) -> Array:
        """Atoms of every crystal, ``(n_crystals,)``."""
        return np.diff(self.first_atom)

    def expected_edges(self, cutoff: float) -> Array:
        """Edges of every crystal were its density uniform, ``(n_crystals,)``, at least its atoms.

        Parameters
        ----------
        cutoff
            In Å.
        """
        counts = self.counts.astype(np.float64)
        spheres = 4.19 * cutoff**3 / np.maximum(self.volumes, 1e-3)
        return np.asarray(np.maximum(counts**2 * spheres, counts))


@dataclass(frozen=True, slots=True)
class Run:
    """Crystals ``first`` to ``last`` of ``flat``, or atoms ``start`` to ``stop`` of a single one.

    Whole crystals have ``stop`` -1. ``size`` is what a run costs, in bytes.
    """

    flat: Flat
    first: int
    last: int
    start: int
    stop: int
    size: float

    @property
    def is_cut(self) -> bool:
        """Whether these are some atoms of one crystal."""
        return self.stop >= 0


def plan(
    flat: Flat, edges: Array, row_bytes: float, edge_bytes: float, limit: float,
    most_edges: float, split: float | None,
) -> Iterator[Run]:  # fmt: skip
    """Cut crystals into runs that stay below a limit of bytes and of edges, in order.

    Parameters
    ----------
    flat
        The crystals.
    edges
        Expected edges of each.
    row_bytes, edge_bytes
        What a row and an edge cost.
    limit
        Most bytes of a run.
    most_edges
        Most edges of a run.
    split
        A crystal of more edges is cut into runs of its atoms, None: never. Where it is cut does not
        depend on the threads, so that sums over its atoms do not either.
    """
    first, used, used_edges = 0, 0.0, 0.0
    counts = flat.counts.tolist()
    for index, (n_atoms, n_edges) in enumerate(zip(counts, edges.tolist(), strict=True)):
        size = n_atoms * row_bytes + n_edges * edge_bytes
        if index > first and (used + size > limit or used_edges + n_edges > most_edges):
            yield Run(flat, first, index, 0, -1, used)
            first, used, used_edges = index, 0.0, 0.0
        if split is not None and (size > limit or n_edges > split):
            parts = max(size / limit, n_edges / split)
            step = max(1, int(n_atoms / parts))
            for start in range(0, n_atoms, step):
                stop = min(start + step, n_atoms)
                yield Run(flat, index, index + 1, start, stop, size * (stop - start) / n_atoms)
            first, used, used_edges = index + 1, 0.0, 0.0
            continue
        used, used_edges = used + size, used_edges + n_edges
    if first < len(counts):
        yield Run(flat, first, len(counts), 0, -1, used)


def edge_block(run: Run, cutoff: float, dtype: Dtype) -> "EdgeBlock":
    """Search for the neighbours of a run of crystals or atoms, without making a graph.

    Parameters
    ----------
    run
        Which.
    cutoff
        In Å.
    dtype
        Float type of the edges' vectors.
    """
    from atomprint.fingerprints.kernels.edges import EdgeBlock, take
    from atomprint.structures.search import search

    flat = run.flat
    begin, end = int(flat.first_atom[run.first]), int(flat.first_atom[run.last])
    first_atom = flat.first_atom[run.first : run.last + 1] - begin
    start, stop = run.start, run.stop if run.is_cut else end - begin
    numbers = flat.numbers[begin:end]
    found = search(
        flat.positions[begin:end], flat.cells[run.first : run.last], first_atom, cutoff,
        start=start, stop=stop, dtype=dtype, with_shifts=False,
    )  # fmt: skip
    n_crystals = run.last - run.first
    crystal_index = np.repeat(np.arange(n_crystals), np.diff(first_atom))
    elements = crystal_index * (MAX_Z + 1) + numbers
    composition = np.bincount(elements, minlength=n_crystals * (MAX_Z + 1))
    return EdgeBlock(
        numbers=numbers[start:stop],
        first=found.first,
        neighbor_numbers=take(numbers, found.neighbor_index),
        vectors=found.vectors,
        cutoff=cutoff,
        crystal_index=crystal_index[start:stop],
        composition=composition.reshape(n_crystals, MAX_Z + 1),
        volumes=flat.volumes[run.first : run.last],
    )
