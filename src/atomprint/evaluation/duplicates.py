"""Crystals of one set that are the same crystal, whatever cell they are written in.

By the measure of :mod:`atomprint.evaluation.leakage`: reduced formula, volume per atom and
fingerprint. Groups of one formula are looked at some at a time, so that memory does not grow with
the set.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from atomprint.data.selection import sizes_of, volumes_of
from atomprint.evaluation.leakage import (
    SAME,
    VOLUME,
    Indices,
    differences,
    shape_rows,
    squared_lengths,
)
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal

_AT_ONCE = 10_000
_PAIRS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Duplicate:
    """A crystal that an earlier one already is.

    Attributes
    ----------
    index, kept
        Of the later crystal, and of the earlier one.
    id, kept_id
        Their ids.
    distance
        How far their fingerprints differ.
    """

    index: int
    kept: int
    id: str
    kept_id: str
    distance: float


def find_duplicates(
    crystals: Sequence[Crystal],
    same: float = SAME,
    volume: float = VOLUME,
    *,
    confirm: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Duplicate]:
    """Crystals that are the same as an earlier one that is kept.

    Parameters
    ----------
    crystals
        A store, or any sequence.
    same, volume
        See :func:`atomprint.evaluation.leakage.find_leaks`; ``same=0`` finds crystals whose
        fingerprints are equal to five digits: copies, in whatever cell they are written.
    confirm
        Ask pymatgen's StructureMatcher too, with its own tolerances; far slower.
    progress
        Called with crystals done and in all.

    Returns
    -------
    list
        In the order of the crystals; of each the nearest of the earlier ones that are kept.

    Raises
    ------
    UsageError
        If ``confirm`` is asked for and pymatgen is not installed.
    """
    fits = _matcher() if confirm else None
    log_volumes = np.log(volumes_of(crystals) / sizes_of(crystals))
    found: list[Duplicate] = []
    done = 0
    for batch in _batches(crystals, log_volumes, volume):
        indices = np.concatenate(batch)
        chosen = [crystals[int(index)] for index in indices]
        rows = shape_rows(chosen)
        start = 0
        for group in batch:
            here = slice(start, start + len(group))
            found += _of_group(
                group, chosen[here], rows[here], log_volumes[group], (max(same, 1e-5), volume), fits
            )
            start += len(group)
        done += len(indices)
        if progress is not None:
            progress(done, len(crystals))
    if progress is not None:
        progress(len(crystals), len(crystals))
    return sorted(found, key=lambda duplicate: duplicate.index)


def _batches(
    crystals: Sequence[Crystal], log_volumes: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    volume: float,
) -> Iterator[list[Indices]]:  # fmt: skip
    """Yield crystals of one formula that have others of near volumes, some groups at a time."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, crystal in enumerate(crystals):
        counts = np.bincount(crystal.numbers)
        groups[(counts // np.gcd.reduce(counts)).tobytes()].append(index)
    batch: list[Indices] = []
    size = 0
    for members in groups.values():
        group = np.array(members, np.int64)
        order = np.argsort(log_volumes[group], kind="stable")
        near = np.diff(log_volumes[group][order]) <= volume
        has_other = np.zeros(len(group), bool)
        has_other[order[1:]] |= near
        has_other[order[:-1]] |= near
        group = group[has_other]
        if not len(group):
            continue
        batch.append(group)
        size += len(group)
        if size >= _AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _of_group(
    group: Indices,
    crystals: Sequence[Crystal],
    rows: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]",
    log_volumes: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    limits: tuple[float, float],
    fits: "Callable[[Crystal, Crystal], bool] | None",
) -> Iterator[Duplicate]:
    """Yield the duplicates among crystals of one formula."""
    same, volume = limits
    lengths = squared_lengths(rows)
    kept = np.ones(len(group), bool)
    step = max(1, _PAIRS_AT_ONCE // len(group))
    for start in range(1, len(group), step):
        laters = np.arange(start, min(start + step, len(group)))
        # Those of one step may yet turn out not to be kept.
        earlier = np.flatnonzero(kept[: laters[-1]])
        apart = np.abs(log_volumes[laters][:, None] - log_volumes[earlier])
        at, of = np.nonzero((apart <= volume) & (earlier < laters[:, None]))
        later, first = laters[at], earlier[of]
        far = differences(rows, later, first, lengths)
        chosen = np.flatnonzero(far <= same)
        # The nearest of the earlier ones, of equally near ones the first.
        for pair in chosen[np.lexsort((first[chosen], far[chosen], later[chosen]))]:
            i, j = int(later[pair]), int(first[pair])
            if not (kept[i] and kept[j]):
                continue
            if fits is None or fits(crystals[i], crystals[j]):
                kept[i] = False
                yield Duplicate(
                    int(group[i]), int(group[j]), crystals[i].id, crystals[j].id, float(far[pair])
                )


def _matcher() -> Callable[[Crystal, Crystal], bool]:
    try:
        from pymatgen.analysis.structure_matcher import StructureMatcher
        from pymatgen.core.structure import Structure
    except ImportError:
        raise UsageError(
            "--confirm asks pymatgen, which is not installed: pip install pymatgen"
        ) from None
    matcher = StructureMatcher()

    def fits(one: Crystal, other: Crystal) -> bool:
        first, second = (
            Structure(c.cell, c.numbers.tolist(), c.positions, coords_are_cartesian=True)
            for c in (one, other)
        )
        return bool(matcher.fit(first, second))

    return fits
