"""How close fingerprints are to other programs, on 300 crystals of 89 elements.

    python benchmarks/fingerprints/accuracy.py --data ../shared/data [--only ead]

For every fingerprint and convention with a peer: the largest difference from the peer's numbers, by
each path (plain PyTorch, fused kernels) in float64 and float32. Differences are relative to the
largest value of their row and, second, of their column (a column's largest value counts as at least
a hundredth of the table's, so that columns which are zero by symmetry are not divided by rounding).
Histograms count the share of pairs or angles that lie in another bin. Peers compute in float64.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import peers
from ase import Atoms
from cases import CASES, CUTOFF, SHELL_ETA, SHELLS, Pair, upper
from compare import difference

import structures

OUT = Path(__file__).resolve().parent.parent / "results" / "fingerprints" / "accuracy.json"


@dataclass(frozen=True)
class Entry:
    """One fingerprint in one convention.

    Attributes
    ----------
    title, peer_title
        What is compared with what.
    ours, peer
        Make them from the species of the crystals.
    values
        Brings both to the same form.
    by_crystal
        Whether every crystal has a list of species of its own.
    map_species
        Whether all atoms become one species first.
    n_crystals
        So many of the 300.
    measure
        See ``compare.py``.
    """

    title: str
    peer_title: str
    ours: Callable[[list[str]], Any]
    peer: Callable[[list[str]], peers.Rows]
    values: Callable[[Any, Any, list[Atoms]], Pair] = lambda ours, peer, frames: (ours, peer)
    by_crystal: bool = False
    map_species: bool = False
    n_crystals: int = 300
    measure: str = "values"


def _soap(**ours: Any) -> Callable[[list[str]], Any]:
    def make(species: list[str]) -> Any:
        from atomprint.fingerprints import SOAP

        chosen = {"cutoff": CUTOFF, "n_max": 8, "l_max": 6, "sigma": 0.5, **ours}
        if "resolution" in ours:
            chosen["species"] = species
        return SOAP(**chosen)

    return make


def _dscribe(n_max: int = 8, l_max: int = 6, **more: Any) -> Callable[[list[str]], peers.Rows]:
    return lambda species: peers.dscribe_soap(CUTOFF, n_max, l_max, 0.5, species, **more)


def _resolved(resolution: str, mode: str) -> Entry:
    return Entry(
        f"SOAP, `resolution: {resolution}` (4, 3), every crystal's own species",
        f"dscribe `{mode}`",
        _soap(resolution=resolution, n_max=4, l_max=3),
        _dscribe(4, 3, mode=mode),
        by_crystal=True,
    )


def _case(name: str, **changes: Any) -> Entry:
    """Make the entry of a case of the speed table."""
    case = CASES[name]
    entry = Entry(
        case.title,
        case.peer_title,
        lambda species: case.fingerprints()[0],
        lambda species: case.peer([Atoms(species)]),
        values=case.values,
        map_species=case.map_species,
        measure=case.measure,
    )
    return replace(entry, **changes)


def _acsf_by_species(species: list[str]) -> Any:
    from atomprint.fingerprints import ACSF

    return ACSF(cutoff=CUTOFF, species=species, g2=_G2, g3=_G3, g4=_ANGULAR, g5=_ANGULAR)


_G2, _G3 = ((0.5, 1.5), (2.0, 3.0)), (0.5, 1.0)
_ANGULAR = ((0.01, 1.0, 1.0), (0.05, 4.0, -1.0))


def _peer_by_species(species: list[str]) -> peers.Rows:
    angular = [list(one) for one in _ANGULAR]
    return peers.dscribe_acsf(
        CUTOFF, species, g2_params=[list(one) for one in _G2], g3_params=list(_G3),
        g4_params=angular, g5_params=angular,
    )  # fmt: skip


def _ead_paper(species: list[str]) -> Any:
    from atomprint.fingerprints import EAD

    return EAD(
        cutoff=CUTOFF, l_max=3, shells=SHELLS, eta=SHELL_ETA, channels=("Z",), scale_channels=False
    )


def _blocks_of_paper(ours: Any, peer: Any, frames: list[Atoms]) -> Pair:
    """Make the paper's blocks of degree L from pyxtal_ff's, which have all degrees up to L."""
    n = len(SHELLS)
    scaled = [
        peer[:, L * n : (L + 1) * n] * CUTOFF ** (2 * L) / math.factorial(L) for L in range(4)
    ]
    paper = [(scaled[L] - (scaled[L - 1] if L else 0)) * math.factorial(L) for L in range(4)]
    unit = np.repeat([CUTOFF ** (2 * L) for L in range(4)], n)
    return ours / unit, np.concatenate(paper, axis=1) / unit


def _adf_moments(species: list[str]) -> Any:
    from atomprint.fingerprints import ADF

    return ADF(cutoff=4.5, channels=("one",), form="moments", l_max=8)


def _moments_of_angles(species: list[str]) -> peers.Rows:
    """Sum Legendre polynomials over matscipy's ordered pairs of neighbours, atom by atom."""
    from matscipy.neighbours import neighbour_list

    def of_atom(vectors: np.ndarray) -> np.ndarray:
        r = np.linalg.norm(vectors, axis=1)
        weights = 0.5 * (1 + np.cos(np.pi * r / 4.5))
        unit = vectors / r[:, None]
        cosines = np.clip(unit @ unit.T, -1, 1)
        pairs = np.outer(weights, weights) * (1 - np.eye(len(r)))
        return np.array(
            [
                (pairs * np.polynomial.legendre.legval(cosines, np.eye(9)[degree])).sum()
                for degree in range(9)
            ]
        )

    def run(frames: list[Atoms]) -> list[np.ndarray]:
        rows = []
        for atoms in frames:
            i, vectors = neighbour_list("iD", atoms, 4.5)
            rows.append(np.stack([of_atom(vectors[i == k]) for k in range(len(atoms))]))
        return rows

    return run


ENTRIES: dict[str, Entry] = {
    "soap_mu2": _case("soap"),
    "soap_mu1nu1": _resolved("mu1nu1", "mu1nu1"),
    "soap_crossover": _resolved("crossover", "crossover"),
    "soap_full": _resolved("full", "off"),
    "soap_polynomial": Entry(
        "SOAP, polynomial basis, one density (4, 6), 6 Å",
        "dscribe `polynomial`",
        _soap(basis="polynomial", n_max=4),
        _dscribe(4, 6, rbf="polynomial"),
    ),
    "soap_weighted": Entry(
        "SOAP, weighted by distance (poly, r0 = 6 Å, m = 2), one density (8, 6)",
        "dscribe `weighting`",
        _soap(weighting={"function": "poly", "r0": 6.0, "c": 1.0, "m": 2}),
        _dscribe(weighting={"function": "poly", "r0": 6.0, "c": 1.0, "m": 2}),
    ),
    "soap_inner": Entry(
        "SOAP, averaged inside, one density (8, 6)",
        'dscribe `average="inner"`',
        _soap(per="crystal", average="inner"),
        _dscribe(average="inner"),
    ),
    "soap_featomic": _case(
        "soap_featomic",
        peer=lambda species: peers.featomic_soap(CUTOFF, 8, 6, 0.5, 0.5, accuracy=1e-10),
        peer_title="featomic, splines to 1e-10",
        values=lambda ours, peer, frames: (ours, upper(peer, 8, 6)),
    ),
    "acsf": _case("acsf"),
    "acsf_species": Entry(
        "ACSF: G1 to G5 for every crystal's own species",
        "dscribe",
        _acsf_by_species,
        _peer_by_species,
        by_crystal=True,
        n_crystals=100,
    ),
    "wacsf": _case("wacsf"),
    "ead_pyxtal": _case("ead"),
    "ead_paper": Entry(
        "EAD, blocks of degree L, in units of the cutoff",
        "pyxtal_ff, recombined",
        _ead_paper,
        lambda species: peers.pyxtal_ead(CUTOFF, 3, SHELLS, SHELL_ETA),
        values=_blocks_of_paper,
    ),
    "rdf": _case("rdf"),
    "adf": _case("adf"),
    "adf_moments": Entry(
        "ADF, moments to l = 8, cosine cutoff, 4.5 Å",
        "a sum over matscipy's pairs of neighbours",
        _adf_moments,
        _moments_of_angles,
        n_crystals=100,
    ),
}


def measure(entry: Entry, frames: list[Atoms]) -> dict[str, Any]:
    """Differences by path and float type."""
    frames = frames[: entry.n_crystals]
    if entry.map_species:
        frames = structures.one_species(frames)
    groups = [[atoms] for atoms in frames] if entry.by_crystal else [frames]
    theirs, ours = [], {}
    missing = {}
    for group in groups:
        species = peers.species_of(group)
        fingerprint = entry.ours(species)
        theirs.append(peers.stack(entry.peer(species)(group)))
        for path in ("reference", "fused"):
            for dtype in ("float64", "float32"):
                if path == "fused" and fingerprint.kernel is None:
                    missing[path] = "no fused kernel"
                    continue
                rows = fingerprint.compute(group, dtype=dtype, path=path, threads=1)
                ours.setdefault((path, dtype), []).append(rows)
    found: dict[str, Any] = {}
    for (path, dtype), parts in ours.items():
        gaps = [
            difference(*entry.values(mine, other, group), entry.measure)
            for mine, other, group in zip(parts, theirs, groups, strict=True)
        ]
        worst = {
            name: max(gap[name] for gap in gaps)
            for name in ("of_row_largest", "of_column_largest", "moved")
            if name in gaps[0]
        }
        worst["rows"] = sum(gap["rows"] for gap in gaps)
        found.setdefault(path, {})[dtype] = worst
    return found | {path: {"missing": why} for path, why in missing.items()}


def main() -> None:
    """Compare, and write after every entry."""
    from speed import commit, environment

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", default="", help="entries, with commas")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    frames = structures.load("bench300", arguments.data)
    result = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    result["environment"] = environment() | {
        "command": "python benchmarks/fingerprints/accuracy.py --data ../shared/data"
    }
    entries = result.setdefault("entries", {})
    for name in arguments.only.split(",") if arguments.only else ENTRIES:
        entry = ENTRIES[name]
        try:
            found = measure(entry, frames)
        except Exception as error:  # the others are still worth having
            found = {"failed": f"{type(error).__name__}: {error}"}
        entries[name] = {
            "title": entry.title, "peer": entry.peer_title, "n_crystals": entry.n_crystals,
            "by_crystal": entry.by_crystal, "measure": entry.measure, "commit": commit(), **found,
        }  # fmt: skip
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
        arguments.out.write_text(text, encoding="utf-8")
        print(name, json.dumps(found), flush=True)


if __name__ == "__main__":
    sys.exit(main())
