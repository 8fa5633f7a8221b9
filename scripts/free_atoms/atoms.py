"""Free atoms with GPAW, and the smooth valence density of each.

Needs GPAW (only this file of the project does); lengths are in Bohr here, charges in electrons.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gpaw.atom.aeatom import AllElectronAtom
from scipy.optimize import brentq

Array = npt.NDArray[np.float64]
LETTERS = "spdf"


@dataclass(frozen=True)
class Shell:
    """A valence shell: n, l, its electrons, and the radius inside which it was smoothed."""

    n: int
    l: int  # noqa: E741 (the field's own letter)
    electrons: float
    radius: float

    @property
    def name(self) -> str:
        """Such as ``3d6``."""
        return f"{self.n}{LETTERS[self.l]}{self.electrons:g}"


@dataclass(frozen=True)
class Atom:
    """A free atom: its valence density, and the same with smooth insides, per volume."""

    symbol: str
    number: int
    shells: tuple[Shell, ...]
    r: Array
    weights: Array
    density: Array
    smooth: Array
    energy: float


def valence_shells(number: int, occupied: dict[tuple[int, int], float]) -> list[tuple[int, int]]:
    """Choose the shells that count as valence: those of the block that is being filled.

    s and p of the largest n of an occupied s shell; d of n - 1 unless p is occupied (so in groups
    3 to 12, zinc too, but not in gallium); f of n - 2 from the first f element up to the full
    shell (ytterbium, nobelium).
    """
    # Palladium has no 5s electron: the period is that of the element, not of its shells.
    period = int(np.searchsorted([2, 10, 18, 36, 54, 86, 118], number)) + 1
    chosen = [(period, 0), (period, 1)]
    if not occupied.get((period, 1), 0):
        chosen.append((period - 1, 2))
    if 57 <= number <= 70 or 89 <= number <= 102:
        chosen.append((period - 2, 3))
    return [shell for shell in chosen if occupied.get(shell, 0) > 0]


def solve(symbol: str) -> Atom:
    """Solve one atom: PBE, scalar-relativistic, spherical, spin-paired, fractional occupations."""
    atom = AllElectronAtom(symbol, xc="PBE", log=io.StringIO())
    atom.run()
    atom.scalar_relativistic = True
    atom.refine()
    r = np.asarray(atom.rgd.r_g)
    # rgd.integrate(f, -2) / 4π is the plain ∫ f dr on the program's own grid.
    weights = np.array(atom.rgd.dr_g)
    orbitals: dict[tuple[int, int], tuple[float, Any]] = {}
    for channel in atom.channels:
        for k, electrons in enumerate(channel.f_n):
            if electrons > 0:
                key = (k + channel.l + 1, channel.l)
                orbitals[key] = (float(electrons), channel.calculate_density(k))
    occupied = {key: value[0] for key, value in orbitals.items()}
    density, smooth, shells = np.zeros_like(r), np.zeros_like(r), []
    for n, l in valence_shells(atom.Z, occupied):  # noqa: E741
        electrons, one = orbitals[n, l]
        one = np.array(one) / (4 * np.pi * (weights * r**2 * one).sum())
        inside, radius = smooth_inside(r, weights, one)
        density += electrons * one
        smooth += electrons * inside
        shells.append(Shell(n, l, electrons, radius))
    energy = float(atom.ekin + atom.eH + atom.eZ + atom.exc)
    return Atom(symbol, atom.Z, tuple(shells), r, weights, density, smooth, energy)


def smooth_inside(r: Array, weights: Array, density: Array) -> tuple[Array, float]:
    """Replace a shell's density inside its outermost maximum of r²ρ by a smooth one.

    exp(a + b r² + c r⁴) inside, with the value, the slope and the charge within that the shell has
    there: nodes and the cusp go, the charge and everything outside stay.

    Returns
    -------
    density
        The smooth density.
    radius
        Where it begins to differ, in Bohr.
    """
    radial = r**2 * density
    place, much = int(np.argmax(radial)), 0.2 * max(radial)
    for k in range(len(r) - 2, 1, -1):
        if radial[k] > max(radial[k - 1], radial[k + 1], much):
            place = k
            break
    x, charge = r[place], (weights * radial)[: place + 1].sum()
    value = np.log(density[place])
    slope = (np.log(density[place + 1]) - np.log(density[place - 1])) / (
        r[place + 1] - r[place - 1]
    )
    inner = r[: place + 1]

    def shape(c: float) -> Array:
        b = (slope - 4 * c * x**3) / (2 * x)
        a = value - b * x**2 - c * x**4
        return np.asarray(np.exp(a + b * inner**2 + c * inner**4))

    def excess(c: float) -> float:
        return float((weights[: place + 1] * inner**2 * shape(c)).sum() - charge)

    # The charge inside falls and rises with c: take the root nearest to c = 0.
    unit = 1 / x**4
    grid = unit * np.linspace(-30, 30, 1201)
    signs = np.sign([excess(c) for c in grid])
    (changes,) = np.nonzero(signs[1:] != signs[:-1])
    if len(changes) == 0:
        raise RuntimeError(f"no smooth density has {charge:.4f} electrons within {x:.4f} Bohr")
    nearest = min(changes, key=lambda k: abs(grid[k] + grid[k + 1]))
    found = brentq(excess, grid[nearest], grid[nearest + 1], xtol=1e-14, rtol=1e-14)
    out = density.copy()
    out[: place + 1] = shape(found)
    return out, float(x)
