"""What is bonded to what, and how far that reaches: molecules, chains, layers, frameworks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atomprint.ground.elements import covalent_radius
from atomprint.structures.crystal import Crystal, FloatArray
from atomprint.structures.search import search

IntArray = npt.NDArray[np.int64]

BOND = 1.3
"""Pairs count as bonds up to this multiple of the sum of covalent radii."""


@dataclass(frozen=True)
class Component:
    """Atoms that bonds hold together.

    Attributes
    ----------
    atoms
        Indices, ``(n,)``.
    offsets
        The lattice translation of each that brings it beside the others, ``(n, 3)``.
    translations
        Lattice translations that lead from an atom to another image of it along bonds: a basis of
        them, ``(dimension, 3)``.
    """

    atoms: IntArray
    offsets: IntArray
    translations: IntArray

    @property
    def dimension(self) -> int:
        """0 for a molecule, 1 for a chain, 2 for a layer, 3 for a framework."""
        return len(self.translations)


def components(crystal: Crystal, bond: float = BOND) -> list[Component]:
    """Everything that is bonded together, in the order of its first atom."""
    radii = covalent_radius[crystal.numbers]
    found = search(
        crystal.positions,
        crystal.cell[None],
        np.array([0, crystal.n_atoms]),
        bond * 2.0 * float(radii.max()),
    )
    first = np.repeat(np.arange(crystal.n_atoms), np.diff(found.first))
    second = found.neighbor_index
    limit = bond * (radii[first] + radii[second])
    near = (found.vectors**2).sum(axis=1) < limit**2
    bonds: list[list[tuple[int, IntArray]]] = [[] for _ in range(crystal.n_atoms)]
    for i, j, shift in zip(
        first[near].tolist(), second[near].tolist(), found.shifts[near], strict=True
    ):
        bonds[i].append((j, shift))
    seen: dict[int, IntArray] = {}
    result = []
    for start in range(crystal.n_atoms):
        if start in seen:
            continue
        seen[start] = np.zeros(3, dtype=np.int64)
        order, cycles = [start], []
        for atom in order:
            for other, shift in bonds[atom]:
                place = seen[atom] + shift
                if other not in seen:
                    seen[other] = place
                    order.append(other)
                else:
                    cycles.append(place - seen[other])
        atoms = np.array(order)
        offsets = np.stack([seen[atom] for atom in order])
        result.append(Component(atoms, offsets, basis(np.array(cycles).reshape(-1, 3))))
    return result


def basis(vectors: IntArray) -> IntArray:
    """Integer vectors that span the same lattice, as few as there can be (row echelon form)."""
    rows: list[IntArray] = [row for row in np.unique(vectors, axis=0) if row.any()]
    found: list[IntArray] = []
    for column in range(3):
        while True:
            with_entry = [k for k, row in enumerate(rows) if row[column]]
            if len(with_entry) < 2:
                break
            # Euclid's algorithm on the column.
            least = min(with_entry, key=lambda k: abs(rows[k][column]))
            for k in with_entry:
                if k != least:
                    rows[k] = rows[k] - rows[k][column] // rows[least][column] * rows[least]
            rows = [row for row in rows if row.any()]
        if with_entry:
            found.append(rows.pop(with_entry[0]))
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def reduced(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The two shortest vectors of a lattice in a plane (Gauss)."""
    while True:
        if first @ first > second @ second:
            first, second = second, first
        turns = round(float(first @ second / (first @ first)))
        if turns == 0:
            return first, second
        second = second - turns * first
