"""Which pre-training pays: one protocol for every arm.

    python benchmarks/pretraining/study.py --data DIR --work WORK --part dev --arms "ead;masking"

Every arm has the same network, the same corpus and the same number of steps; fine-tuning tries the
same learning rates for all, and validation chooses. A unit is one arm on one set with one number of
labels and one seed; it is written to ``benchmarks/results/pretraining/PART/ARM.json`` when it is
done, and is not done again. ``WORK`` keeps the pre-trained networks, and what was done of one when
the command was killed: it goes on from there.
"""

import argparse
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from arms import ARMS, TODAY
from mixtures import mixture
from sets import SETS, load_corpus, load_set, parts

from atomprint.evaluation.twin import split_labelled
from atomprint.heads.model import Model
from atomprint.heads.shipped import sha256
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from atomprint.training.adapt import AdaptSettings
from atomprint.training.checkpoint import ModelInfo, load_model, save_model, write_json
from atomprint.training.finetune import FinetuneSettings, finetune
from atomprint.training.loop import Progress
from atomprint.training.predict import labels_of, predict
from atomprint.training.pretrain import STATE, PretrainResult, PretrainSettings, pretrain
from atomprint.training.run import environment, hash_crystals

NOW = "environment"
RESULTS = Path(__file__).parents[1] / "results" / "pretraining"


def slug(name: str) -> str:
    """A file's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def with_labels(crystals: list[Crystal], file: Path) -> list[Crystal]:
    """Crystals with the labels that a file has for their ids, and no others."""
    labels = {crystal.id: crystal.labels for crystal in read_crystals(file).crystals}
    return [crystal.with_labels(labels.get(crystal.id, {})) for crystal in crystals]


def pretrained(
    arm: str, corpus: list[Crystal], steps: int, seed: int, work: Path
) -> tuple[Model, dict[str, Any]]:
    """The network of an arm, trained or read, and what it cost."""
    folder = work / f"{slug(arm)}-{steps}-{len(corpus)}-seed{seed}"
    if (folder / "cost.json").is_file():
        return load_model(folder)[0], known(folder)
    settings = PretrainSettings.model_validate(ARMS[arm])
    loop = settings.loop.model_copy(update={"n_steps": steps, "device": "cpu", "seed": seed})
    settings = settings.model_copy(update={"loop": loop})
    result, seconds = _whole(folder / "run", corpus, settings, _say(arm))
    cost = {
        "cpu_seconds": round(seconds, 1),
        "n_steps": steps,
        "n_crystals": len(corpus),
        "corpus_hash": hash_crystals(corpus),
        "settings": settings.model_dump(mode="json"),
        "last": result.history[-1],
    }
    save_model(folder, result.model, result.model.state_dict(), ModelInfo("pretrain"))
    write_json(folder / "cost.json", cost)
    shutil.rmtree(folder / "run")
    return result.model, known(folder)


def _whole(
    run: Path, corpus: list[Crystal], settings: PretrainSettings, say: Progress
) -> tuple[PretrainResult, float]:
    """Pre-train, from where an earlier call was killed; the processor time of all of them."""
    resume = (run / STATE).is_file()
    if not resume:
        shutil.rmtree(run, ignore_errors=True)
    spent = run / "cpu_seconds.json"
    earlier = float(json.loads(spent.read_text(encoding="utf-8"))) if spent.is_file() else 0.0
    started = time.process_time()

    def seconds() -> float:
        return earlier + time.process_time() - started

    def count(step: int, n_steps: int, numbers: dict[str, float]) -> None:
        if step % 100 == 0:
            write_json(spent, seconds())
        say(step, n_steps, numbers)

    result = pretrain(corpus, settings, run, resume=resume, progress=count)
    return result, seconds()


def known(folder: Path) -> dict[str, Any]:
    """What a network cost, and which one it is."""
    cost: dict[str, Any] = json.loads((folder / "cost.json").read_text(encoding="utf-8"))
    return cost | {"weights": sha256(folder / "model.safetensors")[:16]}


def judge(
    arm: str,
    name: str,
    pool: list[Crystal],
    judged: list[Crystal],
    n: int,
    seed: int,
    *,
    model: Model | None = None,
    adapt: int = 0,
) -> tuple[dict[str, Any], FinetuneSettings]:
    """One unit: a network, or none, fine-tuned on ``n`` labels of a set, and its error."""
    tuning = FinetuneSettings()
    loop = tuning.loop.model_copy(update={"seed": seed, "device": "cpu"})
    more = AdaptSettings(n_steps=adapt if model is not None else 0)
    tuning = tuning.model_copy(update={"loop": loop, "adapt": more})
    started = time.process_time()
    split = split_labelled(pool, judged, n, tuning.valid_fraction, seed)
    result = finetune(
        split.train,
        split.valid,
        [Target(name="y", unit=SETS[name].unit)],
        PretrainSettings.model_validate(ARMS[arm]).model,
        tuning,
        model,
    )
    found = predict(result.model, split.test)["y"]
    error = np.abs(found - labels_of(split.test, "y", "crystal")).mean()
    row = {
        "set": name,
        "n_labels": n,
        "seed": seed,
        "mae": float(error),
        "learning_rate": result.trials[result.chosen].learning_rate,
        "n_test": len(judged),
        "cpu_seconds": round(time.process_time() - started, 1),
        # What each rate of the grid gave on the validation part.
        "trials": {str(t.learning_rate): [round(t.valid_value, 5), t.step] for t in result.trials},
    }
    return row, tuning


def keep(path: Path, done: dict[str, Any]) -> None:
    """Write the units that are done, and where each lot of them was."""
    about = {k: v for k, v in environment().items() if k != "command"}
    before = done.get("environments", [done[NOW]] if NOW in done else [])
    done[NOW] = about
    done["environments"] = [*(one for one in before if one != about), about]
    write_json(path, done)


def _say(arm: str) -> Any:
    def say(step: int, total: int, numbers: dict[str, float]) -> None:
        if step % 1000 == 0:
            print(arm, step, total, numbers, file=sys.stderr, flush=True)

    return say


def main() -> None:
    """Do the units that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--part", choices=("dev", "test"), required=True)
    parser.add_argument("--arms", required=True, help="with semicolons")
    parser.add_argument("--sets", default=",".join(SETS), help="with commas")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--labels", type=int, nargs="+", default=[500])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--n-corpus", type=int, help="a random sample of the corpus")
    parser.add_argument(
        "--corpus", help="a sum such as 'real+generated+2000 layers', cells of up to 30 atoms"
    )
    parser.add_argument(
        "--teacher", type=Path, help="a file of the corpus with a teacher's features as labels"
    )
    parser.add_argument("--max-atoms", type=int, default=20, help="of a crystal of the corpus")
    parser.add_argument("--pretraining-seed", type=int, default=0)
    parser.add_argument(
        "--own-network",
        action="store_true",
        help="every seed has a pre-training run of its own, with that seed",
    )
    parser.add_argument(
        "--adapt", type=int, default=0, help="steps of adaptation to the labelled structures"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.corpus and arguments.max_atoms != 20:
        parser.error("--max-atoms: cells of --corpus have at most 30 atoms")
    if arguments.own_network and arguments.pretraining_seed:
        parser.error("--own-network: give no --pretraining-seed, it is each unit's own seed")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    corpus: list[Crystal] = []
    rows: dict[str, list[Crystal]] = {}
    for arm in arguments.arms.split(";"):
        variant = arm
        if arguments.steps != 5000 and not arm.startswith("scratch"):
            variant += f", {arguments.steps} steps"
        if arguments.corpus and not arm.startswith("scratch"):
            variant += f", {arguments.corpus}"
        if arguments.n_corpus and not arm.startswith("scratch"):
            variant += f", {arguments.n_corpus} crystals"
        if arguments.max_atoms != 20 and not arm.startswith("scratch"):
            variant += f", up to {arguments.max_atoms} atoms"
        if arguments.pretraining_seed and not arm.startswith("scratch"):
            variant += f", pre-training seed {arguments.pretraining_seed}"
        if arguments.adapt and "objectives" in ARMS[arm]:
            variant += ", adapted"
        # Units of the first protocol (best validated weights, no second run) have no such mark.
        variant += TODAY
        path = arguments.out / arguments.part / f"{slug(variant)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        done: dict[str, Any] = {"arm": variant, "part": arguments.part, "results": []}
        if path.is_file():
            done = json.loads(path.read_text(encoding="utf-8"))
        finished = {(r["set"], r["n_labels"], r["seed"]) for r in done["results"]}
        model, cost = None, {}
        for seed in arguments.seeds:
            if arguments.own_network:
                model = None
            for name in arguments.sets.split(","):
                for n_labels in arguments.labels:
                    if name not in rows:
                        rows[name] = load_set(name, arguments.data)
                    pool, judged = parts(name, rows[name], arguments.part, seed)
                    n = min(n_labels, len(pool))
                    if (name, n, seed) in finished:
                        continue
                    if "objectives" in ARMS[arm] and model is None:
                        if not corpus:
                            if arguments.corpus:
                                corpus, made = mixture(
                                    arguments.corpus, arguments.data, arguments.work, apart=True
                                )
                                done["made"] = made
                            else:
                                corpus = load_corpus(arguments.data, arguments.max_atoms)
                            if arguments.teacher:
                                corpus = with_labels(corpus, arguments.teacher)
                            if arguments.n_corpus:
                                order = np.random.default_rng(99).permutation(len(corpus))
                                corpus = [corpus[i] for i in order[: arguments.n_corpus]]
                        model, cost = pretrained(
                            arm,
                            corpus,
                            arguments.steps,
                            seed if arguments.own_network else arguments.pretraining_seed,
                            arguments.work,
                        )
                        # Of several networks of one arm the first; rows say whose they are.
                        done.setdefault("pretraining", cost)
                    of = {} if model is None else {"weights": cost["weights"]}
                    row, tuning = judge(
                        arm, name, pool, judged, n, seed, model=model, adapt=arguments.adapt
                    )
                    done["finetuning"] = tuning.model_dump(mode="json")
                    done["results"].append(of | row)
                    keep(path, done)
                    print(variant, name, n, seed, row["mae"], flush=True)


if __name__ == "__main__":
    main()
