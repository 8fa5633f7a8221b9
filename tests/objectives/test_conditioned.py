"""Self-conditioned denoising: two looks, and what may pass from the first to the second."""

import numpy as np
import pytest
import torch
from torch import nn

from atomprint.ground.errors import UsageError
from atomprint.objectives import ConditionedSettings, Mixture, Sample
from atomprint.objectives.conditioned import modulated
from atomprint.objectives.denoising import center
from atomprint.structures.perturb import DISPLACEMENT
from atomprint.training.pretrain import PretrainSettings
from tests.objectives.looks import (
    MODELS,
    batch,
    build,
    doubled,
    gradients_reach,
    look,
    losses,
    perturbed,
    reversed_atoms,
    rotated,
)
from tests.toy import toy_crystals

TIGHT = {"rtol": 1e-6, "atol": 1e-10}


def made(model="painn", **settings):
    return build(ConditionedSettings(**settings), model)


def predicted(backbone, objective, crystals, noise, clean=None):
    """Predictions for noise (Å) of every atom, the embedding of no crystal withheld."""
    view = look(backbone, objective, crystals)
    kept = torch.ones(len(crystals), dtype=torch.bool)
    return objective.predict(view, clean, view.graph.positions + noise, kept)


@pytest.mark.parametrize("model", MODELS)
def test_predictions_turn_with_the_crystal(model):
    backbone, objective = made(model)
    crystals = toy_crystals(4)
    turned, turn = rotated(crystals)
    noise = 0.05 * torch.randn(sum(c.n_atoms for c in crystals), 3, dtype=torch.float64)
    before = predicted(backbone, objective, crystals, noise)
    torch.testing.assert_close(
        predicted(backbone, objective, turned, noise @ turn), before @ turn, **TIGHT
    )
    assert before.abs().max() > 1e-6


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("change", [lambda c: rotated(c)[0], reversed_atoms, doubled])
def test_losses_do_not_depend_on_axes_order_or_cell(model, change):
    """Of the displacements that the crystals came with; drawn noise knows the axes."""
    backbone, objective = made(model, noise=0.0, drop=0.0)
    crystals = perturbed()
    objective.fit([Sample(*batch(crystals, objective))])
    expected = losses(backbone, objective, crystals)
    assert losses(backbone, objective, change(crystals)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_embeddings_are_of_the_crystal_alone(model):
    backbone, objective = made(model)
    crystals = perturbed()
    view = look(backbone, objective, crystals)
    found = objective.embed(view.features, view.graph)
    for change in (lambda c: rotated(c)[0], reversed_atoms, doubled):
        view = look(backbone, objective, change(crystals))
        torch.testing.assert_close(objective.embed(view.features, view.graph), found, **TIGHT)
    alone = look(backbone, objective, crystals[2:3])
    torch.testing.assert_close(objective.embed(alone.features, alone.graph), found[2:3], **TIGHT)


@pytest.mark.parametrize("model", MODELS)
def test_the_embedding_of_the_clean_crystal_changes_what_is_predicted(model):
    """And by nothing else can the clean crystal: withheld, only the noised one matters."""
    backbone, objective = made(model)
    view = look(backbone, objective, toy_crystals(3))
    noised = view.graph.positions + 0.05
    other = view.graph.positions + 0.1 * torch.randn_like(view.graph.positions)
    kept = torch.tensor([True, False, True])
    first = objective.predict(view, view.graph.positions, noised, kept)
    second = objective.predict(view, other, noised, kept)
    same = torch.isclose(first, second, rtol=1e-9, atol=1e-12).all(1)
    assert (same == ~kept[view.graph.crystal_index]).all()
    # Withheld from all, the second look is the plain network's.
    plain = objective.head(backbone(view.graph.with_geometry(noised)))
    none = torch.zeros(3, dtype=torch.bool)
    torch.testing.assert_close(objective.predict(view, None, noised, none), plain)
    torch.testing.assert_close(first[~kept[view.graph.crystal_index]], plain[same])


def test_the_condition_is_a_scale_and_a_shift_and_goes_when_the_look_is_over():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    x, change = torch.randn(5, 3), torch.randn(5, 8)
    plain = net(x)
    with modulated(net, {"1": change}):
        torch.testing.assert_close(net(x), plain * (1 + change[:, :4]) + change[:, 4:])
    torch.testing.assert_close(net(x), plain)
    with pytest.raises(UsageError, match="not over atoms"), modulated(net, {"1": change[:3]}):
        net(x)
    torch.testing.assert_close(net(x), plain)


@pytest.mark.parametrize("model", MODELS)
def test_gradients_reach_every_weight_by_both_looks(model):
    backbone, objective = made(model, drop=0.0)
    idle, own_idle = gradients_reach(backbone, objective, toy_crystals(4))
    assert idle == []
    assert own_idle == []
    # By the first look alone: the second look's geometry is held, the first one's varies.
    view = look(backbone, objective, toy_crystals(4))
    clean = view.graph.positions.clone().requires_grad_()
    kept = torch.ones(4, dtype=torch.bool)
    objective.predict(view, clean, view.graph.positions, kept).square().sum().backward()
    assert clean.grad.abs().max() > 0


def test_noise_is_of_the_seed_alone_and_has_no_mean():
    """The same step again has the same loss; the target is the noise, in its own units."""
    backbone, objective = made(noise=0.1)
    crystals = toy_crystals(6)
    assert losses(backbone, objective, crystals, 1) == losses(backbone, objective, crystals, 1)
    assert losses(backbone, objective, crystals, 1) != losses(backbone, objective, crystals, 2)
    asked = []

    def right(view, clean, noised, kept):
        moved = (noised - view.graph.positions) / 0.1
        asked.append(moved)
        return moved

    objective.predict = right
    assert losses(backbone, objective, crystals)["noise"] < 1e-12
    (moved,) = asked
    graph, _ = batch(crystals, objective)
    torch.testing.assert_close(center(moved, graph), moved)
    assert 0.3 < float(moved.square().mean()) < 1.2


def test_embeddings_are_withheld_in_training_only():
    backbone, objective = made(drop=0.5)
    asked = []
    objective.predict = lambda view, clean, noised, kept: asked.append(kept) or noised
    for seed in range(20):
        losses(backbone, objective, toy_crystals(8), seed)
    assert 0.35 < float(torch.stack(asked).double().mean()) < 0.65
    objective.eval()
    asked.clear()
    losses(backbone, objective, toy_crystals(8))
    assert asked[0].all()


def test_without_noise_of_its_own_the_displacement_is_taken_back():
    backbone, objective = made(noise=0.0)
    crystals = perturbed(strain=0.0)
    objective.fit([Sample(*batch(crystals, objective))])
    moved = np.concatenate([c.labels[DISPLACEMENT] for c in crystals])
    assert float(objective.spread) == pytest.approx(np.sqrt((moved**2).mean()), rel=1e-6)
    asked = []
    objective.predict = lambda view, clean, noised, kept: asked.append((clean, noised)) or noised
    losses(backbone, objective, crystals)
    graph, _ = batch(crystals, objective)
    clean, noised = asked[0]
    torch.testing.assert_close(noised, graph.positions)
    # The crystals before they were perturbed, up to a shift of the whole.
    centered = center(torch.tensor(moved), graph)
    torch.testing.assert_close(clean, graph.positions - centered, rtol=0, atol=1e-7)


@pytest.mark.parametrize("model", MODELS)
def test_it_learns_to_denoise(model):
    """One crystal and always other noise: the network must learn the way, not the answer."""
    backbone, objective = made(model, drop=0.0)
    mixture = Mixture([objective], "fixed")
    graph, labels = batch(toy_crystals(8), objective)
    optimizer = torch.optim.Adam([*backbone.parameters(), *mixture.parameters()], lr=1e-2)
    rows = []
    for step in range(150):
        optimizer.zero_grad()
        loss, _ = mixture.loss(backbone, graph, labels, seed=step)
        loss.backward()
        optimizer.step()
        rows.append(float(loss.detach()))
    assert np.mean(rows[-20:]) < 0.7 * np.mean(rows[:5])


@pytest.mark.parametrize("weighting", ["balance", "uncertainty"])
def test_it_trains_beside_others_in_half_precision(weighting):
    """And its second look, which the others' features do not pass, is weighed by 1."""
    torch.manual_seed(0)
    backbone = MODELS["painn"].backbone.build()
    members = [
        {"kind": "denoising", "by": "vectors"},
        {"kind": "masking"},
        {"kind": "conditioned"},
        {"kind": "denoising", "by": "energy"},
    ]
    settings = PretrainSettings(objectives=members, perturbation={"rattle": 0.05})
    built = [s.build(backbone, MODELS["painn"]) for s in settings.objectives]
    mixture = Mixture(built, weighting)
    graph, labels = batch(perturbed(), built[0], torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = mixture.loss(backbone, graph, labels)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in backbone.parameters() if p.grad is not None)
    if weighting == "balance":
        assert mixture.measured == [True, True, True, False, False]
        assert (mixture.norms > 0).tolist() == mixture.measured


def test_bad_settings_are_refused():
    for objective, reason in [
        ({"noise": 0.0}, "nothing to predict where its noise and perturbation.rattle are 0"),
        ({"drop": 1.0}, "less than 1"),
        ({"noise": -0.1}, "greater than or equal to 0"),
    ]:
        with pytest.raises(ValueError, match=reason):
            PretrainSettings(
                objectives=[{"kind": "conditioned"} | objective], perturbation={"rattle": 0.0}
            )


def test_a_backbone_without_layer_norms_is_refused():
    backbone = MODELS["painn"].backbone.build()
    for block in [*backbone.messages, *backbone.updates]:
        block.norm = nn.Identity()
    with pytest.raises(UsageError, match="no layer norm over its scalars"):
        ConditionedSettings().build(backbone, MODELS["painn"])
