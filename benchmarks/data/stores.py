"""How fast and how small stores are, beside what people use instead.

    python benchmarks/data/stores.py --data DIR --work WORK [--only memory batches ...]

DIR has ``mp.parquet`` and ``mp_cifs_3000.tar.gz``. One thread; the two sides of a comparison take
turns within one process. Rates are by processor time, which other work on the machine changes
little; wall times beside them say how busy it was. Writes ``benchmarks/results/data/stores.json``;
without ``--data`` only its table into docs/stores.md; ``--check`` says whether the table is there.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from atomprint.data.batching import BatchSettings, BatchStream
from atomprint.data.store import Store, StoreWriter
from atomprint.data.store.convert import convert
from atomprint.data.store.copying import select_store
from atomprint.structures.reading import read_crystals
from atomprint.structures.writing import write_parquet
from atomprint.training.checkpoint import write_json
from atomprint.training.run import environment

ROOT = Path(__file__).parents[2]
OUT = ROOT / "benchmarks" / "results" / "data" / "stores.json"
PAGE = ROOT / "docs" / "stores.md"
PARTS = ("memory", "batches", "waiting", "duplicates", "sizes", "cifs")
MARK = "<!-- table: benchmarks/data/stores.py -->\n"

TRAINING = """
import json, re, sys, time
from atomprint.data.store import Store
from atomprint.training.corpora import prepare
from atomprint.training.pretrain import PretrainSettings, pretrain
def peak():
    # Not ru_maxrss, which a process has from the one that started it.
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
small = {"backbone": {"kind": "painn", "n_channels": 16, "n_layers": 1}, "n_hidden": 16}
loop = {"n_steps": 20, "device": "cpu"}
settings = PretrainSettings.model_validate({"model": small, "loop": loop})
store = Store(sys.argv[1])
started = time.perf_counter()
pretrain(store, settings)
print(json.dumps({"mib": peak(), "seconds": time.perf_counter() - started, "n": len(store)}))
"""


def interleaved(first: Callable[[], Any], second: Callable[[], Any], n: int) -> dict[str, float]:
    """Median processor seconds of two, taking turns, and the median ratio; wall seconds beside."""
    times: list[tuple[float, float]] = []
    walls: list[float] = []
    for _ in range(n):
        pair, wall = [], []
        for one in (first, second):
            started, began = time.process_time(), time.perf_counter()
            one()
            pair.append(time.process_time() - started)
            wall.append(time.perf_counter() - began)
        times.append((pair[0], pair[1]))
        walls.append(wall[1] / wall[0])
        print(f"{pair[0]:.2f} s, {pair[1]:.2f} s, {pair[1] / pair[0]:.2f}x", flush=True)
    ratios = [b / a for a, b in times]
    return {
        "seconds": statistics.median(a for a, _ in times),
        "peer_seconds": statistics.median(b for _, b in times),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "wall_ratio": statistics.median(walls),
        "n_runs": n,
    }


def cifs(data: Path, work: Path) -> dict[str, Any]:
    """A folder of CIFs to a store, and pymatgen's parser in a loop."""
    from pymatgen.core import Structure

    with tarfile.open(data / "mp_cifs_3000.tar.gz") as archive:
        archive.extractall(work / "unpacked", filter="data")
    files = sorted((work / "unpacked").rglob("*.cif"))
    out = work / "cifs"

    def ours() -> None:
        shutil.rmtree(out, ignore_errors=True)
        convert(work / "unpacked", out)

    structures = {}

    def peer() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for file in files:
                structures[file.stem] = Structure.from_file(file)

    found = interleaved(ours, peer, 5)
    store = Store(out)
    equal = 0
    for crystal in store:
        one = structures[crystal.id]
        same_atoms = np.array_equal(np.sort(one.atomic_numbers), np.sort(crystal.numbers))
        volume = abs(one.volume / crystal.volume - 1) < 1e-5
        distance = abs(np.sort(one.lattice.abc) - np.sort(np.linalg.norm(crystal.cell, axis=1)))
        equal += bool(same_atoms and volume and distance.max() < 1e-4)
    return {**found, "n_files": len(files), "n_read": len(store), "n_equal": equal}


def batches(store: Store) -> dict[str, Any]:
    """Crystals a processor second from a store to batches with neighbours within 6 Å."""
    stream = BatchStream(store, 6.0, BatchSettings(), 0)
    rates, walls, reads = [], [], []
    plan = stream.plan()
    for _ in range(30):
        stream.build(*next(plan))
    index = np.random.default_rng(0).integers(0, len(store), (7, 5_000))
    for turn in range(7):
        rows = [next(plan) for _ in range(60)]
        started, wall = time.process_time(), time.perf_counter()
        n = sum(stream.build(step, indices).graph.n_crystals for step, indices in rows)
        rates.append(n / (time.process_time() - started))
        walls.append(n / (time.perf_counter() - wall))
        started = time.process_time()
        for i in index[turn]:
            store[int(i)]
        reads.append(len(index[turn]) / (time.process_time() - started))
    return {
        "crystals_per_second": statistics.median(rates),
        "min": min(rates),
        "max": max(rates),
        "crystals_per_wall_second": statistics.median(walls),
        "random_reads_per_second": statistics.median(reads),
        "mean_atoms": float(store.sizes.mean()),
    }


def sizes(data: Path, store: Store, work: Path) -> dict[str, Any]:
    """Bytes a crystal, in the store and as Parquet."""
    crystals = read_crystals(data / "mp.parquet").crystals
    raw = sum(9 * 4 + c.n_atoms * (3 * 4 + 4) for c in crystals) / len(crystals)
    file = work / "mp.parquet"
    write_parquet(file, crystals)
    plain = work / "unlabelled"
    shutil.rmtree(plain, ignore_errors=True)
    with StoreWriter(plain) as writer:
        writer.extend(c.with_labels({}) for c in crystals)
    on_disk = sum(path.stat().st_size for path, _ in Store(plain).headers) / len(crystals)
    labelled = sum(path.stat().st_size for path, _ in store.headers) / len(crystals)
    return {
        "raw_float32": raw,
        "store": on_disk,
        "store_with_labels": labelled,
        "ratio": on_disk / raw,
        "parquet": file.stat().st_size / len(crystals),
    }


def memory(work: Path, n: int) -> dict[str, Any]:
    """Peak memory of a training process on many crystals, and on 10,000 of them."""
    folder = work / "many"
    rng = np.random.default_rng(0)
    if not (folder / "store.json").is_file():
        from atomprint.structures.crystal import Crystal

        # Written once and linked: the process maps as many shards of as many bytes.
        one = work / "one"
        shutil.rmtree(one, ignore_errors=True)
        with StoreWriter(one) as writer:
            for i in range(100_000):
                n_atoms = int(rng.integers(1, 20))
                cell = np.eye(3) * (15.0 * n_atoms) ** (1 / 3)
                numbers = rng.integers(1, 84, n_atoms)
                writer.add(Crystal.make(f"c{i}", numbers, cell, frac=rng.random((n_atoms, 3))))
        (folder / "shards").mkdir(parents=True)
        for copy in range(n // 100_000):
            os.link(Store(one).headers[0][0], folder / "shards" / f"{copy:08d}.shard")
        shutil.copy(one / "store.json", folder / "store.json")
    few = work / "few"
    if not (few / "store.json").is_file():
        select_store(Store(work / "one"), np.arange(10_000), few)
    found = {}
    for name, path in (("few", few), ("many", folder)):
        words = [sys.executable, "-c", TRAINING, str(path)]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        found[name] = json.loads(text.splitlines()[-1])
    more = found["many"]["mib"] - found["few"]["mib"]
    return {**found, "more_mib": more, "linked": True}


def waiting(store: Store) -> dict[str, float]:
    """What part of pre-training's time the trainer waits for its next batch, at the defaults."""
    from atomprint.training.pretrain import PretrainSettings, pretrain

    waited = 0.0
    whole = BatchStream.batches

    def timed(self: BatchStream, start: int, stop: int, ahead: int = 2) -> Any:
        nonlocal waited
        found = whole(self, start, stop, ahead)
        while True:
            began = time.perf_counter()
            batch = next(found, None)
            waited += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    BatchStream.batches = timed  # type: ignore[method-assign]
    began = [0.0]

    def progress(step: int, total: int, numbers: dict[str, float]) -> None:
        nonlocal waited
        if step == 5:  # what is compiled and allocated once is not waiting
            waited, began[0] = 0.0, time.perf_counter()

    settings = PretrainSettings.model_validate({"loop": {"n_steps": 40, "device": "cpu"}})
    try:
        pretrain(store, settings, progress=progress)
    finally:
        BatchStream.batches = whole  # type: ignore[method-assign]
    seconds = time.perf_counter() - began[0]
    return {"waited": waited, "seconds": seconds, "part": waited / seconds, "n_steps": 35}


def duplicates(store: Store, work: Path, n: int) -> dict[str, Any]:
    """Looking for duplicates among copies of real crystals, half of them in other words.

    An even copy of a crystal has its atoms in another order, its origin elsewhere and its cell
    turned: it is a duplicate. Odd copy k is compressed by k per cent, and its atoms are moved by
    0.2 Å: another crystal.
    """
    from scipy.spatial.transform import Rotation

    from atomprint.evaluation.duplicates import find_duplicates

    folder = work / f"copies-{n}"
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(0)
    turns = Rotation.random(1000, random_state=0).as_matrix()
    with StoreWriter(folder) as writer:
        for i in range(n):
            copy, row = divmod(i, len(store))
            crystal = store[row]
            cell, frac = crystal.cell, crystal.frac
            if copy % 2:
                cell = cell * (1 - 0.01 * copy) ** (1 / 3)
                frac = frac + np.linalg.solve(cell.T, rng.normal(0, 0.2, frac.shape).T).T
            order = rng.permutation(crystal.n_atoms)
            cell = cell @ turns[int(rng.integers(1000))]
            frac = frac[order] + rng.random(3)
            numbers = crystal.numbers[order]
            writer.add(type(crystal).make(f"{copy}-{crystal.id}", numbers, cell, frac=frac))
    copies = Store(folder)
    started, wall = time.process_time(), time.perf_counter()
    found = find_duplicates(copies)
    seconds, wall = time.process_time() - started, time.perf_counter() - wall
    exact = sum(d.id.split("-", 1)[1] == d.kept_id.split("-", 1)[1] for d in found)
    made = sum(1 for i in range(len(store), n) if (i // len(store)) % 2 == 0)
    return {
        "n": n, "n_found": len(found), "n_found_of_one_crystal": exact, "n_made": made,
        "cpu_seconds": seconds, "wall_seconds": wall,
    }  # fmt: skip


def table(results: dict[str, Any]) -> str:
    """The page's table."""
    cif, rate, size, mem = (results[k] for k in ("cifs", "batches", "sizes", "memory"))
    wait = results["waiting"]
    rows = [
        ("", "measured", "goal"),
        (
            f"{cif['n_files']:,} CIFs to a store, one process, against pymatgen's parser in a loop "
            f"({cif['n_equal']:,} of {cif['n_read']:,} read are equal)",
            f"{cif['ratio']:.1f}x ({cif['ratio_min']:.1f} to {cif['ratio_max']:.1f})",
            "5x",
        ),
        (
            f"store to batches with neighbours within 6 Å, {rate['mean_atoms']:.0f} atoms a "
            "crystal",
            f"{rate['crystals_per_second']:,.0f} crystals a processor second "
            f"({rate['min']:,.0f} to {rate['max']:,.0f})",
            "4,000",
        ),
        (
            "random reads",
            f"{rate['random_reads_per_second']:,.0f} crystals a processor second",
            "",
        ),
        (
            f"the trainer waits for a batch, part of {wait['n_steps']} steps at the defaults",
            f"{100 * wait['part']:.2f} %",
            "2 %",
        ),
        (
            f"memory of training on {mem['many']['n'] / 1e6:.0f} million crystals beyond that on "
            "10,000",
            f"{mem['more_mib']:,.0f} MiB",
            "1,024",
        ),
        (
            f"bytes a crystal without labels, against float32 arrays ({size['raw_float32']:.0f})",
            f"{size['store']:.0f}: {size['ratio']:.2f}x",
            "1.3x",
        ),
        ("bytes a crystal as Parquet", f"{size['parquet']:.0f}", "307"),
    ]
    if twice := results.get("duplicates"):
        rows.append(
            (
                f"`data dedupe` among {twice['n']:,} crystals, one thread "
                f"({twice['n_found_of_one_crystal']:,} of {twice['n_made']:,} copies found)",
                f"{twice['cpu_seconds'] / 60:.1f} processor minutes",
                "minutes for a million",
            )
        )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|---|---|")
    about = (
        f"\n{results['environment']['processor']}, {results['environment']['machine']}; "
        "`python benchmarks/data/stores.py`. Medians; both sides of a ratio took turns; other work "
        "ran on the machine, so that rates are by processor time. The ten millions are 100,000 "
        "random crystals in one shard, linked as many times as it takes.\n"
    )
    if twice:
        about += (
            "Those to dedupe are copies of real crystals, half of them the same in another cell, "
            "half compressed and displaced.\n"
        )
    return "\n".join(lines) + "\n" + about


def main() -> None:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--n-memory", type=int, default=10_000_000)
    parser.add_argument("--n-copies", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.data is not None:
        work = arguments.work
        work.mkdir(parents=True, exist_ok=True)
        store = convert(arguments.data / "mp.parquet", work / "mp").store
        measure: dict[str, Callable[[], Any]] = {
            "memory": lambda: memory(work, arguments.n_memory),
            "batches": lambda: batches(store),
            "waiting": lambda: waiting(store),
            "duplicates": lambda: duplicates(store, work, arguments.n_copies),
            "sizes": lambda: sizes(arguments.data, store, work),
            "cifs": lambda: cifs(arguments.data, work),
        }
        for part in arguments.only:
            results = json.loads(OUT.read_text(encoding="utf-8")) if OUT.is_file() else {}
            results[part] = measure[part]()
            here = {k: v for k, v in environment().items() if k != "command"}
            results.setdefault("commits", {})[part] = here["commit"]
            results["environment"] = here
            write_json(OUT, results)
    text = PAGE.read_text(encoding="utf-8")
    head = text[: text.index(MARK) + len(MARK)]
    wanted = f"{head}\n{table(json.loads(OUT.read_text(encoding='utf-8')))}"
    if arguments.check:
        raise SystemExit(
            0 if wanted == text else f"{PAGE} is not what {OUT} says; run it without --data"
        )
    PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
