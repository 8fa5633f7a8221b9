"""Make fingerprints.npz: values of independent libraries on a few generated crystals.

Run once, in an environment of its own (nothing of atomprint is imported):

    pip install dscribe==2.1.2 matscipy==1.3.1 ase==3.29.0
    pip install --no-deps pyxtal_ff==0.2.3
    python tests/golden/make_fingerprints.py

The file holds the crystals too, so that tests do not depend on how a random number is drawn.
"""

import importlib.metadata
import json
import sys
import types
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry.rdf import get_rdf
from dscribe.descriptors import SOAP
from matscipy.angle_distribution import angle_distribution
from matscipy.neighbours import neighbour_list


def crystals():
    """Four cells: one atom; two atoms, skewed; five elements; eleven atoms of many elements."""
    rng = np.random.default_rng(20190711)
    skewed = np.array([[1, 0, 0], [2, 1, 0], [-1, 1, 1]])
    small = np.array([[2.61, 0.1, 0.2], [0.9, 2.42, -0.3], [0.4, 0.7, 2.83]])
    two = np.array([[3.31, 0.0, 0.2], [0.3, 3.52, 0.1], [-0.2, 0.4, 3.77]])
    five = np.array([[4.4, 0.3, 0.0], [-0.5, 4.1, 0.6], [0.2, 0.1, 4.9]])
    eleven = np.array([[5.9, 0.1, 0.3], [1.1, 5.4, -0.2], [0.6, -0.8, 6.3]])
    return {
        "one": Atoms([29], cell=small, positions=[[0.3, 0.1, 7.0]], pbc=True),
        "two": Atoms([11, 17], cell=skewed @ two, scaled_positions=rng.random((2, 3)), pbc=True),
        "five": Atoms(
            [8, 22, 56, 8, 30], cell=five, scaled_positions=spread(rng, five, 5), pbc=True
        ),
        "eleven": Atoms(
            rng.integers(1, 95, 11), cell=eleven, scaled_positions=spread(rng, eleven, 11), pbc=True
        ),
    }


def spread(rng, cell, n_atoms):
    """Fractional positions with no two atoms closer than 1.3 Å."""
    while True:
        frac = rng.random((n_atoms, 3))
        atoms = Atoms("H" * n_atoms, cell=cell, scaled_positions=frac, pbc=True)
        if len(neighbour_list("i", atoms, 1.3)) == 0:
            return frac


def soap(atoms, r_cut, n_max, l_max, sigma, mode, weights=None, average="off"):
    compression = {"mode": mode}
    if weights is not None:
        compression["species_weighting"] = weights
    descriptor = SOAP(
        species=sorted(set(atoms.get_chemical_symbols())),
        r_cut=r_cut,
        n_max=n_max,
        l_max=l_max,
        sigma=sigma,
        rbf="gto",
        periodic=True,
        compression=compression,
        average=average,
    )
    return descriptor.create(atoms)


def ead_of_pyxtal():
    """Load the one file, since importing the package asks for torch."""
    package = types.ModuleType("pyxtal_ff")
    where = Path(importlib.metadata.distribution("pyxtal_ff").locate_file("pyxtal_ff"))
    package.__path__ = [str(where)]
    sys.modules["pyxtal_ff"] = package
    descriptors = types.ModuleType("pyxtal_ff.descriptors")
    descriptors.__path__ = [str(where / "descriptors")]
    sys.modules["pyxtal_ff.descriptors"] = descriptors
    from pyxtal_ff.descriptors.EAD import EAD

    return EAD


def main():
    out = {}
    ead_class = ead_of_pyxtal()
    for name, atoms in crystals().items():
        out[f"{name}/numbers"] = atoms.numbers
        out[f"{name}/positions"] = atoms.positions
        out[f"{name}/cell"] = atoms.cell.array

        out[f"{name}/soap_mu2"] = soap(atoms, 5.0, 5, 4, 0.5, "mu2")
        symbols = sorted(set(atoms.get_chemical_symbols()))
        numbers = {s: Atoms(s).numbers[0] / 50 for s in symbols}
        out[f"{name}/soap_mu2_z"] = soap(atoms, 5.0, 5, 4, 0.5, "mu2", numbers)
        alike = Atoms("Si" * len(atoms), cell=atoms.cell, positions=atoms.positions, pbc=True)
        out[f"{name}/soap_off_one_species"] = soap(alike, 4.0, 6, 5, 0.4, "off")
        for average in ("inner", "outer"):
            rows = soap(atoms, 5.0, 5, 4, 0.5, "mu2", average=average)
            out[f"{name}/soap_mu2_{average}"] = rows[None]
        if name == "eleven":
            out[f"{name}/soap_mu2_large"] = soap(atoms, 6.0, 8, 6, 0.5, "mu2")[:4]

        i, j, d, vectors = neighbour_list("ijdD", atoms, 4.0)
        if name in ("five", "eleven"):
            # In the smaller cells some neighbours lie opposite each other, and matscipy 1.3.1 puts
            # an angle of 180 degrees into the first bin or anywhere.
            out[f"{name}/matscipy_adf"] = angle_distribution(i, j, vectors, 36, 4.0)
        out[f"{name}/matscipy_distances"] = np.histogram(d, bins=40, range=(0, 4.0))[0]
        repeats = tuple(int(np.ceil(8.2 / h)) for h in heights(atoms))
        out[f"{name}/ase_rdf"] = get_rdf(atoms.repeat(repeats), 4.0, 40)[0]

        ead = ead_class(
            {"L": 3, "eta": [0.7], "Rs": [1.0, 2.2, 3.4]}, Rc=5.0, derivative=False, stress=False
        )
        out[f"{name}/pyxtal_ead"] = ead.calculate(atoms)["x"]
    versions = {
        package: importlib.metadata.version(package)
        for package in ("dscribe", "matscipy", "ase", "pyxtal_ff", "numpy")
    }
    out["versions"] = np.array(json.dumps(versions))
    np.savez_compressed(Path(__file__).with_name("fingerprints.npz"), **out)


def heights(atoms):
    """Distances between opposite faces of the cell, in Å."""
    return 1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)


if __name__ == "__main__":
    main()
