"""The formula that a file declares, and whether its sites give it."""

import re

from atomprint.structures.reading.elements import NUMBERS, symbol_of
from atomprint.structures.reading.result import Refused

FORMULA_TOLERANCE = 0.02  # relative
_FORMULA_PART = re.compile(
    r"[\s,]*(?:(?P<open>[(\[])|(?P<close>[)\]])|(?P<symbol>[A-Z][a-z]?))"
    r"(?P<amount>(?<![(\[])\s*(?:\d+\.?\d*|\.\d+))?[\s,]*"
)


def parse_formula(text: str) -> dict[int, float]:
    """Atoms by atomic number in ``Al2 Ca H2 O10`` or ``(O H2)4``; empty if it cannot be read."""
    groups: list[dict[int, float]] = [{}]
    position = 0
    while position < len(text):
        match = _FORMULA_PART.match(text, position)
        if match is None:
            return {}
        position = match.end()
        if match["open"]:
            groups.append({})
            continue
        amount = float(match["amount"] or 1)
        if match["close"]:
            if len(groups) < 2:
                return {}
            inner = groups.pop()
        else:
            number = 1 if match["symbol"] == "T" else NUMBERS.get(match["symbol"])
            if number is None:
                return {}
            inner = {number: 1.0}
        for number, count in inner.items():
            groups[-1][number] = groups[-1].get(number, 0.0) + amount * count
    if len(groups) > 1 or len(groups[0]) > 118:
        return {}
    return {number: count for number, count in groups[0].items() if 0 < count < 1e9}


def check_formula(sites: dict[int, float], formula: dict[int, float], units: float) -> bool:
    """Refuse sites that cannot be the declared compound, above all without its hydrogens.

    Returns
    -------
    bool
        Whether the formula confirms the sites: several elements in the right ratio, or the right
        number of formula units.
    """
    if not formula:
        return False
    for number, count in formula.items():
        if number not in sites:
            raise Refused(
                "formula",
                f"the formula says {symbol_of(number)}{count:g}, the sites give none",
            )
    for number in sites:
        if number not in formula:
            raise Refused(
                "formula", f"there are {symbol_of(number)} sites, but none in the formula"
            )
    scale = sum(sites.values()) / sum(formula.values())
    for number, count in formula.items():
        expected = scale * count
        if abs(expected - sites[number]) > FORMULA_TOLERANCE * expected:
            raise Refused(
                "formula",
                f"the sites give {_formula(sites)}, the formula says {_formula(formula)}",
            )
    if not units > 0:
        return len(formula) > 1
    # Some programs write the content of the whole cell as the sum, and Z beside it.
    whole = all(count % units == 0 for count in formula.values()) and abs(scale - 1) < 1e-6
    if abs(scale - units) > FORMULA_TOLERANCE * units and not whole:
        raise Refused(
            "formula",
            f"the sites give {scale:.3g} formula units {_formula(formula)} in the cell, the file "
            f"says {units:g} (_cell_formula_units_Z)",
        )
    return True


def _formula(counts: dict[int, float]) -> str:
    return " ".join(f"{symbol_of(number)}{count:g}" for number, count in sorted(counts.items()))
