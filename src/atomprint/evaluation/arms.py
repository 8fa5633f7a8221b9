"""What every competitor of an evaluation has to offer: learn from some crystals, predict others.

Networks, baselines and probes stand side by side because they are one thing here: an `Arm`. An arm
never sees the labels of the crystals it is judged on, see `without_labels`; labels as rows are
read by :func:`atomprint.training.predict.labels_of`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal

Array = npt.NDArray[np.float64]
ArmKind = Literal["scratch", "pretrained", "baseline", "probe"]
Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Fitted:
    """What an arm has to show for one unit.

    Attributes
    ----------
    predicted
        Of the crystals it is judged on, ``(n_test, size)``: values in the target's unit, or the
        probability of every class, rows summing to 1.
    held_out
        Predictions for labelled crystals that were not fitted on, and their labels, each
        ``(n, size)`` (labels of classes ``(n, 1)``): what prediction intervals are made of. None
        where an arm has none.
    n_parameters
        Numbers that were fitted, where that means something; else 0.
    about
        What was chosen on the way (learning rate, hyper-parameters), ready for JSON;
        ``seconds_per_crystal``: what predicting one takes, once everything is fitted.
    """

    predicted: Array
    held_out: tuple[Array, Array] | None = None
    n_parameters: int = 0
    about: dict[str, Any] = field(default_factory=dict)


class Arm(ABC):
    """A way from labelled crystals to predictions.

    Attributes
    ----------
    name
        As people see it; two arms of an evaluation have different names.
    kind
        ``scratch``, ``pretrained``, ``baseline`` or ``probe``.
    """

    name: str
    kind: ArmKind

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """All that decides its predictions beside data and seed, ready for JSON."""

    @abstractmethod
    def fit_predict(
        self,
        train: Sequence[Crystal],
        test: Sequence[Crystal],
        target: Target,
        seed: int,
        progress: Progress | None = None,
    ) -> Fitted:
        """Learn from labelled crystals and predict others.

        Parameters
        ----------
        train
            Crystals with the label; whatever an arm validates on, it takes from these.
        test
            Crystals without labels.
        target
            What to predict, per crystal.
        seed
            Of everything that is drawn; the same seed gives the same predictions.
        progress
            Called as ``progress(step, n_steps, numbers)``.

        Raises
        ------
        DataError
            If the labels are too few for it.
        """


def without_labels(crystals: Sequence[Crystal]) -> list[Crystal]:
    """The same crystals, with nothing that an arm must not know."""
    return [crystal.with_labels({}) for crystal in crystals]
