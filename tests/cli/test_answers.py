"""What the commands answer: JSON for scripts, tables for people, files for both."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from tests.conftest import FEW_STEPS, read_json


def test_inspect(shell, tiny_data):
    status, out, err = shell("data", "inspect", tiny_data / "toy.parquet", "--json")
    assert (status, err) == (0, "")
    found = read_json(out)
    assert {"read", "skipped", "problems", "elements", "atoms", "labels"} <= set(found)
    assert (found["read"], found["skipped"], found["problems"]) == (40, 0, [])
    assert found["labels"]["energy"]["unit"] == "eV"
    status, out, err = shell("data", "inspect", tiny_data / "toy.parquet")
    assert (status, err) == (0, "")
    assert "40 crystals" in out
    assert "energy" in out


def test_inspect_names_what_is_wrong(shell, tiny_data, tmp_path):
    (tmp_path / "broken.cif").write_text("data_x\nloop_\n")
    status, out, err = shell("data", "inspect", tmp_path, "--json")
    assert status == 0
    found = read_json(out)
    assert (found["read"], found["skipped"]) == (0, 1)
    assert {"file", "id", "reason"} <= set(found["problems"][0])
    status, out, err = shell("data", "inspect", tmp_path)
    assert status == 0
    assert "1 left out" in err
    assert "broken.cif" in err


def test_only_the_first_problems_are_named_for_people(shell, tmp_path):
    for index in range(9):
        (tmp_path / f"broken{index}.cif").write_text("data_x\nloop_\n")
    _, _, err = shell("data", "inspect", tmp_path)
    assert "9 left out" in err
    assert err.count(".cif (broken") == 5
    _, out, err = shell("data", "inspect", tmp_path, "--json")
    assert len(read_json(out)["problems"]) == 9
    assert err == ""


def test_export_and_split(shell, tiny_data, tmp_path):
    out = tmp_path / "copy.parquet"
    status, _, err = shell("data", "convert", tiny_data / "toy.parquet", "--out", out)
    assert status == 2
    assert f"data export {tiny_data / 'toy.parquet'} --out {out}" in err
    status, text, _ = shell("data", "export", tiny_data / "toy.parquet", "--out", out, "--json")
    assert status == 0
    assert (read_json(text)["written"], read_json(text)["form"]) == (40, "parquet")
    status, _, err = shell("data", "export", tiny_data / "toy.parquet", "--out", out)
    assert (status, "give --overwrite" in err) == (2, True)
    words = ["--out", out, "--overwrite", "--form", "lemat", "--json"]
    status, text, _ = shell("data", "export", tiny_data / "toy.parquet", *words)
    assert (status, read_json(text)["form"]) == (0, "lemat")
    status, text, _ = shell("data", "split", out, "--out", tmp_path / "parts", "--json")
    found = read_json(text)
    assert (found["train"], found["valid"], found["test"]) == (32, 4, 4)
    ids = [
        line
        for name in ("train", "valid", "test")
        for line in (tmp_path / "parts" / f"{name}.txt").read_text().split()
    ]
    assert sorted(ids) == sorted(f"toy-{i}" for i in range(40))


@pytest.mark.parametrize("kind", ["rdf", "adf", "soap", "ead"])
def test_fingerprint(shell, tiny_data, tmp_path, kind):
    out = tmp_path / "f.parquet"
    words = ["fingerprint", tiny_data / "toy.parquet", "cutoff=3.5", "--kind", kind]
    words += ["--out", out, "--per", "crystal", "--json"]
    status, text, err = shell(*words)
    assert (status, err) == (0, "")
    found = read_json(text)
    table = pq.read_table(out)
    assert table.num_rows == found["rows"] == 40
    assert found["settings"]["cutoff"] == 3.5
    assert table.column_names == ["id", *found["columns"]]
    about = json.loads(table.schema.metadata[b"atomprint"])
    assert about["fingerprint_id"] == found["fingerprint_id"]


def test_pretrain(shell, tiny_data, tmp_path):
    run = tmp_path / "run"
    words = ["pretrain", tiny_data / "tiny.yaml", "loop.n_steps=2", "--seed", "5"]
    words += ["--data", tiny_data / "toy.parquet", "--out", run, "--json"]
    status, out, err = shell(*words)
    assert (status, err) == (0, "")
    found = read_json(out)
    assert (found["out"], found["steps"], found["n_crystals"]) == (str(run), 2, 32)
    settings = json.loads((run / "run.json").read_text())["settings"]
    assert settings["loop"]["seed"] == 5
    assert settings["loop"]["n_steps"] == 2
    assert (run / "model.safetensors").is_file()


def test_pretrain_from_another_run(shell, tiny_data, tiny_runs, tmp_path):
    run = tmp_path / "run"
    words = [
        "pretrain",
        tiny_data / "tiny.yaml",
        "loop.n_steps=1",
        "--from",
        tiny_runs / "pretrain",
    ]
    words += ["loop.optimizer.learning_rate=1e-30", "loop.optimizer.ema_decay=0", "--json"]
    status, _, err = shell(*words, "--data", tiny_data / "toy.parquet", "--out", run)
    assert (status, err) == (0, "")
    assert json.loads((run / "run.json").read_text())["settings"]["source"].endswith("pretrain")
    before, after = (load_file(one / "model.safetensors") for one in (tiny_runs / "pretrain", run))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    status, _, err = shell("pretrain", "--resume", run, "--from", tiny_runs / "pretrain")
    assert status == 2
    assert "leave out --from" in err


def test_finetune_with_its_twin(shell, tiny_data, tiny_runs, tmp_path):
    run = tmp_path / "run"
    words = ["finetune", *FEW_STEPS, "--from", tiny_runs / "pretrain", "--seed", "3"]
    words += ["--data", tiny_data / "toy.parquet", "--target", "energy", "--twin"]
    words += ["--n-train", "20", "--test", "0.25", "--out", run, "--json"]
    status, out, err = shell(*words)
    assert (status, err) == (0, "")
    found = read_json(out)
    wanted = "target unit metric n_train n_test seed value twin_value gain seconds"
    assert set(wanted.split()) <= set(found)
    assert (found["target"], found["unit"], found["metric"]) == ("energy", "eV", "MAE")
    assert (found["n_train"], found["n_test"], found["seed"]) == (20, 10, 3)
    assert found["gain"] == pytest.approx(1 - found["value"] / found["twin_value"])
    rows = list(csv.DictReader((run / "predictions.csv").open()))
    test = [row for row in rows if row["part"] == "test"]
    errors = {
        name: np.mean([abs(float(row["energy"]) - float(row[name])) for row in test])
        for name in ("energy_predicted", "energy_twin")
    }
    assert errors["energy_predicted"] == pytest.approx(found["value"], rel=1e-5)
    assert errors["energy_twin"] == pytest.approx(found["twin_value"], rel=1e-5)


def test_a_file_of_test_ids_is_what_is_tested(shell, tiny_data, tiny_runs, tmp_path):
    (tmp_path / "test.txt").write_text("toy-3\ntoy-4\ntoy-5\n")
    words = ["finetune", *FEW_STEPS, "--from", tiny_runs / "pretrain", "--json"]
    words += ["--data", tiny_data / "toy.parquet", "--target", "energy"]
    words += ["--test", tmp_path / "test.txt", "--out", tmp_path / "run"]
    status, out, _ = shell(*words)
    assert status == 0
    found = read_json(out)
    assert found["n_test"] == 3
    assert "gain" not in found
    rows = csv.DictReader((tmp_path / "run/predictions.csv").open())
    assert {row["id"] for row in rows if row["part"] == "test"} == {"toy-3", "toy-4", "toy-5"}


def test_people_get_a_table_and_the_places(shell, tiny_data, tiny_runs, tmp_path):
    words = ["finetune", *FEW_STEPS, "--from", tiny_runs / "pretrain", "--twin"]
    words += ["--data", tiny_data / "toy.parquet", "--target", "energy", "--out", tmp_path / "run"]
    status, out, err = shell(*words)
    assert (status, err) == (0, "")
    for text in ("toy.parquet", "twin's", "pre-trained", "gain", "eV"):
        assert text in out
    row = json.loads((tmp_path / "run/metrics.json").read_text())["results"][0]
    low, high = row["gain_interval"]
    assert f"[{round(100 * low)}, {round(100 * high)}]" in out
    assert str(tmp_path / "run/predictions.csv") in out


@pytest.mark.parametrize(("command", "run"), [("predict", "tuned-0"), ("embed", "pretrain")])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_from_models(shell, tiny_data, tiny_runs, tmp_path, command, run, ending):
    out = tmp_path / f"table.{ending}"
    words = [command, tiny_runs / run, tiny_data / "toy.parquet", "--out", out, "--json"]
    status, text, err = shell(*words)
    assert (status, err) == (0, "")
    found = read_json(text)
    assert (found["rows"], found["crystals"], found["skipped"]) == (40, 40, 0)
    if command == "predict":
        assert found["columns"] == ["energy_predicted"]
        assert found["units"] == {"energy_predicted": "eV"}
    if ending == "csv":
        rows = list(csv.DictReader(out.open()))
        assert [row["id"] for row in rows] == [f"toy-{i}" for i in range(40)]


def test_predictions_are_those_of_the_test(shell, tiny_data, tiny_runs, tmp_path):
    out = tmp_path / "p.csv"
    assert shell("predict", tiny_runs / "tuned-0", tiny_data / "toy.parquet", "--out", out)[0] == 0
    found = {row["id"]: float(row["energy_predicted"]) for row in csv.DictReader(out.open())}
    for row in csv.DictReader((tiny_runs / "tuned-0/predictions.csv").open()):
        if row["part"] == "valid":
            continue  # there by the network that was not yet trained on them
        assert found[row["id"]] == pytest.approx(float(row["energy_predicted"]), abs=1e-4)


def test_report(shell, tiny_runs):
    status, out, err = shell("report", tiny_runs, "--json")
    assert (status, err) == (0, "")
    assert read_json(out) == {"report": str(tiny_runs / "report.html")}


def test_demo_answers_with_what_scripts_read(shell, tmp_path, monkeypatch):
    from atomprint.evaluation.demo import DemoOutcome

    row = {"target": "e", "unit": "eV", "metric": "MAE", "n_train": 9, "n_test": 3, "seconds": 1.0}
    rows = [
        {**row, "seed": s, "value": 0.3 - 0.05 * s, "twin_value": 0.4, "gain": 0.25 + 0.125 * s}
        for s in range(2)
    ]
    places = [tmp_path / name for name in ("report.html", "predictions.csv", "model.safetensors")]
    monkeypatch.setattr(
        "atomprint.api.demo", lambda *args, **more: DemoOutcome(rows, tmp_path, *places, 12.0)
    )
    status, out, _ = shell("demo", "--out", tmp_path / "demo", "--json")
    found = read_json(out)
    assert status == 0
    assert found["results"] == rows
    assert (found["report"], found["seconds"]) == (str(places[0]), 12.0)
    status, out, _ = shell("demo", "--out", tmp_path / "demo")
    assert status == 0
    assert "+31.2 ± 8.8 %" in out
    assert str(places[0]) in out


def test_a_store_from_the_command_line(shell, tiny_data, tmp_path):
    store = tmp_path / "corpus"
    words = ["--out", store, "--source", "toys", "--licence", "CC0", "--json"]
    status, text, _ = shell("data", "convert", tiny_data / "toy.parquet", *words)
    assert status == 0
    assert read_json(text)["written"] == 40
    status, text, _ = shell("data", "convert", tiny_data / "toy.parquet", *words)
    assert (status, read_json(text)["resumed"]) == (0, 40)
    status, text, _ = shell("data", "stats", store, "--json")
    found = read_json(text)
    assert (found["n_crystals"], found["provenance"][0]["licence"]) == (40, "CC0")
    status, text, _ = shell("data", "inspect", store, "--json")
    assert read_json(text)["read"] == 40
    shell("data", "sample", store, "--n", "7", "--out", tmp_path / "few")
    status, text, _ = shell(
        "data", "merge", tmp_path / "few", store, "--out", tmp_path / "both", "--json"
    )
    assert (read_json(text)["written"], read_json(text)["doubled"]) == (40, 7)

    assert shell("data", "validate", store)[0] == 0
    (shard,) = (store / "shards").iterdir()
    data = bytearray(shard.read_bytes())
    data[-100] ^= 1
    shard.write_bytes(data)
    status, text, _ = shell("data", "validate", store, "--json")
    assert status == 1
    assert read_json(text)["damages"][0]["file"].endswith("00000000.shard")
    status, _, err = shell("data", "convert", tiny_data / "toy.parquet", "--out", shard)
    assert status == 2
    assert "is a file" in err
