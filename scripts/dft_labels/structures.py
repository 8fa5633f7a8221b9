"""Prototypes, decorations and variants of the DFT-labelled crystals (numpy only).

A *parent* is a prototype with a decoration and a starting lattice parameter; its volume is
adjusted before the label is computed.  A *variant* is a fixed deformation of a finished parent.
Lattice parameters below are starting guesses written from general knowledge of the compounds,
not values taken from a database: the stored geometry is the one the volume search ends with.
"""

import itertools
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As "
    "Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd "
    "Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi"
)
SYMBOLS = _SYMBOLS.split()

#: Single-bond covalent radii in Å of the elements used (Cordero et al. 2008).
COVALENT_RADII: dict[str, float] = {
    "H": 0.31, "Li": 1.28, "Be": 0.96, "B": 0.84, "C": 0.76, "N": 0.71, "O": 0.66, "F": 0.57,
    "Na": 1.66, "Mg": 1.41, "Al": 1.21, "Si": 1.11, "P": 1.07, "S": 1.05, "Cl": 1.02, "K": 2.03,
    "Ca": 1.76, "Sc": 1.70, "Ti": 1.60, "V": 1.53, "Fe": 1.32, "Co": 1.26, "Ni": 1.24, "Cu": 1.32,
    "Zn": 1.22, "Ga": 1.22, "Ge": 1.20, "As": 1.19, "Se": 1.20, "Br": 1.20, "Rb": 2.20,
    "Sr": 1.95, "Y": 1.90, "Zr": 1.75, "Nb": 1.64, "Mo": 1.54, "Ru": 1.46, "Rh": 1.42, "Pd": 1.39,
    "Ag": 1.45, "Cd": 1.44, "In": 1.42, "Sn": 1.39, "Sb": 1.39, "Te": 1.38, "I": 1.39, "Cs": 2.44,
    "Ba": 2.15, "Hf": 1.75, "Ta": 1.70, "W": 1.62, "Re": 1.51, "Os": 1.44, "Ir": 1.41, "Pt": 1.36,
    "Au": 1.36, "Tl": 1.45, "Pb": 1.46, "Bi": 1.48,
}  # fmt: skip


def _cubic(a: float) -> Array:
    return a * np.eye(3)


def _fcc(a: float) -> Array:
    return a / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=float)


def _bcc(a: float) -> Array:
    return a / 2 * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]], dtype=float)


def _hex(a: float, ca: float) -> Array:
    return a * np.array([[1, 0, 0], [-0.5, np.sqrt(3) / 2, 0], [0, 0, ca]])


def _tet(a: float, ca: float) -> Array:
    return a * np.diag([1, 1, ca])


def _bct(a: float, ca: float) -> Array:
    return a / 2 * np.array([[-1, 1, ca], [1, -1, ca], [1, 1, -ca]], dtype=float)


def _rhomb(a: float, ca: float) -> Array:
    """Primitive cell of a rhombohedral lattice given in its hexagonal setting."""
    t = np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3
    return t @ _hex(a, ca)


@dataclass(frozen=True)
class Prototype:
    """A crystal prototype.

    Attributes
    ----------
    cell
        Function of the lattice parameter and the parameters of a line returning the cell rows.
    slots
        Species slot (0, 1, 2, ...) of each site.
    frac
        Function of the parameters returning fractional coordinates.
    defaults
        Default parameters (``c/a``, internal coordinates).
    """

    cell: Callable[..., Array]
    slots: tuple[int, ...]
    frac: Callable[..., list[tuple[float, float, float]]]
    defaults: tuple[float, ...] = ()


Q, H, T = 0.25, 0.5, 1 / 3


def _fixed(*frac: tuple[float, float, float]) -> Callable[..., list[tuple[float, float, float]]]:
    return lambda *_: list(frac)


def _iso(lattice: Callable[[float], Array]) -> Callable[..., Array]:
    return lambda a, *_: lattice(a)


def _with_ca(lattice: Callable[[float, float], Array]) -> Callable[..., Array]:
    return lambda a, ca, *_: lattice(a, ca)


def _cmce_cell(a: float, ba: float, ca: float, *_: float) -> Array:
    return a * np.array([[H, -ba / 2, 0], [H, ba / 2, 0], [0, 0, ca]])


def _cmce_frac(_ba: float, _ca: float, y: float, z: float) -> list[tuple[float, float, float]]:
    sites = [(y, z), (H - y, z + H), (y + H, H - z), (-y, -z)]
    return [(-yy, yy, zz) for yy, zz in sites]


def _boron_cell(a: float, *_: float) -> Array:
    cos = np.cos(np.radians(58.06))
    hexa = a * np.sqrt(2 - 2 * cos)
    return _rhomb(hexa, a * np.sqrt(3 + 6 * cos) / hexa)


def _boron_frac(*_: float) -> list[tuple[float, float, float]]:
    out: list[tuple[float, float, float]] = []
    for x, z in ((0.0104, 0.6573), (0.2206, 0.6323)):
        for p in ((x, x, z), (x, z, x), (z, x, x)):
            out += [p, (-p[0], -p[1], -p[2])]
    return out


_PEROVSKITE = _fixed((0, 0, 0), (H, H, H), (H, H, 0), (H, 0, H), (0, H, H))

PROTOTYPES: dict[str, Prototype] = {
    "fcc": Prototype(_iso(_fcc), (0,), _fixed((0, 0, 0))),
    "bcc": Prototype(_iso(_bcc), (0,), _fixed((0, 0, 0))),
    "sc": Prototype(_iso(_cubic), (0,), _fixed((0, 0, 0))),
    "hcp": Prototype(_with_ca(_hex), (0, 0), _fixed((T, 2 * T, Q), (2 * T, T, 0.75)), (1.633,)),
    "diamond": Prototype(_iso(_fcc), (0, 0), _fixed((0, 0, 0), (Q, Q, Q))),
    "A6-bct": Prototype(_with_ca(_bct), (0,), _fixed((0, 0, 0)), (1.52,)),
    "A7": Prototype(
        _with_ca(_rhomb), (0, 0), lambda _ca, z: [(z, z, z), (-z, -z, -z)], (2.6, 0.2335)
    ),
    "A8": Prototype(
        _with_ca(_hex),
        (0, 0, 0),
        lambda _ca, u: [(u, 0, 0), (0, u, T), (-u, -u, 2 * T)],
        (1.2, 0.24),
    ),
    "Cmce-8f": Prototype(_cmce_cell, (0,) * 4, _cmce_frac, (1.69, 1.0, 0.154, 0.081)),
    "alpha-B12": Prototype(_boron_cell, (0,) * 12, _boron_frac),
    "rocksalt": Prototype(_iso(_fcc), (0, 1), _fixed((0, 0, 0), (H, H, H))),
    "zincblende": Prototype(_iso(_fcc), (0, 1), _fixed((0, 0, 0), (Q, Q, Q))),
    "wurtzite": Prototype(
        _with_ca(_hex),
        (0, 0, 1, 1),
        lambda _ca, u: [(T, 2 * T, 0), (2 * T, T, H), (T, 2 * T, u), (2 * T, T, H + u)],
        (1.62, 0.377),
    ),
    "CsCl": Prototype(_iso(_cubic), (0, 1), _fixed((0, 0, 0), (H, H, H))),
    "NiAs": Prototype(
        _with_ca(_hex),
        (0, 0, 1, 1),
        _fixed((0, 0, 0), (0, 0, H), (T, 2 * T, Q), (2 * T, T, 0.75)),
        (1.38,),
    ),
    "WC": Prototype(_with_ca(_hex), (0, 1), _fixed((0, 0, 0), (T, 2 * T, H)), (0.98,)),
    "fluorite": Prototype(_iso(_fcc), (0, 1, 1), _fixed((0, 0, 0), (Q, Q, Q), (0.75,) * 3)),
    "antifluorite": Prototype(_iso(_fcc), (0, 0, 1), _fixed((Q, Q, Q), (0.75,) * 3, (0, 0, 0))),
    "cuprite": Prototype(
        _iso(_cubic),
        (0, 0, 0, 0, 1, 1),
        _fixed((Q, Q, Q), (0.75, 0.75, Q), (0.75, Q, 0.75), (Q, 0.75, 0.75), (0, 0, 0), (H, H, H)),
    ),
    "perovskite": Prototype(_iso(_cubic), (0, 1, 2, 2, 2), _PEROVSKITE),
    "antiperovskite": Prototype(_iso(_cubic), (0, 1, 2, 2, 2), _PEROVSKITE),
    "ReO3": Prototype(
        _iso(_cubic), (0, 1, 1, 1), _fixed((0, 0, 0), (H, 0, 0), (0, H, 0), (0, 0, H))
    ),
    "half-Heusler": Prototype(_iso(_fcc), (0, 1, 2), _fixed((0, 0, 0), (Q, Q, Q), (H, H, H))),
    "full-Heusler": Prototype(
        _iso(_fcc), (0, 1, 1, 2), _fixed((0, 0, 0), (Q, Q, Q), (0.75,) * 3, (H, H, H))
    ),
    "BiF3": Prototype(
        _iso(_fcc), (0, 1, 1, 1), _fixed((0, 0, 0), (Q, Q, Q), (0.75,) * 3, (H, H, H))
    ),
    "L1_2": Prototype(
        _iso(_cubic), (0, 1, 1, 1), _fixed((0, 0, 0), (H, H, 0), (H, 0, H), (0, H, H))
    ),
    "L1_0": Prototype(_with_ca(_tet), (0, 1), _fixed((0, 0, 0), (H, H, H)), (1.3,)),
    "D0_22": Prototype(
        _with_ca(_bct),
        (0, 1, 1, 1),
        _fixed((0, 0, 0), (H, H, 0), (0.75, Q, H), (Q, 0.75, H)),
        (2.24,),
    ),
    "AlB2": Prototype(
        _with_ca(_hex), (0, 1, 1), _fixed((0, 0, 0), (T, 2 * T, H), (2 * T, T, H)), (1.08,)
    ),
    "CdI2": Prototype(
        _with_ca(_hex),
        (0, 1, 1),
        lambda _ca, z: [(0, 0, 0), (T, 2 * T, z), (2 * T, T, -z)],
        (1.65, 0.25),
    ),
    "3R-MoS2": Prototype(
        lambda a, ca, _z: a * np.array([[1, 0, 0], [-0.5, np.sqrt(3) / 2, 0], [H, H * T**0.5, ca]]),
        (0, 1, 1),
        # the third lattice vector is a1*2/3 + a2/3 + one interlayer distance along c
        lambda _ca, z: [
            (0, 0, 0),
            (T - z * 2 * T, 2 * T - z * T, z),
            (T + z * 2 * T, 2 * T + z * T, -z),
        ],
        (1.95, 0.256),
    ),
    "MoSi2": Prototype(
        _with_ca(_bct), (0, 1, 1), lambda _ca, z: [(0, 0, 0), (z, z, 0), (-z, -z, 0)], (2.45, 0.335)
    ),
    "litharge": Prototype(
        _with_ca(_tet),
        (0, 0, 1, 1),
        lambda _ca, z: [(0, H, z), (H, 0, -z), (0, 0, 0), (H, H, 0)],
        (1.26, 0.24),
    ),
    "rutile": Prototype(
        _with_ca(_tet),
        (0, 0, 1, 1, 1, 1),
        lambda _ca, u: [
            (0, 0, 0),
            (H, H, H),
            (u, u, 0),
            (-u, -u, 0),
            (H + u, H - u, H),
            (H - u, H + u, H),
        ],
        (0.65, 0.305),
    ),
    "CaAl2Si2": Prototype(
        _with_ca(_hex),
        (0, 1, 1, 2, 2),
        lambda _ca, u, v: [
            (0, 0, 0),
            (T, 2 * T, u),
            (2 * T, T, -u),
            (T, 2 * T, v),
            (2 * T, T, -v),
        ],
        (1.65, 0.63, 0.25),
    ),
    "alpha-NaFeO2": Prototype(
        _with_ca(_rhomb),
        (0, 1, 2, 2),
        lambda _ca, z: [(H, H, H), (0, 0, 0), (z, z, z), (-z, -z, -z)],
        (4.98, 0.26),
    ),
    "ThCr2Si2": Prototype(
        _with_ca(_bct),
        (0, 1, 1, 2, 2),
        lambda _ca, z: [(0, 0, 0), (0.75, Q, H), (Q, 0.75, H), (z, z, 0), (-z, -z, 0)],
        (3.2, 0.36),
    ),
    "A15": Prototype(
        _iso(_cubic),
        (0,) * 6 + (1,) * 2,
        _fixed(
            (Q, 0, H), (0.75, 0, H), (H, Q, 0), (H, 0.75, 0), (0, H, Q), (0, H, 0.75),
            (0, 0, 0), (H, H, H),
        ),
    ),
}  # fmt: skip

#: Reference crystal of each element: prototype, lattice guess, parameters; energies define zero.
REFERENCE_CRYSTALS = """
bcc: Li 3.44; Na 4.20; K 5.28; Rb 5.67; Cs 6.16; Ba 5.03; V 3.00; Nb 3.31; Ta 3.32; Mo 3.16
bcc: W 3.18
fcc: Ca 5.53; Sr 6.02; Rh 3.83; Ir 3.87; Ni 3.52; Pd 3.94; Pt 3.97; Cu 3.63; Ag 4.15; Au 4.16
fcc: Al 4.04; Pb 5.04
hcp: Be 2.26 1.575; Mg 3.19 1.624; Sc 3.32 1.556; Y 3.66 1.555; Ti 2.94 1.584; Zr 3.24 1.598
hcp: Hf 3.20 1.582; Ru 2.72 1.582; Zn 2.65 1.87
hcp: Cd 3.03 1.88; Tl 3.53 1.598
diamond: C 3.57; Si 5.47; Ge 5.76; Sn 6.65
A6-bct: In 3.26 1.52
A7: As 3.79 2.80 0.2271; Sb 4.35 2.61 0.2335; Bi 4.58 2.61 0.2339
A8: Se 4.45 1.13 0.22; Te 4.50 1.32 0.266
Cmce-8f: Ga 4.55 1.694 1.002 0.1539 0.081; P 3.31 3.20 1.33 0.1000 0.0806
alpha-B12: B 5.05
"""

#: Reference molecules (label reference only, never rows): formula, bond length in Å, spin.
REFERENCE_MOLECULES: dict[str, dict[str, Any]] = {
    "H": {"n": 2, "bond": 0.751, "magmom": 0.0},
    "N": {"n": 2, "bond": 1.103, "magmom": 0.0},
    "O": {"n": 2, "bond": 1.220, "magmom": 1.0},
    "F": {"n": 2, "bond": 1.415, "magmom": 0.0},
    "Cl": {"n": 2, "bond": 2.005, "magmom": 0.0},
    "Br": {"n": 2, "bond": 2.310, "magmom": 0.0},
    "I": {"n": 2, "bond": 2.690, "magmom": 0.0},
    "S": {"n": 8, "bond": 2.065, "magmom": 0.0},
}

#: Elements whose reference crystal is computed spin-polarised, with the starting moment.
MAGNETIC_REFERENCES = {"Ni": 0.7}

#: Elemental polymorphs that are not the reference.
POLYMORPHS = """
fcc: Li 4.33; Na 5.28; Mg 4.52; Ti 4.11; Zr 4.53; Mo 4.00; W 4.02; Nb 4.21; Si 3.87; Zn 3.93
fcc: Ga 4.22; In 4.80; Sn 4.80; Ru 3.81; Be 3.16; Sc 4.61; Ge 4.28; Tl 4.97; K 6.65; Ta 4.22
bcc: Al 3.23; Cu 2.89; Ag 3.31; Pd 3.13; Mg 3.57; Ti 3.25; Zr 3.57; Ca 4.38; Sr 4.75; Si 3.08
bcc: Pt 3.16; Au 3.30; Sn 3.80; Ga 3.35; Sc 3.67; Tl 3.93; Pb 4.02; Zn 3.12; Y 4.04; In 3.81
hcp: Al 2.86; Cu 2.56; Ca 3.91; Pd 2.79; Nb 2.88; Si 2.73; Na 3.73; Ag 2.94; Pb 3.56; In 3.38
sc: Al 2.72; Si 2.53; Sn 3.10; As 2.92; Sb 3.15; Bi 3.29; Te 3.20; Cu 2.41; Ge 2.69; P 2.40
sc: Se 2.95; Ca 3.50
diamond: Al 6.05; Pb 6.95; P 4.95; As 5.60; Ga 6.10; B 3.80
A6-bct: Sn 3.20 0.97; Ga 2.84 1.58
A7: P 3.45 3.30 0.2271; Te 4.20 2.80 0.240
"""

#: Compounds: prototype: species in slot order, lattice guess, then prototype parameters.
COMPOUNDS = """
rocksalt: Li F 4.07; Li Cl 5.15; Li Br 5.51; Li I 6.03; Na F 4.70; Na Cl 5.69; Na Br 6.05
rocksalt: Na I 6.53; K F 5.42; K Cl 6.38; K Br 6.70; K I 7.18; Rb F 5.74; Rb Cl 6.70
rocksalt: Rb Br 6.98; Rb I 7.45; Cs F 6.12; Ag F 5.00; Ag Cl 5.62; Ag Br 5.85
rocksalt: Li H 4.02; Na H 4.85; K H 5.70; Mg O 4.25; Ca O 4.84; Sr O 5.20; Ba O 5.60
rocksalt: Cd O 4.78; Ti O 4.28; Mg S 5.23; Mg Se 5.51; Ca S 5.71; Ca Se 5.96; Ca Te 6.40
rocksalt: Sr S 6.05; Sr Se 6.29; Sr Te 6.72; Ba S 6.43; Ba Se 6.66; Ba Te 7.05
rocksalt: Pb S 6.00; Pb Se 6.21; Pb Te 6.57; Sn S 5.80; Sn Se 6.05; Sn Te 6.40; Ge Te 6.02
rocksalt: Ti C 4.33; Zr C 4.71; Hf C 4.64; V C 4.16; Nb C 4.50; Ta C 4.47; Ti N 4.25
rocksalt: Zr N 4.60; Hf N 4.53; V N 4.12; Nb N 4.42; Sc N 4.52; Y N 4.92; Sc P 5.31
rocksalt: Sc As 5.50; Sc Sb 5.86; Y P 5.67; Y As 5.83; Y Sb 6.20; Y Bi 6.30; Sn As 5.76
rocksalt: Sn Sb 6.13; Ga As 5.35; Al N 4.07; Zn S 5.10; In P 5.55; Cd Te 6.10; Be O 3.65
rocksalt: Ga N 4.27; Zn O 4.33; In Te 6.15; Bi Te 6.47; Sb Te 6.20; Al P 5.20; Cu Br 5.40
zincblende: B N 3.63; B P 4.55; B As 4.82; Al P 5.51; Al As 5.73; Al Sb 6.22; Ga P 5.51
zincblende: Ga As 5.76; Ga Sb 6.22; In P 5.97; In As 6.19; In Sb 6.64; Al N 4.40; Ga N 4.55
zincblende: In N 5.05; Si C 4.38; Zn S 5.45; Zn Se 5.74; Zn Te 6.19; Cd S 5.94; Cd Se 6.20
zincblende: Cd Te 6.62; Be S 4.88; Be Se 5.18; Be Te 5.66; Cu Cl 5.43; Cu Br 5.73; Cu I 6.08
zincblende: Ag I 6.60; Zn O 4.63; Be O 3.83; Ge C 4.60; Mg Te 6.52; Mg O 4.60; Na Cl 6.25
zincblende: Li F 4.40; Mg S 5.70; Si Ge 5.60; Ti C 4.65; Ca S 6.20; Ag Br 6.20
wurtzite: Al N 3.13 1.60 0.382; Ga N 3.22 1.628; In N 3.59 1.612; Zn O 3.29 1.612 0.379
wurtzite: Be O 2.71 1.62; Si C 3.09 1.637; Zn S 3.85 1.637 0.375; Cd S 4.20 1.625; Cd Se 4.38
wurtzite: Mg Te 4.57; Ag I 4.65 1.635; Cu Cl 3.90 1.64; B N 2.55 1.65; Mg S 4.05; In P 4.25 1.64
CsCl: Cs Cl 4.20; Cs Br 4.38; Cs I 4.67; Tl Cl 3.90; Tl Br 4.05; Rb Cl 3.95; Na Cl 3.47; K I 4.38
CsCl: Mg O 2.65; Ca O 2.93; Ni Al 2.89; Ni Ti 3.01
CsCl: Cu Zn 2.97; Ag Zn 3.16; Au Zn 3.19; Ag Mg 3.33; Au Mg 3.28; Ag Li 3.17
CsCl: Cu Be 2.69; Ni Be 2.61; Pd Be 2.82; Ag Cd 3.36; Au Cd 3.36; Ca Tl 3.87
CsCl: Sr Tl 4.05; Cu Zr 3.26; Cu Sc 3.26; Ag Sc 3.43; Au Sc 3.40; Cu Y 3.48; Ag Y 3.65; Ru Al 3.00
CsCl: Rh Al 3.00; Ru Ti 3.08; Ru Sc 3.20; Rh Y 3.42; Rh Sc 3.21; Pd Sc 3.29; Ir Sc 3.22
CsCl: Ru Zr 3.25; Ru Hf 3.23; Ca Cd 3.83; Sr Cd 4.02; Ba Cd 4.22; Li Tl 3.44
CsCl: Mg Tl 3.65; Zn Y 3.58; Zn Sc 3.35; Mg Y 3.80; Mg Sc 3.60; Cu Ag 3.12; Mo Ag 3.16; Al Si 3.20
CsCl: Li Al 3.20; Ti V 3.12; Nb Mo 3.24; Mo W 3.17; Ta W 3.25; Li Na 3.85; Mg Al 3.37; Cu Au 3.10
CsCl: Pd Cu 2.99; Nb Zr 3.42; Pt Ti 3.17; Na K 4.75; Ca Mg 4.02; Zn Al 3.16; Sn Pb 3.95
NiAs: Ni As 3.62 1.39; Ni Sb 3.95 1.305; Ni Te 3.97 1.35
NiAs: Ti S 3.30 1.93; Ti Se 3.57 1.75; Ir Sb 4.00 1.39; Pd Sb 4.10 1.37; Pt Sb 4.15 1.33
NiAs: Pt Sn 4.12 1.33; Au Sn 4.36 1.28; Ni Bi 4.08 1.315; Pt Bi 4.34 1.27; Pd Te 4.17 1.37
NiAs: Rh Te 4.00 1.42; Pt Pb 4.28 1.29; Mg Te 4.25 1.65; Al Sb 4.05 1.50; Sc Te 4.12 1.64
WC: W C 2.92 0.974; Mo C 2.91 0.97; Mo P 3.24 0.99; Ta N 2.94 0.98; Nb N 2.96 0.98; Zr Te 3.80 1.02
WC: Ti As 3.60 1.0; Nb S 3.35 1.0; W N 2.88 0.985; Zr P 3.70 1.0
fluorite: Ca F 5.50; Sr F 5.85; Ba F 6.25; Cd F 5.45; Pb F 5.98; Sr Cl 7.00; Ba Cl 7.35; Zr O 5.12
fluorite: Hf O 5.07; Sc H 4.78; Y H 5.21; Zr H 4.82; Ti H 4.43; Pt Al 5.96; Au Al 6.07; Au Ga 6.15
fluorite: Au In 6.60; Pt Ga 5.98; Pt In 6.45; Ni Si 5.46; Mg F 5.10; Ti O 4.83; Pt Sn 6.50
fluorite: Ca Cl 6.85; Zn F 4.95; Sn O 4.97; Ru O 4.88; Nb H 4.57; V H 4.23
antifluorite: Li O 4.63; Na O 5.57; K O 6.45; Rb O 6.77; Li S 5.72; Na S 6.57; K S 7.43; Li Se 6.02
antifluorite: Na Se 6.84; K Se 7.75; Li Te 6.54; Na Te 7.35; K Te 8.20; Mg Si 6.36; Mg Ge 6.42
antifluorite: Mg Sn 6.82; Mg Pb 6.90; Be C 4.34; Ir P 5.58; Rh P 5.53; Cu Se 5.85; Cu S 5.58
antifluorite: Ag Te 6.80; Ca Si 7.05; Ca Pb 7.70; Be Si 5.40
cuprite: Cu O 4.30; Ag O 4.80
perovskite: Sr Ti O 3.94; Ba Ti O 4.03; Ca Ti O 3.89; K Nb O 4.03; Na Nb O 3.98; K Ta O 4.03
perovskite: Ba Zr O 4.24; Sr Zr O 4.17; Sr Hf O 4.14; Na Ta O 3.97; K Mg F 4.06; K Zn F 4.13
perovskite: Rb Ca F 4.50; Cs Ca F 4.58; Na Mg F 3.95; K Cd F 4.40; Cs Pb Cl 5.74; Cs Pb Br 6.00
perovskite: Cs Pb I 6.40; Cs Sn Cl 5.62; Cs Sn I 6.28; Cs Cd Cl 5.30; Ba Li F 4.02; Ca Zr S 5.00
antiperovskite: Mg C Ni 3.82; Al C Ti 4.15; Sn C Sc 4.53; Pb O Ca 4.86; Sn O Ca 4.84; Sn O Sr 5.15
antiperovskite: Bi N Ca 4.90; Sb N Ca 4.86; Pd N Cu 3.88; Cl O Li 3.91; Br O Na 4.57; Zn C Ni 3.67
antiperovskite: Al N Ti 4.11; In N Ti 4.19; In C Sc 4.56; As N Mg 4.22; Sb N Mg 4.36; Al C Y 4.90
ReO3: W O 3.83; Sc F 4.03; Al F 3.62; N Cu 3.84; N Li 3.95
half-Heusler: Ti Ni Sn 5.94; Zr Ni Sn 6.15; Hf Ni Sn 6.11
half-Heusler: Ti Pt Sn 6.22
half-Heusler: Sc Ni Sb 6.12; Y Ni Sb 6.34; Sc Pd Sb 6.38; Y Pd Bi 6.68; Sc Pt Sb 6.38; Sc Ni Bi 6.25
half-Heusler: Nb Rh Sn 6.22; Zr Rh Sb 6.30; Ti Ir Sb 6.17; Li Si Al 5.93; Li N Mg 4.98; Li P Zn 5.76
half-Heusler: Li As Zn 5.97; Li P Mg 6.02; Li As Mg 6.20; Li As Cd 6.28; Mg As Ag 6.27
half-Heusler: Li Bi Mg 6.77
half-Heusler: Li N Zn 4.91; Li Ge Al 6.00; Li P Cd 6.10; Mg Sb Cu 6.25
full-Heusler: Ti Ni Al 5.90; Zr Ni Al 6.12; Sc Ni Al 6.00; V Ni Al 5.80; Nb Ni Sn 6.18
full-Heusler: Zr Pd In 6.56; Hf Pd Al 6.38; Ti Pd Al 6.24; Ti Ru Si 5.97; Nb Ru Al 6.16
full-Heusler: V Ru Al 6.00
full-Heusler: K Na Sb 7.75; Mg Li Si 6.30; Ti Cu Al 6.02; Sc Au Al 6.55; Mg Li Sn 6.75
full-Heusler: Ti Ni Sn 6.10
full-Heusler: Zn Cu Al 5.86; Ti Al Cu 6.15
BiF3: Bi Li 6.72; Sb Li 6.56; As Li 6.15; Sb Cs 9.30; Sb K 8.50; Sb Cu 6.05; Sb Na 7.60; Si Cu 5.70
BiF3: Y H 5.26; Al Mg 6.85; Ga Li 6.10; P Li 5.90
L1_2: Al Ni 3.57; Ga Ni 3.59; Si Ni 3.51; Ti Pt 3.92; Zr Al 4.10; Sc Al 4.11; Ti Al 3.98; Au Cu 3.78
L1_2: Cu Au 4.05; Pt Cu 3.72; Ti Rh 3.84; Sc Rh 3.92; Hf Rh 3.94; Y Pd 4.11; Sc Pd 4.00; Ca Sn 4.75
L1_2: Ca Pb 4.92; Y In 4.62; Ca Tl 4.82; Na Pb 4.92; Ti Ir 3.87; Nb Ir 3.91; V Ir 3.84; Zr Ir 3.97
L1_2: Sc In 4.50; Sc Ga 4.12; Li Al 4.02; Y Pb 4.86; Li Mg 4.42; Cu Zn 3.84; Zn Cu 3.70; Y Al 4.26
L1_2: Zr Zn 3.97; Ag Mg 4.40; Mg Ag 4.12; Pb Li 4.50; Si Al 3.98; Mo Pt 3.96; C Ti 3.90; N Ni 3.75
L1_0: Cu Au 2.87 1.29; Ti Al 2.83 1.44; Pt Zn 2.88 1.22; Pd Zn 2.91 1.16; Ni Zn 2.75 1.16
L1_0: Pd Cd 3.06 1.19; Pt Cd 3.00 1.28; Mg In 3.26 1.35; Na Bi 3.50 1.39; Li Bi 3.40 1.26
L1_0: Ti Ga 2.81 1.41; Pd Mg 3.05 1.15; Cu Ti 3.15 0.91; Al Cu 2.75 1.35; Ag Pd 2.85 1.41
L1_0: Rh Nb 2.83 1.36; Mg Cd 3.15 1.45; Pt Cu 2.70 1.36; Ir Nb 2.85 1.37; Li Pb 3.35 1.3
D0_22: Ti Al 3.85 2.235; V Al 3.78 2.205; Nb Al 3.84 2.24; Ta Al 3.84 2.23; V Ni 3.54 2.04
AlB2: Mg B 3.07 1.14; Al B 3.00 1.085; Ti B 3.03 1.065; Zr B 3.17 1.115; Hf B 3.14 1.105
AlB2: V B 3.00 1.015; Nb B 3.11 1.06; Ta B 3.10 1.05; Sc B 3.15 1.12; Y B 3.30 1.165; Mo B 3.04 1.02
AlB2: Ca Ga 4.35 1.0; Sr Ga 4.38 1.09; Ba Ga 4.46 1.14; Ca B 3.25 1.25; W B 3.02 1.03
AlB2: Ag B 3.02 1.30
AlB2: Ca Si 3.95 1.15; Sr Si 4.05 1.18; Mg C 2.65 1.55; Li C 2.55 1.45
CdI2: Mg Br 3.85 1.63; Mg I 4.17 1.64; Ca I 4.52 1.55; Cd I 4.30 1.62; Ti S 3.41 1.67
CdI2: Ti Se 3.54 1.69
CdI2: Zr S 3.68 1.585; Zr Se 3.79 1.63; Hf S 3.65 1.60; Hf Se 3.76 1.64; Ti Te 3.77 1.725 0.26
CdI2: Sn S 3.68 1.61; Sn Se 3.86 1.60; Pt S 3.57 1.43 0.24; Pt Se 3.76 1.36; Pt Te 4.04 1.295 0.254
CdI2: Pd Te 4.05 1.27; Ni Te 3.87 1.365; Ta S 3.36 1.76; Pb I 4.62 1.52 0.26; Mg Cl 3.64 1.60 0.235
CdI2: Zn I 4.25 1.54; Nb Se 3.45 1.80 0.26; Ca Br 4.20 1.52; Cd Br 3.98 1.58
3R-MoS2: Mo S 3.18; Mo Se 3.32; Mo Te 3.55 1.97; W S 3.18; W Se 3.32; W Te 3.55 1.97
3R-MoS2: Nb S 3.34 1.79 0.262
3R-MoS2: Nb Se 3.47 1.82 0.267; Ta S 3.33 1.80 0.26; Ta Se 3.46 1.84 0.263; Zr S 3.55 1.75 0.25
3R-MoS2: Ti S 3.35 1.80 0.252
MoSi2: Mo Si 3.21 2.45; W Si 3.22 2.44; Cu Zr 3.22 3.47 0.346; Pd Ti 3.10 3.25 0.34
MoSi2: Pd Zr 3.31 3.29 0.341; Zn Zr 3.33 3.35 0.34; Ag Ti 2.97 4.05 0.34
litharge: Pb O 4.00 1.26 0.237; Sn O 3.84 1.27 0.238
rutile: Ti O 4.63 0.64; Sn O 4.80 0.67 0.306; Mg F 4.66 0.655 0.303; Zn F 4.75 0.665 0.303
rutile: Ru O 4.53 0.69 0.306; Ge O 4.46 0.655 0.306; Pb O 5.02 0.68 0.308
CaAl2Si2: Ca Al Si 4.14 1.73 0.63 0.27; Ca Zn Sb 4.46 1.68 0.631 0.257; Ca Mg Sb 4.68 1.63
CaAl2Si2: Mg Mg Sb 4.58 1.585 0.634 0.228; Mg Mg Bi 4.67 1.58 0.634 0.23
CaAl2Si2: Sr Zn Sb 4.52 1.73 0.635 0.267
CaAl2Si2: Ca Mg Bi 4.76 1.625; Ca Zn P 4.04 1.69 0.631 0.258; Ca Cd As 4.42 1.63 0.634 0.24
alpha-NaFeO2: Na In O 3.27 5.03 0.264; Li Sc O 3.15 4.85; Na Ti S 3.57 5.8 0.258
alpha-NaFeO2: Na Y S 4.0 4.97 0.258; Na Bi Se 4.15 4.95 0.255
ThCr2Si2: Ba Zn P 4.03 3.29 0.356; Ca Ni P 3.86 2.50 0.375; Sr Pd As 4.40 2.32 0.375
ThCr2Si2: Sr Cu Si 4.22 2.38 0.38; Ca Ni Si 4.01 2.42 0.37
A15: Nb Sn 5.32; V Si 4.71; Nb Al 5.19
"""

VARIANTS = ("volume+8%", "tetragonal+4%", "volume-6%", "off-centre", "rhombohedral+4%", "rattle")


#: Crystals holding one of these elements take a coarser k mesh (wide gaps), see `build.py`.
IONIC = frozenset(SYMBOLS.index(s) for s in ("O", "F", "Cl", "Br", "I"))


@dataclass
class Entry:
    """One planned crystal (``variant == "parent"``) or one deformation of a planned parent."""

    key: str
    prototype: str
    variant: str
    numbers: list[int]
    cell: list[list[float]]
    frac: list[list[float]]
    parent: str = ""
    reference: str = ""
    magmom: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as a plain dictionary."""
        return asdict(self)


def _parse(table: str) -> list[tuple[str, list[str], list[float]]]:
    out = []
    for line in filter(None, (s.strip() for s in table.splitlines())):
        name, items = line.split(":")
        for item in items.split(";"):
            words = item.split()
            species = [w for w in words if w[0].isalpha()]
            out.append((name, species, [float(w) for w in words if not w[0].isalpha()]))
    return out


def make_parent(name: str, species: list[str], values: list[float]) -> Entry:
    """Build a parent entry from one item of a table.

    Parameters
    ----------
    name
        Prototype name.
    species
        Chemical symbols in slot order.
    values
        Lattice parameter in Å followed by prototype parameters (missing ones take defaults).

    Returns
    -------
    Entry
        The undeformed crystal at its starting volume.
    """
    proto = PROTOTYPES[name]
    params = list(values[1:]) + list(proto.defaults[len(values) - 1 :])
    cell = proto.cell(values[0], *params)
    frac = np.asarray(proto.frac(*params), dtype=float) % 1.0
    numbers = [SYMBOLS.index(species[s]) for s in proto.slots]
    return Entry(
        key=f"{name}-{''.join(species)}",
        prototype=name,
        variant="parent",
        numbers=numbers,
        cell=cell.tolist(),
        frac=frac.tolist(),
    )


def molecule(symbol: str) -> Entry:
    """Build the reference molecule of an element in an orthorhombic box.

    Parameters
    ----------
    symbol
        Element symbol, a key of `REFERENCE_MOLECULES`.

    Returns
    -------
    Entry
        Molecule with at least 6.5 Å between periodic images.
    """
    spec = REFERENCE_MOLECULES[symbol]
    bond = spec["bond"]
    if spec["n"] == 2:
        pos = np.array([[0, 0, -bond / 2], [0, 0, bond / 2]])
        box = np.array([7.0, 7.5, 8.0 + bond])
    else:  # S8 crown, S-S-S angle of 108 degrees
        second = 2 * bond * np.sin(np.radians(54.0))
        radius = second / np.sqrt(2)
        height = np.sqrt(bond**2 - (2 * radius * np.sin(np.pi / 8)) ** 2) / 2
        phi = np.arange(8) * np.pi / 4
        z = height * (-1.0) ** np.arange(8)
        pos = np.stack([radius * np.cos(phi), radius * np.sin(phi), z], axis=1)
        box = np.array([11.5, 11.5, 8.0])
    frac = (pos / box + 0.5) % 1.0
    return Entry(
        key=f"molecule-{symbol}{spec['n']}",
        prototype="molecule",
        variant="parent",
        numbers=[SYMBOLS.index(symbol)] * spec["n"],
        cell=np.diag(box).tolist(),
        frac=frac.tolist(),
        reference=symbol,
        magmom=spec["magmom"],
    )


def is_cubic(cell: Array) -> bool:
    """Tell whether cell rows built here belong to a cubic lattice (their sum lies along [111])."""
    total = np.asarray(cell).sum(axis=0)
    return bool(np.ptp(total) < 1e-4 * np.linalg.norm(total))


def apply_variant(kind: str, cell: Array, frac: Array, key: str) -> tuple[Array, Array]:
    """Deform a finished parent geometry.

    Parameters
    ----------
    kind
        One of `VARIANTS`.
    cell
        Cell rows in Å.
    frac
        Fractional coordinates.
    key
        Key of the variant, used to seed the rattle.

    Returns
    -------
    tuple of arrays
        Deformed cell and fractional coordinates.
    """
    if kind.startswith("volume"):
        return cell * (1 + float(kind[6:-1]) / 100) ** (1 / 3), frac
    if kind.startswith("tetragonal"):
        s = 1.04
        return cell @ np.diag([s**-0.5, s**-0.5, s]), frac
    if kind.startswith("rhombohedral"):
        shear = np.eye(3) + 0.04 * (np.ones((3, 3)) - np.eye(3))
        return cell @ (shear / np.linalg.det(shear) ** (1 / 3)), frac
    pos = frac @ cell
    if kind == "off-centre":
        # move the atom nearest to the cell centre by 0.15 Å along [111] (cubic) or z (others)
        which = int(np.argmin(np.linalg.norm(pos - cell.sum(axis=0) / 2, axis=1)))
        axis = np.ones(3) / np.sqrt(3) if is_cubic(cell) else np.array([0.0, 0.0, 1.0])
        pos[which] += 0.15 * axis
    elif kind == "rattle":
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        pos += rng.normal(scale=0.06, size=pos.shape)
    else:
        raise ValueError(f"unknown variant {kind!r}")
    return cell, (pos @ np.linalg.inv(cell)) % 1.0


def distance_ratio(numbers: list[int], cell: Array, frac: Array) -> float:
    """Return the smallest interatomic distance over the sum of covalent radii.

    Parameters
    ----------
    numbers
        Atomic numbers.
    cell
        Cell rows in Å.
    frac
        Fractional coordinates.

    Returns
    -------
    float
        The minimum over all pairs, periodic images included.
    """
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=3)), dtype=float) @ cell
    radii = np.array([COVALENT_RADII[SYMBOLS[z]] for z in numbers])
    pos = frac @ cell
    dist = np.linalg.norm(pos[None, :, None] - pos[:, None, None] + shifts, axis=-1)
    dist[dist < 1e-8] = np.inf
    return float((dist.min(axis=-1) / (radii[:, None] + radii[None])).min())


#: Order of the point group (with time reversal) by prototype; 48 (cubic) where not given.
GROUP_ORDER = {
    "hcp": 24, "A6-bct": 16, "A7": 12, "A8": 12, "Cmce-8f": 8, "alpha-B12": 12, "wurtzite": 24,
    "NiAs": 24, "WC": 24, "L1_0": 16, "D0_22": 16, "AlB2": 24, "CdI2": 12, "3R-MoS2": 12,
    "MoSi2": 16, "litharge": 16, "rutile": 16, "CaAl2Si2": 12, "alpha-NaFeO2": 12,
    "ThCr2Si2": 16,
}  # fmt: skip


#: Valence electrons of the default PAW datasets.
VALENCE = {
    "H": 1, "Li": 1, "Be": 2, "B": 3, "C": 4, "N": 5, "O": 6, "F": 7, "Na": 7, "Mg": 10, "Al": 3,
    "Si": 4, "P": 5, "S": 6, "Cl": 7, "K": 9, "Ca": 10, "Sc": 11, "Ti": 12, "V": 13, "Ni": 16,
    "Cu": 11, "Zn": 12, "Ga": 3, "Ge": 4, "As": 5, "Se": 6, "Br": 7, "Rb": 9, "Sr": 10, "Y": 11,
    "Zr": 12, "Nb": 13, "Mo": 14, "Ru": 16, "Rh": 15, "Pd": 16, "Ag": 17, "Cd": 12, "In": 13,
    "Sn": 14, "Sb": 15, "Te": 6, "I": 7, "Cs": 9, "Ba": 10, "Hf": 12, "Ta": 13, "W": 14, "Ir": 15,
    "Pt": 16, "Au": 11, "Tl": 13, "Pb": 14, "Bi": 15,
}  # fmt: skip


#: Expected relative cost above which parents wait for the end of the plan.
MAX_COST = 60.0
#: Parents up to this expected relative cost get a variant even if the regular round skips them.
EXTRA_VARIANT_COST = 11.0
#: Loss of symmetry of a variant of a cubic crystal.
VARIANT_COST = {"tetragonal+4%": 3, "rhombohedral+4%": 4, "off-centre": 4, "rattle": 12}


def relative_cost(entry: Entry) -> float:
    """Estimate the relative cost of a label.

    Bands over the order of the point group, times the number of k points per reciprocal volume
    (`build.K_DENSITY` cubed); elemental crystals, less useful as labels, count three times.
    """
    symbols = [SYMBOLS[z] for z in entry.numbers]
    bands = sum(VALENCE[s] for s in symbols) / 2 + 4 + len(symbols)
    mesh = 27.0 if IONIC.intersection(entry.numbers) else 64.0
    if len(set(symbols)) == 1:
        mesh = 3 * 125.0
    return bands * mesh / GROUP_ORDER.get(entry.prototype, 48)


def plan(seed: int = 20, variant_every: int = 3) -> list[Entry]:
    """List all planned calculations in the order in which they are run.

    References come first, then parents in a random order that favours cheap ones (an exponential
    race with rates that fall with the expected cost; those above `MAX_COST` at the end), every
    `variant_every`-th of them followed by one variant, so that a run cut short by a time budget
    is still a mixed sample.

    Parameters
    ----------
    seed
        Seed of the shuffle.
    variant_every
        One parent in this many gets a variant.

    Returns
    -------
    list of Entry
        Planned calculations.
    """
    out = [molecule(s) for s in REFERENCE_MOLECULES]
    for name, species, values in _parse(REFERENCE_CRYSTALS):
        entry = make_parent(name, species, values)
        entry.reference = species[0]
        entry.magmom = MAGNETIC_REFERENCES.get(species[0], 0.0)
        out.append(entry)
    parents = [make_parent(*item) for item in _parse(POLYMORPHS + COMPOUNDS)]
    race = np.random.default_rng(seed).exponential(size=len(parents))
    costs = np.array([relative_cost(entry) for entry in parents])
    order = np.argsort(race * costs**1.5 + 1e9 * (costs > MAX_COST))
    kinds = itertools.cycle(VARIANTS)
    for i, j in enumerate(order):
        entry = parents[j]
        out.append(entry)
        if i % variant_every == variant_every - 1:
            kind = next(kinds)
            n = len(entry.numbers)
            unfit = {
                "rhombohedral+4%": not is_cubic(np.array(entry.cell)),
                "off-centre": n == 1,
                "rattle": n != 2,
            }.get(kind, False)
            if unfit or relative_cost(entry) * VARIANT_COST.get(kind, 1) > MAX_COST:
                kind = "volume+8%" if i % 2 else "volume-6%"
            out.append(
                Entry(
                    key=f"{entry.key}@{kind}",
                    prototype=entry.prototype,
                    variant=kind,
                    numbers=entry.numbers,
                    cell=[],
                    frac=[],
                    parent=entry.key,
                )
            )
    # one more round of cheap variants, larger volume changes, for parents that have none
    done = {e.parent for e in out if e.parent}
    cheap = [parents[j] for j in order if costs[j] <= EXTRA_VARIANT_COST]
    for i, entry in enumerate(e for e in cheap if e.key not in done and len(set(e.numbers)) > 1):
        kind = ("volume-12%", "volume+20%")[i % 2]
        out.append(
            Entry(
                key=f"{entry.key}@{kind}",
                prototype=entry.prototype,
                variant=kind,
                numbers=entry.numbers,
                cell=[],
                frac=[],
                parent=entry.key,
            )
        )
    if len({e.key for e in out}) != len(out):
        raise ValueError("duplicate key in the plan")
    return out
