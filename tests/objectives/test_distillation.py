"""Distillation: losses worked by hand, and teachers that stay what they are."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from atomprint.backbones import ETSettings
from atomprint.data.batching import BatchStream, LabelSpec, collate
from atomprint.fingerprints import EADSettings, RDFSettings
from atomprint.ground.errors import DataError, UsageError
from atomprint.heads.model import Model
from atomprint.heads.saved import ModelInfo, save_model
from atomprint.objectives import DistillationSettings, MaskingSettings, Mixture, Sample
from atomprint.objectives.distillation import matching, relational
from atomprint.objectives.teacher_networks import EMATeacherSettings, unperturbed
from atomprint.objectives.teachers import directions
from atomprint.structures.graph import GraphBatch
from atomprint.structures.perturb import DISPLACEMENT, STRAIN, PerturbSettings
from atomprint.training.loop import Trainer
from atomprint.training.pretrain import PretrainSettings, pretrain
from atomprint.training.run import make_fabric
from atomprint.training.tasks import PretrainTask
from tests.toy import toy_crystals
from tests.training.tiny import TINY_MODEL, tiny_loop

EAD = EADSettings(cutoff=4.0, n_shells=4, l_max=2)
FINE = {"kind": "fingerprints", "fingerprints": (EAD,), "n_features": 6}
EMA = {"kind": "ema", "decay": 0.9, "first_decay": 0.5, "n_ramp": 3}
PER_ATOM = {"kind": "label", "name": "features", "n_features": 3}


def build(model=TINY_MODEL, **settings):
    """A network and the objective, both with the same weights every time."""
    torch.manual_seed(0)
    network = Model(model, ())
    return network.backbone, DistillationSettings(**settings).build(network.backbone, model)


def batch_of(crystals, objective, perturbation=None):
    """One batch with what the objective asks for."""
    labels = [LabelSpec(t.name, t.per, t.size) for t in objective.labels]
    stream = BatchStream(
        crystals, max(4.0, objective.cutoff), tiny_loop().batch, 0, labels, perturbation
    )
    return stream.build(0, range(len(crystals)))


def loss(objective, backbone, batch, seed=0, training=True, weighting="fixed"):
    return (
        Mixture([objective], weighting)
        .train(training)
        .loss(backbone, batch.graph, batch.labels, seed=seed)
    )


def fitted(n=8, **settings):
    backbone, objective = build(**settings)
    batch = batch_of(toy_crystals(n), objective)
    objective.fit([Sample(batch.graph, batch.labels)])
    return backbone, objective, batch


def saved_teacher(folder):
    torch.manual_seed(5)
    model = Model(TINY_MODEL, ())
    save_model(folder, model, model.state_dict(), ModelInfo("pretrain"))
    return model


# Losses.


def test_matching_by_hand():
    predicted = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    wanted = torch.tensor([[4.0, 3.0], [0.0, 0.5]])
    # Cosines are 24 / 25 and 0.
    assert float(matching(predicted, wanted, "cosine")) == pytest.approx((1 / 25 + 1) / 2)
    # Smooth L1: an error of 1 costs 1/2 and of 1/2 costs 1/8.
    assert float(matching(predicted, wanted, "huber")) == pytest.approx(
        (0.5 + 0.5 + 0.5 + 0.125) / 4
    )
    for name in ("cosine", "huber"):
        assert float(matching(wanted, wanted, name)) == pytest.approx(0, abs=1e-6)
        empty = matching(predicted[:0].requires_grad_(), wanted[:0], name)
        assert empty.item() == 0
    assert float(matching(7 * wanted, wanted, "cosine")) == pytest.approx(0, abs=1e-6)


def test_relations_by_hand():
    right = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])  # sides 3, 4, 5
    line = torch.tensor([[0.0], [1.0], [3.0]])  # sides 1, 3, 2
    # In units of the mean: 5/4, 3/4, 1 for pairs (0,1), (0,2), (1,2) against 1/2, 3/2, 1.
    expected = (0.75**2 + 0.75**2 + 0) / 2 / 3
    assert float(relational(right, line, "distance", 0)) == pytest.approx(expected)
    two = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    opposite = torch.tensor([[1.0], [-2.0]])
    # The cosines are sqrt(1/2) and -1: an error beyond 1, less one half.
    expected = math.sqrt(0.5) + 1 - 0.5
    assert float(relational(two, opposite, "cosine", 0)) == pytest.approx(expected)
    assert float(relational(two[:1], opposite[:1], "cosine", 0)) == 0


@pytest.mark.parametrize("relation", ["cosine", "distance"])
def test_relations_do_not_know_directions_units_or_order(relation):
    torch.manual_seed(0)
    student, teacher = torch.randn(20, 5), torch.randn(20, 7)
    before = relational(student, teacher, relation, 0)
    assert float(before) > 0.01
    turned = 3 * teacher @ directions(7, 7, seed=1)
    assert_close(relational(student, turned, relation, 0), before)
    assert_close(relational(0.2 * student, teacher, relation, 0), before)
    order = torch.randperm(20)
    assert_close(relational(student[order], teacher[order], relation, 0), before)
    assert float(relational(2 * turned, teacher, relation, 0)) == pytest.approx(0, abs=1e-6)


def test_relations_of_many_atoms_are_those_of_256_that_the_seed_chooses():
    torch.manual_seed(0)
    student, teacher = torch.randn(400, 4), torch.randn(400, 4)
    chosen = torch.randperm(400, generator=torch.Generator().manual_seed(3))[:256]
    expected = relational(student[chosen], teacher[chosen], "cosine", 0)
    assert_close(relational(student, teacher, "cosine", 3), expected)
    assert relational(student, teacher, "cosine", 4) != expected


def test_atoms_that_are_alike_leave_the_gradient_finite():
    student = torch.ones(6, 4)
    student[3:] = torch.arange(12.0).view(3, 4)
    student.requires_grad_()
    relational(student, torch.randn(6, 3), "distance", 0).backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1


# The objective.


def test_the_loss_is_that_of_heads_and_layers():
    backbone, objective, batch = fitted(teacher=FINE, layers=(0, 1), loss=["huber", "relational"])
    assert objective.terms == ("huber@0", "relational@0", "huber@1", "relational@1")
    total, log = loss(objective, backbone, batch, seed=4)
    features = backbone(batch.graph).layers
    wanted = objective.teacher(batch.graph, {}).clamp(-8, 8)
    for index in (0, 1):
        predicted = objective.heads[index](features[index], batch.graph)
        assert_close(log[f"distillation/huber@{index}"], matching(predicted, wanted, "huber"))
        expected = relational(features[index], wanted, "cosine", 4)
        assert_close(log[f"distillation/relational@{index}"], expected)
    assert_close(total, sum(log.values()))


def test_a_relational_student_needs_no_head_and_may_have_another_width():
    backbone, objective, batch = fitted(teacher=FINE, loss="relational")
    assert objective.settings.loss == ("relational",)
    assert not list(objective.heads.parameters())
    total, _ = loss(objective, backbone, batch)
    total.backward()
    assert any(p.grad is not None and p.grad.any() for p in backbone.parameters())


def test_only_atoms_with_hidden_elements_count_if_asked():
    backbone, objective, batch = fitted(teacher=FINE, loss="huber", hidden=0.4, atoms="hidden")
    view = Mixture([objective], "fixed")._look(backbone, batch.graph, {}, 3, 0.0)
    assert 0 < view.hidden.sum() < len(view.hidden)
    wanted = objective.teacher(batch.graph, {}).clamp(-8, 8)
    predicted = objective.heads[0](view.features.scalars, batch.graph)
    expected = matching(predicted[view.hidden], wanted[view.hidden], "huber")
    assert_close(objective.losses(view)["huber"], expected)
    # The teacher sees all elements.
    assert (view.seen.numbers[view.hidden] == 0).all()


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty", "balance"])
@pytest.mark.parametrize("model", [TINY_MODEL, "et"])
def test_every_weight_learns_and_no_weight_of_the_teacher_does(weighting, model, tmp_path):
    if model == "et":
        et = ETSettings(n_channels=8, n_layers=2, n_heads=2)
        model = TINY_MODEL.model_copy(update={"backbone": et})
    saved_teacher(tmp_path)
    network, first = build(model, teacher={"kind": "checkpoint", "path": str(tmp_path)})
    second = DistillationSettings(teacher=EMA, hidden=0.3, loss="huber").build(network, model)
    mixture = Mixture([first, second], weighting)
    batch = collate(toy_crystals(8), max(network.cutoff, mixture.cutoff))
    mixture.fit([Sample(batch.graph, {})])
    total, _ = mixture.loss(network, batch.graph, {})
    total.backward()
    for objective in (first, second):
        assert all(p.grad is not None and p.grad.any() for p in objective.heads.parameters())
        assert list(objective.teacher.parameters())
        assert not any(p.requires_grad for p in objective.teacher.parameters())
        assert all(p.grad is None for p in objective.teacher.parameters())
        assert not objective.teacher.training
    assert all(p.grad is not None for p in network.embedding.parameters())

    trained = Model(model, ())
    trainer = Trainer(
        PretrainTask(trained, mixture, 5), tiny_loop(), make_fabric(tiny_loop(), None)
    )
    theirs = {id(p) for o in (first, second) for p in o.teacher.parameters()}
    ours = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert ours
    assert not ours & theirs


def test_autocast_changes_no_target(tmp_path):
    saved_teacher(tmp_path)
    checkpoint = {"kind": "checkpoint", "path": str(tmp_path)}
    for teacher in (FINE, checkpoint, EMA):
        _, objective, batch = fitted(teacher=teacher, hidden=0.2, loss=("cosine", "relational"))
        exact = objective.teacher(batch.graph, batch.labels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_close(objective.teacher(batch.graph, batch.labels), exact, rtol=0, atol=0)


# Teachers.


def test_random_directions_are_orthonormal_and_the_same_for_a_seed():
    found = directions(30, 12, seed=7)
    assert_close(found.T @ found, torch.eye(12))
    assert torch.equal(found, directions(30, 12, seed=7))
    assert not torch.equal(found, directions(30, 12, seed=8))


@pytest.mark.parametrize("projection", ["random", "pca"])
def test_the_projection_is_that_of_standardised_fingerprints(projection):
    rdf = RDFSettings(cutoff=4.0, n_bins=8, per="atom", cutoff_function="cosine")
    teacher = {**FINE, "fingerprints": (EAD, rdf), "projection": projection}
    _, objective, batch = fitted(24, teacher=teacher)
    rows = torch.cat([EAD.build()(batch.graph), rdf.build()(batch.graph)], 1).double().numpy()
    varying = rows.std(0) > 1e-6 * np.abs(rows.mean(0)) + 1e-12
    scaled = ((rows - rows.mean(0)) / np.where(varying, rows.std(0), 1))[:, varying]
    found = objective.teacher(batch.graph, {}).double().numpy()
    if projection == "pca":
        # Components have unit spread and no correlations, and are those of a singular value
        # decomposition, but for their signs.
        np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(6), atol=1e-3)
        left = np.linalg.svd(scaled, full_matrices=False)[0][:, :6] * math.sqrt(len(rows))
        np.testing.assert_allclose(np.abs(found), np.abs(left), atol=2e-2)
    else:
        expected = scaled @ directions(rows.shape[1], 6, 0).double().numpy()[varying]
        expected /= np.sqrt((expected**2).mean())
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_reloaded_teacher_is_the_same():
    _, objective, batch = fitted(teacher=FINE)
    again = build(teacher=FINE)[1]
    assert torch.equal(again.teacher.matrix, objective.teacher.matrix)
    other = build(teacher=FINE | {"seed": 1})[1]
    assert not torch.equal(other.teacher.matrix, objective.teacher.matrix)
    other.load_state_dict(objective.state_dict())
    expected = objective.teacher(batch.graph, {})
    assert_close(other.teacher(batch.graph, {}), expected, rtol=0, atol=0)


def test_a_checkpoint_teaches_its_standardised_layers(tmp_path):
    model = saved_teacher(tmp_path)
    teacher = {"kind": "checkpoint", "path": str(tmp_path), "layers": (0, -1)}
    _, objective, batch = fitted(teacher=teacher)
    with torch.no_grad():
        layers = model.backbone(batch.graph).layers
    values = torch.cat([layers[0], layers[1]], 1)
    expected = (values - values.mean(0)) / values.std(0, correction=0)
    assert_close(objective.teacher(batch.graph, {}), expected, atol=1e-3, rtol=1e-3)
    assert objective.cutoff == model.backbone.cutoff


def test_the_ema_teacher_is_the_running_mean_of_the_student():
    backbone, objective = build(teacher=EMA, hidden=0.2)
    teacher = objective.teacher
    seen = []
    for step in range(6):
        with torch.no_grad():
            for p in backbone.parameters():
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(step)))
        seen.append([p.detach().clone() for p in backbone.parameters()])
        objective.follow(backbone)
    # The first look copies; then decays of 0.5, 0.5 + 0.4 / 3, 0.5 + 0.8 / 3, 0.9 and 0.9.
    decays = [0.5, 0.5 + 0.4 / 3, 0.5 + 0.8 / 3, 0.9, 0.9]
    weights = [(1 - ([0.0, *decays][k])) * math.prod(decays[k:]) for k in range(6)]
    assert sum(weights) == pytest.approx(1)
    for index, p in enumerate(teacher.backbone.parameters()):
        expected = sum(w * values[index] for w, values in zip(weights, seen, strict=True))
        assert_close(p.detach(), expected)

    again = build(teacher=EMA, hidden=0.2)[1]
    again.load_state_dict(objective.state_dict())
    with torch.no_grad():
        for p in backbone.parameters():
            p.zero_()
    for one in (objective, again):
        one.follow(backbone)
    for name, value in objective.state_dict().items():
        assert_close(again.state_dict()[name], value, rtol=0, atol=0)


def test_the_ema_teacher_follows_in_training_only():
    backbone, objective, batch = fitted(teacher=EMA, hidden=0.2)
    loss(objective, backbone, batch, training=False)
    assert int(objective.teacher.n_followed) == 0
    loss(objective, backbone, batch)
    assert int(objective.teacher.n_followed) == 1


def test_ema_targets_are_normalised_layers_of_all_elements():
    backbone, objective, batch = fitted(teacher=EMA, hidden=0.5)
    with torch.no_grad():
        layers = torch.stack(backbone(batch.graph).layers)
    normal = layers - layers.mean(2, keepdim=True)
    normal = normal / (layers.var(2, keepdim=True, correction=0) + 1e-5).sqrt()
    assert_close(objective.teacher(batch.graph, {}), normal.mean(0))


def test_a_clean_teacher_sees_the_crystals_as_they_were():
    perturbation = PerturbSettings(rattle=0.05, strain=0.03)
    _, objective = build(teacher=EMA | {"clean": True})
    crystals = toy_crystals(8)
    batch = batch_of(crystals, objective, perturbation)
    back = unperturbed(batch.graph, batch.labels[DISPLACEMENT], batch.labels[STRAIN])
    assert_close(back.cells, torch.tensor(np.stack([c.cell for c in crystals])).float())
    expected = GraphBatch.from_crystals(crystals, 4.0)
    # Positions may differ by lattice vectors: distances to neighbours tell.
    wide = GraphBatch.from_crystals(crystals, 3.5)
    near = back.distances[back.distances < 3.5].sort()[0]
    assert_close(near, wide.distances.sort()[0], atol=1e-4, rtol=1e-4)
    assert (batch.graph.cells - back.cells).abs().max() > 0.05
    with torch.no_grad():
        none = {DISPLACEMENT: torch.zeros(1, 3), STRAIN: torch.zeros(len(crystals), 9)}
        wanted = objective.teacher(expected, none)
        found = objective.teacher(batch.graph, batch.labels)
        moved = build(teacher=EMA, hidden=0.1)[1].teacher(batch.graph, {})
    # Pairs that left the cutoff are missing, where messages are almost zero.
    assert (found - wanted).abs().mean() < 0.1 * (moved - wanted).abs().mean()


def test_collapse_is_logged_and_counts_for_nothing():
    backbone, objective, batch = fitted(teacher=EMA, hidden=0.25, loss="huber")
    mixture = Mixture([objective], "fixed")
    total, log = mixture.loss(backbone, batch.graph, {}, seed=2)
    assert_close(total, log["distillation/huber"])
    view = mixture._look(backbone, batch.graph, {}, 2, 0.0)
    predicted = objective.heads[0](view.features.scalars, view.graph).detach().numpy()
    assert float(log["distillation/spread"]) == pytest.approx(predicted.std(0).mean(), rel=1e-4)
    last = objective.heads[0].out[-1]
    torch.nn.init.zeros_(last.weight)
    _, log = mixture.loss(backbone, batch.graph, {})
    assert float(log["distillation/spread"]) == pytest.approx(0, abs=1e-6)
    assert mixture.judges == frozenset()


def with_features(crystals, missing):
    """Crystals with the label ``features``; those in ``missing`` have none."""
    found = []
    for index, crystal in enumerate(crystals):
        values = np.stack([crystal.numbers, crystal.numbers**2, crystal.positions[:, 0]], 1)
        labels = {} if index in missing else {"features": values.astype(float)}
        found.append(crystal.with_labels({**crystal.labels, **labels}))
    return found


def test_atoms_without_the_label_do_not_count():
    backbone, objective = build(teacher=PER_ATOM, loss=("cosine", "huber", "relational"))
    crystals = with_features(toy_crystals(8), missing={2, 5})
    some, known = (
        batch_of(chosen, objective)
        for chosen in (crystals, [c for c in crystals if "features" in c.labels])
    )
    assert some.labels["features"].isnan().any()
    objective.fit([Sample(some.graph, some.labels)])
    values = known.labels["features"]
    scale = objective.teacher.scale
    assert_close(scale.mean, values.mean(0))
    assert_close(scale.scale, values.std(0, correction=0))
    first, second = (loss(objective, backbone, b)[1] for b in (some, known))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert_close(value, second[name], msg=name)
        assert value > 0
    nothing = batch_of(toy_crystals(4), objective)
    total, _ = loss(objective, backbone, nothing)
    total.backward()
    assert total.item() == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in backbone.parameters())
    with pytest.raises(DataError, match="no atom of the corpus carries 3 numbers as label"):
        objective.fit([Sample(nothing.graph, nothing.labels)])


# Runs.


def run_settings(n_steps, *objectives):
    return PretrainSettings(
        model=TINY_MODEL,
        objectives=objectives,
        perturbation=PerturbSettings(rattle=0.05, strain=0.01),
        loop=tiny_loop(n_steps),
        valid_fraction=0.2,
        n_standardize=16,
    )


class Killed(Exception):
    """The run ends here."""


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    saved_teacher(tmp_path / "teacher")
    checkpoint = {"kind": "checkpoint", "path": str(tmp_path / "teacher")}
    settings = run_settings(
        17,
        DistillationSettings(
            teacher=EMA | {"clean": True}, hidden=0.25, loss=("huber", "relational")
        ),
        DistillationSettings(teacher=checkpoint, start=0.1),
        DistillationSettings(teacher=FINE, layers=(0, 1)),
        MaskingSettings(),
    )
    whole = pretrain(toy_crystals(40), settings, tmp_path / "whole")

    def kill(step, total, numbers):
        if step == 13:
            raise Killed

    with pytest.raises(Killed):
        pretrain(toy_crystals(40), settings, tmp_path / "killed", progress=kill)
    again = pretrain(toy_crystals(40), settings, tmp_path / "killed", resume=True)
    for name, value in whole.model.state_dict().items():
        assert_close(again.model.state_dict()[name], value, rtol=0, atol=0, msg=name)
    assert "valid/distillation0/spread" in again.history[-1]


def test_a_running_mean_does_not_choose_the_weights():
    """Its loss is least where the network is random: the last weights are kept instead."""
    alone = run_settings(14, DistillationSettings(teacher=EMA, hidden=0.25))
    result = pretrain(toy_crystals(40), alone)
    assert "valid/distillation/cosine" in result.history[-1]
    assert not any("valid/value" in row for row in result.history)
    beside = run_settings(
        14, DistillationSettings(teacher=EMA, hidden=0.25), DistillationSettings(teacher=FINE)
    )
    last = pretrain(toy_crystals(40), beside).history[-1]
    assert last["valid/value"] == last["valid/distillation1/cosine"]


# What is refused.


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"teacher": EMA}, "sees no more than the student"),
        ({"atoms": "hidden"}, "needs hidden atoms"),
        ({"loss": ["huber", "huber"]}, "loss names one twice"),
        ({"layers": [-1, -1]}, "layers names one twice"),
        (
            {"teacher": {"kind": "fingerprints", "fingerprints": [{"kind": "rdf"}]}},
            "set per: atom",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        DistillationSettings(**settings)


def test_a_clean_teacher_needs_a_perturbation():
    clean = DistillationSettings(teacher=EMATeacherSettings(clean=True))
    still = PerturbSettings(rattle=0.0)
    with pytest.raises(ValidationError, match="no perturbation to undo"):
        PretrainSettings(objectives=(clean,), perturbation=still)
    PretrainSettings(objectives=(clean,))
    hiding = clean.model_copy(update={"hidden": 0.2})
    PretrainSettings(objectives=(hiding,), perturbation=still)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="n_features asks for 999"):
        build(teacher=FINE | {"n_features": 999})
    with pytest.raises(UsageError, match="no atomprint model here"):
        build(teacher={"kind": "checkpoint", "path": str(tmp_path / "none")})
    for wrong in ({"layers": (2,)}, {"layers": (-3,)}):
        backbone, objective, batch = fitted(teacher=FINE, **wrong)
        with pytest.raises(UsageError, match="the student has 2 layers and no layer"):
            loss(objective, backbone, batch)
    _, objective, batch = fitted(teacher=EMA | {"n_layers": 3}, hidden=0.2)
    with pytest.raises(UsageError, match="no layer -3"):
        objective.teacher(batch.graph, {})
