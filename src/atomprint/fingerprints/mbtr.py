"""Many-body tensor representation: distributions of atoms, distances or angles of a crystal."""

import math
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from atomprint.fingerprints.base import Fingerprint
from atomprint.fingerprints.manybody import (
    Grid,
    Kinds,
    ManyBodySettings,
    of_unit_length,
    sum_over_angles,
    sum_over_pairs,
)
from atomprint.structures.graph import GraphBatch, sum_by_index


class MBTRSettings(ManyBodySettings):
    """Many-body tensor representation of a crystal (Huo & Rupp, 2022)."""

    kind: Literal["mbtr"] = "mbtr"
    per: Literal["crystal"] = Field("crystal", description="A row per crystal.")
    normalization: Literal["none", "n_atoms", "l2", "valle_oganov"] = Field(
        "n_atoms",
        description="none: sums over the cell. n_atoms: divided by its number of atoms. l2: rows "
        "of length 1. valle_oganov: by volume and numbers of atoms, see that fingerprint.",
    )

    @model_validator(mode="after")
    def _check_rows(self) -> Self:
        if self.pool != ("mean",):
            raise ValueError("pool is not for this kind: its rows are crystals'; use normalization")
        if self.normalization == "valle_oganov" and self.order == 1:
            raise ValueError("normalization valle_oganov is for pairs and angles only")
        return self

    def build(self) -> "MBTR":
        """Make the fingerprint."""
        return MBTR(self)


class MBTR(Fingerprint):
    r"""Many-body tensor representation.

    .. math::
        f_T(x) = Σ_{t ∈ T} w(t)\, D(x - g(t))

    over the atoms (k = 1), pairs (k = 2) or angles (k = 3) t of the cell whose elements are T, each
    once, with the geometry function g, the weight w and D the Gaussian's part within half a spacing
    of the grid point, divided by the spacing (Huo & Rupp, Mach. Learn.: Sci. Technol. 3, 045017,
    2022; weights, grid and order of columns of dscribe 2.1: Himanen et al., Comput. Phys.
    Commun. 247, 106949, 2020). A pair or angle that reaches into other cells counts by the part of
    its atoms that the cell has. Columns: with species, the elements T in ascending order (pairs
    i <= j; angles by centre, then ends i <= k), then points; without, channel, then points.

    Parameters
    ----------
    settings
        See :class:`MBTRSettings`.
    """

    table: Tensor
    members: Tensor
    """Species of every block, ``(n_blocks, k)``."""

    settings_class = MBTRSettings
    settings: MBTRSettings

    def prepare(self) -> None:
        """See :meth:`Fingerprint.prepare`."""
        settings = self.settings
        self.cutoff = settings.reach
        self.needs_volume = settings.normalization == "valle_oganov"
        self.grid, self.kinds = Grid(settings), Kinds(settings)
        self.register_buffer("table", self.kinds.table)
        names, members = self._blocks()
        self.register_buffer("members", torch.tensor(members))
        points = range(settings.n_points)
        labels = [f"{settings.kind}.{name}.x{p}" for name in names for p in points]
        unit = settings.unit(over_density=settings.normalization == "valle_oganov")
        self.name_columns(labels, "1" if settings.normalization == "l2" else unit)
        exempt = {}
        if settings.normalization == "none":
            exempt = dict.fromkeys(
                ("supercell", "small_cell"), "a sum over atoms grows with their number"
            )
        elif settings.normalization == "valle_oganov" and settings.order == 3:
            exempt = dict.fromkeys(
                ("supercell", "small_cell"),
                "the norm V / (N_A N_B N_C), dscribe's, falls with the cell's number of atoms",
            )
        if settings.order > 1 and settings.weighting != "smooth_cutoff":
            exempt["smooth"] = "a neighbour at the cutoff has a weight"
        self.exempt = exempt

    def _blocks(self) -> tuple[list[str], list[tuple[int, ...]]]:
        """Names and species of the blocks of columns, in their order."""
        names, k = self.kinds.names, self.settings.order
        if self.kinds.species is None:
            return names, [(0,) * k]
        n = range(len(names))
        if k == 1:
            found: list[tuple[int, ...]] = [(i,) for i in n]
        elif k == 2:
            found = [(i, j) for i in n for j in n if i <= j]
        else:
            found = [(i, j, m) for j in n for i in n for m in n if i <= m]
        return ["-".join(names[i] for i in block) for block in found], found

    def reference(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_crystals, n_features)``."""
        sums = self._sums(graph, graph.crystal_index, graph.n_crystals)
        normalization = self.settings.normalization
        if normalization == "n_atoms":
            sums = sums / graph.n_atoms_per_crystal.to(sums)[:, None, None]
        elif normalization == "valle_oganov":
            sums = sums * self._density_factor(graph)
        rows = sums.flatten(1)
        return of_unit_length(rows) if normalization == "l2" else rows

    def per_atom(self, graph: GraphBatch) -> Tensor:
        """Compute each atom's share, ``(n_atoms, n_features)``, whose sum is the crystal's."""
        atoms = torch.arange(graph.n_atoms, device=graph.device)
        return self._sums(graph, atoms, graph.n_atoms).flatten(1)

    def _sums(self, graph: GraphBatch, row: Tensor, n_rows: int) -> Tensor:
        """Sums over the terms of every atom in rows ``(n_atoms,)``: ``(n_rows, blocks, points)``.

        An atom's terms are itself, half of its pairs, or the angles that it is the centre of.
        """
        settings, n_blocks = self.settings, len(self.members)
        species = self.kinds.of_atoms(graph, self.kind)
        weights = self.table.to(graph.positions)[graph.numbers]
        block_of = self._block_of(graph.device)
        out = graph.positions.new_zeros((n_rows * n_blocks, weights.shape[1], settings.n_points))
        if settings.order == 1:
            values = graph.numbers.to(graph.dtype)
            slot = row * n_blocks + block_of[species]
            return self._shape(self.grid.deposit(slot, values, weights, len(out)), n_rows)
        graph = graph.within(self.cutoff)
        center, neighbor = graph.center_index, graph.neighbor_index

        def pairs(first: Tensor, _: Tensor, values: Tensor, weight: Tensor) -> Tensor:
            i, j = center[first], neighbor[first]
            slot = row[i] * n_blocks + block_of[species[i], species[j]]
            w = 0.5 * weight[:, None] * weights[i] * weights[j]
            return self.grid.deposit(slot, values, w, len(out))

        def angles(first: Tensor, second: Tensor, values: Tensor, weight: Tensor) -> Tensor:
            i, j, k = neighbor[first], center[first], neighbor[second]
            slot = row[j] * n_blocks + block_of[species[i], species[j], species[k]]
            w = weight[:, None] * weights[i] * weights[j] * weights[k]
            return self.grid.deposit(slot, values, w, len(out))

        if settings.order == 2:
            return self._shape(sum_over_pairs(graph, settings, pairs, out), n_rows)
        return self._shape(sum_over_angles(graph, settings, angles, out), n_rows)

    def _block_of(self, device: torch.device) -> Tensor:
        """Block of every combination of species, ``(n_species,) * k``."""
        found = torch.zeros((self.kinds.n,) * self.settings.order, dtype=torch.int64)
        members, blocks = self.members.cpu(), torch.arange(len(self.members))
        found[members.unbind(1)] = blocks
        found[members.flip(1).unbind(1)] = blocks
        return found.to(device)

    def _shape(self, sums: Tensor, n_rows: int) -> Tensor:
        """Blocks (or channels) of every row, ``(n_rows, n_blocks, n_points)``."""
        return sums.reshape(n_rows, -1, sums.shape[-1])

    def _density_factor(self, graph: GraphBatch) -> Tensor:
        """Volume over numbers of atoms, ``(n_crystals, blocks, 1)``; zero where there are none."""
        weights = self.table.to(graph.positions)[graph.numbers]
        if self.kinds.species is not None:
            species = self.kinds.of_atoms(graph, self.kind)
            weights = torch.nn.functional.one_hot(species, self.kinds.n).to(weights)
        totals = sum_by_index(weights, graph.crystal_index, graph.n_crystals)
        if self.kinds.species is None:
            product = totals**self.settings.order
            like = torch.ones_like(product)
        else:
            members = self.members.to(graph.device)
            product = totals[:, members].prod(-1)
            like = (members[:, 0] == members[:, -1]).to(product)
        if self.settings.order == 2:
            product = product * 4 * math.pi * (1 - 0.5 * like)
        factor = graph.volumes[:, None] / torch.where(
            product > 0, product, torch.ones_like(product)
        )
        return torch.where(product > 0, factor, torch.zeros_like(factor))[..., None]
