"""What ensembles gain: the mean of 1 to 5 networks, pre-trained and from scratch.

    python benchmarks/evaluation/ensembles.py --data DIR --from RUN

Development parts of the study (``benchmarks/pretraining/sets.py``), 500 labels, seed 0: nothing is
judged on test crystals. Of five members every choice of k is averaged. A set that is there is not
done again. Writes ``benchmarks/results/evaluation/ensembles.json``.
"""

import argparse
import json
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "pretraining"))
from sets import SETS, load_set, parts

from atomprint.evaluation.twin import split_labelled
from atomprint.heads.ensemble import Ensemble
from atomprint.heads.target import Target
from atomprint.training.checkpoint import load_model, write_json
from atomprint.training.finetune import FinetuneSettings, finetune
from atomprint.training.predict import labels_of, predict_members
from atomprint.training.run import environment

OUT = Path(__file__).parents[1] / "results" / "evaluation" / "ensembles.json"
JUDGED = ("formation energy", "phonon peak", "log10 bulk modulus", "perovskite heat")
N_LABELS, N_MEMBERS = 500, 5


def main() -> None:
    """Do what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--from", dest="source", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=JUDGED)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    source = load_model(given.source)[0]
    settings = FinetuneSettings(n_members=N_MEMBERS)
    loop = settings.loop.model_copy(update={"device": "cpu"})
    settings = settings.model_copy(update={"loop": loop})
    done = {"results": []}
    if given.out.is_file():
        done = json.loads(given.out.read_text(encoding="utf-8"))
    for name in given.sets:
        pool, judged = parts(name, load_set(name, given.data), "dev")
        split = split_labelled(pool, judged, N_LABELS, settings.valid_fraction, 0)
        wanted = labels_of(judged, "y", "crystal")
        for start in (source, None):
            arm = "from scratch" if start is None else "pre-trained"
            if any((row["set"], row["arm"]) == (name, arm) for row in done["results"]):
                continue
            target = Target(name="y", unit=SETS[name].unit)
            result = finetune(split.train, split.valid, [target], source.settings, settings, start)
            if not isinstance(result.model, Ensemble):
                raise SystemExit("there is one member only")
            each = [found["y"] for found in predict_members(result.model, judged)]
            errors = {
                k: [
                    float(np.abs(np.mean(chosen, 0) - wanted).mean())
                    for chosen in combinations(each, k)
                ]
                for k in range(1, N_MEMBERS + 1)
            }
            spread = np.std(each, 0, ddof=1)
            error = np.abs(np.mean(each, 0) - wanted)
            row = {
                "set": name,
                "arm": arm,
                "n_labels": N_LABELS,
                "n_judged": len(judged),
                "mae": {str(k): float(np.mean(values)) for k, values in errors.items()},
                # Of the fifth of the crystals on which members differ most, and least.
                "mae_of_least_sure": float(error[spread >= np.quantile(spread, 0.8)].mean()),
                "mae_of_surest": float(error[spread <= np.quantile(spread, 0.2)].mean()),
            }
            done["results"].append(row)
            done["environment"] = {k: v for k, v in environment().items() if k != "command"}
            write_json(given.out, done)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
