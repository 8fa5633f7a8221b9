"""Does label-free pre-training pay? 500 labels, three properties, three seeds, tuned twins.

    python benchmarks/main_job.py --data DIR --out benchmarks/results/main_job.json

``DIR`` holds ``mp.parquet``, ``mp_elastic.parquet`` and ``matbench_phonons.parquet`` (see the
header of docs/results.md for where they come from). The corpus is the rows of ``mp.parquet`` with
at most 20 atoms, without every crystal of the three labelled sets and without duplicates of them
(same reduced formula, volume per atom within 2 %). ``--corpus FILE`` pre-trains on another one,
``--n-corpus N`` on a sample.

Each labelled set has a fixed random order. Its first 700 crystals were used to choose the recipe
(development); the following ones are the test part, which no choice has ever seen; the labels to
train and validate on are drawn, anew for each seed, from everything that is not the test part.
Every finished unit is kept in the output file, so an interrupted study goes on where it ended.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atomprint.evaluation.twin import run_twins, split_labelled
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from atomprint.training.checkpoint import ModelInfo, load_model, save_model, write_json
from atomprint.training.finetune import FinetuneSettings
from atomprint.training.pretrain import PretrainSettings, pretrain
from atomprint.training.run import environment, hash_crystals

N_DEVELOPMENT = 700
SETS = {
    # name: (file, label, unit, is log10, most crystals used, test crystals)
    "formation energy": ("mp.parquet", "formation_energy_per_atom", "eV/atom", False, 2200, 700),
    "log10 bulk modulus": ("mp_elastic.parquet", "bulk_modulus_vrh", "log10 GPa", True, 5800, 700),
    "phonon peak": ("matbench_phonons.parquet", "last_phdos_peak", "cm⁻¹", False, 1300, 300),
}


def load_sets(folder: Path) -> tuple[dict[str, list[Crystal]], list[Crystal]]:
    """Labelled sets in their fixed order, and every crystal of mp.parquet of at most 20 atoms."""
    mp = [c for c in read_crystals(folder / "mp.parquet").crystals if c.n_atoms <= 20]
    sets = {}
    for name, (file, label, _, log, most, _) in SETS.items():
        rows = mp if file == "mp.parquet" else read_crystals(folder / file).crystals
        rows = [c for c in rows if label in c.labels and not (log and c.labels[label] <= 1)]
        rows = [
            c.with_labels({"y": float(np.log10(c.labels[label])) if log else c.labels[label]})
            for c in rows
        ]
        order = np.random.default_rng(1234).permutation(len(rows))[:most]
        sets[name] = [rows[i] for i in order]
    return sets, mp


def reduced_formula(crystal: Crystal) -> tuple[tuple[int, int], ...]:
    """Elements with their counts, divided by the greatest common divisor."""
    counts = np.bincount(crystal.numbers)
    divisor = np.gcd.reduce(counts[counts > 0])
    return tuple((int(z), int(counts[z] // divisor)) for z in np.nonzero(counts)[0])


def without(corpus: list[Crystal], used: list[Crystal]) -> list[Crystal]:
    """Leave out crystals that are used (by id) or look like one that is."""
    ids = {c.id for c in used}
    volumes = defaultdict(list)
    for crystal in used:
        volumes[reduced_formula(crystal)].append(crystal.volume / crystal.n_atoms)
    kept = []
    for crystal in corpus:
        volume = crystal.volume / crystal.n_atoms
        near = any(abs(volume / v - 1) < 0.02 for v in volumes.get(reduced_formula(crystal), ()))
        if crystal.id not in ids and not near:
            kept.append(crystal)
    return kept


def summarize(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread over seeds for each set, and the mean gain over sets."""
    by_set: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in results:
        by_set[row["set"]].append(row)
    table = {}
    for name, rows in by_set.items():
        gains = [r["gain"] for r in rows]
        table[name] = {
            "unit": SETS[name][2],
            "seeds": len(rows),
            "twin_mae": statistics.mean(r["twin_value"] for r in rows),
            "mae": statistics.mean(r["value"] for r in rows),
            "gain": statistics.mean(gains),
            "gain_min": min(gains),
            "gain_max": max(gains),
            "gain_std": statistics.stdev(gains) if len(gains) > 1 else None,
        }
    return {"sets": table, "mean_gain": statistics.mean(t["gain"] for t in table.values())}


def main() -> None:
    """Run what is missing of the study and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="where the pre-trained model is kept")
    parser.add_argument("--corpus", type=Path, help="another corpus than mp.parquet's rest")
    parser.add_argument("--n-corpus", type=int, help="a random sample of the corpus")
    parser.add_argument("--n-steps", type=int, default=PretrainSettings().loop.n_steps)
    parser.add_argument("--n-labels", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--no-twin", action="store_true", help="twins are in another file already")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

    done: dict[str, Any] = {"results": [], "cpu_seconds": {}}
    if arguments.out.is_file():
        done = json.loads(arguments.out.read_text(encoding="utf-8"))
    sets, mp = load_sets(arguments.data)
    corpus = read_crystals(arguments.corpus).crystals if arguments.corpus else mp
    corpus = without(corpus, [c for rows in sets.values() for c in rows])
    if arguments.n_corpus:
        order = np.random.default_rng(99).permutation(len(corpus))[: arguments.n_corpus]
        corpus = [corpus[i] for i in order]

    settings = PretrainSettings()
    settings = settings.model_copy(
        update={
            "loop": settings.loop.model_copy(update={"n_steps": arguments.n_steps, "device": "cpu"})
        }
    )
    work = arguments.work or arguments.out.with_suffix("")
    if (work / "model.json").is_file():
        model, _ = load_model(work)
    else:
        started = time.process_time()
        model = pretrain(corpus, settings, progress=_say("pretrain")).model
        save_model(work, model, model.state_dict(), ModelInfo("pretrain"))
        done["cpu_seconds"]["pretrain"] = round(time.process_time() - started, 1)
    done |= {
        # Where the folders lie on this machine is nobody's business.
        "command": "python " + " ".join(Path(a).name if a[0] == "/" else a for a in sys.argv),
        "environment": {k: v for k, v in environment().items() if k != "command"},
        "threads": torch.get_num_threads(),
        "corpus": {
            "from": str(arguments.corpus.name) if arguments.corpus else "mp.parquet",
            "n_crystals": len(corpus),
            "hash": hash_crystals(corpus),
        },
        "pretraining": settings.model_dump(mode="json"),
        "finetuning": FinetuneSettings().model_dump(mode="json"),
        "n_labels": arguments.n_labels,
    }
    finished = {(r["set"], r["seed"]) for r in done["results"]}
    for seed in arguments.seeds:
        for name, rows in sets.items():
            if (name, seed) in finished:
                continue
            n_test = SETS[name][5]
            test = rows[N_DEVELOPMENT : N_DEVELOPMENT + n_test]
            pool = rows[:N_DEVELOPMENT] + rows[N_DEVELOPMENT + n_test :]
            tuning = FinetuneSettings()
            loop = tuning.loop.model_copy(update={"seed": seed, "device": "cpu"})
            tuning = tuning.model_copy(update={"loop": loop})
            started = time.process_time()
            outcome = run_twins(
                split_labelled(pool, test, arguments.n_labels, tuning.valid_fraction, seed),
                [Target(name="y", unit=SETS[name][2])],
                tuning,
                settings.model,
                model,
                twin=not arguments.no_twin,
            )
            row = {"set": name, **outcome.results[0]}
            done["results"].append(row)
            key = f"{name}, seed {seed}"
            done["cpu_seconds"][key] = round(time.process_time() - started, 1)
            print(key, row["value"], row.get("twin_value"), row.get("gain"), flush=True)
            done["cpu_minutes"] = round(sum(done["cpu_seconds"].values()) / 60, 2)
            if not arguments.no_twin:
                done["summary"] = summarize(done["results"])
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            write_json(arguments.out, done)


def _say(stage: str) -> Any:
    def say(step: int, total: int, numbers: dict[str, float]) -> None:
        if step % 500 == 0:
            print(stage, step, total, numbers, file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    main()
