"""Small files for the tests of reading."""

import json
from pathlib import Path

import numpy as np

NACL_CIF = """\
data_NaCl
_symmetry_space_group_name_H-M 'F m -3 m'
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_chemical_formula_sum 'Na Cl'
_cell_formula_units_Z 4
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 0 0 0
Cl1 0.5 0.5 0.5
"""


def cif(
    sites: str,
    columns: str = "label fract_x fract_y fract_z",
    cell: tuple[float | str, ...] = (5, 5, 5, 90, 90, 90),
    head: str = "",
    operations: tuple[str, ...] | None = ("x,y,z",),
    name: str = "test",
) -> str:
    """Compose a CIF block."""
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = [f"data_{name}", *[f"_cell_{n} {v}" for n, v in zip(names, cell, strict=True)]]
    lines += [head]
    if operations is not None:
        lines += ["loop_", "_symmetry_equiv_pos_as_xyz", *[f"'{op}'" for op in operations]]
    lines += ["loop_", *[f"_atom_site_{column}" for column in columns.split()], sites, ""]
    return "\n".join(lines)


def write(path: Path, text: str | bytes) -> Path:
    """Write a file, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


POSCAR = """\
NaCl primitive
1.0
0.0 2.82 2.82
2.82 0.0 2.82
2.82 2.82 0.0
Na Cl
1 1
Direct
0 0 0
0.5 0.5 0.5
"""

EXTXYZ = """\
2
Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 name=first
Cs 0 0 0 0.1 0.2 0.3
Cl 2 2 2 -0.1 -0.2 -0.3
1
Lattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3:forces:R:3 energy=-2.5 name=second
Fe 0 0 0 0 0 0
"""


def structure_dict(**changes: object) -> dict:
    """A structure as pymatgen's ``as_dict`` writes it."""
    matrix = [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]
    sites = [
        {"species": [{"element": "Cs", "occu": 1}], "abc": [0, 0, 0], "xyz": [0, 0, 0]},
        {"species": [{"element": "Cl-", "occu": 1}], "abc": [0.5] * 3, "xyz": [2.0] * 3},
    ]
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "lattice": {"matrix": matrix, "pbc": [True] * 3},
        "sites": sites,
        **changes,
    }


def as_json(value: object) -> str:
    """Write JSON text."""
    return json.dumps(value)


def sorted_distances(positions, cell, cutoff: float = 5.0) -> np.ndarray:
    """Sorted distances below the cutoff, every pair and image, by the definition."""
    positions, cell = np.asarray(positions, float), np.asarray(cell, float)
    inverse = np.linalg.inv(cell)
    reach = np.ceil(cutoff * np.linalg.norm(inverse, axis=0)).astype(int) + 1
    frac = positions @ inverse
    positions = (frac - np.floor(frac)) @ cell
    grid = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach]), -1).reshape(-1, 3) @ cell
    vectors = positions[:, None, None] - positions[None, :, None] + grid[None, None]
    lengths = np.linalg.norm(vectors, axis=-1).ravel()
    return np.sort(lengths[(lengths > 1e-8) & (lengths < cutoff)])
