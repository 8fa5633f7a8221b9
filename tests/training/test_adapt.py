"""Adaptation: from the pre-trained weights, on structures alone, and never on the test part."""

import shutil
from dataclasses import replace

import pytest
import torch

import atomprint
from atomprint.api import PretrainConfig
from atomprint.backbones import PaiNNSettings
from atomprint.evaluation.twin import run_twins, split_labelled
from atomprint.fingerprints import EADSettings
from atomprint.ground.errors import UsageError
from atomprint.heads.model import ModelSettings
from atomprint.heads.target import Target
from atomprint.objectives import FingerprintObjectiveSettings
from atomprint.training.adapt import AdaptSettings, adapt
from atomprint.training.checkpoint import load_model
from atomprint.training.finetune import finetune
from atomprint.training.pretrain import STATE, pretrain
from tests.toy import toy_crystals
from tests.training.tiny import TINY_MODEL, tiny_finetuning, tiny_loop, tiny_pretraining

ENERGY = Target(name="energy", unit="eV")
ADAPT = AdaptSettings(
    n_steps=4,
    objectives=(
        FingerprintObjectiveSettings(fingerprints=(EADSettings(cutoff=4.0, n_shells=3, l_max=2),)),
    ),
)


@pytest.fixture(scope="module")
def source():
    return pretrain(toy_crystals(24, seed=9), tiny_pretraining(n_steps=5)).model


def tiny_config(n_steps):
    return PretrainConfig(**dict(tiny_pretraining(n_steps)))


def weights(model):
    return {name: value.clone() for name, value in model.backbone.state_dict().items()}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_it_starts_from_the_source_and_leaves_it_alone(source):
    before = weights(source)
    standing = adapt(
        source, toy_crystals(16), ADAPT.model_copy(update={"learning_rate": 1e-30}), tiny_loop()
    )
    moved = adapt(source, toy_crystals(16), ADAPT, tiny_loop())
    assert same(weights(standing), before)
    assert not same(weights(moved), before)
    assert same(weights(source), before)


def test_labels_are_not_looked_at(source):
    crystals = toy_crystals(16)
    absurd = [crystal.with_labels({"energy": 1e6, "displacement": 1.0}) for crystal in crystals]
    one, other = (adapt(source, some, ADAPT, tiny_loop()) for some in (crystals, absurd))
    assert same(weights(one), weights(other))


def test_structures_without_labels_count(source):
    crystals = toy_crystals(30)
    settings = tiny_finetuning(3).model_copy(update={"adapt": ADAPT})
    bare = [crystal.with_labels({}) for crystal in crystals[20:]]
    alone, with_others = (
        finetune(
            crystals[:14], crystals[14:20], [ENERGY], TINY_MODEL, settings, source,
            unlabelled=others,
        ).model
        for others in ((), bare)
    )  # fmt: skip
    assert not same(weights(alone), weights(with_others))


def test_the_test_part_is_not_adapted_to(source):
    crystals = toy_crystals(40)
    squeezed = [replace(c, positions=0.9 * c.positions, cell=0.9 * c.cell) for c in crystals[30:]]
    settings = tiny_finetuning(3).model_copy(update={"adapt": ADAPT})
    one, other = (
        run_twins(
            split_labelled(crystals[:30], judged, None, 0.2, seed=1),
            [ENERGY],
            settings,
            TINY_MODEL,
            source,
            twin=False,
        )
        for judged in (crystals[30:], squeezed)
    )
    assert one.results[0]["value"] != other.results[0]["value"]
    assert same(weights(one.model), weights(other.model))


def test_the_twin_is_as_it_was(source):
    crystals = toy_crystals(40)
    parts = split_labelled(crystals[:30], crystals[30:], None, 0.2, seed=1)
    plain, adapted = (
        run_twins(parts, [ENERGY], settings, TINY_MODEL, source, twin=True)
        for settings in (
            tiny_finetuning(3),
            tiny_finetuning(3).model_copy(update={"adapt": ADAPT}),
        )
    )
    assert plain.twin is not None
    assert adapted.twin is not None
    assert same(weights(plain.twin), weights(adapted.twin))
    assert not same(weights(plain.model), weights(adapted.model))


def test_progress_counts_adaptation_too(source):
    crystals = toy_crystals(30)
    settings = tiny_finetuning(3).model_copy(update={"adapt": ADAPT})
    seen = []
    finetune(
        crystals[:20], crystals[20:], [ENERGY], TINY_MODEL, settings, source,
        lambda step, total, numbers: seen.append((step, total)),
    )  # fmt: skip
    # Adaptation, two rates, and once more with the better one.
    assert seen == [(step, 4 + 3 * 3) for step in range(1, 14)]


def test_a_run_goes_on_from_another_run(source, tmp_path):
    settings = PretrainConfig.model_validate(tiny_pretraining(4).model_dump(exclude={"model"}))
    first = tmp_path / "first"
    atomprint.pretrain(
        toy_crystals(24), first, settings=PretrainConfig(**dict(tiny_pretraining(4)))
    )
    second = tmp_path / "second"
    result = atomprint.pretrain(toy_crystals(24, seed=3), second, source=first, settings=settings)
    assert result.model.settings == TINY_MODEL
    # Killed before its first checkpoint it starts anew: from the other run, not from dice.
    wanted = weights(result.model)
    (second / STATE).unlink()
    again = atomprint.pretrain(toy_crystals(24, seed=3), resume=second)
    assert same(weights(again.model), wanted)
    fresh = atomprint.pretrain(toy_crystals(24, seed=3), settings=tiny_config(4))
    assert not same(weights(fresh.model), wanted)


def test_another_network_is_refused(source, tmp_path):
    first = tmp_path / "first"
    atomprint.pretrain(
        toy_crystals(24), first, settings=PretrainConfig(**dict(tiny_pretraining(1)))
    )
    wider = ModelSettings(backbone=PaiNNSettings(cutoff=4.0, n_channels=16))
    with pytest.raises(UsageError, match="leave model out"):
        atomprint.pretrain(toy_crystals(24), source=first, settings=PretrainConfig(model=wider))
    with pytest.raises(UsageError, match="another backbone"):
        pretrain(
            toy_crystals(24), tiny_pretraining(1).model_copy(update={"model": wider}), start=source
        )


def test_a_stopped_run_goes_on_without_the_run_it_started_from(tmp_path):
    crystals = toy_crystals(24)
    first, second, whole = (tmp_path / name for name in ("first", "second", "whole"))
    settings = tiny_config(20)
    atomprint.pretrain(crystals, first, settings=settings)

    class Enough(Exception):
        pass

    def stop(stage, step, total, numbers):
        if stage == "pretrain" and step == 12:
            raise Enough

    loop = settings.loop.model_copy(update={"checkpoint_every": 5})
    settings = settings.model_copy(update={"loop": loop})
    atomprint.pretrain(crystals, whole, source=first, settings=settings)
    with pytest.raises(Enough):
        atomprint.pretrain(crystals, second, source=first, settings=settings, progress=stop)
    shutil.rmtree(first)
    atomprint.pretrain(crystals, resume=second)
    for name, value in load_model(whole)[0].state_dict().items():
        torch.testing.assert_close(value, load_model(second)[0].state_dict()[name], rtol=0, atol=0)
    cards = [(folder / "card.md").read_text() for folder in (whole, second)]
    assert cards[0] == cards[1]
