"""Hidden elements: the network cannot see them, and the losses are those worked by hand."""

import math

import numpy as np
import pytest
import torch

from atomprint.fingerprints import RDFSettings
from atomprint.fingerprints.channels import channel_table
from atomprint.objectives import FingerprintObjectiveSettings, MaskingSettings, Mixture
from atomprint.structures.crystal import Crystal
from tests.objectives.looks import MODELS, batch, build, doubled, gradients_reach, look
from tests.toy import toy_crystals

CRYSTALS = toy_crystals(12)


def made(model="painn", **settings):
    return build(MaskingSettings(**settings), model)


def with_elements(crystals, numbers):
    """The same crystals with other elements, given for all atoms in one row."""
    ends = np.cumsum([c.n_atoms for c in crystals])[:-1]
    return [
        Crystal.make(c.id, part, c.cell, positions=c.positions, labels=c.labels)
        for c, part in zip(crystals, np.split(numbers, ends), strict=True)
    ]


def outputs(objective, view):
    """What the heads say of the hidden atoms: logits and properties."""
    features = objective.project(view.features.layer(-1)[view.hidden])
    return objective.element(features), objective.property(features)


@pytest.mark.parametrize("model", MODELS)
def test_the_network_cannot_see_what_is_hidden(model):
    """Other elements at hidden atoms change what is wanted and nothing that is predicted."""
    backbone, objective = made(model)
    before = look(backbone, objective, CRYSTALS)
    hidden = before.hidden
    numbers = before.graph.numbers.clone()
    numbers[hidden] = 1 + (numbers[hidden] + 40) % 90
    after = look(backbone, objective, with_elements(CRYSTALS, numbers.numpy()))
    assert torch.equal(after.hidden, hidden)
    assert 0 < int(hidden.sum()) < len(hidden)
    assert not (after.graph.numbers == before.graph.numbers)[hidden].any()
    for one, other in zip(outputs(objective, before), outputs(objective, after), strict=True):
        assert torch.equal(one, other)
    for name, loss in objective.losses(before).items():
        assert not torch.equal(loss, objective.losses(after)[name])
    # The elements that it does see matter.
    numbers[~hidden] = 1 + (numbers[~hidden] + 40) % 90
    other = look(backbone, objective, with_elements(CRYSTALS, numbers.numpy()))
    assert not torch.allclose(outputs(objective, other)[0], outputs(objective, before)[0])


def test_what_is_seen_is_element_zero_where_hidden_and_the_truth_elsewhere():
    backbone, objective = made()
    view = look(backbone, objective, CRYSTALS)
    assert not view.seen.numbers[view.hidden].any()
    assert torch.equal(view.seen.numbers[~view.hidden], view.graph.numbers[~view.hidden])
    assert view.seen.positions is view.graph.positions


@pytest.mark.parametrize("fraction", [0.15, 0.5])
def test_the_fraction_is_hidden_in_the_part_of_the_crystals(fraction):
    """Within four standard deviations of a binomial; crystals are drawn, then atoms in them."""
    crystals = doubled(doubled(toy_crystals(150)))
    backbone, objective = made(fraction=fraction)
    n = sum(c.n_atoms for c in crystals)
    hidden = look(backbone, objective, crystals).hidden
    assert abs(hidden.double().mean() - fraction) < 4 * math.sqrt(fraction * (1 - fraction) / n)
    backbone, objective = made(fraction=fraction, crystals=0.3)
    view = look(backbone, objective, crystals)
    index = view.graph.crystal_index
    count = torch.zeros(150).index_add(0, index, view.hidden.float())
    expected = 0.3 * (1 - (1 - fraction) ** view.graph.n_atoms_per_crystal).mean()
    assert abs((count > 0).double().mean() - expected) < 4 * math.sqrt(0.3 * 0.7 / 150)
    share = view.hidden.sum() / n / fraction
    assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 150)


def test_the_mask_is_the_seeds():
    backbone, objective = made()
    first, again, other = (look(backbone, objective, CRYSTALS, seed) for seed in (7, 7, 8))
    assert torch.equal(first.hidden, again.hidden)
    assert not torch.equal(first.hidden, other.hidden)
    torch.manual_seed(99)
    assert torch.equal(look(backbone, objective, CRYSTALS, 7).hidden, first.hidden)


def test_losses_are_those_worked_by_hand():
    """Heads of zero weights say their biases of every atom."""
    backbone, objective = made(fraction=0.9, properties=("electronegativity", "period"))
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.zero_()
        objective.element.bias[8] = math.log(4.0)
        objective.property.bias.copy_(torch.tensor([0.25, -1.0]))
    view = look(backbone, objective, CRYSTALS)
    numbers = view.graph.numbers[view.hidden]
    # 119 classes: softmax gives oxygen 4 / 122 and every other element 1 / 122.
    probability = torch.where(numbers == 8, 4 / 122, 1 / 122).double()
    found = {name: loss.detach() for name, loss in objective.losses(view).items()}
    assert (numbers == 8).any()
    assert float(found["elements"]) == pytest.approx(float(-probability.log().mean()), rel=1e-6)
    wanted = objective.table[numbers]
    gaps = (wanted - torch.tensor([0.25, -1.0])).abs()
    assert float(found["properties"]) == pytest.approx(float(gaps.mean()), rel=1e-6)


def test_properties_are_standardised_over_the_elements():
    _, objective = made(properties=("electronegativity", "covalent_radius"))
    raw = channel_table(("electronegativity", "covalent_radius"))
    table = objective.table[1:].double()
    torch.testing.assert_close(table.mean(0), torch.zeros(2).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(table.std(0), torch.ones(2).double(), atol=1e-5, rtol=0)
    # Linear in the values of the periodic table: ratios of differences are the table's.
    for a, b, c, d in ((11, 17, 3, 9), (20, 8, 38, 16)):
        ratio = (raw[b] - raw[a]) / (raw[d] - raw[c])
        found = (objective.table[b] - objective.table[a]) / (
            objective.table[d] - objective.table[c]
        )
        torch.testing.assert_close(found.double(), ratio.double(), rtol=1e-4, atol=1e-4)
    # Fluorine, oxygen, carbon, sodium: from the most electronegative on; and sodium is large.
    assert list(objective.table[[9, 8, 6, 11], 0].argsort(descending=True)) == [0, 1, 2, 3]
    assert objective.table[11, 1] > objective.table[6, 1] > objective.table[9, 1]


@pytest.mark.parametrize("what", ["elements", "properties"])
def test_either_can_be_left_out(what):
    settings = {"properties": ()} if what == "elements" else {"elements": False}
    backbone, objective = made(**settings)
    assert objective.terms == (what,)
    assert list(objective.losses(look(backbone, objective, CRYSTALS))) == [what]


def test_both_left_out_is_refused():
    with pytest.raises(ValueError, match="set elements or properties, or leave the objective out"):
        made(elements=False, properties=())


def test_a_batch_with_nothing_hidden_has_zero_losses_and_gradients():
    backbone, objective = made(fraction=0.001)
    view = look(backbone, objective, CRYSTALS)
    assert not view.hidden.any()
    losses = objective.losses(view)
    assert {name: float(loss.detach()) for name, loss in losses.items()} == {
        "elements": 0.0,
        "properties": 0.0,
    }
    sum(losses.values()).backward()
    for parameter in (*backbone.parameters(), *objective.parameters()):
        assert parameter.grad is None or not parameter.grad.any()


def test_fingerprints_beside_it_keep_all_elements_in_their_targets():
    """The targets are of the whole crystal; only what the network sees is hidden."""
    torch.manual_seed(0)
    model = MODELS["painn"]
    backbone = model.backbone.build().double()
    settings = (
        FingerprintObjectiveSettings(fingerprints=(RDFSettings(cutoff=3.0, n_bins=8),)),
        MaskingSettings(fraction=0.5),
    )
    members = [s.build(backbone, model).double() for s in settings]
    graph, _ = batch(CRYSTALS, members[1])
    view = Mixture(members, "fixed")._look(backbone, graph, {}, 0, 0.0)
    assert view.hidden.any()
    asked = []
    fingerprint = members[0].fingerprints[0]
    fingerprint.register_forward_pre_hook(lambda module, inputs: asked.append(inputs[0].numbers))
    members[0].losses(view)
    assert len(asked) == 1
    assert torch.equal(asked[0], graph.numbers)


def test_gradients_reach_every_weight_and_the_embedding_of_the_hidden():
    backbone, objective = made()
    idle, own_idle = gradients_reach(backbone, objective, CRYSTALS)
    assert all("updates.1" in name for name in idle), idle
    assert own_idle == []
    tables = [m for m in backbone.modules() if isinstance(m, torch.nn.Embedding)]
    assert all(table.weight.grad[0].any() for table in tables)
