"""Rows of numbers for crystals, computed once however many units of an evaluation ask for them.

Rows are kept by what the crystal is (id, elements, geometry) and by what makes them. Makers are
given crystals without labels, so that nothing a model must not know can get in.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from atomprint.evaluation.arms import without_labels
from atomprint.structures.crystal import Crystal

Array = npt.NDArray[np.float64]
Maker = Callable[[Sequence[Crystal]], Array]

MAX_BYTES = 512 * 2**20
DECIMALS = 5
"""What is left of a feature: rounding errors differ from batch to batch and in a supercell, and
trees would split on them and a standardiser blow them up, where a column is else constant."""


class FeatureCache:
    """Rows by crystal and maker; beyond its size the rows unused longest are dropped.

    Parameters
    ----------
    max_bytes
        Of all rows together.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._rows: OrderedDict[tuple[str, bytes], Array] = OrderedDict()

    def rows(self, name: str, crystals: Sequence[Crystal], make: Maker) -> Array:
        """Rows of crystals, ``(n_crystals, n_features)``.

        Parameters
        ----------
        name
            Of the maker with all its settings: the same name, the same numbers.
        crystals
            In the order of the rows.
        make
            Computes rows of crystals, one a crystal; called once, with those not known yet.
        """
        if not crystals:
            return make([])
        keys = [(name, hash_geometry(crystal)) for crystal in crystals]
        missing = {k: c for k, c in zip(keys, crystals, strict=True) if k not in self._rows}
        made: dict[tuple[str, bytes], Array] = {}
        if missing:
            # Adding zero turns -0.0 into 0.0.
            new = np.round(make(without_labels(list(missing.values()))), DECIMALS) + 0.0
            made = dict(zip(missing, new, strict=True))
        found = np.stack([made[k] if k in made else self._rows[k] for k in keys])
        for key in keys:
            if key in self._rows:
                self._rows.move_to_end(key)
            else:
                # A copy, or every row would keep the whole array of its batch alive.
                self._rows[key] = made[key].copy()
                self.n_bytes += made[key].nbytes
        while self.n_bytes > self.max_bytes:
            self.n_bytes -= self._rows.popitem(last=False)[1].nbytes
        return found


def hash_geometry(crystal: Crystal) -> bytes:
    """Hash of id, elements, positions and cell; of labels nothing."""
    digest = hashlib.sha256(crystal.id.encode())
    for array in (crystal.numbers, crystal.positions, crystal.cell):
        digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.digest()


CACHE = FeatureCache()
"""The one of this process."""
