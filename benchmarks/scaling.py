"""How fast pre-training is on one process and on several, and what dividing it costs.

    python benchmarks/scaling.py --data CORPUS [--processes 2] [--strategies ddp fsdp]
        [--device cuda] [--turns 3] [--steps 100]

The default recipe, by the command that users have (``atomprint pretrain --devices N``), one thread
a process. Three cases, in turns with each other:

- *strong*: one batch of 32 crystals divided among all processes. Ideal: N times as fast.
- *weak*: 32 crystals a process. Ideal: N times as many crystals a second.
- *apart*: N runs of one process each that know nothing of each other. What these lose is the
  machine's, not the dividing's.

Speeds are those that a run logs (crystals a second of all processes, steps alone); of a run the
median over its log, without the first third, in which kernels are made; of all turns the median,
and the least and the most. ``--device cuda`` asks for GPUs, one a process; runs apart are of
processors alone. Writes ``benchmarks/results/scaling-DEVICE.json``.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from atomprint.training.checkpoint import write_json
from atomprint.training.run import environment

RESULTS = Path(__file__).parent / "results"
BATCH = 32


def logged(run: Path) -> float:
    """Crystals a second of a run."""
    (path,) = run.glob("logs/*/metrics.csv")
    with path.open(encoding="utf-8") as file:
        speeds = [float(row["crystals/s"]) for row in csv.DictReader(file) if row["crystals/s"]]
    return statistics.median(speeds[len(speeds) // 3 :])


def measure(given: argparse.Namespace, processes: int, strategy: str, kind: str) -> float:
    """Crystals a second of all processes of a case."""
    n_runs = processes if kind == "apart" else 1
    batch = BATCH * (processes if kind == "weak" else 1)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder) / f"run-{k}" for k in range(n_runs)]
        started = [
            subprocess.Popen(
                [
                    str(Path(sys.executable).parent / "atomprint"), "pretrain",
                    "--data", str(given.data), "--out", str(run), "--device", given.device,
                    "--devices", str(processes // n_runs), f"loop.strategy={strategy}",
                    f"loop.n_steps={given.steps}", "loop.log_every=5",
                    f"loop.batch.max_crystals={batch}", f"loop.batch.max_atoms={batch * 125}",
                    f"loop.batch.max_edges={batch * 12_500}",
                    f"loop.evaluate_every={given.steps}", f"loop.checkpoint_every={given.steps}",
                ],
                stdout=subprocess.DEVNULL,
                env=os.environ | threads,
            )
            for run in runs
        ]  # fmt: skip
        statuses = [one.wait() for one in started]
        if any(statuses):
            raise SystemExit("a run failed: see what it said above")
        return sum(logged(run) for run in runs)


def main() -> None:
    """Measure all cases in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--processes", type=int, nargs="+", default=[2], help="beside one")
    parser.add_argument("--strategies", nargs="+", default=["ddp", "fsdp"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    kinds = [(strategy, kind) for strategy in given.strategies for kind in ("strong", "weak")]
    if given.device == "cpu":
        kinds.append(("ddp", "apart"))
    several = sorted({n for n in given.processes if n > 1})
    # One process has nothing to divide: it is what others are compared with.
    one = (1, "ddp", "strong")
    cases = [one, *((n, *kind) for n in several for kind in kinds)]
    found: dict[tuple[int, str, str], list[float]] = {case: [] for case in cases}
    for turn in range(given.turns):
        for processes, strategy, kind in cases:
            speed = measure(given, processes, strategy, kind)
            found[processes, strategy, kind].append(speed)
            print(turn, processes, strategy, kind, round(speed), flush=True)
    alone = statistics.median(found[one])
    rows: list[dict[str, Any]] = []
    for (processes, strategy, kind), speeds in found.items():
        median = statistics.median(speeds)
        rows.append(
            {
                "processes": processes,
                "strategy": strategy,
                "kind": kind,
                "crystals_per_second": [round(speed, 1) for speed in speeds],
                "median": round(median, 1),
                "efficiency": round(median / (alone * processes), 3),
            }
        )
    about = {k: v for k, v in environment().items() if k != "command"}
    asked = {"steps": given.steps, "batch": BATCH, "data": given.data.name}
    write_json(
        RESULTS / f"scaling-{given.device}.json",
        {"settings": asked, "rows": rows, "environment": about},
    )


if __name__ == "__main__":
    main()
