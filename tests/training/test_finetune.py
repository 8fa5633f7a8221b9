"""Fine-tuning: parts, missing labels, classes, vectors per atom, the twin, transfer."""

import csv
import json

import numpy as np
import pytest
import torch

from atomprint.evaluation.twin import Parts, run_twins, split_labelled
from atomprint.ground.errors import DataError
from atomprint.heads.ensemble import Ensemble
from atomprint.heads.model import Model
from atomprint.heads.target import Target
from atomprint.training.checkpoint import load_model
from atomprint.training.finetune import finetune
from atomprint.training.predict import embed, labels_of, predict
from atomprint.training.pretrain import pretrain
from atomprint.training.transfer import transfer_backbone
from tests.toy import toy_crystals
from tests.training.tiny import TINY_MODEL, tiny_finetuning, tiny_pretraining

ENERGY = Target(name="energy", unit="eV")


@pytest.fixture(scope="module")
def source():
    return pretrain(toy_crystals(24, seed=9), tiny_pretraining(n_steps=5)).model


def parts_of(crystals):
    return split_labelled(crystals[:30], crystals[30:], None, 0.2, seed=1)


def test_parts_are_disjoint_and_counted():
    crystals = toy_crystals(40)
    parts = split_labelled(crystals[:30], crystals[30:], 20, 0.25, seed=3)
    ids = [{c.id for c in part} for part in (parts.train, parts.valid, parts.test)]
    assert [len(i) for i in ids] == [15, 5, 10]
    assert not (ids[0] & ids[1]) | (ids[0] & ids[2]) | (ids[1] & ids[2])
    with pytest.raises(DataError, match="asks for 31"):
        split_labelled(crystals[:30], crystals[30:], 31, 0.25, seed=3)
    with pytest.raises(DataError, match="too few"):
        split_labelled(crystals[:30], crystals[30:], 4, 0.25, seed=3)


def test_training_learns_and_the_twin_shares_everything_but_the_start(source, tmp_path):
    crystals = toy_crystals(40)
    out = tmp_path / "run"
    out.mkdir()
    settings = tiny_finetuning(n_steps=150)
    outcome = run_twins(
        parts_of(crystals), [ENERGY], settings, TINY_MODEL, source, twin=True, out=out
    )
    row = outcome.results[0]
    wanted = labels_of(crystals[30:], "energy", "crystal")
    baseline = float(np.abs(wanted - np.median(wanted)).mean())
    assert row["value"] < 0.7 * baseline
    assert row["twin_value"] < 0.7 * baseline
    assert row["gain"] == pytest.approx(1 - row["value"] / row["twin_value"])
    assert (row["n_train"], row["n_valid"], row["n_test"]) == (30, 6, 10)
    _check_interval(row, out / "predictions.csv")
    # The number in the table is the error of the predictions in the file.
    lines = [line.split(",") for line in (out / "predictions.csv").read_text().splitlines()]
    assert lines[0] == ["id", "part", "energy", "energy_predicted", "energy_twin"]
    test = [line for line in lines if line[1] == "test"]
    errors = [abs(float(line[3]) - float(line[2])) for line in test]
    assert np.mean(errors) == pytest.approx(row["value"])
    again, _ = load_model(out)
    np.testing.assert_allclose(
        predict(again, crystals[30:])["energy"][:, 0], [float(line[3]) for line in test], rtol=1e-6
    )


def test_the_test_part_decides_nothing(source):
    """Absurd test labels change no weight and no chosen rate."""
    crystals = toy_crystals(40)
    spoiled = crystals[:30] + [c.with_labels({"energy": 1e6}) for c in crystals[30:]]
    settings = tiny_finetuning(n_steps=10)
    honest, absurd = (
        run_twins(parts_of(c), [ENERGY], settings, TINY_MODEL, source, twin=False)
        for c in (crystals, spoiled)
    )
    assert absurd.results[0]["value"] > 1e5
    for a, b in zip(
        honest.model.state_dict().values(), absurd.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("refit", [False, True])
def test_normaliser_is_fitted_on_what_is_trained_on_alone(source, refit):
    crystals = toy_crystals(40)
    settings = tiny_finetuning(3).model_copy(update={"refit": refit})
    result = finetune(crystals[:20], crystals[20:30], [ENERGY], TINY_MODEL, settings, source)
    values = labels_of(crystals[: 30 if refit else 20], "energy", "crystal")
    assert float(result.model.standardizer("energy").mean) == pytest.approx(values.mean(), rel=1e-5)
    assert float(result.model.standardizer("energy").scale) == pytest.approx(values.std(), rel=1e-5)


def test_the_last_run_has_all_labels_and_the_chosen_rate(source):
    """What is kept is what training on everything with that one rate gives."""
    crystals = toy_crystals(40)
    train, valid = crystals[:30], crystals[30:]
    settings = tiny_finetuning(12)
    kept = finetune(train, valid, [ENERGY], TINY_MODEL, settings, source)
    rate = kept.trials[kept.chosen].learning_rate
    alone = settings.model_copy(update={"learning_rates": (rate,), "refit": False})
    everything = finetune(crystals, valid, [ENERGY], TINY_MODEL, alone, source)
    # Steps are set, so that both have as many.
    for name, value in kept.model.state_dict().items():
        torch.testing.assert_close(value, everything.model.state_dict()[name], rtol=0, atol=0)
    before = finetune(train, valid, [ENERGY], TINY_MODEL, alone, source)
    np.testing.assert_array_equal(kept.held_out["energy"], before.held_out["energy"])
    np.testing.assert_array_equal(kept.held_out["energy"], predict(before.model, valid)["energy"])
    assert kept.trials[kept.chosen].valid_value == before.trials[0].valid_value


def test_intervals_are_made_of_errors_on_crystals_not_trained_on(source, tmp_path):
    parts = parts_of(toy_crystals(40))
    settings = tiny_finetuning(12)
    run_twins(parts, [ENERGY], settings, TINY_MODEL, source, twin=False, out=tmp_path)
    alone = finetune(parts.train, parts.valid, [ENERGY], TINY_MODEL, settings, source)
    kept = json.loads((tmp_path / "held_out.json").read_text())["energy"]
    np.testing.assert_allclose(kept["predicted"], alone.held_out["energy"], rtol=1e-6)
    after = predict(alone.model, parts.valid)["energy"]
    assert np.abs(np.array(kept["predicted"]) - after).max() > 1e-3
    rows = [
        r for r in csv.DictReader((tmp_path / "predictions.csv").open()) if r["part"] == "valid"
    ]
    found = [[float(r["energy_predicted"])] for r in rows]
    np.testing.assert_allclose(found, alone.held_out["energy"], rtol=1e-6)


@pytest.mark.parametrize("refit", [True, False])
def test_members_differ_in_their_seeds_alone(source, refit):
    crystals = toy_crystals(30)
    train, valid = crystals[:22], crystals[22:]
    settings = tiny_finetuning(n_steps=10).model_copy(update={"refit": refit})
    steps = []

    def trained(n_members, progress=None):
        several = settings.model_copy(update={"n_members": n_members})
        return finetune(train, valid, [ENERGY], TINY_MODEL, several, source, progress)

    one = trained(1)
    three = trained(3, lambda step, total, numbers: steps.append((step, total)))
    assert isinstance(three.model, Ensemble)
    # Two rates; then three more runs, or the better of the two and two more.
    assert steps[-1] == (10 * (5 if refit else 4),) * 2
    assert [step for step, _ in steps] == list(range(1, len(steps) + 1))
    each = [predict(model, valid)["energy"] for model in three.model.models]
    np.testing.assert_array_equal(each[0], predict(one.model, valid)["energy"])
    assert not np.allclose(each[1], each[0])
    assert not np.allclose(each[2], each[1])
    # Made by networks that have not seen these crystals.
    expected = one.held_out["energy"] if refit else np.mean(each, 0)
    np.testing.assert_allclose(three.held_out["energy"], expected, rtol=1e-6)
    again = predict(trained(3).model, valid)["energy"]
    np.testing.assert_array_equal(again, predict(three.model, valid)["energy"])


def test_the_last_weights_are_kept_or_with_patience_the_best(source):
    crystals = toy_crystals(40)
    train, valid = crystals[:30], crystals[30:]
    # What is learned is wrong for those that validate: the longer, the worse.
    mean = np.mean([crystal.labels["energy"] for crystal in crystals])
    valid = [one.with_labels({"energy": 2 * mean - one.labels["energy"]}) for one in valid]
    given = tiny_finetuning(60).model_copy(update={"learning_rates": (0.01,)})

    def trial(patience):
        loop = given.loop.model_copy(update={"patience": patience})
        settings = given.model_copy(update={"loop": loop})
        return finetune(train, valid, [ENERGY], TINY_MODEL, settings, source).trials[0]

    last, best = trial(0), trial(50)
    values = [row["valid/value"] for row in last.history if "valid/value" in row]
    assert (last.step, last.valid_value) == (60, pytest.approx(values[-1], rel=1e-6))
    assert best.valid_value == pytest.approx(min(values), rel=1e-6)
    assert best.step < 60
    assert best.valid_value < last.valid_value


def test_missing_labels_of_several_targets_do_not_count(source):
    """Half the crystals lack one label or the other; the predictions of both are learned."""
    rng = np.random.default_rng(0)
    crystals = []
    for crystal in toy_crystals(60):
        energy = crystal.labels["energy"]
        labels = {"energy": energy} if rng.random() < 0.5 else {"twice": 2 * energy + 1}
        crystals.append(crystal.with_labels(labels))
    targets = [ENERGY, Target(name="twice")]
    result = finetune(
        crystals[:45], crystals[45:], targets, TINY_MODEL, tiny_finetuning(150), source
    )
    predicted = result.held_out
    both = np.concatenate([predicted["energy"], predicted["twice"]], axis=1)
    np.testing.assert_allclose(both[:, 1], 2 * both[:, 0] + 1, atol=1.0)
    assert np.isfinite(both).all()


def test_classification_of_two_and_three_classes(source):
    settings = tiny_finetuning(80).model_copy(update={"learning_rates": (1e-3, 2e-2)})
    for n_classes in (2, 3):
        edges = [-1.45, -1.3][: n_classes - 1]
        crystals = [
            c.with_labels({"kind": float(np.digitize(c.labels["energy"], edges))})
            for c in toy_crystals(120)
        ]
        target = Target(name="kind", size=n_classes, task="classification")
        outcome = run_twins(
            split_labelled(crystals[:80], crystals[80:], None, 0.2, 0),
            [target], settings, TINY_MODEL, source, twin=True,
        )  # fmt: skip
        assert outcome.results[0]["metric"] == ("ROC-AUC error" if n_classes == 2 else "error rate")
        # The most frequent class alone would be wrong on 0.375 of the test part.
        assert outcome.results[0]["value"] < 0.25
        probabilities = predict(outcome.model, crystals[80:])["kind"]
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_targets_per_atom(source):
    crystals = [
        c.with_labels({"charge": np.where(c.numbers > 10, 1.0, -1.0)}) for c in toy_crystals(40)
    ]
    target = Target(name="charge", per="atom")
    outcome = run_twins(
        split_labelled(crystals[:30], crystals[30:], None, 0.2, 0),
        [target], tiny_finetuning(100), TINY_MODEL, source, twin=False,
    )  # fmt: skip
    assert outcome.results[0]["value"] < 0.3
    predicted = predict(outcome.model, crystals[30:])["charge"]
    assert len(predicted) == sum(c.n_atoms for c in crystals[30:])


def test_too_few_labels_are_named(source):
    crystals = [c.with_labels({}) for c in toy_crystals(10)]
    with pytest.raises(DataError, match=r"target 'energy' has 0 labels in the training part"):
        finetune(crystals, crystals, [ENERGY], TINY_MODEL, tiny_finetuning(3), source)


def test_transfer_reports_every_weight(source):
    model = Model(TINY_MODEL, [ENERGY])
    report = transfer_backbone(source, model)
    assert set(report.loaded) | set(report.new) == set(model.state_dict())
    assert all(name.startswith("backbone.") for name in report.loaded)
    for name in report.loaded:
        torch.testing.assert_close(model.state_dict()[name], source.state_dict()[name])


def test_embeddings_are_the_mean_over_atoms(source):
    crystals = toy_crystals(5)
    per_crystal = embed(source, crystals)
    per_atom = embed(source, crystals, per="atom")
    start = 0
    for row, crystal in zip(per_crystal, crystals, strict=True):
        stop = start + crystal.n_atoms
        np.testing.assert_allclose(row, per_atom[start:stop].mean(0), rtol=1e-5, atol=1e-7)
        start = stop


def test_empty_test_part_gives_null_not_nan(source):
    crystals = toy_crystals(20)
    outcome = run_twins(
        Parts(crystals[:15], crystals[15:], []),
        [ENERGY], tiny_finetuning(2), TINY_MODEL, source, twin=True,
    )  # fmt: skip
    assert outcome.results[0]["value"] is None
    assert outcome.results[0]["gain"] is None


def _check_interval(row, predictions):
    """The interval of the gain is that of drawing the test crystals anew, done here by hand."""
    rows = [r for r in csv.DictReader(predictions.open()) if r["part"] == "test"]
    wanted = np.array([float(r["energy"]) for r in rows])
    errors = [
        np.abs(np.array([float(r[name]) for r in rows]) - wanted)
        for name in ("energy_predicted", "energy_twin")
    ]
    picks = np.random.default_rng(5).integers(len(rows), size=(20_000, len(rows)))
    drawn = 1 - errors[0][picks].mean(1) / errors[1][picks].mean(1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    width = high - low
    assert row["gain_interval"] == pytest.approx([low, high], abs=0.15 * width)
    assert low < row["gain"] < high
