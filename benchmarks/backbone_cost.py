"""What a pass through each backbone costs, forward and backward, per atom.

    python benchmarks/backbone_cost.py [--threads 1] [--repeats 9]

Crystals are generated with ASE: rattled compounds of 8 and 16 atoms, some hundred atoms in a batch
(fewer for the published ET, which is large). A call is timed over a graph that has its neighbour
list already, in float32. ``forward`` runs without gradients; ``training`` is forward and backward
to the weights of the squared sum of scalars and vectors; ``forces`` also to the positions. Each
number is the median over the repeats after two calls to warm up: ``wall`` by a clock on the wall,
with its fastest and slowest call, ``cpu`` the time this process spent, which other work on the
machine disturbs less.
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

from atomprint.backbones import ETSettings, PaiNNSettings
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch

CASES = {
    "painn, default": (PaiNNSettings(), 16),
    "painn, 5 Å": (PaiNNSettings(cutoff=5.0), 16),
    "et, default": (ETSettings(), 16),
    "et, as torchmd-net (vector_cutoff=false)": (ETSettings(vector_cutoff=False), 16),
    "et, published": (ETSettings.published(), 2),
}


def crystals(n_crystals):
    """Rattled compounds, 8 and 16 atoms by turns."""
    rng = np.random.default_rng(1)
    kinds = [("MgO", "rocksalt", 4.21), ("CsCl", "cesiumchloride", 4.12), ("Si", "diamond", 5.43)]
    found = []
    for k in range(n_crystals):
        name, structure, a = kinds[k % len(kinds)]
        atoms = bulk(name, structure, a=a).repeat((2, 2, 1 + k % 2))
        atoms.rattle(0.05, rng=rng)
        found.append(
            Crystal.make(str(k), atoms.numbers, atoms.cell.array, positions=atoms.positions)
        )
    return found


def measure(call, repeats):
    """Median wall and processor time in ms, and the range of the wall time."""
    for _ in range(2):
        call()
    wall, cpu = [], []
    for _ in range(repeats):
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        call()
        wall.append(1e3 * (time.perf_counter() - wall_start))
        cpu.append(1e3 * (time.process_time() - cpu_start))
    return statistics.median(wall), statistics.median(cpu), min(wall), max(wall)


def per_atom(call, repeats, n_atoms):
    """The same times divided by the number of atoms."""
    wall, cpu, low, high = (round(t / n_atoms, 4) for t in measure(call, repeats))
    return {"wall": wall, "wall_range": [low, high], "cpu": cpu}


def cost(settings, n_crystals, repeats):
    """Times of one backbone in ms per atom."""
    torch.manual_seed(0)
    backbone = settings.build()
    graph = GraphBatch.from_crystals(crystals(n_crystals), backbone.cutoff)

    def forward():
        with torch.no_grad():
            backbone(graph.with_geometry(graph.positions))

    def backward(forces):
        leaf = graph.positions.clone().requires_grad_(forces)
        features = backbone(graph.with_geometry(leaf))
        (features.scalars.square().sum() + features.vectors.square().sum()).backward()
        backbone.zero_grad()

    return {
        "n_parameters": sum(p.numel() for p in backbone.parameters()),
        "cutoff_angstrom": backbone.cutoff,
        "n_atoms": graph.n_atoms,
        "edges_per_atom": round(graph.n_edges / graph.n_atoms, 1),
        "pairs_per_atom": round(len(graph.pairs[1]) / graph.n_atoms, 1),
        "ms_per_atom": {
            "forward": per_atom(forward, repeats, graph.n_atoms),
            "training": per_atom(lambda: backward(False), repeats, graph.n_atoms),
            "forces": per_atom(lambda: backward(True), repeats, graph.n_atoms),
        },
    }


def main():
    """Time every case and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result = {
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, shared with other work",
        "threads": arguments.threads,
        "warm_up": 2,
        "repeats": arguments.repeats,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "load_1min": [round(os.getloadavg()[0], 1)],
        "backbones": {},
    }
    for name, (settings, n_crystals) in CASES.items():
        found = cost(settings, n_crystals, arguments.repeats)
        result["backbones"][name] = found
        print(name, found)
    result["load_1min"].append(round(os.getloadavg()[0], 1))
    path = Path(__file__).parent / "results" / "backbone_cost.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
