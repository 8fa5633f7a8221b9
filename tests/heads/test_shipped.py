"""Networks that come with the package: listed, found by name, and only as they were shipped."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import atomprint
from atomprint.ground.errors import DataError, UsageError
from atomprint.ground.settings import validate
from atomprint.heads import shipped
from atomprint.heads.model import Model, ModelSettings
from atomprint.heads.saved import load_model
from tests.conftest import FEW_STEPS, read_json
from tests.toy import toy_crystals
from tests.training.tiny import tiny_finetuning

ROOT = Path(__file__).resolve().parents[2]
NAMES = shipped.names()


@pytest.fixture
def copy(tmp_path):
    """A room with one shipped network, to damage."""
    shutil.copytree(shipped.FOLDER / "tiny", tmp_path / "tiny")
    return tmp_path


def test_small_and_tiny_come_with_the_package():
    assert NAMES == ["atomprint/small", "atomprint/tiny"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_of_a_network_is_true(name):
    one = shipped.describe(name)
    folder = shipped.FOLDER / name.removeprefix("atomprint/")
    assert one.name == name
    assert one.n_bytes == (folder / "model.safetensors").stat().st_size <= 4_000_000
    model, info = load_model(Path(name))
    assert sum(p.numel() for p in model.state_dict().values()) == one.n_parameters
    assert model.settings == validate(ModelSettings, one.recipe["model"], name)
    assert info.made_by == "pretrain"
    assert info.notes["data"]["hash"] == one.corpus_hash
    assert all((one.licence, one.data_licence, one.limits))
    # These weights were trained: they are not those that the run began with.
    torch.manual_seed(one.recipe["loop"]["seed"])
    first = Model(model.settings, ()).state_dict()
    for key, value in model.named_parameters():
        assert (value != first[key]).any(), key


def test_cards_say_what_the_descriptions_say():
    command = [sys.executable, ROOT / "scripts/make_checkpoint_card.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for name in NAMES:
        card = (shipped.FOLDER / name.removeprefix("atomprint/") / "card.md").read_text()
        one = shipped.describe(name)
        for text in (one.licence, one.data, one.corpus_hash, *one.sha256.values(), *one.limits):
            assert text in card


def test_listing(shell):
    status, out, err = shell("checkpoints", "--json")
    assert (status, err) == (0, "")
    rows = read_json(out)["checkpoints"]
    assert [row["name"] for row in rows] == NAMES
    assert rows == [
        {**one.model_dump(mode="json"), "card": row["card"]}
        for one, row in zip(atomprint.checkpoints(), rows, strict=True)
    ]
    status, out, _ = shell("checkpoints")
    for row in rows:
        assert row["name"] in out
        assert row["sha256"]["model.safetensors"] in out
        assert f"{row['n_parameters']:,} parameters" in out
    status, out, _ = shell("checkpoints", "atomprint/small")
    assert (status, out) == (0, (shipped.FOLDER / "small" / "card.md").read_text())


def test_fine_tuning_starts_from_it(shell, tiny_data, tmp_path):
    words = ["--data", tiny_data / "toy.parquet", "--target", "energy", "--device", "cpu", "--json"]
    status, _, err = shell(
        "finetune", *FEW_STEPS, "--from", "atomprint/tiny", "--out", tmp_path / "run", *words
    )
    assert status == 0, err
    record = json.loads((tmp_path / "run/run.json").read_text())["data"]
    assert record["source"] == "atomprint/tiny"
    # No step of a size that matters: the backbone is still the shipped one.
    settings = tiny_finetuning(1).model_copy(update={"learning_rates": (1e-12,)})
    outcome = atomprint.finetune("atomprint/tiny", toy_crystals(20), "energy", settings=settings)
    wanted = load_model(Path("atomprint/tiny"))[0].backbone.state_dict()
    for name, value in outcome.model.backbone.state_dict().items():
        np.testing.assert_allclose(value.numpy(), wanted[name].numpy(), atol=1e-6)


def test_embedding_and_predicting(shell, tiny_data, tmp_path):
    data = tiny_data / "toy.parquet"
    status, _, err = shell("embed", "atomprint/tiny", data, "--out", tmp_path / "e.parquet")
    assert status == 0, err
    by_name = atomprint.embed("atomprint/tiny", toy_crystals(3)).array()
    by_folder = atomprint.embed(shipped.FOLDER / "tiny", toy_crystals(3)).array()
    np.testing.assert_array_equal(by_name, by_folder)
    status, _, err = shell("predict", "atomprint/tiny", data, "--out", tmp_path / "p.csv")
    assert status == 2
    assert "has no targets to predict; fine-tune it on labels first" in err


@pytest.mark.parametrize("file", ["model.json", "model.safetensors"])
def test_tampered_files_are_refused(copy, file):
    path = copy / "tiny" / file
    content = bytearray(path.read_bytes())
    content[-2] ^= 1  # the end of the last weight, or a space
    path.write_bytes(content)
    words = rf"{file}: the file is not the one that came with atomprint .* install atomprint again"
    with pytest.raises(DataError, match=words):
        load_model(copy / "tiny")
    with pytest.raises(DataError, match=words):
        shipped.locate(Path("atomprint/tiny"), copy)


def test_missing_weights_and_broken_descriptions_are_refused(copy):
    (copy / "tiny/model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors: cannot be read"):
        load_model(copy / "tiny")
    (copy / "tiny/checkpoint.json").write_text("{")
    with pytest.raises(DataError, match="description of the checkpoint is broken"):
        load_model(copy / "tiny")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("atomprint/smal", "comes with atomprint; did you mean 'atomprint/small'"),
        ("atomprint/zzz", "there are: atomprint/small, atomprint/tiny"),
        ("small", "did you mean 'atomprint/small', which comes with atomprint"),
        ("atomprnt/tiny", "did you mean 'atomprint/tiny', which comes with atomprint"),
        ("runs/mine", "give the folder that a pretrain or finetune run wrote"),
    ],
)
def test_unknown_names_say_what_was_meant(name, words, shell, tiny_data, tmp_path):
    with pytest.raises(UsageError, match=words):
        load_model(Path(name))
    status, _, err = shell("embed", name, tiny_data / "toy.parquet", "--out", tmp_path / "e.csv")
    assert (status, words in err) == (2, True)


def test_a_folder_of_ones_own_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(shipped.FOLDER / "tiny", tmp_path / "atomprint/small")
    assert shipped.locate(Path("atomprint/small")) == Path("atomprint/small")
    assert load_model(Path("atomprint/small"))[0].backbone.n_channels == 32
