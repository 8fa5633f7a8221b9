"""The one thing that fingerprints and backbones are functions of: a batch of crystal graphs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from atomprint.structures.arrows import find_arrows
from atomprint.structures.crystal import Crystal, FloatArray
from atomprint.structures.neighbors import Neighbors
from atomprint.structures.search import search


@dataclass(frozen=True)
class GraphBatch:
    """A batch of periodic crystals with their neighbour lists, flattened.

    Edges run ``center <- neighbor`` and are sorted by centre, then neighbour. Nothing that is to
    be predicted is ever in here.

    Attributes
    ----------
    numbers
        Atomic numbers, ``(n_atoms,)`` int64.
    positions
        Cartesian, Å, ``(n_atoms, 3)``.
    cells
        Lattice vectors as rows, Å, ``(n_crystals, 3, 3)``.
    crystal_index
        The crystal that each atom belongs to, ``(n_atoms,)`` int64, ascending.
    n_atoms_per_crystal
        ``(n_crystals,)`` int64.
    center_index, neighbor_index
        Indices into the atoms, ``(n_edges,)`` int64.
    shifts
        Lattice translations S of the neighbours, ``(n_edges, 3)``, in the float type of positions.
    cutoff
        In Å; the list holds every pair below it.
    """

    numbers: Tensor
    positions: Tensor
    cells: Tensor
    crystal_index: Tensor
    n_atoms_per_crystal: Tensor
    center_index: Tensor
    neighbor_index: Tensor
    shifts: Tensor
    cutoff: float
    ids: tuple[str, ...] = field(default=())

    @classmethod
    def from_crystals(
        cls,
        crystals: Sequence[Crystal],
        cutoff: float,
        dtype: torch.dtype = torch.float32,
        neighbors: Sequence[Neighbors] | None = None,
    ) -> "GraphBatch":
        """Build the graphs of some crystals at one cutoff (Å).

        Atoms are wrapped into their cells first (in float64), so that far-away coordinates cost
        no digits. A neighbour list given in ``neighbors`` must belong to wrapped positions.
        """
        numbers = [c.numbers for c in crystals] or [np.zeros(0, dtype=np.int64)]
        first_atom = np.cumsum([0, *(c.n_atoms for c in crystals)])
        cells = np.stack([c.cell for c in crystals]) if crystals else np.zeros((0, 3, 3))
        positions = np.concatenate([c.positions for c in crystals] or [np.zeros((0, 3))])
        positions = _wrapped(positions, cells, np.diff(first_atom))
        if neighbors is None:
            found = search(positions, cells, first_atom, cutoff)
            centers = np.repeat(np.arange(len(positions)), np.diff(found.first))
            neighbor_index, shifts = found.neighbor_index, found.shifts
        else:
            pairs = list(zip(neighbors, first_atom[:-1], strict=True))
            centers = np.concatenate([n.center_index + offset for n, offset in pairs])
            neighbor_index = np.concatenate([n.neighbor_index + offset for n, offset in pairs])
            shifts = np.concatenate([n.shifts for n in neighbors])
        counts = torch.tensor([c.n_atoms for c in crystals], dtype=torch.int64)
        return cls(
            numbers=torch.from_numpy(np.concatenate(numbers)),
            positions=torch.from_numpy(positions).to(dtype),
            cells=torch.from_numpy(cells).to(dtype),
            crystal_index=torch.repeat_interleave(torch.arange(len(crystals)), counts),
            n_atoms_per_crystal=counts,
            center_index=torch.from_numpy(centers),
            neighbor_index=torch.from_numpy(neighbor_index),
            shifts=torch.from_numpy(shifts).to(dtype),
            cutoff=cutoff,
            ids=tuple(c.id for c in crystals),
        )

    @property
    def n_atoms(self) -> int:
        """Atoms in the whole batch."""
        return self.numbers.shape[0]

    @property
    def n_crystals(self) -> int:
        """Crystals in the batch."""
        return self.n_atoms_per_crystal.shape[0]

    @property
    def n_edges(self) -> int:
        """Edges in the whole batch."""
        return self.center_index.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """Float type of the geometry."""
        return self.positions.dtype

    @property
    def device(self) -> torch.device:
        """Device that every tensor is on."""
        return self.positions.device

    @cached_property
    def edge_vectors(self) -> Tensor:
        """``R_neighbor + S @ A - R_center`` in Å, ``(n_edges, 3)``; differentiable."""
        if self._arrows is not None:
            return self._arrows[0]
        edge_cells = self.cells[self.crystal_index[self.center_index]]
        # Under autocast a network may ask first: its half precision is not for geometry.
        with torch.autocast(self.device.type, enabled=False):
            translation = torch.einsum("ei,eij->ej", self.shifts, edge_cells)
        return self.positions[self.neighbor_index] + translation - self.positions[self.center_index]

    @cached_property
    def distances(self) -> Tensor:
        """Lengths of the edge vectors in Å, ``(n_edges,)``; never zero."""
        # Other vectors may have been handed over, with a gradient of their own.
        if self._arrows is not None and self.edge_vectors is self._arrows[0]:
            return self._arrows[1]
        lengths: Tensor = torch.linalg.vector_norm(self.edge_vectors, dim=-1)
        return lengths

    @cached_property
    def _arrows(self) -> tuple[Tensor, Tensor] | None:
        """Edge vectors and distances by a compiled loop, where nobody can want their gradient."""
        geometry = (self.positions, self.cells, self.shifts)
        if self.device.type != "cpu" or any(one.requires_grad for one in geometry):
            return None
        if {one.dtype for one in geometry} not in ({torch.float32}, {torch.float64}):
            return None
        arrows, lengths = torch.empty_like(self.shifts), self.shifts.new_empty(self.n_edges)
        indices = (self.crystal_index, self.center_index, self.neighbor_index)
        positions, cells, shifts, *places = (one.numpy() for one in (*geometry, *indices))
        find_arrows(positions, cells, *places, shifts, arrows.numpy(), lengths.numpy())
        return arrows, lengths

    @cached_property
    def volumes(self) -> Tensor:
        """Cell volumes in Å³, ``(n_crystals,)``."""
        determinants: Tensor = torch.linalg.det(self.cells)
        return determinants.abs()

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Distinct (centre, neighbour) pairs, all periodic images of a neighbour folded into one.

        Returns
        -------
        pair_index
            The pair that each edge belongs to, ``(n_edges,)``, ascending.
        pair_center, pair_neighbor
            Atoms of each pair, ``(n_pairs,)``.
        """
        key = self.center_index * self.n_atoms + self.neighbor_index
        unique, pair_index = torch.unique_consecutive(key, return_inverse=True)
        return pair_index, unique // self.n_atoms, unique % self.n_atoms

    def within(self, cutoff: float) -> "GraphBatch":
        """Return the same crystals with only the edges below a smaller cutoff (Å)."""
        if cutoff == self.cutoff:
            return self
        if cutoff > self.cutoff:
            raise ValueError(
                f"the graph was built at {self.cutoff} Å and cannot serve {cutoff} Å; "
                "build it at the largest cutoff asked for"
            )
        keep = torch.nonzero(self.distances.detach() < cutoff).squeeze(-1)
        part = replace(
            self,
            center_index=self.center_index.index_select(0, keep),
            neighbor_index=self.neighbor_index.index_select(0, keep),
            shifts=self.shifts.index_select(0, keep),
            cutoff=cutoff,
        )
        # The geometry is the same: hand the selected rows on instead of computing them again.
        part.__dict__["edge_vectors"] = self.edge_vectors.index_select(0, keep)
        part.__dict__["distances"] = self.distances.index_select(0, keep)
        return part

    def with_geometry(self, positions: Tensor, cells: Tensor | None = None) -> "GraphBatch":
        """Return the same edges over other positions (and cells), e.g. ones that need a gradient.

        The list of edges is not searched again: right for derivatives and displacements so small
        that no pair crosses the cutoff.
        """
        return replace(self, positions=positions, cells=self.cells if cells is None else cells)

    def with_numbers(self, numbers: Tensor) -> "GraphBatch":
        """Return the same geometry with other elements."""
        other = replace(self, numbers=numbers)
        for name in ("_arrows", "edge_vectors", "distances", "volumes", "pairs"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "GraphBatch":
        """Move to a device and/or change the float type."""

        def move(tensor: Tensor) -> Tensor:
            wanted = dtype if tensor.is_floating_point() else None
            return tensor.to(device=device, dtype=wanted, non_blocking=True)

        return GraphBatch(
            numbers=move(self.numbers),
            positions=move(self.positions),
            cells=move(self.cells),
            crystal_index=move(self.crystal_index),
            n_atoms_per_crystal=move(self.n_atoms_per_crystal),
            center_index=move(self.center_index),
            neighbor_index=move(self.neighbor_index),
            shifts=move(self.shifts),
            cutoff=self.cutoff,
            ids=self.ids,
        )


def wrap(crystal: Crystal) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Cartesian positions (Å) with every atom moved into the cell by lattice translations."""
    return _wrapped(crystal.positions, crystal.cell[None], np.array([crystal.n_atoms]))


def _wrapped(positions: FloatArray, cells: FloatArray, counts: npt.NDArray[np.int64]) -> FloatArray:
    """The same for many crystals at once, to the same last bit.

    Parameters
    ----------
    positions
        Of all atoms, ``(n_atoms, 3)``, Å.
    cells
        ``(n_crystals, 3, 3)``, Å.
    counts
        Atoms of each crystal.
    """
    frac = _times(positions, np.repeat(np.linalg.inv(cells), counts, axis=0))
    return positions - _times(np.floor(frac), np.repeat(cells, counts, axis=0))


def _times(rows: FloatArray, matrices: FloatArray) -> FloatArray:
    """Each row times its matrix, term by term, so that a row's result is its own affair."""
    product: FloatArray = rows[:, :1] * matrices[:, 0]
    product += rows[:, 1:2] * matrices[:, 1]
    product += rows[:, 2:] * matrices[:, 2]
    return product


def sum_by_index(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sum rows of ``values`` into ``size`` rows given by ``index`` (n_rows,)."""
    out = values.new_zeros((size, *values.shape[1:]))
    return out.index_add(0, index, values)
