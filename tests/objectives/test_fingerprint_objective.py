"""Regression on fingerprints: its targets, their scale, its loss, the layer that it reads."""

import pytest
import torch
from torch import nn

from atomprint.fingerprints import ADFSettings, EADSettings, RDFSettings, fingerprint_id
from atomprint.ground.errors import UsageError
from atomprint.objectives import FingerprintObjectiveSettings, MaskingSettings, Mixture, Sample
from atomprint.structures.graph import GraphBatch
from tests.objectives.looks import build, gradients_reach
from tests.toy import toy_crystals

MEMBERS = (
    EADSettings(cutoff=4.0, n_shells=3, l_max=1),
    RDFSettings(cutoff=5.0, n_bins=6, per="crystal", smearing=0.3, cutoff_function="cosine"),
    ADFSettings(cutoff=3.5, l_max=3),
)
CRYSTALS = toy_crystals(16)


def made(**settings):
    """Backbone, fitted objective and the graph that it was fitted on, in float64."""
    values = {"fingerprints": MEMBERS} | settings
    backbone, objective = build(FingerprintObjectiveSettings(**values))
    graph = GraphBatch.from_crystals(CRYSTALS, 5.0, torch.float64)
    objective.fit([Sample(graph, {})])
    return backbone, objective, graph


def view_of(backbone, objective, graph):
    return Mixture([objective], "fixed")._look(backbone, graph, {}, 0, 0.0)


def test_targets_are_the_fingerprints_and_have_unit_spread():
    _, objective, graph = made()
    assert objective.cutoff == 5.0
    assert objective.labels == ()
    assert objective.terms == tuple(f"{s.kind}-{fingerprint_id(s)}" for s in MEMBERS)
    values = objective.values(graph)
    for name, scale, settings in zip(objective.terms, objective.scales, MEMBERS, strict=True):
        torch.testing.assert_close(values[name], settings.build().double()(graph))
        n_rows = graph.n_crystals if settings.per == "crystal" else graph.n_atoms
        assert len(values[name]) == n_rows
        scaled = scale(values[name])
        torch.testing.assert_close(scaled.mean(0), torch.zeros_like(scaled[0]), atol=1e-5, rtol=0)
        varying = values[name].std(0) > 1e-5 * values[name].mean(0).abs() + 1e-9
        assert varying.any()
        spread = scaled.std(0, correction=0)[varying]
        torch.testing.assert_close(spread, torch.ones_like(spread), atol=1e-5, rtol=0)


def test_scales_are_fitted_on_all_samples_together():
    _, whole, _ = made()
    _, parts, _ = made()
    halves = [
        GraphBatch.from_crystals(part, 5.0, torch.float64) for part in (CRYSTALS[:5], CRYSTALS[5:])
    ]
    parts.fit([Sample(graph, {}) for graph in halves])
    for one, other in zip(whole.scales, parts.scales, strict=True):
        torch.testing.assert_close(one.mean, other.mean)
        torch.testing.assert_close(one.scale, other.scale)


def test_the_root_keeps_signs():
    _, plain, graph = made(transform="none")
    _, rooted, _ = made(transform="root")
    for name, value in plain.values(graph).items():
        root = rooted.values(graph)[name]
        torch.testing.assert_close(root * root.abs(), value)
    assert any((value < 0).any() for value in plain.values(graph).values())


@pytest.mark.parametrize(
    ("loss", "of"),
    [
        ("l1", lambda gap: gap.abs()),
        ("mse", lambda gap: gap**2),
        ("huber", lambda gap: torch.where(gap.abs() < 1, gap**2 / 2, gap.abs() - 0.5)),
    ],
)
def test_losses_are_means_over_clipped_targets(loss, of):
    """Over rows and features, between what the heads say and targets that stay within the clip."""
    backbone, objective, graph = made(loss=loss, clip=1.5)
    scalars = backbone(graph).scalars
    found = objective.losses(view_of(backbone, objective, graph))
    reached = False
    for name, head, scale in zip(objective.terms, objective.heads, objective.scales, strict=True):
        wanted = scale(objective.values(graph)[name])
        reached = reached or bool((wanted.abs() > 1.5).any())
        wanted = wanted.clamp(-1.5, 1.5)
        torch.testing.assert_close(found[name], of(head(scalars, graph) - wanted).mean())
    assert reached


def test_components_are_few_and_uncorrelated():
    """Up to as many as a fingerprint has columns; their heads are as wide."""
    _, objective, graph = made(components=5)
    sizes = [min(5, s.build().n_features) for s in MEMBERS]
    assert 5 in sizes
    for name, head, scale, size in zip(
        objective.terms, objective.heads, objective.scales, sizes, strict=True
    ):
        components = scale(objective.values(graph)[name])
        assert components.shape[1] == head.target.size == size
        covariance = components.T @ components / len(components)
        kept = covariance.diag() > 0.5
        wanted = torch.diag(kept.to(covariance))
        torch.testing.assert_close(covariance, wanted, atol=1e-4, rtol=0)
        assert kept[:2].all()


def test_the_layer_is_the_one_that_is_read():
    """Losses on layer 0 train the first message and nothing behind it."""
    backbone, objective, graph = made(layer=0)
    view = view_of(backbone, objective, graph)
    sum(objective.losses(view).values()).backward()
    trained = {n for n, p in backbone.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("messages.0.") for name in trained)
    assert not any(".1." in name or name.startswith("norm") for name in trained), trained
    alike, last, _ = made(layer=1)
    default, other, _ = made()
    for name, value in last.losses(view_of(alike, last, graph)).items():
        assert torch.equal(value, other.losses(view_of(default, other, graph))[name])


@pytest.mark.parametrize("settings", [FingerprintObjectiveSettings, MaskingSettings])
def test_a_layer_that_is_not_there_is_refused(settings):
    backbone, objective = build(settings(layer=2))
    graph = GraphBatch.from_crystals(CRYSTALS[:2], 6.0, torch.float64)
    with pytest.raises(UsageError, match="has 2 layers and no layer 2; choose from -2 to 1"):
        objective.losses(view_of(backbone, objective, graph))


@pytest.mark.parametrize("components", [0, 3])
def test_targets_are_exact_whatever_the_precision_of_the_network(components):
    """Under autocast products of matrices lose digits; not those of targets."""
    backbone, objective, _ = made(components=components)
    objective, backbone = objective.float(), backbone.float()
    graph = GraphBatch.from_crystals(CRYSTALS, 5.0)
    for head in objective.heads:
        for parameter in head.parameters():
            nn.init.zeros_(parameter)
    exact = objective.losses(view_of(backbone, objective, graph))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = objective.losses(view_of(backbone, objective, graph))
    for name, value in exact.items():
        assert float(mixed[name]) == pytest.approx(float(value), rel=1e-6)


def test_gradients_reach_every_weight():
    backbone, objective, _ = made()
    values = {"fingerprints": (MEMBERS[0],)}
    backbone, objective = build(FingerprintObjectiveSettings(**values))
    idle, own_idle = gradients_reach(backbone, objective, CRYSTALS)
    # The last update's vectors reach no scalar any more: that part of the last block idles.
    assert all("updates.1" in name for name in idle), idle
    assert own_idle == []
