"""What a chemical formula alone tells: statistics of its elements, in the manner of Magpie.

Ward, Agrawal, Choudhary, Wolverton, npj Comput. Mater. 2, 16028 (2016), with the numbers of
:mod:`atomprint.ground.elements`: fewer properties than the original, all of them known for every
element.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from atomprint.ground import elements
from atomprint.structures.crystal import Crystal

Array = npt.NDArray[np.float64]

NORMS = (0, 2, 3, 5, 7, 10)
"""Powers p of the stoichiometric norms (sum of x_i^p)^(1/p); p = 0 counts the elements."""

STATISTICS = ("mean", "deviation", "minimum", "maximum", "range", "mode")
"""Of each property; the deviation is the mean absolute one, weighted by the fractions."""

_SUBSHELLS = "spdf"
# Madelung's rule: the order in which subshells are filled.
_FILLING = [
    *("1s", "2s", "2p", "3s", "3p", "4s", "3d", "4p", "5s", "4d", "5p", "6s", "4f", "5d", "6p"),
    *("7s", "5f", "6d", "7p"),
]
_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)


def valence_electrons() -> Array:
    """Electrons beyond the noble gas before, by kind of subshell: ``(119, 4)`` for s, p, d, f.

    By Madelung's rule, without its exceptions (Cr is s2 d4 here, not s1 d5); filled d and f
    subshells count (Ga is s2 d10 p1), a noble gas shows its own full shell.
    """
    table = np.zeros((elements.MAX_Z + 1, 4))
    for z in range(1, elements.MAX_Z + 1):
        core = max(n for n in _NOBLE if n < z)
        filled = 0
        for subshell in _FILLING:
            kind = _SUBSHELLS.index(subshell[1])
            held = min(4 * kind + 2, z - filled)
            if held <= 0:
                break
            if filled >= core:
                table[z, kind] += held
            filled += 4 * kind + 2
    return table


def _table() -> tuple[tuple[str, ...], Array]:
    """Properties by name, and ``(119, n_properties)`` of them."""
    orbital = valence_electrons()
    capacity = np.array([2.0, 6.0, 10.0, 14.0])
    unfilled = np.where(orbital > 0, capacity - orbital, 0.0)
    columns = {
        "number": np.arange(elements.MAX_Z + 1, dtype=np.float64),
        "mass": elements.mass,
        "group": elements.group,
        "period": elements.period,
        "covalent_radius": elements.covalent_radius,
        "electronegativity": elements.electronegativity,
        "valence": elements.valence,
        **{f"{k}_electrons": orbital[:, i] for i, k in enumerate(_SUBSHELLS)},
        "electrons": orbital.sum(1),
        **{f"{k}_unfilled": unfilled[:, i] for i, k in enumerate(_SUBSHELLS)},
        "unfilled": unfilled.sum(1),
    }
    return tuple(columns), np.stack(list(columns.values()), axis=1)


PROPERTIES, _VALUES = _table()


def names() -> list[str]:
    """Names of the columns of :func:`composition_features`."""
    return [
        *(f"norm.{p}" for p in NORMS),
        *(f"{p}.{s}" for p in PROPERTIES for s in STATISTICS),
        *(f"fraction_of_{k}_electrons" for k in _SUBSHELLS),
        "ionic_character.maximum",
        "ionic_character.mean",
    ]


def composition_features(crystals: Sequence[Crystal]) -> Array:
    """Element statistics of each crystal, ``(n_crystals, n_columns)``; geometry plays no part."""
    rows = [_row(crystal.composition) for crystal in crystals]
    return np.stack(rows) if rows else np.zeros((0, len(names())))


def _row(composition: dict[int, int]) -> Array:
    numbers = np.array(list(composition))
    counts = np.array(list(composition.values()), dtype=np.float64)
    fractions = counts / counts.sum()
    values = _VALUES[numbers]
    mean = fractions @ values
    deviation = fractions @ np.abs(values - mean)
    low, high = values.min(0), values.max(0)
    # Of several elements that are equally frequent the smallest value, as Magpie has it.
    mode = values[counts == counts.max()].min(0)
    statistics = np.stack([mean, deviation, low, high, high - low, mode], axis=1)
    norms = [
        float(len(numbers)) if p == 0 else float((fractions**p).sum() ** (1 / p)) for p in NORMS
    ]
    orbital = mean[[PROPERTIES.index(f"{k}_electrons") for k in _SUBSHELLS]]
    # Pauling's ionic character of a pair, 1 - exp(-(chi_i - chi_j)^2 / 4), as in Ward et al.
    chi = elements.electronegativity[numbers]
    ionic = 1 - np.exp(-0.25 * (chi[:, None] - chi[None, :]) ** 2)
    return np.concatenate(
        [norms, statistics.ravel(), orbital / orbital.sum(), [ionic.max()],
         [fractions @ ionic @ fractions]]
    )  # fmt: skip
