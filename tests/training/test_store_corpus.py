"""A store trains like the list of its crystals, and is never loaded into memory."""

import numpy as np
import pytest
import torch

from atomprint.api import load_config
from atomprint.api import pretrain as pretrain_from
from atomprint.data.embedded import CORPUS
from atomprint.data.mixing import Corpus
from atomprint.data.selection import Selection
from atomprint.data.store import Store, StoreWriter
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from atomprint.training.corpora import hash_corpus, prepare
from atomprint.training.pretrain import PretrainSettings, pretrain


@pytest.fixture(scope="module")
def rows():
    return read_crystals(CORPUS).crystals[:90]


@pytest.fixture(scope="module")
def store(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "s"
    with StoreWriter(path, exact=True, shard_crystals=40) as writer:
        writer.extend(rows)
    return Store(path)


def settings(n_steps=4):
    return PretrainSettings.model_validate(
        {
            "model": {"backbone": {"kind": "painn", "n_channels": 8, "n_layers": 1}, "n_hidden": 8},
            "loop": {"n_steps": n_steps, "device": "cpu", "batch": {"max_crystals": 8}},
            "valid_fraction": 0.1,
        }
    )


def assert_equal(one, other):
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name]), name


def test_the_same_weights_as_from_a_list(rows, store):
    assert_equal(pretrain(rows, settings()), pretrain(store, settings()))


def test_the_same_weights_in_a_mixture(rows, store):
    def mixture(first, second):
        return {"a": Corpus(first, 2.0), "b": Corpus(second, 1.0)}

    from_lists = pretrain(mixture(rows[:50], rows[50:]), settings())
    from_store = pretrain(mixture(store[:50], store[50:]), settings())
    assert_equal(from_lists, from_store)


def test_resumed_from_a_store(store, tmp_path):
    whole = pretrain(store, settings(6))
    again = settings(6).model_copy(
        update={"loop": settings(6).loop.model_copy(update={"checkpoint_every": 3})}
    )

    class Stopped(Exception):
        pass

    def stop(step, total, numbers):
        if step == 4:
            raise Stopped

    with pytest.raises(Stopped):
        pretrain(store, again, tmp_path / "run", progress=stop)
    assert_equal(whole, pretrain(store, again, tmp_path / "run", resume=True))


def test_no_crystal_is_made_before_it_is_drawn(store, monkeypatch):
    made = []
    original = Store.__getitem__

    def watched(self, index):
        made.append(index)
        return original(self, index)

    monkeypatch.setattr(Store, "__getitem__", watched)
    config = settings()
    material = prepare(store, 6.0, config.loop.batch, 0.1, 0)
    assert len(material.train) + len(material.valid[0]) == len(store)
    assert isinstance(material.train, Selection)
    assert not made
    assert isinstance(material.train[0], Crystal)
    assert len(made) == 1


def test_hashes_tell_corpora_apart(store):
    whole = hash_corpus(store)
    assert whole == store.hash()
    parts = {hash_corpus(store[:50]), hash_corpus(store[50:]), hash_corpus(store[::2]), whole}
    assert len(parts) == 4


def test_the_verb_takes_a_store_and_its_limit_of_atoms(rows, store, tmp_path):
    config = load_config(None, []).model_copy(
        update={**{n: getattr(settings(), n) for n in ("model", "loop")}, "max_atoms": 6}
    )
    found = pretrain_from(store.path, tmp_path / "run", settings=config, device="cpu")
    n_small = int(np.sum([c.n_atoms <= 6 for c in rows]))
    assert 0 < found.n_crystals <= n_small < len(rows)
