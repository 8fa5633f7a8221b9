"""The first look at some files."""

import json

import numpy as np
import pytest

from atomprint.data.inspect import inspect
from atomprint.ground.errors import DataError
from atomprint.structures.crystal import Crystal
from atomprint.structures.writing import write_parquet
from tests.structures.crystal_files import NACL_CIF, cif, write


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "set"
    write(root / "salt.cif", NACL_CIF)
    write(root / "copper.cif", cif("Cu1 0 0 0"))
    write(root / "chlorine.cif", cif("Cl1 0 0 0\nCl2 .5 .5 .5"))
    write(root / "bad.cif", "data_x\n")
    write(root / "id_prop.csv", "salt,1\ncopper,3\nchlorine,<2\nghost,1\n")
    write(root / "README.md", "x")
    return root


def test_every_field(folder):
    found = inspect(folder).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert (found["read"], found["skipped"]) == (3, 1)
    assert found["elements"] == {"Cl": 2, "Na": 1, "Cu": 1}
    assert list(found["elements"]) == ["Na", "Cl", "Cu"]
    assert found["atoms"] == {"min": 1, "median": 2, "max": 8, "total": 11}
    assert found["labels"] == {
        "target": {
            "count": 2,
            "min": 1,
            "max": 3,
            "mean": 2,
            "std": 1,
            "unit": "",
            "per": "crystal",
        }
    }
    assert [(p["id"], p["kind"]) for p in found["problems"]] == [
        ("bad", "empty"),
        ("chlorine", "label"),
        ("ghost", "label"),
    ]
    assert set(found["problems"][0]) == {"file", "id", "reason", "kind"}
    assert found["kinds"] == {"label": 2, "empty": 1}
    assert found["notes"] == ["files of other types passed over: 1 × .md"]


def test_units_and_labels_per_atom(tmp_path):
    crystal = Crystal.make(
        "a", [6, 8], 4 * np.eye(3), frac=[[0, 0, 0], [0.5, 0.5, 0.5]],
        labels={"forces": np.array([[1.0, 2, 3], [4, 5, 9]])},
    )  # fmt: skip
    write_parquet(tmp_path / "a.parquet", [crystal], {"forces": "eV/Å"})
    label = inspect(tmp_path / "a.parquet").labels["forces"]
    assert (label["per"], label["unit"], label["count"]) == ("atom", "eV/Å", 1)
    assert (label["min"], label["max"], label["mean"]) == (1, 9, 4)


def test_nothing_read_and_strict(folder):
    found = inspect(folder / "bad.cif")
    assert (found.read, found.elements, found.labels) == (0, {}, {})
    assert found.atoms == {"min": 0, "median": 0, "max": 0, "total": 0}
    with pytest.raises(DataError, match=r"bad\.cif"):
        inspect(folder, strict=True)


def test_labels_and_progress(tmp_path, folder):
    table = write(tmp_path / "l.csv", "code,gap\ncopper,2\n")
    seen = []
    found = inspect(
        folder / "copper.cif",
        table,
        id_column="code",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert found.labels["gap"]["count"] == 1
    assert seen == [(1, 1)]
