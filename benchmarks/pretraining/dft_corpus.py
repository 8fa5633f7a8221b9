"""What labels of the corpus itself would cost by density-functional theory: a random sample.

    apt-get install gpaw gpaw-data
    python benchmarks/pretraining/dft_corpus.py --data DIR --work WORK --minutes 60

The embedded set's labels (scripts/dft_labels) are of cells of two atoms in the median; crystals of
the corpus have more. Here random ones are computed with the same settings and the same code, energy
and stress, one after the other in one fixed order, as many as the time allows. A calculation that
has taken ``--limit`` processor seconds is stopped and counts with what it has taken, so that means
are lower bounds; so are they because nothing is spin-polarised, and because crystals with elements
that GPAW has no dataset of (most lanthanides) are left out. What fails is kept, with its time, and
is in no mean. Writes ``benchmarks/results/dft_corpus_cost.json`` after each crystal; stopped at any
moment, the same command goes on.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from sets import load_corpus

from atomprint.ground import elements
from atomprint.training.checkpoint import write_json
from atomprint.training.run import environment

ROOT = Path(__file__).parents[2]
OUT = ROOT / "benchmarks" / "results" / "dft_corpus_cost.json"
MAX_ATOMS = 30
"""Of a crystal of the corpus, as the default recipe has it."""
SEED = 2026
"""Of the order in which crystals are drawn."""
DATASETS = Path("/usr/share/gpaw-setups")

CHILD = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from build import parameters, run_gpaw
entry = json.loads(sys.stdin.read())
cell, frac = np.array(entry["cell"]), np.array(entry["frac"])
try:
    found = run_gpaw(entry["numbers"], cell, frac, parameters(entry, "label"), 10**6, sys.argv[2])
except OverflowError:
    # GPAW's reduction of k points gives a zero weight for some even meshes.
    entry["odd_mesh"] = True
    found = run_gpaw(entry["numbers"], cell, frac, parameters(entry, "label"), 10**6, sys.argv[2])
print(json.dumps(found))
"""


def one(crystal: Any, python: str, limit: int, log: Path) -> dict[str, Any]:
    """Compute one crystal, or as much of it as the limit allows."""
    entry = {
        "numbers": crystal.numbers.tolist(), "cell": crystal.cell.tolist(),
        "frac": crystal.frac.tolist(), "magmom": 0.0, "prototype": "corpus",
    }  # fmt: skip
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [python, "-c", CHILD, str(ROOT / "scripts" / "dft_labels"), str(log)],
        input=json.dumps(entry), capture_output=True, text=True, check=False,
        env=os.environ | alone,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit)),
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    row = {"n_atoms": crystal.n_atoms, "n_elements": len(set(crystal.numbers.tolist()))}
    if done.returncode == 0:
        found = json.loads(done.stdout.splitlines()[-1])
        row |= {key: found[key] for key in ("cpu_seconds", "n_electrons", "n_kpoints", "scf_steps")}
        return row | {"status": "ok"}
    stopped = done.returncode < 0
    why = "stopped" if stopped else f"failed: {(done.stderr.splitlines() or ['?'])[-1][:120]}"
    return row | {"status": why, "cpu_seconds": spent}


def main() -> None:
    """Compute crystals until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--limit", type=int, default=600, help="processor seconds of a crystal")
    parser.add_argument("--gpaw-python", default="/usr/bin/python3")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    arguments.work.mkdir(parents=True, exist_ok=True)
    corpus = load_corpus(arguments.data, MAX_ATOMS)
    has = {path.name.split(".")[0] for path in DATASETS.glob("*.PBE.gz")}
    able = [c for c in corpus if has >= {elements.symbols[z] for z in c.numbers.tolist()}]
    order = np.random.default_rng(SEED).permutation(len(able))
    protocol = {"limit": arguments.limit, "seed": SEED, "max_atoms": MAX_ATOMS}
    rows: list[dict[str, Any]] = []
    if arguments.out.is_file():
        before = json.loads(arguments.out.read_text(encoding="utf-8"))
        if before["protocol"] != protocol:
            raise SystemExit(f"{arguments.out}: of another limit or order; give another --out")
        rows = before["crystals"]
    while len(rows) < len(able) and time.monotonic() < deadline:
        crystal = able[int(order[len(rows)])]
        rows.append(
            one(crystal, arguments.gpaw_python, arguments.limit, arguments.work / "gpaw.txt")
        )
        print(json.dumps(rows[-1]), flush=True)
        about = {k: v for k, v in environment().items() if k != "command"}
        found = {
            "what": "CPU seconds of a DFT label of the corpus (one core)",
            "protocol": protocol,
            "n_corpus": len(corpus),
            "n_with_datasets": len(able),
            "mean_atoms_of_corpus": round(float(np.mean([c.n_atoms for c in corpus])), 2),
            "crystals": rows,
            "environment": about,
        }
        write_json(arguments.out, found)


if __name__ == "__main__":
    main()
