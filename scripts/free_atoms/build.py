"""Make the Gaussians of the GMP fingerprint: free atoms, smooth valence densities, fits.

    python3 scripts/free_atoms/build.py          # with Debian's gpaw; about 10 minutes on one core

Writes src/atomprint/fingerprints/gmp_gaussians.json and tests/golden/free_atoms.npz. Deterministic.
"""

import json
import platform
import sys
from pathlib import Path
from typing import Any

import ase
import gpaw
import numpy as np
import scipy
from ase.data import chemical_symbols
from ase.units import Bohr
from atoms import Array, Atom, solve
from fit import Fit, fit
from scipy.interpolate import CubicSpline

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "src" / "atomprint" / "fingerprints" / "gmp_gaussians.json"
GOLDEN = ROOT / "tests" / "golden" / "free_atoms.npz"
LAST = 102
GOOD = 0.005
"""As many Gaussians as it takes to misplace less than this fraction of the charge, up to MOST."""
MOST = 7
REACH = 13.0
"""Densities are followed to this distance, in Å."""


def resample(atom: Atom, values: Array, n: int) -> tuple[Array, Array, Array]:
    """Distances in Å (denser near 0), weights of their integral, and the density in e/Å³ there."""
    x = np.linspace(0, 1, n)
    r = REACH * x**2
    weights = 2 * REACH * x * (x[1] - x[0])
    known = values > 1e-200
    known[0] = False
    spline = CubicSpline(atom.r[known] * Bohr, np.log(values[known]))
    inside = np.clip(r, atom.r[1] * Bohr, atom.r[known][-1] * Bohr)
    return r, weights, np.exp(spline(inside)) / Bohr**3


def best_fit(atom: Atom, electrons: float) -> Fit:
    """Take the smallest number of Gaussians that is good, or the best there is."""
    r, weights, smooth = resample(atom, atom.smooth, 500)
    fits: list[Fit] = []
    for n in range(3, MOST + 1):
        fits.append(fit(r, weights, smooth, electrons, n))
        # A negative density, be it small, would be no density.
        if fits[-1].misplaced < GOOD and fits[-1].density(np.linspace(0, 20, 4001)).min() >= 0:
            return fits[-1]
    sound = [one for one in fits if one.density(np.linspace(0, 20, 4001)).min() >= 0]
    return min(sound, key=lambda one: one.misplaced)


def rounded(x: float, digits: int = 8) -> float:
    """Rounded to significant digits, so that the file does not hang on the last bits."""
    return float(f"{x:.{digits}g}")


def main() -> None:
    """Compute, fit and write."""
    elements: dict[str, Any] = {}
    golden: dict[str, Any] = {}
    for number in range(1, LAST + 1):
        atom = solve(chemical_symbols[number])
        electrons = sum(shell.electrons for shell in atom.shells)
        found = best_fit(atom, electrons)
        r, weights, smooth = resample(atom, atom.smooth, 500)
        moment = 4 * np.pi * (atom.weights * atom.r**4 * atom.density).sum() / electrons * Bohr**2
        moved = 2 * np.pi * (atom.weights * atom.r**2 * np.abs(atom.smooth - atom.density)).sum()
        elements[atom.symbol] = {
            "number": number,
            "valence": " ".join(shell.name for shell in atom.shells),
            "electrons": electrons,
            "smooth_within": [rounded(shell.radius * Bohr, 4) for shell in atom.shells],
            "moved_by_smoothing": rounded(moved / electrons, 3),
            "misplaced_by_fit": rounded(found.misplaced, 3),
            "mean_square_radius": rounded(moment, 6),
            "total_energy": rounded(atom.energy, 9),
            "gaussians": [
                [rounded(b), rounded(beta)]
                for b, beta in zip(found.heights, found.exponents, strict=True)
            ],
        }
        golden["r"], golden["weights"] = r[::4], weights[::4] * 4
        golden[atom.symbol] = smooth[::4]
        print(atom.symbol, electrons, len(found.heights), f"{found.misplaced:.4f}", flush=True)
    about = {
        "what": "valence densities of free atoms, smooth inside, as sums of Gaussians "
        "B exp(-beta r^2)",
        "units": "B in electrons per cubic angstrom, beta in 1/angstrom^2, radii in angstrom, "
        "mean_square_radius (of the computed valence density) in angstrom^2, energies in hartree",
        "fields": "smooth_within: radii inside which the shells were made smooth; "
        "moved_by_smoothing and misplaced_by_fit: fractions of the charge, "
        "half the integral of the absolute difference",
        "program": f"GPAW {gpaw.__version__} (gpaw.atom.aeatom), ASE {ase.__version__}, "
        f"NumPy {np.__version__}, SciPy {scipy.__version__}, Python {platform.python_version()}",
        "method": "PBE, scalar-relativistic, spherical, spin-paired, the program's configurations",
        "command": "python3 scripts/free_atoms/build.py",
        "licence": "computed by this project; the project's licence",
    }
    lines = [f'  "{symbol}": {json.dumps(entry)}' for symbol, entry in elements.items()]
    head = json.dumps(about, indent=1)
    TABLE.write_text('{\n"about": ' + head + ',\n"elements": {\n' + ",\n".join(lines) + "\n}\n}\n")
    np.savez_compressed(GOLDEN, about=json.dumps(about), **golden)


if __name__ == "__main__":
    sys.exit(main())
