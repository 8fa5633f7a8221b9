"""Rough geometry: bonds and angles as springs, atoms as soft spheres, and a pressure.

No energies come of it, only crystals in which bonds have their lengths, nothing overlaps and no
more room is left than rigid parts need. The target function is

    sum_springs k (|r| - d)^2  +  c sum_pairs max(0, s (R_i + R_j) - |r|)^2  +  p V,

in Å² (p in 1/Å), over positions and cell together; pairs that a spring joins do not repel each
other.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atomprint.ground.compiled import compiled

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CONTACT: dict[str, float] = {
    "H": 1.06, "B": 1.70, "C": 1.62, "N": 1.47, "O": 1.43, "F": 1.38, "S": 1.70, "P": 1.70,
    "Cl": 1.68, "Br": 1.76, "I": 1.88,
}  # fmt: skip
"""Å; van der Waals radii (Bondi, J. Phys. Chem. 68, 441, 1964), 5 % smaller as contacts in dense
crystals are."""
SKIN = 0.8
"""Å that pairs are listed beyond their contact, so that they need not be searched at every step."""
THINNEST, WIDEST = 1.5, 80.0
"""Å between lattice planes; a cell that leaves these bounds is given up."""
MOST_DEFORMED = 0.15
"""Largest change of a cell, as part of it, between two searches for pairs."""
ROUNDS = 14
STEPS = 40
"""Steps between two searches for pairs."""


@dataclass(frozen=True)
class Springs:
    """Distances that are wanted.

    Attributes
    ----------
    first, second
        Atoms, ``(n,)``.
    shift
        Cell of the second one, ``(n, 3)``.
    length
        Å, ``(n,)``.
    stiffness
        ``(n,)``; 1 for a bond.
    """

    first: IntArray
    second: IntArray
    shift: IntArray
    length: FloatArray
    stiffness: FloatArray


@compiled()
def _key(i: int, j: int, a: int, b: int, c: int, n: int) -> int:
    """One number for a pair of atoms, the same from both ends; -1 for an atom and itself."""
    if i > j or (i == j and (a < 0 or (a == 0 and (b < 0 or (b == 0 and c < 0))))):
        i, j, a, b, c = j, i, -a, -b, -c
    return (((i * n + j) * 41 + a + 20) * 41 + b + 20) * 41 + c + 20


@compiled()
def _list(
    positions: FloatArray,
    cell: FloatArray,
    frac: FloatArray,
    span: IntArray,
    radius: FloatArray,
    reach: float,
    joined: IntArray,
    pairs: IntArray,
) -> int:
    """Write pairs as rows ``i, j, shift`` as far as there is room; how many there are."""
    n = len(positions)
    count = 0
    for i in range(n):
        for j in range(i, n):
            limit = (radius[i] + radius[j] + reach) ** 2
            wa, wb, wc = (
                int(np.rint(frac[i, 0] - frac[j, 0])),
                int(np.rint(frac[i, 1] - frac[j, 1])),
                int(np.rint(frac[i, 2] - frac[j, 2])),
            )
            for a in range(wa - span[0], wa + span[0] + 1):
                for b in range(wb - span[1], wb + span[1] + 1):
                    for c in range(wc - span[2], wc + span[2] + 1):
                        if i == j and (a < 0 or (a == 0 and (b < 0 or (b == 0 and c <= 0)))):
                            continue
                        square = 0.0
                        for k in range(3):
                            step = positions[j, k] - positions[i, k]
                            step += a * cell[0, k] + b * cell[1, k] + c * cell[2, k]
                            square += step * step
                        if square > limit:
                            continue
                        key = _key(i, j, a, b, c, n)
                        low, high = 0, len(joined)
                        while low < high:
                            middle = (low + high) // 2
                            if joined[middle] < key:
                                low = middle + 1
                            else:
                                high = middle
                        if low < len(joined) and joined[low] == key:
                            continue
                        if count < len(pairs):
                            pairs[count, 0], pairs[count, 1] = i, j
                            pairs[count, 2], pairs[count, 3], pairs[count, 4] = a, b, c
                        count += 1
    return count


def _contacts(
    positions: FloatArray, cell: FloatArray, radius: FloatArray, reach: float, joined: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Pairs of atoms, without those in `joined`, nearer than the sum of radii and `reach`."""
    inverse = np.linalg.inv(cell)
    widest = 2 * float(radius.max()) + reach
    span = np.ceil(widest * np.linalg.norm(inverse, axis=0)).astype(np.int64)
    pairs = np.empty((60 * len(positions), 5), dtype=np.int64)
    while True:
        count = _list(positions, cell, positions @ inverse, span, radius, reach, joined, pairs)
        if count <= len(pairs):
            break
        pairs = np.empty((count, 5), dtype=np.int64)
    first, second, shift = pairs[:count, 0], pairs[:count, 1], pairs[:count, 2:]
    return first.copy(), second.copy(), shift.copy()


@compiled()
def _pull(
    positions: FloatArray,
    cell: FloatArray,
    first: IntArray,
    second: IntArray,
    shift: IntArray,
    length: FloatArray,
    stiffness: FloatArray,
    only_near: bool,
    by_position: FloatArray,
    by_cell: FloatArray,
) -> float:
    """Add what pairs cost, and their gradients by positions and by the cell's rows.

    With ``only_near`` a pair costs nothing beyond its length.
    """
    value = 0.0
    for at in range(len(first)):
        i, j = first[at], second[at]
        a, b, c = shift[at, 0], shift[at, 1], shift[at, 2]
        x = positions[j, 0] - positions[i, 0] + a * cell[0, 0] + b * cell[1, 0] + c * cell[2, 0]
        y = positions[j, 1] - positions[i, 1] + a * cell[0, 1] + b * cell[1, 1] + c * cell[2, 1]
        z = positions[j, 2] - positions[i, 2] + a * cell[0, 2] + b * cell[1, 2] + c * cell[2, 2]
        r = math.sqrt(x * x + y * y + z * z) + 1e-9
        miss = r - length[at]
        if only_near and miss >= 0:
            continue
        value += stiffness[at] * miss * miss
        slope = 2 * stiffness[at] * miss / r
        for m, step in ((0, x), (1, y), (2, z)):
            by_position[i, m] -= slope * step
            by_position[j, m] += slope * step
            by_cell[0, m] += slope * step * a
            by_cell[1, m] += slope * step * b
            by_cell[2, m] += slope * step * c
    return value


def _value(
    x: FloatArray,
    cell0: FloatArray,
    scale: float,
    springs: Springs,
    near: tuple[IntArray, IntArray, IntArray],
    contact: FloatArray,
    repulsion: float,
    pressure: float,
) -> tuple[float, FloatArray]:
    """Value and gradient by the reference positions and the deformation."""
    reference = x[:-9].reshape(-1, 3)
    deform = np.eye(3) + x[-9:].reshape(3, 3) * scale
    positions, cell = reference @ deform, cell0 @ deform
    by_position, by_cell = np.zeros_like(positions), np.zeros((3, 3))
    value = _pull(
        positions, cell, springs.first, springs.second, springs.shift, springs.length,
        springs.stiffness, False, by_position, by_cell,
    )  # fmt: skip
    value += _pull(
        positions,
        cell,
        *near,
        contact,
        np.full(len(contact), repulsion),
        True,
        by_position,
        by_cell,
    )
    volume = np.linalg.det(cell)
    value += pressure * abs(volume)
    by_cell += pressure * abs(volume) * np.linalg.inv(cell).T
    by_deform = (reference.T @ by_position + cell0.T @ by_cell) * scale
    return value, np.concatenate([(by_position @ deform.T).ravel(), by_deform.ravel()])


def _flat(cell: FloatArray) -> bool:
    """Whether lattice planes are nearer than any atom is wide, or far beyond any linker."""
    if not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1.0:
        return True
    spacing = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return bool(spacing.min() < THINNEST or spacing.max() > WIDEST)


HYDROGEN_BOND = 0.7
"""Å that a hydrogen bond is shorter than the contact."""


def _touching(
    near: tuple[IntArray, IntArray, IntArray],
    radius: FloatArray,
    polar: npt.NDArray[np.bool_],
    accepts: npt.NDArray[np.bool_],
) -> FloatArray:
    """Contact distances of pairs in Å."""
    i, j, _ = near
    bond = (polar[i] & accepts[j]) | (polar[j] & accepts[i])
    return np.asarray(radius[i] + radius[j] - HYDROGEN_BOND * bond)


def relax(
    positions: FloatArray,
    cell: FloatArray,
    radius: FloatArray,
    springs: Springs,
    polar: npt.NDArray[np.bool_],
    accepts: npt.NDArray[np.bool_],
    *,
    pressure: float,
    repulsion: float = 0.3,
    rounds: int = ROUNDS,
) -> tuple[FloatArray, FloatArray, float]:
    """Relax positions and cell.

    Parameters
    ----------
    positions, cell
        Å, ``(n, 3)`` and rows ``(3, 3)``.
    radius
        Of the soft spheres in Å, ``(n,)``.
    springs
        Bonds and angles.
    polar, accepts
        Hydrogens that make hydrogen bonds, and the atoms they make them to, ``(n,)``.
    pressure
        In 1/Å.
    repulsion
        Weight of overlaps; a tenth of it at first, so that parts can pass each other.
    rounds
        Times that pairs are searched for, with `STEPS` steps after each.

    Returns
    -------
    positions, cell
        Relaxed.
    closest
        Smallest distance of atoms that no spring joins, by the sum of their radii.
    """
    from scipy.optimize import minimize

    n = len(positions)
    ends = zip(springs.first, springs.second, springs.shift.tolist(), strict=True)
    joined = np.unique(np.array([_key(i, j, *s, n) for i, j, s in ends], dtype=np.int64))
    scale = 0.5 / np.sqrt(n) / 3
    # Further than this, atoms would pass each other before they are next searched for.
    most = MOST_DEFORMED / scale
    bounds = [(None, None)] * (3 * n) + [(-most, most)] * 9
    before = np.inf
    for round_ in range(rounds):
        if _flat(cell):
            return positions, cell, 0.0
        near = _contacts(positions, cell, radius, SKIN, joined)
        contact = _touching(near, radius, polar, accepts)
        start = np.concatenate([positions.ravel(), np.zeros(9)])
        result = minimize(
            _value,
            start,
            args=(
                cell,
                scale,
                springs,
                near,
                contact,
                repulsion * min(1.0, 0.1 + 0.3 * round_),
                pressure * (0.0 if round_ < 2 else 1.0),
            ),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": STEPS, "maxfun": 2 * STEPS},
        )  # fmt: skip
        deform = np.eye(3) + result.x[3 * n :].reshape(3, 3) * scale
        positions, cell = result.x[: 3 * n].reshape(n, 3) @ deform, cell @ deform
        if round_ > 4 and abs(before - result.fun) < 1e-3 * abs(before):
            break
        before = result.fun
    if _flat(cell):
        return positions, cell, 0.0
    near = _contacts(positions, cell, radius, 0.0, joined)
    steps = positions[near[1]] + near[2] @ cell - positions[near[0]]
    touch = np.linalg.norm(steps, axis=1) / _touching(near, radius, polar, accepts)
    return positions, cell, float(touch.min(initial=1.0))


def shortest_cell(positions: FloatArray, cell: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The same crystal in the shortest lattice vectors, atoms inside, rounded to 1e-4 Å."""
    from ase.geometry import minkowski_reduce

    reduced = np.asarray(minkowski_reduce(cell)[0], dtype=np.float64)  # type: ignore[no-untyped-call]
    frac = np.linalg.solve(reduced.T, positions.T).T % 1.0
    rounded = np.round(reduced, 4)
    return np.round(frac @ rounded, 4), rounded
