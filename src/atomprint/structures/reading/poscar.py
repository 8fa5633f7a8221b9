"""POSCAR and CONTCAR of VASP 5: lattice, species line, counts, positions."""

import re

import numpy as np

from atomprint.structures.crystal import FloatArray
from atomprint.structures.reading.checks import MAX_ATOMS
from atomprint.structures.reading.elements import NUMBERS, symbol_of
from atomprint.structures.reading.result import Found, Record, Refused


def read_poscar(data: bytes) -> Found:
    """Read one crystal; velocities and what follows the positions are not read."""
    lines = data.decode("utf-8", errors="replace").splitlines()
    if len(lines) < 8:
        raise Refused("broken", f"has {len(lines)} lines, too few for a POSCAR")
    lattice = np.stack([_numbers(lines[row], 3, "the lattice") for row in (2, 3, 4)])
    scale = _scale(lines[1], lattice)
    symbols, counts, row = _species(lines)
    if row < len(lines) and lines[row].strip()[:1].lower() == "s":
        row += 1  # selective dynamics
    mode = lines[row].strip()[:1].lower() if row < len(lines) else ""
    if mode not in ("d", "c", "k"):
        raise Refused("broken", "says neither Direct nor Cartesian before the positions")
    row += 1
    n_atoms = sum(counts)
    if len(lines) < row + n_atoms:
        raise Refused(
            "coordinates", f"has {max(len(lines) - row, 0)} positions for {n_atoms} atoms"
        )
    values = np.array(
        [_numbers(line, 3, "a position") for line in lines[row : row + n_atoms]]
    ).reshape(-1, 3)
    numbers = np.repeat(np.array([NUMBERS[symbol] for symbol in symbols], dtype=np.int64), counts)
    if mode == "d":
        return Found([Record(numbers, lattice * scale, frac=values)])
    return Found([Record(numbers, lattice * scale, positions=values * scale)])


def _scale(line: str, lattice: FloatArray) -> FloatArray:
    """Scaling of x, y and z; a negative number is the volume in Å³."""
    parts = line.split()
    many = len(parts) >= 3 and all(re.match(r"[\d.+-]", part) for part in parts[:3])
    values = _numbers(line, 3 if many else 1, "the scaling factor")
    if values.min() > 0:
        return np.broadcast_to(values, (3,))
    volume = abs(float(np.linalg.det(lattice)))
    if len(values) == 1 and values[0] < 0 and volume > 0:
        return np.full(3, (-values[0] / volume) ** (1 / 3))
    raise Refused("cell", f"the scaling factor {line.strip()[:40]!r} makes no cell")


def _species(lines: list[str]) -> tuple[list[str], list[int], int]:
    """Symbols, counts and the row after them."""
    names = [re.split(r"[_/]", name)[0] for name in re.split(r"[!#]", lines[5])[0].split()]
    if names and all(name.isdigit() for name in names):
        raise Refused(
            "element",
            "has no line of element symbols (VASP 4); write one above the numbers of atoms",
        )
    symbols = [name.capitalize() for name in names]
    for name, symbol in zip(names, symbols, strict=True):
        if symbol not in NUMBERS:
            raise Refused("element", f"{name[:20]!r} is no element")
    parts = lines[6].split("!")[0].split()
    try:
        counts = [int(part) for part in parts]
    except ValueError:
        raise Refused(
            "broken", f"the numbers of atoms {lines[6].strip()[:40]!r} make no sense"
        ) from None
    if len(counts) != len(symbols) or not counts or min(counts) < 0:
        raise Refused("broken", f"has {len(symbols)} elements but {len(counts)} numbers of atoms")
    if sum(counts) > MAX_ATOMS:
        raise Refused("size", f"has {sum(counts):,} atoms, more than {MAX_ATOMS:,}")
    if sum(counts) == 0:
        raise Refused("empty", f"has no atoms ({symbol_of(NUMBERS[symbols[0]])} 0)")
    return symbols, counts, 7


def _numbers(line: str, n: int, what: str) -> FloatArray:
    parts = line.split()[:n]
    try:
        if len(parts) < n:
            raise ValueError
        return np.array([float(part.replace("D", "E").replace("d", "e")) for part in parts])
    except ValueError:
        kind = "coordinates" if what == "a position" else "cell"
        raise Refused(kind, f"{what} {line.strip()[:60]!r} is not {n} numbers") from None
