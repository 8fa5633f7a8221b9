"""Local many-body tensor representation: distributions of what an atom takes part in."""

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from atomprint.fingerprints.base import Fingerprint
from atomprint.fingerprints.manybody import (
    Geometry,
    Grid,
    Kinds,
    ManyBodySettings,
    of_unit_length,
    sum_over_angles,
    sum_over_pairs,
)
from atomprint.structures.graph import GraphBatch


class LMBTRSettings(ManyBodySettings):
    """Local many-body tensor representation, of every atom."""

    kind: Literal["lmbtr"] = "lmbtr"
    geometry: Geometry = Field(
        "distance",
        description="What is distributed. k = 2, over neighbours: distance (Å), inverse_distance "
        "(1/Å). k = 3, over angles with the atom at an end or in the middle: angle (degrees), "
        "cosine.",
    )
    normalization: Literal["none", "l2"] = Field(
        "none", description="none: sums as they are. l2: rows of length 1."
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.order == 1:
            raise ValueError("geometry atomic_number has no neighbours; use distance, or kind mbtr")
        return self

    def build(self) -> "LMBTR":
        """Make the fingerprint."""
        return LMBTR(self)


class LMBTR(Fingerprint):
    r"""Local many-body tensor representation.

    As :class:`~atomprint.fingerprints.mbtr.MBTR`, with the pairs and angles of the crystal that
    contain the atom X: every neighbour once; every angle once, whether X is in the middle or at
    an end (Himanen et al., Comput. Phys. Commun. 247, 106949, 2020). Columns: with species, those
    of dscribe 2.1, where X is an element before all others (blocks that no term can have, such as
    X-X, stay zero); without, channel (of the other atoms), and for angles X in the middle, then X
    at an end; then points.

    Parameters
    ----------
    settings
        See :class:`LMBTRSettings`.
    """

    table: Tensor

    settings_class = LMBTRSettings
    settings: LMBTRSettings

    def prepare(self) -> None:
        """See :meth:`Fingerprint.prepare`."""
        settings = self.settings
        self.cutoff = settings.reach
        self.grid, self.kinds = Grid(settings), Kinds(settings)
        self.register_buffer("table", self.kinds.table)
        names = self._blocks()
        self.n_blocks = len(names) // self.table.shape[1]
        points = range(settings.n_points)
        labels = [f"{self.kind}.{name}.x{p}" for name in names for p in points]
        self.name_columns(labels, "1" if settings.normalization == "l2" else settings.unit())
        if settings.weighting != "smooth_cutoff":
            self.exempt = {"smooth": "a neighbour at the cutoff has a weight"}

    def _blocks(self) -> list[str]:
        """Names of the blocks of columns, in their order."""
        pairs, names = self.settings.order == 2, self.kinds.names
        if self.kinds.species is None:
            places = [""] if pairs else [".middle", ".end"]
            return [name + place for name in names for place in places]
        all_names = ["X", *names]
        if pairs:
            return [f"X-{name}" for name in all_names]
        middle = [f"{a}-X-{b}" for k, a in enumerate(all_names) for b in all_names[k:]]
        return middle + [f"X-{a}-{b}" for a in names for b in all_names]

    def per_atom(self, graph: GraphBatch) -> Tensor:
        """Compute ``(n_atoms, n_features)``."""
        settings, n_blocks, kinds = self.settings, self.n_blocks, self.kinds
        graph = graph.within(self.cutoff)
        species = kinds.of_atoms(graph, self.kind)
        weights = self.table.to(graph.positions)[graph.numbers]
        center, neighbor = graph.center_index, graph.neighbor_index
        n_slots = graph.n_atoms * n_blocks
        out = graph.positions.new_zeros((n_slots, weights.shape[1], settings.n_points))

        def pairs(first: Tensor, _: Tensor, values: Tensor, weight: Tensor) -> Tensor:
            j = neighbor[first]
            block = 0 if kinds.species is None else 1 + species[j]
            w = weight[:, None] * weights[j]
            return self.grid.deposit(center[first] * n_blocks + block, values, w, n_slots)

        def angles(first: Tensor, second: Tensor, values: Tensor, weight: Tensor) -> Tensor:
            i, j, k = neighbor[first], center[first], neighbor[second]
            if kinds.species is None:
                middle = torch.zeros_like(i)
                ends = middle + 1, middle + 1
            else:
                middle, ends = _blocks_of_angles(species[i], species[j], species[k], kinds.n + 1)
            # The same angle stands in the rows of three atoms.
            slots = [j * n_blocks + middle, i * n_blocks + ends[0], k * n_blocks + ends[1]]
            w = [weights[i] * weights[k], weights[j] * weights[k], weights[j] * weights[i]]
            return self.grid.deposit(
                torch.cat(slots),
                values.repeat(3),
                weight.repeat(3)[:, None] * torch.cat(w),
                n_slots,
            )

        if settings.order == 2:
            sums = sum_over_pairs(graph, settings, pairs, out)
        else:
            sums = sum_over_angles(graph, settings, angles, out)
        rows = sums.view(graph.n_atoms, n_blocks, -1, settings.n_points).transpose(1, 2).flatten(1)
        return of_unit_length(rows) if settings.normalization == "l2" else rows


def _blocks_of_angles(
    i: Tensor, j: Tensor, k: Tensor, n: int
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Blocks of angles i-j-k of species, with the atom X in the middle, at i, and at k.

    X is species 0 of n, so that the others begin at 1.
    """
    low, high = 1 + torch.minimum(i, k), 1 + torch.maximum(i, k)
    middle = high + low * n - low * (low + 1) // 2
    first_end = n * (n + 1) // 2 + j * n
    return middle, (first_end + 1 + k, first_end + 1 + i)
