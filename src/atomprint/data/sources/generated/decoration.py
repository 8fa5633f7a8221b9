"""Give structure types new elements: four ways to draft a crystal, and one way to invent it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import gcd

import numpy as np
from numpy.typing import NDArray

from .chemistry import Chemistry, chemical_class, softness, usual_coordination
from .descent import BOND_VALENCE_B, bond_length_parameter
from .draws import drawn
from .prototypes import Prototype
from .relaxation import (
    Draft,
    Floats,
    Ints,
    periodic_pairs,
)
from .search import random_crystal

CONTRACTION = 1.037
"""Compounds of metals are smaller than the mean of their elements and of lattice scaling by this
factor in volume (median of both estimates against the Materials Project; one number)."""

_CLASS_ANIONS = {
    "oxide": ("O",), "halide": ("F", "Cl", "Br", "I"), "chalcogenide": ("S", "Se", "Te"),
    "nitride": ("N",), "pnictide": ("P", "As"), "hydride": ("H",),
}  # fmt: skip

# Types with these elements that no oxidation states balance are molecules or peroxides.
_NO_METAL = {"O", "F", "Cl", "Br", "I", "H"}

# Most ternary intermetallics hold a large electropositive metal.
_LARGE = {
    "Na", "K", "Ca", "Sr", "Ba", "Sc", "Y", "La", "Ce", "Pr", "Nd", "Sm", "Gd", "Ho", "Er", "Lu",
    "Th", "U", "Pu", "Hf", "Zr",
}  # fmt: skip

# Number of elements of a crystal found by search: the prototypes supply the simpler ones.
_N_KINDS = {
    "oxide": {3: 0.52, 4: 0.3, 5: 0.18}, "halide": {3: 0.85, 4: 0.15},
    "chalcogenide": {3: 0.8, 4: 0.2}, "nitride": {3: 0.8, 4: 0.2}, "pnictide": {3: 0.8, 4: 0.2},
    "hydride": {3: 0.8, 4: 0.2},
}  # fmt: skip

# Formula units of a cation beside the others, and their shares, summed up.
_CATIONS = np.array([1, 2, 3, 4, 6])
_CATIONS_UP_TO = np.cumsum([0.42, 0.32, 0.1, 0.12, 0.04])


@dataclass(frozen=True)
class Candidate:
    """A decorated, not yet relaxed crystal."""

    draft: Draft
    element: Ints  # index into Chemistry.symbols, one an atom
    prototype: str
    route: str
    group: int  # candidates of one group compete; the best is kept


class _Pool:
    """Prototypes to draw from, by how common they are."""

    def __init__(self, prototypes: list[Prototype]) -> None:
        self.prototypes = prototypes
        self._weight = np.array(
            [
                p.popularity * (1.0 if p.ionic or not _LARGE & set(p.element) else 2.5)
                for p in prototypes
            ]
        )

    def draw(self, rng: np.random.Generator) -> Prototype:
        """One of them."""
        return self.prototypes[drawn(rng, self._weight)]


class Decorator:
    """Draws candidates; knows what the corpus already holds, to steer towards the targets."""

    def __init__(
        self,
        chemistry: Chemistry,
        prototypes: tuple[Prototype, ...],
        rng: np.random.Generator,
        max_atoms: int,
        n_trials: int,
    ) -> None:
        self.chemistry = chemistry
        self.rng = rng
        self.max_atoms = max_atoms
        self.n_trials = n_trials
        self.element_count = {k: np.zeros(len(chemistry.symbols)) for k in ("metal", "ionic")}
        self.class_count: Counter[str] = Counter()
        ionic = [p for p in prototypes if p.ionic]
        metals = [
            p
            for p in prototypes
            if not p.ionic and all(e in chemistry.index and e not in _NO_METAL for e in p.element)
        ]
        self._ions = _Pool(ionic)
        self._ordered_ions = _Pool([p for p in ionic if 2 * p.n_atoms <= min(max_atoms, 32)])
        self._metals = {
            n: _Pool([p for p in metals if len(set(p.element)) == n]) for n in range(1, 5)
        }
        self._species = {(s.symbol, s.charge): k for k, s in enumerate(chemistry.species)}
        self._replacing: dict[tuple[str, int], Floats] = {}
        self._next_group = 0
        self._class_anions: dict[str, NDArray[np.bool_]] = {}

    def keep(self, symbols: set[str]) -> None:
        """Tell the decorator that a crystal of these elements entered the corpus."""
        kind = chemical_class(symbols)
        for symbol in symbols:
            bond = "metal" if kind == "metal" else "ionic"
            self.element_count[bond][self.chemistry.index[symbol]] += 1
        self.class_count[kind] += 1

    def appetite(self, bond: str) -> Floats:
        """How much each element is wanted: its target share over its share so far."""
        share = self.chemistry.share[bond]
        n_metal = self.class_count["metal"]
        n = n_metal if bond == "metal" else self.class_count.total() - n_metal
        return np.clip(share * (n + 100) / (self.element_count[bond] + 100 * share), 0.03, 5.0)

    def draw(self, route: str) -> list[Candidate]:
        """Candidates of one route; an empty list when the draw came to nothing."""
        self._next_group += 1
        if route == "search":
            return self._search()
        if route == "intermetallic":
            return self._intermetallic()
        return self._ionic(route)

    # -- prototypes ---------------------------------------------------------------------------

    def _groups(self, prototype: Prototype, split: float) -> Ints:
        """Kind of every orbit: orbits of one element share a kind, now and then they part."""
        labels: dict[tuple[str, int, int], int] = {}
        kinds = []
        for k, key in enumerate(zip(prototype.element, prototype.charge, strict=True)):
            own = k if key[1] >= 0 and self.rng.random() < split else -1
            kinds.append(labels.setdefault((*key, own), len(labels)))
        return np.array(kinds)

    def _supercell(self, prototype: Prototype) -> tuple[Floats, Floats, Ints]:
        """A supercell of two to four primitive cells, and the orbit of every atom."""
        n_max = min(4, self.max_atoms // prototype.n_atoms, 48 // prototype.n_atoms)
        n = int(self.rng.integers(2, n_max + 1)) if n_max >= 2 else 1
        shapes = [
            (a, b, n // (a * b))
            for a in range(1, n + 1)
            for b in range(1, n + 1)
            if n % (a * b) == 0
        ]
        a, b, c = shapes[int(self.rng.integers(len(shapes)))]
        matrix = np.array(
            [
                [a, 0, 0],
                [int(self.rng.integers(a)), b, 0],
                [int(self.rng.integers(a)), int(self.rng.integers(b)), c],
            ]
        )
        # lattice points of the primitive cell inside the supercell
        grid = np.stack(np.meshgrid(*[np.arange(-4, 9)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        inside = grid @ np.linalg.inv(matrix)
        points = grid[np.all((inside > -1e-6) & (inside < 1 - 1e-6), axis=1)]
        frac = (points[:, None, :] + prototype.frac[None, :, :]).reshape(-1, 3)
        return (
            matrix @ prototype.cell,
            frac @ np.linalg.inv(matrix) % 1.0,
            np.tile(prototype.orbit, len(points)),
        )

    # -- ions ---------------------------------------------------------------------------------

    def _ionic(self, route: str) -> list[Candidate]:
        chem, rng = self.chemistry, self.rng
        pool = self._ordered_ions if route == "ordered" else self._ions
        if not pool.prototypes:
            return []
        prototype = pool.draw(rng)
        kinds = self._groups(prototype, 0.15 if route != "ordered" else 0.05)
        cell, frac, orbit = prototype.cell, prototype.frac, prototype.orbit
        if route == "ordered":
            cell, frac, orbit = self._supercell(prototype)
        kind = kinds[orbit]
        n_kinds = int(kinds.max()) + 1
        native = [
            (prototype.element[int(np.flatnonzero(kinds == k)[0])],
             prototype.charge[int(np.flatnonzero(kinds == k)[0])])
            for k in range(n_kinds)
        ]  # fmt: skip
        if route == "ordered":
            # one sublattice of at least two atoms is shared by two species
            choices = [
                k for k in range(n_kinds)
                if (kind == k).sum() >= 2 and (native[k][1] > 0 or rng.random() < 0.15)
            ]  # fmt: skip
            if not choices:
                return []
            k = choices[int(rng.integers(len(choices)))]
            sites = rng.permutation(np.flatnonzero(kind == k))
            kind = kind.copy()
            kind[sites[: max(1, round(len(sites) * float(rng.choice([0.25, 0.5]))))]] = n_kinds
            native.append(native[k])
            n_kinds += 1
        multiplicity = np.bincount(kind, minlength=n_kinds).astype(float)
        species = self._charge_balanced(native, multiplicity, route)
        if species is None:
            return []
        element = chem.species_element[species][kind]
        name = prototype.name + ("+ordered" if route == "ordered" else "")
        draft = self._ionic_draft(cell, frac, species, kind)
        return [Candidate(draft, element, name, route, self._next_group)]

    def _charge_balanced(
        self, native: list[tuple[str, int]], multiplicity: Floats, route: str
    ) -> Ints | None:
        chem, rng = self.chemistry, self.rng
        want = self.appetite("ionic")[chem.species_element]
        if any(n not in self._species for n in native):
            return None
        old = [self._species[n] for n in native]
        weights = [self._in_place_of(k, route) * want for k in old]
        order = rng.permutation(len(old))
        cations = [k for k in order if chem.species_charge[old[k]] > 0]
        last = int(cations[0])
        for _ in range(12):
            chosen = np.full(len(old), -1)
            for k in (*[int(k) for k in order if k != last], last):
                weight = weights[k].copy()
                taken = np.zeros(len(chem.symbols), np.bool_)
                taken[chem.species_element[chosen[chosen >= 0]]] = True
                weight[taken[chem.species_element]] = 0.0
                if k == last:
                    rest = sum(
                        multiplicity[i] * chem.species_charge[chosen[i]]
                        for i in range(len(old))
                        if i != last
                    )
                    weight[np.abs(chem.species_charge + rest / multiplicity[last]) > 1e-6] = 0.0
                if weight.sum() <= 0.0:
                    break
                chosen[k] = drawn(rng, weight)
            if (chosen >= 0).all() and self._plausible_ions(chosen):
                return chosen
        return None

    def _in_place_of(self, k: int, route: str) -> Floats:
        """How well each species replaces another, whatever the corpus holds; worked out once."""
        known = (route if route == "substitution" else "", k)
        if known in self._replacing:
            return self._replacing[known]
        chem = self.chemistry
        cation = chem.species_charge[k] > 0
        same_sign = (chem.species_charge > 0) == cation
        if route == "substitution":
            weight = chem.conditional[:, k].copy()
            # the statistics keep an ion in place most often; a corpus wants variety
            weight[k] *= 0.5
        elif cation:
            size = (chem.ionic_radius - chem.ionic_radius[k]) / 0.13
            ligands = np.log(chem.coordination / chem.coordination[k]) / 0.22
            share = chem.share["ionic"][chem.species_element]
            weight = chem.frequency * share * np.exp(-0.5 * (size**2 + ligands**2))
        else:
            near = (chem.species_charge == chem.species_charge[k]) + 0.1
            pull = np.abs(
                chem.negativity[chem.species_element] - chem.negativity[chem.species_element[k]]
            )
            weight = near * np.exp(-pull / 0.6) * chem.share["ionic"][chem.species_element]
        self._replacing[known] = weight * same_sign
        return self._replacing[known]

    def _plausible_ions(self, species: Ints) -> bool:
        """Cations are more electropositive than anions; protons only beside O, N and F."""
        chem = self.chemistry
        chi = chem.negativity[chem.species_element[species]]
        charge = chem.species_charge[species]
        lowest_anion = chi[charge < 0].min()
        if chi[charge > 0].max() > lowest_anion - 0.2:
            return False
        symbols = {chem.species[s].symbol for s in species if chem.species_charge[s] > 0}
        return not ("H" in symbols and lowest_anion < 3.0)

    def _anions(self, species: Ints) -> tuple[str, ...]:
        chem = self.chemistry
        return tuple(chem.species[s].symbol for s in species if chem.species[s].charge < 0)

    def _strength(self, species: Ints) -> Floats:
        """Usual bond valence of each cation beside these anions."""
        chem = self.chemistry
        anions = self._anions(species)
        return np.array(
            [
                max(sp.charge, 0) / usual_coordination(sp.symbol, sp.charge, anions)
                for sp in (chem.species[s] for s in species)
            ]
        )

    def _ionic_draft(self, cell: Floats, frac: Floats, species: Ints, kind: Ints) -> Draft:
        """Scale the cell so that the bond valences of all cations add up to their charges."""
        chem = self.chemistry
        element = chem.species_element[species][kind]
        charge = chem.species_charge[species][kind]
        # parameters measured with oxygen carry over to soft anions by half
        share = 1.0 - 0.5 * softness(self._anions(species))
        r = chem.bond_r[element] + share * chem.species_bond_shift[species][kind]
        c = chem.bond_c[element]
        i, j, _, distance = periodic_pairs(cell, frac, 5.5)
        bonded = charge[i] * charge[j] < 0
        r0 = bond_length_parameter(r[i], c[i], r[j], c[j])[bonded]
        d = distance[bonded]
        total = float(charge[charge > 0].sum())
        low, high = 0.5, 2.0
        for _ in range(25):
            scale = 0.5 * (low + high)
            valence = float(np.exp((r0 - scale * d) / BOND_VALENCE_B).sum())
            low, high = (scale, high) if valence > total else (low, scale)
        strength = self._strength(species)[kind]
        return Draft(cell * low, frac, charge, self._core(element, charge), r, c, strength)

    def _core(self, element: Ints, charge: Floats) -> Floats:
        """Radii whose sum is the shortest distance between like ions, Å."""
        chem = self.chemistry
        return np.where(charge > 0, 0.75, 0.82) * chem.radius[element] + 0.35

    # -- metals -------------------------------------------------------------------------------

    def _intermetallic(self) -> list[Candidate]:
        chem, rng = self.chemistry, self.rng
        n_kinds = int(rng.choice([1, 2, 3, 4], p=[0.02, 0.4, 0.56, 0.02]))
        pool = self._metals[n_kinds]
        if not pool.prototypes:
            return []
        prototype = pool.draw(rng)
        kinds = self._groups(prototype, 0.12 if len(set(prototype.element)) > 1 else 0.0)
        want = self.appetite("metal") ** 1.5 * chem.share["metal"] ** 0.5
        chosen: list[int] = []
        for k in range(int(kinds.max()) + 1):
            native = chem.index[prototype.element[int(np.flatnonzero(kinds == k)[0])]]
            step = np.abs(chem.mendeleev - chem.mendeleev[native]) / 9.0
            # the scale puts lithium beside sodium only; in metals it stands in for magnesium too
            lithium, magnesium = chem.index["Li"], chem.index["Mg"]
            step[lithium] = min(step[lithium], step[magnesium])
            size = (chem.radius / chem.radius[native] - 1.0) / 0.14
            weight = want * np.exp(-step - 0.5 * size**2)
            chi = chem.negativity
            weight[(chi > 2.56) & (np.arange(len(chi)) != native)] = 0.0
            weight[chosen] = 0.0
            weight[chem.index["H"]] = 0.0
            if weight.sum() <= 0.0:
                return []
            chosen.append(drawn(rng, weight))
        element = np.array(chosen)[kinds[prototype.orbit]]
        draft = self.metal_draft(prototype.cell, prototype.frac, element)
        return [Candidate(draft, element, prototype.name, "intermetallic", self._next_group)]

    def metal_draft(self, cell: Floats, frac: Floats, element: Ints) -> Draft:
        """Scale to the mean (geometric) of additive volumes and data-mined lattice scaling."""
        chem = self.chemistry
        additive = float(chem.volume[element].sum())
        spread = float(np.std(chem.negativity[element]))
        radius = chem.radius[element] + chem.radius_slope[element] * spread
        cell = cell * (additive / abs(np.linalg.det(cell))) ** (1.0 / 3.0)
        i, j, _, distance = periodic_pairs(cell, frac, 5.0)
        if not len(distance):
            # Caesium, by itself, has its nearest neighbors beyond.
            i, j, _, distance = periodic_pairs(cell, frac, 8.0)
        ratio = np.sort(distance / (radius[i] + radius[j]))[: max(len(frac), 1)]
        scaled = additive / float(ratio.mean()) ** 3
        volume = np.sqrt(additive * scaled) / CONTRACTION
        cell = cell * (volume / additive) ** (1.0 / 3.0)
        zero = np.zeros(len(frac))
        return Draft(cell, frac, zero, 0.93 * radius, zero, zero, zero)

    # -- search -------------------------------------------------------------------------------

    def _search(self) -> list[Candidate]:
        chem, rng = self.chemistry, self.rng
        names = list(_CLASS_ANIONS)
        wanted = np.array([CLASS_WEIGHT[n] for n in names])
        kind = names[drawn(rng, wanted)]
        composition = self._composition(kind)
        if composition is None:
            return []
        species, counts = composition
        kinds = np.repeat(np.arange(len(species)), counts)
        element = chem.species_element[species][kinds]
        charge = chem.species_charge[species][kinds]
        # anions pack closely, cations fill what is left: a start, the model finds the rest
        bare = chem.radius[element]
        radius = np.where(charge < 0, 0.85 * bare + 0.75, 0.9 * bare)
        volume = float((4.0 / 3.0 * np.pi * radius**3).sum()) / 0.9
        found = []
        for _ in range(self.n_trials):
            thrown = random_crystal([int(n) for n in counts], volume, rng)
            if thrown is None:
                continue
            cell, frac, group = thrown
            draft = replace(self._ionic_draft(cell, frac, species, kinds), cell=cell)
            found.append(Candidate(draft, element, f"search:{group}", "search", self._next_group))
        return found

    def _are_anions(self, kind: str) -> NDArray[np.bool_]:
        """Which species are anions of a class."""
        if kind not in self._class_anions:
            species, symbols = self.chemistry.species, _CLASS_ANIONS[kind]
            found = [s.symbol in symbols and s.charge < 0 for s in species]
            self._class_anions[kind] = np.array(found)
        return self._class_anions[kind]

    def _composition(self, kind: str) -> tuple[Ints, Ints] | None:
        """Charge-balanced species and their numbers in the cell."""
        chem, rng = self.chemistry, self.rng
        table = _N_KINDS[kind]
        n_kinds = int(rng.choice(list(table), p=list(table.values())))
        want = (self.appetite("ionic") * chem.share["ionic"])[chem.species_element]
        weight = want * self._are_anions(kind)
        anions = [drawn(rng, weight)]
        if n_kinds > 3 and rng.random() < 0.12:
            other = want * (chem.species_charge < 0) * ~np.isin(np.arange(len(want)), anions)
            anions.append(drawn(rng, other))
        cations: list[int] = []
        while len(cations) + len(anions) < n_kinds:
            weight = want * chem.frequency * (chem.species_charge > 0)
            chi = chem.negativity[chem.species_element]
            weight = weight * (chi < chi[anions].min() - 0.2)
            for element in chem.species_element[cations + anions]:
                weight[chem.species_element == element] = 0.0
            if kind != "oxide":
                weight[chem.species_charge > 4] *= 0.2
            if kind == "halide":
                weight = weight * np.exp(-0.5 * np.maximum(chem.species_charge - 2.0, 0.0))
            cations.append(drawn(rng, weight))
        species = np.array(cations + anions)
        if not self._plausible_ions(species):
            return None
        q = chem.species_charge[species]
        n = len(cations)
        balanced: list[Ints] = []
        for _ in range(60):
            counts = np.ones(len(species), dtype=int)
            counts[:n] = _CATIONS[np.searchsorted(_CATIONS_UP_TO, rng.random(n), side="right")]
            if len(anions) == 2:
                counts[n + 1] = 1 + int(rng.integers(3))
            rest = float((q * counts).sum() - q[n] * counts[n])
            x = -rest / q[n]
            if x < 1 or abs(x - round(x)) > 1e-6:
                continue
            counts[n] = round(x)
            divisor = 0
            for value in counts:
                divisor = gcd(divisor, int(value))
            counts = counts // divisor
            total = int(counts.sum())
            ratio = counts[n:].sum() / counts[:n].sum()
            if total > min(28, self.max_atoms) or ratio > 4.0 or ratio < 0.4:
                continue
            balanced.append(counts)
        if not balanced:
            return None
        counts = balanced[int(rng.integers(len(balanced)))]
        total = int(counts.sum())
        multiples = [z for z in (1, 2, 4) if 6 <= z * total <= min(34, self.max_atoms)] or [1]
        # known compounds have several formula units in a cell more often than one
        weight = np.sqrt(multiples)
        return species, counts * int(rng.choice(multiples, p=weight / weight.sum()))


CLASS_WEIGHT = {
    "oxide": 0.66, "halide": 0.14, "chalcogenide": 0.13, "nitride": 0.035, "pnictide": 0.02,
    "hydride": 0.015,
}  # fmt: skip
"""Share of the classes among the crystals found by search."""
