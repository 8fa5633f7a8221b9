"""Denoising: what is predicted turns with the crystal, and derivatives are derivatives."""

import numpy as np
import pytest
import torch

from atomprint.data.batching import collate
from atomprint.objectives import DenoisingSettings, Mixture
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from atomprint.structures.perturb import DISPLACEMENT, STRAIN
from atomprint.training.pretrain import PretrainSettings
from tests.objectives.looks import (
    MODELS,
    build,
    doubled,
    gradients_reach,
    look,
    losses,
    perturbed,
    reversed_atoms,
    rotated,
)

TIGHT = {"rtol": 1e-6, "atol": 1e-10}
EVERY = [(model, by) for model in MODELS for by in ("vectors", "energy")]


def made(model="painn", by="vectors", **more):
    return build(DenoisingSettings(**({"by": by, "strain": True} | more)), model)


@pytest.mark.parametrize(("model", "by"), EVERY)
def test_predictions_turn_with_the_crystal_and_losses_stay(model, by):
    backbone, objective = made(model, by)
    crystals = perturbed()
    turned, turn = rotated(crystals)
    before = objective.predict(look(backbone, objective, crystals))
    after = objective.predict(look(backbone, objective, turned))
    torch.testing.assert_close(after["displacement"], before["displacement"] @ turn, **TIGHT)
    torch.testing.assert_close(after["strain"], turn.T @ before["strain"] @ turn, **TIGHT)
    torch.testing.assert_close(before["strain"], before["strain"].mT)
    assert before["displacement"].abs().max() > 1e-5
    assert before["strain"].abs().max() > 1e-5
    expected = losses(backbone, objective, crystals)
    assert losses(backbone, objective, turned) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("model", "by"), EVERY)
@pytest.mark.parametrize("change", [reversed_atoms, doubled])
def test_losses_do_not_depend_on_the_order_of_atoms_or_the_cell(model, by, change):
    backbone, objective = made(model, by)
    crystals = perturbed()
    expected = losses(backbone, objective, crystals)
    assert losses(backbone, objective, change(crystals)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("model", "by"), EVERY)
def test_gradients_reach_every_weight(model, by):
    backbone, objective = made(model, by)
    idle, own_idle = gradients_reach(backbone, objective, perturbed())
    # Of an energy nothing depends on its zero; of a scalar nothing on the last layer's vectors.
    assert [name for name in own_idle if not (by == "energy" and name.endswith("2.bias"))] == []
    if by == "vectors":
        assert idle == []
    else:
        assert all(".1." in name or name in ("norm.bias",) for name in idle), idle


@pytest.mark.parametrize("model", MODELS)
def test_derivatives_are_finite_differences_of_the_energy(model):
    backbone, objective = made(model, "energy")
    crystals = perturbed(3)
    found = objective.predict(look(backbone, objective, crystals))
    graph = GraphBatch.from_crystals(crystals, 4.0, torch.float64)
    step = 1e-5

    def energies(positions, cells):
        moved = graph.with_geometry(positions, cells)
        atoms = objective.energy(backbone(moved).scalars, moved)[:, 0]
        return torch.zeros(len(crystals), dtype=torch.float64).index_add(
            0, graph.crystal_index, atoms
        )

    for atom, axis in [(0, 0), (2, 1), (5, 2)]:
        change = torch.zeros_like(graph.positions)
        change[atom, axis] = step
        up = energies(graph.positions + change, graph.cells).sum()
        down = energies(graph.positions - change, graph.cells).sum()
        force = -(up - down) / (2 * step)
        torch.testing.assert_close(found["displacement"][atom, axis], force, rtol=1e-5, atol=1e-8)
    for row, column in [(0, 0), (0, 1), (2, 1)]:
        strain = torch.zeros(3, 3, dtype=torch.float64)
        strain[row, column] += step / 2
        strain[column, row] += step / 2
        ways = []
        for sign in (1, -1):
            change = torch.eye(3, dtype=torch.float64) + sign * strain
            ways.append(energies(graph.positions @ change, graph.cells @ change))
        slope = -(ways[0] - ways[1]) / (2 * step) / graph.n_atoms_per_crystal
        torch.testing.assert_close(found["strain"][:, row, column], slope, rtol=1e-5, atol=1e-8)


def test_what_is_wanted_is_the_way_back_in_units_of_the_scales():
    """With a head that says zero, the losses are mean squares of the labels themselves."""
    backbone, objective = made(scale=0.1, strain_scale=0.5)
    for parameter in objective.parameters():
        torch.nn.init.zeros_(parameter)
    crystals = perturbed(3)
    gone, strained = [], []
    for c in crystals:
        moved = c.labels[DISPLACEMENT]
        gone.append((moved - moved.mean(0)) / 0.1)
        strained.append(c.labels[STRAIN] / 0.5)
    found = losses(backbone, objective, crystals)
    assert found["displacement"] == pytest.approx(np.mean(np.concatenate(gone) ** 2), rel=1e-5)
    assert found["strain"] == pytest.approx(np.mean(np.concatenate(strained) ** 2), rel=1e-5)
    # The sign: displacing and straining by the prediction undoes what was done.
    view = look(backbone, objective, crystals)
    objective.predict = lambda view: {
        "displacement": -torch.tensor(np.concatenate(gone)),
        "strain": -torch.tensor(np.array(strained)).reshape(-1, 3, 3),
    }
    assert all(float(loss) < 1e-12 for loss in objective.losses(view).values())


def test_a_crystal_moved_as_a_whole_has_nothing_to_predict():
    backbone, objective = made()
    crystals = perturbed()
    moved = [
        c.with_geometry(c.positions + 0.3, c.cell).with_labels(
            {**c.labels, DISPLACEMENT: c.labels[DISPLACEMENT] + 0.3}
        )
        for c in crystals
    ]
    expected = losses(backbone, objective, crystals)
    assert losses(backbone, objective, moved) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("by", ["vectors", "energy"])
def test_the_axis_of_a_strain_shows_even_where_all_sites_have_inversion_symmetry(by):
    """Rocksalt, stretched along z and otherwise perfect: vectors vanish, the tensor does not."""
    backbone, objective = made(by=by)
    cell = np.array([[0, 2.1, 2.1], [2.1, 0, 2.1], [2.1, 2.1, 0]]) * [1, 1, 1.05]
    labels = {DISPLACEMENT: np.zeros((2, 3)), STRAIN: np.zeros(9)}
    salt = Crystal.make("salt", [12, 8], cell, frac=[[0] * 3, [0.5] * 3], labels=labels)
    view = look(backbone, objective, [salt])
    assert float(view.features.vectors.abs().max()) < 1e-10
    found = objective.predict(view)["strain"][0]
    assert float((found - found.diag().diag()).abs().max()) < 1e-10
    torch.testing.assert_close(found[0, 0], found[1, 1])
    assert abs(float(found[0, 0] - found[2, 2])) > 1e-5


@pytest.mark.parametrize(
    ("objective", "perturbation", "reason"),
    [
        ({}, {"rattle": 0.0}, "nothing to predict where perturbation.rattle is 0"),
        ({"strain": True}, {"rattle": 0.05}, "no strain to predict where perturbation.strain is 0"),
        ({"by": "guess"}, {}, "'vectors' or 'energy'"),
        ({"scale": 0}, {}, "greater than 0"),
    ],
)
def test_bad_settings_are_refused(objective, perturbation, reason):
    with pytest.raises(ValueError, match=reason):
        PretrainSettings(objectives=[{"kind": "denoising"} | objective], perturbation=perturbation)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("weighting", ["uncertainty", "balance"])
def test_in_half_precision_geometry_stays_exact_and_weights_learn(model, weighting):
    torch.manual_seed(0)
    backbone = MODELS[model].backbone.build()
    settings = DenoisingSettings(by="energy", strain=True)
    mixture = Mixture([settings.build(backbone, MODELS[model])], weighting)
    crystals = perturbed()
    graph = collate(crystals, 4.0).graph
    labels = {
        DISPLACEMENT: torch.tensor(
            np.concatenate([c.labels[DISPLACEMENT] for c in crystals]), dtype=torch.float32
        ),
        STRAIN: torch.tensor(np.array([c.labels[STRAIN] for c in crystals]), dtype=torch.float32),
    }
    with torch.autocast("cpu", dtype=torch.bfloat16):
        view = mixture._look(backbone, graph, labels, 0, 0.0)
        torch.testing.assert_close(view.seen.edge_vectors, graph.edge_vectors)
        loss, _ = mixture.loss(backbone, graph, labels)
    loss.backward()
    exact = GraphBatch.from_crystals(crystals, 4.0, torch.float64)
    torch.testing.assert_close(graph.edge_vectors.double(), exact.edge_vectors, rtol=0, atol=1e-5)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in backbone.parameters() if p.grad is not None)


@pytest.mark.parametrize("by", ["vectors", "energy"])
def test_it_is_watched_without_gradients(by):
    """Validation runs under no_grad; the losses are those of training."""
    backbone, objective = made(by=by)
    mixture = Mixture([objective], "fixed")
    view = look(backbone, objective, perturbed())
    expected = {f"denoising/{k}": float(v) for k, v in objective.losses(view).items()}
    mixture.eval()
    with torch.no_grad():
        _, log = mixture.loss(backbone, view.graph, view.labels)
    assert {k: float(v) for k, v in log.items()} == pytest.approx(expected)
