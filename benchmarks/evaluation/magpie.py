"""Random forests on Magpie's statistics and on ours, on MatBench's folds.

    python benchmarks/evaluation/magpie.py formulas --data DIR --work WORK
    python benchmarks/evaluation/magpie.py rows --work WORK       # where matminer is installed
    python benchmarks/evaluation/magpie.py score --data DIR --work WORK

Three steps, as matminer may want another environment (pandas below 3): the second needs matminer
and ``PYTHONPATH=src``, no torch. Writes ``benchmarks/results/evaluation/magpie.json``.
"""

import argparse
import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

OUT = Path(__file__).parents[1] / "results" / "evaluation" / "magpie.json"


def load(name, data):
    """A task's crystals and target."""
    from atomprint.evaluation.tasks import find_task, load_task

    return load_task(find_task(name), data)


def write_formulas(tasks, data, work):
    """What the second step needs: compositions and formulas, by task."""
    found = {}
    for name in tasks:
        crystals = load(name, data).crystals
        found[name] = [[c.formula, list(c.composition.items())] for c in crystals]
    (work / "formulas.json").write_text(json.dumps(found))


def write_rows(work):
    """Magpie's statistics of all formulas."""
    from atomprint.evaluation.magpie import magpie_features, matminer_version

    found = {"matminer": np.array(matminer_version())}
    for name, rows in json.loads((work / "formulas.json").read_text()).items():
        crystals = [SimpleNamespace(formula=f, composition=dict(c)) for f, c in rows]
        found[name] = magpie_features(crystals)
    np.savez_compressed(work / "magpie.npz", **found)


def score(tasks, data, work, n_folds):
    """Mean absolute errors on the first folds, features tuned and fitted alike."""
    from atomprint.evaluation.composition import composition_features
    from atomprint.evaluation.regressors import tune
    from atomprint.evaluation.tasks import find_task
    from atomprint.evaluation.tasks.folds import folds_of
    from atomprint.training.run import environment

    rows = np.load(work / "magpie.npz")
    found = {}
    for name in tasks:
        loaded = load(name, data)
        labels = np.array([c.labels[loaded.target.name] for c in loaded.crystals])
        features = {"ours": composition_features(loaded.crystals), "Magpie": rows[name]}
        found[name] = {"unit": loaded.target.unit}
        for kind, x in features.items():
            found[name][kind] = {"folds": [], "cpu_seconds": []}
            for train, test in folds_of(find_task(name))[:n_folds]:
                started = time.process_time()
                fitted = tune("forest", x[train], labels[train], loaded.target, 0)
                wrong = np.abs(fitted.predict(x[test])[:, 0] - labels[test]).mean()
                found[name][kind]["folds"].append(float(wrong))
                found[name][kind]["cpu_seconds"].append(round(time.process_time() - started, 1))
            found[name][kind]["mean"] = float(np.mean(found[name][kind]["folds"]))
    about = {k: v for k, v in environment().items() if k != "command"}
    OUT.write_text(
        json.dumps(
            {"sets": found, "matminer": str(rows["matminer"]), "environment": about}, indent=1
        )
    )


def main():
    """Do one of the steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("formulas", "rows", "score"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tasks", default="phonons,jdft2d")
    parser.add_argument("--folds", type=int, default=5, help="how many of the five")
    arguments = parser.parse_args()
    tasks = arguments.tasks.split(",")
    if arguments.step == "formulas":
        write_formulas(tasks, arguments.data, arguments.work)
    elif arguments.step == "rows":
        write_rows(arguments.work)
    else:
        score(tasks, arguments.data, arguments.work, arguments.folds)


if __name__ == "__main__":
    main()
