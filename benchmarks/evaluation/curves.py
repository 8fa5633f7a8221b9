"""Learning curves on log10 K and formation energy, beside from-scratch twins and baselines.

    python benchmarks/evaluation/curves.py --data DIR --from RUN --work WORK

The sets, and which of their crystals judge, are those of benchmarks/pretraining/sets.py: ``RUN`` is
pre-trained on its corpus, which has none of them (benchmarks/pretraining/study.py makes one).
Crystals that judge are the test part, which no choice of a recipe has seen; labels are drawn from
what is neither that nor the development part. Of both, crystals of more than 20 atoms are left out,
to afford it. Units are kept in ``WORK``; stopped at any moment, the same command goes on. Writes
``benchmarks/results/evaluation/curves.json`` and a page for each set, complete or not.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "pretraining"))
from pages import keep_page
from sets import SETS, load_corpus, load_set, parts

from atomprint import api
from atomprint.data.divisions import Division, write_divisions
from atomprint.evaluation.leakage import find_leaks
from atomprint.evaluation.prepare import EvaluateSettings
from atomprint.evaluation.summary import read_units, summarize_evaluation
from atomprint.structures.crystal import Crystal
from atomprint.structures.writing import write_parquet
from atomprint.training.checkpoint import write_json
from atomprint.training.run import environment

OUT = Path(__file__).parents[1] / "results" / "evaluation" / "curves.json"
NAMES = ("log10 bulk modulus", "formation energy")
N_LABELS = (30, 100, 300, 1000)
N_SEEDS = 3
MAX_ATOMS = 20
CORPUS_ATOMS = 30
"""Of the largest crystal of the corpus; study.py's --max-atoms for the run."""
KEPT = (
    "arm", "kind", "n_labels", "n_splits", "value", "interval", "spread", "values", "twin", "gain",
    "n_won", "n_compared", "verdict", "seconds", "cpu_seconds", "seconds_per_label",
    "seconds_per_crystal", "joules", "joules_per_label", "peak_mib", "n_parameters",
)  # fmt: skip


def slug(name: str) -> str:
    """A name as that of a folder, and of a label."""
    return name.replace(" ", "_")


def make_set(name: str, data: Path, folder: Path) -> None:
    """Write a set with its one division, and what was left out, where ``evaluate`` finds them."""
    rows = load_set(name, data)
    pool, judged = parts(name, rows, "test")
    kept = [[c for c in part if c.n_atoms <= MAX_ATOMS] for part in (pool, judged)]
    every = [*kept[0], *kept[1]]
    folder.mkdir(parents=True, exist_ok=True)
    label = slug(name)
    labelled = [crystal.with_labels({label: crystal.labels["y"]}) for crystal in every]
    write_parquet(folder / f"{label}.parquet", labelled, units={label: SETS[name].unit}, exact=True)
    division = Division("test", list(range(len(kept[0]))), list(range(len(kept[0]), len(every))))
    write_divisions(folder / "splits.json", [division], every)
    about = {
        "file": f"{SETS[name].file}.parquet",
        "n_used": len(rows),
        "most_atoms": SETS[name].max_atoms,
        "n_pool": len(kept[0]),
        "n_test": len(kept[1]),
        "max_atoms": MAX_ATOMS,
        "left_out_pool": len(pool) - len(kept[0]),
        "left_out_test": len(judged) - len(kept[1]),
        "left_out_development": SETS[name].n_dev,
        "leakage": leaks(kept[1], data),
    }
    # Last, so that a set that is half made is made anew.
    write_json(folder / "about.json", about)


@cache
def corpus_of(data: Path) -> list[Crystal]:
    """What the run was pre-trained on; reading takes minutes."""
    return load_corpus(data, CORPUS_ATOMS)


def leaks(judged: Sequence[Crystal], data: Path) -> dict[str, int]:
    """Crystals that judge and are in the corpus by the package's own rule, not that of sets.py."""
    found = find_leaks(judged, corpus_of(data))
    return {"n_corpus": len(corpus_of(data)), "n_leaked": len({leak.test_id for leak in found})}


def settings_for(folder: Path, labels: Sequence[int], n_seeds: int, steps: int) -> EvaluateSettings:
    """The learning curve, twins and baselines; ``steps`` of 0 are the default of fine-tuning."""
    return EvaluateSettings.model_validate(
        {
            "protocol": {
                "kind": "curve",
                "n_labels": labels,
                "n_seeds": n_seeds,
                "splits": str(folder / "splits.json"),
            },
            "baselines": True,
            "finetuning": {"n_steps": steps},
        }
    )


def collected(folder: Path) -> dict[str, Any]:
    """What is kept of a learning curve: rows, labels saved, verdict, what was left out."""
    summary = summarize_evaluation(folder / "curve").model_dump(mode="json")
    about, _, _ = read_units(folder / "curve")
    found = {k: summary[k] for k in ("metric", "unit", "verdict", "complete", "missing", "saved")}
    found["rows"] = [{key: row[key] for key in KEPT} for row in summary["rows"]]
    found["set"] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    found["splits_hash"] = about["splits_hash"]
    found["arms"] = {
        arm["name"]: {key: arm["about"].get(key) for key in ("weights", "finetuning")}
        for arm in about["arms"]
        if arm["kind"] in ("scratch", "pretrained")
    }
    return found


def main() -> None:
    """Evaluate what is missing, and write down what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--from", dest="source", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(NAMES), help="with commas")
    parser.add_argument("--labels", type=int, nargs="+", default=N_LABELS)
    parser.add_argument("--seeds", type=int, default=N_SEEDS, help="draws of labels")
    parser.add_argument("--steps", type=int, default=0, help="of fine-tuning, for a quick look")
    parser.add_argument("--dry-run", action="store_true", help="estimate the time, do nothing")
    parser.add_argument("--only-collect", action="store_true", help="evaluate nothing more")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    found = {}
    for name in arguments.sets.split(","):
        folder = arguments.work / slug(name)
        if not (folder / "about.json").is_file():
            make_set(name, arguments.data, folder)
        chosen: dict[str, Any] = {
            "settings": settings_for(folder, arguments.labels, arguments.seeds, arguments.steps),
            "data": folder / f"{slug(name)}.parquet",
            "target": slug(name),
            "device": "cpu",
        }
        if arguments.dry_run:
            plan = api.plan_evaluation(folder / "curve", [arguments.source], **chosen)
            counts = {key: value for key, value in plan.items() if key != "units"}
            print(json.dumps({name: counts}), flush=True)
            continue
        if not arguments.only_collect:
            api.evaluate(folder / "curve", [arguments.source], progress=say, **chosen)
        found[name] = collected(folder)
        words = {str(arguments.data): "DIR", str(arguments.work): "WORK"}
        if Path(arguments.source).is_dir():
            words[arguments.source] = "RUN"
        keep_page(folder / "curve", arguments.out.with_name(f"curve-{slug(name)}.html"), words)
    if not arguments.dry_run:
        about = {k: v for k, v in environment().items() if k != "command"}
        protocol = {"n_labels": list(arguments.labels), "n_seeds": arguments.seeds}
        write_json(arguments.out, {"curves": found, "protocol": protocol, "environment": about})


def say(stage: str, step: int, total: int, _: dict[str, float]) -> None:
    """A line for each unit that is done."""
    if stage == "units":
        print(f"{step} of {total} units", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
