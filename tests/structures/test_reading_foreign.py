"""Files that other programs wrote: ASE LMDB, Hugging Face datasets, atompack."""

import builtins
import json
import pickle
import shutil
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atomprint.data.store.convert import convert
from atomprint.structures.reading import lmdb as lmdb_reading
from atomprint.structures.reading import read_crystals

FOREIGN = Path(__file__).parents[1] / "golden" / "foreign"


@pytest.fixture(scope="module")
def expected():
    with np.load(FOREIGN / "expected.npz") as file:
        return dict(file)


def same(crystal, expected, number, forces=True):
    np.testing.assert_array_equal(crystal.numbers, expected[f"{number}/numbers"])
    np.testing.assert_array_equal(crystal.positions, expected[f"{number}/positions"])
    np.testing.assert_array_equal(crystal.cell, expected[f"{number}/cell"])
    assert crystal.labels["energy"] == expected[f"{number}/energy"]
    if forces:
        np.testing.assert_array_equal(crystal.labels["forces"], expected[f"{number}/forces"])


def database(path, rows):
    """An LMDB file with some values."""
    import lmdb

    opened = lmdb.open(str(path), map_size=1 << 24, subdir=False, lock=False)
    with opened.begin(write=True) as transaction:
        for key, value in rows.items():
            transaction.put(key, value)
    opened.close()
    return path


def row(**changes):
    values = {
        "numbers": [14, 14], "positions": [[0, 0, 0], [1.36, 1.36, 1.36]],
        "cell": [[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]], "pbc": [True, True, True],
        "key_value_pairs": {}, "data": {}, **changes,
    }  # fmt: skip
    return zlib.compress(json.dumps({k: v for k, v in values.items() if v is not None}).encode())


class TestLMDB:
    def test_ase_db_backends(self, expected):
        result = read_crystals(FOREIGN / "ase.aselmdb")
        assert not result.problems
        # The row that was deleted again is not there, and row 10 comes after row 9.
        assert [c.id for c in result.crystals] == [f"m-{i}" for i in range(12)]
        for number, crystal in enumerate(result.crystals):
            same(crystal, expected, number)
            assert crystal.labels["gap"] == 0.5 * number

    def test_fairchem(self, expected):
        result = read_crystals(FOREIGN / "fairchem.aselmdb")
        assert [c.id for c in result.crystals] == [f"fairchem#{i}" for i in range(1, 13)]
        for number, crystal in enumerate(result.crystals):
            same(crystal, expected, number)
            assert set(crystal.labels) == {"energy", "forces", "stress"}
        named = read_crystals(FOREIGN / "fairchem.aselmdb", id_column="sid").crystals
        assert [c.id for c in named] == [f"s-{i}" for i in range(1, 13)]

    def test_folder_with_data_mdb(self, tmp_path, expected):
        (tmp_path / "set.lmdb").mkdir()
        shutil.copy(FOREIGN / "fairchem.aselmdb", tmp_path / "set.lmdb" / "data.mdb")
        (tmp_path / "set.lmdb" / "lock.mdb").write_bytes(b"")
        result = read_crystals(tmp_path / "set.lmdb")
        same(result.crystals[11], expected, 11)

    def test_to_a_store(self, tmp_path, expected):
        found = convert(FOREIGN / "fairchem.aselmdb", tmp_path / "store", exact=True)
        same(found.store[2], expected, 2)

    @pytest.mark.parametrize(
        ("value", "kind", "reason"),
        [
            (pickle.dumps({"numbers": [1]}), "broken", "pickled"),
            (b"no zlib", "broken", "no row of an ASE database"),
            (row()[:-10], "broken", "no row of an ASE database"),
            (zlib.compress(b"[1, 2]"), "broken", "no row of an ASE database"),
            (zlib.compress(b"[" * 100_000), "broken", "no row of an ASE database"),
            (row(numbers=None), "broken", "'numbers'"),
            (row(positions={"__ndarray__": [[1], "object", [None]]}), "broken", "object"),
            (row(positions={"__ndarray__": [[1 << 60], "float64", [1]]}), "broken", "reshape"),
            (row(cell=[[0, 0, 0]] * 3), "cell", "has no cell"),
            (row(pbc=[True, True, False]), "pbc", "T T F"),
            (row(numbers=[200, 1]), "element", "200"),
        ],
    )
    def test_bad_rows_are_left_out(self, tmp_path, value, kind, reason):
        path = database(tmp_path / "x.aselmdb", {b"1": row(), b"2": value, b"3": row()})
        result = read_crystals(path)
        assert [c.id for c in result.crystals] == ["x#1", "x#3"]
        (problem,) = result.problems
        assert (problem.kind, problem.id) == (kind, "x#2")
        assert reason in problem.reason

    @pytest.mark.parametrize(
        ("metadata", "unit"),
        [
            ({"key_descriptions": {"gap": ["gap", "band gap", " eV "], "x": ["x", "y", ""]}}, "eV"),
            ({"key_descriptions": {"gap": ["eV"]}}, ""),
            ({"key_descriptions": {"gap": ["gap", "band gap", 3]}}, ""),
            ({"key_descriptions": ["gap"]}, ""),
            (["key_descriptions"], ""),
            (None, ""),
        ],
    )
    def test_units_that_the_metadata_states(self, tmp_path, metadata, unit):
        text = json.dumps(metadata).encode()
        rows = {b"1": row(key_value_pairs={"gap": 1.0})}
        for name, value in (("a", zlib.compress(text)), ("b", text)):
            path = database(tmp_path / f"{name}.aselmdb", rows | {b"metadata": value})
            result = read_crystals(path)
            assert len(result.crystals) == 1
            assert result.units == {"gap": unit if name == "a" else ""}

    def test_row_that_unpacks_to_much(self, tmp_path, monkeypatch):
        monkeypatch.setattr(lmdb_reading, "MAX_ROW_BYTES", 5000)
        bomb = row(data={"note": "a" * 10_000})
        path = database(tmp_path / "x.aselmdb", {b"1": row(), b"2": bomb})
        (problem,) = read_crystals(path).problems
        assert problem.kind == "size"

    def test_cut_off(self, tmp_path):
        whole = (FOREIGN / "fairchem.aselmdb").read_bytes()
        path = tmp_path / "x.aselmdb"
        path.write_bytes(whole[:-4096])
        (problem,) = read_crystals(path).problems
        assert "is cut off: 20,480 of 24,576 bytes are there" in problem.reason

    def test_damage_that_ends_who_reads_it(self, tmp_path):
        damaged = bytearray((FOREIGN / "fairchem.aselmdb").read_bytes())
        damaged[3 * 4096 + 13] = 202  # where a page's free space begins: far beyond the page
        damaged[4 * 4096 + 19] = 46
        (tmp_path / "a.aselmdb").write_bytes(damaged)
        database(tmp_path / "b.aselmdb", {b"1": row()})
        result = read_crystals(tmp_path)
        (problem,) = result.problems
        assert "is a damaged database (what read it ended with SIG" in problem.reason
        assert [c.id for c in result.crystals] == ["b"]

    def test_a_module_beside_the_file_is_not_run(self, tmp_path, monkeypatch):
        database(tmp_path / "x.aselmdb", {b"1": row()})
        (tmp_path / "lmdb.py").write_text("raise SystemExit('run')", encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        assert [c.id for c in read_crystals(tmp_path / "x.aselmdb").crystals] == ["x"]

    def test_something_else(self, tmp_path):
        (tmp_path / "x.lmdb").write_bytes(b"something else that is long enough")
        (problem,) = read_crystals(tmp_path / "x.lmdb").problems
        assert problem.reason == "is no LMDB database"

    @pytest.mark.parametrize(
        ("name", "package", "extra"),
        [("a.aselmdb", "lmdb", "lmdb"), ("a.atp", "atompack", "atompack")],
    )
    def test_without_the_package(self, tmp_path, monkeypatch, name, package, extra):
        real = builtins.__import__

        def without(wanted, *args, **kwargs):
            if wanted == package:
                raise ModuleNotFoundError(wanted)
            return real(wanted, *args, **kwargs)

        if extra == "lmdb":
            shutil.copy(FOREIGN / "ase.aselmdb", tmp_path / name)
        else:
            (tmp_path / name).write_bytes(b"ATPK")
        monkeypatch.setattr(builtins, "__import__", without)
        (problem,) = read_crystals(tmp_path / name).problems
        assert f"pip install 'atomprint[{extra}]'" in problem.reason


class TestDatasets:
    def test_saved_to_disk(self, expected):
        result = read_crystals(FOREIGN / "lemat")
        assert not result.problems
        by_id = {crystal.id: crystal for crystal in result.crystals}
        assert sorted(by_id) == [f"agm{i:06d}" for i in range(12)]
        for number in range(12):
            crystal = by_id[f"agm{number:06d}"]
            same(crystal, expected, number, forces=number != 3)
            labels = {"energy", "forces", "magnetic_moments", "total_magnetization"}
            labels -= {"forces"} if number == 3 else set()
            labels -= {"magnetic_moments"} if number == 2 else set()
            # Not elements_ratios or dimension_types, where they are as long as the crystal.
            labels |= {"cross_compatibility", "last_modified", "stress_tensor"}
            assert set(crystal.labels) == labels

    def test_stresses_are_the_same_in_every_form(self):
        """Written by ASE as six numbers, in Voigt's order, there; as matrices here."""
        six = read_crystals(FOREIGN / "fairchem.aselmdb").crystals
        by_id = {crystal.id: crystal for crystal in read_crystals(FOREIGN / "lemat").crystals}
        for number, crystal in enumerate(six):
            stress = crystal.labels["stress"]
            assert stress.shape == (1, 9)
            assert len(np.unique(stress)) == 6
            other = by_id[f"agm{number:06d}"].labels["stress_tensor"]
            np.testing.assert_array_equal(stress, other)

    def test_parquet(self, expected):
        result = read_crystals(FOREIGN / "lemat.parquet")
        assert not result.problems
        for number, crystal in enumerate(result.crystals):
            same(crystal, expected, number, forces=number != 3)

    @pytest.mark.parametrize(
        ("name", "value", "kind"),
        [
            ("lattice_vectors", None, "cell"),
            ("cartesian_site_positions", None, "coordinates"),
            ("cartesian_site_positions", [[0.0, 0.0, 0.0]], "coordinates"),
            ("species_at_sites", [], "coordinates"),
            ("species_at_sites", ["Mg", "Qq"], "element"),
            ("dimension_types", [1, 1, 0], "pbc"),
            ("species", json.dumps([{"name": "Mg", "chemical_symbols": ["Mg", "Fe"],
                                     "concentration": [0.5, 0.5]}]), "disorder"),
            ("species", json.dumps([{"name": "Mg", "chemical_symbols": ["Mg"],
                                     "concentration": [0.5]}]), "disorder"),
        ],
    )  # fmt: skip
    def test_bad_rows_are_left_out(self, tmp_path, name, value, kind):
        table = pq.read_table(FOREIGN / "lemat.parquet").slice(0, 2)
        rows = table.to_pylist()
        rows[0][name] = value
        pq.write_table(pa.Table.from_pylist(rows, table.schema), tmp_path / "x.parquet")
        result = read_crystals(tmp_path / "x.parquet")
        assert [c.id for c in result.crystals] == ["agm000001"]
        (problem,) = result.problems
        assert (problem.id, problem.kind) == ("agm000000", kind)

    def test_species_with_names_of_their_own(self, tmp_path):
        table = pq.read_table(FOREIGN / "lemat.parquet").slice(0, 1)
        rows = table.to_pylist()
        rows[0]["species_at_sites"] = ["metal", "O"]
        rows[0]["species"] = json.dumps([{"name": "metal", "chemical_symbols": ["Mg"]}])
        pq.write_table(pa.Table.from_pylist(rows, table.schema), tmp_path / "x.parquet")
        (crystal,) = read_crystals(tmp_path / "x.parquet").crystals
        assert crystal.numbers.tolist() == [12, 8]

    def test_arrow_file_with_an_index(self, tmp_path, expected):
        table = pq.read_table(FOREIGN / "lemat.parquet")
        with pa.ipc.new_file(tmp_path / "x.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=5)
        result = read_crystals(tmp_path / "x.arrow")
        for number, crystal in enumerate(result.crystals):
            same(crystal, expected, number, forces=number != 3)

    @pytest.mark.parametrize("seed", range(60))
    def test_damaged_arrow(self, tmp_path, seed):
        rng = np.random.default_rng(seed)
        raw = bytearray((FOREIGN / "lemat/test/data-00000-of-00001.arrow").read_bytes())
        if seed % 3 == 0:
            del raw[int(rng.integers(len(raw))) :]
        else:
            for at in rng.integers(0, len(raw), 20):
                raw[at] = rng.integers(256)
        (tmp_path / "x.arrow").write_bytes(raw)
        result = read_crystals(tmp_path / "x.arrow")
        assert len(result.crystals) + len(result.problems) > 0
        assert not any("please report" in problem.reason for problem in result.problems)


class TestAtompack:
    @pytest.fixture
    def path(self, tmp_path, expected):
        atompack = pytest.importorskip("atompack", reason="atompack is not installed")
        molecules = []
        for number in range(12):
            values = {
                name: np.ascontiguousarray(expected[f"{number}/{name}"])
                for name in ("positions", "cell", "forces")
            }
            molecule = atompack.Molecule.from_arrays(
                values["positions"], expected[f"{number}/numbers"].astype(np.uint8),
                energy=float(expected[f"{number}/energy"]), forces=values["forces"],
                cell=values["cell"], pbc=(number != 3,) * 3,
            )  # fmt: skip
            molecule.set_property("material_id", f"m-{number}")
            molecule.set_property("gap", 0.5 * number)
            molecule.set_property("moments", np.ones(len(values["positions"])), scope="atom")
            molecule.set_property("whole", np.ones(2))
            molecules.append(molecule)
        database = atompack.Database(str(tmp_path / "x.atp"), overwrite=True)
        database.add_molecules(molecules)
        database.flush()
        return tmp_path / "x.atp"

    def test_reads(self, path, expected):
        result = read_crystals(path)
        assert [(p.id, p.kind) for p in result.problems] == [("m-3", "pbc")]
        assert len(result.crystals) == 11
        for crystal in result.crystals:
            number = int(crystal.id[2:])
            same(crystal, expected, number)
            assert crystal.labels["gap"] == 0.5 * number
            assert set(crystal.labels) == {"energy", "forces", "gap", "moments"}

    def test_damaged(self, path):
        whole = path.read_bytes()
        for size in (len(whole) // 2, 100):
            path.write_bytes(whole[:size])
            result = read_crystals(path)
            assert not result.crystals
            assert "damaged" in result.problems[0].reason
        path.write_bytes(b"something else")
        assert read_crystals(path).problems[0].reason == "is no file of atompack"


def test_quotes_in_the_comment_line_of_extended_xyz(tmp_path):
    text = '1\nid="a \\"b\\" \\\\c\\nd" note=\'x\\\'y\' Lattice="3 0 0 0 3 0 0 0 3"\nSi 0 0 0\n'
    (tmp_path / "a.xyz").write_text(text)
    (crystal,) = read_crystals(tmp_path / "a.xyz").crystals
    assert crystal.id == 'a "b" \\c\nd'
