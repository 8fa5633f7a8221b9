"""From a record to a crystal: the checks that every format shares."""

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from atomprint.structures.crystal import Crystal, FloatArray
from atomprint.structures.reading.elements import symbol_of
from atomprint.structures.reading.result import Record, Refused, as_float_array

MIN_DISTANCE = 0.3  # Å; no two atoms of a real crystal come so close
MIN_PLANE_SPACING = 0.1  # Å
MIN_VOLUME_PER_ATOM = 0.5  # Å³; dense hydrogen at 500 GPa has more
MAX_LENGTH = 10_000.0  # Å
MAX_ATOMS = 100_000
BINS_ABOVE = 100  # atoms; below, comparing all pairs at once is faster
MAX_PER_BIN = 16  # atoms; a bin of 0.3 to 0.6 Å with more has some that overlap


def build_crystal(record: Record, source: str) -> Crystal:
    """Check a record and make the crystal (without labels).

    Raises
    ------
    Refused
        With the first thing that is wrong.
    """
    numbers = _numbers(record)
    cell = as_float_array(record.cell, "cell")
    if cell.size != 9:
        raise Refused("cell", f"the cell has {cell.size} numbers instead of 9")
    cell = cell.reshape(3, 3)
    inverse, spacing = check_cell(cell, len(numbers))
    if not all(record.pbc):
        flags = " ".join("T" if flag else "F" for flag in record.pbc)
        raise Refused(
            "pbc",
            f"periodic only along some axes (pbc {flags}); for a slab or molecule in a box with "
            "vacuum around it, set pbc to T T T",
        )
    given = record.frac if record.frac is not None else record.positions
    assert given is not None
    coordinates = as_float_array(given, "coordinates")
    if coordinates.size != 3 * len(numbers):
        raise Refused(
            "coordinates",
            f"{len(numbers)} atoms but {coordinates.size} coordinates instead of 3 each",
        )
    coordinates = coordinates.reshape(-1, 3)
    if not np.isfinite(coordinates).all():
        atom = int(np.flatnonzero(~np.isfinite(coordinates).all(axis=1))[0])
        raise Refused("coordinates", f"atom {atom} has a coordinate that is nan or infinite")
    if record.frac is not None:
        frac, positions = coordinates, coordinates @ cell
    else:
        frac, positions = coordinates @ inverse, coordinates
    if np.abs(frac).max() > 1e6:
        raise Refused("coordinates", "an atom lies more than a million cells away")
    first, second, distance = (
        close_pairs(frac, cell, spacing, MIN_DISTANCE)
        if not record.apart
        else (_EMPTY, _EMPTY, _EMPTY_FLOAT)
    )
    if len(first):
        worst = int(np.argmin(distance))
        i, j = int(first[worst]), int(second[worst])
        raise Refused(
            "overlap",
            f"atoms {i} ({symbol_of(int(numbers[i]))}) and {j} ({symbol_of(int(numbers[j]))}) are "
            f"{distance[worst]:.2f} Å apart, closer than {MIN_DISTANCE} Å",
        )
    return Crystal(record.id, numbers, positions, cell, {}, source)


def _numbers(record: Record) -> npt.NDArray[np.int64]:
    try:
        numbers = np.asarray(record.numbers)
        if numbers.dtype.kind not in "iu" and numbers.size:
            raise ValueError
        numbers = numbers.astype(np.int64).ravel()
    except (TypeError, ValueError, OverflowError):
        raise Refused("element", "the atomic numbers are not whole numbers") from None
    if len(numbers) == 0:
        raise Refused("empty", "has no atoms")
    if len(numbers) > MAX_ATOMS:
        raise Refused("size", f"has {len(numbers):,} atoms, more than {MAX_ATOMS:,}")
    if numbers.min() < 1 or numbers.max() > 118:
        bad = int(numbers[(numbers < 1) | (numbers > 118)][0])
        raise Refused("element", f"{bad} is no atomic number (1 to 118)")
    return numbers


def plane_spacing(cell: FloatArray) -> tuple[FloatArray, float, FloatArray]:
    """Spacing (Å) of the three sets of lattice planes, the signed volume (Å³) and the normals.

    The normals are ``b × c``, ``c × a`` and ``a × b`` as rows (Å²).
    """
    # Plain numbers: for nine of them, arrays would take three times as long.
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = cell.tolist()
    normals = (
        (by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx),
        (cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax),
        (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx),
    )
    volume = ax * normals[0][0] + ay * normals[0][1] + az * normals[0][2]
    spacing = [abs(volume) / max(math.sqrt(x * x + y * y + z * z), 1e-12) for x, y, z in normals]
    return np.array(spacing), volume, np.array(normals)


def check_cell(cell: FloatArray, n_atoms: int) -> tuple[FloatArray, FloatArray]:
    """Refuse impossible cells; return the inverse and the lattice plane spacings in Å."""
    if not np.isfinite(cell).all():
        raise Refused("cell", "the cell has a number that is nan or infinite")
    lengths = np.sqrt((cell * cell).sum(axis=1))
    if lengths.max() > MAX_LENGTH:
        raise Refused("cell", f"a cell vector of {lengths.max():.3g} Å is no crystal's")
    if lengths.min() < MIN_PLANE_SPACING:
        raise Refused("cell", f"a cell vector is only {lengths.min():.2g} Å long")
    spacing, volume, normals = plane_spacing(cell)
    if spacing.min() < MIN_PLANE_SPACING:
        raise Refused(
            "cell",
            f"the cell is flat: volume {abs(volume):.2g} Å³, lattice planes only "
            f"{spacing.min():.2g} Å apart",
        )
    if abs(volume) < MIN_VOLUME_PER_ATOM * n_atoms:
        raise Refused(
            "cell",
            f"the cell is too small: {abs(volume):.3g} Å³ for {n_atoms} atoms "
            "(are the lengths in Å?)",
        )
    return normals.T / volume, spacing


def close_pairs(
    frac: FloatArray, cell: FloatArray, spacing: FloatArray, limit: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """Find pairs of atoms closer than ``limit`` (Å), periodic images included.

    A vector shorter than half the spacing of every set of lattice planes is found by rounding
    fractional differences; only where planes are closer than that are images tried one by one.

    Returns
    -------
    first, second, distance
        Atom indices (equal where an atom meets its own image) and distances in Å.
    """
    n_atoms = len(frac)
    if spacing.min() > 2 * limit:
        if n_atoms > BINS_ABOVE:
            return _close_pairs_by_bins(frac, cell, spacing, limit)
        first, second = _all_pairs(n_atoms)
        difference = frac[first] - frac[second]
        difference -= np.round(difference)
        vectors = difference @ cell
        squared = (vectors * vectors).sum(axis=1)
        close = squared < limit * limit
        if not close.any():
            return _EMPTY, _EMPTY, _EMPTY_FLOAT
        return first[close], second[close], np.sqrt(squared[close])
    return _close_pairs_by_images(frac, cell, spacing, limit)


@cache
def _all_pairs(n_atoms: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of every pair of different atoms, for up to `BINS_ABOVE` atoms."""
    first, second = np.triu_indices(n_atoms, k=1)
    return first, second


def _close_pairs_by_bins(
    frac: FloatArray, cell: FloatArray, spacing: FloatArray, limit: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """Compare each atom only with those in its own and the 26 bins around it."""
    n_atoms = len(frac)
    n_bins = (spacing / limit).astype(np.int64)  # every bin at least ``limit`` wide
    weights = np.array([n_bins[1] * n_bins[2], n_bins[2], 1])
    bins = np.minimum(((frac - np.floor(frac)) * n_bins).astype(np.int64), n_bins - 1)
    keys = bins @ weights
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    firsts, seconds, distances = [_EMPTY], [_EMPTY], [_EMPTY_FLOAT]
    for start in range(0, n_atoms, 4000):  # bounds the memory
        around = (bins[start : start + 4000, None, :] + _AROUND) % n_bins @ weights
        left = np.searchsorted(ordered, around.ravel(), "left")
        count = np.searchsorted(ordered, around.ravel(), "right") - left
        count = np.minimum(count, MAX_PER_BIN)
        offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        second = order[np.repeat(left, count) + offset]
        first = start + np.repeat(np.arange(len(count)) // len(_AROUND), count)
        ahead = first < second
        pairs = np.unique(first[ahead] * n_atoms + second[ahead])
        first, second = pairs // n_atoms, pairs % n_atoms
        difference = frac[first] - frac[second]
        difference -= np.round(difference)
        length = np.sqrt(((difference @ cell) ** 2).sum(axis=1))
        close = length < limit
        firsts.append(first[close])
        seconds.append(second[close])
        distances.append(length[close])
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(distances)


def _close_pairs_by_images(
    frac: FloatArray, cell: FloatArray, spacing: FloatArray, limit: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """Try every image that could be near, for cells with very close lattice planes."""
    reach = np.ceil(limit / spacing).astype(int)
    grid = np.stack(
        np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), axis=-1
    ).reshape(-1, 3)
    firsts, seconds, distances = [_EMPTY], [_EMPTY], [_EMPTY_FLOAT]
    for i in range(len(frac)):
        difference = frac[i:] - frac[i]
        difference -= np.round(difference)
        vectors = (difference[:, None, :] + grid[None, :, :]) @ cell
        length = np.sqrt((vectors**2).sum(axis=-1))
        length[0, len(grid) // 2] = np.inf  # the atom itself
        j, image = np.nonzero(length < limit)
        firsts.append(np.full(len(j), i))
        seconds.append(j + i)
        distances.append(length[j, image])
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(distances)


_EMPTY = np.zeros(0, dtype=np.int64)
_EMPTY_FLOAT = np.zeros(0, dtype=np.float64)
_AROUND = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
