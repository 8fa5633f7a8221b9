"""What is written is whole or not there, and a disk that takes no more is one sentence."""

import errno
import json
import os

import pytest

from atomprint.ground.errors import UsageError
from atomprint.heads.model import Model, ModelSettings
from atomprint.heads.saved import ModelInfo, save_model, write_json
from atomprint.heads.target import Target


def test_a_full_disk_leaves_the_file_before(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    write_json(path, {"step": 1})

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"run.json: cannot be written \(No space left.*make room"):
        write_json(path, {"step": 2})
    assert json.loads(path.read_text(encoding="utf-8")) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_a_model_that_cannot_be_written(tmp_path):
    model = Model(ModelSettings(), (Target(name="gap"),))
    (tmp_path / "model.safetensors.part").mkdir()
    with pytest.raises(UsageError, match=r"model\.safetensors: cannot be written") as error:
        save_model(tmp_path, model, model.state_dict(), ModelInfo("finetune"))
    assert "\n" not in str(error.value)
    (tmp_path / "model.safetensors.part").rmdir()
    save_model(tmp_path, model, model.state_dict(), ModelInfo("finetune"))
    assert {file.name for file in tmp_path.iterdir()} == {"model.json", "model.safetensors"}
