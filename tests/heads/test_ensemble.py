"""Ensembles: the mean of their members, on disk as in memory."""

import json

import numpy as np
import pytest
import torch

from atomprint.ground.errors import DataError
from atomprint.heads.ensemble import Ensemble
from atomprint.heads.model import Model
from atomprint.heads.saved import ModelInfo, load_model, save_model
from atomprint.heads.target import Target
from atomprint.training.predict import embed, predict, predict_members
from tests.toy import toy_crystals
from tests.training.tiny import TINY_MODEL

TARGETS = [Target(name="energy", unit="eV"), Target(name="kind", size=3, task="classification")]


@pytest.fixture(scope="module")
def members():
    torch.manual_seed(0)
    made = [Model(TINY_MODEL, TARGETS).eval() for _ in range(3)]
    labels = torch.linspace(1, 3, 9)[:, None]
    for model in made:
        model.standardizer("energy").fit(labels)
    return made


def test_the_prediction_is_the_mean(members):
    crystals = toy_crystals(4)
    whole = predict(Ensemble(members), crystals)
    each = [predict(model, crystals) for model in members]
    for name in ("energy", "kind"):
        np.testing.assert_allclose(whole[name], np.mean([p[name] for p in each], 0), rtol=1e-6)
    np.testing.assert_allclose(whole["kind"].sum(1), 1, rtol=1e-6)
    assert np.std([p["energy"] for p in each], axis=0).min() > 0
    for one, other in zip(predict_members(Ensemble(members), crystals), each, strict=True):
        np.testing.assert_array_equal(one["energy"], other["energy"])


def test_further_training_starts_from_the_first(members):
    ensemble = Ensemble(members)
    assert ensemble.backbone is members[0].backbone
    assert ensemble.cutoff == members[0].cutoff
    crystals = toy_crystals(3)
    np.testing.assert_array_equal(embed(ensemble, crystals), embed(members[0], crystals))


def test_standardised_means_are_means_in_units(members):
    from atomprint.structures.graph import GraphBatch

    graph = GraphBatch.from_crystals(toy_crystals(3), 4.0)
    ensemble = Ensemble(members)
    inverted = ensemble.standardizer("energy").inverse(ensemble(graph)["energy"])
    torch.testing.assert_close(inverted, ensemble.predict(graph)["energy"])


def test_members_are_alike(members):
    with pytest.raises(ValueError, match="same settings and targets"):
        Ensemble([members[0], Model(TINY_MODEL, TARGETS[:1])])


@pytest.fixture
def saved(members, tmp_path):
    ensemble = Ensemble(members)
    save_model(tmp_path, ensemble, ensemble.state_dict(), ModelInfo("finetune", {}))
    return tmp_path, predict(ensemble, toy_crystals(3))


def test_what_was_written_predicts_the_same(saved):
    folder, expected = saved
    model, _ = load_model(folder)
    assert isinstance(model, Ensemble)
    found = predict(model, toy_crystals(3))
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("number", [0, 1, 2, 4, -1, 10**12, "three", None])
def test_another_number_of_members_is_refused(saved, number):
    folder, _ = saved
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"n_members": number}))
    with pytest.raises(DataError, match=r"cannot be read|not a readable model") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
