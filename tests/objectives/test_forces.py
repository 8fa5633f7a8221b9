"""Force fields: references, signs and units by a pair potential with known derivatives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from atomprint.ground.errors import DataError
from atomprint.objectives import ForcesSettings, Mixture, Sample
from atomprint.structures.graph import GraphBatch
from atomprint.structures.reading import read_crystals
from atomprint.training.pretrain import PretrainSettings
from tests.objectives.looks import (
    MODELS,
    batch,
    build,
    doubled,
    gradients_reach,
    look,
    losses,
    reversed_atoms,
    rotated,
)
from tests.toy import toy_crystals

CUTOFF = 4.0
DATA = Path(__file__).parents[3] / "shared" / "data"
EVERY = [(model, direct) for model in MODELS for direct in (False, True)]


def pair(r):
    """A smooth pair energy in eV (zero at the cutoff with its slope), and its slope in eV/Å."""
    gone = (1 - (r / CUTOFF) ** 2) ** 3
    slope_gone = -6 * r / CUTOFF**2 * (1 - (r / CUTOFF) ** 2) ** 2
    bare = np.exp(-(r - 2.2)) if isinstance(r, np.ndarray) else torch.exp(-(r - 2.2))
    return bare * gone, -bare * gone + bare * slope_gone


def labelled(n=4, seed=0, rattle=0.1):
    """Crystals with the energy, forces and stress of the pair potential, by its formulas."""
    rng = np.random.default_rng(seed)
    found = []
    for crystal in toy_crystals(n, seed):
        positions = crystal.positions + rng.normal(scale=rattle, size=crystal.positions.shape)
        crystal = crystal.with_geometry(positions, crystal.cell)
        graph = GraphBatch.from_crystals([crystal], CUTOFF, torch.float64)
        r, vectors = graph.distances.numpy(), graph.edge_vectors.numpy()
        energy, slope = pair(r)
        pull = (slope / r)[:, None] * vectors
        forces = np.zeros_like(positions)
        np.add.at(forces, graph.center_index.numpy(), pull)
        stress = 0.5 * vectors.T @ pull / crystal.volume
        labels = {"energy": 0.5 * energy.sum(), "forces": forces, "stress": stress.ravel()}
        found.append(crystal.with_labels(labels))
    return found


class Pairs(nn.Module):
    """The pair potential in place of a head."""

    def forward(self, scalars, graph):
        energy = 0.5 * pair(graph.distances)[0]
        return torch.zeros_like(graph.positions[:, 0]).index_add(0, graph.center_index, energy)[
            :, None
        ]


def made(model="painn", **settings):
    return build(ForcesSettings(**({"stress": "stress"} | settings)), model)


def fitted(crystals, model="painn", **settings):
    backbone, objective = made(model, **settings)
    objective.fit([Sample(*batch(crystals, objective))])
    return backbone, objective


def test_of_the_right_energy_every_loss_is_zero():
    """Signs, factors and units: the derivatives of the formula are its forces and stress."""
    crystals = labelled()
    backbone, objective = made()
    objective.energy = Pairs()
    assert losses(backbone, objective, crystals) == pytest.approx(
        {"energy": 0, "forces": 0, "stress": 0}, abs=1e-6
    )
    assert min(np.abs(c.labels["forces"]).max() for c in crystals) > 0.01
    assert min(np.abs(c.labels["stress"]).max() for c in crystals) > 0.001


@pytest.mark.parametrize("model", MODELS)
def test_forces_and_stress_are_finite_differences_of_the_energy(model):
    crystals = labelled(3)
    backbone, objective = fitted(crystals, model)
    view = look(backbone, objective, crystals)
    found = objective.predict(view)
    step = 1e-5

    def energies(positions, cells):
        moved = view.graph.with_geometry(positions, cells)
        atoms = objective.unit * objective.energy(backbone(moved).scalars, moved)[:, 0]
        return objective._total(atoms, moved)

    torch.testing.assert_close(energies(view.graph.positions, view.graph.cells), found["energy"])
    for atom, axis in [(0, 0), (3, 1), (5, 2)]:
        change = torch.zeros_like(view.graph.positions)
        change[atom, axis] = step
        up, down = (
            energies(view.graph.positions + sign * change, view.graph.cells).sum()
            for sign in (1, -1)
        )
        torch.testing.assert_close(
            found["forces"][atom, axis], -(up - down) / (2 * step), rtol=1e-5, atol=1e-8
        )
    for row, column in [(0, 0), (1, 0), (2, 1)]:
        strain = torch.zeros(3, 3, dtype=torch.float64)
        strain[row, column] += step / 2
        strain[column, row] += step / 2
        up, down = (
            energies(view.graph.positions @ change, view.graph.cells @ change)
            for change in (torch.eye(3) + strain, torch.eye(3) - strain)
        )
        slope = (up - down) / (2 * step) / view.graph.volumes
        torch.testing.assert_close(found["stress"][:, row, column], slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("model", "direct"), EVERY)
def test_predictions_turn_with_the_crystal(model, direct):
    crystals = labelled()
    backbone, objective = fitted(crystals, model, direct=direct)
    turned, turn = rotated(crystals)
    before = objective.predict(look(backbone, objective, crystals))
    after = objective.predict(look(backbone, objective, turned))
    tight = {"rtol": 1e-6, "atol": 1e-10}
    torch.testing.assert_close(after["energy"], before["energy"], **tight)
    torch.testing.assert_close(after["forces"], before["forces"] @ turn, **tight)
    torch.testing.assert_close(after["stress"], turn.T @ before["stress"] @ turn, **tight)
    assert before["forces"].abs().max() > 1e-6
    assert before["stress"].abs().max() > 1e-6
    expected = losses(backbone, objective, crystals)
    assert losses(backbone, objective, turned) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("model", "direct"), EVERY)
def test_losses_do_not_depend_on_the_order_of_atoms_or_the_cell(model, direct):
    crystals = labelled()
    backbone, objective = fitted(crystals, model, direct=direct)
    expected = losses(backbone, objective, crystals)
    assert losses(backbone, objective, reversed_atoms(crystals)) == pytest.approx(expected)
    again = doubled(crystals, extensive=("energy",))
    assert losses(backbone, objective, again) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("model", "direct"), EVERY)
def test_gradients_reach_every_weight(model, direct):
    crystals = labelled()
    backbone, objective = fitted(crystals, model, direct=direct)
    idle, own_idle = gradients_reach(backbone, objective, crystals)
    assert own_idle == []
    # An energy is read from scalars: the vectors of the last layer reach nothing.
    assert idle == [] if direct else all(".1." in name for name in idle), idle


def test_references_of_elements_are_recovered_exactly():
    """Energies that are sums over elements leave no spread and have these references."""
    worth = {z: -0.37 * z + 0.01 * z**1.5 for z in range(1, 90)}
    crystals = [
        c.with_labels({"energy": sum(worth[int(z)] for z in c.numbers)}) for c in toy_crystals(60)
    ]
    backbone, objective = build(ForcesSettings(forces=None))
    graph, labels = batch(crystals, objective)
    exact = torch.tensor([[c.labels["energy"]] for c in crystals], dtype=torch.float64)
    objective.fit([Sample(graph, {"energy": exact})])
    seen = {int(z) for c in crystals for z in c.numbers}
    for z in range(1, 119):
        expected = worth[z] if z in seen else 0.0
        assert float(objective.references[z]) == pytest.approx(expected, abs=1e-9)
    assert float(objective.scales[0]) == 1.0  # rounding is no spread
    for parameter in objective.parameters():
        nn.init.zeros_(parameter)
    assert losses(backbone, objective, crystals)["energy"] < 1e-5
    # Labels in single precision, as batches carry them.
    objective.fit([Sample(graph, labels)])
    assert float(objective.scales[0]) == 1.0


def test_scales_are_those_of_the_labels():
    crystals = labelled(12)
    _, objective = fitted(crystals)
    forces = np.concatenate([c.labels["forces"] for c in crystals])
    stress = np.concatenate([c.labels["stress"] for c in crystals])
    assert float(objective.scales[1]) == pytest.approx(np.sqrt((forces**2).mean()), rel=1e-5)
    assert float(objective.scales[2]) == pytest.approx(np.sqrt((stress**2).mean()), rel=1e-5)
    assert float(objective.unit) == float(objective.scales[1])


def test_missing_labels_do_not_count():
    crystals = labelled()
    backbone, objective = fitted(crystals)
    first = losses(backbone, objective, crystals[:1])
    bare = [c.with_labels({}) for c in crystals[1:]]
    assert losses(backbone, objective, crystals[:1] + bare) == pytest.approx(first, rel=1e-5)
    view = look(backbone, objective, bare)
    none = objective.losses(view)
    sum(none.values()).backward()
    assert {name: float(value.detach()) for name, value in none.items()} == dict.fromkeys(none, 0)
    assert all(torch.isfinite(p.grad).all() for p in backbone.parameters() if p.grad is not None)
    with pytest.raises(DataError, match="no crystal has the label 'energy'"):
        objective.fit([Sample(*batch(bare, objective))])


def test_weights_are_factors():
    crystals = labelled()
    backbone, objective = fitted(crystals)
    _, heavier = fitted(crystals, energy_weight=2.0, forces_weight=3.0, stress_weight=5.0)
    plain, weighed = (losses(backbone, one, crystals) for one in (objective, heavier))
    assert weighed == pytest.approx(
        {
            "energy": 2 * plain["energy"],
            "forces": 3 * plain["forces"],
            "stress": 5 * plain["stress"],
        }
    )


@pytest.mark.parametrize(("model", "direct"), EVERY)
def test_the_losses_fall(model, direct):
    # One element: with many the references alone would fit eight energies.
    crystals = [replace(c, numbers=np.full_like(c.numbers, 28)) for c in labelled(8)]
    backbone, objective = fitted(crystals, model, direct=direct)
    mixture = Mixture([objective], "fixed")
    graph, labels = batch(crystals, objective)
    optimizer = torch.optim.Adam([*backbone.parameters(), *mixture.parameters()], lr=2e-2)
    rows = []
    for _ in range(120):
        optimizer.zero_grad()
        loss, log = mixture.loss(backbone, graph, labels)
        loss.backward()
        optimizer.step()
        rows.append(log)
    for name in rows[0]:
        assert rows[-1][name] < 0.8 * rows[0][name], name


@pytest.mark.parametrize(
    ("objective", "perturbation", "reason"),
    [
        ({}, {"rattle": 0.05}, "set perturbation.rattle and perturbation.strain to 0"),
        ({}, {"rattle": 0.0, "strain": 0.01}, "do not belong to displaced atoms or strained"),
        ({"energy": None, "forces": None}, {"rattle": 0.0}, "name a label"),
        ({"forces_weight": -1}, {"rattle": 0.0}, "greater than 0"),
    ],
)
def test_bad_settings_are_refused(objective, perturbation, reason):
    with pytest.raises(ValueError, match=reason):
        PretrainSettings(objectives=[{"kind": "forces"} | objective], perturbation=perturbation)


@pytest.mark.parametrize("name", ["mlearn_forces", "monbtaw_forces"])
def test_labels_of_public_files_have_the_default_names(name):
    file = DATA / f"{name}.extxyz.gz"
    if not file.is_file():
        pytest.skip(f"{file.name} is not on this machine")
    crystals = read_crystals(file).crystals[::100]
    _, objective = build(ForcesSettings())
    graph, labels = batch(crystals, objective)
    assert all(torch.isfinite(value).all() for value in labels.values())
    objective.fit([Sample(graph, labels)])
    # References take away what elements differ by: eV remain of hundreds.
    assert 0.01 < float(objective.scales[0]) < 2.0
    assert 0.1 < float(objective.scales[1]) < 5.0
