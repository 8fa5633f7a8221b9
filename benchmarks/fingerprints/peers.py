"""The other programs, each in the fastest way that it offers, as functions of a list of ASE Atoms.

Every function here makes a calculator with given settings and returns a function from crystals to
what the program gives: an array, or a list of one per crystal (:func:`stack` makes one of them).
What is made once (lists of species, splines) is not timed.
"""

import importlib.metadata
import sys
import types
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

import structures

Rows = Callable[[list[Atoms]], np.ndarray | list[np.ndarray]]


def version(package: str) -> str:
    """Version of an installed package."""
    return importlib.metadata.version(package)


def dscribe_soap(
    cutoff: float, n_max: int, l_max: int, sigma: float, species: Sequence[str], mode: str = "mu2",
    **more: Any,
) -> Rows:  # fmt: skip
    """Make dscribe's SOAP: one call over all crystals, one process."""
    from dscribe.descriptors import SOAP

    soap = SOAP(
        species=list(species), r_cut=cutoff, n_max=n_max, l_max=l_max, sigma=sigma, periodic=True,
        compression={"mode": mode}, **more,
    )  # fmt: skip
    return lambda frames: soap.create(frames, n_jobs=1)


def dscribe_acsf(cutoff: float, species: Sequence[str], **functions: Any) -> Rows:
    """Make dscribe's symmetry functions; ``g2_params`` and so on as there."""
    from dscribe.descriptors import ACSF

    acsf = ACSF(species=list(species), r_cut=cutoff, periodic=True, **functions)
    return lambda frames: acsf.create(frames, n_jobs=1)


def stack(found: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """One array, a row per atom or per crystal."""
    if isinstance(found, np.ndarray):  # dscribe's crystals of equal size make a cube
        return found.reshape(-1, found.shape[-1])
    return np.concatenate([np.atleast_2d(part) for part in found])


def featomic_soap(
    cutoff: float, n_max: int, l_max: int, sigma: float, width: float, accuracy: float | None = None
) -> Rows:
    """Make featomic's power spectrum for one species, ``(n_atoms, (l_max + 1) n_max²)``."""
    import featomic

    basis: dict[str, Any] = {
        "type": "TensorProduct",
        "max_angular": l_max,
        "radial": {"type": "Gto", "max_radial": n_max - 1},
    }
    if accuracy is not None:
        basis["spline_accuracy"] = accuracy
    calculator = featomic.SoapPowerSpectrum(
        cutoff={"radius": cutoff, "smoothing": {"type": "ShiftedCosine", "width": width}},
        density={"type": "Gaussian", "width": sigma},
        basis=basis,
    )
    return lambda frames: calculator.compute(frames, use_native_system=True).block(0).values


def vesin_list(cutoff: float) -> Rows:
    """Make vesin's neighbour list: pairs, shifts and vectors, crystal by crystal."""
    from vesin import NeighborList

    neighbors = NeighborList(cutoff=cutoff, full_list=True, n_threads=1)

    def run(frames: list[Atoms]) -> list[np.ndarray]:
        vectors = []
        for atoms in frames:
            _, _, _, found = neighbors.compute(
                points=atoms.positions, box=atoms.cell[:], periodic=True, quantities="ijSD"
            )
            vectors.append(found)
        return vectors

    return run


def pyxtal_ead(cutoff: float, l_max: int, shells: Sequence[float], eta: float) -> Rows:
    """Make pyxtal_ff's embedded atom density, without derivatives."""
    parameters = {"L": l_max, "eta": [eta], "Rs": list(shells)}
    ead = _pyxtal_ead_class()(parameters, Rc=cutoff, derivative=False, stress=False)
    return lambda frames: [ead.calculate(atoms)["x"] for atoms in frames]


@cache
def _pyxtal_ead_class() -> Any:
    """Load the one module: the whole package asks for everything it was ever used with."""
    where = Path(str(importlib.metadata.distribution("pyxtal_ff").locate_file("pyxtal_ff")))
    for name, path in (
        ("pyxtal_ff", where),
        ("pyxtal_ff.descriptors", where / "descriptors"),
    ):
        module = types.ModuleType(name)
        module.__path__ = [str(path)]
        sys.modules[name] = module
    return importlib.import_module("pyxtal_ff.descriptors.EAD").EAD


def matscipy_rdf(cutoff: float, n_bins: int) -> Rows:
    """Make an RDF of matscipy's neighbour list and NumPy's histogram, a row per crystal."""
    from matscipy.neighbours import neighbour_list

    edges = np.linspace(0, cutoff, n_bins + 1)
    shells = 4 * np.pi / 3 * np.diff(edges**3)

    def run(frames: list[Atoms]) -> list[np.ndarray]:
        rows = []
        for atoms in frames:
            counts, _ = np.histogram(neighbour_list("d", atoms, cutoff), n_bins, (0, cutoff))
            density = len(atoms) / atoms.get_volume()
            rows.append(counts / (len(atoms) * density * shells))
        return rows

    return run


def matscipy_adf(cutoff: float, n_bins: int) -> Rows:
    """Make matscipy's distribution of angles, a row of counts per crystal (pairs counted once)."""
    from matscipy.angle_distribution import angle_distribution
    from matscipy.neighbours import neighbour_list

    def run(frames: list[Atoms]) -> list[np.ndarray]:
        rows = []
        for atoms in frames:
            i, j, vectors = neighbour_list("ijD", atoms, cutoff)
            rows.append(angle_distribution(i, j, vectors, n_bins, cutoff) / 2)
        return rows

    return run


def species_of(frames: list[Atoms]) -> list[str]:
    """Symbols of all elements there, by atomic number."""
    numbers = sorted({int(z) for atoms in frames for z in atoms.numbers})
    return [chemical_symbols[z] for z in numbers]


ONE_SYMBOL = chemical_symbols[structures.ONE_SPECIES]
