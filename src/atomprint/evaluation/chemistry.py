"""Errors by kind of compound."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from atomprint.ground import elements
from atomprint.ground.settings import Settings

# The first class whose element a formula holds, most electronegative first.
ANIONS = (
    ("fluorides", ("F",)),
    ("oxides", ("O",)),
    ("chlorides, bromides, iodides", ("Cl", "Br", "I")),
    ("nitrides", ("N",)),
    ("sulfides, selenides, tellurides", ("S", "Se", "Te")),
    ("carbides", ("C",)),
    ("phosphides to bismuthides", ("P", "As", "Sb", "Bi")),
    ("hydrides", ("H",)),
)
OTHER = "intermetallics and the rest"


class ChemistryRow(Settings):
    """Mean absolute error of an arm on one kind of compound."""

    arm: str
    n_labels: int
    by: str
    group: str
    n_crystals: int
    value: float


def symbols_in(formula: str) -> set[str]:
    """Elements of a formula such as ``SrTiO3``."""
    return set(re.findall(r"[A-Z][a-z]?", formula))


def anion_class(formula: str) -> str:
    """Class of a compound by its most electronegative element: ``oxides``, ..."""
    found = symbols_in(formula)
    if len(found) == 1:
        return "elements"
    return next((name for name, some in ANIONS if found & set(some)), OTHER)


def heaviest_period(formula: str) -> str:
    """Period of the heaviest element: ``period 5``."""
    heaviest = max(elements.atomic_number[symbol] for symbol in symbols_in(formula))
    return f"period {elements.period[heaviest]:.0f}"


def by_chemistry(units: Sequence[dict[str, Any]], is_curve: bool) -> list[ChemistryRow]:
    """Errors of every arm, by class of anion and by heaviest element.

    On a learning curve numbers of labels are kept apart; elsewhere splits differ by a label or so,
    and the most of them stands for all.
    """
    most = max((unit["n_labels"] for unit in units), default=0)
    errors: dict[tuple[str, int, str, str], dict[str, list[float]]] = defaultdict(dict)
    for unit in units:
        wanted = np.array(unit["wanted"], dtype=float)
        wrong = np.abs(np.array(unit["predicted"], dtype=float) - wanted).mean(1)
        n_labels = unit["n_labels"] if is_curve else most
        for name, formula, error in zip(unit["ids"], unit["formulas"], wrong, strict=True):
            groups = (
                ("anion", anion_class(formula)),
                ("heaviest element", heaviest_period(formula)),
            )
            for by, group in groups:
                of_crystal = errors[unit["arm"], n_labels, by, group]
                of_crystal.setdefault(name, []).append(float(error))
    return [
        ChemistryRow(
            arm=arm,
            n_labels=n_labels,
            by=by,
            group=group,
            n_crystals=len(of_crystal),
            value=float(np.mean([np.mean(some) for some in of_crystal.values()])),
        )
        for (arm, n_labels, by, group), of_crystal in sorted(errors.items())
    ]
