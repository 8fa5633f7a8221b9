"""Teachers: what their features are, and that they stay so."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from atomprint.fingerprints import RDFSettings
from atomprint.ground.errors import DataError
from atomprint.objectives import Mixture, Sample
from atomprint.objectives.teacher_networks import unperturbed
from atomprint.objectives.teachers import directions
from atomprint.structures.graph import GraphBatch
from atomprint.structures.perturb import DISPLACEMENT, STRAIN, PerturbSettings
from tests.objectives.distilling import (
    EAD,
    EMA,
    FINE,
    PER_ATOM,
    batch_of,
    build,
    fitted,
    loss,
    saved_teacher,
)
from tests.toy import toy_crystals


def test_random_directions_are_orthonormal_and_the_same_for_a_seed():
    found = directions(30, 12, seed=7)
    assert_close(found.T @ found, torch.eye(12))
    assert torch.equal(found, directions(30, 12, seed=7))
    assert not torch.equal(found, directions(30, 12, seed=8))


@pytest.mark.parametrize("projection", ["random", "pca"])
def test_the_projection_is_that_of_standardised_fingerprints(projection):
    rdf = RDFSettings(cutoff=4.0, n_bins=8, per="atom", cutoff_function="cosine")
    teacher = {**FINE, "fingerprints": (EAD, rdf), "projection": projection}
    _, objective, batch = fitted(24, teacher=teacher)
    rows = torch.cat([EAD.build()(batch.graph), rdf.build()(batch.graph)], 1).double().numpy()
    varying = rows.std(0) > 1e-6 * np.abs(rows.mean(0)) + 1e-12
    scaled = ((rows - rows.mean(0)) / np.where(varying, rows.std(0), 1))[:, varying]
    found = objective.teacher(batch.graph, {}).double().numpy()
    if projection == "pca":
        # Components have unit spread and no correlations, and are those of a singular value
        # decomposition, but for their signs.
        np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(6), atol=1e-3)
        left = np.linalg.svd(scaled, full_matrices=False)[0][:, :6] * math.sqrt(len(rows))
        np.testing.assert_allclose(np.abs(found), np.abs(left), atol=2e-2)
    else:
        expected = scaled @ directions(rows.shape[1], 6, 0).double().numpy()[varying]
        expected /= np.sqrt((expected**2).mean())
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_reloaded_teacher_is_the_same():
    _, objective, batch = fitted(teacher=FINE)
    again = build(teacher=FINE)[1]
    assert torch.equal(again.teacher.matrix, objective.teacher.matrix)
    other = build(teacher=FINE | {"seed": 1})[1]
    assert not torch.equal(other.teacher.matrix, objective.teacher.matrix)
    other.load_state_dict(objective.state_dict())
    expected = objective.teacher(batch.graph, {})
    assert_close(other.teacher(batch.graph, {}), expected, rtol=0, atol=0)


def test_a_checkpoint_teaches_its_standardised_layers(tmp_path):
    model = saved_teacher(tmp_path)
    teacher = {"kind": "checkpoint", "path": str(tmp_path), "layers": (0, -1)}
    _, objective, batch = fitted(teacher=teacher)
    with torch.no_grad():
        layers = model.backbone(batch.graph).layers
    values = torch.cat([layers[0], layers[1]], 1)
    expected = (values - values.mean(0)) / values.std(0, correction=0)
    assert_close(objective.teacher(batch.graph, {}), expected, atol=1e-3, rtol=1e-3)
    assert objective.cutoff == model.backbone.cutoff


def test_the_ema_teacher_is_the_running_mean_of_the_student():
    backbone, objective = build(teacher=EMA, hidden=0.2)
    teacher = objective.teacher
    seen = []
    for step in range(6):
        with torch.no_grad():
            for p in backbone.parameters():
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(step)))
        seen.append([p.detach().clone() for p in backbone.parameters()])
        objective.follow(backbone)
    # The first look copies; then decays of 0.5, 0.5 + 0.4 / 3, 0.5 + 0.8 / 3, 0.9 and 0.9.
    decays = [0.5, 0.5 + 0.4 / 3, 0.5 + 0.8 / 3, 0.9, 0.9]
    weights = [(1 - ([0.0, *decays][k])) * math.prod(decays[k:]) for k in range(6)]
    assert sum(weights) == pytest.approx(1)
    for index, p in enumerate(teacher.backbone.parameters()):
        expected = sum(w * values[index] for w, values in zip(weights, seen, strict=True))
        assert_close(p.detach(), expected)

    again = build(teacher=EMA, hidden=0.2)[1]
    again.load_state_dict(objective.state_dict())
    with torch.no_grad():
        for p in backbone.parameters():
            p.zero_()
    for one in (objective, again):
        one.follow(backbone)
    for name, value in objective.state_dict().items():
        assert_close(again.state_dict()[name], value, rtol=0, atol=0)


def test_the_ema_teacher_follows_in_training_only():
    backbone, objective, batch = fitted(teacher=EMA, hidden=0.2)
    loss(objective, backbone, batch, training=False)
    assert int(objective.teacher.n_followed) == 0
    loss(objective, backbone, batch)
    assert int(objective.teacher.n_followed) == 1


def test_ema_targets_are_normalised_layers_of_all_elements():
    backbone, objective, batch = fitted(teacher=EMA, hidden=0.5)
    with torch.no_grad():
        layers = torch.stack(backbone(batch.graph).layers)
    normal = layers - layers.mean(2, keepdim=True)
    normal = normal / (layers.var(2, keepdim=True, correction=0) + 1e-5).sqrt()
    assert_close(objective.teacher(batch.graph, {}), normal.mean(0))


def test_a_clean_teacher_sees_the_crystals_as_they_were():
    perturbation = PerturbSettings(rattle=0.05, strain=0.03)
    _, objective = build(teacher=EMA | {"clean": True})
    crystals = toy_crystals(8)
    batch = batch_of(crystals, objective, perturbation)
    back = unperturbed(batch.graph, batch.labels[DISPLACEMENT], batch.labels[STRAIN])
    assert_close(back.cells, torch.tensor(np.stack([c.cell for c in crystals])).float())
    expected = GraphBatch.from_crystals(crystals, 4.0)
    # Positions may differ by lattice vectors: distances to neighbours tell.
    wide = GraphBatch.from_crystals(crystals, 3.5)
    near = back.distances[back.distances < 3.5].sort()[0]
    assert_close(near, wide.distances.sort()[0], atol=1e-4, rtol=1e-4)
    assert (batch.graph.cells - back.cells).abs().max() > 0.05
    with torch.no_grad():
        none = {DISPLACEMENT: torch.zeros(1, 3), STRAIN: torch.zeros(len(crystals), 9)}
        wanted = objective.teacher(expected, none)
        found = objective.teacher(batch.graph, batch.labels)
        moved = build(teacher=EMA, hidden=0.1)[1].teacher(batch.graph, {})
    # Pairs that left the cutoff are missing, where messages are almost zero.
    assert (found - wanted).abs().mean() < 0.1 * (moved - wanted).abs().mean()


def test_collapse_is_logged_and_counts_for_nothing():
    backbone, objective, batch = fitted(teacher=EMA, hidden=0.25, loss="huber")
    mixture = Mixture([objective], "fixed")
    total, log = mixture.loss(backbone, batch.graph, {}, seed=2)
    assert_close(total, log["distillation/huber"])
    view = mixture._look(backbone, batch.graph, {}, 2, 0.0)
    predicted = objective.heads[0](view.features.scalars, view.graph).detach().numpy()
    assert float(log["distillation/spread"]) == pytest.approx(predicted.std(0).mean(), rel=1e-4)
    last = objective.heads[0].out[-1]
    torch.nn.init.zeros_(last.weight)
    _, log = mixture.loss(backbone, batch.graph, {})
    assert float(log["distillation/spread"]) == pytest.approx(0, abs=1e-6)
    assert mixture.judges == frozenset()


def with_features(crystals, missing):
    """Crystals with the label ``features``; those in ``missing`` have none."""
    found = []
    for index, crystal in enumerate(crystals):
        values = np.stack([crystal.numbers, crystal.numbers**2, crystal.positions[:, 0]], 1)
        labels = {} if index in missing else {"features": values.astype(float)}
        found.append(crystal.with_labels({**crystal.labels, **labels}))
    return found


def test_atoms_without_the_label_do_not_count():
    backbone, objective = build(teacher=PER_ATOM, loss=("cosine", "huber", "relational"))
    crystals = with_features(toy_crystals(8), missing={2, 5})
    some, known = (
        batch_of(chosen, objective)
        for chosen in (crystals, [c for c in crystals if "features" in c.labels])
    )
    assert some.labels["features"].isnan().any()
    objective.fit([Sample(some.graph, some.labels)])
    values = known.labels["features"]
    scale = objective.teacher.scale
    assert_close(scale.mean, values.mean(0))
    assert_close(scale.scale, values.std(0, correction=0))
    first, second = (loss(objective, backbone, b)[1] for b in (some, known))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert_close(value, second[name], msg=name)
        assert value > 0
    nothing = batch_of(toy_crystals(4), objective)
    total, _ = loss(objective, backbone, nothing)
    total.backward()
    assert total.item() == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in backbone.parameters())
    with pytest.raises(DataError, match="no atom of the corpus carries 3 numbers as label"):
        objective.fit([Sample(nothing.graph, nothing.labels)])
