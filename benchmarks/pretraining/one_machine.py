"""DFT labels beside pre-training on one machine: both in turns, so that the ratio is of one speed.

    apt-get install gpaw gpaw-data
    python benchmarks/pretraining/one_machine.py --data DIR --work WORK

``benchmarks/results/dft_label_cost.json`` has what the embedded set's labels cost on the machine
that made them. Here random ones of them are computed again, with the same code and settings, and
after each the default's pre-training does some steps on its own corpus (cells of up to 30 atoms):
what else the machine does at that hour slows both. Processor seconds, one thread each. Writes
``benchmarks/results/one_machine_cost.json`` after each turn; the same command goes on.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

sys.path.insert(0, str(Path(__file__).parent))
from dft_corpus import MAX_ATOMS, one
from sets import load_corpus
from target_cost import measure

from atomprint.structures.crystal import Crystal
from atomprint.training.checkpoint import write_json
from atomprint.training.run import environment

ROOT = Path(__file__).parents[2]
LABELS = ROOT / "src" / "atomprint" / "data" / "embedded" / "dft_labels.parquet"
OUT = ROOT / "benchmarks" / "results" / "one_machine_cost.json"
ARM = "ead+soap+properties+denoising, wide"
SEED = 2026
"""Of the order in which labels are computed again."""
STEPS = 20


def main() -> None:
    """Take turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=24)
    parser.add_argument("--gpaw-python", default="/usr/bin/python3")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(LABELS).to_pylist()
    rows = [row for row in table if not row["spin_polarized"]]
    order = np.random.default_rng(SEED).permutation(len(rows))
    corpus = load_corpus(arguments.data, MAX_ATOMS)
    turns: list[dict[str, Any]] = []
    if arguments.out.is_file():
        turns = json.loads(arguments.out.read_text(encoding="utf-8"))["turns"]
    while len(turns) < min(arguments.turns, len(rows)):
        row = rows[int(order[len(turns)])]
        crystal = Crystal.make(row["id"], row["numbers"], row["cell"], frac=row["frac"])
        label = one(crystal, arguments.gpaw_python, 600, arguments.work / "gpaw.txt")
        steps = measure(ARM, corpus, STEPS)
        turns.append(
            {
                "id": row["id"],
                "status": label["status"],
                "label_cpu_seconds": round(label["cpu_seconds"], 3),
                "label_cpu_seconds_then": round(row["cpu_seconds"], 3),
                "step_ms": steps["ms_step"]["median"],
                "targets_ms": steps["ms_targets"]["median"],
            }
        )
        print(json.dumps(turns[-1]), flush=True)
        about = {k: v for k, v in environment().items() if k != "command"}
        found = {
            "what": "CPU seconds of a DFT label and CPU ms of a pre-training step, in turns",
            "arm": ARM,
            "max_atoms": MAX_ATOMS,
            "steps_a_turn": STEPS,
            "n_corpus": len(corpus),
            "turns": turns,
            "environment": about,
        }
        write_json(arguments.out, found)


if __name__ == "__main__":
    main()
