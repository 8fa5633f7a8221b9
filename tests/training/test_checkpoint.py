"""Checkpoints: exact, readable as data, and broken ones named in one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from atomprint.ground.errors import AtomprintError, DataError, UsageError
from atomprint.heads.model import Model
from atomprint.heads.target import Target
from atomprint.training.checkpoint import FORMAT, ModelInfo, load_model, save_model
from atomprint.training.predict import predict
from tests.toy import toy_crystals
from tests.training.tiny import TINY_MODEL

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

TARGETS = [Target(name="energy", unit="eV"), Target(name="metal", size=2, task="classification")]


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = Model(TINY_MODEL, TARGETS)
    model.standardizer("energy").fit(torch.randn(10, 1) * 3 + 1)
    save_model(tmp_path, model, model.state_dict(), ModelInfo("finetune", {"seed": 3}))
    return tmp_path, model


def test_save_and_load_are_exact(saved):
    folder, model = saved
    again, info = load_model(folder)
    assert info == ModelInfo("finetune", {"seed": 3})
    assert again.targets == model.targets
    assert again.settings == model.settings
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)


def test_settings_are_readable_without_torch(saved):
    folder, _ = saved
    described = json.loads((folder / "model.json").read_text())
    assert described["format"] == FORMAT
    assert described["settings"]["backbone"]["kind"] == "painn"


def change(folder, **updates):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | updates))


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda f: (f / "model.json").unlink(), UsageError, "no atomprint model here"),
        (lambda f: (f / "model.json").write_text("{"), DataError, "not a readable model"),
        (lambda f: (f / "model.json").write_text("[]"), DataError, "not a readable model"),
        (lambda f: change(f, format=FORMAT + 1), DataError, "newer than this atomprint"),
        # Python writes and reads Infinity, which no integer is.
        (lambda f: change(f, format=float("inf")), DataError, "not a readable model"),
        (lambda f: change(f, n_members=float("inf")), DataError, "not a readable model"),
        (lambda f: change(f, targets=[]), DataError, "weights cannot be read"),
        (lambda f: (f / "model.safetensors").unlink(), DataError, "weights cannot be read"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 9), DataError, "cannot be read"),
        (lambda f: change(f, settings={"pooling": "man"}), UsageError, "pooling"),
        (lambda f: change(f, settings={"poling": "mean"}), UsageError, "did you mean 'pooling'"),
    ],
)
def test_damage_is_one_sentence(saved, damage, error, words):
    folder, _ = saved
    damage(folder)
    with pytest.raises(error, match=words) as caught:
        load_model(folder)
    assert isinstance(caught.value, AtomprintError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", sorted(GOLDEN.glob("checkpoint_v*")), ids=lambda f: f.name)
def test_every_frozen_format_still_predicts_the_same(folder):
    model, _ = load_model(folder)
    expected = json.loads((folder / "predictions.json").read_text())
    found = predict(model, toy_crystals(3))
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)


def test_the_present_format_is_frozen():
    assert (GOLDEN / f"checkpoint_v{FORMAT}" / "model.json").is_file(), (
        "run python -m tests.golden.make_checkpoint for the new format"
    )
