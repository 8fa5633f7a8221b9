"""One measurement in a process of its own, started by ``speed.py``; prints JSON.

    python worker.py {row,first,threads,memory,stages} CASE --data FOLDER [--parts N]

The environment says how many threads libraries may start and which cores there are.
"""

import argparse
import ctypes
import gc
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

PART = {"bench300": 300, "mp": 500}
SLOW_PART = {"bench300": 30, "mp": 100}
"""Crystals of a part where the peer is slow."""
DTYPES = ("float32", "float64")


def row(case, data, n_parts):
    """Times of atomprint and of the peer on fresh parts of both sets, and their differences."""
    import structures

    found = {}
    ours = case.ours()
    for name in PART:
        frames = case.prepare(structures.load(name, data))
        peer = case.peer(frames)
        found[name] = timed_set(case, ours, peer, frames, name, n_parts)
    return found


def timed_set(case, ours, peer, frames, name, n_parts):
    """Times on the parts of one set."""
    from timing import interleaved, ratios, spread

    from structures import cover, n_atoms

    size = (SLOW_PART if case.slow_peer else PART)[name]
    parts = list(fresh_parts(frames, size, n_parts))
    programs = {dtype: bind(ours, dtype) for dtype in DTYPES} | {"peer": peer}
    # Compiled, tables of every element made, caches filled; a first call is measured by itself.
    warm = cover(frames)
    for program in programs.values():
        program(warm)
        program(parts[0][:2])
    seconds = interleaved(programs, parts)
    atoms = [n_atoms(part) for part in parts]
    return {
        "n_parts": len(parts),
        "crystals_per_part": size,
        "n_atoms": sum(atoms),
        "us_per_atom": {
            name: spread([1e6 * s / n for s, n in zip(wall["wall"], atoms, strict=True)])
            for name, wall in seconds.items()
        },
        "ratio": {d: spread(ratios(seconds["peer"]["wall"], seconds[d]["wall"])) for d in DTYPES},
        "ratio_cpu": {d: spread(ratios(seconds["peer"]["cpu"], seconds[d]["cpu"])) for d in DTYPES},
        "difference": differences(case, ours, peer, parts),
    }


def fresh_parts(frames, size, n_parts):
    """Parts of one size; when all crystals have been in one, they come again in another order."""
    rng = np.random.default_rng(0)
    left = list(frames)
    for _ in range(n_parts):
        if len(left) < size:
            left = [frames[k] for k in rng.permutation(len(frames))]
        yield left[:size]
        left = left[size:]


def bind(ours, dtype, threads=1):
    """Bind a float type and a number of threads to atomprint's call."""
    return lambda frames: ours(frames, dtype, threads)


def differences(case, ours, peer, parts):
    """Largest differences of both float types from the peer, over the first parts."""
    from compare import difference
    from peers import stack

    if not case.comparable:
        return None
    chosen = [atoms for part in parts for atoms in part][:300]
    theirs = peer(chosen)
    theirs = stack(theirs[-1] if case.several else theirs)
    found = {}
    for dtype in DTYPES:
        mine = ours(chosen, dtype, 1)
        mine = mine[-1] if case.several else mine
        found[dtype] = difference(*case.values(mine, theirs, chosen), case.measure)
    return found


def first(case, data, n_parts):
    """Seconds until the first result, with whatever cache of compiled code there is."""
    import structures

    frames = case.prepare(structures.load("bench300", data))[:30]
    loaded = time.perf_counter()
    ours = case.ours()
    built = time.perf_counter()
    found = {"build_with_imports": built - loaded}
    for dtype in DTYPES:
        start = time.perf_counter()
        ours(frames, dtype, 1)
        found[f"first_{dtype}"] = time.perf_counter() - start
        start = time.perf_counter()
        ours(frames, dtype, 1)
        found[f"again_{dtype}"] = time.perf_counter() - start
    return {name: round(value, 4) for name, value in found.items()}


def threads(case, data, n_parts):
    """How many times as fast two threads are, on halves of mp, in one call each."""
    from timing import interleaved, ratios, spread

    import structures

    frames = case.prepare(structures.load("mp", data))
    parts = list(fresh_parts(frames, len(frames) // 2, n_parts))
    ours = case.ours()
    found = {"cores": sorted(os.sched_getaffinity(0)), "crystals_per_part": len(parts[0])}
    for dtype in DTYPES:
        programs = {"one": bind(ours, dtype, 1), "two": bind(ours, dtype, 2)}
        for program in programs.values():  # as much memory as it will need, for the first time
            program(parts[0])
        seconds = interleaved(programs, parts)
        found[dtype] = spread(ratios(seconds["one"]["wall"], seconds["two"]["wall"]))
    return found


def memory(case, data, n_parts):
    """Peak of resident memory under the setting ``memory``, beyond what was there before."""
    from ase.build import bulk

    import structures

    frames = case.prepare(structures.load("mp", data))
    silicon = case.prepare([bulk("Si", cubic=True).repeat(13)])
    inputs = {
        "1,000 crystals": frames[:1000],
        "5,000 crystals": frames,
        "one of 17,576 atoms": silicon,
    }
    (fingerprint,) = case.fingerprints()
    fingerprint.compute(frames[:20], dtype="float32", threads=1)
    found = []
    for limit in (64, 256):
        for name, chosen in inputs.items():
            before = resident(peak=False, reset=True)
            values = fingerprint.compute(
                chosen, per="crystal", dtype="float32", threads=1, memory=limit
            )
            found.append(
                {
                    "memory_setting_MiB": limit,
                    "input": name,
                    "peak_above_start_MiB": round(resident(peak=True) - before, 1),
                    "of_it_result_MiB": round(values.nbytes / 2**20, 1),
                }
            )
            del values
    return found


def resident(peak, reset=False):
    """Resident memory of this process in MiB, now or at its peak since the last reset (Linux)."""
    if reset:
        # What was freed goes back to the system first, or it would hide what the call takes.
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    name = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def stages(case, data, n_parts):
    """Where the time goes: microseconds per atom of the search, the kernel and the whole call."""
    from timing import spread

    import structures
    from atomprint.fingerprints.kernels.edges import EdgeBlock
    from atomprint.structures.search import search
    from structures import n_atoms

    fingerprints = case.fingerprints()
    frames = case.prepare(structures.load("bench300", data))
    ours = case.ours()
    parts = [frames[k * 30 : (k + 1) * 30] for k in range(n_parts)]
    found = {}
    for dtype in DTYPES:
        times = {"convert": [], "search": [], "whole": []}
        times |= {f"kernel {fingerprint.kind}": [] for fingerprint in fingerprints}
        for index, part in enumerate([parts[0], *parts]):
            per_atom = 1e6 / n_atoms(part)
            clock = [time.perf_counter()]
            positions = np.concatenate([atoms.positions for atoms in part])
            numbers = np.concatenate([atoms.numbers for atoms in part]).astype(np.int64)
            cells = np.stack([atoms.cell.array for atoms in part])
            sizes = np.array([len(atoms) for atoms in part])
            first_atom = np.cumsum([0, *sizes])
            clock.append(time.perf_counter())
            cutoff = max(fingerprint.cutoff for fingerprint in fingerprints)
            edges = search(
                positions, cells, first_atom, cutoff, dtype=np.dtype(dtype), with_shifts=False
            )
            clock.append(time.perf_counter())
            crystal_index = np.repeat(np.arange(len(part)), sizes)
            composition = np.zeros((len(part), 119), np.int64)
            np.add.at(composition, (crystal_index, numbers), 1)
            block = EdgeBlock(
                numbers, edges.first, numbers[edges.neighbor_index], edges.vectors, cutoff,
                crystal_index, composition, np.abs(np.linalg.det(cells)),
            )  # fmt: skip
            seconds = {"convert": clock[1] - clock[0], "search": clock[2] - clock[1]}
            for fingerprint in fingerprints:
                start = time.perf_counter()
                if fingerprint.kernel is not None:
                    fingerprint.kernel.rows(block, 1)
                seconds[f"kernel {fingerprint.kind}"] = time.perf_counter() - start
            start = time.perf_counter()
            ours(part, dtype, 1)
            seconds["whole"] = time.perf_counter() - start
            if index:  # the first was to warm up
                for name, value in seconds.items():
                    times[name].append(value * per_atom)
        found[dtype] = {name: spread(values)["median"] for name, values in times.items()}
    return found


def main():
    """Print the measurement as JSON, the last line of standard output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["row", "first", "threads", "memory", "stages"])
    parser.add_argument("case")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--parts", type=int, default=10)
    arguments = parser.parse_args()
    import torch
    from cases import CASES

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    measure = globals()[arguments.what]
    found = measure(CASES[arguments.case], arguments.data, arguments.parts)
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
