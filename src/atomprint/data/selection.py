"""Parts of long sequences of crystals, without making the crystals."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from atomprint.structures.crystal import Crystal


class Measured(Sequence[Crystal]):
    """A sequence of crystals whose sizes are known without making them."""

    @property
    @abstractmethod
    def sizes(self) -> npt.NDArray[np.int32]:
        """Atoms of every crystal, ``(n_crystals,)``."""

    @property
    @abstractmethod
    def volumes(self) -> npt.NDArray[np.float64]:
        """Volume of every cell, ``(n_crystals,)``, Å³."""


class Selection(Measured):
    """Crystals of a sequence at some indices, made when asked for.

    Parameters
    ----------
    crystals
        To choose from.
    indices
        ``(n,)``, in the order wanted.
    """

    def __init__(self, crystals: Sequence[Crystal], indices: npt.NDArray[np.int64]) -> None:
        self.crystals: Sequence[Crystal] = crystals
        self.indices: npt.NDArray[np.int64] = indices
        if isinstance(crystals, Selection):
            self.crystals, self.indices = crystals.crystals, crystals.indices[indices]

    def __len__(self) -> int:
        """Number of crystals."""
        return len(self.indices)

    def __iter__(self) -> Iterator[Crystal]:
        """Yield the crystals in order."""
        return (self.crystals[int(index)] for index in self.indices)

    @overload
    def __getitem__(self, index: int) -> Crystal: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Crystal]: ...
    def __getitem__(self, index: int | slice) -> Crystal | Sequence[Crystal]:
        """Crystal of an index, or a smaller selection."""
        if isinstance(index, slice):
            return Selection(self.crystals, self.indices[index])
        return self.crystals[int(self.indices[index])]

    @property
    def sizes(self) -> npt.NDArray[np.int32]:
        """Atoms of every crystal, ``(n_crystals,)``."""
        return sizes_of(self.crystals)[self.indices]

    @property
    def volumes(self) -> npt.NDArray[np.float64]:
        """Volume of every cell, ``(n_crystals,)``, Å³."""
        return volumes_of(self.crystals)[self.indices]


class Joined(Measured):
    """Sequences of crystals, one after the other.

    Parameters
    ----------
    parts
        The sequences.
    """

    def __init__(self, parts: Sequence[Sequence[Crystal]]) -> None:
        self.parts = list(parts)
        self._stops = np.cumsum([len(part) for part in self.parts], dtype=np.int64)

    def __len__(self) -> int:
        """Number of crystals."""
        return int(self._stops[-1]) if len(self._stops) else 0

    @overload
    def __getitem__(self, index: int) -> Crystal: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Crystal]: ...
    def __getitem__(self, index: int | slice) -> Crystal | Sequence[Crystal]:
        """Crystal of an index, or a part."""
        if isinstance(index, slice):
            return Selection(self, np.arange(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self):,} crystals and none at {index}")
        index %= len(self)
        part = int(np.searchsorted(self._stops, index, side="right"))
        return self.parts[part][index - (int(self._stops[part - 1]) if part else 0)]

    @property
    def sizes(self) -> npt.NDArray[np.int32]:
        """Atoms of every crystal, ``(n_crystals,)``."""
        return np.concatenate([sizes_of(part) for part in self.parts])

    @property
    def volumes(self) -> npt.NDArray[np.float64]:
        """Volume of every cell, ``(n_crystals,)``, Å³."""
        return np.concatenate([volumes_of(part) for part in self.parts])


def sizes_of(crystals: Sequence[Crystal]) -> npt.NDArray[np.int32]:
    """Atoms of every crystal, ``(n_crystals,)``."""
    if isinstance(crystals, Measured):
        return crystals.sizes
    return np.array([crystal.n_atoms for crystal in crystals], np.int32)


def volumes_of(crystals: Sequence[Crystal]) -> npt.NDArray[np.float64]:
    """Volume of every cell, ``(n_crystals,)``, Å³."""
    if isinstance(crystals, Measured):
        return crystals.volumes
    return np.array([crystal.volume for crystal in crystals], np.float64)


def pick(crystals: Sequence[Crystal], indices: npt.NDArray[np.int64]) -> Sequence[Crystal]:
    """Crystals at some indices: a list of what is in memory anyway, lazily otherwise."""
    if isinstance(crystals, Measured):
        return Selection(crystals, indices)
    return [crystals[int(index)] for index in indices]


def join(parts: Sequence[Sequence[Crystal]]) -> Sequence[Crystal]:
    """Crystals of several sequences, one after the other, lazily where one of them is lazy."""
    if len(parts) == 1:
        return parts[0]
    if any(isinstance(part, Measured) for part in parts):
        return Joined(parts)
    return [crystal for part in parts for crystal in part]
