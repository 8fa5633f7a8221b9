"""What the generators make: how much is rejected, valid, double, and how real it looks.

    python benchmarks/generators.py --data DIR

Every source without an end is measured, and every route of `generated` by itself. Real sets (one
crystal a row: ``numbers``, ``cell``, ``frac``) serve as a comparison; only aggregates of them are
kept. Results go to ``benchmarks/results/generators.json``, which docs/generators.md is written
from. An interrupted call goes on with ``--resume``. By themselves intermetallics soon are too many
of their classes; the row of that route is of fewer crystals::

    python benchmarks/generators.py --data DIR --n-route 60 --only generated/intermetallic
    python benchmarks/generators.py --data DIR --n-route 240 --resume
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from atomprint.data.sources import SOURCES, Surroundings
from atomprint.data.sources.base import made
from atomprint.data.sources.blocks import BlockSource
from atomprint.ground import elements
from atomprint.structures.crystal import Crystal

HERE = Path(__file__).parent
OUT = HERE / "results" / "generators.json"
REAL = {"mp": 1500, "matbench_jdft2d": 636, "qmof": 100}
"""Real sets, and how many of their crystals are looked at (cells of at most 200 atoms)."""
OWN = {"slabs": "matbench_jdft2d", "layers": "matbench_jdft2d", "frameworks": "qmof"}
"""Which of them a generator is to resemble; mp for all others."""
SYMPREC = 0.1
SHORTEST = 0.65
"""Valid crystals have no distance shorter than this by the sum of covalent radii."""
N_SMACT = 200
DALTON = 1.66054
"""g/cm³ of 1 u/Å³."""
REACH = 4.0
"""Å; nearest neighbours are looked for up to here."""
SYSTEMS = (
    ("triclinic", 2), ("monoclinic", 15), ("orthorhombic", 74), ("tetragonal", 142),
    ("trigonal", 167), ("hexagonal", 194), ("cubic", 230),
)  # fmt: skip
BINS = {
    "density": np.linspace(0, 16, 41),
    "bond": np.linspace(0.6, 1.5, 46),
    "coordination": np.arange(-0.5, 16.5),
    "vacuum": np.linspace(0, 32, 33),
}
"""Edges of the histograms that are kept for the plots."""

Floats = NDArray[np.float64]


def look(crystal: Crystal) -> dict[str, Any]:
    """Everything the comparison needs of a crystal."""
    from matscipy.neighbours import neighbour_list

    radii = elements.covalent_radius[crystal.numbers]
    i, j, d = neighbour_list(
        "ijd", positions=crystal.positions, cell=crystal.cell, pbc=np.ones(3, bool),
        numbers=crystal.numbers.astype(np.int32), cutoff=REACH,
    )  # fmt: skip
    ratio = d / (radii[i] + radii[j])
    nearest = np.full(crystal.n_atoms, np.inf)
    np.minimum.at(nearest, i, ratio)
    has = np.isfinite(nearest)
    near = np.bincount(i, ratio < 1.2 * nearest[i], crystal.n_atoms)
    mass = float(elements.mass[crystal.numbers].sum())
    return {
        "density": [mass / crystal.volume * DALTON],
        "bond": nearest[has],
        "coordination": near[has],
        "vacuum": [widest_gap(crystal)],
        "shortest": [float(nearest.min())],
        "atoms": [float(crystal.n_atoms)],
        "group": str(space_group(crystal)),
        "elements": sorted(set(crystal.numbers.tolist())),
    }


def gather(looks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Distributions over crystals, from what was seen of each."""
    groups = Counter(one["group"] for one in looks)
    numbers = ("density", "bond", "coordination", "vacuum", "shortest", "atoms")
    return {
        **{name: np.concatenate([one[name] for one in looks]) for name in numbers},
        "groups": groups,
        "systems": systems_of(groups),
        "elements": Counter(elements.symbols[z] for one in looks for z in one["elements"]),
        "n_elements": Counter(str(min(len(one["elements"]), 6)) for one in looks),
    }


def widest_gap(crystal: Crystal) -> float:
    """Å between two neighbouring planes of atoms along a lattice direction, at most."""
    spacing = 1.0 / np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)
    frac = np.sort(crystal.frac % 1.0, axis=0)
    gaps = np.diff(np.concatenate([frac, frac[:1] + 1.0]), axis=0)
    return float((gaps.max(axis=0) * spacing).max())


def space_group(crystal: Crystal) -> int:
    """Number of the space group by spglib; 1 where it finds none."""
    import spglib

    try:
        found = spglib.get_symmetry_dataset(
            (crystal.cell, crystal.frac, crystal.numbers), symprec=SYMPREC
        )
    # spglib has exceptions of its own from version 3 on, and gives None before.
    except Exception:
        found = None
    return found.number if found is not None else 1


def systems_of(groups: Counter[str]) -> Counter[str]:
    """Crystals by crystal system."""
    systems: Counter[str] = Counter()
    for group, n in groups.items():
        systems[next(name for name, last in SYSTEMS if int(group) <= last)] += n
    return systems


def overlap(ours: Counter[str], real: Counter[str]) -> float:
    """Shared probability of two histograms, 1 when equal."""
    a, b = ours.total(), real.total()
    return round(sum(min(ours[k] / a, real[k] / b) for k in set(ours) | set(real)), 3)


def compare(ours: dict[str, Any], real: dict[str, Any]) -> dict[str, Any]:
    """Two-sample distances of all distributions."""
    from scipy.stats import ks_2samp, wasserstein_distance

    result: dict[str, Any] = {}
    for name in ("density", "bond", "coordination", "vacuum", "atoms"):
        result[name] = {
            "ks": round(float(ks_2samp(ours[name], real[name]).statistic), 3),
            "wasserstein": round(float(wasserstein_distance(ours[name], real[name])), 3),
        }
    for name in ("groups", "systems", "elements", "n_elements"):
        result[name] = {"overlap": overlap(ours[name], real[name])}
    return result


def shapes(found: dict[str, Any]) -> dict[str, Any]:
    """Histograms (shares) and quantiles, for the page."""
    result: dict[str, Any] = {}
    for name, edges in BINS.items():
        counts, _ = np.histogram(np.clip(found[name], edges[0], edges[-1]), edges)
        result[name] = np.round(counts / max(counts.sum(), 1), 4).tolist()
    n = found["groups"].total()
    result["systems"] = {name: round(found["systems"][name] / n, 4) for name, _ in SYSTEMS}
    result["quantiles_10_50_90"] = {
        name: np.round(np.quantile(found[name], [0.1, 0.5, 0.9]), 3).tolist()
        for name in ("density", "bond", "coordination", "vacuum", "atoms")
    }
    result["n_space_groups"] = len(found["groups"])
    result["n_elements_seen"] = len(found["elements"])
    return result


def validity(crystals: Sequence[Crystal], found: dict[str, Any]) -> dict[str, float]:
    """Shares that pass independent checks: distances (matscipy), compositions (SMACT)."""
    from smact.screening import smact_validity

    apart = found["shortest"] >= SHORTEST
    # An even sample; SMACT tries all combinations of oxidation states.
    chosen = np.unique(np.linspace(0, len(crystals) - 1, min(N_SMACT, len(crystals))).astype(int))
    neutral = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index in chosen:
            neutral.append(bool(smact_validity(crystals[int(index)].formula)))
    both = apart[chosen] & np.array(neutral)
    return {
        "apart": round(float(apart.mean()), 4),
        "smact": round(float(np.mean(neutral)), 4),
        "both": round(float(both.mean()), 4),
        "n_smact": len(chosen),
    }


def duplicates(crystals: Sequence[Crystal]) -> float:
    """Share of crystals that an earlier one already is, by `atomprint data dedupe`'s rule."""
    from atomprint.evaluation.duplicates import find_duplicates

    return round(len(find_duplicates(crystals)) / len(crystals), 4)


def measure(
    crystals: Sequence[Crystal], real: dict[str, dict[str, Any]], own: str
) -> dict[str, Any]:
    """All but speed and rejection."""
    found = gather([look(crystal) for crystal in crystals])
    return {
        "n": len(crystals),
        "own": own if own in real else "mp",
        "valid": validity(crystals, found),
        "duplicates": duplicates(crystals),
        "against": {name: compare(found, other) for name, other in real.items()},
        "shapes": shapes(found),
    }


def blocks_of(source: BlockSource, n: int) -> Iterator[tuple[list[Crystal], Counter[str], float]]:
    """Crystals, what was rejected, and seconds of the processor, block after block."""
    source.prepare(Surroundings())
    total = number = 0
    while total < n:
        start = time.process_time()
        block = source.block(number)
        seconds = time.process_time() - start
        crystals = [c for c in made(block.records, source.described) if isinstance(c, Crystal)]
        total, number = total + len(crystals), number + 1
        yield crystals, Counter(block.rejected), seconds


def of_source(kind: str, n: int, real: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Measure a source; the first block, which loads tables, does not count if there are more."""
    source = SOURCES[kind]()
    assert isinstance(source, BlockSource)
    crystals: list[Crystal] = []
    rejected: Counter[str] = Counter()
    rates: list[float] = []
    for block, thrown, seconds in blocks_of(source, n):
        crystals += block
        rejected.update(thrown)
        rates.append(len(block) / seconds)
    rates = rates[1:] or rates
    return result_of(crystals[:n], len(crystals), rejected, rates, real, OWN.get(kind, "mp"))


def of_route(route: str, n: int, real: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Measure a route of the generator by itself, in four runs of which the first warms up."""
    from atomprint.data.sources.generated import GeneratorSettings, generate

    crystals: list[Crystal] = []
    rejected: Counter[str] = Counter()
    rates: list[float] = []
    for seed, size in enumerate((5, *[-(-n // 3)] * 3)):
        settings = GeneratorSettings(n_crystals=size, seed=seed, route_share={route: 1.0})
        thrown: Counter[str] = Counter()
        start = time.process_time()
        found = list(generate(settings, rejected=thrown))
        rates.append(size / (time.process_time() - start))
        if size > 5:
            rejected.update(thrown)
            crystals += [
                Crystal.make(f"{seed}-{c.id}", c.numbers, c.cell, frac=c.frac) for c in found
            ]
    return result_of(crystals, len(crystals), rejected, rates[1:], real, "mp")


def result_of(
    crystals: list[Crystal], n_made: int, rejected: Counter[str], rates: list[float],
    real: dict[str, dict[str, Any]], own: str,
) -> dict[str, Any]:  # fmt: skip
    """One row of the results."""
    return {
        "accepted": round(n_made / (n_made + rejected.total()), 4),
        "rejected": dict(rejected.most_common()),
        "a_second_a_core": {
            "median": round(float(np.median(rates)), 1),
            "min": round(min(rates), 1),
            "max": round(max(rates), 1),
            "n": len(rates),
        },
        **measure(crystals, real, own),
    }


def read(path: Path, n: int) -> list[Crystal]:
    """Crystals of at most 200 atoms, drawn at random."""
    rows = pq.read_table(path, columns=["numbers", "cell", "frac"]).to_pylist()
    rows = [row for row in rows if len(row["numbers"]) <= 200]
    chosen = np.random.default_rng(0).permutation(len(rows))[:n]
    return [
        Crystal.make(f"{path.stem}-{k}", row["numbers"], row["cell"], frac=row["frac"])
        for k, row in ((int(k), rows[int(k)]) for k in chosen)
    ]


def real_row(
    crystals: list[Crystal], looks: list[dict[str, Any]], real: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """A real set by the same measures, against itself half by half, and against those before."""
    described = gather(looks)
    return {
        "n": len(crystals),
        "valid": validity(crystals, described),
        "duplicates": duplicates(crystals),
        "halves": compare(gather(looks[::2]), gather(looks[1::2])),
        "against": {name: compare(described, other) for name, other in real.items()},
        "shapes": shapes(described),
    }


def main() -> None:
    """Measure all that is asked for, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the real sets")
    parser.add_argument("--n", type=int, default=500, help="crystals of each generator")
    parser.add_argument("--n-route", type=int, default=120, help="crystals of each route")
    parser.add_argument("--only", nargs="*", default=None, help="kinds, or generated/ROUTE")
    parser.add_argument("--resume", action="store_true", help="keep the rows that are there")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    from atomprint.data.sources.generated import GeneratorSettings
    from atomprint.training.run import environment

    old = json.loads(args.out.read_text()) if args.resume and args.out.is_file() else {}
    result: dict[str, Any] = {
        # The folder of the real sets is nobody's business.
        "environment": {**environment(), "command": "python benchmarks/generators.py --data ..."},
        "settings": {
            "n": args.n, "n_route": args.n_route, "symprec": SYMPREC, "shortest": SHORTEST,
            "bins": {name: [round(float(e), 4) for e in edges] for name, edges in BINS.items()},
        },
        "real": old.get("real", {}),
        "generators": old.get("generators", {}),
    }  # fmt: skip
    real: dict[str, dict[str, Any]] = {}
    for name, n in REAL.items():
        path = args.data / f"{name}.parquet"
        if not path.is_file():
            print(f"{path}: not there, left out")
            continue
        crystals = read(path, n)
        looks = [look(crystal) for crystal in crystals]
        if name not in result["real"]:
            result["real"][name] = real_row(crystals, looks, real)
            write(args.out, result)
        real[name] = gather(looks)
    jobs: dict[str, Callable[[], dict[str, Any]]] = {}
    endless = [kind for kind, source in SOURCES.items() if source.endless]
    # `generated` comes last: its one block is then made with tables that are loaded.
    for kind in sorted(endless, key=lambda kind: kind == "generated"):
        if kind == "generated":
            for route in GeneratorSettings().route_share:
                jobs[f"{kind}/{route}"] = lambda r=route: of_route(r, args.n_route, real)
        jobs[kind] = lambda kind=kind: of_source(kind, args.n, real)
    for name, job in jobs.items():
        if args.only is not None and name not in args.only:
            continue
        if args.only is None and name in result["generators"]:
            continue
        result["generators"][name] = job()
        write(args.out, result)
        row = result["generators"][name]
        print(name, row["accepted"], row["a_second_a_core"]["median"], row["valid"], flush=True)


def write(path: Path, result: dict[str, Any]) -> None:
    """Write in the order of the sources."""
    order = list(SOURCES)
    result["generators"] = dict(
        sorted(
            result["generators"].items(),
            key=lambda row: (order.index(row[0].split("/")[0]), "/" in row[0]),
        )
    )
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
