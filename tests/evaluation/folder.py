"""Folders of evaluations whose truth is known, made without training anything."""

import numpy as np

from atomprint.evaluation.arms import Arm, Fitted
from atomprint.evaluation.evaluate import Evaluation, run, write_about
from atomprint.evaluation.protocols import Curve, KFold, cases
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal

CATIONS = (3, 11, 12, 13, 20, 22, 26, 30, 38, 40, 49, 56, 72, 82)
ANIONS = (8, 8, 8, 9, 7, 16, 17, 34, 35, 6, 15, 1)


def labelled(n, name="gap", seed=0):
    """Small cells of many chemistries, with a label that is always positive."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(n):
        numbers = [*rng.choice(CATIONS, 1 + index % 2), *rng.choice(ANIONS, 1 + index % 3)]
        found.append(
            Crystal.make(
                numbers=numbers,
                cell=np.eye(3) * rng.uniform(4.5, 6.0),
                positions=rng.uniform(0, 4, (len(numbers), 3)),
                labels={name: float(rng.lognormal(0.5, 0.6))},
                id=f"toy-{index:04d}",
            )
        )
    return found


class Noisy(Arm):
    """Predicts the truth with an error of known mean size.

    On a draw of labels it is ``factor * n_labels ** -power``, by up to 10 % more or less from one
    draw to the next, the same for all arms.
    """

    def __init__(self, name, kind, truth, factor, power=0.35, classes=0):
        self.name, self.kind = name, kind
        self.truth, self.factor, self.power, self.classes = truth, factor, power, classes

    def identity(self):
        return {"model": "toy", "factor": self.factor, "power": self.power}

    def _predict(self, crystals, size, rng):
        truth = np.array([[self.truth[c.id]] for c in crystals])
        if not self.classes:
            wrong = rng.laplace(0, 1, truth.shape)
            return truth + wrong * size / np.abs(wrong).mean()
        logits = rng.normal(0, 1, (len(crystals), self.classes))
        logits[np.arange(len(crystals)), truth[:, 0].astype(int)] += 0.4 / size
        return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    def fit_predict(self, train, test, target, seed, progress=None):
        draw = int(test[0].id[-4:])
        rng = np.random.default_rng([seed, len(train), len(self.name), draw])
        size = self.factor * len(train) ** -self.power * (1 + 0.1 * np.cos(3 * seed + draw))
        valid = train[: max(4, len(train) // 6)]
        held_out = (
            self._predict(valid, size, rng),
            np.array([[float(c.labels[target.name])] for c in valid]),
        )
        return Fitted(self._predict(test, size, rng), held_out, 12_345, {"rate": 0.001})


def write_folder(folder, kind="kfold", n=150, missing=(), name="gap", classes=0, baseline=2.2):
    """An evaluation as ``atomprint evaluate`` leaves it: scratch, pre-trained, two baselines.

    Parameters
    ----------
    folder
        Where to.
    kind
        ``kfold`` (5 folds) or ``curve`` (3 numbers of labels, 3 seeds).
    n
        Crystals.
    missing
        Names of unit files to take away again.
    name
        Of the label.
    classes
        Number of classes; 0 for numbers.
    baseline
        How wrong the better baseline is; 1 from scratch, 0.7 pre-trained.
    """
    crystals = labelled(n, name)
    if classes:
        crystals = [c.with_labels({name: float(i * 7 % classes)}) for i, c in enumerate(crystals)]
        target = Target(name=name, task="classification", size=classes)
    else:
        target = Target(name=name, unit="eV")
    truth = {c.id: float(c.labels[name]) for c in crystals}
    protocol = KFold(n_folds=5) if kind == "kfold" else Curve(n_labels=(12, 40, 110), n_seeds=3)
    arms = [
        Noisy("from scratch", "scratch", truth, 1.0, classes=classes),
        Noisy("my run", "pretrained", truth, 0.7, classes=classes),
        Noisy("composition, random forest", "baseline", truth, baseline, classes=classes),
        Noisy("mean", "baseline", truth, 2.5, 0.0, classes=classes),
    ]
    about = {
        "name": "toy gaps",
        "property": "band gap",
        "source": "tests/evaluation/folder.py",
        "licence": "MIT",
        "citation": "",
        "notes": ["Two crystals were left out on reading."],
    }
    one = Evaluation(about, crystals, target, protocol, cases(protocol, crystals), arms)
    write_about(one, folder)
    run(one, folder)
    for file in missing:
        (folder / "units" / file).unlink()
    return folder
