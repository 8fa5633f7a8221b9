"""The objective: its targets, its scale, its learned weights."""

import pytest
import torch

from atomprint.data.batching import collate
from atomprint.fingerprints import ADFSettings, EADSettings, RDFSettings
from atomprint.heads.model import Model
from atomprint.objectives import FingerprintObjective, FingerprintObjectiveSettings
from tests.toy import toy_crystals
from tests.training.tiny import TINY_MODEL

MEMBERS = (
    EADSettings(cutoff=4.0, n_shells=3, l_max=1),
    RDFSettings(cutoff=5.0, n_bins=6, per="crystal", smearing=0.3, cutoff_function="cosine"),
    ADFSettings(cutoff=3.5, l_max=3),
)


def build(**settings):
    torch.manual_seed(0)
    objective = FingerprintObjective(FingerprintObjectiveSettings(fingerprints=MEMBERS, **settings))
    model = Model(TINY_MODEL, objective.targets)
    graph = collate(toy_crystals(16), objective.cutoff).graph
    objective.fit_standardizers(model, [graph])
    return objective, model, graph


def test_targets_are_the_fingerprints_and_have_unit_spread():
    objective, model, graph = build(transform="none")
    assert objective.cutoff == 5.0
    assert [t.per for t in objective.targets] == ["atom", "crystal", "atom"]
    values = objective.values(graph)
    for target, settings in zip(objective.targets, MEMBERS, strict=True):
        torch.testing.assert_close(values[target.name], settings.build()(graph))
        scaled = model.standardizer(target.name)(values[target.name])
        torch.testing.assert_close(scaled.mean(0), torch.zeros(target.size), atol=1e-3, rtol=0)
        varying = values[target.name].std(0) > 1e-5 * values[target.name].mean(0).abs() + 1e-9
        assert varying.any()
        spread = scaled.std(0, correction=0)[varying]
        torch.testing.assert_close(spread, torch.ones_like(spread), atol=1e-2, rtol=0)


def test_the_root_keeps_signs():
    plain, *_, graph = build(transform="none")
    rooted, *_ = build(transform="root")
    for name, value in plain.values(graph).items():
        torch.testing.assert_close(
            rooted.values(graph)[name].square(), value.abs(), rtol=1e-4, atol=1e-6
        )
        assert ((rooted.values(graph)[name] < 0) == (value < 0)).all()


def test_learned_widths_settle_at_the_size_of_each_error():
    """With the network fixed, s_k = log L_k minimises L_k exp(-s_k) + s_k."""
    objective, model, graph = build(weighting="uncertainty")
    optimizer = torch.optim.LBFGS([objective.log_widths], max_iter=50)

    def closure():
        optimizer.zero_grad()
        loss, _ = objective.loss(model, graph)
        loss.backward()
        return loss

    optimizer.step(closure)
    _, log = objective.loss(model, graph)
    errors = torch.stack([log[t.name] for t in objective.targets])
    torch.testing.assert_close(objective.log_widths.exp(), errors, rtol=1e-2, atol=1e-3)


def test_equal_weights_are_not_trained_and_add_up():
    objective, model, graph = build(weighting="equal")
    assert not objective.log_widths.requires_grad
    loss, log = objective.loss(model, graph)
    assert float(loss) == pytest.approx(sum(float(v) for v in log.values()))


def test_targets_are_clipped():
    objective, model, graph = build(clip=1e-9, loss="l1", weighting="equal")
    _, log = objective.loss(model, graph)
    predictions = model(graph)
    for target in objective.targets:
        assert float(log[target.name]) == pytest.approx(
            float(predictions[target.name].abs().mean()), rel=1e-4
        )


def test_every_weight_of_the_model_gets_a_gradient():
    objective, model, graph = build()
    loss, _ = objective.loss(model, graph)
    loss.backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # The last update's vectors reach no scalar any more: that part of the last block idles.
    assert all("updates.1" in name for name in missing), missing
