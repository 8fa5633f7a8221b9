"""Baselines and probes on real sets, five folds each, beside the published yardsticks.

Run from the repository root, with the sets in ``../shared/data``::

    python benchmarks/evaluation/baselines.py [--sets phonons jdft2d log10_k] [--folds 5]

writes ``benchmarks/results/evaluation/baselines.json`` after every fold; sets that are not named
keep the numbers they have there, and each set says where and with which weights it was measured.
phonons and jdft2d have MatBench's folds, which ``official_folds`` checks before anyone is judged.
log10 K is another, smaller set than MatBench's log_kvrh, so its numbers do not compare. Settings
are chosen within the training crystals of a fold.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import KFold

from atomprint.evaluation.arms import without_labels
from atomprint.evaluation.baselines import baselines
from atomprint.evaluation.networks import hash_weights
from atomprint.evaluation.probes import probes
from atomprint.evaluation.tasks import find_task, load_task, official_folds
from atomprint.heads.metrics import metric
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from atomprint.training.checkpoint import load_model
from atomprint.training.predict import labels_of
from atomprint.training.run import environment

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
RESULT = ROOT / "benchmarks" / "results" / "evaluation" / "baselines.json"
PUBLISHED = {
    "phonons": {"RF-SCM/Magpie of MatBench v0.1": 67.6},
    "jdft2d": {"RF-SCM/Magpie of MatBench v0.1": 50.0},
}
PROBED = "atomprint/small"
LOG_K = "log10 K, random part of the set"
Fold = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def read_set(name: str, n_kvrh: int) -> tuple[str, Sequence[Crystal], Target, list[Fold]]:
    """A set under the name it has in the results, its target, and (training, test) rows."""
    if name != "log10_k":
        task = find_task(name)
        loaded = load_task(task, DATA)
        return name, loaded.crystals, loaded.target, list(official_folds(task, loaded.crystals))
    elastic = read_crystals(DATA / "mp_elastic.parquet").crystals
    chosen = np.random.default_rng(0).permutation(len(elastic))[:n_kvrh]
    crystals = []
    for crystal in (elastic[i] for i in np.sort(chosen)):
        modulus = crystal.labels.get("bulk_modulus_vrh")
        if modulus is not None and float(modulus) > 0:
            crystals.append(crystal.with_labels({"log10 K": math.log10(float(modulus))}))
    folds = list(KFold(5, shuffle=True, random_state=18012019).split(crystals))
    return LOG_K, crystals, Target(name="log10 K", unit="log10(GPa)"), folds


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ["phonons", "jdft2d", "log10_k"]
    parser.add_argument("--sets", nargs="+", choices=names, default=names)
    parser.add_argument("--n-kvrh", type=int, default=1_200)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    model = load_model(Path(PROBED))[0]
    # Taken now: others may commit, or train the checkpoint anew, while this runs.
    about = {
        "environment": environment(),
        "probed": {"name": PROBED, "weights": hash_weights(model)},
    }
    text = RESULT.read_text(encoding="utf-8") if RESULT.exists() else "{}"
    result: dict[str, Any] = json.loads(text)
    for short in options.sets:
        name, crystals, target, folds = read_set(short, options.n_kvrh)
        rows: dict[str, dict[str, Any]] = {}
        arms = [*baselines(target), *probes(PROBED, model)]
        for fold, (train, test) in enumerate(folds[: options.folds]):
            judged = [crystals[i] for i in test]
            for arm in arms:
                start = time.process_time()
                fitted = arm.fit_predict(
                    [crystals[i] for i in train], without_labels(judged), target, fold
                )
                seconds = time.process_time() - start
                row = rows.setdefault(
                    arm.name, {"kind": arm.kind, "folds": [], "cpu_seconds": [], "about": []}
                )
                wanted = labels_of(judged, target.name, "crystal")
                row["folds"].append(metric(target, fitted.predicted, wanted))
                row["cpu_seconds"].append(round(seconds, 2))
                row["about"].append(fitted.about)
                row["mean"] = float(np.mean(row["folds"]))
                print(name, fold, arm.name, round(row["folds"][-1], 4), row["cpu_seconds"][-1])
            result.setdefault("sets", {})[name] = {
                "n_crystals": len(crystals),
                "unit": target.unit,
                **about,
                "arms": rows,
                "published": PUBLISHED.get(name, {}),
            }
            RESULT.parent.mkdir(parents=True, exist_ok=True)
            RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
