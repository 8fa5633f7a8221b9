"""Make acsf.npz: symmetry functions of dscribe and pyxtal_ff on fingerprints.npz's crystals.

Run once, in an environment of its own (nothing of atomprint is imported):

    pip install dscribe==2.1.2 ase==3.29.0
    pip install --no-deps pyxtal_ff==0.2.3
    python tests/golden/make_acsf.py
"""

import importlib.metadata
import json
import sys
import types
from pathlib import Path

import numpy as np
from ase import Atoms
from dscribe.descriptors import ACSF

HERE = Path(__file__).parent
G2 = [(0.5, 0.0), (2.0, 1.5), (1.0, 3.0)]
G3 = [1.0, 2.5]
G4 = [(0.005, 1, 1), (0.005, 4, -1), (0.3, 2, 1), (2.0, 16, -1)]
G5 = [(0.01, 1, -1), (0.1, 3, 1), (0.1, 8, -1)]


# pyxtal_ff takes every combination; in G4 and G5 eta runs fastest, then lambda, then zeta.
WEIGHTED = {
    "G2": {"eta": [0.5, 1.0], "Rs": [0.0, 2.0]},
    "G4": {"Rs": [0.0], "eta": [0.05, 0.3], "zeta": [1, 4], "lambda": [1, -1]},
    "G5": {"Rs": [0.0], "eta": [0.05], "zeta": [1, 4], "lambda": [1, -1]},
}


def acsf_of_pyxtal():
    """Load the one file, since importing the package asks for torch."""
    where = Path(importlib.metadata.distribution("pyxtal_ff").locate_file("pyxtal_ff"))
    for name, path in (("pyxtal_ff", where), ("pyxtal_ff.descriptors", where / "descriptors")):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    from pyxtal_ff.descriptors.ACSF import ACSF as OfPyxtal

    return OfPyxtal


def main():
    out = {}
    weighted = acsf_of_pyxtal()(
        WEIGHTED, Rc=5.0, derivative=False, stress=False, atom_weighted=True
    )
    with np.load(HERE / "fingerprints.npz") as file:
        for name in ("one", "two", "five", "eleven"):
            atoms = Atoms(
                file[f"{name}/numbers"],
                cell=file[f"{name}/cell"],
                positions=file[f"{name}/positions"],
                pbc=True,
            )
            descriptor = ACSF(
                species=sorted(set(atoms.get_chemical_symbols())),
                r_cut=5.0,
                g2_params=G2,
                g3_params=G3,
                g4_params=G4,
                g5_params=G5,
                periodic=True,
            )
            rows = descriptor.create(atoms)
            # Of the largest crystal, which has dozens of pairs of species, some atoms are enough.
            out[f"{name}/acsf"] = rows[:3] if name == "eleven" else rows
            if name != "eleven":
                out[f"{name}/pyxtal_weighted"] = weighted.calculate(atoms)["x"]
    versions = {
        name: importlib.metadata.version(name) for name in ("dscribe", "pyxtal_ff", "ase", "numpy")
    }
    out["versions"] = np.array(json.dumps(versions))
    np.savez_compressed(HERE / "acsf.npz", **out)


if __name__ == "__main__":
    main()
