"""The command tasks, and the ways of data split that write splits.json."""

import json

import pytest

from atomprint.data.divisions import read_divisions
from atomprint.evaluation.tasks import built_in_tasks
from atomprint.structures.reading import read_crystals
from tests.conftest import read_json


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """No file of a task anywhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ATOMPRINT_DATA", raising=False)
    return tmp_path / "cache"


def test_the_list_says_what_is_here_and_what_can_be_had(shell, empty_cache, tmp_path):
    (tmp_path / "qmof.parquet").write_bytes(b"")
    status, out, err = shell("tasks", "--files", tmp_path)
    assert status == 0
    lines = {line.split(":")[0].strip(): line for line in out.splitlines()}
    assert lines["phonons"].split()[-4:] == ["1,265", "cm⁻¹", "official", "download"]
    assert lines["qmof_gap"].split()[-1] == "here"
    assert lines["band_gap"].split()[-1] == "-"
    assert str(tmp_path) in err


def test_json_has_every_task_with_its_address_and_place(shell, empty_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("ATOMPRINT_DATA", str(tmp_path))
    (tmp_path / "matbench_phonons.parquet").write_bytes(b"")
    status, out, _ = shell("tasks", "--json")
    assert status == 0
    answer = read_json(out)
    by_name = {task["name"]: task for task in answer["tasks"]}
    assert list(by_name) == [task.name for task in built_in_tasks()]
    assert by_name["phonons"]["on_disk"] == str(tmp_path / "matbench_phonons.parquet")
    assert "not MatBench's own" in by_name["phonons"]["note"]
    assert by_name["jdft2d"]["on_disk"] is None
    assert by_name["jdft2d"]["url"].endswith("matbench_jdft2d.json.gz")
    assert answer["folders"] == [str(tmp_path), str(empty_cache / "atomprint" / "tasks")]


def test_one_task_in_full(shell, empty_cache):
    status, out, _ = shell("tasks", "mp_is_metal")
    assert status == 0
    assert "metric          ROC-AUC error" in out
    assert "official folds  yes" in out
    status, _, err = shell("tasks", "phonon")
    assert status == 2
    assert "did you mean 'phonons'" in err


def test_a_download_is_kept_and_reported(shell, empty_cache, tmp_path, monkeypatch):
    import hashlib

    from atomprint.evaluation.tasks import task as tasks_module

    path = tmp_path / "matbench_jdft2d.json.gz"
    path.write_bytes(b"complete")
    digest = hashlib.sha256(b"complete").hexdigest()
    changed = tuple(
        one.model_copy(update={"sha256": digest}) if one.name == "jdft2d" else one
        for one in built_in_tasks()
    )
    monkeypatch.setattr(tasks_module, "built_in_tasks", lambda: changed)
    status, out, _ = shell("tasks", "--download", "jdft2d", "--files", tmp_path, "--json")
    assert status == 0
    answer = read_json(out)
    assert answer["file"] == str(path)
    assert answer["bytes"] == 8
    assert answer["sha256"] == digest


def test_words_that_do_not_go_together_are_refused(shell, empty_cache):
    status, _, err = shell("tasks", "phonons", "--download", "jdft2d")
    assert (status, "not both" in err) == (2, True)
    status, _, err = shell("tasks", "--dry-run")
    assert (status, "goes with --download" in err) == (2, True)
    status, _, err = shell("tasks", "--download", "qmof_gap")
    assert status == 2
    assert "cannot be downloaded" in err


def test_folds_are_written_with_a_hash_and_read_back(shell, tiny_data, tmp_path):
    data = tiny_data / "toy.parquet"
    status, out, _ = shell("data", "split", data, "--out", tmp_path, "--folds", "4", "--json")
    assert status == 0
    answer = read_json(out)
    crystals = read_crystals(data).crystals
    divisions = read_divisions(tmp_path / "splits.json", crystals)
    assert {d.name: {"train": len(d.train), "test": len(d.test)} for d in divisions} == (
        answer["splits"]
    )
    assert json.loads((tmp_path / "splits.json").read_text())["hash"] == answer["hash"]
    assert sorted(i for d in divisions for i in d.test) == list(range(40))


def test_elements_and_time_divide(shell, tiny_data, tmp_path):
    data = tiny_data / "toy.parquet"
    status, out, _ = shell("data", "split", data, "--out", tmp_path, "--element", "O")
    assert status == 0
    assert "without O" in out
    crystals = read_crystals(data).crystals
    (division,) = read_divisions(tmp_path / "splits.json", crystals)
    assert all(8 in crystals[i].numbers for i in division.test)
    status, out, _ = shell(
        "data", "split", data, "--out", tmp_path, "--time", "energy", "--test", "0.3", "--json"
    )
    assert status == 0
    assert read_json(out)["splits"]["later"]["test"] == 12
    status, _, err = shell(
        "data", "split", data, "--out", tmp_path, "--time", "energy", "--folds", "3"
    )
    assert (status, "give one" in err) == (2, True)


def test_prototypes_stay_together(shell, tiny_data, tmp_path):
    pytest.importorskip("spglib", reason="spglib is not installed")
    data = tiny_data / "toy.parquet"
    status, _, err = shell(
        "data", "split", data, "--out", tmp_path, "--by", "prototype", "--folds", "2"
    )
    assert status == 0, err
