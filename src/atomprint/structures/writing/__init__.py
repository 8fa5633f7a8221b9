"""Writing crystals as files: Parquet, which reads fastest, and what other programs read."""

from atomprint.structures.writing.ase_db import write_ase_db
from atomprint.structures.writing.cif import write_cifs
from atomprint.structures.writing.extxyz import write_extxyz
from atomprint.structures.writing.parquet import write_parquet

__all__ = ["write_ase_db", "write_cifs", "write_extxyz", "write_parquet"]
