"""How long every fingerprint takes on a processor, with default settings.

    python benchmarks/fingerprints_speed.py [--threads 1] [--repeats 15]

Crystals are generated with ASE: rattled and strained compounds of 8 to 16 atoms, 32 in a batch. A
call is timed over a graph that has its neighbour list, distances and edge vectors already, as in
training where several consumers share one graph. Each number is the median over the repeats after
three calls to warm up. ``wall`` is what a clock on the wall says, with its fastest and slowest
call; ``cpu`` is the time this process spent, which other work on the machine disturbs less.
Gradients are timed in positions, forward and backward together.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk

from atomprint.fingerprints import ADFSettings, EADSettings, RDFSettings, SOAPSettings
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch

THREE = ("one", "electronegativity", "covalent_radius")
CASES = {
    "ead": EADSettings(),
    "ead, one channel": EADSettings(channels=("one",)),
    "rdf": RDFSettings(),
    "rdf, hard bins": RDFSettings(smearing=None),
    "rdf per atom": RDFSettings(per="atom"),
    "adf moments": ADFSettings(),
    "adf curve": ADFSettings(form="curve"),
    "adf histogram": ADFSettings(form="histogram"),
    "soap": SOAPSettings(channels=THREE),
    "soap, one channel": SOAPSettings(),
    "soap, cosine": SOAPSettings(channels=THREE, cutoff_function="cosine"),
}


def crystals(n_crystals):
    """Rattled and strained compounds."""
    rng = np.random.default_rng(1)
    kinds = [
        (("MgO", "rocksalt", 4.21), 8),
        (("CsCl", "cesiumchloride", 4.12), 8),
        (("GaAs", "zincblende", 5.65), 8),
        (("TiC", "rocksalt", 4.33), 16),
        (("Si", "diamond", 5.43), 16),
        (("Cu", "fcc", 3.61), 8),
    ]
    found = []
    for k in range(n_crystals):
        (name, structure, a), n_atoms = kinds[k % len(kinds)]
        atoms = bulk(name, structure, a=a)
        n_copies = n_atoms // len(atoms)
        atoms = atoms.repeat({4: (2, 2, 1), 8: (2, 2, 2)}[n_copies])
        cell = atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.03, size=(3, 3)))
        positions = atoms.get_scaled_positions() @ cell
        positions += rng.normal(scale=0.08, size=positions.shape)
        found.append(Crystal.make(f"{name}-{k}", atoms.numbers, cell, positions=positions))
    return found


def timed(call, repeats):
    """Wall and processor seconds of every call, two lists."""
    for _ in range(3):
        call()
    wall, cpu = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    return wall, cpu


def measure(settings, batch, repeats):
    """Times of one fingerprint."""
    fingerprint = settings.build()
    graph = GraphBatch.from_crystals(batch, fingerprint.cutoff)
    graph.edge_vectors, graph.distances  # noqa: B018 (computed once, kept)

    def forward():
        with torch.no_grad():
            return fingerprint(graph)

    def gradient():
        positions = graph.positions.clone().requires_grad_()
        values = fingerprint(graph.with_geometry(positions)).sum()
        return torch.autograd.grad(values, positions) if values.requires_grad else None

    per_atom = 1e6 / graph.n_atoms
    (wall, cpu), (_, gradient_cpu) = timed(forward, repeats), timed(gradient, repeats)
    return {
        "settings": settings.model_dump(mode="json", exclude_defaults=True),
        "n_features": fingerprint.n_features,
        "cutoff_A": round(fingerprint.cutoff, 3),
        "neighbors_per_atom": round(graph.n_edges / graph.n_atoms, 1),
        "us_per_atom_cpu": round(statistics.median(cpu) * per_atom, 2),
        "us_per_atom_wall": round(statistics.median(wall) * per_atom, 2),
        "us_per_atom_wall_fastest": round(min(wall) * per_atom, 2),
        "us_per_atom_wall_slowest": round(max(wall) * per_atom, 2),
        "us_per_atom_cpu_with_gradient": round(statistics.median(gradient_cpu) * per_atom, 2),
    }


def processor():
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    names = [
        line.split(":")[1].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor()


def main():
    """Run all cases and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    batch = crystals(32)
    result = {
        "hardware": processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "threads": arguments.threads,
        "torch": torch.__version__,
        "dtype": "float32",
        "n_crystals": len(batch),
        "n_atoms": sum(c.n_atoms for c in batch),
        "repeats": arguments.repeats,
        "fingerprints": {},
    }
    for name, settings in CASES.items():
        result["fingerprints"][name] = found = measure(settings, batch, arguments.repeats)
        print(
            f"{name:18} {found['n_features']:5} columns, µs/atom: "
            f"cpu {found['us_per_atom_cpu']:.2f}, wall {found['us_per_atom_wall']:.2f} "
            f"({found['us_per_atom_wall_fastest']:.2f} to {found['us_per_atom_wall_slowest']:.2f}),"
            f" cpu with gradient {found['us_per_atom_cpu_with_gradient']:.2f}"
        )
    out = Path(__file__).parent / "results" / "fingerprints_speed.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
