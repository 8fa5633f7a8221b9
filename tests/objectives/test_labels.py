"""Supervised pre-training: labels in spreads; those that are missing do not count."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from atomprint.objectives import LabelObjectiveSettings, Sample
from tests.objectives.looks import batch, build, doubled, look, losses, reversed_atoms, rotated
from tests.toy import toy_crystals

NAMES = ("energy", "gap")
KNOWN = [1.0, 4.0, math.nan, 2.0, math.nan, 7.0]


def crystals():
    """Six crystals with two labels; two of them have no ``gap``."""
    return [
        c.with_labels(c.labels if math.isnan(gap) else {**c.labels, "gap": gap})
        for c, gap in zip(toy_crystals(6), KNOWN, strict=True)
    ]


def made(model="painn", fit=True, names=NAMES):
    backbone, objective = build(LabelObjectiveSettings(names=names), model)
    if fit:
        objective.fit([Sample(*batch(crystals(), objective))])
    return backbone, objective


def silent(objective):
    """Let its heads say zero of everything, which is the mean of what they were fitted on."""
    for parameter in objective.heads.parameters():
        nn.init.zeros_(parameter)


def test_scales_are_of_the_known_labels():
    _, objective = made()
    known = np.array([1.0, 4.0, 2.0, 7.0])
    gap = objective.scales[1]
    assert float(gap.mean) == pytest.approx(known.mean(), rel=1e-6)
    assert float(gap.scale) == pytest.approx(known.std(), rel=1e-6)
    energies = np.array([c.labels["energy"] for c in crystals()])
    assert float(objective.scales[0].mean) == pytest.approx(energies.mean(), rel=1e-5)
    assert float(objective.scales[0].scale) == pytest.approx(energies.std(), rel=1e-5)


def test_losses_are_mean_errors_in_spreads():
    """Heads that say the mean are off by the mean deviation: 2 of a spread of the root of 5.25."""
    backbone, objective = made()
    silent(objective)
    found = losses(backbone, objective, crystals())
    known = np.array([1.0, 4.0, 2.0, 7.0])
    assert found["gap"] == pytest.approx(2.0 / math.sqrt(5.25), rel=1e-6)
    assert found["gap"] == pytest.approx(np.abs(known - known.mean()).mean() / known.std())


def test_missing_labels_do_not_count():
    """The loss over all is that over those with the label, whatever the others are."""
    backbone, objective = made()
    everything = losses(backbone, objective, crystals())
    labelled = [c for c in crystals() if "gap" in c.labels]
    assert losses(backbone, objective, labelled)["gap"] == pytest.approx(everything["gap"])
    view = look(backbone, objective, crystals())
    objective.losses(view)["gap"].backward()
    with_missing = [p.grad.clone() for p in backbone.parameters() if p.grad is not None]
    backbone.zero_grad()
    objective.losses(look(backbone, objective, labelled))["gap"].backward()
    without = [p.grad for p in backbone.parameters() if p.grad is not None]
    for one, other in zip(with_missing, without, strict=True):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(one, other)


def test_a_batch_without_labels_has_zero_loss_and_gradients():
    backbone, objective = made()
    bare = [c.with_labels({}) for c in crystals()]
    found = objective.losses(look(backbone, objective, bare))
    assert {name: float(loss.detach()) for name, loss in found.items()} == {"energy": 0, "gap": 0}
    sum(found.values()).backward()
    for parameter in (*backbone.parameters(), *objective.parameters()):
        assert parameter.grad is None or not parameter.grad.any()


def test_it_asks_for_its_labels_and_no_others():
    _, objective = made(names=("gap",), fit=False)
    assert [(t.name, t.per, t.size) for t in objective.labels] == [("gap", "crystal", 1)]
    assert objective.terms == ("gap",)


@pytest.mark.parametrize("change", [lambda c: rotated(c)[0], reversed_atoms, doubled])
def test_losses_do_not_depend_on_axes_order_or_cell(change):
    backbone, objective = made()
    expected = losses(backbone, objective, crystals())
    assert losses(backbone, objective, change(crystals())) == pytest.approx(expected, rel=1e-6)
