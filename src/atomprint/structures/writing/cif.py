"""A folder of CIFs, a file a crystal, with a table of labels beside them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atomprint.ground.elements import symbols
from atomprint.structures.crystal import Crystal
from atomprint.structures.writing.folder import write_folder
from atomprint.structures.writing.whole import Progress


def write_cifs(
    folder: str | os.PathLike[str],
    crystals: Sequence[Crystal],
    *,
    progress: Progress | None = None,
) -> list[str]:
    """Write ``ID.cif`` for every crystal, in P 1, and labels that are numbers in ``id_prop.csv``.

    Lengths, angles and fractional positions have all their digits. How the cell is turned in space
    a CIF does not say. The folder is complete or not there.

    Parameters
    ----------
    folder
        Where to; must not be there.
    crystals
        With different ids.
    progress
        Called with crystals done and in all.

    Returns
    -------
    left_out
        Names of labels that are arrays, which a CIF has no place for.

    Raises
    ------
    UsageError
        If there are no crystals, or the folder is there.
    DataError
        If two crystals have the same id, or an id cannot be a file's name.
    """
    return write_folder(Path(folder), crystals, ".cif", "CIF", _cif, progress)


def _cif(crystal: Crystal) -> str:
    cell, frac = crystal.cell, crystal.frac
    if np.linalg.det(cell) < 0:
        # Lengths and angles mean a right-handed cell: the same crystal, axes turned round.
        cell, frac = -cell, -frac
    lengths = np.sqrt((cell * cell).sum(axis=1))
    unit = cell / lengths[:, None]
    cosines = np.clip([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]], -1, 1)
    angles = np.degrees(np.arccos(cosines))
    pairs = zip(
        ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"),
        [*lengths.tolist(), *angles.tolist()],
        strict=True,
    )
    found, counts = np.unique(crystal.numbers, return_counts=True)
    formula = " ".join(f"{symbols[z]}{n}" for z, n in zip(found, counts, strict=True))
    lines = [
        "data_crystal",
        *[f"_cell_{name} {value!r}" for name, value in pairs],
        "_space_group_name_H-M_alt 'P 1'",
        "_space_group_IT_number 1",
        f"_chemical_formula_sum '{formula}'",
        "loop_",
        "_space_group_symop_operation_xyz",
        "'x, y, z'",
        "loop_",
        "_atom_site_label",
        "_atom_site_type_symbol",
        "_atom_site_fract_x",
        "_atom_site_fract_y",
        "_atom_site_fract_z",
        "_atom_site_occupancy",
    ]
    for index, (number, row) in enumerate(
        zip(crystal.numbers.tolist(), frac.tolist(), strict=True)
    ):
        symbol = symbols[number]
        lines.append(f"{symbol}{index} {symbol} {' '.join(map(repr, row))} 1")
    return "\n".join([*lines, ""])
