"""Write the files of other programs that tests/structures/test_reading_foreign.py reads.

Run: pip install ase==3.29.0 ase-db-backends==0.11.0 datasets==5.2.0 orjson==3.13.0, then
python tests/golden/make_foreign.py. The crystals, their energies (eV) and forces (eV/Å) stand in
foreign/expected.npz.
"""

import json
import zlib
from pathlib import Path

import ase
import lmdb
import numpy as np
import orjson
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase_db_backends.aselmdb import LMDBDatabase
from datasets import Dataset, DatasetDict

FOLDER = Path(__file__).parent / "foreign"


def crystals() -> list[ase.Atoms]:
    """Three crystals with made-up results; more than nine rows are needed to see their order."""
    rng = np.random.default_rng(0)
    parents = [
        bulk("MgO", "rocksalt", a=4.21),
        bulk("Si", "diamond", a=5.43),
        bulk("CsCl", "cesiumchloride", a=4.1, cubic=True) * (3, 1, 1),
    ]
    found = []
    for number in range(12):
        atoms = parents[number % 3].copy()
        atoms.pbc = True
        atoms.positions += rng.normal(0, 0.02, atoms.positions.shape)
        forces = rng.normal(0, 0.1, atoms.positions.shape)
        energy = float(rng.normal()) * len(atoms)
        stress = rng.normal(0, 0.1, 6)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
        found.append(atoms)
    return found


def write_ase_lmdb(path: Path, all_atoms: list[ase.Atoms]) -> None:
    """With ASE's own encoding of arrays; a row is deleted again."""
    with LMDBDatabase(path) as database:
        for number, atoms in enumerate(all_atoms):
            database._write(atoms, {"gap": 0.5 * number}, {"material_id": f"m-{number}"})
            if number == 4:
                database._write(atoms, {}, {})
    with LMDBDatabase(path) as database:
        database.delete([6])


def write_fairchem_lmdb(path: Path, all_atoms: list[ase.Atoms]) -> None:
    """As fairchem's LMDBDatabase encodes rows: orjson with arrays as plain lists."""

    def packed(value: object) -> bytes:
        return zlib.compress(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))

    database = lmdb.open(str(path), map_size=1 << 26, subdir=False)
    with database.begin(write=True) as transaction:
        for number, atoms in enumerate(all_atoms, start=1):
            row = {
                "numbers": atoms.numbers,
                "positions": np.ascontiguousarray(atoms.positions),
                "cell": np.ascontiguousarray(atoms.cell.array),
                "pbc": atoms.pbc,
                "energy": atoms.get_potential_energy(),
                "forces": atoms.get_forces(),
                "stress": atoms.get_stress(),
                "calculator": "unknown",
                "key_value_pairs": {},
                "data": {"sid": f"s-{number}", "tags": [0] * len(atoms)},
                "ctime": 24.0, "mtime": 24.0, "user": "x", "unique_id": "0" * 32,
            }  # fmt: skip
            transaction.put(str(number).encode("ascii"), packed(row))
        transaction.put(b"nextid", packed(len(all_atoms) + 1))
        transaction.put(b"metadata", packed({"note": "made by atomprint's tests"}))
    database.close()
    (path.parent / f"{path.name}-lock").unlink(missing_ok=True)


def write_datasets(folder: Path, all_atoms: list[ase.Atoms]) -> None:
    """A Hugging Face dataset on disk with LeMat-Bulk's columns, in two parts; one as Parquet."""
    rows = []
    for number, atoms in enumerate(all_atoms):
        symbols = atoms.get_chemical_symbols()
        elements, counts = np.unique(symbols, return_counts=True)
        species = [
            {"mass": None, "name": s, "attached": None, "nattached": None, "concentration": [1.0],
             "original_name": None, "chemical_symbols": [s]}
            for s in elements
        ]  # fmt: skip
        rows.append(
            {
                "elements": elements.tolist(),
                "nsites": len(atoms),
                "chemical_formula_reduced": atoms.get_chemical_formula(empirical=True),
                "nelements": len(elements),
                "dimension_types": [1, 1, 1],
                "nperiodic_dimensions": 3,
                "lattice_vectors": atoms.cell.array.tolist(),
                "immutable_id": f"agm{number:06d}",
                "cartesian_site_positions": atoms.positions.tolist(),
                "species": json.dumps(species),
                "species_at_sites": symbols,
                "last_modified": "2024-01-05",
                "elements_ratios": (counts / len(atoms)).tolist(),
                "stress_tensor": atoms.get_stress(voigt=False).tolist(),
                "energy": atoms.get_potential_energy(),
                "magnetic_moments": None if number == 2 else [0.25] * len(atoms),
                "forces": None if number == 3 else atoms.get_forces().tolist(),
                "total_magnetization": 0.25 * len(atoms),
                "functional": "pbe",
                "cross_compatibility": True,
            }
        )
    parts = {"train": Dataset.from_list(rows[:8]), "test": Dataset.from_list(rows[8:])}
    DatasetDict(parts).save_to_disk(folder / "lemat")
    Dataset.from_list(rows).to_parquet(folder / "lemat.parquet")


def main() -> None:
    """Write everything anew."""
    FOLDER.mkdir(exist_ok=True)
    all_atoms = crystals()
    for name in ("ase.aselmdb", "fairchem.aselmdb"):
        for left in FOLDER.glob(f"{name}*"):
            left.unlink()
    write_ase_lmdb(FOLDER / "ase.aselmdb", all_atoms)
    write_fairchem_lmdb(FOLDER / "fairchem.aselmdb", all_atoms)
    (FOLDER / "ase.aselmdb-lock").unlink(missing_ok=True)
    write_datasets(FOLDER, all_atoms)
    arrays = {}
    for number, atoms in enumerate(all_atoms):
        arrays[f"{number}/numbers"] = atoms.numbers
        arrays[f"{number}/positions"] = atoms.positions
        arrays[f"{number}/cell"] = atoms.cell.array
        arrays[f"{number}/energy"] = np.array(atoms.get_potential_energy())
        arrays[f"{number}/forces"] = atoms.get_forces()
    np.savez_compressed(FOLDER / "expected.npz", **arrays)


if __name__ == "__main__":
    main()
