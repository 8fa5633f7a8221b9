"""A run on several corpora: what its record says, what is held out, and that it resumes."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

import atomprint
from atomprint.api import Corpus, PretrainConfig, load_config
from atomprint.data.batching import BatchSettings
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.writing import write_parquet
from atomprint.training.corpora import Material, prepare
from atomprint.training.pretrain import pretrain
from atomprint.training.run import hash_crystals
from tests.conftest import read_json
from tests.toy import toy_crystals
from tests.training.tiny import tiny_pretraining

LIMITS = BatchSettings(max_crystals=8, max_atoms=50)


def renamed(n, seed, name):
    crystals = toy_crystals(n, seed)
    return [
        type(c).make(f"{name}-{c.id}", c.numbers, c.cell, positions=c.positions) for c in crystals
    ]


def config(n_steps=4, **more):
    tiny = tiny_pretraining(n_steps)
    return PretrainConfig(**{k: getattr(tiny, k) for k in type(tiny).model_fields}, **more)


@pytest.fixture
def corpora():
    return {"large": Corpus(renamed(40, 0, "a"), 1.0), "small": Corpus(renamed(10, 1, "b"), 0.5)}


def test_each_corpus_is_held_out_and_drawn_by_its_share(corpora):
    material = prepare(corpora, 4.0, LIMITS, 0.2, seed=0)
    assert [len(part) for part in material.valid] == [8, 2]
    assert len(material.train) == 40
    assert material.shares == pytest.approx((2 / 3, 1 / 3))
    held_out = {c.id for part in material.valid for c in part}
    assert not held_out & {c.id for c in material.train}
    # Scales of fingerprints are fitted on what training draws.
    ids = [c.id for c in material.sample(30, seed=0)]
    assert sum(id.startswith("b") for id in ids) > 30 / 5


def test_plain_crystals_are_divided_as_one_corpus():
    material = prepare(toy_crystals(40), 4.0, LIMITS, 0.2, seed=0)
    assert material.mix is None
    assert (len(material.train), [len(part) for part in material.valid]) == (32, [8])
    assert set(material.described) == {"hash", "n_crystals"}


def test_the_record_names_every_corpus(corpora, tmp_path):
    atomprint.pretrain(corpora, tmp_path / "run", settings=config())
    data = json.loads((tmp_path / "run/run.json").read_text())["data"]
    assert data["n_crystals"] == 50
    assert data["corpora"] == [
        {
            "name": name,
            "hash": hash_crystals(corpus.crystals),
            "n_crystals": len(corpus.crystals),
            "weight": corpus.weight,
        }
        for name, corpus in corpora.items()
    ]


def test_a_mixture_resumed_equals_one_that_never_stopped(corpora, tmp_path):
    class Stop(Exception):
        pass

    def stop(step, total, numbers):
        if step == 13:
            raise Stop

    settings = tiny_pretraining(n_steps=20)
    pretrain(corpora, settings, tmp_path / "whole")
    with pytest.raises(Stop):
        pretrain(corpora, settings, tmp_path / "cut", progress=stop)
    pretrain(corpora, settings, tmp_path / "cut", resume=True)
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=0, atol=0, msg=name)


def test_a_run_is_not_resumed_with_another_mixture(corpora, tmp_path):
    settings = tiny_pretraining(n_steps=4)
    pretrain(corpora, settings, tmp_path / "run")
    heavier = corpora | {"small": Corpus(corpora["small"].crystals, 0.7)}
    with pytest.raises(DataError, match="the corpora or their weights are not those"):
        pretrain(heavier, settings, tmp_path / "run", resume=True)
    joined = [c for corpus in corpora.values() for c in corpus.crystals]
    with pytest.raises(DataError, match="the corpora or their weights are not those"):
        pretrain(joined, settings, tmp_path / "run", resume=True)
    moved = {f"elsewhere/{name}": corpus for name, corpus in corpora.items()}
    pretrain(moved, settings, tmp_path / "run", resume=True)


def test_a_corpus_counts_in_validation_with_its_share(corpora):
    """Not with its size; one without any held-out crystal leaves its share to the others."""
    material = prepare(corpora, 4.0, LIMITS, 0.2, seed=0)
    assert material.valid_weights == pytest.approx((2 / 3 / 8, 1 / 3 / 2))
    few = corpora | {"few": Corpus(renamed(2, 3, "c"), 5.0)}
    weights = prepare(few, 4.0, LIMITS, 0.2, seed=0).valid_weights
    assert weights == pytest.approx((2 / 3 / 8, 1 / 3 / 2, 0))


def test_validation_is_weighed(corpora, monkeypatch):
    """The same network and scales; only what held-out crystals count differs."""
    found = []
    for weights in ((1 / 8, 0.0), (0.0, 1 / 2), (0.25 / 8, 0.75 / 2)):
        monkeypatch.setattr(Material, "valid_weights", weights)
        found.append(pretrain(corpora, tiny_pretraining(1)).history[-1]["valid/value"])
    assert found[0] != pytest.approx(found[1], rel=0.01)
    assert found[2] == pytest.approx(0.25 * found[0] + 0.75 * found[1], rel=1e-5)


def test_mixtures_from_a_file_and_from_the_shell(shell, tmp_path):
    write_parquet(tmp_path / "a.parquet", renamed(20, 0, "a"))
    write_parquet(tmp_path / "b.parquet", renamed(6, 1, "b"))
    data = {str(tmp_path / "a.parquet"): 1.0, str(tmp_path / "b.parquet"): 0.5}
    chosen = config().model_dump(mode="json") | {"data": data, "out": str(tmp_path / "run")}
    (tmp_path / "mix.yaml").write_text(yaml.safe_dump(chosen, sort_keys=False))
    status, out, err = shell("pretrain", tmp_path / "mix.yaml", "--json")
    assert status == 0, err
    assert read_json(out)["n_crystals"] == 16 + 5
    described = json.loads((tmp_path / "run/run.json").read_text())
    assert described["settings"]["data"] == data
    assert [(c["name"], c["weight"]) for c in described["data"]["corpora"]] == list(data.items())
    # A run to resume knows its own mixture.
    assert shell("pretrain", "--resume", tmp_path / "run")[0] == 0
    text = f"data={{{tmp_path / 'a.parquet'}: 2, {tmp_path / 'b.parquet'}: 1}}"
    assert load_config(None, [text]).data == {name: 2 * weight for name, weight in data.items()}


def test_impossible_mixtures_are_refused(corpora, tmp_path):
    for weight in ("0", "-1", ".inf", "much", "true"):
        with pytest.raises(UsageError, match=r"a\.parquet has weight .*; give a positive number"):
            load_config(None, [f"data={{a.parquet: {weight}}}"])
    with pytest.raises(UsageError, match="there is no corpus in the mixture"):
        atomprint.pretrain({}, settings=config())
    with pytest.raises(DataError, match="corpus none: none of 0 crystals"):
        atomprint.pretrain(corpora | {"none": Corpus([])}, settings=config())
    with pytest.raises(DataError, match="large: no crystal has at most max_atoms = 1 atoms"):
        atomprint.pretrain(corpora, settings=config(max_atoms=1))
