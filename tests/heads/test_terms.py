"""Licence and citation of a corpus go with every model that comes from it."""

import json

import pytest

import atomprint
from atomprint.api import PretrainConfig
from atomprint.data.store import Provenance, StoreWriter
from atomprint.heads.terms import NOT_STATED, terms_of_model, write_card
from tests.toy import toy_crystals
from tests.training.tiny import tiny_finetuning, tiny_pretraining

OURS = {"source": "ours", "licence": "CC0", "citation": "us (2026)"}
THEIRS = {"source": "theirs", "licence": NOT_STATED, "citation": ""}


def config(**more):
    tiny = tiny_pretraining(n_steps=2)
    return PretrainConfig(**{k: getattr(tiny, k) for k in type(tiny).model_fields}, **more)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for name, part in (("a", Provenance(**OURS)), ("b", Provenance(source="theirs"))):
        with StoreWriter(folder / name, provenance=[part]) as writer:
            writer.extend(toy_crystals(16, seed=len(name)))
    return folder


@pytest.fixture(scope="module")
def run(stores, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "pretrained"
    mixture = {str(stores / "a"): 2.0, str(stores / "b"): 1.0}
    # max_atoms makes selections of the stores.
    atomprint.pretrain(mixture, out, settings=config(max_atoms=4))
    return out


def read(path):
    return json.loads(path.read_text())


def test_a_pretraining_records_the_terms_of_its_stores(run):
    assert read(run / "run.json")["data"]["provenance"] == [OURS, THEIRS]
    assert read(run / "model.json")["notes"]["data"]["provenance"] == [OURS, THEIRS]
    assert terms_of_model(run) == [OURS, THEIRS]


def test_the_card_says_it_to_people(run):
    card = (run / "card.md").read_text()
    assert "- ours. Licence: CC0. Cite: us (2026)." in card
    assert "- theirs. Licence: not stated." in card
    assert "look it up before you pass the model on" in card


def test_a_finetuned_model_inherits_them_and_its_twin_does_not(run, tmp_path):
    out = tmp_path / "tuned"
    atomprint.finetune(run, toy_crystals(20), "energy", out, twin=True, settings=tiny_finetuning(2))
    assert read(out / "run.json")["data"]["provenance"] == [OURS, THEIRS]
    assert terms_of_model(out) == [OURS, THEIRS]
    assert "- ours. Licence: CC0" in (out / "card.md").read_text()
    assert terms_of_model(out / "twin") == []


def test_a_pretraining_that_starts_from_a_model_adds_to_its_terms(run, stores, tmp_path):
    from atomprint.api import pretrain

    new = tmp_path / "c"
    with StoreWriter(new, provenance=[Provenance(source="new", licence="MIT")]) as writer:
        writer.extend(toy_crystals(16))
    pretrain(str(new), tmp_path / "run", settings=config(source=str(run)))
    found = terms_of_model(tmp_path / "run")
    assert [part["source"] for part in found] == ["ours", "theirs", "new"]


def test_what_comes_with_the_package_says_its_own():
    (part,) = terms_of_model("atomprint/tiny")
    assert part["licence"].startswith("MIT")


def test_files_and_crystals_without_terms_are_said_to_have_none(tmp_path):
    atomprint.pretrain(toy_crystals(16), tmp_path / "run", settings=config())
    assert terms_of_model(tmp_path / "run") == [
        {"source": "crystals given in Python", "licence": NOT_STATED, "citation": ""}
    ]


def test_a_card_of_a_model_from_scratch(tmp_path):
    card = write_card(tmp_path, "finetune", [], {"predicts": "energy"}).read_text()
    assert "trained from scratch" in card
    assert "| predicts | energy |" in card
