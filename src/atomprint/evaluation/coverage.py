"""How far crystals lie from a corpus, in units that the corpus itself gives.

A crystal is a row of numbers: its environments (embedded atom density with element channels, mean
and variance over atoms), its composition, its density. Far is what is far for the corpus: distances
are compared with those of corpus crystals to the others of the corpus.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from atomprint.data.embedded import CORPUS
from atomprint.data.splits import rank
from atomprint.evaluation.composition import composition_features
from atomprint.evaluation.neighbours import mean_distances
from atomprint.ground import elements
from atomprint.ground.errors import DataError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals

Array = npt.NDArray[np.float64]
Verdict = Literal["inside", "edge", "outside"]
Counter = Callable[[int, int], None]

FORMAT = 1
FILE = "coverage.npz"
MOST = 5_000
"""Crystals of a corpus that are kept; they are chosen by a hash of their ids."""
FEWEST = 20
K = 5
N_AXES = 30
WEIGHTS = (1.0, 0.5, 0.5)
"""Of environments, composition and density in a distance."""
FLOOR = 0.05
"""A column's spread is at least this part of its spread in the embedded corpus: in a corpus of one
element, or of one density, another one is then far, and rounding errors are not blown up."""

EDGE = 0.20
"""Share of a set beyond the corpus's 95th percentile from which on it lies at the edge."""
OUTSIDE = 0.10
"""Share beyond the 99th percentile from which on it lies outside; see docs/coverage.md."""
CHANCE = 1e-3
"""Either share must be less likely than this for crystals of the corpus itself."""


@dataclass(frozen=True)
class Coverage:
    """Where the crystals of a set lie, seen from a corpus.

    Attributes
    ----------
    ids, formulas
        Of the crystals.
    distances
        Mean distance to the `K` nearest corpus crystals, ``(n,)``, dimensionless: about 1 is the
        spread of the corpus.
    percentiles
        Share of corpus crystals that are nearer to the rest of the corpus, ``(n,)``, 0 to 1.
    beyond_95, beyond_99
        Share of the set farther than 95 % and 99 % of the corpus; 0.05 and 0.01 are expected of
        crystals of the corpus's own kind.
    auc
        Chance that a crystal of the set is farther than one of the corpus; 0.5 cannot be told
        apart.
    verdict
        ``outside``: at least a tenth is beyond the 99th percentile. ``edge``: at least a fifth is
        beyond the 95th. Both only if chance does not explain it. Else ``inside``.
    """

    ids: list[str]
    formulas: list[str]
    distances: Array
    percentiles: Array
    beyond_95: float
    beyond_99: float
    auc: float
    verdict: Verdict

    @property
    def sentence(self) -> str:
        """The verdict for people."""
        shares = (
            f"{self.beyond_95:.0%} of {len(self.ids):,} crystals are farther from the corpus than "
            f"95 % of its own crystals (5 % expected), {self.beyond_99:.0%} farther than 99 % "
            "(1 % expected)"
        )
        return {
            "inside": f"Inside the corpus: {shares}.",
            "edge": f"At the edge of the corpus: {shares}; pre-training may help the far ones "
            "less.",
            "outside": f"Warning, outside the corpus: {shares}; do not count on pre-training here "
            "without a from-scratch twin beside it, or add crystals of this kind to the corpus.",
        }[self.verdict]

    def farthest(self, n: int = 5) -> list[dict[str, Any]]:
        """The crystals farthest from the corpus: id, formula, distance, percentile."""
        order = np.argsort(-self.distances, kind="stable")[:n]
        return [
            {
                "id": self.ids[i],
                "formula": self.formulas[i],
                "distance": float(self.distances[i]),
                "percentile": float(self.percentiles[i]),
            }
            for i in order
        ]

    def to_dict(self) -> dict[str, Any]:
        """All but the single crystals, ready for JSON."""
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "n_crystals": len(self.ids),
            "beyond_95": self.beyond_95,
            "beyond_99": self.beyond_99,
            "auc": self.auc,
            "median_percentile": float(np.median(self.percentiles)),
            "farthest": self.farthest(),
        }


@dataclass(frozen=True)
class CoverageIndex:
    """What is kept of a corpus to tell how far a crystal is from it.

    Attributes
    ----------
    mean, scale
        Of the columns, ``(n_columns,)``; the scale has the weights in it.
    axes
        Principal components, ``(n_columns, n_axes)``.
    points
        Corpus crystals on these axes, and the length of what the axes miss,
        ``(n_points, n_axes + 1)``.
    own
        Distances of the points to the others, ascending, ``(n_points,)``.
    about
        Of the corpus: ``n_corpus`` and whatever else was given.
    """

    mean: Array
    scale: Array
    axes: Array
    points: Array
    own: Array
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        crystals: Sequence[Crystal],
        about: dict[str, Any] | None = None,
        progress: Counter | None = None,
    ) -> "CoverageIndex":
        """Describe a corpus by at most `MOST` of its crystals; their order plays no part.

        Parameters
        ----------
        crystals
            The corpus.
        about
            Kept with it, ready for JSON.
        progress
            Called as ``progress(done, total)``.

        Raises
        ------
        DataError
            If there are fewer than `FEWEST` crystals.
        """
        if len(crystals) < FEWEST:
            raise DataError(
                f"the corpus has {len(crystals)} crystals, and at least {FEWEST} are needed to say "
                "what is far from it"
            )
        chosen = sorted(crystals, key=lambda crystal: rank(crystal.id, 0))[:MOST]
        return cls.from_rows(
            crystal_rows(chosen, progress), {"n_corpus": len(crystals), **(about or {})}
        )

    @classmethod
    def from_rows(cls, rows: Array, about: dict[str, Any] | None = None) -> "CoverageIndex":
        """Describe a corpus by rows of :func:`crystal_rows`, ``(n, n_columns)``."""
        mean = rows.mean(0)
        spread = np.maximum(rows.std(0), FLOOR * _yardstick())
        # Columns without any spread, here and there, say nothing.
        scale = np.where(spread > 0, _column_weights() / np.where(spread > 0, spread, 1.0), 0.0)
        centred = (rows - mean) * scale
        _, _, rotation = np.linalg.svd(centred, full_matrices=False)
        axes = rotation[: min(N_AXES, len(rows) - 1)].T
        points = _project(centred, axes)
        own = np.sort(mean_distances(points, points, K, leave_one_out=True))
        return cls(mean, scale, axes, points, own, about or {})

    def project(self, rows: Array) -> Array:
        """Place rows of :func:`crystal_rows` where the points are, ``(n, n_axes + 1)``."""
        return _project((rows - self.mean) * self.scale, self.axes)

    def measure(self, crystals: Sequence[Crystal], progress: Counter | None = None) -> Coverage:
        """How far crystals lie from the corpus.

        Raises
        ------
        DataError
            If there are none.
        """
        if not crystals:
            raise DataError("there are no crystals to look at")
        distances = mean_distances(self.project(crystal_rows(crystals, progress)), self.points, K)
        n = len(self.own)
        below = np.searchsorted(self.own, distances, side="left")
        upto = np.searchsorted(self.own, distances, side="right")
        beyond = [float((distances > np.quantile(self.own, q)).mean()) for q in (0.95, 0.99)]
        return Coverage(
            [c.id for c in crystals],
            [c.formula for c in crystals],
            distances,
            np.asarray(below / n),
            beyond[0],
            beyond[1],
            # Mann-Whitney: ties count one half.
            float((below + upto).mean() / (2 * n)),
            verdict_of(beyond[0], beyond[1], len(crystals)),
        )

    def save(self, folder: Path) -> Path:
        """Write the index into a run folder."""
        path = folder / FILE
        arrays = {
            name: getattr(self, name).astype(np.float32)
            for name in ("mean", "scale", "axes", "points", "own")
        }
        about = json.dumps({"format": FORMAT, **self.about})
        np.savez_compressed(path, about=np.array(about), **arrays)
        return path

    @classmethod
    def load(cls, folder: Path) -> "CoverageIndex":
        """Read the index of a run folder.

        Raises
        ------
        DataError
            If the file is broken or of a newer format.
        """
        path = folder / FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                names = ("mean", "scale", "axes", "points", "own")
                arrays = {name: file[name].astype(np.float64) for name in names}
            found = about.pop("format")
            fits = len(arrays["mean"]) == len(_column_weights())
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{path}: no readable coverage index ({error}); remove it") from None
        if found != FORMAT or not fits:
            raise DataError(
                f"{path}: made by another version of atomprint; remove it to have it made anew"
            )
        return cls(**arrays, about=about)


def verdict_of(beyond_95: float, beyond_99: float, n: int) -> Verdict:
    """Verdict on a set of ``n`` crystals; the rule is that of :class:`Coverage`."""
    from scipy.stats import binom

    def by_chance(share: float, expected: float) -> float:
        return float(binom.sf(round(share * n) - 1, n, expected))

    if beyond_99 >= OUTSIDE and by_chance(beyond_99, 0.01) < CHANCE:
        return "outside"
    if beyond_95 >= EDGE and by_chance(beyond_95, 0.05) < CHANCE:
        return "edge"
    return "inside"


def crystal_rows(crystals: Sequence[Crystal], progress: Counter | None = None) -> Array:
    """What a distance is made of, ``(n_crystals, n_columns)``, before standardisation.

    Environments (see :data:`atomprint.evaluation.baselines.FINGERPRINT`), composition, logarithms
    of the volume an atom (Å³) and of the part of it that covalent spheres fill.
    """
    from atomprint.evaluation.baselines import FINGERPRINT
    from atomprint.fingerprints.compute import compute

    def count(done: int) -> None:
        if progress is not None:
            progress(done, len(crystals))

    environments = compute([FINGERPRINT.build()], crystals, per="crystal", progress=count)[0]
    logs = np.sign(environments) * np.log1p(np.abs(environments))
    volumes = np.array([c.volume / c.n_atoms for c in crystals])
    spheres = np.array([(elements.covalent_radius[c.numbers] ** 3).mean() for c in crystals])
    density = np.log(np.stack([volumes, 4 / 3 * np.pi * spheres / volumes], axis=1))
    return np.concatenate([logs, composition_features(crystals), density], axis=1)


@cache
def _yardstick() -> Array:
    """Spread of every column over a part of the embedded corpus."""
    crystals = read_crystals(CORPUS).crystals[::13]
    return np.asarray(crystal_rows(crystals).std(0))


@cache
def _column_weights() -> Array:
    """Weight of every column: blocks count by their weight, whatever their number of columns."""
    from atomprint.evaluation.baselines import FINGERPRINT
    from atomprint.evaluation.composition import names

    fingerprint = FINGERPRINT.build().with_per("crystal")
    sizes = (fingerprint.n_features, len(names()), 2)
    blocks = zip(WEIGHTS, sizes, strict=True)
    return np.concatenate([np.full(size, weight / np.sqrt(size)) for weight, size in blocks])


def _project(rows: Array, axes: Array) -> Array:
    """Coordinates on the axes, and the length of what they miss."""
    on = rows @ axes
    missed = np.sqrt(np.maximum((rows**2).sum(1) - (on**2).sum(1), 0.0))
    return np.concatenate([on, missed[:, None]], axis=1)
