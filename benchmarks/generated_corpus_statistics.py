"""Compare the embedded corpus with a sample of real crystals, as aggregate statistics only.

    python benchmarks/generated_corpus_statistics.py --real PATH/mp.parquet

Both files hold one crystal a row (``numbers``, ``cell``, ``frac``). Nothing of the real file is
kept but the aggregates written to ``benchmarks/results/generated_corpus_statistics.json``.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from atomprint.data.sources.generated.chemistry import chemical_class
from atomprint.data.sources.generated.relaxation import periodic_pairs
from atomprint.ground import elements

HERE = Path(__file__).parent
EMBEDDED = HERE.parent / "src/atomprint/data/embedded/corpus.parquet"
MIN_COUNT = 30
"""Bonds that an element pair needs in both files to be compared."""
REACH = 4.5
"""Å; pairs are searched up to here."""

Floats = NDArray[np.float64]


def describe(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything the comparison needs of one file."""
    n_atoms = np.array([len(r["numbers"]) for r in rows])
    kinds = [sorted({elements.symbols[z] for z in r["numbers"]}) for r in rows]
    contact: dict[str, list[float]] = defaultdict(list)
    coordination: dict[str, list[float]] = defaultdict(list)
    volume: dict[str, list[float]] = defaultdict(list)
    for row, symbols in zip(rows, kinds, strict=True):
        cell = np.array(row["cell"], dtype=np.float64).reshape(3, 3)
        frac = np.array(row["frac"], dtype=np.float64).reshape(-1, 3)
        names = np.array([elements.symbols[z] for z in row["numbers"]])
        volume[chemical_class(set(symbols))].append(abs(np.linalg.det(cell)) / len(names))
        i, j, _, d = periodic_pairs(cell, frac, REACH)
        first, second = np.concatenate([i, j]), np.concatenate([j, i])
        distance = np.concatenate([d, d])
        order = np.lexsort((distance, first))
        first, second, distance = first[order], second[order], distance[order]
        start = np.searchsorted(first, np.arange(len(names)))
        for atom, k in enumerate(start):
            if k < len(first) and first[k] == atom:
                pair = "-".join(sorted((names[atom], names[second[k]])))
                contact[pair].append(float(distance[k]))
                end = start[atom + 1] if atom + 1 < len(names) else len(first)
                near = (distance[k:end] < 1.2 * distance[k]).sum()
                coordination[str(names[atom])].append(float(near))
    return {
        "n_atoms": n_atoms,
        "classes": Counter(chemical_class(set(k)) for k in kinds),
        "n_elements": Counter(min(len(k), 6) for k in kinds),
        "elements": Counter(s for k in kinds for s in k),
        "pairs": Counter("-".join((a, b)) for k in kinds for a in k for b in k if a < b),
        "contact": {k: np.array(v) for k, v in contact.items()},
        "coordination": {k: np.array(v) for k, v in coordination.items()},
        "volume": {k: np.array(v) for k, v in volume.items()},
    }


def kolmogorov_smirnov(a: Floats, b: Floats) -> float:
    """Largest gap between two empirical distribution functions."""
    grid = np.sort(np.concatenate([a, b]))
    fa = np.searchsorted(np.sort(a), grid, side="right") / len(a)
    fb = np.searchsorted(np.sort(b), grid, side="right") / len(b)
    return float(np.abs(fa - fb).max())


def shares(counter: Counter[Any], n: int) -> dict[str, float]:
    """Counts as fractions of ``n``, sorted by name."""
    return {str(k): round(v / n, 4) for k, v in sorted(counter.items(), key=lambda kv: str(kv[0]))}


def compare_samples(ours: dict[str, Floats], real: dict[str, Floats]) -> dict[str, float | int]:
    """Medians and shapes of the distributions that both files hold enough of."""
    both = [
        k for k in sorted(ours) if len(ours[k]) >= MIN_COUNT and len(real.get(k, [])) >= MIN_COUNT
    ]
    error = np.array([np.median(ours[k]) / np.median(real[k]) - 1.0 for k in both])
    weight = np.array([len(real[k]) for k in both], dtype=float)
    ks = np.array([kolmogorov_smirnov(ours[k], real[k]) for k in both])
    covered = weight.sum() / sum(len(v) for v in real.values())
    return {
        "n_compared": len(both),
        "share_of_real_covered": round(float(covered), 3),
        "median_absolute_relative_error": round(float(np.median(np.abs(error))), 4),
        "median_relative_error": round(float(np.median(error)), 4),
        "weighted_mean_absolute_relative_error": round(
            float((np.abs(error) * weight).sum() / weight.sum()), 4
        ),
        "median_ks": round(float(np.median(ks)), 3),
        "weighted_mean_ks": round(float((ks * weight).sum() / weight.sum()), 3),
    }


def overlap(ours: Counter[str], real: Counter[str]) -> float:
    """Shared probability of two histograms, 1 when equal."""
    a, b = sum(ours.values()), sum(real.values())
    return round(sum(min(ours[k] / a, real[k] / b) for k in set(ours) | set(real)), 3)


def halves(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The same comparison between two halves of the real file: what sampling alone gives."""
    a, b = describe(rows[::2]), describe(rows[1::2])
    return {
        "nearest_neighbour": compare_samples(a["contact"], b["contact"]),
        "coordination_ks": compare_samples(a["coordination"], b["coordination"])[
            "weighted_mean_ks"
        ],
        "element_pair_overlap": overlap(a["pairs"], b["pairs"]),
    }


def main() -> None:
    """Read both files, compare, write and print the aggregates."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, default=EMBEDDED)
    parser.add_argument("--n-real", type=int, default=8000, help="Real crystals compared.")
    parser.add_argument("--max-atoms", type=int, default=40)
    parser.add_argument(
        "--out", type=Path, default=HERE / "results/generated_corpus_statistics.json"
    )
    args = parser.parse_args()
    columns = ["numbers", "cell", "frac"]
    ours_rows = pq.read_table(args.corpus, columns=[*columns, "route", "prototype"]).to_pylist()
    real_rows = pq.read_table(args.real, columns=columns).to_pylist()
    real_rows = [r for r in real_rows if len(r["numbers"]) <= args.max_atoms]
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(real_rows))[: args.n_real]
    real_rows = [real_rows[k] for k in chosen]
    ours, real = describe(ours_rows), describe(real_rows)
    result: dict[str, Any] = {
        "corpus": {
            "n_crystals": len(ours_rows),
            "n_bytes": args.corpus.stat().st_size,
            "routes": dict(sorted(Counter(r["route"] for r in ours_rows).items())),
            "n_prototypes": len({r["prototype"] for r in ours_rows}),
            "n_elements": len(ours["elements"]),
        },
        "real": {"n_crystals": len(real_rows), "max_atoms": args.max_atoms},
        "classes": {
            "corpus": shares(ours["classes"], len(ours_rows)),
            "real": shares(real["classes"], len(real_rows)),
        },
        "elements_in_a_crystal": {
            "corpus": shares(ours["n_elements"], len(ours_rows)),
            "real": shares(real["n_elements"], len(real_rows)),
        },
        "atoms_in_a_cell_percentiles_10_25_50_75_90": {
            "corpus": np.percentile(ours["n_atoms"], [10, 25, 50, 75, 90]).tolist(),
            "real": np.percentile(real["n_atoms"], [10, 25, 50, 75, 90]).tolist(),
        },
        "element_overlap": overlap(ours["elements"], real["elements"]),
        "element_pair_overlap": overlap(ours["pairs"], real["pairs"]),
        "nearest_neighbour": compare_samples(ours["contact"], real["contact"]),
        "coordination_ks": compare_samples(ours["coordination"], real["coordination"])[
            "weighted_mean_ks"
        ],
        "volume_per_atom_median": {
            k: [round(float(np.median(s["volume"][k])), 2) for s in (ours, real)]
            for k in sorted(ours["volume"])
            if k in real["volume"]
        },
        "real_against_real": halves(real_rows),
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
