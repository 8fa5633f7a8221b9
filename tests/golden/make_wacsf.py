"""Make wacsf.npz: weighted symmetry functions of SchNetPack on the crystals of fingerprints.npz.

Run once, in an environment of its own (nothing of atomprint is imported):

    pip install torch==2.13.0 ase==3.29.0
    pip install --no-deps schnetpack==1.0.1
    python tests/golden/make_wacsf.py

SchNetPack 2 has no symmetry functions. Of version 1 only two files are loaded, since importing the
package asks for others that no longer install.
"""

import importlib.metadata
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list

HERE = Path(__file__).parent
CUTOFF = 5.0


def load_schnetpack():
    """Load the files of symmetry functions and cutoffs."""
    where = Path(importlib.metadata.distribution("schnetpack").locate_file("schnetpack"))
    for name, path in (("schnetpack", where), ("schnetpack.nn", where / "nn")):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    from schnetpack.nn import acsf
    from schnetpack.nn.cutoff import CosineCutoff

    return acsf, CosineCutoff


def smearing(acsf, start, stop, n, centered):
    """SchNetPack's Gaussians, with the grid that it makes in float32 made in float64."""
    functions = acsf.GaussianSmearing(start, stop, n, centered=centered)
    functions.offsets = torch.linspace(start, stop, n, dtype=torch.float64)
    functions.width = torch.full_like(functions.offsets, (stop - start) / (n - 1))
    return functions


def rows_of(atoms, acsf, cutoff_class, zetas, crossterms, centered):
    """Rows of a crystal, radial columns first; an atom at a time, so that nothing is padded."""
    cutoff = cutoff_class(cutoff=CUTOFF)
    start = 1.0 if centered else 0.5
    radial = acsf.RadialDistribution(smearing(acsf, start, CUTOFF - 0.5, 22, centered), cutoff)
    angular = acsf.AngularDistribution(
        smearing(acsf, 1.0, CUTOFF - 0.5, 5, True),
        acsf.BehlerAngular(zetas),
        cutoff,
        crossterms=crossterms,
    )
    i, j, vectors = neighbor_list("ijD", atoms, CUTOFF)
    rows = []
    for center in range(len(atoms)):
        mine = i == center
        d = torch.from_numpy(vectors[mine])
        z = torch.from_numpy(atoms.numbers[j[mine]].astype(float))
        r = torch.linalg.vector_norm(d, dim=1)
        a, b = torch.triu_indices(len(r), len(r), 1)
        between = torch.linalg.vector_norm(d[b] - d[a], dim=1)
        weights = (z[a][None, None, :, None], z[b][None, None, :, None])
        first = radial(r[None, None], z[None, None, :, None])
        second = angular(
            r[a][None, None], r[b][None, None], between[None, None], elemental_weights=weights
        )
        rows.append(torch.cat([first[0, 0], second[0, 0]]).numpy())
    return np.array(rows)


def main():
    acsf, cutoff_class = load_schnetpack()
    out = {}
    with np.load(HERE / "fingerprints.npz") as file:
        for name in ("one", "two", "five", "eleven"):
            atoms = Atoms(
                file[f"{name}/numbers"],
                cell=file[f"{name}/cell"],
                positions=file[f"{name}/positions"],
                pbc=True,
            )
            given = (atoms, acsf, cutoff_class)
            out[f"{name}/plain"] = rows_of(*given, [1], False, False)
            out[f"{name}/crossterms"] = rows_of(*given, [1, 4], True, True)
    versions = {
        name: importlib.metadata.version(name) for name in ("schnetpack", "torch", "ase", "numpy")
    }
    out["versions"] = np.array(json.dumps(versions))
    np.savez_compressed(HERE / "wacsf.npz", **out)


if __name__ == "__main__":
    main()
