"""Weights by balance: gradients of all terms by the features are equally large."""

import pytest
import torch
from torch import nn

from atomprint.objectives import Mixture
from tests.objectives.sums import Still, Sum, SumSettings


def weighted_gradients(mixture, backbone, graph):
    """Gradient by every weight of the network."""
    backbone.zero_grad()
    total, _ = mixture.loss(backbone, graph, {})
    total.backward()
    rows = [
        torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten()
        for p in backbone.parameters()
    ]
    return torch.cat(rows)


def norms_by_features(mixture, backbone, graph):
    """Weighted gradient of every term by the features, its norm: from outside of the mixture."""
    mixture.eval()
    norms = []
    for place in range(len(mixture.norms)):
        kept = []

        class Keep(nn.Module):
            def forward(self, graph, kept=kept):
                found = backbone(graph)
                kept.append(found)
                return found

        values = []
        total = mixture._total

        def one(losses, places, weights, view, place=place, values=values, total=total):
            values.append(view.features)
            chosen = [loss * (p == place) for loss, p in zip(losses, places, strict=True)]
            return total(chosen, places, weights, view)

        mixture._total = one
        try:
            loss, _ = mixture.loss(Keep(), graph, {})
        finally:
            del mixture._total
        leaves = [*values[0].layers, values[0].vectors]
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
        norms.append(float(sum(g.square().sum() for g in found if g is not None).sqrt()))
    return norms


def test_balance_makes_gradients_equally_large(backbone, graph):
    """After many steps on a fixed network, whatever the size of the losses."""
    mixture = Mixture([Sum(1.0, 100.0), Sum(0.003)], "balance").double()
    for _ in range(5):
        mixture.loss(backbone, graph, {})
    assert (mixture.norms > 0).all()
    norms = norms_by_features(mixture, backbone, graph)
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-6)
    # The weights are on top of that.
    weighed = Mixture([Sum(1.0, 100.0), Sum(0.003, weight=4.0)], "balance").double()
    weighed.load_state_dict(mixture.state_dict())
    heavy = norms_by_features(weighed, backbone, graph)
    assert heavy == pytest.approx([norms[0], norms[0], 4 * norms[0]], rel=1e-6)


def test_balance_keeps_the_mean_size_of_the_gradients(backbone, graph):
    """The common size is the mean of what the terms' own were."""
    mixture = Mixture([Sum(1.0, 100.0), Sum(0.003)], "balance").double()
    # Nothing measured yet: all factors are 1.
    before = norms_by_features(mixture, backbone, graph)
    mixture.train()
    mixture.loss(backbone, graph, {})
    after = norms_by_features(mixture, backbone, graph)
    assert after[0] == pytest.approx(sum(before) / 3, rel=1e-6)


def test_the_unit_of_a_loss_does_not_turn_a_balanced_gradient(backbone, graph):
    """One term counted in units a hundred times smaller: other size, same direction."""
    directions = {}
    for weighting in ("balance", "fixed"):
        for factor in (1.0, 100.0):
            mixture = Mixture([Sum(1.0, 2.0), Sum(factor)], weighting).double()
            for _ in range(3):
                mixture.loss(backbone, graph, {})
            gradient = weighted_gradients(mixture, backbone, graph)
            directions[weighting, factor] = gradient / gradient.norm()
    torch.testing.assert_close(directions["balance", 1.0], directions["balance", 100.0])
    cosine = float(directions["fixed", 1.0] @ directions["fixed", 100.0])
    assert cosine < 0.99


def test_the_memory_of_balance_is_a_hundred_steps(backbone, graph):
    mixture = Mixture([Sum(1.0)], "balance").double()
    still = Still(backbone, graph)
    mixture.loss(still, graph, {})
    first = float(mixture.norms[0])
    member = mixture.members[0]
    member.settings = SumSettings(scales=(2.0,))
    for _ in range(100):
        mixture.loss(still, graph, {})
    assert float(mixture.norms[0]) == pytest.approx(first * (2 - 0.99**100), rel=1e-6)


def test_balance_measures_in_training_only(backbone, graph):
    mixture = Mixture([Sum(1.0), Sum(7.0)], "balance").double().eval()
    mixture.loss(backbone, graph, {})
    assert not mixture.norms.any()
    mixture.train()
    with torch.no_grad():
        mixture.loss(backbone, graph, {})
    assert not mixture.norms.any()
