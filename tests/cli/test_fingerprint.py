"""The command that writes fingerprints: options, several kinds, what it says."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import read_json

SMALL = ["--set", "soap.cutoff=3.0", "--set", "soap.n_max=2", "--set", "soap.l_max=1"]


def test_several_kinds_side_by_side(shell, tiny_data, tmp_path):
    out = tmp_path / "f.parquet"
    words = ["fingerprint", tiny_data / "toy.parquet", "--kind", "soap,rdf", *SMALL]
    words += ["rdf.n_bins=7", "--per", "crystal", "--out", out, "--json", "--workers", "2"]
    status, text, err = shell(*words)
    assert (status, err) == (0, "")
    found = read_json(text)
    assert (found["rows"], found["crystals"], found["resumed"]) == (40, 40, 0)
    assert found["crystals_per_second"] > 0
    assert [one["settings"].get("n_bins") for one in found["fingerprints"]] == [None, 7]
    table = pq.read_table(out)
    assert table.column_names == ["id", *found["columns"]]
    assert len([name for name in found["columns"] if name.startswith("rdf.")]) == 21
    assert json.loads(table.schema.metadata[b"atomprint"])["units"] == found["units"]


def test_atoms_in_float32_as_numpy(shell, tiny_data, tmp_path):
    words = ["fingerprint", tiny_data / "toy.parquet", *SMALL[:2], "--per", "atom"]
    words += ["--dtype", "float32", "--path", "reference", "--memory", "50", "--threads", "1"]
    status, out, err = shell(*words, "--out", tmp_path / "f.npz")
    assert (status, err) == (0, "")
    assert "one an atom; 252 columns" in out
    assert "40 crystals in " in out
    with np.load(tmp_path / "f.npz") as file:
        assert file["values"].dtype == np.float32
        assert len(file["values"]) == len(file["id"]) == len(file["atom"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kind", "soap,rdf", "--set", "cutoff=3.0"], "soap.cutoff"),
        (["--kind", "rdf,soap"], "--per"),
        (["--kind", "soap", "--set", "out=3"], "--out"),
        (["--kind", "soap", "--workers", "0"], "--workers"),
        (["--kind", "soap", "--dtype", "float16"], "float16"),
        (["--kind", "mbtr", "--per", "atom"], "per"),
        (["--set", "soap.l_max=-1"], "l_max"),
    ],
)
def test_bad_use(shell, tmp_path, tiny_data, words, said):
    status, out, err = shell(
        "fingerprint", tiny_data / "toy.parquet", *words, "--out", tmp_path / "f.csv"
    )
    assert (status, out) == (2, "")
    assert said in err
    assert list(tmp_path.iterdir()) == []
