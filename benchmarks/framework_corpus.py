"""How near made frameworks are to real ones: aggregates, and distances in the space of coverage.

    python benchmarks/framework_corpus.py QMOF.parquet --n 2000

QMOF's cells of at most 60 atoms are divided by chance into some that are looked at and as many as
there are frameworks, which stand for a real corpus of their own kind and in whose space all
distances are taken. Beside it are as many embedded inorganic crystals, and the frameworks. Only
aggregates of QMOF are kept.
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np

from atomprint.data.embedded import CORPUS
from atomprint.data.sources.frameworks.assembly import make_framework
from atomprint.evaluation.coverage import CoverageIndex, K, crystal_rows
from atomprint.evaluation.neighbours import mean_distances
from atomprint.ground import elements
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from atomprint.structures.search import search
from atomprint.training.run import environment

OUT = Path(__file__).parent / "results/framework_corpus.json"
SMALL = 60
"""Atoms of a small cell."""


def quantiles(values):
    """The 5, 25, 50, 75 and 95 % quantiles."""
    return [round(float(q), 3) for q in np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])]


def nearest(crystal, a, b):
    """Distances (Å) of atoms of element a to the nearest of element b."""
    first = np.array([0, crystal.n_atoms])
    found = search(crystal.positions, crystal.cell[None], first, 4.0, with_shifts=False)
    centre = np.repeat(np.arange(crystal.n_atoms), np.diff(found.first))
    here = (crystal.numbers[centre] == a) & (crystal.numbers[found.neighbor_index] == b)
    best = np.full(crystal.n_atoms, np.inf)
    np.minimum.at(best, centre[here], np.linalg.norm(found.vectors[here], axis=1))
    return best[np.isfinite(best)]


def aggregates(crystals):
    """What a set of crystals is like, in numbers that say nothing of a single one."""
    with_element = Counter(z for c in crystals for z in set(c.numbers.tolist()))
    atoms = Counter(z for c in crystals for z in c.numbers.tolist())
    total = sum(atoms.values())
    pairs = {}
    for a, b in (("Zn", "O"), ("Zn", "N"), ("Cu", "O"), ("Cu", "N"), ("Cd", "O"), ("Ag", "N"),
                 ("C", "C"), ("C", "O"), ("C", "H"), ("H", "H")):  # fmt: skip
        za, zb = elements.atomic_number[a], elements.atomic_number[b]
        found = [nearest(c, za, zb) for c in crystals[:600]]
        values = np.concatenate(found) if found else np.zeros(0)
        if len(values) > 20:
            pairs[f"{a}-{b}"] = quantiles(values)
    return {
        "n": len(crystals),
        "n_atoms": quantiles([c.n_atoms for c in crystals]),
        "volume_per_atom": quantiles([c.volume / c.n_atoms for c in crystals]),
        "crystals_with": {
            elements.symbols[z]: round(n / len(crystals), 3)
            for z, n in with_element.most_common(40)
        },
        "atoms_of": {elements.symbols[z]: round(n / total, 4) for z, n in atoms.most_common(12)},
        "nearest": pairs,
    }


def main():
    """Make, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("qmof", type=Path)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--targets", type=int, default=1000, help="small QMOF cells looked at")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rejected: Counter[str] = Counter()
    start = time.process_time()
    made = [make_framework((given.seed, k), 150, 2000, rejected) for k in range(given.n)]
    seconds = time.process_time() - start
    frameworks = [
        Crystal.make(f"mof-{k}", f.numbers, f.cell, positions=f.positions)
        for k, f in enumerate(made)
    ]
    print(f"{given.n / seconds:.2f} frameworks a second", rejected, flush=True)
    qmof = [c for c in read_crystals(given.qmof).crystals if c.n_atoms <= SMALL]
    order = np.random.default_rng(0).permutation(len(qmof))
    looked_at = [qmof[k] for k in order[: given.targets]]
    real = [qmof[k] for k in order[given.targets : given.targets + given.n]]
    embedded = read_crystals(CORPUS).crystals[:: max(1, 6500 // given.n)][: given.n]
    rows = {
        "QMOF, other crystals": crystal_rows(real),
        "frameworks": crystal_rows(frameworks),
        "embedded": crystal_rows(embedded),
    }
    targets = crystal_rows(looked_at)
    index = CoverageIndex.from_rows(rows["QMOF, other crystals"])
    at = index.project(targets)
    distances = {name: mean_distances(at, index.project(found), K) for name, found in rows.items()}
    back = mean_distances(index.project(rows["frameworks"]), index.points, K)
    small = np.array([c.n_atoms <= SMALL for c in frameworks])
    result = {
        "command": "python benchmarks/framework_corpus.py QMOF.parquet "
        f"--n {given.n} --targets {given.targets} --seed {given.seed}",
        "data": "QMOF (CC BY 4.0), cells of at most 60 atoms; aggregates only",
        "seed": given.seed,
        "per_cpu_second": round(given.n / seconds, 2),
        "rejected_per_crystal": {k: round(n / given.n, 2) for k, n in rejected.items()},
        "nets": {
            k: round(n / given.n, 3) for k, n in Counter(f.net for f in made).most_common()
        },
        "dimensions": {
            str(k): round(n / given.n, 3)
            for k, n in sorted(Counter(f.dimension for f in made).items())
        },
        "corpus_size": {name: len(found) for name, found in rows.items()},
        "distance_of_small_qmof_cells": {k: quantiles(d) for k, d in distances.items()},
        "nearer_than_embedded": round(
            float((distances["frameworks"] < distances["embedded"]).mean()), 4
        ),
        "frameworks_from_qmof": {
            "distance": quantiles(back),
            "own_of_qmof": quantiles(index.own),
            "beyond_95": round(float((back > np.quantile(index.own, 0.95)).mean()), 3),
            "beyond_95_small": round(
                float((back[small] > np.quantile(index.own, 0.95)).mean()), 3
            ),
        },
        "frameworks": aggregates(frameworks),
        "qmof_small_cells": aggregates(qmof),
        "environment": environment(),
    }  # fmt: skip
    OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1)[:3000])


if __name__ == "__main__":
    main()
