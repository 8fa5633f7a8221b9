r"""With few labels: do more validated ones choose a better rate, and is the folds' mean better.

    python benchmarks/pretraining/folds.py --data DIR --from RUN --labels 30 100 --seeds 0 1 2

For every rate of the grid: the network trained beside each of five parts of the labels (the first
part is the one that fine-tuning holds out), and the one trained on all of them. Rows have the
validation error of each part, and errors on the development part of the network of all labels and
of the mean of the five. A unit is a set, a number of labels and a draw; what is in
``benchmarks/results/pretraining/folds.json`` is not done again.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from arms import ARMS, RECIPE_ARM
from sets import SETS, load_set, parts

from atomprint.evaluation.twin import split_labelled
from atomprint.heads.model import Model
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.training.checkpoint import load_model, write_json
from atomprint.training.finetune import FinetuneSettings, finetune
from atomprint.training.predict import labels_of, predict
from atomprint.training.pretrain import PretrainSettings
from atomprint.training.run import environment

OUT = Path(__file__).parents[1] / "results" / "pretraining" / "folds.json"
N_FOLDS = 5


def unit(name: str, n: int, seed: int, data: Path, model: Model | None) -> dict[str, Any]:
    """All rates on one draw of labels."""
    pool, judged = parts(name, load_set(name, data), "dev")
    split = split_labelled(pool, judged, n, FinetuneSettings().valid_fraction, seed)
    size = len(split.valid)
    folds = [split.valid, *(split.train[i * size : (i + 1) * size] for i in range(N_FOLDS - 1))]
    labelled = [*split.valid, *split.train]
    wanted = labels_of(judged, "y", "crystal")
    shape = (
        PretrainSettings.model_validate(ARMS[RECIPE_ARM]).model if model is None else model.settings
    )
    started = time.process_time()

    def run(train: list[Crystal], valid: list[Crystal], rate: float, refit: bool) -> Any:
        settings = FinetuneSettings(learning_rates=(rate,), refit=refit)
        loop = settings.loop.model_copy(update={"seed": seed, "device": "cpu"})
        settings = settings.model_copy(update={"loop": loop, "n_steps": settings.steps_for(n)})
        target = Target(name="y", unit=SETS[name].unit)
        found = finetune(train, valid, [target], shape, settings, model)
        return found.trials[0].valid_value, predict(found.model, judged)["y"]

    rates = {}
    for rate in FinetuneSettings().learning_rates:
        values, predictions = [], []
        for fold in folds:
            ids = {crystal.id for crystal in fold}
            rest = [c for c in labelled if c.id not in ids]
            value, found = run(rest, fold, rate, refit=False)
            values.append(round(float(value), 5))
            predictions.append(found)
        _, whole = run(split.train, split.valid, rate, refit=True)
        rates[str(rate)] = {
            "valid": values,
            "all": float(np.abs(whole - wanted).mean()),
            "mean of folds": float(np.abs(np.mean(predictions, 0) - wanted).mean()),
            "with all": float(np.abs(np.mean([*predictions, whole], 0) - wanted).mean()),
        }
    return {
        "set": name,
        "n_labels": n,
        "seed": seed,
        "pretrained": model is not None,
        "rates": rates,
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def main() -> None:
    """Do the units that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--from", dest="source", help="run or checkpoint; without it from scratch")
    parser.add_argument("--sets", default="formation energy,log10 bulk modulus,phonon peak")
    parser.add_argument("--labels", type=int, nargs="+", default=[30, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = (
        json.loads(given.out.read_text(encoding="utf-8"))["results"] if given.out.is_file() else []
    )
    model = load_model(Path(given.source))[0] if given.source else None
    for seed in given.seeds:
        for n in given.labels:
            for name in given.sets.split(","):
                key = {"set": name, "n_labels": n, "seed": seed, "pretrained": model is not None}
                if any(all(row[k] == v for k, v in key.items()) for row in rows):
                    continue
                rows.append(unit(name, n, seed, given.data, model))
                about = {k: v for k, v in environment().items() if k != "command"}
                write_json(given.out, {"results": rows, "environment": about})
                print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
