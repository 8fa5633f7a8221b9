"""Small labelled sets, and arms whose behaviour is known."""

import os
import time
from pathlib import Path

import numpy as np

from atomprint.evaluation.arms import Arm, Fitted
from atomprint.evaluation.evaluate import Evaluation
from atomprint.evaluation.protocols import KFold, cases
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.training.predict import labels_of

TARGET = Target(name="y", unit="eV")


def labelled(n, seed=0):
    """Two-atom crystals of 20 compositions; the label is the mean atomic number."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(n):
        numbers = [3 + index % 20, 8]
        found.append(
            Crystal.make(
                numbers=numbers,
                cell=np.eye(3) * rng.uniform(3.5, 4.5),
                positions=np.array([[0, 0, 0], [1.9, 1.9, 1.9]]),
                labels={"y": float(np.mean(numbers))},
                id=f"c{index}",
            )
        )
    return found


class Mean(Arm):
    """Predicts the mean label, writes down that it worked, may take its time."""

    kind = "baseline"

    def __init__(self, name="mean", log=None, seconds=0.0, shift=0.0):
        self.name, self.log, self.seconds, self.shift = name, log, seconds, shift

    def identity(self):
        return {"shift": self.shift}

    def fit_predict(self, train, test, target, seed, progress=None):
        if any(c.labels for c in test):
            raise AssertionError("an arm was shown labels of the crystals it is judged on")
        if self.log is not None:
            with Path(self.log).open("a", encoding="utf-8") as file:
                file.write(f"{os.getpid()} {self.name} {seed} {test[0].id}\n")
        time.sleep(self.seconds)
        value = labels_of(train, target.name, "crystal").mean() + self.shift
        return Fitted(np.full((len(test), 1), value))


def evaluation(n=40, arms=None, protocol=None, **arm):
    crystals = labelled(n)
    protocol = protocol or KFold(n_folds=4)
    return Evaluation(
        {"name": "toy", "property": "y"},
        crystals,
        TARGET,
        protocol,
        cases(protocol, crystals),
        arms or [Mean(**arm)],
    )
