"""Standardisers, heads and metrics against hand-worked facts."""

import numpy as np
import pytest
import torch

from atomprint.heads.head import Head, max_over_crystals
from atomprint.heads.metrics import metric, metric_name, roc_auc
from atomprint.heads.standardize import Standardizer
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch


def test_standardizer_ignores_missing_and_survives_constants():
    standardizer = Standardizer(3)
    nan = float("nan")
    values = torch.tensor([[1.0, 7.0, nan], [3.0, 7.0, 2.0], [nan, 7.0, 4.0]])
    standardizer.fit(values)
    assert standardizer.mean.tolist() == [2.0, 7.0, 3.0]
    assert standardizer.scale.tolist() == [1.0, 1.0, 1.0]
    known = torch.nan_to_num(standardizer(values))
    assert known[:, 1].abs().max() == 0
    torch.testing.assert_close(standardizer.inverse(standardizer(values)), values, equal_nan=True)


@pytest.mark.parametrize("pooling", ["mean", "mean+max", "attention"])
def test_a_supercell_has_the_same_prediction(pooling):
    torch.manual_seed(0)
    head = Head(Target(name="x"), 5, pooling, 7).double()
    one = Crystal.make("one", [3, 9], np.eye(3) * 4, frac=[[0, 0, 0], [0.5, 0.5, 0.5]])
    two = Crystal.make(
        "two", [3, 9, 3, 9], np.diag([8.0, 4, 4]),
        frac=[[0, 0, 0], [0.25, 0.5, 0.5], [0.5, 0, 0], [0.75, 0.5, 0.5]],
    )  # fmt: skip
    graph = GraphBatch.from_crystals([one, two], 3.0, torch.float64)
    rows = torch.randn(2, 5, dtype=torch.float64)
    out = head(torch.cat([rows, rows, rows]), graph)
    torch.testing.assert_close(out[0], out[1])
    assert float(out[0]) != 0


def test_roc_auc_by_hand():
    score = np.array([0.1, 0.4, 0.35, 0.8])
    assert roc_auc(score, np.array([False, False, True, True])) == 0.75
    assert roc_auc(np.ones(4), np.array([False, True, True, False])) == 0.5
    assert np.isnan(roc_auc(score, np.ones(4, dtype=bool)))


def test_metrics_skip_missing_labels():
    nan = float("nan")
    regression = Target(name="x")
    assert metric(regression, np.array([[1.0], [5.0]]), np.array([[3.0], [nan]])) == 2.0
    three = Target(name="c", size=3, task="classification")
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]])
    assert metric(three, probabilities, np.array([[0.0], [1.0], [nan]])) == 0.5
    assert [metric_name(t) for t in (regression, three)] == ["MAE", "error rate"]


def test_rounding_does_not_choose_among_atoms_that_are_alike():
    """The maximum is exact; its gradient is shared by values that differ by rounding alone."""
    four = Crystal.make(
        "four",
        [29] * 4,
        np.eye(3) * 3.6,
        frac=[[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    )
    two = Crystal.make("two", [55, 17], np.eye(3) * 4.1, frac=[[0, 0, 0], [0.5, 0.5, 0.5]])
    graph = GraphBatch.from_crystals([four, two], 3.0, torch.float32)
    # Four atoms of one crystal, two of the other; columns: alike, all equal, apart.
    values = torch.tensor([
        [1.0, 2.0, 0.0], [1.0 + 1e-7, 2.0, 0.5], [1.0, 2.0, 3.0], [0.2, 2.0, 1.0],
        [-4.0, 0.0, 1.0], [-4.0000005, 0.0, 1.001],
    ], dtype=torch.float32, requires_grad=True)  # fmt: skip
    found = max_over_crystals(values, graph)
    assert torch.equal(found[0], values[:4].amax(0))
    assert torch.equal(found[1], values[4:].amax(0))
    found.sum().backward()
    third = 1 / 3
    wanted = [
        [third, 0.25, 0], [third, 0.25, 0], [third, 0.25, 1], [0, 0.25, 0],
        [0.5, 0.5, 0], [0.5, 0.5, 1],
    ]  # fmt: skip
    torch.testing.assert_close(values.grad, torch.tensor(wanted))
