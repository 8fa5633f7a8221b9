"""One draw by weights: what `Generator.choice` does, without what it checks first."""

import numpy as np
from numpy.typing import NDArray


def drawn(rng: np.random.Generator, weight: NDArray[np.float64]) -> int:
    """Index that is drawn by weights, none below zero and their sum above it.

    The same index and the same use of the generator as ``rng.choice(len(weight), p=weight /
    weight.sum())``, at a fraction of the time.
    """
    up_to = np.cumsum(weight / weight.sum())
    return int(np.searchsorted(up_to / up_to[-1], rng.random(), side="right"))
