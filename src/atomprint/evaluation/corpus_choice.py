"""Which corpora lie near a set of crystals, and in what shares they would be mixed for it.

All candidates and the set are placed in one space, that of :mod:`atomprint.evaluation.coverage`
fitted on all candidates together, so that distances to different candidates can be compared. Near
is not the same as useful: what a corpus is worth is told by a twin alone.

A candidate's size must not count, since a corpus that is fetched or made can have any. But the more
crystals are looked at, the nearer the nearest of them are, whatever they are like. So as many of
each are compared, as many as the smallest candidate has: of equally distributed candidates each is
then the nearest with the same chance. What the others have more is not thrown away: they are drawn
from many times, and the mean is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atomprint.data.selection import pick
from atomprint.evaluation.coverage import FEWEST, CoverageIndex, K, crystal_rows
from atomprint.evaluation.neighbours import mean_distances
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal

Array = npt.NDArray[np.float64]

MOST = 2_000
"""Crystals of a candidate, and of the set, that are looked at: so many at random."""
REPEATS = 5
"""Draws in which a crystal of the largest candidate takes part, on average."""
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
        Part of the set to which no other candidate is nearer, of as many crystals of each.
    distance
        Median distance of the set from as many crystals of it as of any other, dimensionless:
        about 1 is the spread of all candidates.
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
        Part of the set that some candidate of the mix covers.
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
                f"No candidate is near: the best there is, {text}, covers {self.covered:.0%} of "
                f"{self.n_set:,} crystals. Look for crystals of this kind, or pre-train on your "
                "own ones without their labels."
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
    each: those of the smallest candidate, and random parts of the others.

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
    # All crystals count alike in the space: were those of a small candidate given more weight, its
    # axes would be fitted to them, and other crystals of their kind would look far from them.
    index = CoverageIndex.from_rows(np.concatenate(list(found.values())))
    mine = index.project(own)
    points = [index.project(part) for part in found.values()]
    covered = [_covered(mine, part) for part in points]
    shares, distances = _compare(mine, points, np.random.default_rng((seed, 9)))
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
    in_mix = np.any(np.array(covered)[weights > 0], axis=0)
    return Suggestion(scored, float(in_mix.mean()), len(mine))


def _covered(mine: Array, points: Array) -> npt.NDArray[np.bool_]:
    """Which crystals of the set lie no farther from a candidate than most of its own."""
    usual = np.quantile(mean_distances(points, points, K, leave_one_out=True), 0.95)
    return np.asarray(mean_distances(mine, points, K) <= usual)


def _compare(mine: Array, points: Sequence[Array], rng: np.random.Generator) -> tuple[Array, Array]:
    """Shares of the set to which each candidate is the nearest, and distances from each.

    Both are means over draws of as many points of each candidate as the smallest has. Candidates
    that are equally near share a crystal.

    Returns
    -------
    tuple of ndarray
        ``(n_candidates,)`` and ``(n_candidates, n_set)``.
    """
    sizes = [len(part) for part in points]
    size = min(sizes)
    n_draws = 1 if size == max(sizes) else int(np.ceil(REPEATS * max(sizes) / size))
    # The smallest is the same in every draw.
    whole = {at: mean_distances(mine, part, K) for at, part in enumerate(points)
             if len(part) == size}  # fmt: skip
    shares, distances = np.zeros(len(points)), np.zeros((len(points), len(mine)))
    for _ in range(n_draws):
        drawn = np.stack(
            [
                whole[at]
                if at in whole
                else mean_distances(mine, part[rng.choice(len(part), size, replace=False)], K)
                for at, part in enumerate(points)
            ]
        )
        nearest = drawn == drawn.min(0)
        shares += (nearest / nearest.sum(0)).mean(1) / n_draws
        distances += drawn / n_draws
    return shares, distances
