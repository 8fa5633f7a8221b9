"""Parquet written and read again."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from atomprint.structures.writing import write_parquet


def crystals():
    rng = np.random.default_rng(5)
    made = []
    for index in range(5):
        n_atoms = index + 1
        labels = {"gap": float(rng.normal()), "forces": rng.normal(size=(n_atoms, 3))}
        labels |= {"charge": rng.normal(size=n_atoms)}
        if index == 2:
            labels.pop("gap")
            labels.pop("forces")
        made.append(
            Crystal.make(
                f"c{index}",
                rng.integers(1, 119, n_atoms),
                7 * np.eye(3) + rng.normal(size=(3, 3)),
                frac=rng.uniform(-1, 2, size=(n_atoms, 3)),
                labels=labels,
            )
        )
    return made


@pytest.mark.parametrize(("exact", "tolerance"), [(True, 1e-12), (False, 3e-6)])
def test_round_trip(tmp_path, exact, tolerance):
    given = crystals()
    write_parquet(
        tmp_path / "c.parquet",
        given,
        {"gap": "eV", "forces": "eV/Å"},
        {"from": "test"},
        exact=exact,
    )
    result = read_crystals(tmp_path / "c.parquet")
    assert not result.problems
    assert result.units == {"gap": "eV", "forces": "eV/Å", "charge": ""}
    for old, new in zip(given, result.crystals, strict=True):
        assert old.id == new.id
        np.testing.assert_array_equal(old.numbers, new.numbers)
        np.testing.assert_allclose(old.cell, new.cell, atol=tolerance)
        difference = old.frac - new.frac
        difference -= np.round(difference)
        np.testing.assert_allclose(difference @ old.cell, 0, atol=tolerance)
        assert set(old.labels) == set(new.labels)
        for name, value in old.labels.items():
            np.testing.assert_array_equal(value, new.labels[name])
            assert np.shape(value) == np.shape(new.labels[name])
    schema = pq.read_schema(tmp_path / "c.parquet")
    assert json.loads(schema.metadata[b"atomprint"])["from"] == "test"
    stored = np.concatenate(pq.read_table(tmp_path / "c.parquet")["frac"].to_pylist())
    assert 0 <= stored.min() <= stored.max() < 1
    assert [p.name for p in tmp_path.iterdir()] == ["c.parquet"]


def test_positions_that_round_up_to_one_stay_inside(tmp_path):
    crystal = Crystal.make("a", [6], 4 * np.eye(3), frac=[[1 - 1e-9, -1e-17, 0.5]])
    write_parquet(tmp_path / "c.parquet", [crystal])
    assert pq.read_table(tmp_path / "c.parquet")["frac"].to_pylist() == [[0, 0, 0.5]]


def test_what_cannot_be_written(tmp_path):
    first, second = crystals()[:2]
    path = tmp_path / "c.parquet"
    with pytest.raises(UsageError, match="no crystals to write"):
        write_parquet(path, [])
    with pytest.raises(DataError, match="'c0' stands for two crystals"):
        write_parquet(path, [first, first])
    with pytest.raises(UsageError, match="cannot be called 'frac'"):
        write_parquet(path, [first.with_labels({"frac": 1.0})])
    with pytest.raises(DataError, match="'x' is per atom in some"):
        write_parquet(path, [first.with_labels({"x": 1.0}), second.with_labels({"x": np.ones(2)})])
    with pytest.raises(UsageError, match="cannot be written"):
        write_parquet(tmp_path / "absent" / "c.parquet", [first])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "c.parquet"
    write_parquet(path, crystals()[:2])

    def full(writer, table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(UsageError, match="cannot be written: No space left"):
        write_parquet(path, crystals())
    assert [p.name for p in tmp_path.iterdir()] == ["c.parquet"]
    assert len(read_crystals(path).crystals) == 2
