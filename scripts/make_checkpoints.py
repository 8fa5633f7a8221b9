"""Make the pre-trained networks that come with the package.

    python scripts/make_checkpoints.py --work WORK              # small and tiny
    python scripts/make_checkpoints.py small --work WORK --config recipe.yaml \
        --set loop.n_steps=20000 loop.device=cuda --seeds 0 1 2
    python scripts/checkpoint_corpus.py --data DIR --out CORPUS
    python scripts/make_checkpoints.py --work WORK --data CORPUS/*.parquet --source "..." \
        --source-licence "..."

Each is trained in ``WORK/NAME`` on the embedded corpus (or ``--data``), fine-tuned on the embedded
DFT labels beside its from-scratch twin for each seed, and put into the package with description and
card. Stopped at any moment, the same command goes on where it stood.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols

sys.path.insert(0, str(Path(__file__).parent))
from make_checkpoint_card import EMBEDDED, EMBEDDED_LICENCE, describe, publish, rows_of

from atomprint.api import load_settings
from atomprint.cli.options import parse_settings
from atomprint.data.embedded import CORPUS, DFT_LABELS, DFT_TARGET
from atomprint.data.splits import split
from atomprint.evaluation.corpus_index import write_index
from atomprint.evaluation.twin import run_twins, split_labelled
from atomprint.ground.settings import validate
from atomprint.heads.shipped import FOLDER, sha256
from atomprint.heads.target import Target
from atomprint.structures.reading import read_crystals
from atomprint.training.checkpoint import load_model, write_json
from atomprint.training.finetune import FinetuneSettings
from atomprint.training.pretrain import STATE, PretrainSettings, pretrain
from atomprint.training.run import environment

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "checkpoints"
WATCHED = ("train/loss", "valid/value")
RECIPES: dict[str, dict[str, Any]] = {
    "small": {},
    "tiny": {
        "model": {"backbone": {"kind": "painn", "n_channels": 32, "n_layers": 2}, "n_hidden": 64}
    },
}
"""Where settings differ from those of ``--config``, and these from the defaults."""


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Settings with others over them, group by group; another kind replaces its group."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        same = isinstance(value, dict) and isinstance(old, dict)
        if same and value.get("kind", old.get("kind")) == old.get("kind"):
            value = merged(old, value)
        result[key] = value
    return result


def settings_of(name: str, config: Path | None, words: list[str]) -> PretrainSettings:
    """Complete the settings of a recipe."""
    base = load_settings(PretrainSettings, config).model_dump(mode="json")
    return validate(
        PretrainSettings, merged(merged(base, RECIPES[name]), parse_settings(words)), name
    )


def train(name: str, run: Path, data: list[Path], settings: PretrainSettings) -> None:
    """Pre-train, or go on; the processor time goes into ``cost.json`` at every checkpoint."""
    if (run / "corpus.json").is_file():
        recorded = json.loads((run / "run.json").read_text(encoding="utf-8"))["settings"]
        if recorded != settings.model_dump(mode="json"):
            raise SystemExit(f"{run}: made with other settings; remove it or give another --work")
        return
    resume = (run / "run.json").is_file()
    file = run / "cost.json"
    before = 0.0
    if resume and (run / STATE).is_file() and file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))["cpu_seconds"]
    started = time.process_time()

    def progress(step: int, total: int, numbers: dict[str, float]) -> None:
        if step % settings.loop.checkpoint_every == 0 or step == total:
            spent = before + time.process_time() - started
            cost = {"device": settings.loop.device, "threads": torch.get_num_threads()}
            write_json(file, {"cpu_seconds": round(spent, 1), **cost})
        if "valid/value" in numbers or step == total:
            losses = {key: round(v, 4) for key, v in numbers.items() if key in WATCHED}
            print(f"{name}: step {step} of {total}", losses, flush=True)

    crystals = read_crystals(data).crystals
    pretrain(crystals, settings, run, resume=resume, progress=progress)
    if data != [CORPUS]:
        write_index(crystals, run)
    elements = sorted({int(number) for crystal in crystals for number in crystal.numbers})
    write_json(
        run / "corpus.json",
        {
            "max_atoms": max(crystal.n_atoms for crystal in crystals),
            "elements": [chemical_symbols[number] for number in elements],
        },
    )


def evaluate(name: str, run: Path, seeds: list[int], more: list[str], path: Path) -> None:
    """Fine-tune on the embedded DFT labels beside the twin, for each seed that is missing."""
    settings = validate(FinetuneSettings, parse_settings(more), "--finetune")
    # Results of other weights or another protocol are no results of these.
    made_of = {
        "weights_sha256": sha256(run / "model.safetensors"),
        "finetuning": settings.model_dump(mode="json"),
    }
    done: dict[str, Any] = {"results": []}
    if path.is_file():
        done = json.loads(path.read_text(encoding="utf-8"))
    if {key: done.get(key) for key in made_of} != made_of:
        done = {**made_of, "results": []}
    read = read_crystals(DFT_LABELS)
    # The elements are the references: their label is zero by construction and flatters everyone.
    labelled = [c for c in read.crystals if len(set(c.numbers.tolist())) > 1]
    target = Target(name=DFT_TARGET, unit=read.units.get(DFT_TARGET, "eV/atom"))
    model = load_model(run)[0]
    for seed in seeds:
        if seed in {row["seed"] for row in done["results"]}:
            continue
        # Strained and scaled variants share their parent's composition: they must not straddle.
        parts = split(labelled, test=0.2, valid=0.0, seed=seed, by="composition")
        own = [[labelled[i] for i in part] for part in (parts.train, parts.test)]
        loop = settings.loop.model_copy(update={"seed": seed})
        chosen = settings.model_copy(update={"loop": loop})
        outcome = run_twins(
            split_labelled(own[0], own[1], None, chosen.valid_fraction, seed),
            [target],
            chosen,
            model.settings,
            model,
            twin=True,
        )
        done["results"].append({"set": "embedded DFT labels", **outcome.results[0]})
        done["environment"] = {k: v for k, v in environment().items() if k != "command"}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, done)
        row = outcome.results[0]
        print(f"{name}: seed {seed}, {row['value']:.4f}, twin {row['twin_value']:.4f}", flush=True)


def main() -> None:
    """Do what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the runs")
    parser.add_argument("--config", type=Path, help="settings of pre-training, YAML")
    parser.add_argument("--set", nargs="*", default=[], help="key=value of pre-training")
    parser.add_argument(
        "--data", type=Path, nargs="+", default=[CORPUS], help="default: the embedded corpus"
    )
    parser.add_argument("--source", help="what --data is; needed with it")
    parser.add_argument("--source-licence", help="licence of --data; needed with it")
    parser.add_argument("--licence", default="MIT", help="of the weights")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of the results")
    parser.add_argument("--finetune", nargs="*", default=[], help="key=value of fine-tuning")
    parser.add_argument("--results", type=Path, nargs="*", default=[], help="further results")
    parser.add_argument("--scratch", type=Path, help="the study's file of from-scratch twins")
    parser.add_argument("--note", action="append", default=[], help="a sentence for the limits")
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    if given.data != [CORPUS] and not (given.source and given.source_licence):
        parser.error("say with --source and --source-licence what the data are")
    for name in given.names or list(RECIPES):
        if name not in RECIPES:
            parser.error(f"unknown name {name!r}; there are {', '.join(RECIPES)}")
        run, measured = given.work / name, RESULTS / f"{name}.json"
        if given.out != FOLDER:
            measured = given.work / f"{name}.json"
        train(name, run, given.data, settings_of(name, given.config, given.set))
        if given.seeds:
            evaluate(name, run, given.seeds, given.finetune, measured)
        rows = rows_of(measured) if given.seeds else []
        rows += [row for path in given.results for row in rows_of(path, given.scratch)]
        shipped = describe(
            name,
            run,
            rows,
            data=given.source or EMBEDDED,
            data_licence=given.source_licence or EMBEDDED_LICENCE,
            notes=given.note,
            licence=given.licence,
        )
        print(publish(shipped, run, given.out))


if __name__ == "__main__":
    main()
