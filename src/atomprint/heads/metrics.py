"""One number that says how well a target is predicted."""

import numpy as np
import numpy.typing as npt

from atomprint.heads.target import Target

Array = npt.NDArray[np.float64]


def metric_name(target: Target) -> str:
    """``MAE`` for a regression, ``ROC-AUC error`` for two classes, ``error rate`` for more.

    All three are better when lower, so that a gain reads the same everywhere.
    """
    if not target.is_class:
        return "MAE"
    return "ROC-AUC error" if target.size == 2 else "error rate"


def metric(target: Target, predicted: Array, wanted: Array) -> float:
    """Error of predictions in the target's unit; rows without a label do not count.

    Parameters
    ----------
    target
        What was predicted.
    predicted
        As :func:`atomprint.training.predict.predict` returns it: values, or probabilities.
    wanted
        Labels, one row a prediction; NaN where missing.

    Returns
    -------
    float
        NaN if no row has a label (for ROC-AUC: if only one class has).
    """
    if not target.is_class:
        error = np.abs(predicted - wanted)
        return float(np.nanmean(error)) if np.isfinite(error).any() else float("nan")
    known = np.isfinite(wanted[:, 0])
    classes = wanted[known, 0].astype(int)
    probabilities = predicted[known]
    if not known.any():
        return float("nan")
    if target.size == 2:
        return 1.0 - roc_auc(probabilities[:, 1], classes == 1)
    return float((probabilities.argmax(1) != classes).mean())


def roc_auc(score: Array, positive: npt.NDArray[np.bool_]) -> float:
    """Chance that a random positive scores above a random negative; ties count one half."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    # Mean rank (from 1) of each distinct value, so that ties share theirs.
    ranks = np.cumsum(counts) - 0.5 * (counts - 1)
    above = ranks[inverse][positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))
