"""The search for neighbours: every image of every atom within a cutoff, compiled.

In a small crystal the lattice translations that can matter to any pair are listed once; each pair,
brought to its nearest image as far as the cell's rows tell, is then compared with all of them, 8 at
a time. In a large crystal only atoms of nearby bins are paired. There, and in cells so flat or
skewed that the list would be long, the translations S with ``|d + S A| < cutoff`` are counted off
along three orthogonal directions (the cell's rows made orthogonal, last row first): along each,
the sphere that is left bounds the next integer exactly.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.ground.compiled import compiled
from atomprint.ground.vectors import LANES, below, fma, load, lowest_bit, spread

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

# From so many atoms in a crystal on, atoms are sorted into bins first.
_MANY_ATOMS = 256
# Longest list of translations to compare every pair with.
_MANY_TRANSLATIONS = 1024
# In so many comparisons of a crystal the list of those that met is short enough to keep.
_MANY_COMPARISONS = 400_000
# Distances below this (Å) are an atom and itself, or two atoms in one place.
_SAME_PLACE = 1e-6


@dataclass(frozen=True, slots=True)
class FoundEdges:
    """Edges of a run of centres over some crystals, sorted by centre, then neighbour.

    Attributes
    ----------
    first
        Edges of the k-th centre are ``first[k]`` to ``first[k + 1]``, ``(n_centers + 1,)``.
    neighbor_index
        Atoms, counted over all the crystals, ``(n_edges,)``.
    shifts
        Lattice translations S of the neighbours, ``(n_edges, 3)``; empty if not asked for.
    vectors
        ``positions[neighbor] + S @ cell - positions[center]`` in Å, ``(n_edges, 3)``.
    """

    first: IntArray
    neighbor_index: IntArray
    shifts: IntArray
    vectors: npt.NDArray[Any]


def search(
    positions: FloatArray,
    cells: FloatArray,
    first_atom: IntArray,
    cutoff: float,
    *,
    start: int = 0,
    stop: int | None = None,
    dtype: npt.DTypeLike = np.float64,
    with_shifts: bool = True,
) -> FoundEdges:
    """Find every ordered pair with ``0 < distance < cutoff`` in a batch of crystals.

    Parameters
    ----------
    positions
        Cartesian, Å, of all crystals one after the other, ``(n_atoms, 3)``; need not lie inside
        the cells.
    cells
        Lattice vectors as rows, Å, ``(n_crystals, 3, 3)``.
    first_atom
        Atoms of crystal c are ``first_atom[c]`` to ``first_atom[c + 1]``, ``(n_crystals + 1,)``.
    cutoff
        In Å; pairs at exactly this distance are left out.
    start, stop
        The run of atoms that are centres; all by default.
    dtype
        Float type of the vectors; they are computed in float64.
    with_shifts
        Whether the lattice translations are wanted.
    """
    n_atoms = len(positions)
    stop = n_atoms if stop is None else stop
    positions = np.ascontiguousarray(positions, dtype=np.float64)
    cells = np.ascontiguousarray(cells, dtype=np.float64)
    first_atom = np.ascontiguousarray(first_atom, dtype=np.int64)
    capacity = _expected(cells, first_atom, cutoff, start, stop)
    while True:
        first = np.zeros(stop - start + 1, dtype=np.int64)
        neighbor_index = np.empty(capacity, dtype=np.int64)
        shifts = np.empty((capacity if with_shifts else 0, 3), dtype=np.int64)
        vectors = np.empty((capacity, 3), dtype=dtype)
        needed = _search(
            positions, cells, first_atom, cutoff, start, stop, with_shifts, first, neighbor_index,
            shifts, vectors,
        )  # fmt: skip
        if needed <= capacity:
            return FoundEdges(first, neighbor_index[:needed], shifts[:needed], vectors[:needed])
        capacity = int(needed)


@compiled()
def _expected(cells: Any, first_atom: Any, cutoff: float, start: int, stop: int) -> int:
    """About how many edges there will be, from the densities; a little more than that.

    A dense slab in a large box has more neighbours than its cell's density says: then the search
    is simply done again, with the number it found.
    """
    sphere = 4.19 * cutoff**3
    edges, n_centers = 0.0, 0
    for c in range(cells.shape[0]):
        count = min(first_atom[c + 1], stop) - max(first_atom[c], start)
        if count > 0:
            a, b = cells[c, 0], cells[c, 1]
            x, y, z = cells[c, 2]
            volume = (
                x * (a[1] * b[2] - a[2] * b[1])
                + y * (a[2] * b[0] - a[0] * b[2])
                + z * (a[0] * b[1] - a[1] * b[0])
            )
            n_centers += count
            edges += count * (first_atom[c + 1] - first_atom[c]) / max(abs(volume), 1e-3)
    return int(1.1 * edges * sphere) + 4 * n_centers + 64


@compiled()
def _frame(cell: Any, frame: Any) -> None:
    """Fill ``frame`` (3, 3) with unit vectors: rows for the cell's a, b and c, c's along c."""
    for k in range(3):
        frame[2, k] = cell[2, k]
        frame[1, k] = cell[1, k]
        frame[0, k] = cell[0, k]
    for row in range(2, -1, -1):
        for done in range(row + 1, 3):
            along = 0.0
            for k in range(3):
                along += frame[row, k] * frame[done, k]
            for k in range(3):
                frame[row, k] -= along * frame[done, k]
        length = 0.0
        for k in range(3):
            length += frame[row, k] ** 2
        length = np.sqrt(length)
        for k in range(3):
            frame[row, k] /= length


@compiled()
def _invert(cell: Any, inverse: Any) -> None:
    """Inverse of a 3 by 3 matrix, by cross products of its rows."""
    for k in range(3):
        a, b = (k + 1) % 3, (k + 2) % 3
        inverse[0, k] = cell[a, 1] * cell[b, 2] - cell[a, 2] * cell[b, 1]
        inverse[1, k] = cell[a, 2] * cell[b, 0] - cell[a, 0] * cell[b, 2]
        inverse[2, k] = cell[a, 0] * cell[b, 1] - cell[a, 1] * cell[b, 0]
    volume = cell[0, 0] * inverse[0, 0] + cell[0, 1] * inverse[1, 0] + cell[0, 2] * inverse[2, 0]
    for i in range(3):
        for k in range(3):
            inverse[i, k] /= volume


@compiled()
def _sort(values: Any, count: int) -> None:
    """Sort the first numbers of an array (Shell's sort: short, and compiled in no time)."""
    gap = 1
    while gap < count:
        gap = 3 * gap + 1
    while gap > 1:
        gap //= 3
        for i in range(gap, count):
            value, k = values[i], i
            while k >= gap and values[k - gap] > value:
                values[k] = values[k - gap]
                k -= gap
            values[k] = value


@compiled()
def _append(
    i: int, candidates: Any, n_candidates: int, positions: Any, cell: Any, frame: Any,
    cutoff: float, with_shifts: bool, place: int, neighbor_index: Any, shifts: Any, vectors: Any,
) -> int:  # fmt: skip
    """Write the edges of centre i to some candidates from ``place`` on; returns where they end.

    Beyond the arrays' length edges are only counted.
    """
    capacity = neighbor_index.shape[0]
    square = cutoff * cutoff
    # A hair more, so that rounding in the frame loses no pair: the test itself is on the vector.
    wide = square * (1 + 1e-12) + 1e-12
    a0, a1, a2 = cell[0, 0], cell[0, 1], cell[0, 2]
    b0, b1, b2 = cell[1, 0], cell[1, 1], cell[1, 2]
    c0, c1, c2 = cell[2, 0], cell[2, 1], cell[2, 2]
    u0, u1, u2 = frame[0, 0], frame[0, 1], frame[0, 2]
    v0, v1, v2 = frame[1, 0], frame[1, 1], frame[1, 2]
    w0, w1, w2 = frame[2, 0], frame[2, 1], frame[2, 2]
    step_u = 1 / (a0 * u0 + a1 * u1 + a2 * u2)
    step_v = 1 / (b0 * v0 + b1 * v1 + b2 * v2)
    step_w = 1 / (c0 * w0 + c1 * w1 + c2 * w2)
    a_v, a_w = a0 * v0 + a1 * v1 + a2 * v2, a0 * w0 + a1 * w1 + a2 * w2
    b_w = b0 * w0 + b1 * w1 + b2 * w2
    a_u = 1 / step_u
    b_v = 1 / step_v
    reach = np.sqrt(wide)
    x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
    for k in range(n_candidates):
        j = candidates[k]
        d0, d1, d2 = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
        d_u = d0 * u0 + d1 * u1 + d2 * u2
        first_u = int(np.ceil((-reach - d_u) * step_u))
        last_u = int(np.floor((reach - d_u) * step_u))
        if first_u > last_u:
            continue
        d_v = d0 * v0 + d1 * v1 + d2 * v2
        d_w = d0 * w0 + d1 * w1 + d2 * w2
        for s_u in range(first_u, last_u + 1):
            left_u = wide - (d_u + s_u * a_u) ** 2
            if left_u < 0:
                continue
            reach_v = np.sqrt(left_u)
            e_v = d_v + s_u * a_v
            first_v = int(np.ceil((-reach_v - e_v) * step_v))
            last_v = int(np.floor((reach_v - e_v) * step_v))
            for s_v in range(first_v, last_v + 1):
                left_v = left_u - (e_v + s_v * b_v) ** 2
                if left_v < 0:
                    continue
                reach_w = np.sqrt(left_v)
                e_w = d_w + s_u * a_w + s_v * b_w
                first_w = int(np.ceil((-reach_w - e_w) * step_w))
                last_w = int(np.floor((reach_w - e_w) * step_w))
                q0 = d0 + s_u * a0 + s_v * b0
                q1 = d1 + s_u * a1 + s_v * b1
                q2 = d2 + s_u * a2 + s_v * b2
                for s_w in range(first_w, last_w + 1):
                    r0, r1, r2 = q0 + s_w * c0, q1 + s_w * c1, q2 + s_w * c2
                    length = r0 * r0 + r1 * r1 + r2 * r2
                    if length < square and length > _SAME_PLACE * _SAME_PLACE:
                        if place < capacity:
                            neighbor_index[place] = j
                            vectors[place, 0] = r0
                            vectors[place, 1] = r1
                            vectors[place, 2] = r2
                            if with_shifts:
                                shifts[place, 0] = s_u
                                shifts[place, 1] = s_v
                                shifts[place, 2] = s_w
                        place += 1
    return int(place)


@compiled()
def _search(
    positions: Any, cells: Any, first_atom: Any, cutoff: float, start: int, stop: int,
    with_shifts: bool, first: Any, neighbor_index: Any, shifts: Any, vectors: Any,
) -> int:  # fmt: skip
    """Fill the arrays as far as they reach; returns how many edges there are."""
    # Read from an array, so that functions are compiled for any number and not for zero too.
    place = first[0]
    frame = np.empty((3, 3))
    translations = np.empty((_MANY_TRANSLATIONS + LANES, 3), np.int64)
    translation_vectors = np.empty((_MANY_TRANSLATIONS + LANES, 3))
    origin, only_one = np.zeros((1, 3)), np.zeros(1, np.int64)
    for c in range(cells.shape[0]):
        begin, end = first_atom[c], first_atom[c + 1]
        from_atom, to_atom = max(begin, start), min(end, stop)
        if from_atom >= to_atom:
            continue
        _frame(cells[c], frame)
        n_translations = _list_translations(
            cells[c], frame, cutoff, translations, translation_vectors, origin, only_one
        )
        if end - begin < _MANY_ATOMS and n_translations <= _MANY_TRANSLATIONS:
            place = _search_list(
                positions, cells[c], begin, end, from_atom, to_atom, start, cutoff, with_shifts,
                n_translations, translations, translation_vectors, place, first, neighbor_index,
                shifts, vectors,
            )  # fmt: skip
        elif end - begin < _MANY_ATOMS:
            candidates = np.empty(end - begin, np.int64)
            for i in range(end - begin):
                candidates[i] = begin + i
            for i in range(from_atom, to_atom):
                place = _append(
                    i, candidates, end - begin, positions, cells[c], frame, cutoff, with_shifts,
                    place, neighbor_index, shifts, vectors,
                )  # fmt: skip
                first[i - start + 1] = place
        else:
            place = _search_bins(
                positions, cells[c], frame, begin, end, from_atom, to_atom, start, cutoff,
                with_shifts, place, first, neighbor_index, shifts, vectors,
            )  # fmt: skip
    return int(place)


@compiled()
def _list_translations(
    cell: Any, frame: Any, cutoff: float, translations: Any, vectors: Any, origin: Any,
    only_one: Any,
) -> int:  # fmt: skip
    """List translations that can bring a pair below the cutoff; returns how many there are.

    A pair brought to fractional differences of at most 1/2 is at most half a body diagonal apart.
    The zero translation is not found by the search (an atom is not its own neighbour): it is put
    in its place.
    """
    longest = 0.0
    for q in range(-1, 2, 2):
        for s in range(-1, 2, 2):
            length = 0.0
            for k in range(3):
                length += (0.5 * (cell[0, k] + q * cell[1, k] + s * cell[2, k])) ** 2
            longest = max(longest, np.sqrt(length))
    spare = np.empty(_MANY_TRANSLATIONS, np.int64)
    zero, n_candidates, with_shifts = only_one[0], len(only_one), cutoff > 0
    n = _append(
        zero, only_one, n_candidates, origin, cell, frame, cutoff + longest + 1e-9, with_shifts,
        zero, spare, translations, vectors,
    )  # fmt: skip
    if n + 1 > _MANY_TRANSLATIONS:
        return int(n + 1)
    # Translations come in order of S, and for every S there is -S: zero is in the middle.
    for k in range(n, n // 2, -1):
        for axis in range(3):
            translations[k, axis] = translations[k - 1, axis]
            vectors[k, axis] = vectors[k - 1, axis]
    translations[n // 2] = 0
    vectors[n // 2] = 0
    return int(n + 1)


@compiled()
def _search_list(
    positions: Any, cell: Any, begin: int, end: int, from_atom: int, to_atom: int, start: int,
    cutoff: float, with_shifts: bool, n_translations: int, translations: Any, t_vectors: Any,
    place: int, first: Any, neighbor_index: Any, shifts: Any, vectors: Any,
) -> int:  # fmt: skip
    """Edges of the centres of one small crystal, by comparing with a list of translations."""
    capacity = neighbor_index.shape[0]
    square = cutoff * cutoff
    wide = square * (1 + 1e-12)  # the strict test is on the length, rounded as everywhere
    padded = -(-n_translations // LANES) * LANES
    t_x, t_y, t_z = np.empty(padded), np.empty(padded), np.empty(padded)
    for k in range(padded):
        # Beyond the list are places that no pair comes near.
        t_x[k] = t_vectors[k, 0] if k < n_translations else 1e9
        t_y[k] = t_vectors[k, 1] if k < n_translations else 1e9
        t_z[k] = t_vectors[k, 2] if k < n_translations else 1e9
    inverse = np.empty((3, 3))
    _invert(cell, inverse)
    n = end - begin
    x, y, z = np.empty(n), np.empty(n), np.empty(n)
    frac = np.empty((n, 3))
    for i in range(n):
        x[i], y[i], z[i] = positions[begin + i]
        for axis in range(3):
            frac[i, axis] = (
                x[i] * inverse[0, axis] + y[i] * inverse[1, axis] + z[i] * inverse[2, axis]
            )
    whole = from_atom == begin and to_atom == end and n * n * n_translations < _MANY_COMPARISONS
    # Of a whole crystal, pairs are compared once, i <= j: the edges from j to i are those from i to
    # j the other way round, with opposite translations in opposite order.
    n_kept = n * n if whole else 1
    moved = np.empty((n_kept, 6))
    kept_first = np.zeros(n_kept + 1, np.int64)
    kept = np.empty(n * (n + 1) // 2 * n_translations if whole else n_translations, np.int32)
    n_kept = 0
    for i in range(from_atom - begin, to_atom - begin):
        for j in range(n):
            pair = i * n + j if whole else 0
            flipped = whole and j < i
            if flipped:
                pair = j * n + i
                sign = -1.0
            else:
                sign = 1.0
                s_a = -np.rint(frac[j, 0] - frac[i, 0])
                s_b = -np.rint(frac[j, 1] - frac[i, 1])
                s_c = -np.rint(frac[j, 2] - frac[i, 2])
                d_x = x[j] - x[i] + s_a * cell[0, 0] + s_b * cell[1, 0] + s_c * cell[2, 0]
                d_y = y[j] - y[i] + s_a * cell[0, 1] + s_b * cell[1, 1] + s_c * cell[2, 1]
                d_z = z[j] - z[i] + s_a * cell[0, 2] + s_b * cell[1, 2] + s_c * cell[2, 2]
                moved[pair, 0], moved[pair, 1], moved[pair, 2] = d_x, d_y, d_z
                moved[pair, 3], moved[pair, 4], moved[pair, 5] = s_a, s_b, s_c
                if not whole:
                    n_kept = 0
                kept_first[pair] = n_kept
                v_x, v_y, v_z = spread(d_x), spread(d_y), spread(d_z)
                for k in range(0, padded, LANES):
                    r_x, r_y, r_z = load(t_x, k) + v_x, load(t_y, k) + v_y, load(t_z, k) + v_z
                    bits = below(fma(r_x, r_x, fma(r_y, r_y, r_z * r_z)), wide)
                    while bits != 0:
                        t = k + lowest_bit(bits)
                        bits &= bits - 1
                        e_x, e_y, e_z = d_x + t_x[t], d_y + t_y[t], d_z + t_z[t]
                        length = e_x * e_x + e_y * e_y + e_z * e_z
                        if length < square and length > _SAME_PLACE * _SAME_PLACE:
                            kept[n_kept] = t
                            n_kept += 1
                kept_first[pair + 1] = n_kept
            low, high = kept_first[pair], kept_first[pair + 1]
            if place + high - low <= capacity:
                step, at = (-1, high - 1) if flipped else (1, low)
                for _ in range(high - low):
                    t = kept[at]
                    at += step
                    neighbor_index[place] = begin + j
                    vectors[place, 0] = sign * (moved[pair, 0] + t_x[t])
                    vectors[place, 1] = sign * (moved[pair, 1] + t_y[t])
                    vectors[place, 2] = sign * (moved[pair, 2] + t_z[t])
                    if with_shifts:
                        for axis in range(3):
                            s = translations[t, axis] + int(moved[pair, 3 + axis])
                            shifts[place, axis] = -s if flipped else s
                    place += 1
            else:
                place += high - low
        first[begin + i - start + 1] = place
    return int(place)


@compiled()
def _search_bins(
    positions: Any, cell: Any, frame: Any, begin: int, end: int, from_atom: int, to_atom: int,
    start: int, cutoff: float, with_shifts: bool, place: int, first: Any, neighbor_index: Any,
    shifts: Any, vectors: Any,
) -> int:  # fmt: skip
    """Edges of the centres of one large crystal: candidates come from a centre's and next bins.

    Bins divide the cell along its rows and are at least as thick as the cutoff. A candidate is
    looked at once, with all of its translations, however few bins there are.
    """
    n = end - begin
    inverse = np.empty((3, 3))
    _invert(cell, inverse)
    n_bins = np.empty(3, np.int64)
    for axis in range(3):
        # Planes of the cell are 1 / |column of the inverse| apart.
        square = inverse[0, axis] ** 2 + inverse[1, axis] ** 2 + inverse[2, axis] ** 2
        apart = 1 / np.sqrt(square)
        n_bins[axis] = min(max(int(apart / (cutoff * (1 + 1e-9))), 1), 64)
    total = n_bins[0] * n_bins[1] * n_bins[2]
    bin_of = np.empty((n, 3), np.int64)
    heads = np.zeros(total + 1, np.int64)
    for i in range(n):
        for axis in range(3):
            f = 0.0
            for k in range(3):
                f += positions[begin + i, k] * inverse[k, axis]
            f -= np.floor(f)
            bin_of[i, axis] = min(int(f * n_bins[axis]), n_bins[axis] - 1)
        flat = (bin_of[i, 0] * n_bins[1] + bin_of[i, 1]) * n_bins[2] + bin_of[i, 2]
        heads[flat + 1] += 1
    for b in range(total):
        heads[b + 1] += heads[b]
    members, filled = np.empty(n, np.int64), np.empty(total, np.int64)
    for b in range(total):
        filled[b] = heads[b]
    for i in range(n):
        flat = (bin_of[i, 0] * n_bins[1] + bin_of[i, 1]) * n_bins[2] + bin_of[i, 2]
        members[filled[flat]] = begin + i
        filled[flat] += 1
    candidates = np.empty(n, np.int64)
    known, n_candidates = -1, heads[0]
    for i in range(from_atom, to_atom):
        own = bin_of[i - begin]
        flat = (own[0] * n_bins[1] + own[1]) * n_bins[2] + own[2]
        if flat != known:
            known, n_candidates = flat, heads[0]
            # With one or two bins along an axis, the next on either side may be the same one.
            for p in range(-1 if n_bins[0] > 2 else 0, min(n_bins[0], 2)):
                for q in range(-1 if n_bins[1] > 2 else 0, min(n_bins[1], 2)):
                    for s in range(-1 if n_bins[2] > 2 else 0, min(n_bins[2], 2)):
                        x = (own[0] + p) % n_bins[0]
                        y = (own[1] + q) % n_bins[1]
                        z = (own[2] + s) % n_bins[2]
                        other = (x * n_bins[1] + y) * n_bins[2] + z
                        for k in range(heads[other], heads[other + 1]):
                            candidates[n_candidates] = members[k]
                            n_candidates += 1
            _sort(candidates, n_candidates)
        place = _append(
            i, candidates, n_candidates, positions, cell, frame, cutoff, with_shifts, place,
            neighbor_index, shifts, vectors,
        )  # fmt: skip
        first[i - start + 1] = place
    return int(place)
