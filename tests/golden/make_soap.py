"""Make soap.npz: SOAP of dscribe and featomic on the crystals of fingerprints.npz.

Run once, in an environment of its own (nothing of atomprint is imported):

    pip install dscribe==2.1.2 featomic==0.6.7 ase==3.29.0
    python tests/golden/make_soap.py

An entry is named ``crystal/case``; cases of dscribe are in DSCRIBE, those of featomic in FEATOMIC.
Only the first rows are kept where a row is long.
"""

import importlib.metadata
import json
from pathlib import Path

import numpy as np
from ase import Atoms
from dscribe.descriptors import SOAP
from featomic import SoapPowerSpectrum
from featomic.basis import Gto, TensorProduct
from featomic.cutoff import Cutoff, ShiftedCosine, Step
from featomic.density import Gaussian

HERE = Path(__file__).parent
NAMES = ("one", "two", "five", "eleven")
ROWS = 3

GTO = {"r_cut": 4.0, "n_max": 4, "l_max": 3, "sigma": 0.4, "rbf": "gto"}
POLYNOMIAL = {"r_cut": 4.5, "n_max": 4, "l_max": 3, "sigma": 0.5, "rbf": "polynomial"}
POLY = {"function": "poly", "r0": 4.2, "c": 1.3, "m": 2}
DSCRIBE = {
    "gto_off": (GTO, "off", None, "off"),
    "gto_mu1nu1": (GTO, "mu1nu1", None, "off"),
    "gto_crossover": (GTO, "crossover", None, "off"),
    "gto_large": (GTO | {"r_cut": 6.0, "n_max": 8, "l_max": 6, "sigma": 0.5}, "mu2", None, "off"),
    "gto_narrow": (GTO | {"sigma": 0.2}, "mu2", None, "off"),
    "polynomial_mu2": (POLYNOMIAL, "mu2", None, "off"),
    "polynomial_off": (POLYNOMIAL, "off", None, "off"),
    "polynomial_narrow": (POLYNOMIAL | {"sigma": 0.15, "n_max": 3}, "mu2", None, "off"),
    "polynomial_six": (POLYNOMIAL | {"n_max": 6}, "mu2", None, "off"),
    "poly": (GTO, "mu2", POLY, "off"),
    "poly_within": (GTO, "crossover", POLY | {"r0": 3.1}, "off"),
    "poly_w0": (GTO, "mu2", POLY | {"w0": 0.3}, "off"),
    "w0": (GTO, "mu2", {"w0": 0.3}, "off"),
    "pow": (GTO, "mu2", {"function": "pow", "r0": 1.7, "c": 1.1, "d": 0.6, "m": 3}, "off"),
    "exp": (GTO, "mu2", {"function": "exp", "r0": 1.2, "c": 1.1, "d": 0.6}, "off"),
    "polynomial_pow": (
        POLYNOMIAL,
        "crossover",
        {"function": "pow", "r0": 1.7, "c": 1.1, "d": 0.6, "m": 3, "w0": 0.5},
        "off",
    ),
    "gto_inner": (GTO, "off", None, "inner"),
    "gto_outer": (GTO, "off", None, "outer"),
    "mu1nu1_inner": (GTO, "mu1nu1", None, "inner"),
    "polynomial_inner": (POLYNOMIAL, "crossover", POLY, "inner"),
}

FEATOMIC = {
    "smooth": {"radius": 4.0, "width": 0.5, "sigma": 0.4, "n_max": 4, "l_max": 4, "center": 1.0},
    "step": {"radius": 4.5, "width": None, "sigma": 0.3, "n_max": 5, "l_max": 3, "center": 1.0},
    "center": {"radius": 3.5, "width": 3.5, "sigma": 0.5, "n_max": 3, "l_max": 3, "center": 0.3},
    "large": {"radius": 6.0, "width": 0.5, "sigma": 0.5, "n_max": 8, "l_max": 6, "center": 1.0},
}


def crystals():
    with np.load(HERE / "fingerprints.npz") as file:
        for name in NAMES:
            numbers, positions = file[f"{name}/numbers"], file[f"{name}/positions"]
            yield name, Atoms(numbers, positions, cell=file[f"{name}/cell"], pbc=True)


def of_dscribe(atoms, numbers, mode, weighting, average):
    descriptor = SOAP(
        species=sorted(set(atoms.get_chemical_symbols())),
        periodic=True,
        compression={"mode": mode},
        weighting=weighting and dict(weighting),
        average=average,
        **numbers,
    )
    return descriptor.create(atoms)


def of_featomic(atoms, case):
    """Every pair of species a ≤ b, ``(n_atoms, n_pairs, l_max + 1, n_max, n_max)``."""
    width, n, n_l = case["width"], case["n_max"], case["l_max"] + 1
    calculator = SoapPowerSpectrum(
        cutoff=Cutoff(
            radius=case["radius"], smoothing=Step() if width is None else ShiftedCosine(width=width)
        ),
        density=Gaussian(width=case["sigma"], center_atom_weight=case["center"]),
        basis=TensorProduct(
            max_angular=case["l_max"],
            radial=Gto(max_radial=n - 1, radius=case["radius"]),
            spline_accuracy=1e-12,
        ),
    )
    elements = sorted(set(atoms.numbers.tolist()))
    pairs = [(a, b) for i, a in enumerate(elements) for b in elements[i:]]
    out = np.zeros((len(atoms), len(pairs), n_l, n, n))
    for key, block in calculator.compute(atoms).items():
        pair = pairs.index((key["neighbor_1_type"], key["neighbor_2_type"]))
        for row, (_, atom) in enumerate(block.samples.values.tolist()):
            for column, (degree, n1, n2) in enumerate(block.properties.values.tolist()):
                out[atom, pair, degree, n1, n2] = block.values[row, column]
    return out


def main():
    out = {}
    for name, atoms in crystals():
        for case, (numbers, mode, weighting, average) in DSCRIBE.items():
            rows = np.atleast_2d(of_dscribe(atoms, numbers, mode, weighting, average))
            out[f"{name}/{case}"] = rows[:ROWS]
        alike = Atoms("Si" * len(atoms), cell=atoms.cell, positions=atoms.positions, pbc=True)
        for case, settings in FEATOMIC.items():
            out[f"{name}/featomic_{case}"] = of_featomic(alike, settings)[:ROWS]
        out[f"{name}/featomic_species"] = of_featomic(atoms, FEATOMIC["smooth"])[:ROWS]
    versions = {
        package: importlib.metadata.version(package)
        for package in ("dscribe", "featomic", "ase", "numpy")
    }
    out["versions"] = np.array(json.dumps(versions))
    np.savez_compressed(HERE / "soap.npz", **out)


if __name__ == "__main__":
    main()
