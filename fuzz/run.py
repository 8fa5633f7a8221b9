"""Feed broken inputs to everything that reads files, and keep those that break it.

    python fuzz/run.py --seconds 300                 # every target
    python fuzz/run.py --seconds 300 --target cif

With atheris installed inputs are guided by the coverage of atomprint's own code, else changes are
blind. Each target runs in a process of its own. Kept, in ``fuzz/findings/TARGET``: what ended with
anything but one of atomprint's errors, took more than ``--limit`` CPU seconds, needed more than
512 MiB, or killed the process. Counts are added to those in ``benchmarks/results/faults/fuzz.json``
(``--anew`` forgets them); give another ``--seed`` for other changes.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
FINDINGS = ROOT / "fuzz" / "findings"
RESULTS = ROOT / "benchmarks" / "results" / "faults" / "fuzz.json"
MOST_MEMORY = 512 << 20
# Code that reads; compiled loops and torch are left as they are.
GUIDED = ["atomprint.structures.reading", "atomprint.data.store", "atomprint.heads.saved"]


COMPILED = ["atomprint.structures.search"]
"""Loops that reading calls: numba cannot compile what atheris has put its marks into."""


class TooLong(BaseException):
    """An input took too much time."""


class Session:
    """Checks inputs of one target and keeps what broke it.

    Parameters
    ----------
    target
        Its name.
    seconds
        After which it ends.
    limit
        CPU seconds that one input may take.
    folder
        For files.
    """

    def __init__(self, target: str, seconds: float, limit: float, folder: Path) -> None:
        from fuzz.targets import TARGETS

        self.target, self.limit, self.folder = target, limit, folder
        self.check = TARGETS[target](folder)
        self.deadline = time.monotonic() + seconds
        self.n_cases = 0
        self.found: dict[str, str] = {}
        signal.signal(signal.SIGPROF, self._too_long)
        self.current = folder / "current"

    def _too_long(self, number: int, frame: FrameType | None) -> None:
        raise TooLong

    def __call__(self, data: bytes) -> None:
        """Check one input."""
        self.n_cases += 1
        self.current.write_bytes(data)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.setitimer(signal.ITIMER_PROF, self.limit)
        try:
            self.check(data)
        except TooLong as error:
            self.keep(data, "hang", error)
        except Exception as error:
            self.keep(data, type(error).__name__, error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        if grown > MOST_MEMORY and self.n_cases > 1:
            self.keep(data, "memory", MemoryError(f"{grown / 2**20:.0f} MiB"))

    def keep(self, data: bytes, kind: str, error: BaseException) -> None:
        """Keep an input that broke the code in a new way."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{Path(f.filename).name}:{f.lineno}" for f in frames]
        # A surprise names what was not expected; all are raised at one place.
        place = str(error)[:60] if kind == "Surprise" else " ".join(where[-2:])
        key = f"{kind} {place}"
        if key in self.found:
            return
        self.found[key] = f"{type(error).__name__}: {str(error)[:300]}"
        kept = FINDINGS / self.target
        kept.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(key.encode()).hexdigest()[:12]
        (kept / f"{name}.input").write_bytes(data)
        about = "".join(traceback.format_exception(error))
        (kept / f"{name}.txt").write_text(f"{key}\n{about}")
        print(f"{self.target}: {key}: {self.found[key]}", flush=True)

    def done(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self.deadline

    def results(self) -> dict[str, Any]:
        """Counts."""
        return {"cases": self.n_cases, "findings": self.found}


def blindly(session: Session, seeds: list[bytes], seed: int) -> None:
    """Change sound inputs at random until the time is over."""
    from fuzz.mutate import mutate

    dice = random.Random(f"{session.target} {seed}")
    for data in seeds:
        session(data)
    pool = list(seeds)
    while not session.done():
        data = mutate(dice.choice(pool), seeds, dice)
        session(data)
        # Changes of changes reach further; the pool is forgotten again.
        if dice.random() < 0.02:
            pool.append(data)
        if len(pool) > 200:
            pool = list(seeds)


def guided(session: Session, seeds: list[bytes], seed: int, report: Path) -> None:
    """Let atheris choose, half of the time with changes of ours."""
    import atheris

    from fuzz.mutate import mutate

    corpus = session.folder / "corpus"
    corpus.mkdir()
    for index, data in enumerate(seeds):
        (corpus / f"{index}").write_bytes(data)

    def change(data: bytes, most: int, number: int) -> bytes:
        dice = random.Random(number)
        if dice.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        return mutate(data, seeds, dice, most)

    def one(data: bytes) -> None:
        session(data)
        if session.done():
            report.write_text(json.dumps(session.results()))
            os._exit(0)

    options = [f"-seed={seed + 1}", "-max_len=65536", "-rss_limit_mb=0", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=change)
    atheris.Fuzz()


def child(arguments: argparse.Namespace) -> None:
    """Fuzz one target in this process."""
    warnings.simplefilter("ignore")
    engine = arguments.engine
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=GUIDED, exclude=COMPILED):
            import atomprint.api
            import atomprint.data.store.validate  # noqa: F401
    from fuzz.seeds import SEEDS

    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        session = Session(arguments.target[0], arguments.seconds, arguments.limit, Path(folder))
        Path(arguments.current).write_text(str(session.current))
        seeds = SEEDS[session.target]()
        if engine == "atheris":
            guided(session, seeds, arguments.seed, Path(arguments.report))
        blindly(session, seeds, arguments.seed)
        Path(arguments.report).write_text(json.dumps(session.results()))


def fuzz(target: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fuzz one target in a process of its own, which a crash may end."""
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        report, current = Path(work) / "report.json", Path(work) / "current"
        command = [sys.executable, __file__, "--child", "--target", target, "--work", work]
        command += ["--report", str(report), "--current", str(current)]
        for name in ("seconds", "limit", "seed", "engine"):
            command += [f"--{name}", str(getattr(arguments, name))]
        log = Path(work) / "log"
        with log.open("wb") as file:
            ended = subprocess.run(command, stdout=None, stderr=file, check=False)
        if report.is_file():
            return json.loads(report.read_text())
        said = log.read_text(errors="replace")[-2000:]
        if current.is_file():
            kept = FINDINGS / target
            kept.mkdir(parents=True, exist_ok=True)
            (kept / "crash.txt").write_text(said)
            last = Path(current.read_text())
            if last.is_file():
                (kept / "crash.input").write_bytes(last.read_bytes())
        return {"cases": None, "findings": {f"crash {ended.returncode}": said}}


def main() -> None:
    """Fuzz."""
    has_atheris = importlib.util.find_spec("atheris") is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each target")
    parser.add_argument("--target", action="append", help="leave out for all; may be given again")
    parser.add_argument("--limit", type=float, default=20.0, help="CPU seconds of one input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--anew", action="store_true", help="forget earlier counts")
    parser.add_argument(
        "--engine", choices=("atheris", "blind"), default="atheris" if has_atheris else "blind"
    )
    parser.add_argument("--work", default="/dev/shm" if Path("/dev/shm").is_dir() else None)
    for name in ("--child", "--report", "--current"):
        action = {"action": "store_true"} if name == "--child" else {}
        parser.add_argument(name, help=argparse.SUPPRESS, **action)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return

    from atomprint.training.run import environment
    from fuzz.targets import TARGETS

    known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"targets": {}}
    for target in arguments.target or TARGETS:
        started = time.perf_counter()
        found = fuzz(target, arguments)
        before = {} if arguments.anew else known["targets"].get(target, {})
        print(f"{target}: {found['cases']} cases, {len(found['findings'])} findings", flush=True)
        # A process that was ended told no count.
        found["cases"] = (found["cases"] or 0) + (before.get("cases") or 0)
        found["seconds"] = round(time.perf_counter() - started) + before.get("seconds", 0)
        found["engine"] = arguments.engine
        known["targets"][target] = found
        known["environment"] = {k: v for k, v in environment().items() if k != "command"}
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n")
    if any(found["findings"] for found in known["targets"].values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
