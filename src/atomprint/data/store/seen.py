"""Which ids were seen before, at eight bytes an id."""

import numpy as np
import numpy.typing as npt

_RECENT = 200_000


class SeenIds:
    """A growing set of 64-bit hashes: sorted arrays for the many, a set for the latest."""

    def __init__(self) -> None:
        self._sorted: list[npt.NDArray[np.uint64]] = []
        self._recent: set[int] = set()

    def __len__(self) -> int:
        """Number of hashes."""
        return sum(len(array) for array in self._sorted) + len(self._recent)

    def __contains__(self, value: int) -> bool:
        """Whether a hash was seen."""
        if value in self._recent:
            return True
        key = np.uint64(value)
        for array in self._sorted:
            at = int(np.searchsorted(array, key))
            if at < len(array) and array[at] == key:
                return True
        return False

    def add(self, value: int) -> bool:
        """Add a hash; whether it is new."""
        if value in self:
            return False
        self._recent.add(value)
        if len(self._recent) >= _RECENT:
            self.add_all(np.fromiter(self._recent, np.uint64, len(self._recent)))
            self._recent.clear()
        return True

    def add_all(self, values: npt.NDArray[np.uint64]) -> None:
        """Add many, seen or not."""
        array = np.sort(np.asarray(values, np.uint64))
        # Equal lengths are merged, like carries of a counter: few arrays, each sorted rarely.
        while self._sorted and len(self._sorted[-1]) <= 2 * len(array):
            array = np.sort(np.concatenate([self._sorted.pop(), array]))
        self._sorted.append(array)
