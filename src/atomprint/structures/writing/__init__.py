"""Writing crystals as files: Parquet, which reads fastest, and what other programs read."""

from atomprint.structures.writing.ase_db import write_ase_db
from atomprint.structures.writing.atompack import write_atompack
from atomprint.structures.writing.cif import write_cifs
from atomprint.structures.writing.extxyz import write_extxyz
from atomprint.structures.writing.lemat import write_lemat
from atomprint.structures.writing.lmdb import write_lmdb
from atomprint.structures.writing.parquet import write_parquet
from atomprint.structures.writing.poscar import write_poscars
from atomprint.structures.writing.pymatgen_json import write_pymatgen_json

__all__ = [
    "write_ase_db",
    "write_atompack",
    "write_cifs",
    "write_extxyz",
    "write_lemat",
    "write_lmdb",
    "write_parquet",
    "write_poscars",
    "write_pymatgen_json",
]
