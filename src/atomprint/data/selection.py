"""Parts of long sequences of crystals, without making the crystals."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from atomprint.structures.crystal import Crystal

IntArray = npt.NDArray[np.signedinteger[Any]]
_BLOCK = 1 << 20


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

    def sizes_at(self, indices: IntArray) -> npt.NDArray[np.int32]:
        """Atoms of some crystals."""
        return self.sizes[indices]

    def volumes_at(self, indices: IntArray) -> npt.NDArray[np.float64]:
        """Volumes of some cells, Å³."""
        return self.volumes[indices]


class Selection(Measured):
    """Crystals of a sequence at some indices, made when asked for.

    Parameters
    ----------
    crystals
        To choose from.
    indices
        ``(n,)``, in the order wanted.
    """

    def __init__(self, crystals: Sequence[Crystal], indices: IntArray) -> None:
        self.crystals: Sequence[Crystal] = crystals
        self.indices: IntArray = indices
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

    def sizes_at(self, indices: IntArray) -> npt.NDArray[np.int32]:
        """Atoms of some crystals."""
        return sizes_of(self.crystals, self.indices[indices])

    def volumes_at(self, indices: IntArray) -> npt.NDArray[np.float64]:
        """Volumes of some cells, Å³."""
        return volumes_of(self.crystals, self.indices[indices])


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

    def sizes_at(self, indices: IntArray) -> npt.NDArray[np.int32]:
        """Atoms of some crystals."""
        found = np.empty(len(indices), np.int32)
        for part, rows, inside in self._divided(indices):
            found[rows] = sizes_of(part, inside)
        return found

    def volumes_at(self, indices: IntArray) -> npt.NDArray[np.float64]:
        """Volumes of some cells, Å³."""
        found = np.empty(len(indices), np.float64)
        for part, rows, inside in self._divided(indices):
            found[rows] = volumes_of(part, inside)
        return found

    def _divided(self, indices: IntArray) -> Iterator[tuple[Sequence[Crystal], IntArray, IntArray]]:
        """Yield every part with the rows of ``indices`` that lie in it, and where in it."""
        owner = np.searchsorted(self._stops, indices, side="right")
        for number, part in enumerate(self.parts):
            rows = np.flatnonzero(owner == number)
            if len(rows):
                first = int(self._stops[number - 1]) if number else 0
                yield part, rows, indices[rows] - first


def sizes_of(crystals: Sequence[Crystal], indices: IntArray | None = None) -> npt.NDArray[np.int32]:
    """Atoms of every crystal, or of those at some indices."""
    if isinstance(crystals, Measured):
        return crystals.sizes if indices is None else crystals.sizes_at(indices)
    chosen = crystals if indices is None else [crystals[int(i)] for i in indices]
    return np.array([crystal.n_atoms for crystal in chosen], np.int32)


def volumes_of(
    crystals: Sequence[Crystal], indices: IntArray | None = None
) -> npt.NDArray[np.float64]:
    """Volume of every cell, or of those at some indices, Å³."""
    if isinstance(crystals, Measured):
        return crystals.volumes if indices is None else crystals.volumes_at(indices)
    chosen = crystals if indices is None else [crystals[int(i)] for i in indices]
    return np.array([crystal.volume for crystal in chosen], np.float64)


def shuffled(n: int, rng: np.random.Generator) -> IntArray:
    """``rng.permutation(n)``, the same numbers, in half the memory where they are below 2³¹."""
    if n >= 2**31:
        return rng.permutation(n)
    order: IntArray = np.arange(n, dtype=np.int32)
    rng.shuffle(order)
    return order


def indices_of(mask: npt.NDArray[np.bool_]) -> IntArray:
    """Indices at which a mask is true; of 32 bits where that is enough."""
    dtype = np.int32 if len(mask) < 2**31 else np.int64
    # In blocks: NumPy makes them of 64 bits first.
    parts = [
        (np.flatnonzero(mask[start : start + _BLOCK]) + start).astype(dtype)
        for start in range(0, len(mask), _BLOCK)
    ]
    found: IntArray = np.concatenate(parts) if parts else np.zeros(0, dtype)
    return found


def pick(crystals: Sequence[Crystal], indices: IntArray) -> Sequence[Crystal]:
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
