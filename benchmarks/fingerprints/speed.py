"""How fast fingerprints are beside other programs, on one thread; the table of the documentation.

    python benchmarks/fingerprints/speed.py --data ../shared/data [--only soap,ead] [--parts 10]

Needs the peers in the same environment, see ``peers.txt``. Every row is a process of its own, bound
to one core, with one thread for every library. In it atomprint (float32 and float64) and the peer
take turns on parts of two sets of crystals: 300 of 34 prototypes with 89 elements (as a whole, in
another order each time), and 500 at a time of 5,000 drawn from the Materials Project; fewer where
the peer is slow. Both get the same list of ASE Atoms, both start from positions
(the neighbour list is part of every time), and both return an array. The ratio is taken part by
part. Numbers are compared too: it is the same thing that is timed.

Apart from the rows: seconds of the first call, with and without compiled code in numba's cache; two
threads against one; the peak of memory under the setting ``memory``; where the time goes.
The results are written after every measurement; ``--only`` and ``--measure`` replace a part.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "results" / "fingerprints" / "speed.json"
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA", "RAYON", "NUMEXPR")
PACKAGES = (
    "atomprint", "torch", "numba", "numpy", "ase", "dscribe", "featomic", "matscipy", "pyxtal_ff",
    "vesin",
)  # fmt: skip
MEASURES = ("row", "first", "threads", "stages", "memory")
THREADED = ("soap", "acsf", "ead", "rdf", "adf", "five")
MEMORY = ("soap",)


def main():
    """Measure, and write after every measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", default="", help="cases, with commas")
    parser.add_argument("--measure", default=",".join(MEASURES), help="which measurements")
    parser.add_argument("--parts", type=int, default=10)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    sys.path.insert(0, str(HERE))
    from cases import CASES

    only = arguments.only.split(",") if arguments.only else list(CASES)
    result = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    result["environment"] = environment()
    cases = result.setdefault("cases", {})
    for name, case in CASES.items():
        about = {"title": case.title, "peer": case.peer_title, "goal": case.goal, "aim": case.aim}
        about |= {"note": case.note, "one_species": case.map_species, "measure": case.measure}
        cases[name] = about | {k: v for k, v in cases.get(name, {}).items() if k in MEASURES}
    for what in arguments.measure.split(","):
        for name in only:
            if skipped(what, name):
                continue
            start, load = time.perf_counter(), os.getloadavg()[0]
            found = measure(what, name, arguments)
            seconds = time.perf_counter() - start
            cases[name][what] = found | {
                "load_before": round(load, 2), "seconds": round(seconds, 1), "commit": commit(),
            }  # fmt: skip
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
            arguments.out.write_text(text, encoding="utf-8")
            print(f"{what} {name}: {seconds:.0f} s {brief(what, found)}", flush=True)


def skipped(what, name):
    """Whether a measurement makes no sense for a case."""
    return (
        (what == "threads" and name not in THREADED)
        or (what == "memory" and name not in MEMORY)
        or (what in ("first", "stages") and name == "neighbors")
    )


def measure(what, name, arguments):
    """Run the worker; what it found, or why it did not."""
    if what != "first":
        return worker(what, name, arguments)
    with tempfile.TemporaryDirectory() as cache:
        environment = {"NUMBA_CACHE_DIR": cache}
        cold = worker(what, name, arguments, environment)
        return {"cold": cold, "warm": worker(what, name, arguments, environment)}


def worker(what, name, arguments, more=None):
    """Run one measurement in a process of its own, on one core (two for ``threads``)."""
    command = [
        sys.executable, str(HERE / "worker.py"), what, name, "--data", str(arguments.data),
        "--parts", str(arguments.parts),
    ]  # fmt: skip
    surroundings = os.environ | {f"{one}_NUM_THREADS": "1" for one in THREADS} | (more or {})
    cores = os.sched_getaffinity(0) if what == "threads" else {arguments.core}
    done = subprocess.run(
        command, env=surroundings, capture_output=True, text=True, check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        return {"failed": lines[-1] if lines else f"exit status {done.returncode}"}
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return {"runs": found} if isinstance(found, list) else found


def brief(what, found):
    """One line for the terminal."""
    if "failed" in found:
        return found["failed"]
    if what != "row":
        return json.dumps(found, ensure_ascii=False)
    parts = []
    for name, values in found.items():
        if isinstance(values, dict) and "ratio" in values:
            ratio, micro = values["ratio"], values["us_per_atom"]
            parts.append(
                f"{name}: {ratio['float32']['median']}x / {ratio['float64']['median']}x "
                f"(µs/atom {micro['float32']['median']} / {micro['float64']['median']}, peer "
                f"{micro['peer']['median']}), differences {values['difference']}"
            )
    return "\n    ".join(["", *parts])


def commit():
    """Return the short hash of the checkout, with a mark if files differ from it."""
    git = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def environment():
    """Hardware and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "command": "python benchmarks/fingerprints/speed.py --data ../shared/data",
        "data": "bench300: 300 crystals of 34 prototypes, 89 elements; mp: 5,000 crystals drawn "
        "from the Materials Project",
        "date": time.strftime("%Y-%m-%d"),
    }


if __name__ == "__main__":
    main()
