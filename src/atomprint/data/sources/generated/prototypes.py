"""Structure types that crystals are decorated on.

Two sources. The AFLOW library of crystallographic prototypes (Mehl et al., Comput. Mater. Sci.
136, S1, 2017; Hicks et al., Comput. Mater. Sci. 161, S1, 2019) as pymatgen (MIT licence) ships it
has 288 entries, four fifths of them elements and binaries. `TEXTBOOK` adds the ternary and
quaternary types that a database of known compounds is full of: space group, occupied positions
and rounded free parameters, written down from the standard crystallographic descriptions. Cells
and parameters are starting points: every decoration is relaxed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from .chemistry import from_pymatgen, load_chemistry
from .relaxation import Floats, Ints


@dataclass(frozen=True)
class Prototype:
    """A structure type with its original decoration.

    Attributes
    ----------
    name : str
        Pearson-like AFLOW label and compound, or the textbook name.
    cell, frac : arrays
        Primitive cell (rows, Å) and fractional coordinates.
    orbit : (N,) array
        Index of the symmetry orbit of every atom.
    element : tuple of str
        Original element of every orbit.
    charge : tuple of int
        Oxidation state of every orbit; all zero in a metal.
    popularity : float
        Relative weight in the draw: how common the type is among known compounds.
    """

    name: str
    cell: Floats
    frac: Floats
    orbit: Ints
    element: tuple[str, ...]
    charge: tuple[int, ...]
    popularity: float

    @property
    def n_atoms(self) -> int:
        """Atoms in the primitive cell."""
        return len(self.frac)

    @property
    def ionic(self) -> bool:
        """Whether oxidation states balance the original formula."""
        return any(q != 0 for q in self.charge)


# name; space group; a b c alpha beta gamma; sites "species x y z"; popularity.
# A sign behind the symbol makes the type ionic; without signs it is a metal.
TEXTBOOK: tuple[tuple[str, str, str, str, float], ...] = (
    (
        "elpasolite",
        "Fm-3m",
        "8.12 8.12 8.12 90 90 90",
        "K+ .25 .25 .25; Na+ .5 .5 .5; Al3+ 0 0 0; F- .219 0 0",
        6,
    ),
    (
        "double-perovskite",
        "Fm-3m",
        "7.9 7.9 7.9 90 90 90",
        "Ba2+ .25 .25 .25; Mg2+ .5 .5 .5; W6+ 0 0 0; O2- .243 0 0",
        4,
    ),
    (
        "double-perovskite-monoclinic",
        "P2_1/c",
        "5.6 5.7 9.68 90 54.74 90",
        "La3+ .74 .05 .25; Mg2+ .5 0 0; Ti4+ 0 0 .5; O2- .83 .48 .25; O2- .65 .3 .05; "
        "O2- .25 .2 .95",
        5,
    ),
    ("K2PtCl6", "Fm-3m", "9.75 9.75 9.75 90 90 90", "K+ .25 .25 .25; Pt4+ 0 0 0; Cl- .24 0 0", 2),
    (
        "pyrochlore",
        "Fd-3m",
        "10.1 10.1 10.1 90 90 90",
        "Y3+ .625 .625 .625; Ti4+ .125 .125 .125; O2- .454 .25 .25; O2- .5 .5 .5",
        3,
    ),
    (
        "olivine-phosphate",
        "Pnma",
        "10.33 6.01 4.69 90 90 90",
        "Li+ 0 0 0; Fe2+ .282 .25 .975; P5+ .095 .25 .418; O2- .097 .25 .743; O2- .457 .25 .206; "
        "O2- .166 .047 .285",
        5,
    ),
    (
        "olivine-silicate",
        "Pnma",
        "10.2 5.98 4.76 90 90 90",
        "Mg2+ 0 0 0; Mg2+ .278 .25 .99; Si4+ .094 .25 .426; O2- .092 .25 .766; O2- .447 .25 .221; "
        "O2- .163 .033 .277",
        3,
    ),
    (
        "heterosite",
        "Pnma",
        "9.82 5.79 4.79 90 90 90",
        "Fe3+ .275 .25 .95; P5+ .094 .25 .395; O2- .122 .25 .709; O2- .439 .25 .16; "
        "O2- .166 .045 .25",
        2,
    ),
    (
        "scheelite",
        "I4_1/a",
        "5.24 5.24 11.38 90 90 90",
        "Ca2+ 0 0 .5; W6+ 0 0 0; O2- .2415 .1504 .0861",
        3,
    ),
    ("delafossite", "R-3m", "3.03 3.03 17.17 90 90 120", "Cu+ 0 0 0; Fe3+ 0 0 .5; O2- 0 0 .107", 3),
    (
        "wolframite",
        "P2/c",
        "4.75 5.72 4.97 90 90.2 90",
        "Fe2+ .5 .674 .25; W6+ 0 .181 .25; O2- .215 .106 .564; O2- .258 .376 .106",
        2,
    ),
    (
        "columbite",
        "Pbcn",
        "14.27 5.73 5.06 90 90 90",
        "Mn2+ 0 .331 .25; Nb5+ .161 .178 .739; O2- .097 .104 .064; O2- .419 .117 .098; "
        "O2- .756 .124 .081",
        1,
    ),
    (
        "BaNiO3",
        "P6_3/mmc",
        "5.63 5.63 4.81 90 90 120",
        "Ba2+ .333333 .666667 .75; Ni4+ 0 0 0; O2- .147 .294 .25",
        3,
    ),
    (
        "CsNiCl3",
        "P6_3/mmc",
        "7.17 7.17 5.94 90 90 120",
        "Cs+ .333333 .666667 .75; Ni2+ 0 0 0; Cl- .156 .312 .25",
        2,
    ),
    (
        "aragonite",
        "Pnma",
        "5.74 4.96 7.97 90 90 90",
        "Ca2+ .76 .25 .415; C4+ .918 .25 .762; O2- .904 .25 .922; O2- .913 .473 .681",
        2,
    ),
    (
        "dolomite",
        "R-3",
        "4.81 4.81 16.02 90 90 120",
        "Ca2+ 0 0 0; Mg2+ 0 0 .5; C4+ 0 0 .243; O2- .248 .965 .244",
        2,
    ),
    (
        "barite",
        "Pnma",
        "8.88 5.46 7.16 90 90 90",
        "Ba2+ .1845 .25 .1585; S6+ .437 .25 .691; O2- .587 .25 .607; O2- .318 .25 .55; "
        "O2- .419 .97 .812",
        2,
    ),
    (
        "CrVO4",
        "Cmcm",
        "5.57 8.21 5.98 90 90 90",
        "Cr3+ 0 0 0; V5+ 0 .37 .25; O2- 0 .251 .034; O2- .238 .482 .25",
        3,
    ),
    (
        "monazite",
        "P2_1/c",
        "6.83 7.07 8.27 90 49.86 90",
        "La3+ .181 .16 .1; P5+ .693 .163 .612; O2- .81 .005 .44; O2- .883 .331 .498; "
        "O2- .671 .106 .804; O2- .415 .216 .712",
        3,
    ),
    (
        "LiGaO2",
        "Pna2_1",
        "5.40 6.37 5.01 90 90 90",
        "Ga3+ .082 .126 0; Li+ .421 .127 .494; O2- .407 .139 .893; O2- .07 .112 .371",
        2,
    ),
    (
        "gamma-LiAlO2",
        "P4_12_12",
        "5.17 5.17 6.27 90 90 90",
        "Al3+ .176 .176 0; Li+ .813 .813 0; O2- .337 .291 .772",
        1,
    ),
    (
        "Li2MnO3",
        "C2/m",
        "4.94 8.53 5.03 90 109.5 90",
        "Mn4+ 0 .167 0; Li+ 0 .5 0; Li+ 0 0 .5; Li+ 0 .661 .5; O2- .219 0 .227; O2- .254 .321 .223",
        3,
    ),
    (
        "beta-Li3PO4",
        "Pmn2_1",
        "6.12 5.24 4.86 90 90 90",
        "Li+ .248 .328 .986; Li+ .5 .843 .989; P5+ 0 .824 0; O2- .208 .686 .896; O2- 0 .105 .9; "
        "O2- .5 .185 .822",
        2,
    ),
    (
        "Li2FeSiO4",
        "Pmn2_1",
        "6.27 5.33 4.96 90 90 90",
        "Li+ .248 .328 .986; Fe2+ .5 .843 .989; Si4+ 0 .824 0; O2- .208 .686 .896; O2- 0 .105 .9; "
        "O2- .5 .185 .822",
        3,
    ),
    (
        "kesterite",
        "I-4",
        "5.43 5.43 10.87 90 90 90",
        "Cu+ 0 0 0; Cu+ 0 .5 .25; Zn2+ 0 .5 .75; Sn4+ 0 0 .5; S2- .757 .757 .872",
        2,
    ),
    (
        "NASICON",
        "R-3c",
        "8.51 8.51 20.86 90 90 120",
        "Li+ 0 0 0; Ti4+ 0 0 .1414; P5+ .29 0 .25; O2- .186 .995 .19; O2- .19 .166 .081",
        2,
    ),
    (
        "brucite",
        "P-3m1",
        "3.14 3.14 4.77 90 90 120",
        "Mg2+ 0 0 0; O2- .333333 .666667 .22; H+ .333333 .666667 .42",
        1,
    ),
    ("LiOH", "P4/nmm", "3.55 3.55 4.33 90 90 90", "Li+ 0 0 0; O2- .5 0 .194; H+ .5 0 .41", 1),
    (
        "diaspore",
        "Pnma",
        "9.42 2.85 4.40 90 90 90",
        "Al3+ .145 .25 .955; O2- .801 .25 .288; O2- .947 .25 .803; H+ .912 .25 .59",
        1,
    ),
    ("FeOCl", "Pmmn", "3.78 3.30 7.92 90 90 90", "Fe3+ 0 .5 .116; O2- 0 0 .952; Cl- 0 0 .33", 2),
    (
        "CaFe2O4",
        "Pnma",
        "9.23 3.02 10.71 90 90 90",
        "Ca2+ .239 .25 .655; Fe3+ .067 .25 .114; Fe3+ .082 .25 .611; O2- .295 .25 .337; "
        "O2- .386 .25 .979; O2- .475 .25 .215; O2- .08 .25 .928",
        2,
    ),
    (
        "Sr3Ti2O7",
        "I4/mmm",
        "3.90 3.90 20.38 90 90 90",
        "Sr2+ 0 0 .5; Sr2+ 0 0 .315; Ti4+ 0 0 .098; O2- 0 0 0; O2- 0 0 .195; O2- 0 .5 .095",
        2,
    ),
    (
        "KAl(MoO4)2",
        "P-3m1",
        "5.55 5.55 7.07 90 90 120",
        "K+ 0 0 0; Al3+ 0 0 .5; Mo6+ .333333 .666667 .227; O2- .333333 .666667 .98; "
        "O2- .164 .836 .311",
        2,
    ),
    (
        "buetschliite",
        "R-3m",
        "5.38 5.38 18.2 90 90 120",
        "Ca2+ 0 0 0; K+ 0 0 .214; C4+ 0 0 .405; O2- .14 .86 .405",
        2,
    ),
    (
        "huntite",
        "R32",
        "9.3 9.3 7.24 90 90 120",
        "Y3+ 0 0 0; Al3+ .556 0 0; B3+ 0 0 .5; B3+ .446 0 .5; O2- .853 0 .5; O2- .594 0 .5; "
        "O2- .45 .145 .519",
        1,
    ),
    (
        "melilite",
        "P-42_1m",
        "7.84 7.84 5.01 90 90 90",
        "Ca2+ .332 .168 .507; Mg2+ 0 0 0; Si4+ .14 .36 .936; O2- .5 0 .18; O2- .14 .36 .253; "
        "O2- .08 .187 .788",
        2,
    ),
    (
        "kalsilite",
        "P6_3",
        "5.16 5.16 8.69 90 90 120",
        "K+ 0 0 .25; Si4+ .333333 .666667 .065; Al3+ .333333 .666667 .442; "
        "O2- .333333 .666667 .258; O2- .597 .987 .987",
        1,
    ),
    (
        "PbSb2O6",
        "P-31m",
        "5.30 5.30 5.38 90 90 120",
        "Pb2+ 0 0 0; Sb5+ .333333 .666667 .5; O2- .373 0 .29",
        2,
    ),
    (
        "trirutile",
        "P4_2/mnm",
        "4.66 4.66 9.24 90 90 90",
        "Zn2+ 0 0 0; Sb5+ 0 0 .333; O2- .3 .3 0; O2- .31 .31 .33",
        2,
    ),
    (
        "LiCaAlF6",
        "P-31c",
        "5.01 5.01 9.64 90 90 120",
        "Li+ .333333 .666667 .25; Al3+ .666667 .333333 .25; Ca2+ 0 0 0; F- .376 .031 .143",
        2,
    ),
    ("KPF6", "Fm-3m", "7.76 7.76 7.76 90 90 90", "K+ .5 .5 .5; P5+ 0 0 0; F- .206 0 0", 1),
    ("K2PdCl4", "P4/mmm", "7.08 7.08 4.14 90 90 90", "K+ 0 .5 .5; Pd2+ 0 0 0; Cl- .23 .23 0", 1),
    (
        "Cs3Bi2Br9",
        "P-3m1",
        "7.97 7.97 9.85 90 90 120",
        "Cs+ 0 0 0; Cs+ .333333 .666667 .667; Bi3+ .333333 .666667 .193; Br- .5 0 0; "
        "Br- .166 .332 .33",
        1,
    ),
    (
        "arcanite",
        "Pnma",
        "7.48 5.76 10.07 90 90 90",
        "K+ .674 .25 .411; K+ .989 .25 .705; S6+ .233 .25 .42; O2- .038 .25 .417; "
        "O2- .297 .25 .558; O2- .301 .041 .352",
        2,
    ),
    (
        "Cs2CuCl4",
        "Pnma",
        "9.77 7.61 12.4 90 90 90",
        "Cs+ .674 .25 .411; Cs+ .989 .25 .705; Zn2+ .233 .25 .42; Cl- .01 .25 .417; "
        "Cl- .32 .25 .59; Cl- .32 .01 .352",
        1,
    ),
    (
        "CaUO4",
        "R-3m",
        "3.87 3.87 17.6 90 90 120",
        "Ca2+ 0 0 .5; U6+ 0 0 0; O2- 0 0 .111; O2- 0 0 .361",
        1,
    ),
    (
        "La2O3",
        "P-3m1",
        "3.94 3.94 6.13 90 90 120",
        "La3+ .333333 .666667 .245; O2- .333333 .666667 .645; O2- 0 0 0",
        1,
    ),
    (
        "La2O2S",
        "P-3m1",
        "4.05 4.05 6.94 90 90 120",
        "La3+ .333333 .666667 .28; O2- .333333 .666667 .63; S2- 0 0 0",
        1,
    ),
    (
        "CaAl2Si2",
        "P-3m1",
        "4.4 4.4 7.1 90 90 120",
        "Ca2+ 0 0 0; Zn2+ .333333 .666667 .63; As3- .333333 .666667 .27",
        3,
    ),
    (
        "post-perovskite",
        "Cmcm",
        "3.14 9.86 7.30 90 90 90",
        "Ca2+ 0 .253 .25; Ir4+ 0 0 0; O2- 0 .923 .25; O2- 0 .636 .437",
        1,
    ),
    (
        "Li2CO3",
        "C2/c",
        "8.36 4.97 6.20 90 114.8 90",
        "C4+ 0 .066 .25; O2- 0 .321 .25; Li+ .197 .449 .834; O2- .146 .934 .314",
        1,
    ),
    ("CaCN2", "R-3m", "3.69 3.69 14.77 90 90 120", "Ca2+ 0 0 0; C4+ 0 0 .5; N3- 0 0 .416", 1),
    (
        "beta-Si3N4",
        "P6_3/m",
        "7.61 7.61 2.91 90 90 120",
        "Si4+ .174 .766 .25; N3- .329 .031 .25; N3- .333333 .666667 .25",
        1,
    ),
    ("Th3P4", "I-43d", "8.62 8.62 8.62 90 90 90", "Th4+ .375 0 .25; P3- .083 .083 .083", 1),
    ("BaZn2P2", "I4/mmm", "4.02 4.02 13.2 90 90 90", "Ba2+ 0 0 0; Zn2+ 0 .5 .25; P3- 0 0 .363", 2),
    (
        "ammonium-chloride",
        "P-43m",
        "3.87 3.87 3.87 90 90 90",
        "N3- 0 0 0; H+ .152 .152 .152; Cl- .5 .5 .5",
        0.5,
    ),
    ("Mg2FeH6", "Fm-3m", "6.44 6.44 6.44 90 90 90", "Mg2+ .25 .25 .25; Fe2+ 0 0 0; H- .24 0 0", 2),
    (
        "LaCuOS",
        "P4/nmm",
        "4.0 4.0 8.52 90 90 90",
        "La3+ .5 0 .148; Cu+ 0 0 .5; O2- 0 0 0; S2- .5 0 .66",
        3,
    ),
    (
        "pyroxene",
        "C2/c",
        "9.75 8.92 5.25 90 105.9 90",
        "Ca2+ 0 .301 .25; Mg2+ 0 .908 .25; Si4+ .286 .093 .229; O2- .116 .087 .142; "
        "O2- .361 .25 .318; O2- .351 .018 .995",
        3,
    ),
    (
        "lithium-pyroxene",
        "C2/c",
        "9.66 8.71 5.29 90 110.1 90",
        "Li+ 0 .265 .25; Fe3+ 0 .894 .25; Si4+ .294 .09 .256; O2- .113 .084 .141; "
        "O2- .363 .267 .315; O2- .357 .992 .059",
        2,
    ),
    # metals and covalent ternaries
    ("ThCr2Si2", "I4/mmm", "4.04 4.04 10.57 90 90 90", "Ce 0 0 0; Ni 0 .5 .25; Si 0 0 .374", 14),
    (
        "CaBe2Ge2",
        "P4/nmm",
        "4.29 4.29 9.84 90 90 90",
        "La .5 0 .255; Pt 0 0 0; Pt .5 0 .617; Si 0 0 .5; Si .5 0 .868",
        3,
    ),
    (
        "TiNiSi",
        "Pnma",
        "6.15 3.67 7.02 90 90 90",
        "Ti .021 .25 .18; Ni .142 .25 .561; Si .765 .25 .623",
        12,
    ),
    (
        "ZrNiAl",
        "P-62m",
        "6.92 6.92 3.47 90 90 120",
        "Al .25 0 0; Zr .59 0 .5; Ni .333333 .666667 0; Ni 0 0 .5",
        10,
    ),
    (
        "LiGaGe",
        "P6_3mc",
        "4.17 4.17 6.78 90 90 120",
        "Ca 0 0 .25; Ga .333333 .666667 .46; Ge .333333 .666667 .07",
        4,
    ),
    (
        "LiMgPdSn",
        "F-43m",
        "6.3 6.3 6.3 90 90 90",
        "Li 0 0 0; Mg .5 .5 .5; Pd .25 .25 .25; Sn .75 .75 .75",
        1,
    ),
    (
        "HfCuSi2",
        "P4/nmm",
        "4.0 4.0 9.4 90 90 90",
        "Hf .5 0 .246; Cu 0 0 .5; Si 0 0 0; Si .5 0 .64",
        3,
    ),
    ("Mo2FeB2", "P4/mbm", "7.4 7.4 3.7 90 90 90", "U .174 .674 .5; Sn 0 0 0; Ni .38 .88 0", 5),
    (
        "CeNiSi2",
        "Cmcm",
        "4.14 16.45 4.07 90 90 90",
        "Ce 0 .107 .25; Ni 0 .316 .25; Si 0 .457 .25; Si 0 .749 .25",
        3,
    ),
    ("LaPtSi", "I4_1md", "4.25 4.25 14.52 90 90 90", "La 0 0 0; Pt 0 0 .585; Si 0 0 .417", 2),
    (
        "Ti3SiC2",
        "P6_3/mmc",
        "3.07 3.07 17.67 90 90 120",
        "Ti 0 0 0; Ti .333333 .666667 .135; Si 0 0 .25; C .333333 .666667 .572",
        2,
    ),
    (
        "Mn5Si3",
        "P6_3/mcm",
        "8.0 8.0 5.9 90 90 120",
        "Y .333333 .666667 0; Y .24 0 .25; Ge .605 0 .25",
        4,
    ),
    (
        "Hf5CuSn3",
        "P6_3/mcm",
        "8.4 8.4 5.9 90 90 120",
        "Hf .333333 .666667 0; Hf .26 0 .25; Sn .61 0 .25; Cu 0 0 0",
        1,
    ),
    (
        "Cr5B3",
        "I4/mcm",
        "7.6 7.6 13.5 90 90 90",
        "Ca 0 0 0; Ca .17 .67 .15; Si 0 0 .25; Si .38 .88 0",
        2,
    ),
    (
        "W5Si3",
        "I4/mcm",
        "9.6 9.6 4.96 90 90 90",
        "Si 0 0 .25; W 0 .5 .25; W .074 .223 0; Si .17 .67 0",
        1,
    ),
    (
        "Th2Zn17",
        "R-3m",
        "8.4 8.4 12.2 90 90 120",
        "Sm 0 0 .333333; Co 0 0 .097; Co .5 0 .5; Co .3 0 0; Co .502 .498 .155",
        1,
    ),
    (
        "PuNi3",
        "R-3m",
        "5.0 5.0 24.4 90 90 120",
        "Y 0 0 0; Y 0 0 .139; Ni 0 0 .5; Ni 0 0 .333; Ni .5 .5 .083",
        2,
    ),
    (
        "CeCo3B2",
        "P6/mmm",
        "5.05 5.05 3.04 90 90 120",
        "Ce 0 0 0; Co .5 0 .5; B .333333 .666667 0",
        3,
    ),
    (
        "LuNi2B2C",
        "I4/mmm",
        "3.46 3.46 10.63 90 90 90",
        "Lu 0 0 0; Ni 0 .5 .25; B 0 0 .362; C 0 0 .5",
        3,
    ),
    (
        "BaNiSn3",
        "I4mm",
        "4.5 4.5 10.2 90 90 90",
        "Ce 0 0 0; Co 0 0 .655; Ge 0 0 .42; Ge 0 .5 .25",
        2,
    ),
    ("KHg2", "Imma", "4.43 7.05 7.45 90 90 90", "Ce 0 .25 .538; Cu 0 .051 .165", 4),
    (
        "filled-skutterudite",
        "Im-3",
        "7.83 7.83 7.83 90 90 90",
        "La 0 0 0; Fe .25 .25 .25; P 0 .354 .15",
        2,
    ),
    (
        "HoCoGa5",
        "P4/mmm",
        "4.6 4.6 7.5 90 90 90",
        "Ce 0 0 0; Co 0 0 .5; In .5 .5 0; In 0 .5 .305",
        2,
    ),
    (
        "ZrBeSi",
        "P6_3/mmc",
        "4.5 4.5 7.2 90 90 120",
        "Ca 0 0 0; Cu .333333 .666667 .25; P .333333 .666667 .75",
        3,
    ),
    ("CeFeSi", "P4/nmm", "4.06 4.06 6.9 90 90 90", "Ce .5 0 .67; Fe 0 0 0; Si .5 0 .18", 3),
    ("antiperovskite", "Pm-3m", "4.9 4.9 4.9 90 90 90", "Sn 0 0 0; C .5 .5 .5; Y .5 .5 0", 2),
    ("full-Heusler", "Fm-3m", "6.0 6.0 6.0 90 90 90", "Cu .25 .25 .25; Mn 0 0 0; Al .5 .5 .5", 10),
    ("half-Heusler", "F-43m", "6.0 6.0 6.0 90 90 90", "Zr 0 0 0; Ni .25 .25 .25; Sn .5 .5 .5", 7),
)

MAX_ATOMS = 64
"""Structure types with larger primitive cells are left out."""

# How common the simple types are among known compounds; every other AFLOW entry has weight 1,
# elements 0.3.
# From general crystallographic knowledge (Villars' most populous structure types), to one digit.
_POPULAR: dict[str, float] = {
    "AB_cF8_225_a_b": 6, "AB_cP2_221_b_a": 8, "AB3_cP4_221_a_c": 8, "AB3C_cP5_221_a_c_b": 12,
    "AB2_cF12_225_a_c": 4, "A2BC4_cF56_227_d_a_e": 10, "AB3C_oP20_62_c_cd_a": 12,
    "A2B_cF24_227_d_a": 6, "AB2_hP12_194_f_ah": 5, "AB5_hP6_191_a_cg": 4, "AB_oC8_63_c_c": 4,
    "AB_oP8_62_c_c": 4, "AB_hP4_194_c_a": 3, "AB_cF8_216_c_a": 3, "AB_hP4_186_b_b": 3,
    "ABC2_hR4_166_a_b_c": 8, "AB2C4_tI14_139_a_e_ce": 5, "ABC2_tI16_122_a_b_d": 4,
    "ABC_tP6_129_c_a_c": 5, "ABCD_tP8_129_c_b_a_c": 4, "A2B_oP12_62_2c_c": 4,
    "AB2_hP3_191_a_d": 4, "A4BC_tI24_141_h_b_a": 3, "ABC3_hR10_167_a_b_e": 3,
    "AB3C_hR10_148_c_f_c": 3, "A2BC4_tI14_82_bc_a_g": 3, "A2BC4D_tI16_121_d_a_i_b": 3,
    "A2B3_hR10_167_c_e": 2, "AB2_tP6_136_f_a": 2, "A2B_tP6_136_f_a": 3, "AB2_hP3_164_a_d": 3,
    "A2B3_tP10_127_g_ah": 2, "AB_hP2_187_d_a": 1, "A_cF4_225_a": 2, "A_cI2_229_a": 2,
    "A_hP2_194_c": 2, "ABC2_hP8_194_d_a_f": 2, "AB2_tI6_139_a_e": 2, "A3B_hP8_194_h_c": 3,
    "A3B_cP8_223_c_a": 3, "ABC_cP12_198_a_a_a": 3, "A12B_tI26_139_fij_a": 1,
    "ABC6D2_mC40_15_e_e_3f_f": 3, "A2B_tP6_129_ac_c": 3,
}  # fmt: skip

# Molecules and polyanions that no choice of other elements makes into a plausible crystal.
_MOLECULES = {"CO", "CNCl", "HC", "H3N", "SiF4", "PI2", "KCSN", "KAg(CN)2", "HgBr2"}


def charges_of(counts: dict[str, int]) -> dict[str, int] | None:
    """The most frequent oxidation states that balance a formula; None for a metal."""
    chem = load_chemistry()
    chi = {s: float(chem.negativity[chem.index[s]]) for s in counts if s in chem.index}
    if len(counts) < 2 or len(chi) < len(counts):
        return None
    ions = list(zip(chem.species, chem.frequency, strict=True))
    states = [[(sp.charge, float(f)) for sp, f in ions if sp.symbol == s] for s in counts]
    best: tuple[float, dict[str, int]] | None = None
    for choice in product(*states):
        charges = {s: q for s, (q, _) in zip(counts, choice, strict=True)}
        if sum(q * counts[s] for s, q in charges.items()) != 0:
            continue
        anions = [s for s, q in charges.items() if q < 0]
        highest = max(chi[s] for s, q in charges.items() if q > 0)
        if min(chi[s] for s in anions) < highest:
            continue
        # phosphides, arsenides and hydrides of electronegative metals are metals
        if set(anions) <= {"P", "As", "H"} and highest > 1.5:
            continue
        likely = float(np.prod([f for _, f in choice]))
        if best is None or likely > best[0]:
            best = (likely, charges)
    return best[1] if best else None


def as_prototype(
    name: str, structure: Any, charges: dict[str, int] | None, popularity: float
) -> Prototype:
    """A pymatgen structure as a structure type; without charges, those that balance it."""
    analyzer = from_pymatgen("SpacegroupAnalyzer", "pymatgen.symmetry.analyzer")
    dataset = analyzer(structure, symprec=0.02).get_symmetry_dataset()
    label = np.asarray(dataset.equivalent_atoms)
    symbols = [site.specie.symbol for site in structure]
    _, orbit = np.unique(label, return_inverse=True)
    first = [int(np.flatnonzero(orbit == k)[0]) for k in range(orbit.max() + 1)]
    element = tuple(symbols[k] for k in first)
    if charges is None:
        charges = charges_of({k: symbols.count(k) for k in sorted(set(symbols))}) or {}
    return Prototype(
        name=name,
        cell=np.asarray(structure.lattice.matrix, dtype=np.float64),
        frac=np.asarray(structure.frac_coords, dtype=np.float64) % 1.0,
        orbit=np.asarray(orbit, dtype=np.int64),
        element=element,
        charge=tuple(charges.get(e, 0) for e in element),
        popularity=popularity,
    )


def make_prototypes() -> tuple[Prototype, ...]:
    """Every structure type, which takes many seconds: :mod:`.prototype_cache` keeps them."""
    library = from_pymatgen("AFLOW_PROTOTYPE_LIBRARY", "pymatgen.analysis.prototypes")
    lattice_of, species_of, structure_of = (
        from_pymatgen(name, "pymatgen.core") for name in ("Lattice", "Species", "Structure")
    )
    group_of = from_pymatgen("SpaceGroup", "pymatgen.symmetry.groups")
    found: list[Prototype] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # pymatgen finds a group again, in up to seconds, unless somebody still holds it.
        groups = {group: group_of(group) for _, group, *_ in TEXTBOOK}
        for entry in library:
            structure = entry["snl"].structure
            formula = structure.composition.reduced_formula
            if not structure.is_ordered or formula in _MOLECULES:
                continue
            primitive = structure.get_primitive_structure(tolerance=0.05)
            if len(primitive) > MAX_ATOMS:
                continue
            label = str(entry["tags"]["aflow"])
            name = f"{label}:{formula}"
            rare = 1.0 if structure.composition.elements[1:] else 0.3
            found.append(as_prototype(name, primitive, None, _POPULAR.get(label, rare)))
        for name, group, parameters, sites, popularity in TEXTBOOK:
            kinds, points = [], []
            for site in sites.split(";"):
                kind, *xyz = site.split()
                kinds.append(kind)
                points.append([float(x) for x in xyz])
            ionic = any(k[-1] in "+-" for k in kinds)
            species = [species_of.from_str(k) for k in kinds] if ionic else None
            symbols = [s.symbol for s in species] if species else kinds
            charges = {s.symbol: int(s.oxi_state) for s in species} if species else {}
            lattice = lattice_of.from_parameters(*(float(x) for x in parameters.split()))
            structure = structure_of.from_spacegroup(group, lattice, symbols, points, tol=0.02)
            primitive = structure.get_primitive_structure(tolerance=0.05)
            found.append(as_prototype(name, primitive, charges, popularity))
        del groups
    return tuple(found)
