"""Statistics of the study: those of any evaluation, and which numbers of labels stand for which."""

from atomprint.evaluation.statistics import (
    Curve,
    Errors,
    Interval,
    LogRatios,
    ahead,
    common,
    curve,
    curve_means,
    gains,
    labels_needed,
    labels_reaching,
    log_ratios,
    mean_gain,
    mean_log,
    resampled,
)

__all__ = [
    "GRID",
    "Curve",
    "Errors",
    "Interval",
    "LogRatios",
    "ahead",
    "common",
    "curve",
    "curve_means",
    "gains",
    "labels_near",
    "labels_needed",
    "labels_reaching",
    "log_ratios",
    "mean_gain",
    "mean_log",
    "resampled",
]

GRID = (100, 300, 500, 1000)


def labels_near(errors: Errors, wanted: int) -> dict[str, int]:
    """Number of labels that stands for ``wanted``, for each set.

    A set with fewer labels than were asked for is measured with all it has; such a number is told
    from one that was asked for by being none of ``GRID``.
    """
    found: dict[str, set[int]] = {}
    for name, n_labels, _ in errors:
        found.setdefault(name, set()).add(n_labels)
    near = {}
    for name, numbers in found.items():
        whole = [n for n in numbers if n < wanted and n not in GRID]
        if wanted in numbers:
            near[name] = wanted
        elif whole:
            near[name] = max(whole)
    return near
