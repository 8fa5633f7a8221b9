r"""What settings of fine-tuning do, on the development part.

    python benchmarks/pretraining/tuning.py --data DIR --rates 4e-3 8e-3 --steps 400
    python benchmarks/pretraining/tuning.py --data DIR --from RUN --rates 5e-4 1e-3 --steps 1200
    python benchmarks/pretraining/tuning.py --data DIR --from RUN --grid --adapt 600 \
        --every-structure

500 labels, every rate by itself unless ``--grid`` makes them one grid from which validation
chooses. ``RUN`` is pre-trained on the study's corpus (study.py leaves it in its WORK); without it
the network of the default's shape starts from nothing. A unit is a row of
``benchmarks/results/pretraining/tuning.json``; what is there is not done again. Defaults were
chosen by these numbers: they are no results.
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
from sets import SETS, load_set, parts

from atomprint.backbones import PaiNNSettings
from atomprint.evaluation.twin import split_labelled
from atomprint.heads.model import ModelSettings
from atomprint.heads.target import Target
from atomprint.training.adapt import AdaptSettings
from atomprint.training.checkpoint import load_model, write_json
from atomprint.training.finetune import FinetuneSettings, finetune
from atomprint.training.predict import labels_of, predict
from atomprint.training.run import environment

OUT = Path(__file__).parents[1] / "results" / "pretraining" / "tuning.json"
N_LABELS = 500
# What rows have that do not say: the first of these measurements were made so.
BEFORE = {"elements": False, "network": "", "keep": "best", "weight_decay": 0.01, "refit": False}


def unit(source: Any, name: str, data: Path, key: dict[str, Any]) -> dict[str, Any]:
    """Fine-tune once, and judge on the development part."""
    pool, judged = parts(name, load_set(name, data), "dev")
    settings = FinetuneSettings(
        learning_rates=tuple(key["rates"]),
        n_steps=key["n_steps"],
        adapt=AdaptSettings(n_steps=key["adapt"]),
        refit=key.get("refit", False),
    )
    optimizer = settings.loop.optimizer.model_copy(
        update={"weight_decay": key.get("weight_decay", 0.01)}
    )
    loop = settings.loop.model_copy(
        update={
            "seed": key["seed"],
            "device": "cpu",
            "optimizer": optimizer,
            # Longer than any run: the best validated weights are kept, as all were until then.
            "patience": 0 if key.get("keep") == "last" else 1000,
        }
    )
    settings = settings.model_copy(update={"loop": loop})
    split = split_labelled(pool, judged, N_LABELS, settings.valid_fraction, key["seed"])
    used = {crystal.id for crystal in (*split.train, *split.valid)}
    others = [c for c in pool if c.id not in used] if key["every_structure"] else []
    told = PaiNNSettings(elements="properties" if key["elements"] else "random")
    scratch = ModelSettings(backbone=told)
    started = time.process_time()
    result = finetune(
        split.train,
        split.valid,
        [Target(name="y", unit=SETS[name].unit)],
        scratch if source is None else source.settings,
        settings,
        source,
        unlabelled=others,
    )
    error = np.abs(predict(result.model, judged)["y"] - labels_of(judged, "y", "crystal")).mean()
    trials = {str(t.learning_rate): [round(t.valid_value, 5), t.step] for t in result.trials}
    return {
        **key,
        "mae": float(error),
        "learning_rate": result.trials[result.chosen].learning_rate,
        "trials": trials,
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def main() -> None:
    """Do the units that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--from", dest="source", type=Path)
    parser.add_argument("--elements", action="store_true", help="from scratch, told of elements")
    parser.add_argument("--sets", default="phonon peak,perovskite heat", help="with commas")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 2e-3, 4e-3])
    parser.add_argument("--grid", action="store_true", help="all rates in one, validation chooses")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--adapt", type=int, default=0, help="steps of adaptation")
    parser.add_argument("--every-structure", action="store_true", help="adapt to all of the set")
    parser.add_argument("--keep", choices=("best", "last"), default="last", help="weights kept")
    parser.add_argument("--weight-decay", type=float, default=1.0)
    parser.add_argument("--refit", action="store_true", help="train once more on all labels")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(OUT.read_text(encoding="utf-8"))["results"] if OUT.is_file() else []
    source = load_model(given.source)[0] if given.source else None
    for seed in given.seeds:
        for name in given.sets.split(","):
            for rates in [given.rates] if given.grid else [[rate] for rate in given.rates]:
                key = {
                    "set": name,
                    "seed": seed,
                    "pretrained": given.source is not None,
                    "elements": given.elements,
                    "network": given.source.name if given.source else "",
                    "rates": rates,
                    "n_steps": given.steps,
                    "adapt": given.adapt,
                    "every_structure": given.every_structure,
                    "keep": given.keep,
                    "weight_decay": given.weight_decay,
                    "refit": given.refit,
                }
                if any(all(row.get(k, BEFORE.get(k)) == v for k, v in key.items()) for row in rows):
                    continue
                rows.append(unit(source, name, given.data, key))
                about = {k: v for k, v in environment().items() if k != "command"}
                write_json(OUT, {"results": rows, "environment": about})
                print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
