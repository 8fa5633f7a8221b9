"""Distillation: losses worked by hand, the objective around them, and runs with it."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from atomprint.backbones import ETSettings
from atomprint.data.batching import collate
from atomprint.ground.errors import UsageError
from atomprint.heads.model import Model
from atomprint.objectives import DistillationSettings, MaskingSettings, Mixture, Sample
from atomprint.objectives.distillation import matching, relational
from atomprint.objectives.teacher_networks import EMATeacherSettings
from atomprint.objectives.teachers import directions
from atomprint.structures.perturb import PerturbSettings
from atomprint.training.loop import Trainer
from atomprint.training.pretrain import PretrainSettings, pretrain
from atomprint.training.run import make_fabric
from atomprint.training.tasks import PretrainTask
from tests.objectives.distilling import EMA, FINE, build, fitted, loss, saved_teacher
from tests.toy import toy_crystals
from tests.training.tiny import TINY_MODEL, tiny_loop

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


def test_atoms_that_are_alike_leave_the_gradient_right():
    torch.manual_seed(0)
    features = torch.randn(4, 16).repeat_interleave(3, 0)
    teacher = torch.randn(12, 3)
    grads = []
    for dtype in (torch.float32, torch.float64):
        student = features.to(dtype, copy=True).requires_grad_()
        relational(student, teacher.to(dtype), "distance", 0).backward()
        grads.append(student.grad.double())
    assert grads[1].isfinite().all()
    assert grads[1].any()
    assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-6)


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


def test_features_of_the_teacher_are_clipped():
    backbone, objective, batch = fitted(teacher=FINE, loss="huber", clip=0.5)
    wanted = objective.teacher(batch.graph, {})
    assert wanted.abs().max() > 1
    predicted = objective.heads[0](backbone(batch.graph).scalars, batch.graph)
    expected = matching(predicted, wanted.clamp(-0.5, 0.5), "huber")
    assert_close(loss(objective, backbone, batch)[0], expected)


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
    mixture.train()
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
