"""The scripts that make shipped checkpoints: resumable, and numbers that are what they say."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from atomprint.heads.saved import load_model
from atomprint.heads.shipped import Shipped, describe
from tests.conftest import TINY

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("make_checkpoints"), importlib.import_module(
        "make_checkpoint_card"
    )


def test_results_over_seeds_by_hand(scripts, tmp_path):
    _, card = scripts
    twin_rows = [
        {"set": "gap", "unit": "eV", "n_train": 9, "seed": s, "value": v, "twin_value": t}
        for s, v, t in ((0, 0.5, 1.0), (1, 1.5, 2.0))
    ]
    (tmp_path / "twins.json").write_text(json.dumps({"results": twin_rows}))
    arm, scratch = (
        [{"set": "gap", "n_labels": 9, "seed": row["seed"], "mae": row[key]} for row in twin_rows]
        for key in ("value", "twin_value")
    )
    (tmp_path / "arm.json").write_text(json.dumps({"results": arm}))
    (tmp_path / "scratch.json").write_text(json.dumps({"results": scratch}))
    for unit, rows in (
        ("eV", card.rows_of(tmp_path / "twins.json")),
        ("", card.rows_of(tmp_path / "arm.json", tmp_path / "scratch.json")),
    ):
        (row,) = card.over_seeds(rows)
        assert row == {
            "set": "gap", "unit": unit, "n_labels": 9, "n_seeds": 2, "mae": 1.0, "twin_mae": 1.5,
            "gain": pytest.approx(1 / 3), "gain_min": 0.25, "gain_max": 0.5,
        }  # fmt: skip


def test_another_kind_replaces_a_group_and_the_same_kind_adds_to_it(scripts):
    make, _ = scripts
    base = {"model": {"backbone": {"kind": "painn", "cutoff": 5.0}, "n_hidden": 3}}
    assert make.merged(base, {"model": {"backbone": {"cutoff": 4.0}}}) == {
        "model": {"backbone": {"kind": "painn", "cutoff": 4.0}, "n_hidden": 3}
    }
    assert make.merged(base, {"model": {"backbone": {"kind": "et"}}}) == {
        "model": {"backbone": {"kind": "et"}, "n_hidden": 3}
    }


def test_made_in_one_go_or_after_a_stop(scripts, tiny_data, tmp_path, monkeypatch, capsys):
    make, card = scripts
    settings = yaml.safe_load(TINY)
    settings["loop"] |= {"n_steps": 8, "checkpoint_every": 2, "evaluate_every": 4}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))

    def run(work):
        monkeypatch.setattr(sys, "argv", [
            "make_checkpoints.py", "tiny", "--work", str(tmp_path / work),
            "--config", str(tmp_path / "recipe.yaml"),
            "--data", str(tiny_data / "toy.parquet"), "--source", "toys",
            "--source-licence", "none",
            "--out", str(tmp_path / work / "out"), "--note", "Only a test.",
            "--seeds", "3", "--finetune", "n_steps=2", "learning_rates=[1e-3]", "loop.device=cpu",
        ])  # fmt: skip
        make.main()
        return tmp_path / work / "out" / "tiny"

    def weights(folder):
        return {k: v.tolist() for k, v in load_file(folder / "model.safetensors").items()}

    whole = run("whole")
    one = describe("atomprint/tiny", whole.parent)
    assert (one.n_crystals, one.data, one.data_licence) == (40, "toys", "none")
    assert one.limits[0] == "Only a test."
    assert "at most 3 atoms" in one.limits[2]
    assert one.recipe["model"]["backbone"]["n_channels"] == 32
    (row,) = one.results
    measured = json.loads((tmp_path / "whole/tiny.json").read_text())["results"][0]
    assert (row["mae"], row["twin_mae"]) == (measured["value"], measured["twin_value"])
    assert load_model(whole)[1].made_by == "pretrain"
    text = (whole / "card.md").read_text()
    assert "Only a test." in text
    assert card.stale_cards(whole.parent) == []

    # Stopped after six steps, the same command goes on to the same weights.
    pretrain = make.pretrain

    class Stop(Exception):
        pass

    def cut(*args, progress, **more):
        def stop(step, total, numbers):
            progress(step, total, numbers)
            if step == 6:
                raise Stop

        return pretrain(*args, progress=stop, **more)

    monkeypatch.setattr(make, "pretrain", cut)
    with pytest.raises(Stop):
        run("cut")
    monkeypatch.setattr(make, "pretrain", pretrain)
    assert weights(run("cut")) == weights(whole)

    # Done, it only describes anew; other settings in the same folder are refused.
    monkeypatch.delattr(make, "pretrain")
    assert run("whole") == whole
    settings["loop"]["n_steps"] = 9
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit, match="made with other settings"):
        run("whole")


def test_a_stale_card_and_weights_that_are_too_large_are_found(scripts, tmp_path, monkeypatch):
    _, card = scripts
    known = describe("atomprint/tiny").model_dump()
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/checkpoint.json").write_text(Shipped(**known).model_dump_json())
    assert card.stale_cards(tmp_path, write=True) == ["tiny"]
    assert card.stale_cards(tmp_path) == []
    (tmp_path / "tiny/card.md").write_text("something else")
    assert card.stale_cards(tmp_path) == ["tiny"]
    for name in ("run", "history", "cost", "corpus"):
        (tmp_path / f"{name}.json").write_text("{}")
    source = card.FOLDER / "tiny" / "model.safetensors"
    (tmp_path / "model.safetensors").write_bytes(source.read_bytes())
    monkeypatch.setattr(card, "MOST_BYTES", 1000)
    more = {"data": "", "data_licence": "", "notes": [], "licence": ""}
    with pytest.raises(SystemExit, match="at most 1,000 can ship"):
        card.describe("x", tmp_path, [], **more)
    settings = {"objectives": [{"kind": "distillation", "path": "/home/me/teacher"}]}
    (tmp_path / "run.json").write_text(json.dumps({"settings": settings}))
    monkeypatch.setattr(card, "MOST_BYTES", 4_000_000)
    with pytest.raises(SystemExit, match="names the place /home/me/teacher"):
        card.describe("x", tmp_path, [], **more)
