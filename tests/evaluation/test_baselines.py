"""Baselines and probes: what they must not see, and what they must find."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from atomprint.evaluation import regressors
from atomprint.evaluation.arms import without_labels
from atomprint.evaluation.baselines import Baseline, baselines
from atomprint.evaluation.composition import composition_features, names, valence_electrons
from atomprint.evaluation.features import FeatureCache
from atomprint.evaluation.probes import Probe, pooled_layers, probes
from atomprint.evaluation.regressors import tune
from atomprint.ground.elements import atomic_number
from atomprint.ground.errors import DataError, UsageError
from atomprint.heads.model import Model, ModelSettings
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from tests.toy import toy_crystals

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
ENERGY = Target(name="energy", unit="eV")
GOLDEN = json.loads((Path(__file__).parent / "magpie_golden.json").read_text())["rows"]


@pytest.fixture(autouse=True)
def small_forests(monkeypatch):
    monkeypatch.setattr(regressors, "N_TREES", 20)
    monkeypatch.setattr(regressors, "N_ROUNDS", 20)


def compound(*atoms, id="x"):
    numbers = [atomic_number[a] for a in atoms]
    return Crystal.make(id, numbers, np.eye(3) * 5, frac=np.zeros((len(atoms), 3)))


def features(*atoms):
    return dict(zip(names(), composition_features([compound(*atoms)])[0], strict=True))


def model(layers=2):
    backbone = {"kind": "painn", "cutoff": 4.0, "n_channels": 8, "n_layers": layers, "n_radial": 4}
    return Model(ModelSettings.model_validate({"backbone": backbone}), [ENERGY])


def test_statistics_of_iron_oxide_by_hand():
    found = features("Fe", "Fe", "O", "O", "O")
    assert found["number.mean"] == pytest.approx(0.4 * 26 + 0.6 * 8)  # 15.2
    assert found["number.deviation"] == pytest.approx(0.4 * 10.8 + 0.6 * 7.2)  # 8.64
    assert (found["number.minimum"], found["number.maximum"]) == (8, 26)
    assert (found["number.range"], found["number.mode"]) == (18, 8)
    assert found["norm.2"] == pytest.approx(np.sqrt(0.16 + 0.36))
    # Fe s2 d6, O s2 p4: 2 s, 2.4 p, 2.4 d on average.
    assert found["fraction_of_d_electrons"] == pytest.approx(2.4 / 6.8)
    assert found["ionic_character.maximum"] == pytest.approx(1 - np.exp(-0.25 * (3.44 - 1.83) ** 2))


@pytest.mark.parametrize("formula", sorted(GOLDEN))
def test_statistics_are_those_of_matminer(formula):
    from pymatgen.core import Composition

    counts = Composition(formula).get_el_amt_dict()
    found = features(*(symbol for symbol, n in counts.items() for _ in range(int(n))))
    for name, value in GOLDEN[formula].items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_electrons_add_up_to_those_beyond_the_noble_gas():
    table = valence_electrons()
    assert table[[24, 31, 18, 57, 79]].tolist() == [
        [2, 0, 4, 0], [2, 1, 10, 0], [2, 6, 0, 0], [2, 0, 0, 1], [2, 0, 9, 14]
    ]  # fmt: skip
    assert table[:, 0].max() == 2
    assert table[1:].sum(1).min() >= 1


def test_composition_cannot_tell_polymorphs_apart_and_fingerprints_can():
    crystals = toy_crystals(60)
    # Rock salt and zinc blende of the same elements.
    pair = [c for c in toy_crystals(400, seed=1) if c.formula == "GaAs" or c.formula == "LiF"]
    pair = [c for c in pair if c.formula == pair[0].formula][:2]
    arms = {a.name: a for a in baselines(ENERGY)}
    by_formula = arms["composition, random forest"].fit_predict(crystals, pair, ENERGY, 0)
    by_structure = arms["fingerprints, kernel ridge"].fit_predict(crystals, pair, ENERGY, 0)
    assert by_formula.predicted[0] == by_formula.predicted[1]
    assert abs(by_structure.predicted[0] - by_structure.predicted[1]) > 1e-4


ARMS = [*baselines(ENERGY), *probes("net", model())]


@pytest.mark.parametrize("arm", ARMS, ids=lambda a: a.name)
def test_neither_order_nor_labels_of_the_test_crystals_matter(arm):
    crystals, test = toy_crystals(40), toy_crystals(12, seed=3)
    first = arm.fit_predict(crystals, without_labels(test), ENERGY, 0)
    lies = [c.with_labels({"energy": 1e3}) for c in test]
    again = arm.fit_predict(crystals, lies[::-1], ENERGY, 0)
    np.testing.assert_allclose(again.predicted[::-1], first.predicted, atol=1e-5)
    assert first.predicted.shape == (12, 1)
    assert first.held_out[0].shape == (40, 1)
    json.dumps([arm.identity(), first.about])


@pytest.mark.parametrize("arm", ARMS, ids=lambda a: a.name)
def test_a_supercell_is_the_same_crystal(arm):
    crystals, test = toy_crystals(40), toy_crystals(6, seed=3)
    double = [
        Crystal.make(
            c.id + "-2", np.tile(c.numbers, 2), np.diag([1, 1, 2]) @ c.cell,
            positions=np.concatenate([c.positions, c.positions + c.cell[2]]),
        )
        for c in test
    ]  # fmt: skip
    found = arm.fit_predict(crystals, [*test, *double], ENERGY, 0).predicted
    np.testing.assert_allclose(found[6:], found[:6], atol=1e-4)


def test_shuffled_labels_teach_nothing():
    rng = np.random.default_rng(0)
    crystals = toy_crystals(80)
    labels = rng.permutation([c.labels["energy"] for c in crystals])
    shuffled = [c.with_labels({"energy": e}) for c, e in zip(crystals, labels, strict=True)]
    constant, *others = baselines(ENERGY)
    chance = constant.fit_predict(shuffled, [], ENERGY, 0).about["cross_validation"]
    for arm in others:
        score = arm.fit_predict(shuffled, [], ENERGY, 0).about["cross_validation"]
        assert score > 0.9 * chance, arm.name


def linear(n=120, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, 6))
    return rows, 7 + rows @ [3.0, -2, 0, 0, 1, 0.5]


def test_ridge_finds_a_linear_law():
    rows, labels = linear()
    fresh, wanted = linear(seed=1)
    tuned = tune("ridge", rows, labels, ENERGY, 0)
    np.testing.assert_allclose(tuned.predict(fresh)[:, 0], wanted, atol=0.02)


@pytest.mark.parametrize("name", ["knn", "forest", "kernel"])
def test_held_out_is_out_of_fold(name):
    # Labels are noise: a model that has seen a row would know its label.
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(100, 4)), rng.normal(size=100)
    tuned = tune(name, rows, labels, ENERGY, 0)
    assert np.abs(tuned.out_of_fold[:, 0] - labels).mean() > 0.7
    assert tuned.score == pytest.approx(np.abs(tuned.out_of_fold[:, 0] - labels).mean())


def test_a_memorising_model_is_shown_up(monkeypatch):
    monkeypatch.setitem(regressors.GRIDS, "knn", [{"n_neighbors": 1, "weights": "uniform"}])
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(100, 4)), rng.normal(size=100)
    tuned = tune("knn", rows, labels, ENERGY, 0)
    assert np.abs(tuned.predict(rows)[:, 0] - labels).max() < 1e-9
    assert np.abs(tuned.out_of_fold[:, 0] - labels).mean() > 0.7


def test_beyond_the_tuning_rows_every_row_is_out_of_fold(monkeypatch):
    monkeypatch.setattr(regressors, "MAX_TUNING_ROWS", 50)
    monkeypatch.setattr(regressors, "MAX_KERNEL_ROWS", 40)
    rows, labels = linear()
    for name in ("ridge", "kernel"):
        tuned = tune(name, rows, labels, ENERGY, 0)
        assert np.isfinite(tuned.out_of_fold).all()
        again = tune(name, rows, labels, ENERGY, 0)
        np.testing.assert_array_equal(tuned.out_of_fold, again.out_of_fold)


@pytest.mark.parametrize("name", ["constant", "ridge", "kernel", "knn", "forest", "boosting"])
def test_classes_are_told_apart(name):
    target = Target(name="metal", size=3, task="classification")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 90).astype(float)  # class 2 is never seen
    rows = rng.normal(size=(90, 3)) + 4 * labels[:, None]
    tuned = tune(name, rows, labels, target, 0)
    found = tuned.predict(rows)
    assert found.shape == (90, 3)
    assert (found[:, 2] == 0).all()
    np.testing.assert_allclose(found.sum(1), 1)
    if name != "constant":
        assert (found.argmax(1) == labels).mean() > 0.95


def test_too_few_labels_or_vectors_are_refused():
    arm = baselines(ENERGY)[1]
    with pytest.raises(DataError, match="too few"):
        arm.fit_predict(toy_crystals(4), [], ENERGY, 0)
    with pytest.raises(UsageError, match="several numbers"):
        arm.fit_predict(toy_crystals(9), [], Target(name="energy", size=3), 0)


def test_features_are_made_once_without_labels_and_within_bounds():
    calls = []

    def make(crystals):
        assert not any(c.labels for c in crystals)
        calls.append(len(crystals))
        return np.array([[round(c.volume)] * 4 for c in crystals])

    crystals = toy_crystals(10)
    cache = FeatureCache(max_bytes=32 * 10)
    first = cache.rows("a", crystals[:8], make)
    second = cache.rows("a", crystals[::-1], make)
    np.testing.assert_array_equal(second[::-1][:8], first)
    moved = [c.with_geometry(c.positions, c.cell * 1.5) for c in crystals]
    assert (cache.rows("a", moved, make) > second[::-1]).all()
    assert calls == [8, 2, 10]
    assert cache.n_bytes <= 320
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(cache.rows("b", crystals, lambda c: make(c) + 1), second)


def test_pooling_by_hand():
    net = model()
    crystals = toy_crystals(3)
    from atomprint.training.predict import embed

    rows, atoms = pooled_layers(net, crystals), embed(net, crystals, per="atom")
    start = 0
    for row, crystal in zip(rows, crystals, strict=True):
        own = atoms[start : (start := start + crystal.n_atoms)]
        wanted = np.concatenate([own.mean(0), own.std(0), own.max(0)])
        np.testing.assert_allclose(row[-24:], wanted, rtol=1e-5, atol=1e-6)
    last = Probe("net", net, "ridge", "last").features(crystals)
    np.testing.assert_allclose(last, rows[:, -24:], atol=1e-5)


def test_without_scikit_learn_the_extra_is_named():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import numpy as np\n"
        "from atomprint.evaluation.regressors import tune\n"
        "from atomprint.heads.target import Target\n"
        "tune('ridge', np.eye(9), np.arange(9.), Target(name='y'), 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'pip install "atomprint[sklearn]"' in done.stderr


def test_identity_tells_settings_apart():
    one = [json.dumps(arm.identity(), sort_keys=True) for arm in ARMS]
    assert len(set(one)) == len(one)
    assert Baseline("x", "none", "knn", ENERGY).identity() != ARMS[0].identity()
