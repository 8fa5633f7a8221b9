"""From a disordered crystal to one ordered crystal of it: occupancies become atoms, drawn by seed.

A site that is half lithium, half empty is no input for anything here. What can stand for the
crystal is one arrangement that the occupancies allow. How many atoms of each element there are is
no chance: the whole numbers nearest to the stated composition, in a cell that is doubled as long as
it is small and they are not near. Which positions they take is drawn, never two on one position nor
closer than atoms get.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atomprint.ground.elements import covalent_radius
from atomprint.structures.crystal import FloatArray
from atomprint.structures.reading.checks import (
    MAX_ATOMS,
    check_cell,
    close_pairs,
    plane_spacing,
)
from atomprint.structures.reading.result import Refused

IntArray = npt.NDArray[np.int64]

FULL = 0.99
"""An occupancy of at least this counts as 1."""
SAME_POSITION = 0.1
"""Å; rows of a file that are so near share one position."""
CONTACTS = (0.75, 0.6, 0.45)
"""Least distances as fractions of the sum of covalent radii; the next where nothing else fits."""
_TRIES = 40
_MOST_PARTIAL, _MOST_PAIRS = 3000, 3e7
_TOLERANCE, _SMALL = 0.05, 48
"""While an element's number is off by more than this part the cell is doubled, up to so many
positions."""
_MISSING = 0.05
"""Part of the drawn atoms that may find no place."""


@dataclass(frozen=True)
class Drawn:
    """An ordered crystal.

    Attributes
    ----------
    numbers, frac, cell
        Its atoms, and its cell (Å), which may hold several of the one that was given.
    expected
        Atoms of each element in the given cell by its occupancies, by atomic number; what the
        formula says.
    """

    numbers: IntArray
    frac: FloatArray
    cell: FloatArray
    expected: dict[int, float]


def draw(
    frac: FloatArray, numbers: IntArray, occupancy: FloatArray, cell: FloatArray, seed: int
) -> Drawn:
    """Draw an ordered crystal.

    Parameters
    ----------
    frac
        Fractional coordinates of every position and element, symmetry applied, ``(n, 3)``;
        elements that share a position are rows of their own.
    numbers, occupancy
        Their elements and probabilities, ``(n,)``.
    cell
        Lattice vectors as rows, Å.
    seed
        Of the arrangement; the same crystal and seed give the same one.

    Raises
    ------
    Refused
        If anything is no number, a position is filled more than once, or no arrangement without
        overlaps was found.
    """
    check_cell(cell, 1)
    if not (np.isfinite(frac).all() and np.abs(frac).max() < 1e6):
        raise Refused("coordinates", "a site has a coordinate that is nan, infinite or huge")
    if not (np.isfinite(occupancy).all() and occupancy.min() >= 0):
        raise Refused("disorder", "a site has an occupancy that is negative or no number")
    if len(frac) > MAX_ATOMS:
        raise Refused("size", f"has {len(frac):,} places for atoms, more than {MAX_ATOMS:,}")
    place = _positions(frac, cell)
    filled = np.bincount(place, occupancy)
    if filled.max() > 2 - FULL:
        raise Refused("disorder", f"a position is occupied to {filled.max():g}")
    sites = _folded(frac, numbers, occupancy, place)
    expected = sites.content()
    rng = np.random.default_rng((seed, _content(sites, cell)))
    group, quota = _quotas(sites, rng)
    while _misses(sites, quota) > _TOLERANCE and 2 * len(set(sites.place.tolist())) <= _SMALL:
        sites, cell = _doubled(sites, cell)
        group, quota = _quotas(sites, rng)
    taken = _best(sites, cell, group, quota, rng)
    wanted = sum(quota.values())
    if wanted - len(taken) > max(1, round(_MISSING * wanted)):
        raise Refused(
            "disorder",
            f"no ordering without overlapping atoms was found: {len(taken)} of {wanted} atoms had "
            "a place",
        )
    kept = np.sort(np.concatenate([np.flatnonzero(sites.occupancy >= FULL), taken]))
    if not len(kept):
        raise Refused("empty", "no site is occupied enough for one atom in the cell")
    atoms = sites.frac[kept]
    return Drawn(sites.numbers[kept], atoms - np.floor(atoms), cell, expected)


@dataclass(frozen=True)
class _Sites:
    """Positions and what may be there: a row for each element of a position."""

    frac: FloatArray
    numbers: IntArray
    occupancy: FloatArray
    place: IntArray

    @property
    def partial(self) -> IntArray:
        """Rows that are not certain."""
        return np.flatnonzero(self.occupancy < FULL)

    def content(self) -> dict[int, float]:
        """Atoms by element, as the occupancies have them."""
        total = np.bincount(self.numbers, self.occupancy)
        return {int(number): float(total[number]) for number in np.flatnonzero(total)}


def _best(
    sites: _Sites,
    cell: FloatArray,
    group: IntArray,
    quota: dict[tuple[int, int], int],
    rng: np.random.Generator,
) -> IntArray:
    """Rows of the arrangement that finds a place for most atoms."""
    if len(sites.partial) > _MOST_PARTIAL:
        raise Refused(
            "size", f"has {len(sites.partial):,} partly occupied places, too many to draw from"
        )
    best = np.zeros(0, dtype=np.int64)
    for contact in CONTACTS:
        apart = _conflicts(sites, cell, contact)
        for _ in range(_TRIES):
            taken = _arranged(sites, group, quota, apart, rng)
            if len(taken) > len(best):
                best = taken
            if len(best) == sum(quota.values()):
                return best
    return best


def _misses(sites: _Sites, quota: dict[tuple[int, int], int]) -> float:
    """Largest relative deviation of an element from its stated number of atoms."""
    certain = sites.occupancy >= FULL
    counts = np.bincount(sites.numbers[certain], minlength=int(sites.numbers.max()) + 1)
    for (_, number), count in quota.items():
        counts[number] += count
    return max(float(abs(counts[z] - n) / n) for z, n in sites.content().items())


def _doubled(sites: _Sites, cell: FloatArray) -> tuple[_Sites, FloatArray]:
    """Two cells along the shortest vector as one."""
    axis = int(np.argmin(np.linalg.norm(cell, axis=1)))
    larger, half = cell.copy(), np.zeros(3)
    larger[axis] *= 2
    half[axis] = 0.5
    frac = sites.frac - np.floor(sites.frac)
    frac = frac * (1.0 - half)
    return _Sites(
        np.concatenate([frac, frac + half]),
        np.tile(sites.numbers, 2),
        np.tile(sites.occupancy, 2),
        np.concatenate([sites.place, sites.place + sites.place.max() + 1]),
    ), larger


def _positions(frac: FloatArray, cell: FloatArray) -> IntArray:
    """Number of the position of each row; rows that are very near share one."""
    spacing, _, _ = plane_spacing(cell)
    first, second, _ = close_pairs(frac, cell, spacing, SAME_POSITION)
    place = list(range(len(frac)))

    def root(row: int) -> int:
        while place[row] != row:
            place[row] = place[place[row]]
            row = place[row]
        return row

    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        one, other = sorted((root(i), root(j)))
        place[other] = one
    found = np.array([root(row) for row in range(len(frac))])
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _folded(frac: FloatArray, numbers: IntArray, occupancy: FloatArray, place: IntArray) -> _Sites:
    """One row for each element of a position, with the sum of its occupancies."""
    keys, first, back = np.unique(
        np.stack([place, numbers], axis=1), axis=0, return_index=True, return_inverse=True
    )
    total = np.bincount(back.ravel(), occupancy, len(keys))
    order = np.argsort(first, kind="stable")
    rows = first[order]
    # An element that is hardly there is none.
    rows, total = rows[total[order] > 0], total[order][total[order] > 0]
    return _Sites(frac[rows], numbers[rows], np.minimum(total, 1.0), place[rows])


def _content(sites: _Sites, cell: FloatArray) -> int:
    """A number that other crystals do not have; ids are not known where crystals are drawn."""
    parts = (
        np.round(sites.frac, 4), sites.numbers, np.round(sites.occupancy, 4), np.round(cell, 3)
    )  # fmt: skip
    text = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")


def _quotas(sites: _Sites, rng: np.random.Generator) -> tuple[IntArray, dict[tuple[int, int], int]]:
    """How many atoms of each element are due on each kind of position.

    Positions with the same elements at the same occupancies are of one kind. Of each kind the
    numbers are whole and sum up, with the empty ones, to its positions; what is rounded away of
    an element is owed to it at the next kind.

    Returns
    -------
    group, quota
        Kind of each partial row, and atoms by (kind, element).
    """
    about: dict[int, list[tuple[int, float]]] = {}
    partial = sites.partial
    for row in partial.tolist():
        one = (int(sites.numbers[row]), round(float(sites.occupancy[row]), 4))
        about.setdefault(int(sites.place[row]), []).append(one)
    kinds: dict[tuple[tuple[int, float], ...], list[int]] = {}
    for position, elements in about.items():
        kinds.setdefault(tuple(sorted(elements)), []).append(position)
    kind_of: dict[int, int] = {}
    quota: dict[tuple[int, int], int] = {}
    owed: dict[int, float] = {}
    # The largest first: there rounding does least.
    ordered = sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
    for kind, (shares, positions) in enumerate(ordered):
        n = len(positions)
        kind_of |= dict.fromkeys(positions, kind)
        names = [number for number, _ in shares]
        due = np.array([part * n + owed.get(number, 0.0) for number, part in shares])
        due = np.maximum(due, 0.0)
        empty = max(n - float(due.sum()), 0.0)
        if sum(part for _, part in shares) >= FULL:
            # Elements that fill their positions leave none empty.
            due, empty = due * (n / max(float(due.sum()), 1e-9)), 0.0
        counts = _rounded(np.append(due, empty), n, rng)[:-1]
        for number, amount, count in zip(names, due.tolist(), counts.tolist(), strict=True):
            quota[kind, number] = count
            owed[number] = amount - count
    return np.array([kind_of[int(sites.place[row])] for row in partial], dtype=np.int64), quota


def _rounded(amounts: FloatArray, total: int, rng: np.random.Generator) -> IntArray:
    """Whole numbers with this sum that are nearest to the amounts; ties are drawn."""
    if amounts.sum() > total:
        amounts = amounts * (total / amounts.sum())
    counts = np.floor(amounts + 1e-9).astype(np.int64)
    rest = amounts - counts + 1e-6 * rng.random(len(amounts))
    for index in np.argsort(-rest, kind="stable")[: total - int(counts.sum())]:
        counts[index] += 1
    return counts


def _conflicts(sites: _Sites, cell: FloatArray, contact: float) -> list[Sequence[int] | None]:
    """For each partial row the other partial rows that exclude it; None beside a certain atom.

    Elements of one position are not among them.
    """
    from atomprint.structures.search import search  # compiled: only who draws waits for it

    radii, partial = covalent_radius[sites.numbers], sites.partial
    reach = 2 * contact * float(radii.max())
    n, volume = len(sites.frac), abs(float(np.linalg.det(cell)))
    if n * n * 4.19 * reach**3 / volume > _MOST_PAIRS:
        raise Refused("size", f"has {n:,} places for atoms in {volume:,.0f} Å³, too many to draw")
    edges = search(sites.frac @ cell, cell[None], np.array([0, n]), reach, with_shifts=False)
    first = np.repeat(np.arange(n), np.diff(edges.first))
    second = edges.neighbor_index
    distance = np.linalg.norm(edges.vectors, axis=1)
    close = (first != second) & (distance < contact * (radii[first] + radii[second]))
    where = np.full(n, -1)
    where[partial] = np.arange(len(partial))
    found: list[list[int] | None] = [[] for _ in partial]
    for one, other in zip(where[first[close]], where[second[close]], strict=True):
        if one < 0:
            continue
        listed = found[one]
        if other < 0:
            found[one] = None
        elif listed is not None:
            listed.append(int(other))
    return list(found)


def _arranged(
    sites: _Sites,
    group: IntArray,
    quota: dict[tuple[int, int], int],
    apart: list[Sequence[int] | None],
    rng: np.random.Generator,
) -> IntArray:
    """Rows that are taken, one after the other in a random order in which likely ones are early."""
    partial = sites.partial
    # Efraimidis and Spirakis, Inf. Process. Lett. 97, 181 (2006): sampling by weights.
    keys = np.log(rng.random(len(partial))) / np.maximum(sites.occupancy[partial], 1e-6)
    left = dict(quota)
    blocked = np.array([others is None for others in apart], dtype=np.bool_)
    full: set[int] = set()
    taken: list[int] = []
    for at in np.argsort(-keys, kind="stable").tolist():
        row = int(partial[at])
        key, place = (int(group[at]), int(sites.numbers[row])), int(sites.place[row])
        if blocked[at] or left[key] == 0 or place in full:
            continue
        left[key] -= 1
        full.add(place)
        taken.append(row)
        blocked[list(apart[at] or ())] = True
    return np.array(taken, dtype=np.int64)
