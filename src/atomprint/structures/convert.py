"""Crystals from what people hold in Python: ASE Atoms, pymatgen Structures, our own crystals.

Fingerprints are functions of periodic crystals. Atoms that do not repeat in some direction are
given a box there, so large that no atom sees an image within the reach asked for: a molecule's
neighbours are then its own atoms, as in every program that knows molecules.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.ground.elements import MAX_Z
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal, FloatArray

# Volume (Å³) below which three lattice vectors span no cell.
_MIN_VOLUME = 1e-6
# More than the reach, so that rounding brings no image back (Å).
_MARGIN = 1.0


@dataclass(frozen=True, slots=True)
class Converted:
    """Crystals made of given structures, in the order given.

    Attributes
    ----------
    crystals
        With ids ``"0"``, ``"1"``, ..., or those given, which have their own. Arrays are shared with
        the structures: they must not be changed.
    boxed
        Whether each was given a box, in one direction or more: its volume means nothing.
    """

    crystals: list[Crystal]
    boxed: list[bool]


def listed(structures: Any) -> Sequence[Any]:
    """Structures as a list: one is a list of one.

    Parameters
    ----------
    structures
        One or many of ASE Atoms, pymatgen Structures or Molecules, and :class:`Crystal`.

    Raises
    ------
    UsageError
        If there is none, or something else was given.
    """
    if is_structure(structures):
        return [structures]
    if isinstance(structures, str | bytes) or not isinstance(structures, Iterable):
        raise UsageError(
            f"{type(structures).__name__} is no structure; give ASE Atoms, a pymatgen Structure or "
            "an atomprint Crystal, or a list of them"
        )
    several = structures if isinstance(structures, list | tuple) else list(structures)
    if not several:
        raise UsageError("the list of structures is empty; give at least one")
    return several


def count_atoms(structure: Any, index: int) -> int:
    """Atoms of a structure of a kind that :func:`as_crystals` knows.

    Parameters
    ----------
    structure
        Any one.
    index
        Its place in the list, for the message.

    Raises
    ------
    UsageError
        If it is of another kind.
    """
    for name in ("numbers", "sites"):
        atoms = getattr(structure, name, None)
        if atoms is not None:
            return len(atoms)
    raise _unknown(structure, index)


def as_crystals(structures: Any, reach: float, first: int = 0) -> Converted:
    """Convert one structure or several.

    Parameters
    ----------
    structures
        One or many of ASE Atoms, pymatgen Structures or Molecules, and :class:`Crystal`; kinds may
        be mixed.
    reach
        In Å: how far a neighbour may be. Boxes are made larger than this.
    first
        Index of the first of them, for ids and messages.

    Raises
    ------
    UsageError
        If something else was given.
    DataError
        If a structure has no atoms, disorder, an unknown element, coordinates that are no numbers,
        or a flat cell in a direction in which it repeats.
    """
    crystals, boxed = [], []
    for index, structure in enumerate(listed(structures), first):
        crystal, is_boxed = _convert(structure, index, reach)
        crystals.append(crystal)
        boxed.append(is_boxed)
    if not _all_sound(crystals):
        for index, crystal in enumerate(crystals, first):
            _check(crystal, f"structure {index}")
    return Converted(crystals, boxed)


def _all_sound(crystals: Sequence[Crystal]) -> bool:
    """Whether :func:`_check` would pass everything: all at once, for the sake of small crystals."""
    counts = [len(c.numbers) for c in crystals]
    numbers = np.concatenate([c.numbers for c in crystals])
    cells = np.array([c.cell for c in crystals])
    if min(counts) == 0 or numbers.min() < 1 or numbers.max() > MAX_Z:
        return False
    positions = np.concatenate([c.positions for c in crystals])
    if not (np.isfinite(cells).all() and np.isfinite(positions).all()):
        return False
    return bool((np.abs(np.linalg.det(cells)) > _MIN_VOLUME).all())


def is_structure(value: Any) -> bool:
    """Whether this is one structure of a kind that :func:`as_crystals` knows."""
    return isinstance(value, Crystal) or _is_ase(value) or _is_pymatgen(value)


def _is_ase(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("numbers", "positions", "cell", "pbc"))


def _is_pymatgen(value: Any) -> bool:
    return hasattr(value, "sites") and hasattr(value, "cart_coords")


def _convert(structure: Any, index: int, reach: float) -> tuple[Crystal, bool]:
    if isinstance(structure, Crystal):
        return structure, False
    pbc: Sequence[bool] = (True, True, True)
    if _is_ase(structure):
        numbers, positions = structure.numbers, structure.positions
        cell, pbc = structure.cell, structure.pbc.tolist()
        cell = getattr(cell, "array", cell)
    elif _is_pymatgen(structure):
        numbers = _pymatgen_numbers(structure, f"structure {index}")
        positions = structure.cart_coords
        lattice = getattr(structure, "lattice", None)
        if lattice is None:
            cell, pbc = np.zeros((3, 3)), (False, False, False)
        else:
            cell, pbc = lattice.matrix, [bool(flag) for flag in lattice.pbc]
    else:
        raise _unknown(structure, index)
    # Not copied: nothing here changes an array, and copies would cost more than all the rest.
    crystal = Crystal(
        str(index), np.asarray(numbers, dtype=np.int64), np.asarray(positions, dtype=np.float64),
        np.asarray(cell, dtype=np.float64),
    )  # fmt: skip
    if all(pbc):
        return crystal, False
    _check_atoms(crystal, f"structure {index}")
    return crystal.with_geometry(crystal.positions, boxed_cell(crystal, pbc, reach)), True


def _unknown(structure: Any, index: int) -> UsageError:
    return UsageError(
        f"structure {index}: {type(structure).__name__} is no structure; give ASE Atoms, a "
        "pymatgen Structure or an atomprint Crystal"
    )


def _pymatgen_numbers(structure: Any, where: str) -> npt.NDArray[np.int64]:
    if not getattr(structure, "is_ordered", True):
        raise DataError(f"{where}: has partly occupied sites; make it ordered first")
    return np.array([site.specie.Z for site in structure.sites], dtype=np.int64)


def _check(crystal: Crystal, where: str) -> None:
    _check_atoms(crystal, where)
    if not crystal.volume > _MIN_VOLUME:
        raise DataError(
            f"{where}: the cell is flat or missing in a direction in which the structure repeats; "
            "give it a cell, or pbc=False"
        )


def _check_atoms(crystal: Crystal, where: str) -> None:
    if crystal.n_atoms == 0:
        raise DataError(f"{where}: has no atoms; leave it out")
    outside = (crystal.numbers < 1) | (crystal.numbers > MAX_Z)
    if outside.any():
        bad = int(crystal.numbers[outside][0])
        raise DataError(f"{where}: {bad} is no atomic number (1 to {MAX_Z}); remove that atom")
    if not (np.isfinite(crystal.positions).all() and np.isfinite(crystal.cell).all()):
        raise DataError(f"{where}: a coordinate or the cell is not a finite number")


def boxed_cell(crystal: Crystal, pbc: Sequence[bool], reach: float) -> FloatArray:
    """Replace the lattice vectors along which nothing repeats, ``(3, 3)`` in Å.

    The new ones are at right angles to the others, and longer than the atoms' extent along them by
    more than the reach.

    Parameters
    ----------
    crystal
        The atoms; only the lattice vectors of directions that repeat are looked at.
    pbc
        Which directions repeat.
    reach
        In Å.
    """
    cell = crystal.cell.copy()
    repeats = [axis for axis in range(3) if pbc[axis]]
    # Complete the repeating vectors to a basis: what is at right angles to all of them.
    _, _, directions = np.linalg.svd(cell[repeats]) if repeats else (None, None, np.eye(3))
    free = directions[len(repeats) :]
    for axis, direction in zip((a for a in range(3) if not pbc[a]), free, strict=True):
        along = crystal.positions @ direction
        cell[axis] = direction * (float(np.ptp(along)) + reach + _MARGIN)
    return cell
