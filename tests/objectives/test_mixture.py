"""Objectives together: weights, schedules, names, refusals, and the state that a run saves."""

import math

import pytest
import torch

from atomprint.ground.errors import UsageError
from atomprint.objectives import (
    DenoisingSettings,
    LabelObjectiveSettings,
    MaskingSettings,
    Mixture,
)
from atomprint.training.pretrain import PretrainSettings
from tests.objectives.looks import MODELS, batch, build, perturbed
from tests.objectives.sums import Still, Sum, loss_of


def test_fixed_weights_are_factors(backbone, graph):
    members = [Sum(1.0, 2.0, weight=3.0), Sum(5.0, weight=0.5)]
    total, log = loss_of(Mixture(members, "fixed"), backbone, graph)
    means = backbone(graph).scalars.mean(0).abs()
    assert log["sum0/t0"] == pytest.approx(float(means[0].detach()))
    assert log["sum0/t1"] == pytest.approx(2 * float(means[1].detach()))
    assert log["sum1/t0"] == pytest.approx(5 * float(means[0].detach()))
    expected = 3 * (log["sum0/t0"] + log["sum0/t1"]) + 0.5 * log["sum1/t0"]
    assert float(total.detach()) == pytest.approx(expected)


def test_names_are_kinds_and_terms_with_a_number_where_a_kind_is_there_twice():
    settings = (
        MaskingSettings(),
        LabelObjectiveSettings(names=("energy", "gap")),
        LabelObjectiveSettings(names=("energy",)),
    )
    mixture = Mixture([build(s)[1] for s in settings], "uncertainty")
    assert mixture.names == [
        ["masking/elements", "masking/properties"],
        ["labels1/energy", "labels1/gap"],
        ["labels2/energy"],
    ]
    assert [t.name for t in mixture.labels] == ["energy", "gap"]


def test_learned_widths_settle_at_the_size_of_each_error(backbone, graph):
    """With the network fixed, s = log L minimises L exp(-s) + s, whatever the weight."""
    mixture = Mixture([Sum(1.0, 30.0), Sum(0.02, weight=5.0)], "uncertainty").double()
    still = Still(backbone, graph)
    optimizer = torch.optim.LBFGS([mixture.log_widths], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss, _ = mixture.loss(still, graph, {})
        loss.backward(inputs=[mixture.log_widths])
        return loss

    optimizer.step(closure)
    total, log = loss_of(mixture, still, graph)
    errors = [log[name] for names in mixture.names for name in names]
    found = mixture.log_widths.detach().exp().tolist()
    assert found == pytest.approx(errors, rel=1e-4)
    # And there every term counts its weight times 1 + log of its error.
    by_hand = sum(w * (1 + math.log(e)) for w, e in zip((1, 1, 5), errors, strict=True))
    assert float(total.detach()) == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("weighting", ["fixed", "balance"])
def test_only_uncertainty_learns_widths(weighting):
    assert not Mixture([Sum(1.0)], weighting).log_widths.requires_grad
    assert Mixture([Sum(1.0)], "uncertainty").log_widths.requires_grad


def test_objectives_are_at_work_in_their_part_of_the_run(backbone, graph):
    members = [Sum(1.0, stop=0.5), Sum(1.0, start=0.25), Sum(1.0)]
    mixture = Mixture(members, "fixed")
    wanted = {0.0: "02", 0.2: "02", 0.25: "012", 0.49: "012", 0.5: "12", 0.99: "12", 1.0: "12"}
    for progress, at_work in wanted.items():
        total, log = loss_of(mixture, backbone, graph, progress=progress)
        assert list(log) == [f"sum{i}/t0" for i in at_work]
        assert float(total.detach()) == pytest.approx(sum(log.values()))
    # Where losses are only watched, all of them are.
    _, log = loss_of(mixture.eval(), backbone, graph, progress=0.0)
    assert len(log) == 3


def test_objectives_that_are_off_do_not_count_and_keep_their_places(backbone, graph):
    mixture = Mixture([Sum(1.0, stop=0.5), Sum(3.0, 4.0, start=0.5)], "balance").double()
    mixture.loss(backbone, graph, {}, progress=0.9)
    assert (mixture.norms > 0).tolist() == [False, True, True]
    mixture = Mixture([Sum(1.0, stop=0.5), Sum(3.0, 4.0, start=0.5)], "uncertainty").double()
    total, _ = mixture.loss(backbone, graph, {}, progress=0.9)
    total.backward()
    assert (mixture.log_widths.grad != 0).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("parts", "gap"),
    [([(0.1, 1.0)], "0%"), ([(0, 0.4), (0.5, 1)], "40%"), ([(0, 0.5), (0.1, 0.7)], "70%")],
)
def test_a_run_without_an_objective_at_some_time_is_refused(backbone, graph, parts, gap):
    settings = [{"kind": "masking", "start": a, "stop": b} for a, b in parts]
    with pytest.raises(ValueError, match=f"no objective is at work when {gap} of the run is done"):
        PretrainSettings(objectives=settings)
    mixture = Mixture([Sum(1.0, start=0.5)], "fixed")
    with pytest.raises(UsageError, match="no objective is at work when 20% of the run is done"):
        mixture.loss(backbone, graph, {}, progress=0.2)


def test_parts_of_a_run_may_overlap_and_touch():
    parts = [(0.5, 1.0), (0.0, 0.3), (0.2, 0.5)]
    settings = [{"kind": "masking", "start": a, "stop": b} for a, b in parts]
    assert len(PretrainSettings(objectives=settings).objectives) == 3


def test_an_objective_begins_before_it_ends():
    with pytest.raises(ValueError, match=r"start 0\.5 is not below stop 0\.5"):
        MaskingSettings(start=0.5, stop=0.5)


def test_different_parts_to_hide_are_refused():
    members = [build(MaskingSettings(fraction=f))[1] for f in (0.25, 0.5)]
    with pytest.raises(UsageError, match=r"0\.25.*0\.5.*give them one fraction"):
        Mixture(members, "fixed")
    alike = [build(MaskingSettings(fraction=0.25))[1] for _ in range(2)]
    assert Mixture(alike, "fixed").hides == 0.25


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty", "balance"])
def test_a_state_holds_all_that_the_next_step_depends_on(weighting):
    """A copy made of the state after some steps has the same loss and gradients after more."""
    crystals = perturbed(4)

    def fresh(seed):
        torch.manual_seed(seed)
        backbone = MODELS["painn"].backbone.build().double()
        members = [
            s.build(backbone, MODELS["painn"]).double()
            for s in (MaskingSettings(fraction=0.5), DenoisingSettings(by="vectors"))
        ]
        return backbone, Mixture(members, weighting).double()

    def steps(backbone, mixture, which):
        graph, labels = batch(crystals, mixture)
        for step in which:
            total, _ = mixture.loss(backbone, graph, labels, seed=step, progress=step / 10)
            both = [p for m in (backbone, mixture) for p in m.parameters() if p.requires_grad]
            slopes = torch.autograd.grad(total, both, allow_unused=True)
            with torch.no_grad():
                for parameter, slope in zip(both, slopes, strict=True):
                    if slope is not None:
                        parameter -= 0.01 * slope
        return total.detach(), slopes

    backbone, mixture = fresh(0)
    steps(backbone, mixture, range(3))
    other, copy = fresh(1)
    other.load_state_dict(backbone.state_dict())
    copy.load_state_dict(mixture.state_dict())
    expected, slopes = steps(backbone, mixture, range(3, 6))
    found, others = steps(other, copy, range(3, 6))
    assert torch.equal(found, expected)
    for one, two in zip(slopes, others, strict=True):
        assert (one is None and two is None) or torch.equal(one, two)
