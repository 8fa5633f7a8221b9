"""Parts of a batch: what each of several processes has of a step's crystals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """Where the crystals of one process stand in the batch that all processes share.

    Attributes
    ----------
    n_parts
        Into how many the batch was divided, one a process; 1: it is whole.
    n_crystals, n_atoms
        Of the whole batch.
    crystals, atoms
        Places of this part's in the whole batch, ``(n,)`` int64; None: it is whole.
    counts
        False where there were fewer crystals than processes: this part is a copy of another's, so
        that the network has something to look at, and nothing of it counts.
    """

    n_parts: int
    n_crystals: int
    n_atoms: int
    crystals: Tensor | None = None
    atoms: Tensor | None = None
    counts: bool = True

    def of_crystals(self, values: Tensor) -> Tensor:
        """Rows of this part, of one row a crystal of the whole batch."""
        return values if self.crystals is None else values[self.crystals.to(values.device)]

    def of_atoms(self, values: Tensor) -> Tensor:
        """Rows of this part, of one row an atom of the whole batch."""
        return values if self.atoms is None else values[self.atoms.to(values.device)]

    def share(self, counts: Tensor) -> Tensor:
        """Share of what all parts have that is this part's; 0 where none has any.

        Every process must call it, in the same step, with as many counts.

        Parameters
        ----------
        counts
            How much of each thing this part has, ``(n,)``.
        """
        own = counts if self.counts else torch.zeros_like(counts)
        return own / self.sum(own).clamp(min=1)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all parts; every process must call it."""
        if self.n_parts == 1:
            return values
        total = values.detach().clone()
        torch.distributed.all_reduce(total)
        return total

    def to(self, device: torch.device | str) -> "Part":
        """Move the places to a device."""
        if self.crystals is None or self.atoms is None:
            return self
        return replace(self, crystals=self.crystals.to(device), atoms=self.atoms.to(device))


def divide(
    n_atoms: Sequence[int] | npt.NDArray[np.int64],
    costs: Sequence[float] | npt.NDArray[np.float64],
    part: int,
    n_parts: int,
) -> tuple[Part, npt.NDArray[np.int64]]:
    """Divide a batch so that all parts take about as long.

    The costliest crystals are dealt first, each to the part that has least to do.

    Parameters
    ----------
    n_atoms
        Of every crystal of the batch.
    costs
        Of every crystal, in any unit.
    part
        Which is wanted.
    n_parts
        How many there are.

    Returns
    -------
    part
        Where it stands in the batch.
    places
        The same places of its crystals, ascending.
    """
    sizes = np.asarray(n_atoms, dtype=np.int64)
    loads = np.zeros(n_parts)
    owner = np.empty(len(sizes), dtype=np.int64)
    for place in np.argsort(-np.asarray(costs, dtype=np.float64), kind="stable"):
        owner[place] = loads.argmin()
        # A crystal costs something even without edges: else they would all fall to one part.
        loads[owner[place]] += costs[place] + 1
    places = np.flatnonzero(owner == part)
    counts = len(places) > 0
    if not counts:
        places = np.zeros(1, dtype=np.int64)
    ends = np.cumsum(sizes)
    atoms = np.concatenate([np.arange(ends[i] - sizes[i], ends[i]) for i in places])
    found = Part(
        n_parts,
        len(sizes),
        int(ends[-1]),
        torch.from_numpy(places),
        torch.from_numpy(atoms),
        counts,
    )
    return found, places
