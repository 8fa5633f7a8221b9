"""What ``summary.json`` holds: rows on arms, labels saved, chemistry, distance."""

import numpy as np
from pydantic import Field

from atomprint.evaluation.chemistry import ChemistryRow
from atomprint.evaluation.statistics import Interval
from atomprint.ground.settings import Settings


class Estimate(Settings):
    """A number with its 95 % interval, where there is one; infinite numbers are None too."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, found: Interval) -> "Estimate":
        """The same of an interval."""
        return cls(value=finite(found.value), low=finite(found.low), high=finite(found.high))


def finite(value: float | None) -> float | None:
    """The number, or None where it is infinite or none."""
    return value if value is not None and np.isfinite(value) else None


class ArmRow(Settings):
    """An arm with one number of labels, over the splits that it has done."""

    arm: str
    kind: str
    n_labels: int = Field(description="mean over splits; validation included")
    n_splits: int = Field(description="splits that are done")
    value: float | None = Field(description="mean of the metric over splits")
    interval: Estimate | None = Field(
        None, description="the same with its 95 % interval, a bootstrap over splits and crystals"
    )
    spread: float | None = Field(description="standard deviation over splits")
    values: dict[str, float | None] = Field(description="the metric of each split")
    twin: str | None = Field(None, description="its from-scratch twin")
    gain: Estimate | None = Field(None, description="1 - error / the twin's, on the same splits")
    n_won: int | None = None
    n_compared: int | None = None
    verdict: str = ""
    seconds: float = Field(description="wall time of a split, mean")
    cpu_seconds: float
    seconds_per_label: float
    seconds_per_crystal: float | None = Field(
        None, description="predicting one crystal, once everything is fitted; mean"
    )
    joules: float | None = Field(
        None, description="energy of a split, mean; None where the machine does not tell"
    )
    joules_per_label: float | None = None
    peak_mib: float
    n_parameters: int


class SavedRow(Settings):
    """Labels with which an arm has the error that its twin has with more."""

    arm: str
    twin: str
    n_labels: int = Field(description="the twin's")
    needed: Estimate = Field(description="the arm's; None: not reached within what was measured")
    share: Estimate = Field(description="needed / n_labels")


class CoverageRow(Settings):
    """How the judged crystals lie to one corpus; see :mod:`atomprint.evaluation.coverage`."""

    runs: tuple[str, ...] = Field(description="arms that were pre-trained on it")
    verdict: str | None = Field(description="inside, edge or outside; None: not measured")
    sentence: str
    n_corpus: int | None = Field(description="crystals of the corpus")
    beyond_95: float | None = Field(description="share beyond the corpus's 95th percentile")
    beyond_99: float | None
    auc: float | None = Field(description="chance to be farther than a corpus crystal")


class DistanceBinRow(Settings):
    """Crystals of similar distance: from, to (inclusive), and their mean error."""

    low: float
    high: float
    value: float
    n_crystals: int


class DistanceRow(Settings):
    """Errors of an arm by distance from a corpus."""

    corpus: int = Field(description="place in coverage")
    arm: str
    bins: tuple[DistanceBinRow, ...] = Field(description="equally many crystals, nearest first")
    correlation: Estimate = Field(description="Spearman's, of error and distance")
    n_crystals: int


class Summary(Settings):
    """What an evaluation says."""

    name: str
    property: str
    metric: str
    unit: str
    protocol: str
    verdict: tuple[str, ...] = Field(description="sentences; the most important first")
    complete: bool
    missing: tuple[str, ...] = Field(description="units that are not done")
    rows: tuple[ArmRow, ...] = Field(description="best first, by number of labels")
    saved: tuple[SavedRow, ...] = ()
    chemistry: tuple[ChemistryRow, ...] = ()
    coverage: tuple[CoverageRow, ...] = Field((), description="one entry a corpus")
    by_distance: tuple[DistanceRow, ...] = ()
    energy_note: str = Field("", description="what the machine does not tell of energy")
