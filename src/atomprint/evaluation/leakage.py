"""Test crystals that are also in a pre-training corpus, whatever cell they are written in.

The same crystal is: the same reduced formula, nearly the same volume per atom, and nearly the same
fingerprint. Formulas are looked up, volumes are searched in order, and fingerprints are computed
only of crystals that are left, so that 100,000 against 100,000 is a matter of minutes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.data.embedded import CORPUS
from atomprint.fingerprints.ead import EADSettings
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Counter = Callable[[int, int], None]

VOLUME = 0.10
"""Volumes per atom differ by at most this, as a difference of logarithms: functionals of DFT differ
by less."""

SAME = 0.05
"""Fingerprints of the same crystal differ by at most this; see docs/coverage.md for how often a
strained and rattled copy is found, and how it agrees with pymatgen's StructureMatcher."""

FINGERPRINT = EADSettings(cutoff=8.0, n_shells=8, l_max=3, pool=("mean", "variance"))
"""8 Å and the variance over atoms tell stackings and orderings apart that 6 Å and a mean do not."""

_VOLUME_PER_ATOM = 15.0
_SMALL_BLOCK = 0.05
_PAIRS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Leak:
    """A test crystal, the corpus crystal that it is, and how far their fingerprints differ."""

    test_id: str
    corpus_id: str
    distance: float


def find_leaks(
    test: Sequence[Crystal],
    corpus: Sequence[Crystal],
    same: float = SAME,
    volume: float = VOLUME,
    progress: Counter | None = None,
) -> list[Leak]:
    """Pairs of test and corpus crystals that are the same.

    Parameters
    ----------
    test, corpus
        What is judged on, and what was pre-trained on. Ids play no part.
    same
        Largest difference of fingerprints, dimensionless; see :func:`differences`.
    volume
        Largest difference of the logarithms of volumes per atom.
    progress
        Called as ``progress(done, total)`` over the fingerprints.

    Returns
    -------
    list
        In the order of ``test``, the likeliest first for each; a test crystal may be in the corpus
        several times.
    """
    pairs = _candidates(test, corpus, volume)
    if not len(pairs):
        return []
    own, of_own = np.unique(pairs[:, 0], return_inverse=True)
    theirs, of_theirs = np.unique(pairs[:, 1], return_inverse=True)
    crystals = [*(test[i] for i in own), *(corpus[i] for i in theirs)]
    rows = shape_rows(crystals, progress)
    far = differences(rows, of_own, of_theirs + len(own))
    at = np.nonzero(far <= same)[0]
    at = at[np.lexsort((pairs[at, 1], far[at], pairs[at, 0]))]
    return [Leak(test[i].id, corpus[j].id, float(far[k])) for k in at for i, j in [pairs[k]]]


def exclude(corpus: Sequence[Crystal], leaks: Iterable[Leak]) -> list[Crystal]:
    """The corpus without the crystals that are in a test set."""
    ids = {leak.corpus_id for leak in leaks}
    return [crystal for crystal in corpus if crystal.id not in ids]


def summarize_leaks(leaks: Sequence[Leak], n_test: int, n_corpus: int) -> dict[str, Any]:
    """Counts, and which test crystals, ready for JSON."""
    found = list(dict.fromkeys(leak.test_id for leak in leaks))
    return {
        "n_test": n_test,
        "n_corpus": n_corpus,
        "n_leaked": len(found),
        "share": len(found) / n_test if n_test else 0.0,
        "ids": found,
        "same": SAME,
        "volume": VOLUME,
    }


def shape_rows(crystals: Sequence[Crystal], progress: Counter | None = None) -> Array:
    """:data:`FINGERPRINT` of crystals scaled to one volume per atom, ``(n, n_blocks, n_shells)``.

    A block is the shells of one pool, channel and angular moment. Volumes are compared by
    themselves; without the scaling a small change of them would hide the arrangement.
    """
    from atomprint.fingerprints.compute import compute

    def count(done: int) -> None:
        if progress is not None:
            progress(done, len(crystals))

    scaled = [_scaled(crystal) for crystal in crystals]
    rows = compute(
        [FINGERPRINT.build()], scaled, per="crystal", dtype="float32", progress=count
    )[0]  # fmt: skip
    return np.asarray(rows.reshape(len(rows), -1, FINGERPRINT.n_shells))


def squared_lengths(rows: Array) -> Array:
    """Squared length of every block of every row, ``(n, n_blocks)``."""
    return np.asarray((rows.astype(np.float64) ** 2).sum(-1))


def differences(rows: Array, one: Indices, other: Indices, lengths: Array | None = None) -> Array:
    """How far crystals differ: root mean square over blocks of their relative differences.

    With blocks a and b of two crystals, and c the typical block,
    ``|a - b|^2 / ((|a|^2 + |b|^2) / 2 + 0.05 |c|^2)``: 0 for the same, of order 1 for others. The
    typical block keeps symmetric crystals, whose odd moments vanish, from being told apart by
    rounding errors.

    Parameters
    ----------
    rows
        See :func:`shape_rows`.
    one, other
        Indices of the pairs, each ``(n_pairs,)``.
    lengths
        :func:`squared_lengths` of the rows, where they are known.
    """
    lengths = squared_lengths(rows) if lengths is None else lengths
    found = np.empty(len(one))
    for start in range(0, len(one), _PAIRS_AT_ONCE):
        i, j = one[start : start + _PAIRS_AT_ONCE], other[start : start + _PAIRS_AT_ONCE]
        squares = ((rows[i] - rows[j]).astype(np.float64) ** 2).sum(-1)
        scale = 0.5 * (lengths[i] + lengths[j]) + _SMALL_BLOCK * _typical()
        found[start : start + _PAIRS_AT_ONCE] = np.sqrt((squares / scale).mean(1))
    return found


@cache
def _typical() -> Array:
    """Mean squared length of every block over a part of the embedded corpus."""
    rows = shape_rows(read_crystals(CORPUS).crystals[::26])
    return np.asarray(squared_lengths(rows).mean(0))


def _scaled(crystal: Crystal) -> Crystal:
    factor = (_VOLUME_PER_ATOM * crystal.n_atoms / crystal.volume) ** (1 / 3)
    return crystal.with_geometry(crystal.positions * factor, crystal.cell * factor)


def _candidates(test: Sequence[Crystal], corpus: Sequence[Crystal], window: float) -> Indices:
    """Pairs of one formula and similar volumes: indices ``(n_pairs, 2)``."""
    wanted: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for i, crystal in enumerate(test):
        wanted[tuple(crystal.composition.items())].append(i)
    known: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for j, crystal in enumerate(corpus):
        formula = tuple(crystal.composition.items())
        if formula in wanted:
            known[formula].append(j)
    found = []
    for formula, theirs in known.items():
        own = np.array(wanted[formula])
        volumes = np.array([_log_volume(corpus[j]) for j in theirs])
        order = np.argsort(volumes)
        ascending, sorted_theirs = volumes[order], np.array(theirs)[order]
        mine = np.array([_log_volume(test[i]) for i in own])
        first = np.searchsorted(ascending, mine - window, side="left")
        last = np.searchsorted(ascending, mine + window, side="right")
        for i, a, b in zip(own, first, last, strict=True):
            found.append(np.stack([np.full(b - a, i), sorted_theirs[a:b]], axis=1))
    return np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)


def _log_volume(crystal: Crystal) -> float:
    return float(np.log(crystal.volume / crystal.n_atoms))
