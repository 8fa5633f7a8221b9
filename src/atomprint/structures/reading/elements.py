"""Element symbols as files write them: charges, isotopes and site names included."""

import re
from functools import lru_cache

from ase.data import atomic_numbers, chemical_symbols

from atomprint.structures.reading.result import Refused

# Deuterium is hydrogen: same electrons, same bonds. T is no element here, because in zeolite files
# it stands for "the tetrahedral site" far more often than for tritium.
NUMBERS: dict[str, int] = {
    symbol: number for symbol, number in atomic_numbers.items() if number > 0
} | {"D": 1}

# Site names that stand for an oxygen together with hydrogens that may not be listed.
WATER = {"WAT", "HOH", "OH", "OW", "OHH", "WATER"}

_WITH_CHARGE = re.compile(r"([A-Za-z]{1,2})([0-9]*[+-]?|[+-][0-9]*|[0-9.]*[+-])$")


def symbol_of(number: int) -> str:
    """Symbol of an atomic number."""
    return str(chemical_symbols[number])


@lru_cache(maxsize=4096)
def number_of(text: str) -> int:
    """Atomic number of a symbol, which may carry a charge ("Fe3+", "O-2").

    Raises
    ------
    Refused
        If it is no element: "OH", "Wat", "X".
    """
    match = _WITH_CHARGE.match(text.strip())
    if match:
        symbol, charge = match[1], match[2]
        number = NUMBERS.get(symbol.capitalize())
        # In capitals, "NH4" is ammonium and "CN" a cyanide, not nihonium and copernicium.
        group = len(symbol) == 2 and symbol.isupper()
        if number is not None and not (group and (charge.isdigit() or number > 98)):
            return number
    raise Refused("element", f"{text!r} is no element")


def letters_of(label: str) -> str:
    """Return the letters that a site label begins with."""
    match = re.match(r"[A-Za-z]*", label.strip())
    return match[0] if match else ""


@lru_cache(maxsize=65536)
def numbers_of_label(label: str) -> tuple[int, ...]:
    """Atomic numbers that a site label such as "Fe1", "OW2" or "CA" may stand for, likeliest first.

    A second letter may belong to the symbol or to the name ("CO1" is cobalt or a carbonate's
    atom, "Ho1" holmium or a hydroxide's hydrogen), so both readings are returned.
    """
    name = letters_of(label)
    found: list[int] = []
    if name.upper() in WATER:
        return (8,)
    if len(name) >= 2 and (number := NUMBERS.get(name[:2].capitalize())):
        found.append(number)
    if name and (number := NUMBERS.get(name[0].upper())):
        found.append(number)
    return tuple(found)
