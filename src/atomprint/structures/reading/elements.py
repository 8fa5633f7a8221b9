"""Element symbols as files write them: charges, isotopes and site names included."""

import re
from functools import lru_cache

from ase.data import atomic_numbers, chemical_symbols

from atomprint.structures.reading.result import Refused

# Deuterium is hydrogen: same electrons, same bonds. A lone T is not read as tritium, because in
# zeolite files it stands for "the tetrahedral site".
NUMBERS: dict[str, int] = {
    symbol: number for symbol, number in atomic_numbers.items() if number > 0
} | {"D": 1}

_WITH_CHARGE = re.compile(r"([A-Za-z]{1,3})(?:[0-9]*[+-]?|[+-][0-9]*)(?:[0-9.]*[+-])?$")


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
        number = NUMBERS.get(match[1].capitalize())
        if number is not None:
            return number
    raise Refused("element", f"{text!r} is no element")


@lru_cache(maxsize=65536)
def numbers_of_label(label: str) -> tuple[int, ...]:
    """Atomic numbers that a site label such as "Fe1", "OW2" or "CA" may stand for, likeliest first.

    A second letter in lower case belongs to the symbol ("Co1"); in capitals it may as well be a
    part of the name ("CO1" is cobalt or a carbonate's atom), so both readings are returned.
    """
    letters = re.match(r"[A-Za-z]*", label.strip())
    name = letters[0] if letters else ""
    found: list[int] = []
    if len(name) >= 2 and (number := NUMBERS.get(name[:2].capitalize())):
        found.append(number)
        if len(name) == 2 and name[1].islower():
            return tuple(found)
    if name and (number := NUMBERS.get(name[0].upper())):
        found.append(number)
    if name == "T":
        found.append(1)
    return tuple(found)
