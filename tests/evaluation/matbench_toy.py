"""A small set in the layout of MatBench's files, and the task that describes it."""

import gzip
import json

import numpy as np

from atomprint.evaluation.tasks.folds import N_FOLDS, SEED, checksum
from atomprint.evaluation.tasks.task import Task
from atomprint.ground.elements import symbols
from atomprint.ground.settings import validate


def toy_task(crystals):
    """The task; its folds come from scikit-learn, which MatBench's own are made with."""
    from sklearn.model_selection import KFold

    labels = np.array([c.labels["energy"] for c in crystals])
    folds = list(KFold(N_FOLDS, shuffle=True, random_state=SEED).split(labels))
    values = {
        "name": "toy", "matbench": "matbench_toy", "title": "Toy", "label": "peak",
        "property": "of toys", "unit": "eV", "n_crystals": len(crystals), "folds_sha256": "-",
        "train_means": [float(labels[train].mean()) for train, _ in folds],
        "files": [{"name": "matbench_toy.json.gz", "column": "peak"}],
        "source": "tests", "licence": "MIT", "citation": "none",
    }  # fmt: skip
    task = validate(Task, values, "test")
    return task.model_copy(update={"folds_sha256": checksum(task, folds)})


def split_table(crystals):
    """What MatBench's files hold, before JSON."""
    rows = []
    for crystal in crystals:
        sites = [
            {"species": [{"element": symbols[z], "occu": 1}], "abc": abc, "label": symbols[z],
             "xyz": xyz, "properties": {}}
            for z, abc, xyz in zip(
                crystal.numbers, crystal.frac.tolist(), crystal.positions.tolist(), strict=True
            )
        ]  # fmt: skip
        structure = {
            "@module": "pymatgen.core.structure", "@class": "Structure", "charge": None,
            "lattice": {"matrix": crystal.cell.tolist()}, "sites": sites,
        }  # fmt: skip
        rows.append([structure, crystal.labels["energy"]])
    return {"index": list(range(len(rows))), "columns": ["structure", "peak"], "data": rows}


def write_toy(path, crystals=(), table=None):
    """Write the file."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        json.dump(table if table is not None else split_table(crystals), file)
