"""Compiled loops over the operations of a space group."""

from typing import Any

import numpy as np

from atomprint.ground.compiled import compiled

# Images nearer than this, in lattice vectors, are one point.
_ONE_POINT = 1e-3


@compiled()
def orbit_of(point: Any, rotations: Any, translations: Any) -> Any:
    """Every image of a point in the cell, once.

    Parameters
    ----------
    point
        Fractional coordinates, ``(3,)``.
    rotations, translations
        Of the operations, ``(n, 3, 3)`` and ``(n, 3)``: a row of coordinates becomes
        ``row @ rotation + translation``.

    Returns
    -------
    ndarray
        ``(n_images, 3)``, in ``[0, 1)``, in the order of the operations.
    """
    n = len(rotations)
    images = np.empty((n, 3))
    is_new = np.ones(n, np.bool_)
    n_new = 0
    for k in range(n):
        for axis in range(3):
            value = 0.0
            for m in range(3):
                value += point[m] * rotations[k, m, axis]
            images[k, axis] = (value + translations[k, axis]) % 1.0
        for other in range(k):
            gap = 0.0
            for axis in range(3):
                apart = (images[k, axis] - images[other, axis] + 0.5) % 1.0 - 0.5
                gap = max(gap, abs(apart))
            if gap < _ONE_POINT:
                is_new[k] = False
                break
        n_new += is_new[k]
    orbit = np.empty((n_new, 3))
    at = 0
    for k in range(n):
        if is_new[k]:
            orbit[at] = images[k]
            at += 1
    return orbit


@compiled()
def fix(point: Any, rotation: Any, translation: Any, fixed: Any) -> bool:
    """Write the point nearby that an operation leaves where it is; whether there is one.

    It is the mean over the powers of the operation, of which there are 6 at most, brought next to
    the point by lattice translations. A screw axis or a glide plane leaves no point where it is.

    Parameters
    ----------
    point, rotation, translation
        As :func:`orbit_of` takes them; one operation.
    fixed
        What is written, ``(3,)``.
    """
    shift, step, after = np.empty(3), point.copy(), np.empty(3)
    for axis in range(3):
        value = 0.0
        for m in range(3):
            value += point[m] * rotation[m, axis]
        shift[axis] = np.round(value + translation[axis] - point[axis])
        fixed[axis] = 0.0
    for _ in range(6):
        for axis in range(3):
            fixed[axis] += step[axis] / 6.0
            value = 0.0
            for m in range(3):
                value += step[m] * rotation[m, axis]
            after[axis] = value + translation[axis] - shift[axis]
        step[:] = after
    return bool(np.abs(step - point).max() < 1e-6)
