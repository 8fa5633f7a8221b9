"""What is done to a crystal's atoms: some leave, some change places, some become others."""

from collections.abc import Mapping
from dataclasses import replace
from math import gcd

import numpy as np
import numpy.typing as npt

from atomprint.data.sources.contacts import pairs_within
from atomprint.data.sources.derived.tables import Tables, Unsuited, can_take_up, states_of
from atomprint.data.sources.generated.chemistry import ANION_CHARGE
from atomprint.data.sources.generated.descent import bond_length_parameter
from atomprint.ground.elements import covalent_radius, symbols
from atomprint.structures.crystal import Crystal

IntArray = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SIMILAR_SIZE = 0.15
"""Largest relative difference of radii of atoms that change places (Hume-Rothery's 15 %)."""
_NEAR = 1.3
"""Pairs count as bonds up to this multiple of the sum of covalent radii, where sizes change."""


def make_vacancies(
    crystal: Crystal, most: float, tables: Tables, rng: np.random.Generator
) -> Crystal:
    """Take atoms out: at least one, at most this share, never the last one of its element.

    Of a metal, any. Where oxidation states are known, charges stay balanced: either cations and
    anions leave in a neutral set (Schottky), or one or two atoms of one element leave and another
    element has a further common state that takes up their charge (Ti4+ and Ti3+ for oxygen).

    Raises
    ------
    Unsuited
        If nothing can be taken out on these terms.
    """
    states = states_of(crystal)
    n_most = int(most * crystal.n_atoms)
    kinds, counts = np.unique(crystal.numbers, return_counts=True)
    left = dict(zip(kinds.tolist(), counts.tolist(), strict=True))
    if all(state == 0 for state in states.values()):
        removable = crystal.n_atoms - len(kinds)
        if min(n_most, removable) < 1:
            raise Unsuited
        n = int(rng.integers(1, min(n_most, removable) + 1))
        # One atom of every element is kept, so that none disappears.
        kept = [int(rng.choice(np.flatnonzero(crystal.numbers == z))) for z in kinds]
        others = np.setdiff1d(np.arange(crystal.n_atoms), kept)
        return _without(crystal, rng.choice(others, n, replace=False))
    sets: list[dict[int, int]] = []
    for z, q in states.items():
        for n in (1, 2):
            rest = {k: v - (n if k == z else 0) for k, v in left.items()}
            charge = sum(states[k] * v for k, v in rest.items())
            unlike = {k: v for k, v in states.items() if k != z}
            if can_take_up(tables, unlike, rest, charge):
                sets.append({z: n})
        for other, p in states.items():
            if q > 0 > p:
                divisor = gcd(q, -p)
                sets.append({z: -p // divisor, other: q // divisor})
    fitting = [
        one
        for one in sets
        if sum(one.values()) <= n_most and all(left[z] > n for z, n in one.items())
    ]
    if not fitting:
        raise Unsuited
    chosen = fitting[int(rng.integers(len(fitting)))]
    gone = [
        rng.choice(np.flatnonzero(crystal.numbers == z), n, replace=False)
        for z, n in chosen.items()
    ]
    return _without(crystal, np.concatenate(gone))


def _without(crystal: Crystal, gone: IntArray) -> Crystal:
    numbers = np.delete(crystal.numbers, gone)
    return replace(crystal, numbers=numbers, positions=np.delete(crystal.positions, gone, axis=0))


def exchange_sites(
    crystal: Crystal, most: float, tables: Tables, rng: np.random.Generator
) -> Crystal:
    """Let atoms of two elements change places (antisites): one pair, or up to this share of atoms.

    The two are of similar size (`SIMILAR_SIZE`) and, in ionic crystals, charged alike in sign.

    Raises
    ------
    Unsuited
        If no two elements are.
    """
    states = states_of(crystal)
    kinds, counts = np.unique(crystal.numbers, return_counts=True)
    sizes = [_radius(int(z), states[int(z)], tables) for z in kinds]
    pairs = [
        (a, b)
        for a in range(len(kinds))
        for b in range(a)
        if np.sign(states[int(kinds[a])]) == np.sign(states[int(kinds[b])])
        and abs(sizes[a] - sizes[b]) <= SIMILAR_SIZE * max(sizes[a], sizes[b])
        and max(counts[a], counts[b]) > 1
    ]
    if not pairs:
        raise Unsuited
    a, b = pairs[int(rng.integers(len(pairs)))]
    # With all atoms of both exchanged, many crystals would be what they were.
    n_most = max(1, min(int(most * crystal.n_atoms / 2), int(min(counts[a], counts[b])) // 2))
    n = int(rng.integers(1, n_most + 1))
    numbers = crystal.numbers.copy()
    first, second = (
        rng.choice(np.flatnonzero(crystal.numbers == kinds[k]), n, replace=False) for k in (a, b)
    )
    numbers[first], numbers[second] = kinds[b], kinds[a]
    return replace(crystal, numbers=numbers)


def _radius(number: int, state: int, tables: Tables) -> float:
    """Å: of the cation at its usual coordination, or else data-mined."""
    if state > 0:
        return float(tables.chemistry.ionic_radius[tables.ion(number, state)])
    return float(tables.chemistry.radius[tables.element(number)])


def substitute(crystal: Crystal, tables: Tables, rng: np.random.Generator) -> Crystal:
    """Let atoms of one element become another: all of them, or as often only some.

    Ions go by the data-mined probabilities of Hautier et al., Inorg. Chem. 50, 656 (2011), for
    ions of the same charge; atoms of metals by nearness in Pettifor's scale and in size. The cell
    then grows or shrinks as the bonds of those atoms do.

    Raises
    ------
    Unsuited
        If nothing can take the place of what was drawn.
    """
    states = states_of(crystal)
    kinds = np.unique(crystal.numbers)
    old = int(kinds[int(rng.integers(len(kinds)))])
    ionic = states[old] != 0
    new = _new_ion(old, states, tables, rng) if ionic else _new_atom(old, kinds, tables, rng)
    sites = np.flatnonzero(crystal.numbers == old)
    if len(sites) > 1 and rng.random() < 0.5:
        sites = rng.choice(sites, int(rng.integers(1, len(sites))), replace=False)
    numbers = crystal.numbers.copy()
    numbers[sites] = new
    scale = _growth(crystal, numbers, {**states, new: states[old]}, tables)
    return replace(
        crystal, numbers=numbers, positions=crystal.positions * scale, cell=crystal.cell * scale
    )


def _new_ion(old: int, states: Mapping[int, int], tables: Tables, rng: np.random.Generator) -> int:
    chemistry, charge = tables.chemistry, states[old]
    k = tables.ion(old, charge)
    weight = chemistry.conditional[:, k] * (chemistry.species_charge == charge)
    present = [tables.element(z) for z in states]
    weight = weight * ~np.isin(chemistry.species_element, present)
    # Cations stay more electropositive than anions.
    negativity = chemistry.negativity
    others = [negativity[tables.element(z)] for z, q in states.items() if q * charge < 0]
    chi = negativity[chemistry.species_element]
    weight = weight * (chi < min(others) if charge > 0 else chi > max(others))
    if weight.sum() <= 0.0:
        raise Unsuited
    species = chemistry.species[int(rng.choice(len(weight), p=weight / weight.sum()))]
    return chemistry.number[species.symbol]


def _new_atom(old: int, kinds: IntArray, tables: Tables, rng: np.random.Generator) -> int:
    chemistry = tables.chemistry
    native = tables.element(old)
    step = np.abs(chemistry.mendeleev - chemistry.mendeleev[native]) / 9.0
    size = (chemistry.radius / chemistry.radius[native] - 1.0) / 0.14
    weight = np.exp(-step - 0.5 * size**2) * chemistry.share["metal"]
    weight[np.isin(tables.numbers, kinds)] = 0.0
    if symbols[old] not in ANION_CHARGE:
        weight[[chemistry.index[symbol] for symbol in ANION_CHARGE]] = 0.0
    return int(tables.numbers[int(rng.choice(len(weight), p=weight / weight.sum()))])


def _growth(
    crystal: Crystal, numbers: IntArray, states: Mapping[int, int], tables: Tables
) -> float:
    """How much longer bonds become in the mean: by bond valences of ions, else by radii."""
    radii = covalent_radius[crystal.numbers]
    i, j, vectors = pairs_within(crystal.positions, crystal.cell, _NEAR * 2.0 * float(radii.max()))
    distance = np.sqrt((vectors**2).sum(axis=1))
    bonded = distance < _NEAR * (radii[i] + radii[j])
    ionic = any(states.values())
    if ionic:
        charge = np.array([states[int(z)] for z in crystal.numbers])
        bonded &= charge[i] * charge[j] < 0
    if not bonded.any():
        raise Unsuited
    i, j, distance = i[bonded], j[bonded], distance[bonded]
    change = np.zeros(len(distance))
    for sign, kinds in ((-1.0, crystal.numbers), (1.0, numbers)):
        if ionic:
            r, c = _bond_sizes(kinds, charge, tables)
            change += sign * bond_length_parameter(r[i], c[i], r[j], c[j])
        else:
            r = np.array([tables.chemistry.radius[tables.element(int(z))] for z in kinds])
            change += sign * (r[i] + r[j])
    return float(1.0 + change.sum() / distance.sum())


def _bond_sizes(kinds: IntArray, charge: IntArray, tables: Tables) -> tuple[Floats, Floats]:
    """Size (Å) and softness of every ion for bond valences."""
    chemistry = tables.chemistry
    k = np.array([tables.ion(int(z), int(q)) for z, q in zip(kinds, charge, strict=True)])
    element = chemistry.species_element[k]
    size = chemistry.bond_r[element] + chemistry.species_bond_shift[k]
    return size, chemistry.bond_c[element]
