"""Labels: tables joined to crystals, numbers told from text, nothing lost in silence."""

import zipfile

import numpy as np
import pytest

from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.reading import read_crystals
from atomprint.structures.reading.labels import number_or_text, rows_of
from atomprint.structures.reading.stream import CrystalStream
from atomprint.training import predict
from tests.structures.crystal_files import EXTXYZ, cif, write


@pytest.fixture
def crystals(tmp_path):
    for name in "abcd":
        write(tmp_path / "cifs" / f"{name}.cif", cif("Cu1 0 0 0"))
    return tmp_path / "cifs"


def labels_of(result):
    return {crystal.id: dict(crystal.labels) for crystal in result.crystals}


def reasons(result):
    return [(p.id, p.kind, p.reason) for p in result.problems]


def test_table_with_header(tmp_path, crystals):
    table = write(tmp_path / "l.csv", "material_id,gap,n\na,1.5,2\nb,2.5,\nc,,3\n")
    result = read_crystals(crystals, labels=table)
    assert labels_of(result) == {
        "a": {"gap": 1.5, "n": 2},
        "b": {"gap": 2.5},
        "c": {"n": 3},
        "d": {},
    }
    assert result.units == {"gap": "", "n": ""}
    assert not result.problems


@pytest.mark.parametrize(
    "text",
    [
        "gap,ID\n1.5,a\n",  # the id is not first
        "name,gap\na,1.5\n",  # no column is called id: the first
        "\ufeffid;gap\na;1.5\n",  # a spreadsheet's
        "id\tgap\r\na\t1.5\r\n",
        'id,gap\n"a","1.5"\n\n',
        "id,gap\na.cif,1.5\n",
        "id,gap\n a , 1.5 \n",
    ],
)
def test_forms_of_tables(tmp_path, crystals, text):
    result = read_crystals(crystals, labels=write(tmp_path / "l.csv", text))
    assert labels_of(result)["a"] == {"gap": 1.5}
    assert not result.problems


def test_other_id_column(tmp_path, crystals):
    table = write(tmp_path / "l.csv", "id,code,gap\n1,a,1.5\n")
    assert labels_of(read_crystals(crystals, labels=table, id_column="code"))["a"]["gap"] == 1.5
    wrong = write(tmp_path / "m.csv", "codes,gap\na,1.5\n")
    with pytest.raises(UsageError, match="did you mean 'codes'"):
        read_crystals(crystals, labels=wrong, id_column="code")


def test_multi_record_files_join_by_record(tmp_path):
    path = write(tmp_path / "runs.xyz", EXTXYZ)
    table = write(tmp_path / "l.csv", "id,gap\nruns#1,2.5\nruns,7\n")
    result = read_crystals(path, labels=table)
    assert [crystal.labels.get("gap") for crystal in result.crystals] == [None, 2.5]
    assert reasons(result) == [("runs", "label", "no crystal has this id")]


def test_table_overrides_the_file(tmp_path):
    path = write(tmp_path / "runs.xyz", EXTXYZ)
    table = write(tmp_path / "l.csv", "id,energy\nruns#1,9\n")
    result = read_crystals(path, labels=table)
    assert [c.labels.get("energy") for c in result.crystals] == [None, 9]
    # Measured values are not mixed with computed ones that happen to be called alike.
    assert result.notes[-1].startswith(f"'energy' is taken from {table} alone: 1 other crystal has")


def test_labels_of_a_named_table_come_from_nowhere_else(tmp_path, crystals):
    """Who gives one label means one, though an older table lies beside the crystals."""
    write(crystals / "id_prop.csv", "id,gap,mass\na,0.5,0\nb,1.5,1\nc,2.5,2\nd,3.5,3\n")
    table = write(tmp_path / "table.csv", "id,gap\na,7.5\n")
    result = read_crystals(crystals, labels=table)
    assert labels_of(result) == {
        "a": {"gap": 7.5, "mass": 0},
        "b": {"mass": 1},
        "c": {"mass": 2},
        "d": {"mass": 3},
    }
    assert result.notes == [
        f"'gap' is taken from {table} alone: 3 other crystals have a value elsewhere, which is "
        "not used"
    ]
    with CrystalStream(crystals, table) as stream:
        assert [dict(read.labels) for read in stream.read()] == [
            {"gap": "7.5", "mass": "0"},
            {"mass": "1"},
            {"mass": "2"},
            {"mass": "3"},
        ]


def test_id_prop_is_found_with_and_without_header(crystals):
    write(crystals / "id_prop.csv", "a,1.5,3\nb,2.5,4\n")
    result = read_crystals(crystals)
    assert labels_of(result)["a"] == {"target": 1.5, "target_2": 3}
    assert not result.problems
    write(crystals / "id_prop.csv", "id,gap\na,1.5\n")
    assert labels_of(read_crystals(crystals))["a"] == {"gap": 1.5}
    given = read_crystals(crystals, labels=crystals / "id_prop.csv")
    assert labels_of(given)["a"] == {"gap": 1.5}


def test_id_prop_speaks_for_its_own_folder(tmp_path):
    for folder, value in (("x", 1), ("y", 2)):
        write(tmp_path / folder / f"{folder}.cif", cif("Cu1 0 0 0"))
        write(tmp_path / folder / "id_prop.csv", f"x,{value}\ny,{value}\n")
    result = read_crystals(tmp_path)
    assert labels_of(result) == {"x": {"target": 1}, "y": {"target": 2}}
    assert sorted(p.id for p in result.problems) == ["x", "y"]


def test_id_prop_in_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("set/a.cif", cif("Cu1 0 0 0"))
        archive.writestr("set/id_prop.csv", "a,1.5\n")
    assert labels_of(read_crystals(tmp_path / "c.zip")) == {"a": {"target": 1.5}}


def test_text_among_numbers_is_reported_and_the_crystal_stays(tmp_path, crystals):
    table = write(tmp_path / "l.csv", "id,s\na,1e-5\nb,2e-5\nc,<1E-10\nd,inf\n")
    result = read_crystals(crystals, labels=table)
    assert labels_of(result) == {"a": {"s": 1e-5}, "b": {"s": 2e-5}, "c": {}, "d": {}}
    assert [(p.id, p.kind) for p in result.problems] == [("c", "label"), ("d", "label")]
    assert result.problems[0].reason == "label 's' is '<1E-10', not a number; left out"
    assert result.n_skipped == 0
    with pytest.raises(DataError, match="<1E-10"):
        read_crystals(crystals, labels=table, strict=True)


def test_id_prop_that_begins_with_a_bound_has_no_header(crystals):
    write(crystals / "id_prop.csv", "a,<1E-10\nb,2\n")
    assert labels_of(read_crystals(crystals))["b"] == {"target": 2}


def test_columns_of_text_are_noted_once(tmp_path, crystals):
    table = write(tmp_path / "l.csv", "id,doi,gap\na,10.1/x,1\nb,10.1/y,2\nc,5,3\n")
    result = read_crystals(crystals, labels=table)
    assert result.notes == ["text, not labels: 'doi'"]
    assert result.units == {"gap": ""}
    assert "doi" not in labels_of(result)["c"]


def test_ids_without_crystals_and_refused_crystals(tmp_path, crystals):
    write(crystals / "bad.cif", "data_x\n")
    table = write(tmp_path / "l.csv", "id,gap\na,1\nbad,2\nzzz,3\n")
    result = read_crystals(crystals, labels=table)
    assert [(p.id, p.kind) for p in result.problems] == [("bad", "empty"), ("zzz", "label")]


def test_repeated_rows(tmp_path, crystals):
    table = write(tmp_path / "l.csv", "id,gap\na,1\na,1\nb,1\nb,2\n")
    result = read_crystals(crystals, labels=table)
    assert labels_of(result)["b"] == {"gap": 1}
    assert reasons(result) == [
        ("b", "label", "has a second row with other values; the first is used")
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "a\nb\n"])
def test_useless_tables(tmp_path, crystals, text):
    with pytest.raises(UsageError, match=r"l\.csv: has"):
        read_crystals(crystals, labels=write(tmp_path / "l.csv", text))
    write(crystals / "id_prop.csv", text)
    assert [p.kind for p in read_crystals(crystals).problems] == ["label"]


def test_missing_table(tmp_path, crystals):
    with pytest.raises(UsageError, match="table of labels, does not exist"):
        read_crystals(crystals, labels=tmp_path / "absent.csv")


def test_vectors_a_crystal_are_noted(tmp_path):
    text = EXTXYZ.replace("energy=-1.5", 'energy=-1.5 polarisation="1 2 3"')
    result = read_crystals(write(tmp_path / "r.xyz", text))
    assert "polarisation" not in result.units


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1 2 3 4 5 6 7 8 9", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        # Voigt's order: xx, yy, zz, yz, xz, xy.
        ("1 2 3 4 5 6", [1, 6, 5, 6, 2, 4, 5, 4, 3]),
        ("[[1, 2, 3], [4, 5, 6], [7, 8, 9]]", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_a_stress_is_a_row_of_nine(tmp_path, given, expected):
    text = EXTXYZ.replace("energy=-1.5", f'energy=-1.5 DFT_stress="{given}"')
    result = read_crystals(write(tmp_path / "r.xyz", text))
    (crystal,) = [c for c in result.crystals if "DFT_stress" in c.labels]
    assert crystal.n_atoms == 2
    np.testing.assert_array_equal(crystal.labels["DFT_stress"], [expected])
    (values,) = predict.labels_of([crystal], "DFT_stress", "crystal", 9)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [("stress", "1 2 3"), ("stress", "high"), ("stressed", "1 2 3 4 5 6"), ("stress", [1, None])],
)
def test_what_is_no_stress(name, value):
    assert rows_of(name, value, 2) is None


def test_per_atom_labels_with_nan_are_reported(tmp_path):
    result = read_crystals(write(tmp_path / "r.xyz", EXTXYZ.replace("0.1 0.2 0.3", "nan 0 0")))
    assert set(result.crystals[0].labels) == {"energy"}
    assert [(p.id, p.kind) for p in result.problems] == [("r#0", "label")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0), (True, 1.0), ("T", 1.0), ("false", 0.0), (" 2.5 ", 2.5), ("1e-5", 1e-5),
        (np.float32(0.5), 0.5), (None, None), ("", None), ("NaN", None), (float("nan"), None),
        ("N/A", None), ("-", None), ("<1", "<1"), (float("inf"), "inf"), ("inf", "inf"),
        ("1_000", "1_000"), ("abc", "abc"), (10**400, str(10**400)[:60]),
    ],
)  # fmt: skip
def test_numbers_and_text(value, expected):
    assert number_or_text(value) == expected
