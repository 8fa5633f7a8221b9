"""The verbs from Python: several kinds of targets, classes, crystals in hand."""

import numpy as np
import pytest

import atomprint
from atomprint.api import PretrainConfig
from atomprint.ground.errors import DataError, UsageError
from atomprint.training.predict import predict
from tests.toy import toy_crystals
from tests.training.tiny import tiny_finetuning, tiny_pretraining


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    out = tmp_path_factory.mktemp("api") / "pretrained"
    tiny = tiny_pretraining(n_steps=3)
    config = PretrainConfig(**{k: getattr(tiny, k) for k in type(tiny).model_fields})
    atomprint.pretrain(toy_crystals(20), out, settings=config)
    return out


def labelled(n=40):
    return [
        c.with_labels(
            {
                "energy": c.labels["energy"],
                "charge": np.where(c.numbers > 10, 1.0, -1.0),
                "heavy": float(c.numbers.max() > 17),
            }
        )
        for c in toy_crystals(n)
    ]


def test_targets_per_atom_and_per_crystal_at_once(pretrained, tmp_path):
    out = tmp_path / "run"
    outcome = atomprint.finetune(
        pretrained, labelled(), ["energy", "charge"], out, settings=tiny_finetuning(3)
    )
    assert [row["target"] for row in outcome.results] == ["energy", "charge"]
    crystals = toy_crystals(3)
    with pytest.raises(UsageError, match="per atom and per crystal"):
        atomprint.predict(out, crystals)
    per_crystal = atomprint.predict(out, crystals, per="crystal")
    assert (list(per_crystal.values), len(per_crystal.ids)) == (["energy_predicted"], 3)
    per_atom = atomprint.predict(out, crystals, per="atom")
    assert per_atom.array().shape == (sum(c.n_atoms for c in crystals), 1)


def test_classes_are_whole_numbers(pretrained, tmp_path):
    outcome = atomprint.finetune(
        pretrained, labelled(), "heavy", tmp_path / "run",
        task="classification", settings=tiny_finetuning(3),
    )  # fmt: skip
    assert outcome.results[0]["metric"] == "ROC-AUC error"
    found = atomprint.predict(tmp_path / "run", toy_crystals(4)).values["heavy_predicted"]
    assert ((found >= 0) & (found <= 1)).all()
    with pytest.raises(DataError, match="classes are whole numbers"):
        atomprint.finetune(pretrained, labelled(), "energy", task="classification")


def test_an_ensemble_says_how_far_its_members_differ(pretrained, tmp_path):
    settings = tiny_finetuning(3).model_copy(update={"n_members": 3})
    out = tmp_path / "three"
    outcome = atomprint.finetune(pretrained, labelled(), "energy", out, settings=settings)
    found = atomprint.predict(out, toy_crystals(5))
    assert list(found.values) == ["energy_predicted", "energy_spread"]
    assert found.units["energy_spread"] == found.units["energy_predicted"]
    each = [predict(model, toy_crystals(5))["energy"][:, 0] for model in outcome.model.models]
    np.testing.assert_allclose(found.values["energy_predicted"], np.mean(each, 0), rtol=1e-6)
    np.testing.assert_allclose(found.values["energy_spread"], np.std(each, 0, ddof=1), rtol=1e-5)
    # Classes have probabilities, and no spread.
    atomprint.finetune(
        pretrained, labelled(), "heavy", tmp_path / "two",
        task="classification", settings=settings.model_copy(update={"n_members": 2}),
    )  # fmt: skip
    assert list(atomprint.predict(tmp_path / "two", toy_crystals(5)).values) == ["heavy_predicted"]


def test_the_same_split_whatever_the_order(pretrained):
    crystals = labelled()
    settings = tiny_finetuning(3)
    runs = [
        atomprint.finetune(pretrained, c, "energy", settings=settings).results[0]["n_test"]
        for c in (crystals, crystals[::-1])
    ]
    assert runs == [8, 8]


def test_mistakes_are_named(pretrained, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'energy'"):
        atomprint.finetune(pretrained, labelled(), "enrgy")
    with pytest.raises(UsageError, match="only pre-trained"):
        atomprint.predict(pretrained, toy_crystals(2))
    with pytest.raises(UsageError, match="unknown fingerprint 'sop'"):
        atomprint.fingerprint(toy_crystals(2), "sop")
    with pytest.raises(UsageError, match=r"ends in \.parquet or \.csv"):
        atomprint.fingerprint(toy_crystals(2), "rdf", tmp_path / "f.txt")


def test_embedded_stands_for_the_corpus_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = tiny_pretraining(n_steps=2)
    config = PretrainConfig(**{k: getattr(tiny, k) for k in type(tiny).model_fields})
    config = config.model_copy(update={"max_atoms": 4})
    result = atomprint.pretrain("embedded", settings=config)
    assert result.n_crystals > 500


def test_fingerprints_carry_names_units_and_their_id(tmp_path):
    import json

    import pyarrow.parquet as pq

    table = atomprint.fingerprint(toy_crystals(3), "ead", tmp_path / "f.parquet", cutoff=4.0)
    read = pq.read_table(tmp_path / "f.parquet")
    about = json.loads(read.schema.metadata[b"atomprint"])
    assert about["settings"]["cutoff"] == 4.0
    assert about["fingerprint_id"] == table.about["fingerprint_id"]
    assert set(about["units"]) == set(read.column_names) - {"id", "atom"}
    other = atomprint.fingerprint(toy_crystals(3), "ead", cutoff=4.5)
    assert other.about["fingerprint_id"] != table.about["fingerprint_id"]
