"""Make mbtr.npz: dscribe's MBTR, LMBTR and Valle-Oganov of the crystals in fingerprints.npz.

Run once, in an environment of its own (nothing of atomprint is imported); with ASE 3.29
these three fail on periodic crystals in dscribe 2.1.2 (TypeError):

    pip install dscribe==2.1.2 ase==3.26.0
    python tests/golden/make_mbtr.py

Each case holds the settings of atomprint that should give its values.
"""

import importlib.metadata
import json
import math
from pathlib import Path

import numpy as np
from ase import Atoms
from dscribe.descriptors import LMBTR, MBTR, ValleOganov

HERE = Path(__file__).parent
NAMES = ("one", "two", "five")
SPECIES = ("O", "Na", "Cl", "Ti", "Cu", "Zn", "Ba")
CUTOFF = 4.6


def crystals():
    with np.load(HERE / "fingerprints.npz") as file:
        for name in NAMES:
            numbers, cell, xyz = (file[f"{name}/{k}"] for k in ("numbers", "cell", "positions"))
            yield name, Atoms(numbers, cell=cell, positions=xyz, pbc=True)


def cases():
    """Name, settings, and a function from atoms to values."""
    grids = {
        "atomic_number": (1.0, 60.0, 20, 2.0),
        "distance": (0.0, 5.0, 14, 0.3),
        "inverse_distance": (0.1, 1.0, 12, 0.05),
        "angle": (0.0, 180.0, 9, 12.0),
        "cosine": (-1.0, 1.0, 8, 0.2),
    }
    weightings = {
        "atomic_number": ["exp"],
        "distance": ["exp", "inverse_square"],
        "inverse_distance": ["exp"],
        "angle": ["exp", "smooth_cutoff"],
        "cosine": ["smooth_cutoff"],
    }
    for geometry, (low, high, n, sigma) in grids.items():
        for weighting in weightings[geometry]:
            order = {"atomic_number": 1, "angle": 3, "cosine": 3}.get(geometry, 2)
            cutoff = CUTOFF + (1.4 if weighting == "exp" and order == 3 else 0.0)
            ours = {
                "geometry": geometry, "weighting": weighting, "cutoff": cutoff, "grid_min": low,
                "grid_max": high, "n_points": n, "sigma": sigma, "species": SPECIES,
            }  # fmt: skip
            theirs = {
                "geometry": {"function": geometry},
                "grid": {"min": low, "max": high, "n": n, "sigma": sigma},
                "species": SPECIES,
                "periodic": True,
            }
            weights = {"function": weighting, "r_cut": cutoff}
            if weighting == "exp":
                weights["threshold"] = 1e-3
            if order == 1:
                weights = {"function": "unity"}
            for normalization in ("none", "l2", "n_atoms", "valle_oganov"):
                if normalization == "valle_oganov" and order == 1:
                    continue
                descriptor = MBTR(weighting=weights, normalization=normalization, **theirs)
                settings = {"kind": "mbtr", "normalization": normalization, **ours}
                yield f"{geometry}-{weighting}-{normalization}", settings, descriptor
            if weighting == "exp" and order > 1:
                # With r_cut LMBTR fails in dscribe 2.1.2.
                scale = -math.log(1e-3) / cutoff / (order - 1)
                weights = {"function": "exp", "scale": scale, "threshold": 1e-3}
                descriptor = LMBTR(
                    weighting=weights, normalize_gaussians=False, normalization="none", **theirs
                )
                settings = {"kind": "lmbtr", "normalize_gaussians": False, "scale": scale, **ours}
                yield f"local-{geometry}", settings, descriptor
    for function, sigma in (("distance", 0.25), ("angle", 8.0)):
        descriptor = ValleOganov(SPECIES, function, n=15, sigma=sigma, r_cut=CUTOFF)
        settings = {
            "kind": "valle_oganov", "function": function, "n_points": 15, "sigma": sigma,
            "cutoff": CUTOFF, "species": SPECIES,
        }  # fmt: skip
        yield f"valle-oganov-{function}", settings, descriptor


def main():
    arrays, settings = {}, {}
    for case, ours, descriptor in cases():
        settings[case] = ours
        for name, atoms in crystals():
            values = np.atleast_2d(descriptor.create(atoms))
            # Most combinations of elements are not there: keep what is not zero.
            places = np.flatnonzero(np.abs(values).max(0))
            arrays[f"{case}/{name}/places"] = places.astype(np.int32)
            arrays[f"{case}/{name}/values"] = values[:, places]
            arrays[f"{case}/{name}/width"] = np.array(values.shape[1])
    versions = {name: importlib.metadata.version(name) for name in ("dscribe", "ase", "numpy")}
    arrays["settings"] = np.array(json.dumps(settings))
    arrays["versions"] = np.array(json.dumps(versions))
    np.savez_compressed(HERE / "mbtr.npz", **arrays)


if __name__ == "__main__":
    main()
