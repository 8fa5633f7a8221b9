"""Write docs/billions.md: a billion crystals on paper, from what was measured on few.

python scripts/generate_billions_page.py [--check]
"""

import json
import sys
from pathlib import Path
from typing import Any

from written_page import write_or_check

from atomprint.data.store.writer import SHARD_ATOMS, SHARD_CRYSTALS
from atomprint.objectives.fingerprints import default_fingerprints

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "billions.md"

N = 1_000_000_000
# Assumptions: nothing here was measured. Each stands in the page's table with its reason.
GPU_IN_CORES = 100
DOLLARS_CORE_HOUR = 0.045
DOLLARS_GPU_HOUR = 3.0
DOLLARS_GB_MONTH = 0.023
CRYSTALS_A_STEP = 32


def load(name: str) -> Any:
    """Return a result."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def measured() -> dict[str, float]:
    """Return the constants that were measured."""
    stores, costs = load("data/stores"), load("pretraining/target_cost")
    arm = costs["arms"]["ead+soap+properties+denoising, wide"]
    few, many = stores["memory"]["few"], stores["memory"]["many"]
    more = (many["mib"] - few["mib"]) * 2**20 / (many["n"] - few["n"])
    return {
        "bytes": stores["sizes"]["store"],
        "bytes_parquet": stores["sizes"]["parquet"],
        "atoms": stores["batches"]["mean_atoms"],
        "batches": stores["batches"]["crystals_per_second"],
        "read_cif": stores["cifs"]["n_files"] / stores["cifs"]["seconds"],
        "memory": more,
        "step": CRYSTALS_A_STEP / arm["ms_step"]["median"] * 1e3,
        "targets": CRYSTALS_A_STEP / arm["ms_targets"]["median"] * 1e3,
        "share": arm["share"]["median"],
        "features": float(sum(s.build().n_features for s in default_fingerprints())),
        "two": next(
            row["efficiency"]
            for row in load("scaling-cpu")["rows"]
            if (row["processes"], row["strategy"], row["kind"]) == (2, "ddp", "weak")
        ),
    }


def hours(rate: float) -> float:
    """Hours of one worker for all crystals at so many a second."""
    return N / rate / 3600


def number(value: float) -> str:
    """Write two digits that count."""
    if value >= 100:
        digits = 10 ** (len(str(int(value))) - 2)
        return f"{round(value / digits) * digits:,.0f}"
    return f"{value:.2g}"


def page() -> str:
    """Write the whole page."""
    m = measured()
    store_gb = N * m["bytes"] / 1e9
    shard_mb = min(SHARD_CRYSTALS, SHARD_ATOMS / m["atoms"]) * m["bytes"] / 1e6
    n_shards = N / min(SHARD_CRYSTALS, SHARD_ATOMS / m["atoms"])
    fingerprint_bytes = m["features"] * m["atoms"] * 4
    gpu_rate = GPU_IN_CORES * m["step"]
    gpu_hours = hours(gpu_rate)
    cores = gpu_rate / m["batches"]
    target_hours = hours(m["targets"])
    memory_gb = N * m["memory"] / 1e9
    rows = {
        "measured": [
            ("a crystal in a store, without labels", f"{m['bytes']:.0f} bytes", "data/stores"),
            ("the same in compressed Parquet", f"{m['bytes_parquet']:.0f} bytes", "data/stores"),
            ("atoms of a crystal, mean", f"{m['atoms']:.1f}", "data/stores"),
            ("CIF to store", f"{m['read_cif']:.0f} crystals a second and core", "data/stores"),
            (
                "store to batches with neighbours within 6 Å",
                f"{m['batches']:,.0f} crystals a second and core",
                "data/stores",
            ),
            (
                "memory of a training process beside the model",
                f"{m['memory']:.0f} bytes a crystal of the store",
                "data/stores",
            ),
            (
                f"a step of the default network, {CRYSTALS_A_STEP} crystals",
                f"{m['step']:.0f} crystals a second on one core",
                "pretraining/target_cost",
            ),
            (
                "of which its fingerprints, computed on the fly",
                f"{100 * m['share']:.1f} %",
                "pretraining/target_cost",
            ),
            ("features an atom of the default targets", f"{m['features']:.0f}", "the code"),
            (
                "two processes on two cores, 32 crystals each",
                f"{100 * m['two']:.0f} % of twice one",
                "scaling-cpu",
            ),
        ],
        "assumed": [
            (
                "a GPU trains as fast as",
                f"{GPU_IN_CORES} cores",
                "no GPU was at hand; measure yours (crystals/s in the log) and scale",
            ),
            ("a core-hour", f"${DOLLARS_CORE_HOUR}", "list prices of large clouds, on demand"),
            ("a GPU-hour", f"${DOLLARS_GPU_HOUR}", "list prices of an H100, on demand"),
            ("a GB-month of object storage", f"${DOLLARS_GB_MONTH}", "list price of S3 Standard"),
        ],
    }
    lines = [
        "# A billion crystals, on paper",
        "",
        "Nobody has run this. It is what the constants measured here say of 10⁹ crystals (a "
        "generator's, or OMat24's inputs ten times over), so that one knows before renting "
        "anything what would break first. Written by `scripts/generate_billions_page.py`.",
        "",
        "## Constants",
        "",
        "| measured | | in benchmarks/results |",
        "|---|---|---|",
        *(f"| {what} | {value} | {source} |" for what, value, source in rows["measured"]),
        "",
        "| assumed | | why |",
        "|---|---|---|",
        *(f"| {what} | {value} | {why} |" for what, value, why in rows["assumed"]),
        "",
        "## What follows",
        "",
        "| | | |",
        "|---|---|---|",
        f"| the store | {store_gb:,.0f} GB | ${store_gb * DOLLARS_GB_MONTH:,.0f} a month |",
        f"| its shards | {n_shards:,.0f} of {shard_mb:.0f} MB | to open it the header of each is "
        "read |",
        f"| making it from CIFs | {number(hours(m['read_cif']))} core-hours "
        f"| ${number(hours(m['read_cif']) * DOLLARS_CORE_HOUR)} |",
        f"| one pass of training | {number(hours(m['step']))} core-hours, or {number(gpu_hours)} "
        f"GPU-hours | ${number(hours(m['step']) * DOLLARS_CORE_HOUR)}, or "
        f"${number(gpu_hours * DOLLARS_GPU_HOUR)} |",
        f"| what a GPU eats | {number(gpu_rate)} crystals a second, "
        f"{number(gpu_rate * m['bytes'] / 1e6)} MB/s from the disk | {number(cores)} cores that "
        "build its batches |",
        f"| fingerprints on the fly, in a pass | {number(target_hours)} core-hours "
        f"| ${number(target_hours * DOLLARS_CORE_HOUR)} |",
        f"| fingerprints stored, float32 | {number(fingerprint_bytes / 1e3)} kB a crystal, "
        f"{number(N * fingerprint_bytes / 1e12)} TB "
        f"| ${number(N * fingerprint_bytes / 1e9 * DOLLARS_GB_MONTH)} a month |",
        f"| reading them for one GPU | {number(gpu_rate * fingerprint_bytes / 1e6)} MB/s | |",
        f"| memory of each training process | {number(memory_gb)} GB | |",
        "",
        "## What that means",
        "",
        f"- **Store crystals, compute fingerprints.** Stored targets are "
        f"{fingerprint_bytes / m['bytes']:.0f} times the crystals, cost more in a month than "
        "computing them in a pass, and belong to crystals that were not rattled; on the fly they "
        f"are {100 * m['share']:.0f} % of a step on a core.",
        f"- **Disks are not the limit.** A GPU asks for {number(gpu_rate * m['bytes'] / 1e6)} "
        "MB/s, which any disk gives, and object storage too. Building batches needs "
        f"{number(cores)} cores a GPU: rent machines that have them.",
        f"- **Memory grows with the corpus.** A process keeps {m['memory']:.0f} bytes for every "
        "crystal (sizes, volumes, the order of an epoch), each process its own: "
        f"{number(memory_gb)} GB at 10⁹. Up to 10⁸ crystals that is "
        f"{1e8 * m['memory'] / 1e9:.1f} GB and nobody notices; at 10⁹, with eight processes a "
        "machine, rent the memory, or keep several stores and train on one after the other "
        "(`--from` the run before).",
        "- **Ids**: of a billion, two hashes collide with a probability of 3 %; then one crystal "
        "is left out and listed ([Decisions](decisions.md#a-store-is-flat-arrays-in-shards)).",
        "- **Time**: with eight GPUs a pass takes "
        f"{number(gpu_hours / 8)} hours under the assumption above; a checkpoint every 500 steps "
        "loses seconds, and [several machines](several-machines.md) go on with as many processes "
        "as there are. Scaling over GPUs was not measured (`benchmarks/scaling.py` does it where "
        "there are some); two processes that share one processor reach "
        f"{100 * m['two']:.0f} % of twice the speed of one.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), (__doc__ or "").splitlines()[0]))
