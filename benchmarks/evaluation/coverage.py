"""Coverage of the real sets, and leakage between them; judged by pymatgen's StructureMatcher.

    python benchmarks/evaluation/coverage.py --data FOLDER

Writes benchmarks/results/evaluation/coverage.json. About ten CPU minutes; ``--only-large`` measures
100,000 crystals against 100,000 again and nothing else.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from atomprint.data.embedded import CORPUS
from atomprint.evaluation.coverage import CoverageIndex
from atomprint.evaluation.leakage import (
    SAME,
    VOLUME,
    _candidates,
    differences,
    find_leaks,
    shape_rows,
)
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from atomprint.training.run import environment

SETS = (
    "mp", "matbench_phonons", "mp_elastic", "mp_dielectric", "matbench_jdft2d", "perovskites",
    "carbon", "qmof",
)  # fmt: skip
MOST = 2_000
CRUDE = 0.02


def drawn(crystals, n, seed=0):
    """A random part of crystals."""
    order = np.random.default_rng(seed).permutation(len(crystals))
    return [crystals[i] for i in order[:n]]


def coverage(sets, embedded):
    """Every set against both corpora, and held-out parts of these against themselves."""
    mp = drawn(sets["mp"], len(sets["mp"]))
    corpora = {"mp": (mp[:30_000], mp[30_000:]), "embedded": (embedded[::2], embedded[1::2])}
    found = {}
    for name, (corpus, held_out) in corpora.items():
        start = time.perf_counter()
        index = CoverageIndex.fit(corpus)
        found[name] = {
            "n_corpus": len(corpus), "seconds": round(time.perf_counter() - start, 2), "sets": {}
        }  # fmt: skip
        judged = {"held-out part of the corpus": held_out, **sets}
        for what, crystals in judged.items():
            if what == name:
                continue
            some = drawn(crystals, MOST)
            start = time.perf_counter()
            one = index.measure(some)
            numbers = {k: v for k, v in one.to_dict().items() if k not in ("sentence", "farthest")}
            numbers["seconds"] = round(time.perf_counter() - start, 2)
            found[name]["sets"][what] = numbers
    return found


def copy_of(crystal, seed, strain=0.01, rattle=0.01, doubled=True):
    """Another setting of the same crystal, turned, with 1 % strain and 0.01 Å of rattling."""
    rng = np.random.default_rng(seed)
    n = 2 if doubled else 1
    cell = np.array([[1, 0, 0], [1, 1, 0], [0, 0, n]]) @ crystal.cell
    positions = np.concatenate([crystal.positions + k * crystal.cell[2] for k in range(n)])
    positions += rng.normal(scale=rattle, size=positions.shape)
    e = rng.uniform(-strain, strain, size=(3, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    deform = (np.eye(3) + (e + e.T) / 2) @ turn
    return Crystal.make(
        crystal.id, np.tile(crystal.numbers, n), cell @ deform, positions=positions @ deform
    )


def matcher_says(matcher, one, other):
    """Whether pymatgen calls two crystals the same."""

    def structure(c):
        return Structure(c.cell, c.numbers.tolist(), c.frac)

    return bool(matcher.fit(structure(one), structure(other)))


def agreement(sets, n_pairs=400):
    """Precision and recall against StructureMatcher, on pairs of one formula and like volume."""
    mp = [c for c in sets["mp"] if c.n_atoms <= 40]
    matcher, found = StructureMatcher(), {}
    for name in ("matbench_phonons", "mp_elastic", "mp"):
        test = [c for c in sets[name] if c.n_atoms <= 40]
        pairs = _candidates(test, mp, 0.15)
        if name == "mp":
            pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        pairs = pairs[np.random.default_rng(1).permutation(len(pairs))[:n_pairs]]
        ones, others = [test[i] for i, _ in pairs], [mp[j] for _, j in pairs]
        far = differences(
            shape_rows([*ones, *others]), np.arange(len(ones)), len(ones) + np.arange(len(ones))
        )
        volume = np.array([
            abs(np.log(a.volume / a.n_atoms * b.n_atoms / b.volume))
            for a, b in zip(ones, others, strict=True)
        ])  # fmt: skip
        wanted = np.array([matcher_says(matcher, a, b) for a, b in zip(ones, others, strict=True)])

        def score(said, wanted=wanted):
            return {
                "precision": float(wanted[said].mean()) if said.any() else None,
                "recall": float(said[wanted].mean()) if wanted.any() else None,
            }

        found[name] = {
            "n_pairs": len(pairs),
            "n_same": int(wanted.sum()),
            "fingerprint": score((far <= SAME) & (volume <= VOLUME)),
            "formula and volume within 2 %": score(volume < CRUDE),
            "by threshold": {str(t): score((far <= t) & (volume <= VOLUME))
                             for t in (0.02, 0.03, 0.05, 0.08)},
        }  # fmt: skip
    return found


def copies(crystals):
    """How often a copy in another setting, strained and rattled, counts as the same."""
    n = len(crystals)
    rows = shape_rows([*crystals, *(copy_of(c, i) for i, c in enumerate(crystals))])
    far = differences(rows, np.arange(n), n + np.arange(n))
    exact = [copy_of(c, i, 0.0, 0.0) for i, c in enumerate(crystals[:200])]
    rows = shape_rows([*crystals[:200], *exact])
    zero = differences(rows, np.arange(200), 200 + np.arange(200))
    return {
        "n": n,
        "found": float((far <= SAME).mean()),
        "median": float(np.median(far)),
        "largest of exact copies": float(zero.max()),
    }


def leaks(sets):
    """Crystals of labelled sets that are in mp, and the speed of looking."""
    found = {}
    for name in ("matbench_phonons", "mp_elastic", "mp_dielectric", "matbench_jdft2d"):
        start = time.perf_counter()
        pairs = find_leaks(sets[name], sets["mp"])
        n = len({leak.test_id for leak in pairs})
        crude = {int(i) for i, _ in _candidates(sets[name], sets["mp"], CRUDE)}
        found[name] = {
            "n_test": len(sets[name]), "n_leaked": n,
            "formula and volume within 2 %": len(crude),
            "seconds": round(time.perf_counter() - start, 1),
        }  # fmt: skip
    half = drawn(sets["mp"], 30_000)
    start = time.perf_counter()
    pairs = find_leaks(half, [c.with_labels({}) for c in half])
    found["speed"] = {
        "n_test": 30_000, "n_corpus": 30_000, "n_pairs": len(pairs),
        "seconds": round(time.perf_counter() - start, 1),
        "found again": len({p.test_id for p in pairs if p.test_id == p.corpus_id}),
        "pairs with another id": sum(p.test_id != p.corpus_id for p in pairs),
    }  # fmt: skip
    return found


def large(sets, embedded, n=100_000):
    """Seconds for n crystals against n: the hardest case, every one of them is in the corpus.

    The corpus is all sets together, filled up with expanded crystals, which count as others; the
    test crystals are its copies, turned, strained and rattled, at the same size.
    """
    corpus = [c for crystals in (*sets.values(), embedded) for c in crystals if c.n_atoms <= 200]
    for crystal in drawn(corpus, n - len(corpus), seed=1):
        corpus.append(crystal.with_geometry(crystal.positions * 1.1, crystal.cell * 1.1))
    corpus = drawn(corpus, n, seed=2)
    test = [copy_of(crystal, i, doubled=False) for i, crystal in enumerate(corpus)]
    corpus = [c.with_labels({}) for c in corpus]
    start, cpu = time.perf_counter(), time.process_time()
    pairs = find_leaks(test, corpus)
    same = {p.test_id for p in pairs if p.test_id == p.corpus_id}
    return {
        "n_test": len(test), "n_corpus": len(corpus), "n_pairs": len(pairs),
        "n_atoms": sum(c.n_atoms for c in corpus),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "found again": sum(c.id in same for c in test),
    }  # fmt: skip


def main():
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--out", type=Path,
        default=Path(__file__).parents[1] / "results" / "evaluation" / "coverage.json",
    )  # fmt: skip
    parser.add_argument("--only-large", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    started = time.process_time()
    sets = {name: read_crystals(arguments.data / f"{name}.parquet").crystals for name in SETS}
    embedded = read_crystals(CORPUS).crystals
    if arguments.only_large:
        results = json.loads(arguments.out.read_text(encoding="utf-8"))
        about = environment()
        results["leakage"]["found"]["large"] = large(sets, embedded) | {
            "made_with": {k: about[k] for k in ("python", "processor", "versions", "commit")}
        }
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        return
    results = {
        "coverage": coverage(sets, embedded),
        "leakage": {
            "same": SAME, "volume": VOLUME,
            "agreement with StructureMatcher": agreement(sets),
            "copies": copies(drawn([c for c in sets["mp"] if c.n_atoms <= 40], 800)),
            "found": leaks(sets),
        },
    }  # fmt: skip
    results["leakage"]["found"]["large"] = large(sets, embedded)
    results["cpu_seconds"] = round(time.process_time() - started, 1)
    about = environment()
    results["made_with"] = {k: about[k] for k in ("python", "processor", "versions", "commit")}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
