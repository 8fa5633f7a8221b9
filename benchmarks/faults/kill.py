"""Kill commands with SIGKILL at random moments, again and again, and look at what they end with.

    python benchmarks/faults/kill.py --kills 50 --work WORK

Each command runs once unbroken. Then it is started, killed after a random time, and started again
as a person would, until it ends by itself; that counts as one survival, and its result must be that
of the unbroken run. Goes on with a fresh folder until there were as many kills as asked for.

Nothing can be lost while Python starts and libraries are imported, which would take most of the
time. So that is done once: runs are forks of a process that has done the unbroken one, which start
in milliseconds; it is the fork that is killed. Times are counted from the first file that a run
makes; every tenth kill falls before that all the same. Inputs are small, and so are the shards and
parts that are committed: a hundred crystals instead of thousands, so that kills fall within,
between and after them.

Writes ``benchmarks/results/faults/kill.json`` as it goes; the same command goes on from there,
``--anew`` begins again.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors.numpy import load_file

from atomprint.data.embedded import CORPUS, DFT_LABELS
from atomprint.data.store import Store
from atomprint.ground.elements import symbols
from atomprint.structures.reading import read_crystals
from atomprint.structures.writing import write_parquet
from atomprint.training.checkpoint import write_json
from atomprint.training.run import environment

OUT = Path(__file__).parents[1] / "results" / "faults" / "kill.json"
SMALL = ["model.backbone.kind=painn", "model.backbone.n_channels=16", "model.backbone.n_layers=1"]
N_FILES, N_LABELLED = 1500, 60
# What runs before the command: progress in steps of a hundred crystals.
SMALL_SHARDS = """
from atomprint.data.store.convert import convert
convert.__kwdefaults__["shard_crystals"] = 100
"""
SMALL_PARTS = """
from atomprint.fingerprints.streaming import job, run
job.PART_CRYSTALS = run.PART_CRYSTALS = 100
"""
# Does the first command line itself, and every later one in a fork; tells the fork's id and status.
RUNNER = """
import json, os, sys
from atomprint.cli.main import main
tell = os.fdopen(os.dup(1), "w")
def do(words, log):
    sys.argv = ["atomprint", *words]
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)
    try:
        main()
    except SystemExit as end:
        return end.code or 0
def say(number):
    print(number, file=tell, flush=True)
warm = False
while line := sys.stdin.readline():
    fork = os.fork() if warm else 0
    if fork == 0:
        if warm:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        status = do(*json.loads(line))
        if warm:
            os._exit(status)
        warm = True
        say(status)
    else:
        say(fork)
        say(os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]))
"""
# Part of the unbroken run's working time within which kills fall: a run meets several.
LATEST = 0.8


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
    before
        Python that makes its parts small.
    """

    name: str
    start: Callable[[Path], list[str]]
    again: Callable[[Path], list[str]]
    result: Callable[[Path], tuple[str, list[str]]]
    before: str = ""


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
        for crystal in read_crystals(CORPUS).crystals[:N_FILES]:
            lines = ["x", "1.0", *(" ".join(f"{v:.8f}" for v in row) for row in crystal.cell)]
            order = crystal.numbers.argsort(kind="stable")
            kinds = list(dict.fromkeys(int(z) for z in crystal.numbers[order]))
            lines.append(" ".join(symbols[z] for z in kinds))
            lines.append(" ".join(str(int((crystal.numbers == z).sum())) for z in kinds))
            lines.append("Direct")
            lines += [" ".join(f"{v:.8f}" for v in crystal.frac[i]) for i in order]
            (files / f"{crystal.id}.vasp").write_text("\n".join(lines) + "\n")
    turns = itertools.count(1)
    labelled = work / "labelled.parquet"
    if not labelled.is_file():
        smallest = sorted(read_crystals(DFT_LABELS).crystals, key=lambda crystal: crystal.n_atoms)
        write_parquet(labelled, smallest[:N_LABELLED])

    def convert(out: Path) -> list[str]:
        # Two processes that read need seconds to start: every other time.
        workers = str(1 + next(turns) % 2)
        return ["data", "convert", str(files), "--out", str(out / "s"), "--workers", workers]

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
            "evaluate", "--data", str(labelled), "--target", "energy_per_atom",
            "--from", "atomprint/tiny", "--protocol", "kfold", "--device", "cpu",
            "protocol.n_folds=4", "finetuning.n_steps=10", "--out", str(out / "e"),
        ]  # fmt: skip

    return [
        Command("data convert", convert, convert, of_store, SMALL_SHARDS),
        Command("fingerprint", fingerprint, fingerprint, of_table, SMALL_PARTS),
        Command("pretrain", start, resume, of_run),
        Command("evaluate", evaluate, evaluate, of_evaluation),
    ]


class Runner:
    """Runs command lines, and kills them."""

    def __init__(self, command: Command, log: Path) -> None:
        start = [sys.executable, "-c", command.before + RUNNER]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        # Unbuffered: what was read and what waits to be read must be told apart.
        self.process = subprocess.Popen(start, **pipes, bufsize=0)
        self.log = log

    def close(self) -> None:
        """End it."""
        self.process.stdin.close()
        self.process.wait()

    def tell(self, words: list[str]) -> int:
        """Have a command line run; what is answered first."""
        self.process.stdin.write(json.dumps([words, str(self.log)]).encode() + b"\n")
        return int(self.process.stdout.readline())

    def whole(self, words: list[str]) -> None:
        """Run the first command line to its end."""
        self._check(self.tell(words), words)

    def run(
        self, words: list[str], out: Path, limit: float | None, from_start: bool = False
    ) -> tuple[bool, float, float]:
        """Run a command line, killed some seconds after its first sign of life.

        A file that is made or changed in the folder is such a sign, or, ``from_start``, the start.

        Returns
        -------
        tuple
            Whether it ended by itself, seconds before the sign of life, seconds after it.
        """
        before = newest(out)
        started = time.perf_counter()
        fork = self.tell(words)
        alive = started if from_start else None
        while not select.select([self.process.stdout], [], [], 0.005)[0]:
            now = time.perf_counter()
            if alive is None and newest(out) > before:
                alive = now
            if alive is not None and limit is not None and now - alive >= limit:
                os.kill(fork, signal.SIGKILL)
                break
        ended = time.perf_counter()
        status = int(self.process.stdout.readline())
        alive = ended if alive is None else alive
        if status == -signal.SIGKILL:
            return False, alive - started, ended - alive
        self._check(status, words)
        return True, alive - started, ended - alive

    def _check(self, status: int, words: list[str]) -> None:
        if status:
            raise SystemExit(f"{' '.join(words)}: status {status}: {self.log.read_text()}")


def newest(out: Path) -> int:
    """When the latest file of a folder was made or changed; 0 if there is none."""
    times = [0]
    for path in [out, *out.rglob("*")]:
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime_ns)
    return max(times)


def kill(
    command: Command, work: Path, n_kills: int, seed: int, found: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Kill one command until there were enough kills; yields what was found so far."""
    folder = work / command.name.replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    whole = folder / "whole"
    whole.mkdir(parents=True)
    runner = Runner(command, folder / "log")
    runner.whole(command.start(whole))
    wanted, ids = command.result(whole)
    again = folder / "again"
    again.mkdir()
    _, idle, seconds = runner.run(command.start(again), again, None)
    found = {"kills": 0, "survivals": 0, "equal": 0, "lost": 0, "doubled": 0, "at": []} | found
    found |= {"seconds_to_start": round(idle, 2), "seconds_of_work": round(seconds, 2)}
    while found["kills"] < n_kills:
        out = folder / f"broken-{found['survivals']}"
        out.mkdir()
        words = command.start(out)
        kills, at = found["kills"], []
        while True:
            number = kills + len(at)
            dice = random.Random(f"{seed} {command.name} {number} {found['survivals']}")
            in_start = number % 10 == 9
            limit = dice.random() * (idle if in_start else LATEST * seconds)
            if number >= n_kills:
                limit = None
            ended, _, lived = runner.run(words, out, limit, in_start)
            if ended:
                # How long a run takes when nobody kills it changes with what else runs here.
                seconds = seconds if at else lived
                break
            at.append([round(lived, 3), not in_start])
            words = command.again(out)
        has, own = command.result(out)
        found = found | {
            "kills": kills + len(at),
            "survivals": found["survivals"] + 1,
            "equal": found["equal"] + (has == wanted),
            "lost": found["lost"] + len(set(ids) - set(own)),
            "doubled": found["doubled"] + len(own) - len(set(own)),
            "at": [*found["at"], *at],
        }
        found["part_after_start"] = sum(late for _, late in found["at"]) / max(found["kills"], 1)
        print(command.name, found["kills"], found["survivals"], has == wanted, flush=True)
        yield found
        if has == wanted:
            shutil.rmtree(out)
    runner.close()


def main() -> None:
    """Kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of each command")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a command; others keep their results")
    parser.add_argument("--anew", action="store_true", help="forget what was found before")
    arguments = parser.parse_args()
    results: dict[str, Any] = json.loads(OUT.read_text()) if OUT.is_file() else {"commands": {}}
    results["seed"] = arguments.seed
    for command in commands(arguments.work):
        if arguments.only and command.name not in arguments.only:
            continue
        known = {} if arguments.anew else results["commands"].get(command.name, {})
        if known.get("kills", 0) >= arguments.kills:
            continue
        for found in kill(command, arguments.work, arguments.kills, arguments.seed, known):
            results["commands"][command.name] = found
            results["environment"] = {k: v for k, v in environment().items() if k != "command"}
            OUT.parent.mkdir(parents=True, exist_ok=True)
            write_json(OUT, results)


if __name__ == "__main__":
    main()
