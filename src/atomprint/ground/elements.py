"""Numbers of the chemical elements, Z = 1 ... 118, each with its source.

Every element has every number: no NaN can reach a fingerprint. What a source lacks is filled by
the rules stated beside each array below.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MAX_Z = 118
"""Largest atomic number known here."""

# symbol, group, period, electronegativity, covalent radius / Å, mass / u; "-" is missing.
_TABLE = """
H   1 1 2.20 0.31 1.008
He 18 1 4.16 0.28 4.0026
Li  1 2 0.98 1.28 6.94
Be  2 2 1.57 0.96 9.01218
B  13 2 2.04 0.84 10.81
C  14 2 2.55 0.76 12.011
N  15 2 3.04 0.71 14.007
O  16 2 3.44 0.66 15.999
F  17 2 3.98 0.57 18.9984
Ne 18 2 4.79 0.58 20.1797
Na  1 3 0.93 1.66 22.9898
Mg  2 3 1.31 1.41 24.305
Al 13 3 1.61 1.21 26.9815
Si 14 3 1.90 1.11 28.085
P  15 3 2.19 1.07 30.9738
S  16 3 2.58 1.05 32.06
Cl 17 3 3.16 1.02 35.45
Ar 18 3 3.24 1.06 39.948
K   1 4 0.82 2.03 39.0983
Ca  2 4 1.00 1.76 40.078
Sc  3 4 1.36 1.70 44.9559
Ti  4 4 1.54 1.60 47.867
V   5 4 1.63 1.53 50.9415
Cr  6 4 1.66 1.39 51.9961
Mn  7 4 1.55 1.39 54.938
Fe  8 4 1.83 1.32 55.845
Co  9 4 1.88 1.26 58.9332
Ni 10 4 1.91 1.24 58.6934
Cu 11 4 1.90 1.32 63.546
Zn 12 4 1.65 1.22 65.38
Ga 13 4 1.81 1.22 69.723
Ge 14 4 2.01 1.20 72.63
As 15 4 2.18 1.19 74.9216
Se 16 4 2.55 1.20 78.971
Br 17 4 2.96 1.20 79.904
Kr 18 4 3.00 1.16 83.798
Rb  1 5 0.82 2.20 85.4678
Sr  2 5 0.95 1.95 87.62
Y   3 5 1.22 1.90 88.9058
Zr  4 5 1.33 1.75 91.224
Nb  5 5 1.60 1.64 92.9064
Mo  6 5 2.16 1.54 95.95
Tc  7 5 1.90 1.47 97.9072
Ru  8 5 2.20 1.46 101.07
Rh  9 5 2.28 1.42 102.906
Pd 10 5 2.20 1.39 106.42
Ag 11 5 1.93 1.45 107.868
Cd 12 5 1.69 1.44 112.414
In 13 5 1.78 1.42 114.818
Sn 14 5 1.96 1.39 118.71
Sb 15 5 2.05 1.39 121.76
Te 16 5 2.10 1.38 127.6
I  17 5 2.66 1.39 126.904
Xe 18 5 2.60 1.40 131.293
Cs  1 6 0.79 2.44 132.905
Ba  2 6 0.89 2.15 137.327
La  3 6 1.10 2.07 138.905
Ce  3 6 1.12 2.04 140.116
Pr  3 6 1.13 2.03 140.908
Nd  3 6 1.14 2.01 144.242
Pm  3 6 1.13 1.99 144.913
Sm  3 6 1.17 1.98 150.36
Eu  3 6 1.20 1.98 151.964
Gd  3 6 1.20 1.96 157.25
Tb  3 6 1.10 1.94 158.925
Dy  3 6 1.22 1.92 162.5
Ho  3 6 1.23 1.92 164.93
Er  3 6 1.24 1.89 167.259
Tm  3 6 1.25 1.90 168.934
Yb  3 6 1.10 1.87 173.054
Lu  3 6 1.27 1.87 174.967
Hf  4 6 1.30 1.75 178.49
Ta  5 6 1.50 1.70 180.948
W   6 6 2.36 1.62 183.84
Re  7 6 1.90 1.51 186.207
Os  8 6 2.20 1.44 190.23
Ir  9 6 2.20 1.41 192.217
Pt 10 6 2.28 1.36 195.084
Au 11 6 2.54 1.36 196.967
Hg 12 6 2.00 1.32 200.592
Tl 13 6 1.62 1.45 204.38
Pb 14 6 2.33 1.46 207.2
Bi 15 6 2.02 1.48 208.98
Po 16 6 2.00 1.40 208.982
At 17 6 2.20 1.50 209.987
Rn 18 6 2.20 1.50 222.018
Fr  1 7 0.70 2.60 223.02
Ra  2 7 0.90 2.21 226.025
Ac  3 7 1.10 2.15 227.028
Th  3 7 1.30 2.06 232.038
Pa  3 7 1.50 2.00 231.036
U   3 7 1.38 1.96 238.029
Np  3 7 1.36 1.90 237.048
Pu  3 7 1.28 1.87 244.064
Am  3 7 1.30 1.80 243.061
Cm  3 7 1.30 1.69 247.07
Bk  3 7 1.30    - 247.07
Cf  3 7 1.30    - 251.08
Es  3 7 1.30    - 252.083
Fm  3 7 1.30    - 257.095
Md  3 7 1.30    - 258.098
No  3 7 1.30    - 259.101
Lr  3 7 1.30    - 262.11
Rf  4 7    -    - 267.122
Db  5 7    -    - 268.126
Sg  6 7    -    - 271.134
Bh  7 7    -    - 270.133
Hs  8 7    -    - 269.134
Mt  9 7    -    - 278.156
Ds 10 7    -    - 281.165
Rg 11 7    -    - 281.166
Cn 12 7    -    - 285.177
Nh 13 7    -    - 286.182
Fl 14 7    -    - 289.19
Mc 15 7    -    - 289.194
Lv 16 7    -    - 293.204
Ts 17 7    -    - 293.208
Og 18 7    -    - 294.214
"""

_ROWS = [line.split() for line in _TABLE.strip().splitlines()]

symbols: tuple[str, ...] = ("X", *(row[0] for row in _ROWS))
"""Symbols by atomic number; index 0 is no element."""

atomic_number: dict[str, int] = {symbol: z for z, symbol in enumerate(symbols) if z > 0}
"""Atomic numbers by symbol."""


def _column(index: int, missing: float) -> FloatArray:
    """One column by atomic number; the value at 0 (no element) is 0."""
    values = [missing if row[index] == "-" else float(row[index]) for row in _ROWS]
    array = np.array([0.0, *values])
    array.flags.writeable = False
    return array


group: FloatArray = _column(1, 0.0)
"""IUPAC groups 1-18. The f block (La-Yb, Ac-No) has no group of its own and counts as 3."""

period: FloatArray = _column(2, 0.0)
"""Rows of the periodic table, 1-7."""

electronegativity: FloatArray = _column(3, 1.3)
"""Pauling's scale, dimensionless: Pauling 1960 with Allred's revision (J. Inorg. Nucl. Chem. 17,
215, 1961), as compiled in pymatgen. He, Ne and Ar have no Pauling value and take Allen's
spectroscopic one (Allen, J. Am. Chem. Soc. 111, 9003, 1989: 4.16, 4.79, 3.24). Z = 104 ... 118,
unknown on either scale, take 1.3, the value tabulated for every element from Am to Lr."""

covalent_radius: FloatArray = _column(4, 1.69)
"""In Å: Cordero et al., Dalton Trans. 2832, 2008, as compiled in ASE (C is sp3; Mn, Fe and Co are
low spin). Z = 97 ... 118, which the paper does not reach, take that of Cm (1.69), the last known.
"""

mass: FloatArray = _column(5, 0.0)
"""Standard atomic weights in u (IUPAC 2016, as compiled in ASE); for elements without a stable
isotope the mass of the longest-lived one."""


def _valence() -> FloatArray:
    values = np.where(group <= 12, group, group - 10)
    values[2] = 2.0  # helium stands in group 18 and has two electrons
    values.flags.writeable = False
    return values


valence: FloatArray = _valence()
"""Valence electrons by position in the table: the group number for groups 1-12, the group minus 10
for groups 13-18, 2 for He, and 3 for the f block, whose f electrons take little part in bonding."""
