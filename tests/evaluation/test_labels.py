"""From names of labels to targets: logarithms of labels."""

import math

import numpy as np
import pytest

from atomprint import api
from atomprint.data.inspect import inspect
from atomprint.evaluation.labels import describe_targets, with_logarithms
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.reading import ReadResult
from atomprint.structures.writing import write_parquet
from atomprint.training.finetune import FinetuneSettings
from tests.toy import toy_crystals


def labelled(values, n=12, name="sigma"):
    crystals = toy_crystals(n)
    return [
        c if value is None else c.with_labels({**c.labels, name: value})
        for c, value in zip(crystals, values, strict=True)
    ]


def test_logarithms_are_labels_with_their_unit():
    crystals = labelled([10.0**-k for k in range(11)] + [None])
    found = with_logarithms("log10(sigma)", ReadResult(crystals, [], {"sigma": "S/cm"}))
    values = [c.labels.get("log10(sigma)") for c in found.crystals]
    np.testing.assert_allclose(values[:11], -np.arange(11.0), atol=1e-12)
    assert values[11] is None
    assert [c.labels.get("sigma") for c in found.crystals] == [
        c.labels.get("sigma") for c in crystals
    ]
    (target,) = describe_targets("log10(sigma)", found, "regression")
    assert (target.name, target.unit, target.per) == ("log10(sigma)", "log10(S/cm)", "crystal")


def test_numbers_without_a_logarithm_are_named_and_their_crystals_stay():
    crystals = labelled([0.0, -1.0, *[1.0] * 10])
    found = with_logarithms(["energy", "log10(sigma)"], ReadResult(crystals, [], {"sigma": ""}))
    assert len(found.crystals) == 12
    assert [(p.id, p.kind) for p in found.problems] == [("toy-0", "label"), ("toy-1", "label")]
    assert "is 0, which has no logarithm" in found.problems[0].reason
    assert sum("log10(sigma)" in c.labels for c in found.crystals) == 10


def test_a_label_of_that_name_is_what_it_is():
    crystals = labelled([float(k) for k in range(12)], name="log10(sigma)")
    result = ReadResult(crystals, [], {"log10(sigma)": ""})
    assert with_logarithms("log10(sigma)", result).crystals == crystals


def test_what_is_not_there_has_none_either():
    crystals = labelled([-1.0] * 12)
    result = with_logarithms("log10(sigma)", ReadResult(crystals, [], {"sigma": ""}))
    with pytest.raises(DataError, match="nowhere above zero"):
        describe_targets("log10(sigma)", result, "regression")
    with pytest.raises(UsageError, match="did you mean 'sigma'"):
        describe_targets("log10(sigmas)", result, "regression")


def test_learned_judged_and_predicted_as_logarithms(tmp_path):
    crystals = labelled([10.0 ** (-4 + 0.2 * k) for k in range(30)], n=30)
    write_parquet(tmp_path / "set.parquet", crystals, units={"sigma": "S/cm"})
    tuned = tmp_path / "tuned"
    settings = FinetuneSettings(n_steps=4, learning_rates=(1e-3,))
    outcome = api.finetune(
        "atomprint/tiny", tmp_path / "set.parquet", "log10(sigma)", tuned, settings=settings
    )
    row = outcome.results[0]
    assert (row["target"], row["unit"]) == ("log10(sigma)", "log10(S/cm)")
    found = api.predict(tuned, tmp_path / "set.parquet")
    values = np.asarray(found.values["log10(sigma)_predicted"], dtype=float)
    # The mean of the logarithms is -1.1; that of the numbers would be far away.
    assert abs(float(values.mean()) + 1.1) < 1.5


def test_inspection_says_which_labels_are_wide(tmp_path):
    crystals = labelled([10.0**-k for k in range(12)])
    write_parquet(tmp_path / "set.parquet", crystals)
    (note,) = inspect(tmp_path / "set.parquet").notes
    assert "label 'sigma' goes over 11 orders of magnitude" in note
    assert "log10(sigma)" in note
    assert math.isclose(inspect(tmp_path / "set.parquet").labels["sigma"]["max"], 1.0)
