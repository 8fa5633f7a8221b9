"""What each corpus is worth: the default recipe pre-trained on it, and fine-tuned.

    python benchmarks/pretraining/corpora.py --data DIR --work WORK --part test \
        --corpora "generated;real+generated" --sets "formation energy,log10 bulk modulus"

Every corpus has 16,000 crystals (the real and the embedded one all there are) in cells of at most
30 atoms, and the recipe of ``atomprint pretrain`` by default; a sum of corpora is all the crystals
of both. A unit is one corpus on one set with one seed, written to
``benchmarks/results/corpora/PART/CORPUS.json`` when it is done, and is not done again. ``WORK``
keeps the corpora that are made and the networks.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from arms import RECIPE_ARM
from mixtures import N_CRYSTALS, mixture
from sets import alike, load_set, parts
from study import judge, keep, pretrained, slug

from atomprint.structures.crystal import Crystal

RESULTS = Path(__file__).parents[1] / "results" / "corpora"
SETS = ["formation energy", "log10 bulk modulus", "phonon peak", "perovskite heat", "MOF band gap"]


def main() -> None:
    """Do the units that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--part", choices=("dev", "test"), required=True)
    parser.add_argument("--corpora", required=True, help="with semicolons; sums by +")
    parser.add_argument("--sets", default=",".join(SETS), help="with commas")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--steps", type=int, default=15_000)
    parser.add_argument("--n", type=int, default=N_CRYSTALS, help="crystals of each generated part")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    for name in arguments.corpora.split(";"):
        variant = name + (f", {arguments.steps} steps" if arguments.steps != 15_000 else "")
        variant += f", {arguments.n} crystals" if arguments.n != N_CRYSTALS else ""
        path = arguments.out / arguments.part / f"{slug(variant)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        done: dict[str, Any] = {"corpus": variant, "part": arguments.part, "results": []}
        if path.is_file():
            done = json.loads(path.read_text(encoding="utf-8"))
        finished = {(r["set"], r["n_labels"], r["seed"]) for r in done["results"]}
        model = None
        corpus: list[Crystal] = []
        for seed in arguments.seeds:
            for which in arguments.sets.split(","):
                pool, judged = parts(which, load_set(which, arguments.data), arguments.part)
                n = min(arguments.labels, len(pool))
                if (which, n, seed) in finished:
                    continue
                if model is None:
                    corpus, made = mixture(name, arguments.data, arguments.work, arguments.n)
                    model, cost = pretrained(
                        RECIPE_ARM, corpus, arguments.steps, 0, arguments.work / slug(variant)
                    )
                    done |= {"made": made, "pretraining": cost}
                row, tuning = judge(RECIPE_ARM, which, pool, judged, n, seed, model=model)
                done["finetuning"] = tuning.model_dump(mode="json")
                # Generated crystals can happen to be like those that judge.
                likes = {"n_alike": sum(alike(judged, corpus))}
                done["results"].append({"weights": cost["weights"]} | row | likes)
                keep(path, done)
                print(variant, which, n, seed, row["mae"], flush=True)


if __name__ == "__main__":
    main()
