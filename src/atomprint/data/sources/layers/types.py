"""Types of two-dimensional crystals, written down from textbook descriptions.

Lattice constants and coordinates are rounded starting points: every decoration is fitted to bond
valences or bond lengths. Heights are in Å above the middle of the layer.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from atomprint.data.sources.generated.chemistry import from_pymatgen
from atomprint.data.sources.generated.prototypes import Prototype, as_prototype

Floats = npt.NDArray[np.float64]

HEIGHT = 30.0
"""Å; of the cells in which layers are fitted: nothing reaches across the rest of it."""

# name; a b gamma; sites "ion x y height"; popularity.
_IONIC: tuple[tuple[str, str, str, float], ...] = (
    ("1T-CdI2", "4.24 4.24 120",
     "Cd2+ 0 0 0; I- .333333 .666667 1.72; I- .666667 .333333 -1.72", 9),
    ("1T-TiS2", "3.41 3.41 120",
     "Ti4+ 0 0 0; S2- .333333 .666667 1.42; S2- .666667 .333333 -1.42", 9),
    ("2H-MoS2", "3.16 3.16 120",
     "Mo4+ .333333 .666667 0; S2- .666667 .333333 1.56; S2- .666667 .333333 -1.56", 9),
    ("2H-Janus", "3.25 3.25 120",
     "Mo4+ .333333 .666667 0; Se2- .666667 .333333 1.7; S2- .666667 .333333 -1.53", 3),
    ("1T-Janus", "3.6 3.6 120",
     "Zr4+ 0 0 0; Se2- .333333 .666667 1.6; S2- .666667 .333333 -1.4", 2),
    ("BiTeI", "4.34 4.34 120",
     "Bi3+ 0 0 0; Te2- .333333 .666667 1.75; I- .666667 .333333 -2.1", 4),
    ("CrI3", "6.87 6.87 120",
     "Cr3+ .333333 .666667 0; Cr3+ .666667 .333333 0; I- .35 0 1.57; I- 0 .35 1.57; "
     "I- .65 .65 1.57; I- .65 0 -1.57; I- 0 .65 -1.57; I- .35 .35 -1.57", 6),
    ("LiMX6", "6.2 6.2 120",
     "Al3+ .333333 .666667 0; Li+ .666667 .333333 0; Mg2+ 0 0 0; Cl- .35 0 1.4; Cl- 0 .35 1.4; "
     "Cl- .65 .65 1.4; Cl- .65 0 -1.4; Cl- 0 .65 -1.4; Cl- .35 .35 -1.4", 2),
    ("brucite", "3.15 3.15 120",
     "Mg2+ 0 0 0; O2- .333333 .666667 1.03; O2- .666667 .333333 -1.03; "
     "H+ .333333 .666667 1.99; H+ .666667 .333333 -1.99", 3),
    ("Bi2Se3", "4.14 4.14 120",
     "Se2- 0 0 0; Bi3+ .333333 .666667 1.91; Bi3+ .666667 .333333 -1.91; "
     "Se2- .666667 .333333 3.48; Se2- .333333 .666667 -3.48", 5),
    ("MnBi2Te4", "4.33 4.33 120",
     "Mn2+ 0 0 0; Te2- .333333 .666667 1.6; Te2- .666667 .333333 -1.6; Bi3+ .666667 .333333 3.73; "
     "Bi3+ .333333 .666667 -3.73; Te2- 0 0 5.46; Te2- 0 0 -5.46", 3),
    ("FeOCl", "3.78 3.3 90",
     "Fe3+ 0 .5 .8; Fe3+ .5 0 -.8; O2- 0 0 -.4; O2- .5 .5 .4; Cl- 0 0 -2.64; Cl- .5 .5 2.64", 5),
    ("TiNCl", "3.94 3.26 90",
     "Ti4+ 0 .5 .8; Ti4+ .5 0 -.8; N3- 0 0 -.4; N3- .5 .5 .4; Cl- 0 0 -2.64; Cl- .5 .5 2.64", 2),
    ("BiOCl", "3.88 3.88 90",
     "O2- 0 0 0; O2- .5 .5 0; Bi3+ 0 .5 1.26; Bi3+ .5 0 -1.26; Cl- 0 .5 -2.61; Cl- .5 0 2.61", 5),
    ("FeSe", "3.77 3.77 90",
     "Fe2+ 0 0 0; Fe2+ .5 .5 0; Se2- 0 .5 1.46; Se2- .5 0 -1.46", 3),
    ("litharge", "3.97 3.97 90",
     "O2- 0 0 0; O2- .5 .5 0; Pb2+ 0 .5 1.19; Pb2+ .5 0 -1.19", 2),
    ("K2NiF4-sheet", "4.01 4.01 90",
     "Ni2+ 0 0 0; F- .5 0 0; F- 0 .5 0; F- 0 0 2.03; F- 0 0 -2.03; K+ .5 .5 1.93; K+ .5 .5 -1.93",
     4),
    ("Sr2TiO4-sheet", "3.88 3.88 90",
     "Ti4+ 0 0 0; O2- .5 0 0; O2- 0 .5 0; O2- 0 0 1.98; O2- 0 0 -1.98; "
     "Sr2+ .5 .5 1.83; Sr2+ .5 .5 -1.83", 4),
    ("Sr3Ti2O7-sheet", "3.9 3.9 90",
     "Ti4+ 0 0 1.95; Ti4+ 0 0 -1.95; O2- 0 0 0; Sr2+ .5 .5 0; O2- .5 0 1.95; O2- 0 .5 1.95; "
     "O2- .5 0 -1.95; O2- 0 .5 -1.95; O2- 0 0 3.93; O2- 0 0 -3.93; Sr2+ .5 .5 3.75; "
     "Sr2+ .5 .5 -3.75", 2),
    ("GeS", "4.3 3.64 90",
     "Ge2+ .12 .25 1.1; S2- .5 .75 1.3; Ge2+ .62 .75 -1.1; S2- 0 .25 -1.3", 2),
    ("V2O5", "11.51 3.56 90",
     "V5+ .149 .5 .1; V5+ .851 .5 .1; V5+ .351 0 -.1; V5+ .649 0 -.1; O2- 0 .5 .4; "
     "O2- .5 0 -.4; O2- .146 .5 1.69; O2- .854 .5 1.69; O2- .354 0 -1.69; O2- .646 0 -1.69; "
     "O2- .18 0 -.5; O2- .82 0 -.5; O2- .32 .5 .5; O2- .68 .5 .5", 1),
)  # fmt: skip

# name; a b gamma; sites "element:label x y height"; what the labels may be; popularity. Labels
# that differ in a digit only are the same element most of the time. "AB: B-N" is a whole choice.
_METALS = "Sc Ti V Cr Mn Y Zr Nb Mo Hf Ta W"
_ENDS = "O F S Cl Se Br Te I"
_COVALENT: tuple[tuple[str, str, str, str, float], ...] = (
    ("graphene", "2.5 2.5 120", "B:A .333333 .666667 0; N:B .666667 .333333 0",
     "AB: C-C B-N Al-N Ga-N In-N Si-C Ge-C Sn-C Be-O Mg-O Zn-O Cd-O B-P B-As Be-S", 2),
    ("silicene", "3.87 3.87 120", "Si:A .333333 .666667 .23; Si:B .666667 .333333 -.23",
     "AB: Si-Si Ge-Ge Sn-Sn Pb-Pb Si-Ge Si-Sn Ge-Sn Ga-P Ga-As Ga-Sb Al-P Al-As Al-Sb In-P In-As "
     "In-Sb Zn-S Zn-Se Zn-Te Cd-S Cd-Se Cd-Te Tl-P Tl-As Mg-S Mg-Se", 2),
    ("arsenene", "3.61 3.61 120", "As:A .333333 .666667 .7; As:B .666667 .333333 -.7",
     "AB: P-P As-As Sb-Sb Bi-Bi P-As As-Sb Sb-Bi Ge-S Ge-Se Sn-S Sn-Se Sn-Te Ge-Te Si-S Si-Te "
     "Pb-Te Pb-Se", 2),
    ("phosphorene", "3.31 4.38 90",
     "P:A 0 .0806 1.08; P:B 0 .9194 -1.08; P:A .5 .5806 -1.08; P:B .5 .4194 1.08",
     "AB: P-P As-As Sb-Sb P-As As-Sb Ge-S Ge-Se Sn-S Sn-Se Sn-Te Ge-Te Si-S Si-Se Pb-S Pb-Se", 2),
    ("GaSe", "3.75 3.75 120",
     "Ga:A1 .333333 .666667 1.22; Ga:A2 .333333 .666667 -1.22; Se:B1 .666667 .333333 2.39; "
     "Se:B2 .666667 .333333 -2.39", "A: Al Ga In Tl; B: S Se Te O", 3),
    ("GaSe-inverted", "3.75 3.75 120",
     "Ga:A1 .333333 .666667 1.22; Ga:A2 .333333 .666667 -1.22; Se:B1 .666667 .333333 2.39; "
     "Se:B2 0 0 -2.39", "A: Al Ga In Tl; B: S Se Te", 1),
    ("SiP", "3.5 3.5 120",
     "Si:A1 .333333 .666667 1.16; Si:A2 .333333 .666667 -1.16; P:B1 .666667 .333333 2.2; "
     "P:B2 .666667 .333333 -2.2", "A: C Si Ge Sn; B: N P As Sb", 2),
    ("ZrCl", "3.42 3.42 120",
     "Zr:A1 .333333 .666667 1.1; Zr:A2 .666667 .333333 -1.1; Cl:B1 0 0 2.9; Cl:B2 0 0 -2.9",
     "A: Sc Y Zr Hf La Gd Tb Lu; B: Cl Br I", 2),
    ("MXene-M2XT2", "3.05 3.05 120",
     "C:X 0 0 0; Ti:M1 .333333 .666667 1.15; Ti:M2 .666667 .333333 -1.15; "
     "O:T1 .666667 .333333 2.15; O:T2 .333333 .666667 -2.15",
     f"M: {_METALS}; X: C N; T: {_ENDS}", 6),
    ("MXene-M2X", "3.05 3.05 120",
     "C:X 0 0 0; Ti:M1 .333333 .666667 1.15; Ti:M2 .666667 .333333 -1.15",
     f"M: {_METALS}; X: C N B", 2),
    ("MXene-M2XOH2", "3.07 3.07 120",
     "C:X 0 0 0; Ti:M1 .333333 .666667 1.17; Ti:M2 .666667 .333333 -1.17; "
     "O:O .666667 .333333 2.15; O:O .333333 .666667 -2.15; H:H .666667 .333333 3.12; "
     "H:H .333333 .666667 -3.12", f"M: {_METALS}; X: C N; O: O; H: H", 2),
    ("MXene-M3X2T2", "3.07 3.07 120",
     "Ti:N 0 0 0; C:X1 .333333 .666667 1.3; C:X2 .666667 .333333 -1.3; "
     "Ti:M1 .666667 .333333 2.45; Ti:M2 .333333 .666667 -2.45; O:T1 0 0 3.5; O:T2 0 0 -3.5",
     f"M: {_METALS}; N: {_METALS}; X: C N; T: {_ENDS}", 4),
    ("MSi2N4", "2.91 2.91 120",
     "Mo:M .333333 .666667 0; N:B1 .666667 .333333 1.25; N:B2 .666667 .333333 -1.25; "
     "Si:A1 .666667 .333333 3.0; Si:A2 .666667 .333333 -3.0; N:C1 .333333 .666667 3.5; "
     "N:C2 .333333 .666667 -3.5", f"M: {_METALS}; A: Si Ge; B: N P As; C: N P As", 2),
    ("FePS3", "5.94 5.94 120",
     "Fe:M1 .333333 .666667 0; Fe:M2 .666667 .333333 0; P:A1 0 0 1.11; P:A2 0 0 -1.11; "
     "S:B1 .325 0 1.62; S:B1 0 .325 1.62; S:B1 .675 .675 1.62; S:B2 .675 0 -1.62; "
     "S:B2 0 .675 -1.62; S:B2 .325 .325 -1.62",
     "M: Mg Ca Mn Fe Co Ni Zn Cd Hg Sn Cr V; A: P As; B: S Se", 4),
    ("CrGeTe3", "6.82 6.82 120",
     "Cr:M1 .333333 .666667 0; Cr:M2 .666667 .333333 0; Ge:A1 0 0 1.2; Ge:A2 0 0 -1.2; "
     "Te:B1 .36 0 1.7; Te:B1 0 .36 1.7; Te:B1 .64 .64 1.7; Te:B2 .64 0 -1.7; "
     "Te:B2 0 .64 -1.7; Te:B2 .36 .36 -1.7",
     "M: Sc Ti Cr Mn Fe Al Ga In Y La Bi; A: Si Ge Sn; B: S Se Te", 3),
)  # fmt: skip


@dataclass(frozen=True)
class CovalentType:
    """A layer type whose bonds have the lengths that covalent radii give them.

    Attributes
    ----------
    name
        Of the type.
    positions, cell
        Å; of the native layer.
    native
        Atomic numbers as the type is known.
    labels
        One a site.
    choices
        Elements by label, or by several labels at once.
    popularity
        Relative weight in the draw.
    """

    name: str
    positions: Floats
    cell: Floats
    native: tuple[str, ...]
    labels: tuple[str, ...]
    choices: dict[str, tuple[str, ...]]
    popularity: float

    @property
    def n_decorations(self) -> int:
        """How many there are with all alike labels alike."""
        return int(np.prod([len(names) for names in self.choices.values()]))


def _cell(text: str) -> Floats:
    a, b, gamma = (float(x) for x in text.split())
    angle = np.deg2rad(gamma)
    return np.array(
        [[a, 0, 0], [b * np.cos(angle), b * np.sin(angle), 0], [0, 0, HEIGHT]], dtype=np.float64
    )


def _sites(text: str, cell: Floats) -> tuple[list[str], Floats]:
    """Names, and fractional coordinates of a layer in the middle of its cell."""
    names, frac = [], []
    for site in text.split(";"):
        name, *xyz = site.split()
        x, y, z = (float(value) for value in xyz)
        names.append(name)
        frac.append([x, y, 0.5 + z / cell[2, 2]])
    return names, np.array(frac)


@lru_cache(maxsize=1)
def ionic_types() -> tuple[Prototype, ...]:
    """Types that are decorated with balanced charges and fitted to bond valences."""
    lattice_of, species_of, structure_of = (
        from_pymatgen(name, "pymatgen.core") for name in ("Lattice", "Species", "Structure")
    )
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, lengths, sites, popularity in _IONIC:
            cell = _cell(lengths)
            names, frac = _sites(sites, cell)
            species = [species_of.from_str(n) for n in names]
            charges = {s.symbol: int(s.oxi_state) for s in species}
            structure = structure_of(lattice_of(cell), [s.symbol for s in species], frac)
            found.append(as_prototype(name, structure, charges, popularity))
    return tuple(found)


@lru_cache(maxsize=1)
def covalent_types() -> tuple[CovalentType, ...]:
    """Types that are decorated from lists of elements and fitted to bond lengths."""
    found = []
    for name, lengths, sites, choices, popularity in _COVALENT:
        cell = _cell(lengths)
        names, frac = _sites(sites, cell)
        native, labels = zip(*(n.split(":") for n in names), strict=True)
        table = {}
        for one in choices.split(";"):
            label, elements = one.split(":")
            table[label.strip()] = tuple(elements.split())
        found.append(CovalentType(name, frac @ cell, cell, native, labels, table, popularity))
    return tuple(found)


_ALIKE = 0.75
"""Share of layers in which sites of one label with different digits hold the same element."""


def decorate(kind: CovalentType, rng: np.random.Generator) -> tuple[str, ...]:
    """Elements of the sites."""
    chosen: dict[str, str] = {}
    alike = rng.random() < _ALIKE
    for label, names in kind.choices.items():
        if "-" in names[0]:
            drawn = names[int(rng.integers(len(names)))].split("-")
            chosen.update(zip(label, drawn, strict=True))
            continue
        same = names[int(rng.integers(len(names)))]
        for number in ("", "1", "2"):
            other = names[int(rng.integers(len(names)))]
            chosen[label + number] = same if alike else other
    return tuple(chosen[label] for label in kind.labels)


def n_decorations() -> int:
    """How many layers the lists of elements allow, with all alike sites alike."""
    return sum(kind.n_decorations for kind in covalent_types())
