"""What can take the place of what: species, substitution probabilities, sizes, target statistics.

Everything here is published aggregate data; no crystal of any database enters.

- Substitution probabilities between ions: Hautier et al., Inorg. Chem. 50, 656 (2011), mined from
  the ICSD, as shipped with pymatgen (MIT).
- How often an element takes an oxidation state: counts in the ICSD (2024), shipped with SMACT
  (MIT).
- Bond-valence sizes: O'Keeffe and Brese, J. Am. Chem. Soc. 113, 3226 (1991); atomic sizes: the
  data-mined lattice scaling of Chu et al., Comput. Mater. Sci. 146, 184 (2018); both by way of
  pymatgen. Mendeleev numbers: Pettifor, Solid State Commun. 51, 31 (1984), by way of pymatgen.
- `METAL_SHARE`, `IONIC_SHARE` and `CLASS_SHARE` are design targets: how often an element occurs,
  and how the crystals divide into chemical classes, in a sample of the Materials Project
  (CC BY 4.0).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from .descent import BOND_VALENCE_B, bond_length_parameter
from .relaxation import Floats

# Percent of crystals that hold the element: Materials Project, cells of at most 40 atoms, rounded;
# first the metals as `chemical_class` sees them, then everything else.
_METAL_SHARE = """
Si:11 Ge:8.6 Ni:8 Al:8 Sn:7 In:6.9 Mg:6.4 Rh:6.3 Co:6.3 Pd:6.2 B:6.1 Sb:5.8 Au:5.6 Ga:5.5 Zn:5.5
Li:5.5 C:5.3 Pt:5.1 Cu:5 Ru:4.5 Ir:4.3 Y:4.1 Sm:4.1 Fe:3.9 Sc:3.8 Nd:3.8 Ho:3.8 Pr:3.7 Ce:3.6
Yb:3.6 Ti:3.6 Mn:3.6 La:3.6 Ag:3.6 Er:3.5 Dy:3.5 Ca:3.3 Zr:3.3 Tb:3.1 Cd:3.1 Hf:3 Tm:3 Hg:3 Tl:2.9
Bi:2.8 Sr:2.8 Lu:2.7 Ba:2.5 Pb:2.5 Nb:2 U:2 Os:1.9 Na:1.9 Th:1.9 V:1.7 Ta:1.7 Cr:1.7 K:1.5 Re:1.5
Rb:1.4 Mo:1.4 Be:1.3 Tc:1.2 Pm:1.2 W:1.1 Eu:1 Gd:.57 Pa:.55 Ac:.55 Np:.49 Cs:.37 Pu:.36
"""
_IONIC_SHARE = """
O:58 Li:16 P:13 F:12 S:11 Cu:8.5 Na:7.3 Ba:7 K:7 H:6.9 N:6.8 Se:6.3 Cl:6.1 Mn:5.6 Fe:5.5 Te:5.5
Ti:5.1 Sr:4.8 As:4.6 Si:4.6 V:4.5 Rb:4.4 Ca:4.2 Cs:3.8 Bi:3.8 I:3.7 Sb:3.7 La:3.7 Sn:3.6 B:3.6
Nb:3.5 Cr:3.2 Co:3.2 Ni:3.1 Ag:3.1 Br:3.1 C:3 Al:3 Ge:2.7 Zn:2.7 Tl:2.5 Mg:2.4 Pb:2.3 Y:2.3 Zr:2.2
Ta:2.2 Ga:2.1 In:2.1 Cd:2 Nd:1.8 U:1.7 Sm:1.7 Hg:1.5 Pr:1.5 Pd:1.5 Ce:1.4 W:1.3 Hf:1.3 Ho:1.3
Sc:1.3 Mo:1.2 Ru:1.2 Dy:1.2 Er:1.2 Au:1.1 Tb:1.1 Pt:1 Gd:1 Re:.97 Yb:.89 Tm:.89 Lu:.86 Ir:.81
Be:.8 Rh:.74 Th:.68 Eu:.68 Os:.52 Np:.3 Tc:.23 Pu:.2 Pa:.14 Ac:.11 Pm:.05
"""


def _table(text: str, unit: float = 1.0) -> dict[str, float]:
    """Read ``name:value`` words."""
    return {t.split(":")[0]: float(t.split(":")[1]) * unit for t in text.split()}


METAL_SHARE = _table(_METAL_SHARE, 0.01)
IONIC_SHARE = _table(_IONIC_SHARE, 0.01)

CLASS_SHARE: dict[str, float] = {
    "oxide": 0.396, "metal": 0.315, "halide": 0.109, "chalcogenide": 0.105, "pnictide": 0.039,
    "nitride": 0.024, "hydride": 0.011,
}  # fmt: skip
"""Share of crystals by class: the first of these anions that the crystal holds names its class;
``metal`` is everything without O, F, Cl, Br, I, S, Se, Te, N, P, As and H."""

# Usual coordination numbers by oxygen, rounded from the averages of Brown, Acta Cryst. B 44, 545
# (1988); ions left out take that of an ion of the same charge and similar size.
_COORDINATION = """
H1:1.1 Li1:4.9 Be2:4 B3:3.4 C4:3 N5:3 N3:2 Na1:6.4 Mg2:6 Al3:5.3 Si4:4 P5:4 P3:3 S6:4 S4:3 Cl7:4
K1:7.9 Ca2:7.3 Sc3:6.2 Ti4:6 Ti3:6 V5:4.5 V4:5.6 V3:6 Cr6:4 Cr3:6 Cr2:5.5 Mn2:6 Mn3:5.8 Mn4:6
Fe2:5.9 Fe3:5.7 Co2:5.7 Co3:6 Ni2:5.9 Cu1:2.2 Cu2:5.1 Cu3:4 Zn2:5 Ga3:4.6 Ge4:4.5 Ge2:4 As3:3.1
As5:4.4 Se4:3 Se6:4 Br5:3 Rb1:9 Sr2:8.6 Y3:7.6 Zr4:6.7 Nb5:6.1 Nb4:6 Mo6:4.9 Mo5:5.5 Mo4:6 Ru4:6
Ru5:6 Rh3:6 Pd2:4 Pd4:6 Ag1:5.1 Cd2:6.1 In3:6 Sn4:6 Sn2:4 Sb3:4 Sb5:6 Te4:4 Te6:6 I5:4 I7:5
Cs1:9.5 Ba2:10.2 La3:8.5 Ce3:8.5 Ce4:8 Pr3:8.3 Nd3:8.2 Sm3:8 Eu3:7.8 Eu2:9 Gd3:7.8 Tb3:7.7 Dy3:7.6
Ho3:7.5 Er3:7.3 Tm3:7.1 Yb3:7 Lu3:6.8 Hf4:6.7 Ta5:6.1 W6:5.6 Re7:4.5 Os8:4 Ir4:6 Pt2:4 Pt4:6 Au1:2
Au3:4 Hg2:5 Hg1:3 Tl1:7.5 Tl3:6 Pb2:7.5 Pb4:6 Bi3:6 Bi5:6 Th4:8.5 U6:6.5 U4:8 U5:6.5 Np6:6.5
Pu6:6.5
"""
# Bond-valence parameters R0 (Å) with oxygen that differ by oxidation state or were measured rather
# than computed: Brese and O'Keeffe, Acta Cryst. B 47, 192 (1991).
_R0_OXYGEN = """
H1:.95 Li1:1.466 Na1:1.80 K1:2.13 Rb1:2.26 Cs1:2.42 Be2:1.381 Mg2:1.693 Ca2:1.967 Sr2:2.118
Ba2:2.285 B3:1.371 C4:1.39 N5:1.432 Al3:1.62 Si4:1.624 P5:1.617 S6:1.624 Cl7:1.632 Sc3:1.849
Ti4:1.815 Ti3:1.791 V5:1.803 V4:1.784 V3:1.743 V2:1.70 Cr6:1.794 Cr3:1.724 Cr2:1.73 Mn2:1.79
Mn3:1.76 Mn4:1.753 Fe2:1.734 Fe3:1.759 Co2:1.692 Co3:1.70 Ni2:1.654 Ni3:1.68 Cu1:1.593 Cu2:1.679
Zn2:1.704 Ga3:1.73 Ge4:1.748 As5:1.767 As3:1.789 Se4:1.811 Se6:1.788 Y3:2.014 Zr4:1.937 Nb5:1.911
Mo6:1.907 Ag1:1.805 Cd2:1.904 In3:1.902 Sn4:1.905 Sn2:1.984 Sb5:1.942 Sb3:1.973 Te6:1.917
Te4:1.977 I5:2.003 La3:2.172 Ce3:2.151 Ce4:2.028 Pr3:2.135 Nd3:2.117 Sm3:2.088 Eu3:2.076 Eu2:2.147
Gd3:2.065 Tb3:2.049 Dy3:2.036 Ho3:2.023 Er3:2.01 Tm3:2.0 Yb3:1.985 Lu3:1.971 Hf4:1.923 Ta5:1.92
W6:1.921 Re7:1.97 Ru4:1.834 Rh3:1.791 Pd2:1.792 Pt2:1.768 Pt4:1.879 Os8:1.92 Ir4:1.916 Au3:1.833
Hg2:1.972 Hg1:1.90 Tl1:2.172 Tl3:2.003 Pb2:2.112 Pb4:2.042 Bi3:2.094 Bi5:2.06 Th4:2.167 U6:2.075
U4:2.112
"""
# States that formal counting gives to cyanides, oxalates, hydrazine and clusters: no bond valences.
_NOT_IONS = {"C2", "C3", "As2", "N1", "P4", "In2"}
# Ions that prefer two ligands only beside oxygen: coordination number by softer anions.
_SOFT_COORDINATION = {"Cu1": 4.0, "Ag1": 4.0, "Hg2": 4.0, "Au1": 3.0}
# Large soft anions crowd: fewer of them fit around a cation than oxygen.
_CROWDING = {"O": 1.0, "F": 1.0, "N": 0.9, "H": 1.0}


_COORDINATION_BY_OXYGEN = _table(_COORDINATION)
_R0_BY_OXYGEN = _table(_R0_OXYGEN)


def softness(anions: tuple[str, ...]) -> float:
    """Share of anions other than O, F, N and H."""
    return sum(a not in _CROWDING for a in anions) / len(anions)


def usual_coordination(symbol: str, charge: int, anions: tuple[str, ...] = ("O",)) -> float:
    """Average coordination number of a cation beside these anions."""
    label = f"{symbol}{charge}"
    if softness(anions) > 0.5 and label in _SOFT_COORDINATION:
        return _SOFT_COORDINATION[label]
    by_oxygen = _COORDINATION_BY_OXYGEN.get(label, 8.0 if charge <= 1 else 6.0)
    return by_oxygen * sum(_CROWDING.get(a, 0.82) for a in anions) / len(anions)


# Sizes of elements that the 1991 table leaves out: those of the nearest relative.
_BOND_RELATIVE = {
    "Pt": "Pd", "Au": "Ag", "Os": "Ru", "Tc": "Re", "Pa": "Th", "Np": "U", "Pu": "U", "Ac": "La",
    "Pm": "Nd",
}  # fmt: skip

_OXYGEN_RADIUS = 1.40
"""Å; Shannon, Acta Cryst. A 32, 751 (1976)."""

ANION_CHARGE: dict[str, int] = {
    "F": -1, "O": -2, "Cl": -1, "N": -3, "Br": -1, "I": -1, "S": -2, "Se": -2, "Te": -2, "P": -3,
    "As": -3, "H": -1,
}  # fmt: skip
"""Elements that may be anions, and their only negative oxidation state here: peroxides,
polysulfides and polyanionic pnictides count as metals."""


def chemical_class(symbols: set[str]) -> str:
    """Class of a crystal by its elements, see `CLASS_SHARE`."""
    if "O" in symbols:
        return "oxide"
    if symbols & {"F", "Cl", "Br", "I"}:
        return "halide"
    if symbols & {"S", "Se", "Te"}:
        return "chalcogenide"
    if "N" in symbols:
        return "nitride"
    if symbols & {"P", "As"}:
        return "pnictide"
    return "hydride" if "H" in symbols else "metal"


@dataclass(frozen=True)
class Species:
    """An element in an oxidation state (0 in metals)."""

    symbol: str
    charge: int

    @property
    def label(self) -> str:
        """As pymatgen writes it, e.g. ``Fe3+``, ``Na+``."""
        sign = "+" if self.charge > 0 else "-"
        size = abs(self.charge)
        return f"{self.symbol}{size if size > 1 else ''}{sign}"


@dataclass(frozen=True)
class Chemistry:
    """Tables of the generator, loaded once.

    Attributes
    ----------
    symbols : tuple of str
        Elements that may occur.
    number : dict
        Atomic number by symbol.
    share : dict of array
        Target share of crystals that hold the element, among ``metal`` and ``ionic`` crystals.
    mendeleev, radius, volume, negativity : arrays
        Mendeleev number; data-mined radius (Å) and its slope with the spread of
        electronegativities (`radius_slope`); volume of the element (Å³ an atom); Pauling scale.
    bond_c : array
        Bond-valence softness by element.
    species : tuple of Species
        Ions with a known frequency.
    bond_r : array
        Bond-valence size by element, Å.
    species_bond_shift : array
        Å; what to add to it for each cation beside oxygen (measured minus computed).
    frequency : array
        Share of ICSD entries of the element that have this oxidation state.
    ionic_radius : array
        Å, of each cation at six-fold coordination by oxygen, from the bond valences.
    coordination : array
        Usual coordination number of each cation by oxygen.
    conditional : array
        ``conditional[new, old]``: probability that ``new`` takes the place of ``old``.
    """

    symbols: tuple[str, ...]
    number: dict[str, int]
    index: dict[str, int]
    share: dict[str, Floats]
    mendeleev: Floats
    radius: Floats
    radius_slope: Floats
    volume: Floats
    negativity: Floats
    bond_c: Floats
    species: tuple[Species, ...]
    species_element: np.ndarray[Any, np.dtype[np.int64]]
    species_charge: Floats
    bond_r: Floats
    species_bond_shift: Floats
    frequency: Floats
    ionic_radius: Floats
    coordination: Floats
    conditional: Floats


def from_pymatgen(name: str, *modules: str) -> Any:
    """An attribute of the first of these modules that has it: pymatgen moved some in 2026."""
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError(f"This pymatgen has no {name}: pip install atomprint[generate]")


def _icsd_counts() -> dict[Species, int]:
    text = files("smact").joinpath("data/oxidation_states_icsd24_counts.json").read_text()
    rows: list[dict[str, Any]] = json.loads(text)
    return {
        Species(str(r["element"]), int(r["oxidation_state"])): int(r["results_count"]) for r in rows
    }


# Weight of substitutions that were never observed, as in pymatgen.
_NEVER = -5.0


def _conditional(species: tuple[Species, ...], packages: tuple[str, ...]) -> Floats:
    """Probability that an ion takes the place of another: exp(lambda) over its sum, by columns.

    Hautier et al. 2011, equations 3 and 9, from pymatgen's table of lambda; the same numbers as
    its SubstitutionProbability gives one by one, in a hundredth of its time.
    """
    cited = from_pymatgen("__file__", *(f"{p}.substitution_probability" for p in packages))
    rows = json.loads((Path(cited).parent / "data" / "lambda.json").read_text(encoding="utf-8"))
    weights: dict[tuple[str, str], float] = {}
    for *pair, weight in rows:
        if "D1+" not in pair:
            # the table writes Na1+, everything else Na+
            first, second = (re.sub(r"(?<=[A-Za-z])1(?=[+-])", "", label) for label in pair)
            weights[first, second] = weights[second, first] = float(weight)
    labels = sorted({label for pair in weights for label in pair})
    place = {label: k for k, label in enumerate(labels)}
    table = np.full((len(labels), len(labels)), _NEVER)
    for (first, second), weight in weights.items():
        table[place[first], place[second]] = weight
    odds = np.exp(table)
    odds /= odds.sum(axis=0)
    known = np.array([k for k, sp in enumerate(species) if sp.label in place], dtype=np.int64)
    there = np.array([place[species[k].label] for k in known], dtype=np.int64)
    conditional = np.zeros((len(species), len(species)))
    conditional[np.ix_(known, known)] = odds[np.ix_(there, there)]
    return conditional


@lru_cache(maxsize=1)
def load_chemistry() -> Chemistry:
    """Read the tables from pymatgen and SMACT."""
    prediction = ("pymatgen.core.structure_prediction", "pymatgen.analysis.structure_prediction")
    element_of = from_pymatgen("Element", "pymatgen.core")
    valence_sizes = from_pymatgen(
        "BV_PARAMS", "pymatgen.core.bond_valence", "pymatgen.analysis.bond_valence"
    )
    bond_params = from_pymatgen("bond_params", *(f"{p}.volume_predictor" for p in prediction))
    symbols = tuple(IONIC_SHARE)
    index = {s: k for k, s in enumerate(symbols)}
    elements = [element_of(s) for s in symbols]
    sizes = {e.symbol: v for e, v in valence_sizes.items()}
    bond = [sizes[_BOND_RELATIVE.get(s, s)] for s in symbols]

    counts = _icsd_counts()
    per_element: dict[str, int] = {}
    for sp, n in counts.items():
        if sp.charge != 0:
            per_element[sp.symbol] = per_element.get(sp.symbol, 0) + n
    species = tuple(
        sorted(
            (
                sp
                for sp, n in counts.items()
                if sp.symbol in index
                and n >= 0.02 * per_element.get(sp.symbol, 1)
                and f"{sp.symbol}{sp.charge}" not in _NOT_IONS
                and (sp.charge > 0 or ANION_CHARGE.get(sp.symbol) == sp.charge)
            ),
            key=lambda sp: (sp.symbol, sp.charge),
        )
    )
    frequency = np.array([counts[sp] / per_element[sp.symbol] for sp in species])
    bond_r = np.array([float(b["r"]) for b in bond])
    bond_c = np.array([float(b["c"]) for b in bond])
    element = np.array([index[sp.symbol] for sp in species], dtype=np.int64)
    charge = np.array([float(sp.charge) for sp in species])
    oxygen = np.full(len(species), index["O"])
    r0 = bond_length_parameter(bond_r[element], bond_c[element], bond_r[oxygen], bond_c[oxygen])
    # the cation's size takes up what the computed parameter misses
    measured = np.array(
        [_R0_BY_OXYGEN.get(f"{sp.symbol}{sp.charge}", r0[k]) for k, sp in enumerate(species)]
    )
    species_bond_shift = np.where(charge > 0, measured - r0, 0.0)
    r0 = np.where(charge > 0, measured, r0)
    radii = r0 - BOND_VALENCE_B * np.log(np.maximum(charge, 1.0) / 6.0) - _OXYGEN_RADIUS

    return Chemistry(
        symbols=symbols,
        number={s: e.Z for s, e in zip(symbols, elements, strict=True)},
        index=index,
        share={
            "metal": np.array([METAL_SHARE.get(s, 0.002) for s in symbols]),
            "ionic": np.array([IONIC_SHARE[s] for s in symbols]),
        },
        mendeleev=np.array([float(e.mendeleev_no) for e in elements]),
        radius=np.array([float(bond_params[s]["r"]) for s in symbols]),
        radius_slope=np.array([float(bond_params[s]["k"]) for s in symbols]),
        # cm³/mol to Å³ an atom
        volume=np.array([float(e.molar_volume or np.nan) / 0.602214 for e in elements]),
        negativity=np.array([float(e.X) for e in elements]),
        bond_c=bond_c,
        species=species,
        species_element=element,
        species_charge=charge,
        bond_r=bond_r,
        species_bond_shift=species_bond_shift,
        frequency=frequency,
        ionic_radius=radii,
        coordination=np.array([usual_coordination(sp.symbol, sp.charge) for sp in species]),
        conditional=_conditional(species, prediction),
    )
