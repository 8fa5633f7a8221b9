"""Cheap competitors without any network: what a pre-trained one has to beat."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from atomprint.evaluation.arms import Arm, ArmKind, Array, Fitted, Progress
from atomprint.evaluation.composition import composition_features
from atomprint.evaluation.composition import names as composition_names
from atomprint.evaluation.features import CACHE
from atomprint.evaluation.magpie import magpie_features, matminer_is_here, matminer_version
from atomprint.evaluation.regressors import MAX_KERNEL_ROWS, RegressorName, grid_of, tune
from atomprint.fingerprints.ead import EADSettings
from atomprint.ground.errors import DataError, UsageError
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.training.predict import labels_of

FeatureKind = Literal["none", "composition", "magpie", "fingerprints"]

SOME = 100
"""Crystals that tell what predicting one takes."""

FINGERPRINT = EADSettings(cutoff=6.0, n_shells=6, l_max=2, pool=("mean", "variance"))
"""What stands for structure beside the element statistics: 180 numbers a crystal."""


class TableArm(Arm):
    """An arm that makes a row of numbers of every crystal and gives them to scikit-learn.

    Members define :meth:`features` and :meth:`identity`.
    """

    regressor: RegressorName

    def features(self, crystals: Sequence[Crystal]) -> Array:
        """Rows of crystals, ``(n_crystals, n_features)``; labels must not be looked at."""
        raise NotImplementedError

    def fit_predict(
        self,
        train: Sequence[Crystal],
        test: Sequence[Crystal],
        target: Target,
        seed: int,
        progress: Progress | None = None,
    ) -> Fitted:
        """Choose settings by cross-validation on ``train``, fit all of it, predict ``test``.

        ``held_out`` are the out-of-fold predictions of the chosen settings.

        Raises
        ------
        DataError
            If fewer than 5 crystals have the label, or a class is none of the target's.
        UsageError
            If the target has several numbers a crystal, or one an atom.
        """
        if target.per != "crystal" or (target.size > 1 and not target.is_class):
            raise UsageError(
                f"{self.name}: label {target.name!r} has several numbers a crystal, and baselines "
                "and probes predict one"
            )
        known = [c for c in train if np.isfinite(labels_of([c], target.name, "crystal")).all()]
        labels = labels_of(known, target.name, "crystal")
        if target.is_class and not np.isin(labels, np.arange(target.size)).all():
            raise DataError(f"label {target.name!r} has values other than 0 ... {target.size - 1}")
        rows = self.features([*known, *test])
        tuned = tune(self.regressor, rows[: len(known)], labels[:, 0], target, seed, progress)
        return Fitted(
            tuned.predict(rows[len(known) :]),
            (tuned.out_of_fold, labels),
            about={
                "chosen": tuned.chosen,
                "cross_validation": tuned.score,
                "cross_validated_by": "log loss" if target.is_class else "MAE",
                "n_features": rows.shape[1],
                "seconds_per_crystal": self._seconds_per_crystal(known, tuned.predict),
            },
        )

    def _seconds_per_crystal(
        self, crystals: Sequence[Crystal], predict: Callable[[Array], Array]
    ) -> float:
        # Under other names none of them is known, so that features are computed.
        some = [replace(c, id=f"{c.id} once more") for c in crystals[:SOME]]
        started = time.perf_counter()
        predict(self.features(some))
        return (time.perf_counter() - started) / len(some)


class Baseline(TableArm):
    """Numbers that need no network, and a model of scikit-learn.

    Parameters
    ----------
    name
        As people see it.
    features
        ``none``; ``composition``, see :mod:`atomprint.evaluation.composition`; ``magpie``, see
        :mod:`atomprint.evaluation.magpie`; ``fingerprints``: composition and :data:`FINGERPRINT`.
    regressor
        The model, see :mod:`atomprint.evaluation.regressors`.
    target
        What is predicted; the settings that are tried depend on its task.
    """

    kind: ArmKind = "baseline"

    def __init__(
        self, name: str, features: FeatureKind, regressor: RegressorName, target: Target
    ) -> None:
        self.name = name
        self.source = features
        self.regressor = regressor
        self.target = target

    def identity(self) -> dict[str, Any]:
        """Features, model, and all settings that are tried."""
        own = self.source in ("composition", "fingerprints")
        more = {"matminer": matminer_version()} if self.source == "magpie" else {}
        return {
            "features": self.source,
            **more,
            "columns": composition_names() if own else [],
            "fingerprint": FINGERPRINT.model_dump(mode="json")
            if self.source == "fingerprints"
            else None,
            "model": self.regressor,
            "tried": grid_of(self.regressor, self.target),
            "max_kernel_rows": MAX_KERNEL_ROWS,
        }

    def features(self, crystals: Sequence[Crystal]) -> Array:
        """Rows of crystals."""
        if self.source == "none":
            return np.zeros((len(crystals), 0))
        if self.source == "magpie":
            return CACHE.rows(f"magpie {matminer_version()}", crystals, magpie_features)
        rows = composition_features(crystals)
        if self.source == "fingerprints":
            rows = np.concatenate([rows, fingerprint_features(crystals)], axis=1)
        return rows


def fingerprint_features(crystals: Sequence[Crystal]) -> Array:
    """:data:`FINGERPRINT` of crystals, computed once in a process.

    The numbers grow as powers of a density and are given as ``sign(x) log(1 + |x|)``, so that a
    dense crystal is far from the others, not out of all proportion.
    """
    from atomprint.fingerprints.compute import compute

    def make(some: Sequence[Crystal]) -> Array:
        rows = compute([FINGERPRINT.build()], some, per="crystal")[0].astype(np.float64)
        return np.asarray(np.sign(rows) * np.log1p(np.abs(rows)))

    name = json.dumps(FINGERPRINT.model_dump(mode="json"), sort_keys=True)
    return CACHE.rows(name, crystals, make)


def baselines(target: Target) -> list[Arm]:
    """The default set of baselines; the one with Magpie's statistics only where matminer is.

    Parameters
    ----------
    target
        What is predicted: a number or a class, per crystal.
    """
    constant = "class frequencies" if target.is_class else "mean or median"
    kernel = "logistic regression on a kernel" if target.is_class else "kernel ridge"
    magpie = [Baseline("Magpie, random forest", "magpie", "forest", target)]
    return [
        Baseline(constant, "none", "constant", target),
        Baseline("composition, random forest", "composition", "forest", target),
        *(magpie if matminer_is_here() else []),
        Baseline(f"fingerprints, {kernel}", "fingerprints", "kernel", target),
        Baseline("fingerprints, boosted trees", "fingerprints", "boosting", target),
    ]
