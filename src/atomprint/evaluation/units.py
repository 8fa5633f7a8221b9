"""The units of an evaluation: one arm on one case each, done once, whoever does it.

A unit is a file in ``units/``, written when it is done. While it is being done its lock is held:
the lock belongs to the operating system, so that a killed process leaves none behind, and any
number of processes on one folder share the list.
"""

import math
import re
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import torch

from atomprint.evaluation.arms import Arm, Fitted, Progress, without_labels
from atomprint.evaluation.energy import EnergyMeter
from atomprint.evaluation.protocols import Case
from atomprint.evaluation.runs import read_json
from atomprint.ground.errors import DataError, UsageError
from atomprint.heads.metrics import metric, metric_name
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.training.checkpoint import write_json
from atomprint.training.predict import labels_of
from atomprint.training.run import hash_text


@dataclass(frozen=True)
class Unit:
    """One arm on one case."""

    arm: Arm
    case: Case

    @property
    def name(self) -> str:
        """As people see it."""
        return f"{self.arm.name}, {self.case.name}"

    @property
    def file(self) -> str:
        """Name of its file."""
        return unit_file(self.arm.name, self.case.name)

    def identity(self, crystals: Sequence[Crystal], target: Target) -> str:
        """Hash of all that decides its result."""
        case = self.case
        return hash_text(
            repr(
                (
                    self.arm.identity(),
                    [crystals[i].id for i in case.train],
                    [crystals[i].id for i in case.test],
                    case.seed,
                    target.model_dump(mode="json"),
                )
            )
        )


def unit_file(arm: str, split: str) -> str:
    """Name of the file of a unit."""
    return f"{slug(arm)}--{slug(split)}.json"


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^a-zA-Z0-9.]+", "-", name).strip("-").lower()


def is_done(unit: Unit, folder: Path, crystals: Sequence[Crystal], target: Target) -> bool:
    """Whether a unit's result is in the folder.

    Raises
    ------
    UsageError
        If a result of that name is there that was made in another way.
    """
    path = folder / "units" / unit.file
    if not path.is_file():
        return False
    if read_json(path)["identity"] != unit.identity(crystals, target):
        raise UsageError(
            f"{path}: this unit was done with other data or settings; give another --out, "
            "or remove the file to have it done anew"
        )
    return True


@dataclass(frozen=True)
class Claim:
    """A unit that nobody else does meanwhile; given back by writing its result, or without."""

    path: Path
    identity: str
    lock: filelock.BaseFileLock

    def write(self, result: dict[str, Any]) -> None:
        """Write the result and give the unit back."""
        write_json(self.path, result | {"identity": self.identity})
        self.release()

    def release(self) -> None:
        """Give the unit back as it is."""
        self.lock.release()


def claim(unit: Unit, folder: Path, crystals: Sequence[Crystal], target: Target) -> Claim | None:
    """Take a unit for oneself; None if another process is at it, or it is done.

    Raises
    ------
    UsageError
        If the folder cannot be written.
    """
    path = folder / "units" / unit.file
    lock = filelock.FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return None
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or error}); units that are done are kept: "
            "mend that, and give the same command to go on"
        ) from None
    try:
        if is_done(unit, folder, crystals, target):
            lock.release()
            return None
    except BaseException:
        lock.release()
        raise
    return Claim(path, unit.identity(crystals, target), lock)


def do_unit(
    unit: Unit,
    folder: Path,
    crystals: Sequence[Crystal],
    target: Target,
    progress: Progress | None = None,
) -> bool:
    """Do a unit, unless another process is at it or has done it.

    Returns
    -------
    bool
        Whether its result is there now; False while another process works on it.
    """
    claimed = claim(unit, folder, crystals, target)
    if claimed is None:
        return is_done(unit, folder, crystals, target)
    try:
        claimed.write(measure(unit, crystals, target, progress))
    finally:
        claimed.release()
    return True


def measure(
    unit: Unit, crystals: Sequence[Crystal], target: Target, progress: Progress | None = None
) -> dict[str, Any]:
    """Let the arm learn and predict, and tell what came of it and what it cost.

    Raises
    ------
    DataError
        If the arm cannot do it.
    """
    train = [crystals[i] for i in unit.case.train]
    test = [crystals[i] for i in unit.case.test]
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    started, cpu_started = time.perf_counter(), time.process_time()
    with EnergyMeter() as meter:
        fitted = unit.arm.fit_predict(train, without_labels(test), target, unit.case.seed, progress)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    wanted = labels_of(test, target.name, "crystal", 1 if target.is_class else target.size)
    if len(fitted.predicted) != len(test):
        found = len(fitted.predicted)
        raise DataError(f"{unit.name}: {found} predictions for {len(test)} crystals")
    return {
        "arm": unit.arm.name,
        "kind": unit.arm.kind,
        "split": unit.case.name,
        "fold": unit.case.fold,
        "seed": unit.case.seed,
        "n_labels": len(train),
        "metric": metric_name(target),
        "unit": "" if target.is_class else target.unit,
        "value": _finite(metric(target, fitted.predicted, wanted)),
        "ids": [c.id for c in test],
        "formulas": [c.formula for c in test],
        "wanted": wanted.tolist(),
        "predicted": fitted.predicted.tolist(),
        "held_out": _held_out(fitted),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "energy": meter.to_dict(),
        **_memory(),
        "n_parameters": fitted.n_parameters,
        "about": fitted.about,
    }


def _held_out(fitted: Fitted) -> dict[str, Any] | None:
    if fitted.held_out is None:
        return None
    predicted, wanted = fitted.held_out
    return {"predicted": predicted.tolist(), "wanted": wanted.tolist()}


def _memory() -> dict[str, float]:
    """Peak of the process so far, and of the device in this unit."""
    found = {"peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}
    if torch.cuda.is_available():
        found["peak_device_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
