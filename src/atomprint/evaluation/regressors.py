"""Models of scikit-learn with hyper-parameters chosen by cross-validation on training rows only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from atomprint.ground.errors import DataError, UsageError
from atomprint.heads.target import Target

Array = npt.NDArray[np.float64]
Predictor = Callable[[Array], Array]
Progress = Callable[[int, int, dict[str, float]], None]
RegressorName = Literal["constant", "ridge", "kernel", "knn", "forest", "boosting"]

N_FOLDS = 5
MAX_TUNING_ROWS = 2_000
"""Settings are chosen on at most so many rows, drawn at random."""
MAX_KERNEL_ROWS = 8_000
"""A kernel model is fitted on at most so many rows, drawn at random: its cost is cubic."""

GRIDS: dict[str, list[dict[str, Any]]] = {
    "constant": [{"of": "median"}, {"of": "mean"}],
    "ridge": [{"alpha": 10.0**k} for k in range(-2, 6)],
    "kernel": [
        {"kernel": kernel, "width": width, "alpha": alpha}
        for kernel in ("laplacian", "rbf")
        for width in (0.5, 1.0, 2.0, 4.0)
        for alpha in (1e-4, 1e-3, 1e-2, 1e-1)
    ],
    "knn": [
        {"n_neighbors": k, "weights": w} for k in (1, 3, 5, 10, 20) for w in ("uniform", "distance")
    ],
    "forest": [{"max_features": 1 / 3}, {"max_features": 1.0}],
    "boosting": [
        {"loss": "squared_error", "max_leaf_nodes": 16},
        {"loss": "absolute_error", "max_leaf_nodes": 16},
    ],
}
"""What is tried, in this order; of equals the first is chosen. For classes ``alpha`` is 1 / C."""

GRIDS_OF_CLASSES: dict[str, list[dict[str, Any]]] = {
    **GRIDS,
    "constant": [{"of": "frequencies"}],
    "kernel": [
        {"kernel": "rbf", "width": width, "alpha": alpha}
        for width in (1.0, 2.0, 4.0)
        for alpha in (1e-2, 1e-1, 1.0)
    ],
    "boosting": [{"loss": "log_loss", "max_leaf_nodes": n} for n in (4, 16)],
}
N_TREES = 200
N_ROUNDS = 200


@dataclass(frozen=True)
class Tuned:
    """A fitted model.

    Attributes
    ----------
    predict
        ``(n, n_features) -> (n, size)``: values, or probabilities of classes.
    out_of_fold
        Of every training row, by a model with the chosen settings that has not seen the row,
        ``(n_train, size)``. The choice itself was made with all rows.
    chosen, score
        Settings, and their error in cross-validation: mean absolute error, or log loss.
    """

    predict: Predictor
    out_of_fold: Array
    chosen: dict[str, Any]
    score: float


def grid_of(name: RegressorName, target: Target) -> list[dict[str, Any]]:
    """All settings that are tried."""
    return (GRIDS_OF_CLASSES if target.is_class else GRIDS)[name]


def tune(
    name: RegressorName,
    features: Array,
    labels: Array,
    target: Target,
    seed: int,
    progress: Progress | None = None,
) -> Tuned:
    """Choose settings by 5-fold cross-validation, then fit all rows.

    Parameters
    ----------
    name
        Of the model.
    features
        ``(n, n_features)``.
    labels
        ``(n,)``: numbers, or classes 0, 1, ...
    target
        What the labels are.
    seed
        Of folds and of everything drawn.
    progress
        Called as ``progress(step, n_steps, numbers)``.

    Raises
    ------
    DataError
        If there are fewer rows than folds.
    UsageError
        If scikit-learn is not installed.
    """
    n = len(labels)
    if n < N_FOLDS:
        raise DataError(
            f"{n} crystals with the label {target.name!r} are too few for a cross-validation; "
            f"give at least {N_FOLDS}"
        )
    grid = grid_of(name, target)
    rng = np.random.default_rng((seed, 5))
    order = rng.permutation(n)
    rows = np.sort(order[:MAX_TUNING_ROWS])
    n_steps = len(grid) * N_FOLDS + 1

    def cross_validate(
        settings: dict[str, Any], chosen_rows: npt.NDArray[np.int64], first: int
    ) -> Array:
        fold = np.empty(n, dtype=np.int64)
        fold[order] = np.arange(n) % N_FOLDS
        out = np.full((n, target.size), np.nan)
        for k in range(N_FOLDS):
            fitted, left = chosen_rows[fold[chosen_rows] != k], chosen_rows[fold[chosen_rows] == k]
            model = fit(name, settings, features[fitted], labels[fitted], target, seed)
            out[left] = model(features[left])
            if progress is not None:
                progress(min(first + k + 1, n_steps), n_steps, {})
        return out

    best: tuple[float, int, Array] | None = None
    for index, settings in enumerate(grid):
        out = cross_validate(settings, rows, index * N_FOLDS)
        score = error(out[rows], labels[rows], target)
        if best is None or score < best[0]:
            best = score, index, out
    if best is None:
        raise UsageError(f"{name}: there are no settings to try")
    score, index, out = best
    if len(rows) < n:
        out = cross_validate(grid[index], np.arange(n), n_steps)
    model = fit(name, grid[index], features, labels, target, seed)
    if progress is not None:
        progress(n_steps, n_steps, {})
    return Tuned(model, out, grid[index], score)


def error(predicted: Array, labels: Array, target: Target) -> float:
    """Mean absolute error, or log loss: what settings are chosen by."""
    if not target.is_class:
        return float(np.abs(predicted[:, 0] - labels).mean())
    right = predicted[np.arange(len(labels)), labels.astype(int)]
    return float(-np.log(np.clip(right, 1e-6, 1)).mean())


def fit(
    name: RegressorName,
    settings: dict[str, Any],
    features: Array,
    labels: Array,
    target: Target,
    seed: int,
) -> Predictor:
    """Fit one model with given settings."""
    model = _fit(name, settings, features, labels, target, seed)
    # Models of scikit-learn refuse an empty table.
    return lambda rows: model(rows) if len(rows) else np.zeros((0, target.size))


def _fit(
    name: RegressorName,
    settings: dict[str, Any],
    features: Array,
    labels: Array,
    target: Target,
    seed: int,
) -> Predictor:
    size = target.size
    if name == "constant" or (target.is_class and len(np.unique(labels)) == 1):
        if target.is_class:
            value = np.bincount(labels.astype(int), minlength=size) / len(labels)
        else:
            value = np.array([getattr(np, settings["of"])(labels)])
        return lambda rows: np.tile(value, (len(rows), 1))
    model = _build(name, settings, features, target, seed)
    kept = np.arange(len(labels))
    if name == "kernel" and len(kept) > MAX_KERNEL_ROWS:
        kept = np.random.default_rng((seed, 6)).permutation(len(kept))[:MAX_KERNEL_ROWS]
    if target.is_class:
        model.fit(features[kept], labels[kept].astype(int))
        seen = model.classes_

        def probabilities(rows: Array) -> Array:
            # A class that no training row has gets no probability.
            out = np.zeros((len(rows), size))
            out[:, seen] = model.predict_proba(rows)
            return out

        return probabilities
    # Penalties and stopping rules know nothing of units: labels have mean 0 and deviation 1.
    mean, scale = labels.mean(), labels.std() or 1.0
    model.fit(features[kept], (labels[kept] - mean) / scale)
    return lambda rows: np.asarray(model.predict(rows)).reshape(-1, 1) * scale + mean


def _build(
    name: RegressorName, settings: dict[str, Any], features: Array, target: Target, seed: int
) -> Any:
    try:
        from sklearn import ensemble, kernel_approximation, kernel_ridge, linear_model, neighbors
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise UsageError(
            "baselines and probes need scikit-learn, which is not installed: "
            'pip install "atomprint[sklearn]"'
        ) from None
    classes = target.is_class
    if name == "forest":
        kind = ensemble.RandomForestClassifier if classes else ensemble.RandomForestRegressor
        return kind(n_estimators=N_TREES, random_state=seed, n_jobs=1, **settings)
    if name == "boosting":
        kind = (
            ensemble.HistGradientBoostingClassifier
            if classes
            else ensemble.HistGradientBoostingRegressor
        )
        return kind(
            max_iter=N_ROUNDS, learning_rate=0.1, min_samples_leaf=5, max_features=0.3,
            early_stopping=False, random_state=seed, **settings,
        )  # fmt: skip
    if name == "knn":
        kind = neighbors.KNeighborsClassifier if classes else neighbors.KNeighborsRegressor
        k = min(settings["n_neighbors"], len(features))
        model: Any = kind(n_neighbors=k, weights=settings["weights"])
        return make_pipeline(StandardScaler(), model)
    if name == "ridge":
        model = (
            linear_model.LogisticRegression(C=1 / settings["alpha"], max_iter=300)
            if classes
            else linear_model.Ridge(settings["alpha"])
        )
        return make_pipeline(StandardScaler(), model)
    gamma = _gamma(settings["kernel"], settings["width"], features)
    if classes:
        n_landmarks = min(300, len(features))
        nystroem = kernel_approximation.Nystroem(
            settings["kernel"], gamma=gamma, n_components=n_landmarks, random_state=seed
        )
        logistic = linear_model.LogisticRegression(C=1 / settings["alpha"], max_iter=300)
        return make_pipeline(StandardScaler(), nystroem, logistic)
    ridge = kernel_ridge.KernelRidge(
        alpha=settings["alpha"], kernel=settings["kernel"], gamma=gamma
    )
    return make_pipeline(StandardScaler(), ridge)


def _gamma(kernel: str, width: float, features: Array) -> float:
    """Inverse scale of a kernel: ``width`` times the usual distance of two standardised rows."""
    n_features = max(1, int((features.std(0) > 0).sum()))
    if kernel == "rbf":
        return 1 / (2 * n_features * width**2)
    # Manhattan distance: the mean of |a - b| is 2 / sqrt(pi) for normal a and b.
    return 1 / (1.13 * n_features * width)
