"""Which corpora lie near a set of crystals, and in what shares they would be mixed for it.

All candidates and the set are placed in one space, that of :mod:`atomprint.evaluation.coverage`
fitted on all candidates together, so that distances to different candidates can be compared. Near
is not the same as useful: what a corpus is worth is told by a twin alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from atomprint.data.selection import pick
from atomprint.evaluation.coverage import FEWEST, CoverageIndex, K, crystal_rows
from atomprint.evaluation.neighbours import mean_distances
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal

MOST = 2_000
"""Crystals of a candidate, and of the set, that are looked at: so many at random."""
LEAST_SHARE = 0.05
"""A candidate that is nearest to a smaller part of the set is left out of the mix."""
NEAR = 0.5
"""Part of the set that the mix must cover for it to be called near."""


@dataclass(frozen=True)
class Candidate:
    """A corpus, seen from a set of crystals.

    Attributes
    ----------
    name
        Of the corpus.
    n_crystals
        That it has.
    covered
        Part of the set that is no farther from it than 95 % of its own crystals are.
    nearest
        Part of the set to which no other candidate is nearer.
    distance
        Median distance of the set, dimensionless: about 1 is the spread of all candidates.
    weight
        In the proposed mix; 0 for one that is left out.
    """

    name: str
    n_crystals: int
    covered: float
    nearest: float
    distance: float
    weight: float


@dataclass(frozen=True)
class Suggestion:
    """What to pre-train on for a set.

    Attributes
    ----------
    candidates
        All of them, the nearest first.
    covered
        Part of the set that some candidate covers.
    n_set
        Crystals of the set that were looked at.
    """

    candidates: list[Candidate]
    covered: float
    n_set: int

    @property
    def sentence(self) -> str:
        """The proposal for people."""
        mix = [one for one in self.candidates if one.weight]
        text = ", ".join(f"{one.name} {one.weight:.0%}" for one in mix)
        if self.covered < NEAR:
            return (
                f"No candidate is near: {self.covered:.0%} of {self.n_set:,} crystals are covered "
                f"by any. The best there is: {text}. Look for crystals of this kind, or pre-train "
                "on your own ones without their labels."
            )
        return f"{text}: covers {self.covered:.0%} of {self.n_set:,} crystals."


def suggest(
    crystals: Sequence[Crystal],
    candidates: Mapping[str, Sequence[Crystal]],
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Suggestion:
    """Score candidates by how they cover a set, and propose shares.

    A candidate's share is the part of the set to which it is the nearest, of as many crystals of
    each.

    Parameters
    ----------
    crystals
        The set; labels are not looked at.
    candidates
        By name.
    seed
        Of the choice of crystals that are looked at.
    progress
        Called as ``progress(name, done, total)``; the set is called ``set``.

    Raises
    ------
    UsageError
        If there is no candidate.
    DataError
        If a candidate has too few crystals, or the set none.
    """
    if not candidates:
        raise UsageError("there is no corpus to choose from; name stores or files")
    if not crystals:
        raise DataError("there are no crystals to choose a corpus for")
    for name, corpus in candidates.items():
        if len(corpus) < FEWEST:
            raise DataError(
                f"{name}: has {len(corpus)} crystals, and at least {FEWEST} are needed to say what "
                "is far from it"
            )

    def rows(name: str, part: Sequence[Crystal]) -> np.ndarray:
        def count(done: int, total: int) -> None:
            if progress is not None:
                progress(name, done, total)

        rng = np.random.default_rng((seed, 8))
        chosen = np.sort(rng.choice(len(part), min(MOST, len(part)), replace=False))
        return crystal_rows(list(pick(part, chosen)), count)

    found = {name: rows(name, corpus) for name, corpus in candidates.items()}
    own = rows("set", crystals)
    index = CoverageIndex.from_rows(np.concatenate(list(found.values())))
    mine = index.project(own)
    distances, covered = [], []
    for part in found.values():
        points = index.project(part)
        distances.append(mean_distances(mine, points, K))
        usual = np.quantile(mean_distances(points, points, K, leave_one_out=True), 0.95)
        covered.append(distances[-1] <= usual)
    nearest = np.argmin(distances, axis=0)
    shares = np.bincount(nearest, minlength=len(found)) / len(mine)
    # A candidate that is nearest to few may still be the largest part there is.
    kept = shares >= min(LEAST_SHARE, shares.max())
    weights = np.where(kept, shares, 0.0) / shares[kept].sum()
    scored = [
        Candidate(
            name, len(candidates[name]), float(covered[at].mean()), float(shares[at]),
            float(np.median(distances[at])), float(weights[at]),
        )
        for at, name in enumerate(found)
    ]  # fmt: skip
    scored.sort(key=lambda one: (-one.weight, one.distance))
    return Suggestion(scored, float(np.any(covered, axis=0).mean()), len(mine))
