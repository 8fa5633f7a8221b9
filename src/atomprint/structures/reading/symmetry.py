"""Symmetry operations: from the text of a file or its space group, and expanding sites by them."""

import re
from dataclasses import dataclass
from functools import lru_cache

import gemmi
import numpy as np
import numpy.typing as npt

from atomprint.structures.crystal import FloatArray
from atomprint.structures.reading.checks import close_pairs, plane_spacing
from atomprint.structures.reading.result import Refused

MERGE_DISTANCE = 0.1  # Å; images of one site closer than this are one atom on a special position
METRIC_TOLERANCE = 0.03  # relative; how far the cell's metric may deviate from the symmetry

_TERM = re.compile(r"([+-]?)(?:(\d+\.?\d*|\.\d+)(?:/(\d+))?\*?)?([xyz]?)")


@dataclass(frozen=True)
class Operations:
    """Symmetry operations on fractional coordinates: ``x' = rotations @ x + translations``.

    Attributes
    ----------
    rotations
        Shape ``(n_operations, 3, 3)``.
    translations
        Shape ``(n_operations, 3)``.
    """

    rotations: FloatArray
    translations: FloatArray

    def __len__(self) -> int:
        return len(self.rotations)

    def fit(self, cell: FloatArray) -> bool:
        """Tell whether every operation maps the lattice onto itself (to 3 % of the metric)."""
        if len(self) == 1:
            return True
        metric = cell @ cell.T
        moved = np.einsum("nki,kl,nlj->nij", self.rotations, metric, self.rotations)
        return bool(np.abs(moved - metric).max() <= METRIC_TOLERANCE * metric.max())


@lru_cache(maxsize=1024)
def operations_from_text(texts: tuple[str, ...]) -> Operations:
    """Parse operations such as ``-x, y+1/2, z``.

    Raises
    ------
    Refused
        If one cannot be read, or if together they are no group (some are missing or wrong).
    """
    if len(texts) > 1024:
        raise Refused("symmetry", f"{len(texts):,} symmetry operations are too many")
    parsed = [_parse(text) for text in texts]
    operations = Operations(
        np.array([rotation for rotation, _ in parsed]), np.array([shift for _, shift in parsed])
    )
    return _checked(operations)


@lru_cache(maxsize=1024)
def _operations_of(hall: str) -> Operations:
    group = gemmi.symops_from_hall(hall)
    rotations = np.array([op.rot for op in group], dtype=np.float64) / gemmi.Op.DEN
    return Operations(rotations, np.array([op.tran for op in group], dtype=float) / gemmi.Op.DEN)


def operations_from_hall(symbol: str) -> Operations | None:
    """Operations of a Hall symbol; None if it cannot be read."""
    try:
        return _operations_of(symbol.strip())
    except (RuntimeError, ValueError):
        return None


@lru_cache(maxsize=1024)
def settings_from_name(symbol: str, alpha: float, gamma: float) -> list[tuple[str, Operations]]:
    """Settings that a Hermann-Mauguin symbol may mean: two where the origin is left open.

    Parameters
    ----------
    symbol
        For example ``F m -3 m`` or ``P 21/c``.
    alpha, gamma
        Cell angles in degrees; they tell hexagonal from rhombohedral axes.
    """
    try:
        group = gemmi.find_spacegroup_by_name(symbol.strip(), alpha, gamma)
    except (RuntimeError, ValueError):
        return []
    if group is None:
        return []  # type: ignore[unreachable]  # gemmi's types say it is never None
    if group.ext in ("1", "2") and ":" not in symbol and not re.search(r"[12]\s*$", symbol[-2:]):
        wanted = [
            other
            for other in gemmi.spacegroup_table()
            if other.hm == group.hm and other.ext in ("1", "2")
        ]
    else:
        wanted = [group]
    return [(other.xhm(), _operations_of(other.hall)) for other in wanted]


def settings_from_number(number: int, cell: FloatArray) -> list[tuple[str, Operations]]:
    """Every setting of a space group number (1 to 230) that fits the cell."""
    found: list[tuple[str, Operations]] = []
    seen: set[frozenset[str]] = set()
    for group in gemmi.spacegroup_table():
        if group.number != number:
            continue
        operations = _operations_of(group.hall)
        key = frozenset(op.triplet() for op in gemmi.symops_from_hall(group.hall))
        if key not in seen and operations.fit(cell):
            seen.add(key)
            found.append((group.xhm(), operations))
    return found


IDENTITY = Operations(np.eye(3)[None], np.zeros((1, 3)))


def expand(
    frac: FloatArray, operations: Operations, cell: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Apply every operation to every site; images that coincide become one atom.

    A site within `MERGE_DISTANCE` of some of its own images is moved onto the special position
    between them (0.333 becomes 1/3), so rounding in the file leaves no trace.

    Parameters
    ----------
    frac
        Fractional coordinates of the sites, shape ``(n_sites, 3)``.
    operations
        A group.
    cell
        Lattice vectors as rows, Å.

    Returns
    -------
    frac, site_index
        All atoms of the cell, and the site that each comes from.
    """
    if len(operations) == 1 and not operations.translations.any():
        return frac, np.arange(len(frac))
    images = np.einsum("mij,nj->nmi", operations.rotations, frac) + operations.translations
    delta = images - frac[:, None, :]
    delta -= np.round(delta)
    vectors = delta @ cell
    fixed = np.einsum("nmi,nmi->nm", vectors, vectors) < MERGE_DISTANCE**2
    n_fixed = fixed.sum(axis=1)
    parts: list[FloatArray] = []
    for site in range(len(frac)):
        if n_fixed[site] <= 1:
            parts.append(images[site])
            continue
        center = frac[site] + delta[site][fixed[site]].mean(axis=0)
        orbit = operations.rotations @ center + operations.translations
        distinct = _distinct(orbit)
        if len(distinct) * n_fixed[site] != len(operations):
            raise Refused(
                "overlap",
                f"site {site} comes within {MERGE_DISTANCE} Å of its own images without lying on "
                "a special position",
                id=str(site),
            )
        parts.append(orbit[distinct])
    site_index = np.repeat(np.arange(len(frac)), [len(part) for part in parts])
    return np.concatenate(parts), site_index


def expand_distinct(frac: FloatArray, operations: Operations, cell: FloatArray) -> FloatArray:
    """All positions of the sites together, those counted once that several sites give."""
    atoms, _ = expand(frac, operations, cell)
    spacing, _, _ = plane_spacing(cell)
    if spacing.min() <= 2 * MERGE_DISTANCE:
        return atoms
    _, second, _ = close_pairs(atoms, cell, spacing, MERGE_DISTANCE)
    return np.delete(atoms, np.unique(second), axis=0)


def _distinct(orbit: FloatArray) -> npt.NDArray[np.int64]:
    """Indices of the distinct points of an orbit, lattice translations aside."""
    scale = 20_000
    keys = np.round(orbit * scale).astype(np.int64) % scale
    combined = (keys[:, 0] * scale + keys[:, 1]) * scale + keys[:, 2]
    return np.sort(np.unique(combined, return_index=True)[1])


def _parse(text: str) -> tuple[FloatArray, FloatArray]:
    parts = text.strip().strip("'\"").lower().replace(" ", "").split(",")
    rotation, shift = np.zeros((3, 3)), np.zeros(3)
    if len(parts) != 3 or len(text) > 200:
        raise Refused("symmetry", f"the symmetry operation {text[:60]!r} cannot be read")
    for row, part in enumerate(parts):
        end = 0
        while end < len(part):
            term = _TERM.match(part, end)
            if term is None or term.end() == end or not (term[2] or term[4]):
                raise Refused("symmetry", f"the symmetry operation {text[:60]!r} cannot be read")
            value = float(term[2] or 1)
            if term[3]:
                value = value / int(term[3]) if int(term[3]) else np.nan
            value = -value if term[1] == "-" else value
            if term[4]:
                rotation[row, "xyz".index(term[4])] += value
            else:
                shift[row] += value
            end = term.end()
    snapped = np.round(shift * 24) / 24  # 0.333 and 0.6667 mean thirds
    shift = np.where(np.abs(snapped - shift) < 1e-3, snapped, shift)
    good = np.isfinite(rotation).all() and np.isfinite(shift).all()
    if not good or abs(abs(float(np.linalg.det(rotation))) - 1) > 1e-6:
        raise Refused("symmetry", f"the symmetry operation {text[:60]!r} is no symmetry operation")
    return rotation, shift


def _checked(operations: Operations) -> Operations:
    """Drop repeated operations and refuse a list that is no group."""
    rotations, shifts = operations.rotations, operations.translations
    whole = np.array_equal(rotations, np.round(rotations)) and bool(np.abs(rotations).max() <= 2)
    in_steps = np.abs(shifts * 24 - np.round(shifts * 24)).max() < 1e-6
    if not (whole and in_steps):
        return operations
    keys = _keys(rotations, shifts)
    _, first = np.unique(keys, return_index=True)
    first = np.sort(first)
    rotations, shifts, keys = rotations[first], shifts[first], keys[first]
    products = np.einsum("aij,bjk->abik", rotations, rotations).reshape(-1, 3, 3)
    moved = np.einsum("aij,bj->abi", rotations, shifts) + shifts[:, None, :]
    if np.abs(products).max() > 2 or not np.isin(_keys(products, moved.reshape(-1, 3)), keys).all():
        raise Refused(
            "symmetry",
            f"the {len(keys)} symmetry operations are no group, so some are missing or wrong",
        )
    return Operations(rotations, shifts)


def _keys(rotations: FloatArray, shifts: FloatArray) -> npt.NDArray[np.int64]:
    """One integer an operation, translations modulo the lattice."""
    digits = np.round(rotations).astype(np.int64).reshape(-1, 9) + 2
    steps = np.round(shifts * 24).astype(np.int64) % 24
    keys: npt.NDArray[np.int64] = digits @ (5 ** np.arange(9)) * 24**3 + steps @ np.array(
        [576, 24, 1]
    )
    return keys
