"""The generator's chemistry by atomic number, and the states that balance a crystal."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from atomprint.data.sources.generated.chemistry import Chemistry, chemical_class, load_chemistry
from atomprint.data.sources.generated.prototypes import charges_of
from atomprint.ground.elements import symbols
from atomprint.structures.crystal import Crystal


class Unsuited(Exception):
    """The crystal does not allow what is to be done to it; another one is drawn."""


@dataclass(frozen=True)
class Tables:
    """Where an element or an ion stands in the chemistry.

    Attributes
    ----------
    chemistry
        Tables of the generator.
    numbers
        Atomic number of every element of them.
    elements
        Index of an element by atomic number.
    ions
        Index of an ion by atomic number and charge.
    charges
        Known charges by atomic number, ascending.
    """

    chemistry: Chemistry
    numbers: npt.NDArray[np.int64]
    elements: Mapping[int, int]
    ions: Mapping[tuple[int, int], int]
    charges: Mapping[int, list[int]]

    def element(self, number: int) -> int:
        """Index of an element.

        Raises
        ------
        Unsuited
            If it is not in the tables.
        """
        if number not in self.elements:
            raise Unsuited
        return self.elements[number]

    def ion(self, number: int, charge: int) -> int:
        """Index of an ion.

        Raises
        ------
        Unsuited
            If it is not in the tables.
        """
        if (number, charge) not in self.ions:
            raise Unsuited
        return self.ions[number, charge]


@lru_cache(maxsize=1)
def load_tables() -> Tables:
    """Read the chemistry."""
    chemistry = load_chemistry()
    numbers = np.array([chemistry.number[s] for s in chemistry.symbols])
    ions = {(chemistry.number[s.symbol], s.charge): k for k, s in enumerate(chemistry.species)}
    charges: dict[int, list[int]] = {}
    for number, charge in sorted(ions):
        charges.setdefault(number, []).append(charge)
    return Tables(chemistry, numbers, {int(z): k for k, z in enumerate(numbers)}, ions, charges)


def states_of(crystal: Crystal) -> Mapping[int, int]:
    """Oxidation state by atomic number; 0 for all elements of a metal.

    One state an element, the most frequent ones that balance. What is a metal follows from the
    elements and from their electronegativities, as in the generator.

    Raises
    ------
    Unsuited
        If the crystal is no metal and no states balance (mixed valence, peroxides, ...).
    """
    numbers, counts = np.unique(crystal.numbers, return_counts=True)
    divisor = int(np.gcd.reduce(counts))
    charges = _states(tuple(zip(numbers.tolist(), (counts // divisor).tolist(), strict=True)))
    if charges is None:
        raise Unsuited
    return charges


@lru_cache(maxsize=100_000)
def _states(composition: tuple[tuple[int, int], ...]) -> Mapping[int, int] | None:
    named = {symbols[z]: n for z, n in composition}
    charges = charges_of(named)
    if charges is not None:
        return {z: charges[symbols[z]] for z, _ in composition}
    if len(named) == 1 or chemical_class(set(named)) in ("metal", "pnictide", "hydride"):
        return {z: 0 for z, _ in composition}
    return None


def can_take_up(
    tables: Tables, states: Mapping[int, int], counts: Mapping[int, int], charge: int
) -> bool:
    """Whether one kind of cation can change the state of some of its atoms to undo a charge.

    Parameters
    ----------
    tables
        Which states are known.
    states
        Oxidation state by atomic number.
    counts
        Atoms by atomic number.
    charge
        What all states add up to: above 0 where anions are missing.
    """
    for number, state in states.items():
        if state <= 0:
            continue
        # The next state known on the side that is needed: Ti3+ beside Ti4+, Fe3+ beside Fe2+.
        known = tables.charges.get(number, [])
        others = [q for q in known if (0 < q < state if charge > 0 else q > state)]
        if others:
            step = state - (others[-1] if charge > 0 else others[0])
            if charge % step == 0 and 0 < charge // step <= counts.get(number, 0):
                return True
    return False
