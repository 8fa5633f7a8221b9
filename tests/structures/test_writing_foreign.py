"""Crystals in the forms of fairchem, LeMaterial, pymatgen and VASP, read again by them and us."""

import builtins
import json
import zlib
from pathlib import Path

import ase.io
import numpy as np
import pyarrow.parquet as pq
import pytest
from ase.db.row import AtomsRow

from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from atomprint.structures.writing import lmdb as lmdb_writing
from atomprint.structures.writing import (
    whole,
    write_atompack,
    write_lemat,
    write_lmdb,
    write_poscars,
    write_pymatgen_json,
)
from tests.structures.test_writing_forms import crystals, same

FOREIGN = Path(__file__).parents[1] / "golden" / "foreign"
UNITS = {"energy": "eV", "gap": "eV", "charge": ""}


def with_stresses():
    """The same crystals, with stresses that are symmetric, as ASE has them, but for one."""
    made = []
    for index, crystal in enumerate(crystals()):
        half = np.random.default_rng(index).normal(size=(3, 3))
        stress = half if index == 5 else half + half.T
        labels = {"stress": stress.reshape(1, 9), "magmoms": np.arange(crystal.n_atoms) / 3}
        made.append(crystal.with_labels({**crystal.labels, **labels} if crystal.labels else {}))
    return made


def silicon(**labels):
    frac = [[0, 0, 0], [0.25, 0.25, 0.25]]
    return Crystal.make("si", [14, 14], 2.7 * (1 - np.eye(3)), frac=frac, labels=labels)


class TestLeMat:
    @pytest.mark.parametrize("block", [5, 100_000])
    def test_round_trip_is_exact(self, tmp_path, monkeypatch, block):
        monkeypatch.setattr(whole, "BLOCK_ATOMS", block)
        write_lemat(tmp_path / "a.parquet", with_stresses(), UNITS)
        result = read_crystals(tmp_path / "a.parquet")
        assert not result.problems
        same(with_stresses(), result.crystals)
        assert {name: unit for name, unit in result.units.items() if unit} == {
            "energy": "eV",
            "gap": "eV",
        }
        assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]

    def test_pandas_and_pymatgen_read_the_same(self, tmp_path):
        pandas = pytest.importorskip("pandas", reason="pandas, the judge, is not installed")
        pytest.importorskip("pymatgen.core", reason="pymatgen, the judge, is not installed")
        from pymatgen.core import Composition, Structure

        write_lemat(tmp_path / "a.parquet", with_stresses())
        table = pandas.read_parquet(tmp_path / "a.parquet")
        for crystal, (_, row) in zip(with_stresses(), table.iterrows(), strict=True):
            found = Structure(
                np.stack(row.lattice_vectors), row.species_at_sites,
                np.stack(row.cartesian_site_positions), coords_are_cartesian=True,
            )  # fmt: skip
            assert row.immutable_id == crystal.id
            np.testing.assert_array_equal(found.atomic_numbers, crystal.numbers)
            np.testing.assert_array_equal(found.lattice.matrix, crystal.cell)
            np.testing.assert_array_equal(np.stack(row.cartesian_site_positions), crystal.positions)
            # pymatgen itself goes through fractions.
            np.testing.assert_allclose(found.cart_coords, crystal.positions, rtol=0, atol=1e-13)
            whole = found.composition
            assert Composition(row.chemical_formula_reduced) == whole.reduced_composition
            assert Composition(row.chemical_formula_descriptive) == whole
            assert list(row.elements) == sorted(symbol.symbol for symbol in whole)
            assert list(row.elements_ratios) == [
                whole.get_atomic_fraction(symbol) for symbol in row.elements
            ]
            if crystal.labels:
                assert np.stack(row.stress).shape == (3, 3)
                np.testing.assert_array_equal(np.stack(row.forces), crystal.labels["forces"])
                np.testing.assert_array_equal(row.magmoms, crystal.labels["magmoms"])
            else:
                assert row.forces is None

    def test_types_of_columns_are_those_of_lemat(self, tmp_path):
        write_lemat(tmp_path / "a.parquet", [silicon(forces=np.ones((2, 3)), energy=1.0)])
        ours = pq.read_schema(tmp_path / "a.parquet")
        theirs = pq.read_schema(FOREIGN / "lemat.parquet")
        common = set(ours.names) & set(theirs.names)
        assert {"species", "immutable_id", "lattice_vectors", "forces", "energy"} < common
        assert len(common) > 12
        for name in common:
            assert ours.field(name).type == theirs.field(name).type

    @pytest.mark.parametrize(
        ("numbers", "reduced", "anonymous"),
        [
            ([13] * 4 + [8] * 6, "Al2O3", "A3B2"),
            ([38, 22, 8, 8, 8], "O3SrTi", "A3BC"),
            (range(1, 29), None, "ABCDEFGHIJKLMNOPQRSTUVWXYZAaBa"),
        ],
    )
    def test_formulas(self, tmp_path, numbers, reduced, anonymous):
        rng = np.random.default_rng(0)
        frac = rng.uniform(size=(len(numbers), 3))
        one = Crystal.make("x", list(numbers), 20 * np.eye(3), frac=frac)
        write_lemat(tmp_path / "a.parquet", [one])
        (row,) = pq.read_table(tmp_path / "a.parquet").to_pylist()
        assert row["chemical_formula_anonymous"] == anonymous
        assert reduced in (None, row["chemical_formula_reduced"])

    def test_datasets_loads_it(self, tmp_path):
        datasets = pytest.importorskip("datasets", reason="datasets, the judge, is not installed")
        write_lemat(tmp_path / "a.parquet", with_stresses())
        found = datasets.load_dataset(
            "parquet", data_files=str(tmp_path / "a.parquet"), split="train",
            cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip
        found.save_to_disk(tmp_path / "saved")
        same(with_stresses(), read_crystals(tmp_path / "saved").crystals)

    @pytest.mark.parametrize(
        "name", ["id", "species", "nsites", "lattice_vectors", "space_group_it_number"]
    )
    def test_names_that_it_cannot_hold(self, tmp_path, name):
        with pytest.raises(UsageError, match="would be taken for a column of OPTIMADE's"):
            write_lemat(tmp_path / "a.parquet", [silicon(**{name: 1.0})])
        assert not list(tmp_path.iterdir())

    def test_a_label_of_two_shapes(self, tmp_path):
        two = [silicon(a=np.ones(2)), Crystal.make("x", [1], np.eye(3), frac=[[0, 0, 0]])]
        two[1] = two[1].with_labels({"a": np.ones((1, 3))})
        with pytest.raises(DataError, match="'a' is one number an atom in some"):
            write_lemat(tmp_path / "a.parquet", two)
        assert not list(tmp_path.iterdir())


class TestLMDB:
    @pytest.fixture(autouse=True)
    def package(self):
        pytest.importorskip("lmdb", reason="lmdb is not installed")

    @pytest.mark.parametrize("name", ["a.aselmdb", "a.lmdb"])
    def test_round_trip_is_exact(self, tmp_path, name):
        write_lmdb(tmp_path / name, with_stresses())
        result = read_crystals(tmp_path / name)
        assert not result.problems
        same(with_stresses(), result.crystals)
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_the_map_grows(self, tmp_path, monkeypatch):
        monkeypatch.setattr(lmdb_writing, "MAP_BYTES", 1 << 15)
        monkeypatch.setattr(lmdb_writing, "_BATCH_BYTES", 1 << 12)
        rng = np.random.default_rng(0)
        given = [
            Crystal.make(f"c{i}", [14] * 200, 60 * np.eye(3), frac=rng.uniform(size=(200, 3)))
            for i in range(30)
        ]
        write_lmdb(tmp_path / "a.aselmdb", given)
        assert (tmp_path / "a.aselmdb").stat().st_size > 2 << 15
        read = {crystal.id: crystal for crystal in read_crystals(tmp_path / "a.aselmdb").crystals}
        for crystal in given:
            if crystal.id in read:  # some have atoms that random numbers put upon another
                np.testing.assert_array_equal(crystal.positions, read[crystal.id].positions)
        assert len(read) > 20

    def test_ase_makes_the_same_of_the_rows(self, tmp_path):
        """As ASE's backend does it: the row's dictionary becomes an AtomsRow."""
        write_lmdb(tmp_path / "a.aselmdb", with_stresses(), UNITS)
        values = rows_of(tmp_path / "a.aselmdb")
        assert values.pop(b"nextid") == 8
        assert values.pop(b"deleted_ids") == []
        described = values.pop(b"metadata")["key_descriptions"]
        assert described == {"energy": ["energy", "energy", "eV"], "gap": ["gap", "gap", "eV"]}
        assert set(values) == {b"%d" % number for number in range(1, 8)}
        for number, crystal in enumerate(with_stresses(), start=1):
            row = AtomsRow(values[b"%d" % number])
            assert row.data["id"] == crystal.id
            is_like(row.toatoms(), crystal)
            assert row.key_value_pairs == ({"gap": crystal.labels["gap"]} if crystal.labels else {})

    def test_the_backend_of_ase_reads_the_same(self, tmp_path):
        pytest.importorskip("ase_db_backends", reason="ASE's backend is not installed")
        import ase.db

        write_lmdb(tmp_path / "a.aselmdb", with_stresses(), UNITS)
        with ase.db.connect(tmp_path / "a.aselmdb", type="aselmdb", readonly=True) as database:
            assert database.count() == 7
            for row, crystal in zip(database.select(), with_stresses(), strict=True):
                assert row.data["id"] == crystal.id
                is_like(row.toatoms(), crystal)
                for name in ("charge",) if crystal.labels else ():
                    np.testing.assert_array_equal(row.data[name], crystal.labels[name])
            (row,) = database.select("gap>0.55")
            assert row.data["id"] == with_stresses()[6].id

    def test_it_is_the_same_file_twice_but_for_the_time(self, tmp_path, monkeypatch):
        monkeypatch.setattr(lmdb_writing, "now", lambda: 26.5)
        for name in ("a", "b"):
            write_lmdb(tmp_path / f"{name}.aselmdb", with_stresses())
        one, two = ((tmp_path / f"{name}.aselmdb").read_bytes() for name in ("a", "b"))
        assert one == two

    def test_a_label_called_id(self, tmp_path):
        with pytest.raises(UsageError, match="cannot be called 'id'"):
            write_lmdb(tmp_path / "a.aselmdb", [silicon(id=1.0)])


def rows_of(path):
    """Everything in an LMDB file, by its keys."""
    import lmdb

    opened = lmdb.open(str(path), subdir=False, readonly=True, lock=False)
    with opened as database, database.begin() as transaction:
        return {key: json.loads(zlib.decompress(value)) for key, value in transaction.cursor()}


def is_like(atoms, crystal):
    np.testing.assert_array_equal(atoms.numbers, crystal.numbers)
    np.testing.assert_array_equal(atoms.positions, crystal.positions)
    np.testing.assert_array_equal(atoms.cell.array, crystal.cell)
    assert atoms.pbc.all()
    if crystal.labels:
        assert atoms.get_potential_energy() == crystal.labels["energy"]
        np.testing.assert_array_equal(atoms.get_forces(), crystal.labels["forces"])
        np.testing.assert_array_equal(atoms.get_magnetic_moments(), crystal.labels["magmoms"])
        stress = crystal.labels["stress"].reshape(3, 3)
        np.testing.assert_array_equal(atoms.get_stress(voigt=False), (stress + stress.T) / 2)


class TestAtompack:
    @pytest.fixture(autouse=True)
    def package(self):
        pytest.importorskip("atompack", reason="atompack is not installed")

    @pytest.mark.parametrize("block", [5, 100_000])
    def test_round_trip_is_exact(self, tmp_path, monkeypatch, block):
        monkeypatch.setattr(whole, "BLOCK_ATOMS", block)
        write_atompack(tmp_path / "a.atp", with_stresses())
        result = read_crystals(tmp_path / "a.atp")
        assert not result.problems
        same(with_stresses(), result.crystals)
        assert [path.name for path in tmp_path.iterdir()] == ["a.atp"]

    def test_its_own_package_makes_the_same_atoms(self, tmp_path):
        import atompack

        write_atompack(tmp_path / "a.atp", with_stresses())
        database = atompack.Database.open(str(tmp_path / "a.atp"))
        for number, crystal in enumerate(with_stresses()):
            atoms = database[number].to_ase()
            np.testing.assert_array_equal(atoms.numbers, crystal.numbers)
            np.testing.assert_array_equal(atoms.positions, crystal.positions)
            np.testing.assert_array_equal(atoms.cell.array, crystal.cell)
            assert atoms.info["id"] == crystal.id
            if crystal.labels:
                assert atoms.get_potential_energy() == crystal.labels["energy"]
                np.testing.assert_array_equal(atoms.get_forces(), crystal.labels["forces"])
                assert atoms.info["gap"] == crystal.labels["gap"]
                np.testing.assert_array_equal(
                    database[number].stress, crystal.labels["stress"].reshape(3, 3)
                )

    @pytest.mark.parametrize(
        ("name", "value"), [("id", 1.0), ("cell", 1.0), ("stress", 1.0), ("energy", np.ones(2))]
    )
    def test_names_that_it_cannot_hold(self, tmp_path, name, value):
        with pytest.raises(UsageError, match="atompack cannot hold a label"):
            write_atompack(tmp_path / "a.atp", [silicon(**{name: value})])
        assert not list(tmp_path.iterdir())

    def test_a_label_of_two_shapes(self, tmp_path):
        two = [silicon(a=np.ones(2)), Crystal.make("x", [1], np.eye(3), frac=[[0, 0, 0]])]
        two[1] = two[1].with_labels({"a": np.ones((1, 3))})
        with pytest.raises(DataError, match="atompack refuses these crystals"):
            write_atompack(tmp_path / "a.atp", two)
        assert not list(tmp_path.iterdir())


class TestPymatgenJSON:
    @pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
    def test_round_trip(self, tmp_path, name):
        assert write_pymatgen_json(tmp_path / name, with_stresses()) == []
        result = read_crystals(tmp_path / name)
        assert not result.problems
        for old, new in zip(with_stresses(), result.crystals, strict=True):
            np.testing.assert_array_equal(new.cell, old.cell)
            np.testing.assert_allclose(new.positions, old.positions, rtol=0, atol=1e-13)
        kept = [
            new.with_geometry(old.positions, new.cell)
            for old, new in zip(with_stresses(), result.crystals, strict=True)
        ]
        same(with_stresses(), kept)
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_pymatgen_reads_the_same(self, tmp_path):
        pytest.importorskip("pymatgen.core", reason="pymatgen, the judge, is not installed")
        from pymatgen.core import Structure

        write_pymatgen_json(tmp_path / "a.json", with_stresses())
        rows = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
        for crystal, row in zip(with_stresses(), rows, strict=True):
            found = Structure.from_dict(row)
            np.testing.assert_array_equal(found.atomic_numbers, crystal.numbers)
            np.testing.assert_array_equal(found.lattice.matrix, crystal.cell)
            np.testing.assert_allclose(found.cart_coords, crystal.positions, rtol=0, atol=1e-13)
            assert found.properties["id"] == crystal.id
            assert set(row) <= set(found.as_dict())
            if crystal.labels:
                assert found.properties["gap"] == crystal.labels["gap"]
                np.testing.assert_array_equal(
                    found.site_properties["forces"], crystal.labels["forces"]
                )
                np.testing.assert_array_equal(
                    found.properties["stress"], crystal.labels["stress"].reshape(3, 3)
                )

    @pytest.mark.parametrize("name", ["id", "structure", "parameters", "@class"])
    def test_names_that_it_cannot_hold(self, tmp_path, name):
        with pytest.raises(UsageError, match="cannot hold a label called"):
            write_pymatgen_json(tmp_path / "a.json", [silicon(**{name: 1.0})])
        assert not list(tmp_path.iterdir())


class TestPOSCARs:
    IDS = ("mp-1", "two words", "#7", "Å", "a.b", "1e5")

    def test_round_trip_up_to_the_turn_of_axes(self, tmp_path):
        given = crystals(self.IDS)
        assert write_poscars(tmp_path / "p", given) == ["charge", "dft_stress", "forces"]
        result = read_crystals(tmp_path / "p")
        assert not result.problems
        by_id = {crystal.id: crystal for crystal in result.crystals}
        turned = 0
        for old in given:
            new = by_id[old.id]
            assert np.linalg.det(new.cell) > 0
            turned += (new.cell == -old.cell).all()
            np.testing.assert_array_equal(new.cell, np.sign(np.linalg.det(old.cell)) * old.cell)
            np.testing.assert_array_equal(new.positions, old.positions)
            np.testing.assert_array_equal(new.numbers, old.numbers)
            assert new.labels == {n: v for n, v in old.labels.items() if isinstance(v, float)}
        assert 0 < turned < len(given)

    def test_ase_and_pymatgen_read_the_same(self, tmp_path):
        pytest.importorskip("pymatgen.core", reason="pymatgen, the judge, is not installed")
        from pymatgen.core import Structure

        # Sodium, chlorine, sodium: an element that is named twice.
        given = [*crystals(["a", "b", "c", "d"]), silicon().with_labels({})]
        frac = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]]
        given.append(Crystal.make("salt", [11, 17, 11], 6 * np.eye(3), frac=frac))
        write_poscars(tmp_path / "p", given)
        for crystal in given:
            path = tmp_path / "p" / f"{crystal.id}.vasp"
            atoms = ase.io.read(path, format="vasp")
            np.testing.assert_array_equal(atoms.numbers, crystal.numbers)
            np.testing.assert_allclose(atoms.positions, crystal.positions, rtol=0, atol=1e-12)
            found = Structure.from_file(path)
            np.testing.assert_array_equal(found.atomic_numbers, crystal.numbers)
            np.testing.assert_allclose(found.cart_coords, crystal.positions, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("id", ["a/b", "POSCAR_x", "contcar", ".hidden", "a\nb", "x" * 300])
    def test_ids_that_cannot_be_names(self, tmp_path, id):
        with pytest.raises(DataError, match="cannot be the name of a POSCAR"):
            write_poscars(tmp_path / "p", crystals(["ok", id]))
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("write", "name"), [(write_lmdb, "a.lmdb"), (write_pymatgen_json, "a.json")]
)
@pytest.mark.parametrize("value", [np.nan, np.array([0.0, np.inf])])
def test_what_json_has_no_word_for(tmp_path, write, name, value):
    """And of a file that was begun nothing is left."""
    if write is write_lmdb:
        pytest.importorskip("lmdb", reason="lmdb is not installed")
    given = [*crystals(["a"]), silicon(late=value)]
    with pytest.raises(DataError, match="'late' of 'si' is infinite or not a number"):
        write(tmp_path / name, given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("write", "package", "extra"),
    [(write_lmdb, "lmdb", "lmdb"), (write_atompack, "atompack", "atompack")],
)
def test_packages_that_are_not_installed(tmp_path, monkeypatch, write, package, extra):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == package:
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=rf"pip install 'atomprint\[{extra}\]'"):
        write(tmp_path / "a.x", crystals())
