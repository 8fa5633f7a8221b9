"""The loops of the relaxation, compiled: pairs of atoms, and steps of FIRE for one crystal."""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from atomprint.ground.compiled import compiled

BOND, LIKE, SOFT = 0, 1, 2
"""Kinds of pairs: cation and anion, like charges, neutral atoms."""

BOND_VALENCE_B = 0.37
"""Å; Brown and Altermatt, Acta Cryst. B 41, 244 (1985)."""
BOND_REACH = 1.45
"""Å beyond R0 up to which a cation-anion pair counts as a bond (valence above 0.02)."""
SCREENING_LENGTH = 1.7
"""Å; decay of the repulsion between like charges."""
REPULSION_REACH = 5.0
"""Å; the repulsion between like charges is shifted to zero here."""
_COULOMB = 14.4  # eV Å
_STRAIN_SCALE = 4.0
_MAX_STEP = 0.12  # Å


@compiled()
def pairs_within(frac: Any, cell: Any, reach: float, n: Any, count: bool, out: Any) -> int:
    """Find pairs within ``reach``, each once, and write those that have room; return how many.

    Parameters
    ----------
    frac, cell
        The crystal.
    reach
        Å.
    n
        Lattice translations to look at along each vector.
    count
        Whether they are only counted.
    out
        Rows ``i, j, shift (3), distance``; in the order of i, j and translation, an atom's own
        images last.
    """
    found = 0
    n_atoms = len(frac)
    limit = reach * reach
    delta = np.empty(3)
    wrap = np.empty(3)
    for i in range(n_atoms):
        for j in range(i + 1, n_atoms):
            for k in range(3):
                delta[k] = frac[j, k] - frac[i, k]
                wrap[k] = np.rint(delta[k])
                delta[k] -= wrap[k]
            for a in range(-n[0], n[0] + 1):
                for b in range(-n[1], n[1] + 1):
                    for c in range(-n[2], n[2] + 1):
                        d2 = 0.0
                        for k in range(3):
                            x = (
                                (delta[0] + a) * cell[0, k]
                                + (delta[1] + b) * cell[1, k]
                                + (delta[2] + c) * cell[2, k]
                            )
                            d2 += x * x
                        if d2 < limit:
                            if not count:
                                out[found, 0] = i
                                out[found, 1] = j
                                out[found, 2] = a - wrap[0]
                                out[found, 3] = b - wrap[1]
                                out[found, 4] = c - wrap[2]
                                out[found, 5] = np.sqrt(d2)
                            found += 1
    for i in range(n_atoms):
        for a in range(n[0] + 1):
            for b in range(-n[1], n[1] + 1):
                for c in range(-n[2], n[2] + 1):
                    # S and -S are the same pair.
                    if a == 0 and (b < 0 or (b == 0 and c <= 0)):
                        continue
                    d2 = 0.0
                    for k in range(3):
                        x = a * cell[0, k] + b * cell[1, k] + c * cell[2, k]
                        d2 += x * x
                    if d2 < limit:
                        if not count:
                            out[found, 0] = i
                            out[found, 1] = i
                            out[found, 2] = a
                            out[found, 3] = b
                            out[found, 4] = c
                            out[found, 5] = np.sqrt(d2)
                        found += 1
    return found


@compiled()
def _det(m: Any) -> float:
    """Determinant of a 3x3 matrix."""
    return float(
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )


@compiled()
def _invert(m: Any, out: Any) -> None:
    """Write the inverse of a 3x3 matrix."""
    det = _det(m)
    for i in range(3):
        for j in range(3):
            a, b = (j + 1) % 3, (j + 2) % 3
            c, d = (i + 1) % 3, (i + 2) % 3
            out[i, j] = (m[a, c] * m[b, d] - m[a, d] * m[b, c]) / det


@register_jitable  # type: ignore[untyped-decorator]
def bond_length_parameter(r_i: Any, c_i: Any, r_j: Any, c_j: Any) -> Any:
    """R0 (Å) of a pair from sizes and softness, O'Keeffe and Brese 1991, equation 3.

    Of numbers in compiled loops, of numbers or arrays outside.
    """
    root = np.sqrt(c_i) - np.sqrt(c_j)
    return r_i + r_j - r_i * r_j * root**2 / (c_i * r_i + c_j * r_j)


@compiled()
def find_pairs(frac: Any, cell: Any, reach: float) -> Any:
    """All pairs within ``reach`` (Å): atoms ``i <= j``, lattice translations of j, distances."""
    inverse = np.empty((3, 3))
    _invert(cell, inverse)
    n = np.empty(3, np.int64)
    for k in range(3):
        height = 1.0 / np.sqrt(inverse[0, k] ** 2 + inverse[1, k] ** 2 + inverse[2, k] ** 2)
        # Differences are wrapped to half a lattice vector first, so few translations can matter.
        n[k] = int(np.floor(reach / height + 0.5))
    rows = np.empty((pairs_within(frac, cell, reach, n, True, np.empty((0, 6))), 6))
    pairs_within(frac, cell, reach, n, False, rows)
    first, second = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    shift, distance = np.empty((len(rows), 3)), np.empty(len(rows))
    for p in range(len(rows)):
        first[p], second[p] = int(rows[p, 0]), int(rows[p, 1])
        for k in range(3):
            shift[p, k] = rows[p, 2 + k]
        distance[p] = rows[p, 5]
    return first, second, shift, distance


@compiled()
def pairs_that_act(
    frac: Any, cell: Any, reach: float, skin: float, charged: bool, charge: Any, radius: Any,
    bond_r: Any, bond_c: Any, strength: Any,
) -> Any:  # fmt: skip
    """Pairs that act on each other within ``skin`` (Å) of where they are, for :func:`descend`.

    Parameters
    ----------
    frac, cell
        The crystal.
    reach, skin
        Å; how far to look, and how far what acts may come closer.
    charged
        Whether the atoms are ions.
    charge, radius, bond_r, bond_c, strength
        Of the atoms, see :class:`.relaxation.Draft`.

    Returns
    -------
    first, second, shift, kind, a, core, usual
        Atoms and lattice translation; BOND, LIKE or SOFT; R0, product of charges or contact
        distance; Å of the hard cores' contact; valence of a typical bond.
    """
    i, j, shift, distance = find_pairs(frac, cell, reach)
    kind, a = np.empty(len(i), np.int64), np.empty(len(i))
    core, usual = np.empty(len(i)), np.empty(len(i))
    n = 0
    for p in range(len(i)):
        one, two = i[p], j[p]
        contact = radius[one] + radius[two]
        if not charged:
            what, of, limit = SOFT, contact, contact + skin
        else:
            product = charge[one] * charge[two]
            if product < 0:
                of = bond_length_parameter(bond_r[one], bond_c[one], bond_r[two], bond_c[two])
                what, limit = BOND, of + BOND_REACH + skin
            else:
                what, of, limit = LIKE, product, REPULSION_REACH + skin
        if distance[p] < limit:
            i[n], j[n], kind[n], a[n], core[n] = one, two, what, of, contact
            shift[n] = shift[p]
            usual[n] = max(strength[one], strength[two])
            n += 1
    return i[:n], j[:n], shift[:n], kind[:n], a[:n], core[:n], usual[:n]


@compiled()
def _slopes(
    vectors: Any, i: Any, j: Any, kind: Any, a: Any, core: Any, usual: Any, charge: Any,
    repulsion: float, evenness: float, r: Any, slope: Any, valence: Any, total: Any,
) -> None:  # fmt: skip
    """Write distances (Å, at least 0.3) and the derivative of the energy by each of them."""
    total[:] = 0.0
    for p in range(len(i)):
        x, y, z = vectors[p]
        r[p] = max(np.sqrt(x * x + y * y + z * z), 0.3)
        valence[p] = 0.0
        if kind[p] == BOND and r[p] < a[p] + BOND_REACH:
            valence[p] = np.exp(min((a[p] - r[p]) / BOND_VALENCE_B, 3.0))
            total[i[p]] += valence[p]
            total[j[p]] += valence[p]
    # A softer valence term for high charges, or P and S would rule every step.
    for k in range(len(total)):
        q = abs(charge[k])
        total[k] = 2.0 * (total[k] - q) / np.sqrt(max(q, 1.0))
    for p in range(len(i)):
        d = r[p]
        if kind[p] == BOND:
            s = valence[p]
            excess = 2.0 * evenness * max(s / usual[p] - 1.0, 0.0)
            slope[p] = -(total[i[p]] + total[j[p]] + excess) * s / BOND_VALENCE_B
        elif kind[p] == LIKE:
            slope[p] = 0.0
            if d < REPULSION_REACH:
                screened = np.exp(-d / SCREENING_LENGTH) / d
                steep = 1.0 / SCREENING_LENGTH + 1.0 / d
                slope[p] = -repulsion * _COULOMB * np.sqrt(a[p]) * screened * steep
            slope[p] -= 4.0 * max(core[p] - d, 0.0)
        else:
            slope[p] = -4.0 * max(a[p] - d, 0.0)


@compiled()
def descend(
    frac: Any, cell: Any, v_atom: Any, v_cell: Any, state: Any, i: Any, j: Any, shift: Any,
    kind: Any, a: Any, core: Any, usual: Any, charge: Any, repulsion: float, evenness: float,
    move_cell: bool, neutral: bool, n_steps: int,
) -> None:  # fmt: skip
    """Take steps of FIRE with these pairs; everything up to ``state`` is changed in place.

    Parameters
    ----------
    frac, cell
        The crystal.
    v_atom, v_cell
        Velocities of atoms and cell.
    state
        Time step, mixing, steps downhill so far.
    i, j, shift
        Pairs: atoms, and the lattice translation of the second.
    kind, a, core, usual
        Of each pair its kind; R0, product of charges or contact distance; distance of hard cores;
        valence of a usual bond.
    charge
        Of the atoms.
    repulsion, evenness, move_cell
        See :func:`atomprint.data.sources.generated.relaxation.relax`.
    neutral
        Whether the volume stays.
    n_steps
        How many.
    """
    n, n_pairs = len(frac), len(i)
    vectors, r, slope = np.empty((n_pairs, 3)), np.empty(n_pairs), np.empty(n_pairs)
    valence, total = np.empty(n_pairs), np.empty(n)
    force, move = np.empty((n, 3)), np.empty((n, 3))
    stress, strain, inverse, grown = (
        np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)),
    )  # fmt: skip
    delta = np.empty(3)
    # Per atom, so that large and small cells take steps of the same size.
    scale = _STRAIN_SCALE * np.sqrt(n)
    for _ in range(n_steps):
        for p in range(n_pairs):
            for k in range(3):
                delta[k] = frac[j[p], k] - frac[i[p], k] + shift[p, k]
            for k in range(3):
                vectors[p, k] = (
                    delta[0] * cell[0, k] + delta[1] * cell[1, k] + delta[2] * cell[2, k]
                )
        _slopes(
            vectors, i, j, kind, a, core, usual, charge, repulsion, evenness, r, slope, valence,
            total,
        )  # fmt: skip
        force[:] = 0.0
        stress[:] = 0.0
        for p in range(n_pairs):
            pull = slope[p] / r[p]
            for x in range(3):
                value = vectors[p, x] * pull
                force[i[p], x] += value
                force[j[p], x] -= value
                if move_cell:
                    for y in range(x, 3):
                        stress[x, y] -= value * vectors[p, y]
        if move_cell:
            for x in range(3):
                for y in range(x):
                    stress[x, y] = stress[y, x]
            if neutral:
                trace = (stress[0, 0] + stress[1, 1] + stress[2, 2]) / 3.0
                for x in range(3):
                    stress[x, x] -= trace
            stress /= scale
        power = (force * v_atom).sum() + (stress * v_cell).sum()
        f2 = (force**2).sum() + (stress**2).sum()
        v2 = (v_atom**2).sum() + (v_cell**2).sum()
        if power > 0.0:
            ratio, keep = state[1] * np.sqrt(v2 / max(f2, 1e-12)), 1.0 - state[1]
            state[2] += 1.0
            if state[2] > 5.0:
                state[0] = min(state[0] * 1.1, 0.3)
                state[1] *= 0.99
        else:
            ratio, keep = 0.0, 0.0
            state[0] *= 0.5
            state[1] = 0.1
            state[2] = 0.0
        dt = state[0]
        largest = 0.0
        for k in range(n):
            for x in range(3):
                v_atom[k, x] = keep * v_atom[k, x] + (ratio + dt) * force[k, x]
                move[k, x] = dt * v_atom[k, x]
                largest = max(largest, abs(move[k, x]))
        for x in range(3):
            for y in range(3):
                v_cell[x, y] = keep * v_cell[x, y] + (ratio + dt) * stress[x, y]
                strain[x, y] = dt * v_cell[x, y] / scale
                largest = max(largest, 3.0 * abs(strain[x, y]))
        limit = min(1.0, _MAX_STEP / max(largest, 1e-12))
        _invert(cell, inverse)
        for k in range(n):
            for x in range(3):
                frac[k, x] += limit * (
                    move[k, 0] * inverse[0, x]
                    + move[k, 1] * inverse[1, x]
                    + move[k, 2] * inverse[2, x]
                )
        for x in range(3):
            for y in range(3):
                grown[x, y] = cell[x, y] + limit * (
                    cell[x, 0] * strain[0, y]
                    + cell[x, 1] * strain[1, y]
                    + cell[x, 2] * strain[2, y]
                )
        factor = 1.0
        if neutral:
            factor = (abs(_det(cell)) / abs(_det(grown))) ** (1.0 / 3.0)
        cell[:] = grown * factor
