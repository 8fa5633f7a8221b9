"""Fine-tune a shipped checkpoint on the study's sets, as the study fine-tunes its arms.

    python benchmarks/pretraining/shipped.py atomprint/small --data DIR --seeds 0

Many crystals of the sets, those that judge included, are among the structures that the checkpoint
was trained on, without their labels: these are no numbers of the study. The from-scratch twin of
the same width, labels and seeds is in
``benchmarks/results/pretraining/test/scratch-wide-refit.json``. Writes
``benchmarks/results/checkpoints/NAME-study.json``; what is there of the same weights is not done
again.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from sets import SETS, load_set, parts

from atomprint.evaluation.networks import hash_weights
from atomprint.evaluation.twin import split_labelled
from atomprint.heads.target import Target
from atomprint.training.checkpoint import load_model, write_json
from atomprint.training.finetune import FinetuneSettings, finetune
from atomprint.training.predict import labels_of, predict
from atomprint.training.run import environment

RESULTS = Path(__file__).parents[1] / "results" / "checkpoints"


def main() -> None:
    """Do the units that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--sets", default=",".join(SETS), help="with commas")
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / f"{Path(given.name).name}-study.json"
    source = load_model(Path(given.name))[0]
    weights = hash_weights(source)
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = before["results"] if before.get("weights") == weights else []
    for seed in given.seeds:
        for name in given.sets.split(","):
            if any((row["set"], row["seed"]) == (name, seed) for row in rows):
                continue
            pool, judged = parts(name, load_set(name, given.data), "test")
            settings = FinetuneSettings()
            loop = settings.loop.model_copy(update={"seed": seed, "device": "cpu"})
            settings = settings.model_copy(update={"loop": loop})
            n = min(given.labels, len(pool))
            split = split_labelled(pool, judged, n, settings.valid_fraction, seed)
            target = Target(name="y", unit=SETS[name].unit)
            started = time.process_time()
            result = finetune(split.train, split.valid, [target], source.settings, settings, source)
            found = predict(result.model, judged)["y"]
            error = float(np.abs(found - labels_of(judged, "y", "crystal")).mean())
            rows.append(
                {
                    "set": name,
                    "unit": target.unit,
                    "n_labels": n,
                    "seed": seed,
                    "mae": error,
                    "learning_rate": result.trials[result.chosen].learning_rate,
                    "n_test": len(judged),
                    "cpu_seconds": round(time.process_time() - started, 1),
                }
            )
            about = {k: v for k, v in environment().items() if k != "command"}
            write_json(path, {"weights": weights, "results": rows, "environment": about})
            print(name, seed, error, flush=True)


if __name__ == "__main__":
    main()
