"""Several corpora in one stream: each with a share of its own, whatever its size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal

# Leads the seeds of a corpus's passes, apart from those that BatchStream draws with.
_PASSES = 2**31


@dataclass(frozen=True)
class Corpus:
    """Crystals to pre-train on, and how much they count beside other corpora.

    Attributes
    ----------
    crystals
        At least one.
    weight
        The share of the corpus is its weight over the sum of all weights; the number of its
        crystals does not matter.

    Raises
    ------
    UsageError
        If the weight is no positive, finite number.
    """

    crystals: Sequence[Crystal]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise UsageError(
                f"a corpus has weight {self.weight}; give a positive number, or leave it out"
            )


class Mix:
    """The order in which crystals of several corpora are drawn, a function of (seed, epoch).

    Every corpus has an endless sequence of its own: passes over all of its crystals, each pass
    in a new random order. An epoch takes from each as many as its share says, on from where the
    epoch before stopped, and shuffles only *which corpus* comes when. So no crystal is drawn
    twice before all others of its corpus were drawn once, whether the corpus is passed over
    many times in an epoch or takes many epochs to pass over.

    An epoch is as long as all corpora together. Up to epoch ``e``, corpus ``k`` was drawn
    ``round(e * length * share_k)`` times: rounding never adds up over epochs.

    Parameters
    ----------
    sizes
        Crystals of each corpus; a crystal's index counts through the corpora in their order.
    weights
        Of each corpus, in any unit.
    seed
        Of passes and shuffling.

    Raises
    ------
    DataError
        If a corpus is empty.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int) -> None:
        if not sizes or min(sizes) < 1:
            raise DataError("a corpus of the mixture holds no crystal; leave it out")
        self.sizes = tuple(sizes)
        self.shares = tuple(float(w) / float(sum(weights)) for w in weights)
        self.seed = seed

    def drawn(self, epoch: int) -> list[int]:
        """How often each corpus was drawn before an epoch."""
        length = sum(self.sizes)
        return [round(epoch * length * share) for share in self.shares]

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Indices of the crystals of an epoch, in the order in which they are drawn."""
        before, after = self.drawn(epoch), self.drawn(epoch + 1)
        counts = [stop - start for start, stop in zip(before, after, strict=True)]
        rng = np.random.default_rng((self.seed, 0, epoch))
        turn = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        order = np.empty(len(turn), dtype=np.int64)
        for corpus, (start, stop) in enumerate(zip(before, after, strict=True)):
            order[turn == corpus] = self._sequence(corpus, start, stop)
        return order

    def _sequence(self, corpus: int, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Part of the endless sequence of a corpus."""
        size = self.sizes[corpus]
        passes = range(start // size, -(-stop // size))
        if not passes or start == stop:
            return np.empty(0, dtype=np.int64)
        indices = np.concatenate(
            [
                np.random.default_rng((self.seed, _PASSES, corpus, number)).permutation(size)
                for number in passes
            ]
        )
        skipped = start - passes[0] * size
        first = int(sum(self.sizes[:corpus]))
        return indices[skipped : skipped + stop - start] + first
