"""Kill commands with SIGKILL at random moments, again and again, and look at what they end with.

    python benchmarks/faults/kill.py --kills 50 --work WORK

Each command runs once unbroken. Then it is started, killed after a random time, and started again
as a person would, until it ends by itself; that counts as one survival, and its result must be that
of the unbroken run. Goes on with a fresh folder until there were as many kills as asked for. Writes
``benchmarks/results/faults/kill.json``.
"""

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors.numpy import load_file

from atomprint.data.embedded import CORPUS, DFT_LABELS
from atomprint.data.store import Store
from atomprint.ground.elements import symbols
from atomprint.structures.reading import read_crystals
from atomprint.training.checkpoint import write_json
from atomprint.training.run import environment

OUT = Path(__file__).parents[1] / "results" / "faults" / "kill.json"
SMALL = ["model.backbone.kind=painn", "model.backbone.n_channels=16", "model.backbone.n_layers=1"]


@dataclass(frozen=True)
class Command:
    """A command to kill.

    Attributes
    ----------
    name
        Of the table.
    start
        Words, given the folder to write to.
    again
        Words after a kill.
    result
        What the folder ends with: a hash, and ids that must be there once each.
    """

    name: str
    start: Callable[[Path], list[str]]
    again: Callable[[Path], list[str]]
    result: Callable[[Path], tuple[str, list[str]]]


def digest(*parts: bytes) -> str:
    """Short hash."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def of_store(out: Path) -> tuple[str, list[str]]:
    """What a store holds."""
    store = Store(out / "s")
    return store.hash(), list(store.ids())


def of_table(out: Path) -> tuple[str, list[str]]:
    """What a table of fingerprints holds."""
    table = pq.read_table(out / "f.parquet")
    numbers = [table[name].to_numpy().tobytes() for name in table.column_names if name != "id"]
    return digest(*numbers), table["id"].to_pylist()


def of_run(out: Path) -> tuple[str, list[str]]:
    """The weights of a run."""
    weights = load_file(out / "run" / "model.safetensors")
    return digest(*(weights[name].tobytes() for name in sorted(weights))), []


def of_evaluation(out: Path) -> tuple[str, list[str]]:
    """What every unit of an evaluation predicted, and of which crystals."""
    units = [json.loads(path.read_text()) for path in sorted(out.glob("e/units/*.json"))]
    keys = ("arm", "split", "ids", "wanted", "predicted", "held_out", "value")
    found = [{key: unit[key] for key in keys} for unit in units]
    ids = [f"{unit['arm']} {unit['split']} {id}" for unit in units for id in unit["ids"]]
    return digest(json.dumps(found, sort_keys=True).encode()), ids


def commands(work: Path) -> list[Command]:
    """What is killed."""
    files = work / "files"
    if not files.is_dir():
        files.mkdir(parents=True)
        for crystal in read_crystals(CORPUS).crystals[:1500]:
            lines = ["x", "1.0", *(" ".join(f"{v:.8f}" for v in row) for row in crystal.cell)]
            order = crystal.numbers.argsort(kind="stable")
            kinds = list(dict.fromkeys(int(z) for z in crystal.numbers[order]))
            lines.append(" ".join(symbols[z] for z in kinds))
            lines.append(" ".join(str(int((crystal.numbers == z).sum())) for z in kinds))
            lines.append("Direct")
            lines += [" ".join(f"{v:.8f}" for v in crystal.frac[i]) for i in order]
            (files / f"{crystal.id}.vasp").write_text("\n".join(lines) + "\n")

    def convert(out: Path) -> list[str]:
        return ["data", "convert", str(files), "--out", str(out / "s"), "--workers", "2"]

    def fingerprint(out: Path) -> list[str]:
        return [
            "fingerprint", str(files), "--kind", "ead", "--per", "crystal",
            "--out", str(out / "f.parquet"),
        ]  # fmt: skip

    def start(out: Path) -> list[str]:
        words = ["loop.n_steps=150", "loop.checkpoint_every=10", "loop.device=cpu", *SMALL]
        return ["pretrain", "--data", str(DFT_LABELS), "--out", str(out / "run"), *words]

    def resume(out: Path) -> list[str]:
        if (out / "run" / "run.json").is_file():
            return ["pretrain", "--resume", str(out / "run")]
        # Killed before anything was written down: there is nothing to go on from.
        shutil.rmtree(out / "run", ignore_errors=True)
        return start(out)

    def evaluate(out: Path) -> list[str]:
        return [
            "evaluate", "--data", str(DFT_LABELS), "--target", "energy_per_atom",
            "--from", "atomprint/tiny", "--protocol", "kfold", "--device", "cpu",
            "protocol.n_folds=3", "finetuning.n_steps=40", "--out", str(out / "e"),
        ]  # fmt: skip

    return [
        Command("data convert", convert, convert, of_store),
        Command("fingerprint", fingerprint, fingerprint, of_table),
        Command("pretrain", start, resume, of_run),
        Command("evaluate", evaluate, evaluate, of_evaluation),
    ]


def run(words: list[str], limit: float | None) -> bool:
    """Run a command, killed after a time; whether it ended by itself."""
    start = [sys.executable, "-m", "atomprint.cli.main", *words]
    process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: status {process.returncode}: {err}")
    return True


def kill(command: Command, work: Path, n_kills: int, dice: random.Random) -> dict[str, Any]:
    """Kill one command until there were enough kills."""
    folder = work / command.name.replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    whole = folder / "whole"
    whole.mkdir(parents=True)
    started = time.perf_counter()
    run(command.start(whole), None)
    seconds = time.perf_counter() - started
    wanted, ids = command.result(whole)
    kills = survivals = equal = lost = doubled = 0
    while kills < n_kills:
        out = folder / f"broken-{survivals}"
        out.mkdir()
        words = command.start(out)
        # Early and late kills alike; short enough that a run meets several. A machine that does
        # other things too may have become slower: every kill of a run gives the next more time.
        limit = seconds
        while kills >= n_kills or not run(words, dice.uniform(0.2, 1.0) * limit):
            if kills >= n_kills:
                run(words, None)
                break
            kills += 1
            limit *= 1.1
            words = command.again(out)
        survivals += 1
        found, own = command.result(out)
        equal += found == wanted
        lost += len(set(ids) - set(own))
        doubled += len(own) - len(set(own))
        print(command.name, kills, survivals, found == wanted, flush=True)
        shutil.rmtree(out)
    return {
        "kills": kills,
        "survivals": survivals,
        "equal": equal,
        "lost": lost,
        "doubled": doubled,
        "seconds_unbroken": round(seconds, 1),
    }


def main() -> None:
    """Kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of each command")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a command; others keep their results")
    arguments = parser.parse_args()
    results: dict[str, Any] = json.loads(OUT.read_text()) if OUT.is_file() else {"commands": {}}
    results["seed"] = arguments.seed
    for command in commands(arguments.work):
        if arguments.only and command.name not in arguments.only:
            continue
        dice = random.Random(arguments.seed)
        found = kill(command, arguments.work, arguments.kills, dice)
        results["commands"][command.name] = found
        results["environment"] = {k: v for k, v in environment().items() if k != "command"}
        OUT.parent.mkdir(parents=True, exist_ok=True)
        write_json(OUT, results)


if __name__ == "__main__":
    main()
