"""Baselines and probes on real sets, five folds each, beside the published yardsticks.

Run from the repository root, with the sets in ``../shared/data``::

    python benchmarks/evaluation/baselines.py [--n-kvrh 1200] [--folds 5]

writes ``benchmarks/results/evaluation/baselines.json`` after every fold. Folds are
``KFold(5, shuffle=True, random_state=18012019)`` in the order of the file: for phonons those of
MatBench, if the order of rows is theirs, which the source keeps and nobody has checked; log10 K is
another, smaller set than MatBench's log_kvrh, so its numbers do not compare. Settings are chosen
within the training crystals of a fold.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import KFold

from atomprint.evaluation.arms import without_labels
from atomprint.evaluation.baselines import baselines
from atomprint.evaluation.networks import hash_weights
from atomprint.evaluation.probes import probes
from atomprint.heads.metrics import metric
from atomprint.heads.target import Target
from atomprint.structures.reading import read_crystals
from atomprint.training.checkpoint import load_model
from atomprint.training.predict import labels_of
from atomprint.training.run import environment

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
RESULT = ROOT / "benchmarks" / "results" / "evaluation" / "baselines.json"
PUBLISHED = {"phonons": {"RF-SCM/Magpie of MatBench v0.1": 67.6}}
PROBED = "atomprint/small"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-kvrh", type=int, default=1_200)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    model = load_model(Path(PROBED))[0]
    # Taken now: others may commit, or train the checkpoint anew, while this runs.
    about = {
        "environment": environment(),
        "probed": {"name": PROBED, "weights": hash_weights(model)},
    }
    phonons = read_crystals(DATA / "matbench_phonons.parquet").crystals
    elastic = read_crystals(DATA / "mp_elastic.parquet").crystals
    chosen = np.random.default_rng(0).permutation(len(elastic))[: options.n_kvrh]
    kvrh = []
    for crystal in (elastic[i] for i in np.sort(chosen)):
        modulus = crystal.labels.get("bulk_modulus_vrh")
        if modulus is not None and float(modulus) > 0:
            kvrh.append(crystal.with_labels({"log10 K": math.log10(float(modulus))}))
    sets = {
        "phonons": (phonons, Target(name="last_phdos_peak", unit="cm⁻¹")),
        "log10 K, random part of the set": (kvrh, Target(name="log10 K", unit="log10(GPa)")),
    }
    found: dict[str, Any] = {}
    for name, (crystals, target) in sets.items():
        rows: dict[str, dict[str, Any]] = {}
        arms = [*baselines(target), *probes(PROBED, model)]
        folds = KFold(5, shuffle=True, random_state=18012019).split(crystals)
        for fold, (train, test) in enumerate(folds):
            if fold >= options.folds:
                break
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
                print(
                    name, fold, arm.name, round(row["folds"][-1], 4), round(seconds, 1), flush=True
                )
            found[name] = {
                "n_crystals": len(crystals),
                "unit": target.unit,
                "arms": rows,
                "published": PUBLISHED.get(name, {}),
            }
            RESULT.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(about | {"sets": found}, indent=1)
            RESULT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
