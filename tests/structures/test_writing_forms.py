"""Crystals written as extended XYZ, ASE databases and CIFs, and read again by others and by us."""

import ase.db
import ase.io
import numpy as np
import pytest

from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from atomprint.structures.writing import write_ase_db, write_cifs, write_extxyz

ODD_IDS = ["mp-1", 'a "quoted" \\ id', "two\nlines", "Å b=c", "#7", "1e5", "a/b"]


def crystals(ids=ODD_IDS):
    """Skewed cells, also left-handed ones; atoms outside of the cell; labels of every kind."""
    rng = np.random.default_rng(3)
    made = []
    for index, id in enumerate(ids):
        n_atoms = index + 1
        cell = 6 * np.eye(3) + rng.normal(size=(3, 3))
        if index % 2:
            cell = cell[[1, 0, 2]]
        labels = {"energy": float(rng.normal()), "gap": 0.1 * index, "Band gap": 1e-17 * index}
        labels |= {"forces": rng.normal(size=(n_atoms, 3)), "charge": rng.normal(size=n_atoms)}
        labels |= {"dft_stress": np.random.default_rng(index).normal(size=(1, 9))}
        if index == 2:
            labels = {}
        made.append(
            Crystal.make(
                id,
                rng.integers(1, 90, n_atoms),
                cell,
                frac=rng.uniform(-1, 2, size=(n_atoms, 3)),
                labels=labels,
            )
        )
    return made


def same(given, found):
    assert [c.id for c in found] == [c.id for c in given]
    for old, new in zip(given, found, strict=True):
        np.testing.assert_array_equal(old.numbers, new.numbers)
        np.testing.assert_array_equal(old.cell, new.cell)
        np.testing.assert_array_equal(old.positions, new.positions)
        assert set(old.labels) == set(new.labels)
        for name, value in old.labels.items():
            np.testing.assert_array_equal(value, new.labels[name])
            assert np.shape(value) == np.shape(new.labels[name])


class TestExtendedXYZ:
    @pytest.mark.parametrize("name", ["a.extxyz", "a.xyz", "a.extxyz.gz"])
    def test_round_trip_is_exact(self, tmp_path, name):
        write_extxyz(tmp_path / name, crystals())
        result = read_crystals(tmp_path / name)
        assert not result.problems
        same(crystals(), result.crystals)
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_ase_reads_the_same(self, tmp_path):
        write_extxyz(tmp_path / "a.extxyz", crystals())
        for crystal, atoms in zip(
            crystals(), ase.io.read(tmp_path / "a.extxyz", ":", format="extxyz"), strict=True
        ):
            np.testing.assert_array_equal(atoms.numbers, crystal.numbers)
            np.testing.assert_array_equal(atoms.positions, crystal.positions)
            np.testing.assert_array_equal(atoms.cell.array, crystal.cell)
            assert atoms.pbc.all()
            if crystal.labels:
                assert atoms.get_potential_energy() == crystal.labels["energy"]
                np.testing.assert_array_equal(atoms.get_forces(), crystal.labels["forces"])
                assert atoms.info["Band gap"] == crystal.labels["Band gap"]

    @pytest.mark.parametrize("name", ["pos", "Lattice", "id", 'a"b'])
    def test_names_that_it_cannot_hold(self, tmp_path, name):
        one = crystals()[0].with_labels({name: 1.0})
        with pytest.raises(UsageError, match="cannot hold a label called"):
            write_extxyz(tmp_path / "a.xyz", [one])
        assert not list(tmp_path.iterdir())


class TestASEDatabase:
    def test_round_trip_is_exact(self, tmp_path):
        write_ase_db(tmp_path / "a.db", crystals())
        result = read_crystals(tmp_path / "a.db")
        assert not result.problems
        same(crystals(), result.crystals)
        assert [path.name for path in tmp_path.iterdir()] == ["a.db"]

    def test_ase_finds_labels(self, tmp_path):
        write_ase_db(tmp_path / "a.db", crystals())
        with ase.db.connect(tmp_path / "a.db") as database:
            (row,) = database.select("gap>0.55")
            assert row.data["id"] == ODD_IDS[6]
            assert row.energy == crystals()[6].labels["energy"]


class TestCIFs:
    IDS = ("mp-1", "two words", "#7", "Å", "a.b", "1e5")

    def test_round_trip_up_to_the_turn_of_the_cell(self, tmp_path):
        given = crystals(self.IDS)
        left_out = write_cifs(tmp_path / "cifs", given)
        assert left_out == ["charge", "dft_stress", "forces"]
        result = read_crystals(tmp_path / "cifs")
        assert not result.problems
        by_id = {crystal.id: crystal for crystal in result.crystals}
        assert set(by_id) == set(self.IDS)
        for old in given:
            new = by_id[old.id]
            np.testing.assert_array_equal(old.numbers, new.numbers)
            np.testing.assert_allclose(new.cell @ new.cell.T, old.cell @ old.cell.T, rtol=1e-12)
            # All vectors between atoms, as lengths and angles: equal up to a turn, not a mirror.
            mine, theirs = (c.positions - c.positions[0] for c in (old, new))
            turn = np.linalg.solve(old.cell, _turned(old, new))
            np.testing.assert_allclose(np.linalg.det(turn), 1, atol=1e-9)
            difference = np.linalg.solve(new.cell.T, (theirs - mine @ turn).T)
            np.testing.assert_allclose(difference - np.round(difference), 0, atol=1e-9)
            numbers = {n: v for n, v in old.labels.items() if isinstance(v, float)}
            assert new.labels == numbers

    def test_pymatgen_reads_the_same(self, tmp_path):
        pytest.importorskip("pymatgen.core", reason="pymatgen, the judge, is not installed")
        from pymatgen.core import Structure

        given = crystals(["a", "b", "c", "d"])
        write_cifs(tmp_path / "cifs", given)
        for crystal in given:
            found = Structure.from_file(tmp_path / "cifs" / f"{crystal.id}.cif")
            mine = Structure(
                crystal.cell, crystal.numbers, crystal.positions, coords_are_cartesian=True
            )
            np.testing.assert_allclose(found.distance_matrix, mine.distance_matrix, atol=1e-6)

    @pytest.mark.parametrize("id", ["a/b", "POSCAR_x", ".hidden", "a\nb", "x" * 300, "", "a:b"])
    def test_ids_that_cannot_be_names(self, tmp_path, id):
        with pytest.raises(DataError, match="cannot be the name of a CIF"):
            write_cifs(tmp_path / "cifs", crystals(["ok", id]))
        assert not list(tmp_path.iterdir())

    def test_a_folder_that_is_there(self, tmp_path):
        with pytest.raises(UsageError, match="is there already"):
            write_cifs(tmp_path, crystals(["a"]))


def _turned(old, new):
    """The cell of the file for the axes of the crystal: all turned round if it was left-handed."""
    return new.cell * np.sign(np.linalg.det(old.cell))
