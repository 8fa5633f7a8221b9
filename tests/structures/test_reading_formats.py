"""POSCAR, extended XYZ, ASE db, pymatgen JSON and Parquet, against ase and pymatgen."""

import gzip
import json
from typing import ClassVar

import ase
import ase.build
import ase.db
import ase.io
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import arrow, read_crystals
from atomprint.structures.writing import write_parquet
from tests.structures.crystal_files import EXTXYZ, POSCAR, as_json, structure_dict, write


def problems(path):
    result = read_crystals(path)
    assert not result.crystals
    return [(p.kind, p.reason) for p in result.problems]


def skewed():
    rng = np.random.default_rng(0)
    atoms = ase.Atoms("GaAs2", positions=3 * rng.normal(size=(3, 3)), pbc=True)
    atoms.set_cell([[4.1, 0.3, -0.2], [0.5, 5.2, 0.1], [-1.0, 0.4, 6.3]])
    return atoms


def same(crystal, atoms, tolerance=1e-7):
    order = np.argsort(crystal.numbers, kind="stable")
    other = np.argsort(atoms.numbers, kind="stable")
    np.testing.assert_array_equal(crystal.numbers[order], atoms.numbers[other])
    np.testing.assert_allclose(crystal.cell, atoms.cell.array, atol=tolerance)
    difference = crystal.positions[order] - atoms.positions[other]
    frac = difference @ np.linalg.inv(crystal.cell)
    np.testing.assert_allclose((frac - np.round(frac)) @ crystal.cell, 0, atol=tolerance)


class TestPoscar:
    @pytest.mark.parametrize("direct", [True, False])
    @pytest.mark.parametrize("constrained", [True, False])
    def test_against_ase(self, tmp_path, direct, constrained):
        atoms = skewed()
        if constrained:
            atoms.set_constraint(ase.constraints.FixAtoms([0]))
        ase.io.write(tmp_path / "a.vasp", atoms, format="vasp", direct=direct)
        (crystal,) = read_crystals(tmp_path / "a.vasp").crystals
        assert crystal.id == "a"
        same(crystal, atoms)

    @pytest.mark.parametrize("mode", ["Direct", "Cartesian"])
    @pytest.mark.parametrize("scale", ["2.0", "-180.0", "1.0 2.0 0.5"])
    def test_scaling_against_ase(self, tmp_path, scale, mode):
        text = POSCAR.replace("\n1.0\n", f"\n{scale}\n", 1).replace("Direct", mode)
        path = write(tmp_path / "POSCAR", text)
        (crystal,) = read_crystals(path).crystals
        same(crystal, ase.io.read(path, format="vasp"))
        if scale == "-180.0":
            assert crystal.volume == pytest.approx(180)

    def test_pymatgen_poscar(self, tmp_path):
        pytest.importorskip("pymatgen.core", reason="pymatgen, the judge, is not installed")
        from pymatgen.io.ase import AseAtomsAdaptor
        from pymatgen.io.vasp import Poscar

        atoms = skewed()
        atoms = atoms[np.argsort(atoms.numbers)]
        Poscar(AseAtomsAdaptor.get_structure(atoms)).write_file(str(tmp_path / "CONTCAR"))
        (crystal,) = read_crystals(tmp_path / "CONTCAR").crystals
        same(crystal, atoms)

    @pytest.mark.parametrize(
        ("name", "id"),
        [
            ("mp-149/POSCAR", "mp-149"),
            ("mp-149/CONTCAR", "mp-149"),
            ("POSCAR_mp-149", "mp-149"),
            ("POSCAR.mp-149", "mp-149"),
            ("mp-149.vasp", "mp-149"),
            ("mp-149.poscar", "mp-149"),
        ],
    )
    def test_ids(self, tmp_path, name, id):
        write(tmp_path / name, POSCAR)
        assert read_crystals(tmp_path).crystals[0].id == id

    def test_potential_names(self, tmp_path):
        text = POSCAR.replace("Na Cl", "Na_pv Cl/abc123")
        (crystal,) = read_crystals(write(tmp_path / "POSCAR", text)).crystals
        assert crystal.numbers.tolist() == [11, 17]

    BAD: ClassVar = {
        "VASP 4": (POSCAR.replace("Na Cl\n", ""), "element", "VASP 4"),
        "unknown element": (POSCAR.replace("Na Cl", "Na Qq"), "element", "'Qq' is no element"),
        "short": ("NaCl\n1\n", "broken", "too few"),
        "cut off": (POSCAR.rsplit("\n", 2)[0], "coordinates", "1 positions for 2 atoms"),
        "no mode": (POSCAR.replace("Direct", "0 0 0"), "broken", "neither Direct nor Cartesian"),
        "scale": (POSCAR.replace("\n1.0\n", "\n0\n"), "cell", "scaling factor"),
        "lattice": (POSCAR.replace("2.82 0.0 2.82", "2.82 x 2.82"), "cell", "is not 3 numbers"),
        "flat": (POSCAR.replace("2.82 2.82 0.0", "2.82 2.82 5.64"), "cell", "flat"),
        "position": (POSCAR.replace("0.5 0.5 0.5", "0.5 0.5"), "coordinates", "is not 3 numbers"),
        "nan": (POSCAR.replace("0.5 0.5 0.5", "nan 0 0"), "coordinates", "nan or infinite"),
        "overlap": (POSCAR.replace("0.5 0.5 0.5", "0 0 1"), "overlap", "0.00 Å apart"),
        "counts": (POSCAR.replace("1 1\n", "1\n"), "broken", "2 elements but 1 numbers"),
        "count text": (POSCAR.replace("1 1\n", "1 x\n"), "broken", "make no sense"),
        "no atoms": (POSCAR.replace("1 1\n", "0 0\n"), "empty", "no atoms"),
        "too many": (POSCAR.replace("1 1\n", "999999 1\n"), "size", "1,000,000 atoms"),
    }

    @pytest.mark.parametrize(("text", "kind", "words"), BAD.values(), ids=BAD)
    def test_bad(self, tmp_path, text, kind, words):
        ((found, reason),) = problems(write(tmp_path / "POSCAR", text))
        assert (found, words in reason) == (kind, True), reason


class TestExtxyz:
    def test_frames_labels_and_units(self, tmp_path):
        result = read_crystals(write(tmp_path / "runs.extxyz", EXTXYZ))
        assert [c.id for c in result.crystals] == ["runs#0", "runs#1"]
        first, second = result.crystals
        assert first.labels["energy"] == -1.5
        np.testing.assert_array_equal(first.labels["forces"], [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])
        assert second.labels["energy"] == -2.5
        assert result.units == {"energy": "", "forces": ""}
        assert result.notes == ["text, not labels: 'name'"]
        assert first.source.endswith("runs.extxyz#0")

    def test_against_ase_with_everything(self, tmp_path):
        rng = np.random.default_rng(1)
        frames = []
        for _ in range(3):
            atoms = skewed()
            atoms.calc = SinglePointCalculator(
                atoms,
                energy=rng.normal(),
                forces=rng.normal(size=(3, 3)),
                stress=rng.normal(size=6),
            )
            atoms.info["gap"] = float(rng.normal())
            atoms.info["comment"] = 'with "quotes" and = signs'
            atoms.info["flag"] = True
            atoms.arrays["charge"] = rng.normal(size=3)
            frames.append(atoms)
        ase.io.write(tmp_path / "f.xyz", frames, format="extxyz")
        result = read_crystals(tmp_path / "f.xyz")
        for crystal, atoms in zip(result.crystals, frames, strict=True):
            same(crystal, atoms)
            assert crystal.labels["energy"] == pytest.approx(atoms.get_potential_energy())
            assert crystal.labels["gap"] == pytest.approx(atoms.info["gap"])
            assert crystal.labels["flag"] == 1
            np.testing.assert_allclose(crystal.labels["forces"], atoms.get_forces(), atol=1e-7)
            np.testing.assert_allclose(crystal.labels["charge"], atoms.arrays["charge"], atol=1e-7)

    def test_gz_and_a_single_frame(self, tmp_path):
        single = EXTXYZ.split("\n1\n")[0] + "\n"
        write(tmp_path / "one.extxyz.gz", gzip.compress(single.encode()))
        (crystal,) = read_crystals(tmp_path / "one.extxyz.gz").crystals
        assert crystal.id == "one"

    def test_id_in_the_comment_line(self, tmp_path):
        text = EXTXYZ.replace("name=first", "id=a").replace("name=second", "id=b")
        assert [c.id for c in read_crystals(write(tmp_path / "r.xyz", text)).crystals] == ["a", "b"]
        path = write(tmp_path / "s.xyz", EXTXYZ)
        named = read_crystals(path, id_column="name").crystals
        assert [c.id for c in named] == ["first", "second"]
        assert "name" not in named[0].labels

    def test_columns_in_any_order(self, tmp_path):
        text = '1\nProperties=pos:R:3:q:R:1:Z:I:1 Lattice="3 0 0 0 3 0 0 0 3"\n1 2 0.5 0.25 26\n'
        (crystal,) = read_crystals(write(tmp_path / "r.xyz", text)).crystals
        assert crystal.numbers.tolist() == [26]
        np.testing.assert_array_equal(crystal.positions, [[1, 2, 0.5]])
        np.testing.assert_array_equal(crystal.labels["q"], [0.25])

    FRAME = '1\nLattice="3 0 0 0 3 0 0 0 3" {}\n{} 0 0 0\n'
    BAD: ClassVar = {
        "plain xyz": ("1\ncomment\nFe 0 0 0\n", "cell", "has no cell"),
        "slab": (FRAME.format('pbc="T T F"', "Fe"), "pbc", "pbc T T F"),
        "molecule": (FRAME.format("pbc=F", "Fe"), "pbc", "pbc F F F"),
        "pbc text": (FRAME.format("pbc=maybe", "Fe"), "pbc", "cannot be read"),
        "element": (FRAME.format("", "Qq"), "element", "'Qq'"),
        "short lattice": ('1\nLattice="3 0 0 0 3"\nFe 0 0 0\n', "cell", "5 numbers instead of 9"),
        "lattice text": ('1\nLattice="a b c"\nFe 0 0 0\n', "cell", "not a number"),
        "no volume": ('1\nLattice="3 0 0 3 0 0 0 0 3"\nFe 0 0 0\n', "cell", "flat"),
        "nan cell": ('1\nLattice="nan 0 0 0 3 0 0 0 3"\nFe 0 0 0\n', "cell", "nan or infinite"),
        "infinite": (
            FRAME.format("", "Fe").replace("0 0 0\n", "inf 0 0\n"),
            "coordinates",
            "nan or",
        ),
        "missing column": ('1\nLattice="3 0 0 0 3 0 0 0 3"\nFe 0 0\n', "coordinates", "3 columns"),
        "text position": (
            '1\nLattice="3 0 0 0 3 0 0 0 3"\nFe 0 x 0\n',
            "coordinates",
            "not a number",
        ),
        "properties": (FRAME.format("Properties=species:S", "Fe"), "broken", "Properties"),
        "no pos": (FRAME.format("Properties=species:S:1", "Fe"), "coordinates", "no pos"),
        "half an element": (
            '1\nProperties=pos:R:3:Z:R:1 Lattice="3 0 0 0 3 0 0 0 3"\n0 0 0 26.5\n',
            "element",
            "no whole numbers",
        ),
        "no count": ("hello\nworld\n", "broken", "not a number of atoms"),
        "no atoms": ('0\nLattice="3 0 0 0 3 0 0 0 3"\n', "empty", "no atoms"),
        "too many": ("100000000\n\n", "size", "100,000,000 atoms"),
        "empty": ("", "empty", "no crystals"),
        "far away": (
            FRAME.format("", "Fe").replace("0 0 0\n", "1e15 0 0\n"),
            "coordinates",
            "million",
        ),
    }

    @pytest.mark.parametrize(("text", "kind", "words"), BAD.values(), ids=BAD)
    def test_bad(self, tmp_path, text, kind, words):
        ((found, reason),) = problems(write(tmp_path / "a.xyz", text))
        assert (found, words in reason) == (kind, True), reason

    def test_a_bad_frame_leaves_the_others_and_a_cut_one_ends_the_file(self, tmp_path):
        bad = EXTXYZ.replace("Cs 0 0 0", "Qq 0 0 0")
        result = read_crystals(write(tmp_path / "r.xyz", bad))
        assert [c.id for c in result.crystals] == ["r#1"]
        assert [(p.id, p.kind) for p in result.problems] == [("r#0", "element")]
        result = read_crystals(write(tmp_path / "s.xyz", EXTXYZ + "3\nLattice"))
        assert [c.id for c in result.crystals] == ["s#0", "s#1"]
        assert [(p.id, p.kind, p.reason) for p in result.problems] == [
            ("", "broken", "ends within frame 2")
        ]

    def test_truncated_gz_keeps_the_whole_frames(self, tmp_path):
        rng = np.random.default_rng(0)
        frames = "".join(
            EXTXYZ.replace("0.1 0.2 0.3", " ".join(map(str, rng.normal(size=3))))
            for _ in range(300)
        )
        data = gzip.compress(frames.encode())
        result = read_crystals(write(tmp_path / "r.xyz.gz", data[: len(data) // 2]))
        assert len(result.crystals) > 50
        assert [p.kind for p in result.problems] == ["broken"]


class TestAseDb:
    def make(self, path, atoms, **keys):
        with ase.db.connect(str(path)) as database:
            for one in atoms:
                database.write(one, **keys)

    def test_rows_keys_data_and_results(self, tmp_path):
        atoms = skewed()
        atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=np.ones((3, 3)))
        with ase.db.connect(str(tmp_path / "a.db")) as database:
            database.write(atoms, gap=1.5, label_text="x", data={"charges_dft": np.arange(3.0)})
            database.write(skewed(), gap=2.5)
        result = read_crystals(tmp_path / "a.db")
        first, second = result.crystals
        assert (first.id, second.id) == ("a#1", "a#2")
        same(first, atoms)
        assert first.labels["gap"] == 1.5
        assert first.labels["energy"] == -3
        np.testing.assert_array_equal(first.labels["forces"], np.ones((3, 3)))
        np.testing.assert_array_equal(first.labels["charges_dft"], np.arange(3.0))
        assert dict(second.labels) == {"gap": 2.5}

    def test_ids_from_a_key(self, tmp_path):
        self.make(tmp_path / "a.db", [skewed()], mpid="mp-1", code="c1")
        assert read_crystals(tmp_path / "a.db").crystals[0].id == "mp-1"
        assert read_crystals(tmp_path / "a.db", id_column="code").crystals[0].id == "c1"

    def test_units_that_the_metadata_states(self, tmp_path):
        self.make(tmp_path / "a.db", [skewed()], gap=1.0)
        assert read_crystals(tmp_path / "a.db").units["gap"] == ""
        with ase.db.connect(str(tmp_path / "a.db")) as database:
            database.metadata = {"key_descriptions": {"gap": ("gap", "band gap", "eV")}}
        assert read_crystals(tmp_path / "a.db").units["gap"] == "eV"
        with ase.db.connect(str(tmp_path / "a.db")) as database:
            database.metadata = {"key_descriptions": {"gap": "eV"}}
        assert read_crystals(tmp_path / "a.db").units["gap"] == ""

    def test_molecules_and_slabs_are_refused(self, tmp_path):
        self.make(tmp_path / "a.db", [ase.build.molecule("H2O")], mpid="water")
        slab = skewed()
        slab.pbc = (True, True, False)
        self.make(tmp_path / "a.db", [slab, skewed()])
        result = read_crystals(tmp_path / "a.db")
        assert [c.id for c in result.crystals] == ["a#3"]
        assert [(p.id, p.kind) for p in result.problems] == [("water", "cell"), ("a#2", "pbc")]

    def test_damaged_and_foreign(self, tmp_path):
        assert problems(write(tmp_path / "a.db", "text"))[0][0] == "broken"
        self.make(tmp_path / "b.db", [skewed()])
        data = (tmp_path / "b.db").read_bytes()
        write(tmp_path / "c.db", data[: len(data) // 2])
        assert problems(tmp_path / "c.db")[0][0] == "broken"
        write(tmp_path / "e.db", data.replace(b"systems", b"syst\xff\xfes"))
        ((kind, reason),) = problems(tmp_path / "e.db")
        assert (kind, "please report" in reason) == ("broken", False)
        write(tmp_path / "d.db", data[:100] + b"\xff" * (len(data) - 100))
        assert problems(tmp_path / "d.db")[0][0] == "broken"


class TestPymatgenJson:
    def test_one_structure(self, tmp_path):
        (crystal,) = read_crystals(
            write(tmp_path / "cscl.json", as_json(structure_dict()))
        ).crystals
        assert crystal.id == "cscl"
        assert crystal.numbers.tolist() == [55, 17]
        np.testing.assert_array_equal(crystal.positions[1], [2, 2, 2])

    def test_gz_list_and_dictionary(self, tmp_path):
        text = as_json([structure_dict(), structure_dict()])
        write(tmp_path / "list.json.gz", gzip.compress(text.encode()))
        ids = [c.id for c in read_crystals(tmp_path / "list.json.gz").crystals]
        assert ids == ["list#0", "list#1"]
        path = write(tmp_path / "d.json", as_json({"mp-1": structure_dict(), "mp-2": {"x": 1}}))
        result = read_crystals(path)
        assert [c.id for c in result.crystals] == ["mp-1"]
        assert [(p.id, p.kind) for p in result.problems] == [("mp-2", "broken")]

    def test_entries_and_tables(self, tmp_path):
        data = {"gap": 1.25, "spacegroup": "Pm-3m", "nested": {"a": 1}}
        entry = {
            "structure": structure_dict(),
            "energy": -3.5,
            "entry_id": "mp-9",
            "data": data,
            "parameters": {},
        }
        (crystal,) = read_crystals(write(tmp_path / "e.json", as_json(entry))).crystals
        assert crystal.id == "mp-9"
        assert dict(crystal.labels) == {"energy": -3.5, "gap": 1.25}
        table = {"columns": ["structure", "e_form"], "index": [0, 1],
                 "data": [[structure_dict(), 0.5], [structure_dict(), 0.75]]}  # fmt: skip
        result = read_crystals(write(tmp_path / "mb.json", as_json(table)))
        assert [(c.id, c.labels["e_form"]) for c in result.crystals] == [
            ("mb#0", 0.5),
            ("mb#1", 0.75),
        ]

    def test_against_pymatgen_as_dict(self, tmp_path):
        core = pytest.importorskip("pymatgen.core", reason="pymatgen, the judge, is not installed")
        from pymatgen.entries.computed_entries import ComputedStructureEntry

        atoms = skewed()
        structure = core.Structure(
            atoms.cell.array,
            atoms.numbers,
            atoms.positions,
            coords_are_cartesian=True,
            site_properties={"magmom": [0.5, 1.5, -1.0], "forces": np.eye(3).tolist()},
        )
        structure.add_oxidation_state_by_element({"Ga": 3, "As": -1})
        path = write(tmp_path / "s.json", json.dumps(structure.as_dict()))
        (crystal,) = read_crystals(path).crystals
        same(crystal, atoms)
        np.testing.assert_array_equal(crystal.labels["magmom"], [0.5, 1.5, -1.0])
        np.testing.assert_array_equal(crystal.labels["forces"], np.eye(3))
        entry = ComputedStructureEntry(structure, -12.5, entry_id="mp-77", data={"gap": 0.5})
        path = write(tmp_path / "e.json", json.dumps(entry.as_dict()))
        (crystal,) = read_crystals(path).crystals
        assert crystal.id == "mp-77"
        assert crystal.labels["energy"] == -12.5
        same(crystal, atoms)

    SITE: ClassVar = structure_dict()["sites"][0]
    SQUARE: ClassVar = [[4, 0, 0], [0, 4, 0], [0, 0, 4]]
    BAD: ClassVar = {
        "disorder": (
            structure_dict(sites=[{**SITE, "species": [{"element": "Li", "occu": 0.5}]}]),
            "disorder",
            "occupied to 0.5",
        ),
        "mixed": (
            structure_dict(
                sites=[{**SITE, "species": [{"element": "Li", "occu": 0.5},
                                            {"element": "Na", "occu": 0.5}]}]
            ),
            "disorder",
            "shared by Li and Na",
        ),
        "dummy": (
            structure_dict(sites=[{**SITE, "species": [{"element": "X", "occu": 1}]}]),
            "element",
            "'X' is no element",
        ),
        "no sites": (structure_dict(sites=[]), "empty", "no sites"),
        "no matrix": (structure_dict(lattice={"a": 1}), "cell", "no matrix"),
        "slab": (structure_dict(lattice={"matrix": SQUARE, "pbc": [True, True, False]}), "pbc", ""),
        "no coordinates": (
            structure_dict(sites=[{"species": [{"element": "Li"}]}]),
            "coordinates",
            "neither abc nor xyz",
        ),
        "nan": (
            structure_dict(sites=[{**SITE, "abc": [float("nan"), 0, 0]}]),
            "coordinates",
            "nan",
        ),
        "text": (
            structure_dict(sites=[{**SITE, "abc": ["a", 0, 0]}]),
            "coordinates",
            "not a number",
        ),
        "sites text": (structure_dict(sites="abc"), "broken", "no complete"),
        "other": ({"a": 1}, "broken", "holds no pymatgen structure"),
    }  # fmt: skip

    @pytest.mark.parametrize(("value", "kind", "words"), BAD.values(), ids=BAD)
    def test_bad(self, tmp_path, value, kind, words):
        ((found, reason),) = problems(write(tmp_path / "a.json", as_json(value)))
        assert (found, words in reason) == (kind, True), reason

    @pytest.mark.parametrize("text", ["", "{", "[1,", '"x"', "[" * 100_000])
    def test_broken(self, tmp_path, text):
        assert problems(write(tmp_path / "a.json", text))[0][0] == "broken"


def table(**columns):
    arrays = {
        "id": ["a", "b"],
        "numbers": pa.array([[55, 17], [26]], pa.list_(pa.uint8())),
        "cell": pa.array([np.eye(3).ravel() * 4] * 2, pa.list_(pa.float32(), 9)),
        "frac": pa.array([[0, 0, 0, 0.5, 0.5, 0.5], [0, 0, 0]], pa.list_(pa.float32())),
        **columns,
    }
    return pa.table({name: values for name, values in arrays.items() if values is not None})


class TestParquet:
    def read(self, tmp_path, **columns):
        pq.write_table(table(**columns), tmp_path / "t.parquet")
        return read_crystals(tmp_path / "t.parquet")

    def test_layout_and_labels(self, tmp_path):
        result = self.read(
            tmp_path, gap=[1.0, None], split=["train", "test"], charge=[[1.0, -1.0], [0.0]],
            forces=[[1.0, 2, 3, 4, 5, 6], [7, 8, 9]], metal=[True, False], n=[1, 2],
        )  # fmt: skip
        first, second = result.crystals
        assert (first.id, second.id) == ("a", "b")
        assert (first.labels["gap"], "gap" in second.labels) == (1, False)
        assert (first.labels["metal"], second.labels["metal"], second.labels["n"]) == (1, 0, 2)
        np.testing.assert_array_equal(first.labels["charge"], [1, -1])
        np.testing.assert_array_equal(first.labels["forces"], [[1, 2, 3], [4, 5, 6]])
        np.testing.assert_array_equal(second.labels["forces"], [[7, 8, 9]])
        assert result.notes == ["text, not labels: 'split'"]

    def test_without_ids_and_with_another_column(self, tmp_path):
        assert [c.id for c in self.read(tmp_path, id=None).crystals] == ["t#0", "t#1"]
        self.read(tmp_path, id=None, code=["x", "y"])
        result = read_crystals(tmp_path / "t.parquet", id_column="code")
        assert [c.id for c in result.crystals] == ["x", "y"]

    @pytest.mark.parametrize("kind", [pa.list_(pa.int32()), pa.large_list(pa.int32())])
    def test_slices_of_lists(self, kind):
        column = pa.array([[1], [2, 3], None, [4, 5]], kind).slice(1)
        rows = [row if row is None else row.tolist() for row in arrow._rows(column)]
        assert rows == [[2, 3], None, [4, 5]]
        fixed = pa.array([[1, 2], None, [3, 4], [5, 6]], pa.list_(pa.int32(), 2)).slice(1, 2)
        rows = [row if row is None else row.tolist() for row in arrow._rows(fixed)]
        assert rows == [None, [3, 4]]

    def test_sliced_batches_and_nulls(self, tmp_path):
        big = pa.concat_tables([table(id=[f"a{i}", f"b{i}"]) for i in range(1500)])
        pq.write_table(big, tmp_path / "t.parquet")
        result = read_crystals(tmp_path / "t.parquet")
        assert len(result.crystals) == 3000
        assert all(c.n_atoms == (2 if c.id[0] == "a" else 1) for c in result.crystals)

    BAD: ClassVar = {
        "null cell": (
            {"cell": pa.array([None, np.eye(3).ravel() * 4], pa.list_(pa.float32(), 9))},
            "cell",
        ),
        "null frac": ({"frac": [None, [0.0, 0, 0]]}, "coordinates"),
        "short frac": ({"frac": [[0.0, 0, 0], [0.0, 0, 0]]}, "coordinates"),
        "nan": ({"frac": [[0.0, 0, 0, np.nan, 0, 0], [0.0, 0, 0]]}, "coordinates"),
        "element 0": ({"numbers": [[0, 17], [26]]}, "element"),
        "element 119": ({"numbers": [[119, 17], [26]]}, "element"),
        "numbers as text": ({"numbers": [["Cs", "Cl"], ["Fe"]]}, None),
        "numbers as floats": ({"numbers": [[55.5, 17.0], [26.0]]}, None),
        "zero cell": ({"cell": [[0.0] * 9, (np.eye(3) * 4).ravel()]}, "cell"),
        "short cell": ({"cell": [[1.0, 2.0], (np.eye(3) * 4).ravel()]}, "cell"),
        "overlap": ({"frac": [[0.0, 0, 0, 0.999, 0, 0], [0.0, 0, 0]]}, "overlap"),
        "same id": ({"id": ["b", "b"]}, "duplicate"),
    }  # fmt: skip

    @pytest.mark.parametrize(("columns", "kind"), BAD.values(), ids=BAD)
    def test_bad_rows(self, tmp_path, columns, kind):
        result = self.read(tmp_path, **columns)
        kinds = [p.kind for p in result.problems]
        assert kinds == ([kind] if kind else ["element", "element"])
        assert len(result.crystals) == (1 if kind else 0)

    def test_missing_columns_and_damage(self, tmp_path):
        pq.write_table(table(cell=None), tmp_path / "t.parquet")
        assert problems(tmp_path / "t.parquet") == [("broken", "has no column 'cell'")]
        pq.write_table(table(), tmp_path / "u.parquet")
        data = (tmp_path / "u.parquet").read_bytes()
        assert problems(write(tmp_path / "u.parquet", data[:-20]))[0][0] == "broken"

    def test_units_and_conflicts(self, tmp_path):
        from atomprint.ground.errors import DataError

        cube = 4 * np.eye(3)
        for name, unit in (("a", "eV"), ("b", "meV"), ("c", "")):
            crystal = Crystal.make(name, [26], cube, frac=[[0, 0, 0]], labels={"gap": 1.0})
            write_parquet(tmp_path / f"{name}.parquet", [crystal], {"gap": unit})
        assert read_crystals(tmp_path / "a.parquet").units == {"gap": "eV"}
        both = [tmp_path / "a.parquet", tmp_path / "c.parquet"]
        assert read_crystals(both).units == {"gap": "eV"}
        assert read_crystals(both[::-1]).units == {"gap": "eV"}
        with pytest.raises(DataError, match=r"'gap' is in eV in .*a\.parquet and in meV"):
            read_crystals([tmp_path / "a.parquet", tmp_path / "b.parquet"])
