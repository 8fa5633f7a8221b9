"""A crystal: atoms in a cell that repeats in all three directions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from atomprint.ground.elements import electronegativity, symbols

FloatArray = npt.NDArray[np.float64]
LabelValue = float | FloatArray


@dataclass(frozen=True, slots=True)
class Crystal:
    """One crystal, periodic in all three directions.

    Parameters
    ----------
    id
        The name that labels and predictions refer to.
    numbers
        Atomic numbers, shape ``(n_atoms,)``, int64.
    positions
        Cartesian positions in Å, shape ``(n_atoms, 3)``, float64; need not lie inside the cell.
    cell
        Lattice vectors as rows in Å, shape ``(3, 3)``, float64.
    labels
        Known labels by name: a number (per crystal), an array with ``n_atoms`` rows (per atom), or
        a single row ``(1, k)`` (several numbers per crystal, such as a stress).
    source
        Where it was read from (a file name, with the record inside it), for messages.
    """

    id: str
    numbers: npt.NDArray[np.int64]
    positions: FloatArray
    cell: FloatArray
    labels: Mapping[str, LabelValue] = field(default_factory=dict)
    source: str = ""

    @classmethod
    def make(
        cls,
        id: str,
        numbers: npt.ArrayLike,
        cell: npt.ArrayLike,
        *,
        frac: npt.ArrayLike | None = None,
        positions: npt.ArrayLike | None = None,
        labels: Mapping[str, LabelValue] | None = None,
        source: str = "",
    ) -> "Crystal":
        """Build from anything array-like, with fractional or Cartesian (Å) positions."""
        if (frac is None) == (positions is None):
            raise ValueError("give either frac or positions")
        cell_array = np.array(cell, dtype=np.float64).reshape(3, 3)
        if frac is not None:
            xyz = np.array(frac, dtype=np.float64).reshape(-1, 3) @ cell_array
        else:
            xyz = np.array(positions, dtype=np.float64).reshape(-1, 3)
        return cls(
            id, np.array(numbers, dtype=np.int64).ravel(), xyz, cell_array, labels or {}, source
        )

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the cell."""
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Volume of the cell in Å³."""
        return abs(float(np.linalg.det(self.cell)))

    @property
    def composition(self) -> dict[int, int]:
        """Reduced composition: atomic numbers, ascending, and how many of each."""
        numbers, counts = np.unique(self.numbers, return_counts=True)
        divisor = math.gcd(*counts.tolist())
        return dict(zip(numbers.tolist(), (counts // divisor).tolist(), strict=True))

    @property
    def formula(self) -> str:
        """Reduced formula, the least electronegative element first: ``SrTiO3``."""
        counts = self.composition
        order = sorted(counts, key=lambda z: (electronegativity[z], z))
        return "".join(f"{symbols[z]}{counts[z] if counts[z] > 1 else ''}" for z in order)

    @property
    def frac(self) -> FloatArray:
        """Fractional positions, shape ``(n_atoms, 3)``; not wrapped."""
        frac = np.linalg.solve(self.cell.T, self.positions.T).T
        return frac.astype(np.float64, copy=False)

    def with_geometry(self, positions: FloatArray, cell: FloatArray) -> "Crystal":
        """Return a copy with other positions (Å) and cell (Å)."""
        return replace(self, positions=positions, cell=cell)

    def with_labels(self, labels: Mapping[str, LabelValue]) -> "Crystal":
        """Return a copy with other labels."""
        return replace(self, labels=labels)
