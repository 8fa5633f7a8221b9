"""What orderings of disordered crystals are worth: conductivities of lithium electrolytes.

    python benchmarks/evaluation/disorder.py --data DIR

Of the 321 CIFs of OBELiX 72 are ordered; of 247 others an ordering is drawn (docs/disorder.md). For
each seed a fifth of the labelled crystals judges, disordered ones among them. Networks start from
``atomprint/small`` or from scratch and learn log10 of the conductivity, on the ordered crystals of
the rest alone, or on all of the rest. Crystals that judge are predicted in four orderings: errors
are those of the first and of the mean of the four; how far the four differ is told, too. The
division is by crystal: near relatives of a test crystal may be trained on, in all arms. Writes
``benchmarks/results/evaluation/disorder.json``; what is there is not done again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atomprint.data.splits import split
from atomprint.evaluation.labels import with_logarithms
from atomprint.evaluation.twin import split_labelled
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from atomprint.training.checkpoint import load_model, write_json
from atomprint.training.finetune import FinetuneSettings, finetune
from atomprint.training.predict import labels_of, predict
from atomprint.training.run import environment

OUT = Path(__file__).parents[1] / "results" / "evaluation" / "disorder.json"
LABEL = "log10(Ionic conductivity (S cm-1))"
N_ORDERINGS = 4


def read(data: Path, ordering: int | None) -> dict[str, Crystal]:
    """Labelled crystals by id."""
    archive, labels = data / "obelix_cifs.tar.gz", data / "obelix_labels.csv"
    found = with_logarithms(LABEL, read_crystals(archive, labels=labels, ordering=ordering))
    return {c.id: c for c in found.crystals if LABEL in c.labels}


def main() -> None:
    """Do what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    ordered = set(read(given.data, None))
    drawn = [read(given.data, k) for k in range(N_ORDERINGS)]
    ids = [id for id in drawn[0] if all(id in one for one in drawn)]
    source = load_model(Path("atomprint/small"))[0]
    done: dict[str, Any] = {"results": []}
    if given.out.is_file():
        done = json.loads(given.out.read_text(encoding="utf-8"))
    done |= {"n_labelled": len(ids), "n_ordered": len(ordered), "n_orderings": N_ORDERINGS}
    for seed in given.seeds:
        divided = split([drawn[0][id] for id in ids], test=0.2, valid=0.0, seed=seed)
        rest, test = ([ids[i] for i in part] for part in (divided.train, divided.test))
        wanted = labels_of([drawn[0][id] for id in test], LABEL, "crystal")
        for arm, start, learned in (
            ("ordered alone", source, [id for id in rest if id in ordered]),
            ("with orderings", source, rest),
            ("with orderings, from scratch", None, rest),
        ):
            if any((row["arm"], row["seed"]) == (arm, seed) for row in done["results"]):
                continue
            settings = FinetuneSettings()
            loop = settings.loop.model_copy(update={"device": "cpu", "seed": seed})
            settings = settings.model_copy(update={"loop": loop})
            pool = [drawn[0][id] for id in learned]
            parts = split_labelled(pool, [], None, settings.valid_fraction, seed)
            targets = [Target(name=LABEL, unit="log10(S/cm)")]
            result = finetune(parts.train, parts.valid, targets, source.settings, settings, start)
            each = [predict(result.model, [one[id] for id in test])[LABEL] for one in drawn]
            mean = np.mean([drawn[0][id].labels[LABEL] for id in learned])
            is_drawn = np.array([id not in ordered for id in test])
            row = {
                "arm": arm,
                "seed": seed,
                "n_labels": len(pool),
                "n_test": len(test),
                "n_test_disordered": int(is_drawn.sum()),
                "mae": float(np.abs(each[0] - wanted).mean()),
                "mae_of_mean": float(np.abs(np.mean(each, 0) - wanted).mean()),
                "mae_of_ordered": float(np.abs(each[0] - wanted)[~is_drawn].mean()),
                "mae_of_mean_label": float(np.abs(mean - wanted).mean()),
                "spread_over_orderings": float(np.std(each, 0, ddof=1)[is_drawn].mean()),
            }
            done["results"].append(row)
            done["environment"] = {k: v for k, v in environment().items() if k != "command"}
            write_json(given.out, done)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
