"""Relax small crystals with a label-free bond-valence and soft-sphere model.

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

The minimiser is FIRE (Bitzek et al., Phys. Rev. Lett. 97, 170201, 2006). It only scales whole
force vectors, so a crystal keeps the symmetry it started with. Its loops are compiled, in
:mod:`.descent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .descent import (
    BOND,
    BOND_REACH,
    BOND_VALENCE_B,
    LIKE,
    REPULSION_REACH,
    SOFT,
    descend,
    pairs_within,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SKIN = 0.5


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
    i: Ints
    j: Ints
    shift: Floats
    kind: Ints  # BOND, LIKE or SOFT
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
    frac = np.ascontiguousarray(frac, dtype=np.float64)
    cell = np.ascontiguousarray(cell, dtype=np.float64)
    found = np.empty((pairs_within(frac, cell, reach, n, True, _NOWHERE), 6))
    pairs_within(frac, cell, reach, n, False, found)
    i, j = found[:, 0].astype(np.int64), found[:, 1].astype(np.int64)
    return i, j, found[:, 2:5].copy(), found[:, 5].copy()


_NOWHERE = np.empty((0, 6))


def bond_length_parameter(r_i: Floats, c_i: Floats, r_j: Floats, c_j: Floats) -> Floats:
    """R0 (Å) of a pair from sizes and softness, O'Keeffe and Brese 1991, equation 3."""
    root = np.sqrt(c_i) - np.sqrt(c_j)
    return np.asarray(r_i + r_j - r_i * r_j * root**2 / (c_i * r_i + c_j * r_j))


def _pairs_of(draft: Draft) -> _Pairs:
    charged = bool(np.any(draft.charge != 0))
    reach = _SKIN + (REPULSION_REACH if charged else 2.0 * float(draft.radius.max()))
    i, j, shift, distance = periodic_pairs(draft.cell, draft.frac, reach)
    core = draft.radius[i] + draft.radius[j]
    if charged:
        product = draft.charge[i] * draft.charge[j]
        r0 = bond_length_parameter(
            draft.bond_r[i], draft.bond_c[i], draft.bond_r[j], draft.bond_c[j]
        )
        kind = np.where(product < 0, BOND, LIKE)
        a = np.where(product < 0, r0, product)
        keep = np.where(
            product < 0,
            distance < r0 + BOND_REACH + _SKIN,
            distance < REPULSION_REACH + _SKIN,
        )
    else:
        kind = np.full(len(i), SOFT)
        a = core
        keep = distance < core + _SKIN
    return _Pairs(
        i=i[keep],
        j=j[keep],
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
    """Relax positions and cells of many crystals, each by itself.

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
    return [_relaxed(draft, n_steps, repulsion, evenness, move_cell, n_refresh) for draft in drafts]


def _relaxed(
    draft: Draft,
    n_steps: int,
    repulsion: float,
    evenness: float,
    move_cell: bool,
    n_refresh: int,
) -> Draft:
    frac = np.array(draft.frac, dtype=np.float64, order="C")
    cell = np.array(draft.cell, dtype=np.float64, order="C")
    v_atom, v_cell = np.zeros_like(frac), np.zeros((3, 3))
    state = np.array([0.08, 0.1, 0.0])  # time step, mixing, steps downhill
    neutral = not np.any(draft.charge != 0)
    for step in range(0, n_steps, n_refresh):
        pairs = _pairs_of(replace(draft, cell=cell, frac=frac))
        descend(
            frac, cell, v_atom, v_cell, state, pairs.i, pairs.j, pairs.shift, pairs.kind, pairs.a,
            pairs.core, pairs.strength, np.asarray(draft.charge, dtype=np.float64), repulsion,
            evenness, move_cell, neutral, min(n_refresh, n_steps - step),
        )  # fmt: skip
    return replace(draft, cell=cell, frac=frac % 1.0)
