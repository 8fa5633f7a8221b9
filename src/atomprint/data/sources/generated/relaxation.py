"""Relax many small crystals at once with a label-free bond-valence and soft-sphere model.

A prototype that has been given new elements carries the internal parameters and the cell of the
old ones. This module moves atoms and cell towards what empirical crystal chemistry expects, with
no quantum-mechanical label anywhere:

- charged atoms: every ion wants the bond valences of its bonds to add up to its oxidation state,
  ``s = exp((R0 - r) / 0.37)`` with ``R0`` of O'Keeffe and Brese, J. Am. Chem. Soc. 113, 3226
  (1991); bonds stronger than usual for their cation cost extra; like charges repel each other
  with a screened Coulomb law, which spreads the ligands around a cation and keeps cations apart
  (Pauling's second and third rules);
- neutral atoms: soft spheres push contacts shorter than the sum of the radii apart at constant
  volume, because volumes of metals follow additivity better than contacts do.

The minimiser is FIRE (Bitzek et al., Phys. Rev. Lett. 97, 170201, 2006) with one time step a
crystal. It only scales whole force vectors, so a crystal keeps the symmetry it started with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BOND_VALENCE_B = 0.37
"""Å; Brown and Altermatt, Acta Cryst. B 41, 244 (1985)."""
BOND_REACH = 1.45
"""Å beyond R0 up to which a cation-anion pair counts as a bond (valence above 0.02)."""
SCREENING_LENGTH = 1.7
"""Å; decay of the repulsion between like charges."""
REPULSION_REACH = 5.0
"""Å; the repulsion between like charges is shifted to zero here."""
_SKIN = 0.5
_STRAIN_SCALE = 4.0
_MAX_STEP = 0.12


@dataclass(frozen=True)
class Draft:
    """One crystal on its way to the corpus.

    Attributes
    ----------
    cell : (3, 3) array
        Lattice vectors as rows, Å.
    frac : (N, 3) array
        Fractional coordinates.
    charge : (N,) array
        Oxidation states; all zero for metals and covalent crystals.
    radius : (N,) array
        Å; radii of the neutral atoms (soft spheres) or of the ions (hard cores).
    bond_r, bond_c : (N,) array
        Size (Å) and softness parameters of O'Keeffe and Brese.
    strength : (N,) array
        Valence of a typical bond of a cation, its charge over its usual coordination number;
        zero for anions and neutral atoms.
    """

    cell: Floats
    frac: Floats
    charge: Floats
    radius: Floats
    bond_r: Floats
    bond_c: Floats
    strength: Floats

    @property
    def volume(self) -> float:
        """Å³ a cell."""
        return float(abs(np.linalg.det(self.cell)))


@dataclass(frozen=True)
class _Pairs:
    crystal: Ints
    i: Ints
    j: Ints
    shift: Floats
    kind: Ints  # 0 bond, 1 like charges, 2 soft spheres
    a: Floats  # R0 | product of charges | contact distance
    core: Floats  # Å; hard-core contact distance
    strength: Floats  # valence units; typical valence of the bond


def periodic_pairs(cell: Floats, frac: Floats, reach: float) -> tuple[Ints, Ints, Floats, Floats]:
    """All pairs of atoms within ``reach`` (Å), each counted once.

    Returns
    -------
    i, j : arrays
        Atom indices, ``i <= j``.
    shift : (P, 3) array
        Lattice translation of ``j``, in lattice vectors.
    distance : (P,) array
        Å.
    """
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    # differences are wrapped to half a lattice vector first, so few translations can matter
    n = np.floor(reach / heights + 0.5).astype(int)
    grid = np.stack(
        np.meshgrid(*(np.arange(-k, k + 1) for k in n), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    i, j = np.triu_indices(len(frac), k=1)
    delta = frac[j] - frac[i]
    wrap = np.round(delta)
    vector = ((delta - wrap) @ cell)[:, None, :] + (grid @ cell)[None, :, :]
    d2 = np.einsum("pgk,pgk->pg", vector, vector)
    pair, image = np.nonzero(d2 < reach**2)
    # an atom and its own images: S and -S are the same pair
    half = grid[grid @ np.array([10**8, 10**4, 1]) > 0]
    own = np.sqrt(((half @ cell) ** 2).sum(axis=1))
    near = np.flatnonzero(own < reach)
    atom = np.repeat(np.arange(len(frac)), len(near))
    first = np.concatenate([i[pair], atom])
    second = np.concatenate([j[pair], atom])
    shift = np.concatenate([grid[image] - wrap[pair], np.tile(half[near], (len(frac), 1))])
    distance = np.concatenate([np.sqrt(d2[pair, image]), np.tile(own[near], len(frac))])
    return first, second, shift.astype(np.float64), distance


def bond_length_parameter(r_i: Floats, c_i: Floats, r_j: Floats, c_j: Floats) -> Floats:
    """R0 (Å) of a pair from sizes and softness, O'Keeffe and Brese 1991, equation 3."""
    root = np.sqrt(c_i) - np.sqrt(c_j)
    return np.asarray(r_i + r_j - r_i * r_j * root**2 / (c_i * r_i + c_j * r_j))


def _pairs_of(draft: Draft, crystal: int, first_atom: int) -> _Pairs:
    charged = bool(np.any(draft.charge != 0))
    reach = _SKIN + (REPULSION_REACH if charged else 2.0 * float(draft.radius.max()))
    i, j, shift, distance = periodic_pairs(draft.cell, draft.frac, reach)
    core = draft.radius[i] + draft.radius[j]
    if charged:
        product = draft.charge[i] * draft.charge[j]
        r0 = bond_length_parameter(
            draft.bond_r[i], draft.bond_c[i], draft.bond_r[j], draft.bond_c[j]
        )
        kind = np.where(product < 0, 0, 1)
        a = np.where(product < 0, r0, product)
        keep = np.where(
            product < 0,
            distance < r0 + BOND_REACH + _SKIN,
            distance < REPULSION_REACH + _SKIN,
        )
    else:
        kind = np.full(len(i), 2)
        a = core
        keep = distance < core + _SKIN
    return _Pairs(
        crystal=np.full(int(keep.sum()), crystal),
        i=i[keep] + first_atom,
        j=j[keep] + first_atom,
        shift=shift[keep],
        kind=kind[keep],
        a=a[keep],
        core=core[keep],
        strength=np.maximum(draft.strength[i], draft.strength[j])[keep],
    )


def bond_valence_sums(draft: Draft) -> Floats:
    """Sum of bond valences of every atom (valence units)."""
    i, j, _, distance = periodic_pairs(draft.cell, draft.frac, 5.5)
    bonded = draft.charge[i] * draft.charge[j] < 0
    i, j, distance = i[bonded], j[bonded], distance[bonded]
    r0 = bond_length_parameter(draft.bond_r[i], draft.bond_c[i], draft.bond_r[j], draft.bond_c[j])
    s = np.exp((r0 - distance) / BOND_VALENCE_B) * (distance < r0 + BOND_REACH)
    n = len(draft.frac)
    return np.asarray(np.bincount(i, s, n) + np.bincount(j, s, n))


def relax(
    drafts: Sequence[Draft],
    *,
    n_steps: int = 150,
    repulsion: float = 0.005,
    evenness: float = 0.3,
    move_cell: bool = True,
    n_refresh: int = 25,
) -> list[Draft]:
    """Relax positions and cells of many crystals at once.

    Parameters
    ----------
    drafts : sequence of Draft
        Crystals; each is either all charged or all neutral.
    n_steps : int
        FIRE steps.
    repulsion : float
        Strength of the repulsion between like charges, in units of the valence term.
    evenness : float
        Weight of the penalty on bonds stronger than is usual for their cation, which drives
        large cations of low charge to their high coordination numbers.
    move_cell : bool
        Let the cell relax too (neutral crystals keep their volume).
    n_refresh : int
        Steps between two neighbour searches.

    Returns
    -------
    list of Draft
        In the order given.
    """
    if not drafts:
        return []
    counts = np.array([len(d.frac) for d in drafts])
    starts = np.concatenate([[0], np.cumsum(counts)])
    owner = np.repeat(np.arange(len(drafts)), counts)
    charge = np.concatenate([d.charge for d in drafts])
    neutral = np.array([not np.any(d.charge != 0) for d in drafts])
    frac = np.concatenate([d.frac for d in drafts])
    cell = np.stack([d.cell for d in drafts])
    n = len(drafts)

    v_atom = np.zeros((len(frac), 3))
    v_cell = np.zeros((n, 3, 3))
    dt = np.full(n, 0.08)
    mix = np.full(n, 0.1)
    downhill = np.zeros(n, dtype=int)
    # a softer valence term for high charges, or P and S would rule every step
    softness = 1.0 / np.maximum(np.abs(charge), 1.0) ** 0.5

    for step in range(n_steps):
        if step % n_refresh == 0:
            current = [
                replace(d, cell=cell[k], frac=frac[starts[k] : starts[k + 1]])
                for k, d in enumerate(drafts)
            ]
            blocks = [_pairs_of(d, k, int(starts[k])) for k, d in enumerate(current)]
            pairs = _Pairs(
                *(
                    np.concatenate(parts)
                    for parts in zip(
                        *(
                            (b.crystal, b.i, b.j, b.shift, b.kind, b.a, b.core, b.strength)
                            for b in blocks
                        ),
                        strict=True,
                    )
                )
            )
            bond, like, soft = (pairs.kind == kind for kind in (0, 1, 2))
        delta = frac[pairs.j] - frac[pairs.i] + pairs.shift
        vector = np.einsum("pk,pkl->pl", delta, cell[pairs.crystal])
        r = np.maximum(np.sqrt((vector**2).sum(axis=1)), 0.3)
        slope = np.zeros(len(r))  # dE/dr
        if bond.any():
            s = np.exp(np.minimum((pairs.a[bond] - r[bond]) / BOND_VALENCE_B, 3.0))
            s *= r[bond] < pairs.a[bond] + BOND_REACH
            i, j = pairs.i[bond], pairs.j[bond]
            total = np.bincount(i, s, len(frac)) + np.bincount(j, s, len(frac))
            pull = 2.0 * softness * (total - np.abs(charge))
            usual = pairs.strength[bond]
            excess = 2.0 * evenness * np.maximum(s / usual - 1.0, 0.0)
            slope[bond] = -(pull[i] + pull[j] + excess) * s / BOND_VALENCE_B
            d = r[like]
            screened = np.exp(-d / SCREENING_LENGTH) / d
            inside = d < REPULSION_REACH
            slope[like] = (
                -repulsion
                * 14.4
                * pairs.a[like] ** 0.5
                * inside
                * screened
                * (1.0 / SCREENING_LENGTH + 1.0 / d)
            )
            overlap = np.maximum(pairs.core[like] - d, 0.0)
            slope[like] -= 4.0 * overlap
        if soft.any():
            slope[soft] = -4.0 * np.maximum(pairs.a[soft] - r[soft], 0.0)
        pull_vector = vector * (slope / r)[:, None]
        force = np.stack(
            [
                np.bincount(pairs.i, pull_vector[:, x], len(frac))
                - np.bincount(pairs.j, pull_vector[:, x], len(frac))
                for x in range(3)
            ],
            axis=1,
        )
        stress = np.zeros((n, 3, 3))
        if move_cell:
            for x in range(3):
                for y in range(x, 3):
                    value = -np.bincount(pairs.crystal, pull_vector[:, x] * vector[:, y], n)
                    stress[:, x, y] = stress[:, y, x] = value
            trace = np.trace(stress, axis1=1, axis2=2) / 3.0
            stress[neutral] -= trace[neutral, None, None] * np.eye(3)
            # per atom, so that large and small cells take steps of the same size
            stress /= (_STRAIN_SCALE * counts**0.5)[:, None, None]

        power = np.bincount(owner, (force * v_atom).sum(axis=1), n) + (stress * v_cell).sum((1, 2))
        f2 = np.bincount(owner, (force**2).sum(axis=1), n) + (stress**2).sum((1, 2))
        v2 = np.bincount(owner, (v_atom**2).sum(axis=1), n) + (v_cell**2).sum((1, 2))
        good = power > 0
        ratio = np.where(good, mix * np.sqrt(v2 / np.maximum(f2, 1e-12)), 0.0)
        keep = np.where(good, 1.0 - mix, 0.0)
        v_atom = keep[owner, None] * v_atom + ratio[owner, None] * force
        v_cell = keep[:, None, None] * v_cell + ratio[:, None, None] * stress
        downhill = np.where(good, downhill + 1, 0)
        faster = downhill > 5
        dt = np.where(good, np.where(faster, np.minimum(dt * 1.1, 0.3), dt), dt * 0.5)
        mix = np.where(good, np.where(faster, mix * 0.99, mix), 0.1)
        v_atom += dt[owner, None] * force
        v_cell += dt[:, None, None] * stress
        move = dt[owner, None] * v_atom
        strain = dt[:, None, None] * v_cell / (_STRAIN_SCALE * counts**0.5)[:, None, None]
        largest = np.zeros(n)
        np.maximum.at(largest, owner, np.abs(move).max(axis=1))
        largest = np.maximum(largest, 3.0 * np.abs(strain).max((1, 2)))
        limit = np.minimum(1.0, _MAX_STEP / np.maximum(largest, 1e-12))
        move *= limit[owner, None]
        strain *= limit[:, None, None]
        inverse = np.linalg.inv(cell)
        frac = frac + np.einsum("ak,akl->al", move, inverse[owner])
        old = np.abs(np.linalg.det(cell))
        cell = cell + np.einsum("bkl,blm->bkm", cell, strain)
        new = np.abs(np.linalg.det(cell))
        cell[neutral] *= ((old / new) ** (1.0 / 3.0))[neutral, None, None]

    return [
        replace(d, cell=cell[k], frac=frac[starts[k] : starts[k + 1]] % 1.0)
        for k, d in enumerate(drafts)
    ]
