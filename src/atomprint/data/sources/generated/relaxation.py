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
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .descent import (
    BOND_REACH,
    BOND_VALENCE_B,
    REPULSION_REACH,
    bond_length_parameter,
    descend,
    find_pairs,
    pairs_that_act,
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
    frac = np.ascontiguousarray(frac, dtype=np.float64)
    cell = np.ascontiguousarray(cell, dtype=np.float64)
    found: tuple[Ints, Ints, Floats, Floats] = find_pairs(frac, cell, float(reach))
    return found


@dataclass(frozen=True)
class Bonds:
    """Bonds between unlike ions.

    Attributes
    ----------
    first, second : (B,) arrays
        Atoms.
    distance : (B,) array
        Å.
    r0 : (B,) array
        Length of a bond of valence 1, Å.
    """

    first: Ints
    second: Ints
    distance: Floats
    r0: Floats

    @cached_property
    def valence(self) -> Floats:
        """Valence of each, ``(B,)``."""
        return np.asarray(np.exp((self.r0 - self.distance) / BOND_VALENCE_B))

    def sums(self, values: Floats, n_atoms: int) -> Floats:
        """Sum of values of bonds over each atom's, ``(n_atoms,)``."""
        of_first = np.bincount(self.first, values, n_atoms)
        return np.asarray(of_first + np.bincount(self.second, values, n_atoms))


def bonds_of(draft: Draft) -> Bonds:
    """All bonds of up to 5.5 Å."""
    i, j, _, distance = periodic_pairs(draft.cell, draft.frac, 5.5)
    bonded = draft.charge[i] * draft.charge[j] < 0
    i, j, distance = i[bonded], j[bonded], distance[bonded]
    r0 = bond_length_parameter(draft.bond_r[i], draft.bond_c[i], draft.bond_r[j], draft.bond_c[j])
    return Bonds(i, j, distance, r0)


def bond_valence_sums(bonds: Bonds, n_atoms: int) -> Floats:
    """Sum of bond valences of every atom (valence units), of bonds that act on it in `relax`."""
    return bonds.sums(bonds.valence * (bonds.distance < bonds.r0 + BOND_REACH), n_atoms)


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
    charged = bool(np.any(draft.charge != 0))
    given = (draft.charge, draft.radius, draft.bond_r, draft.bond_c, draft.strength)
    of_atoms = [np.ascontiguousarray(values, dtype=np.float64) for values in given]
    reach = _SKIN + (REPULSION_REACH if charged else 2.0 * float(draft.radius.max()))
    for step in range(0, n_steps, n_refresh):
        pairs = pairs_that_act(frac, cell, reach, _SKIN, charged, *of_atoms)
        descend(
            frac, cell, v_atom, v_cell, state, *pairs, of_atoms[0], repulsion, evenness, move_cell,
            not charged, min(n_refresh, n_steps - step),
        )  # fmt: skip
    return replace(draft, cell=cell, frac=frac % 1.0)
