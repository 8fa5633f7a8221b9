"""Magpie's statistics: matminer's where it is, ours beside them, and nothing needed without it."""

import sys

import numpy as np
import pytest

from atomprint.evaluation import baselines as module
from atomprint.evaluation import magpie
from atomprint.evaluation.composition import composition_features, names
from atomprint.ground.errors import UsageError
from atomprint.heads.target import Target
from tests.toy import toy_crystals

TARGET = Target(name="energy", unit="eV")


def test_without_matminer_there_is_no_such_arm(monkeypatch):
    monkeypatch.setattr(module, "matminer_is_here", lambda: False)
    arms = [arm.name for arm in module.baselines(TARGET)]
    monkeypatch.setattr(module, "matminer_is_here", lambda: True)
    more = [arm.name for arm in module.baselines(TARGET)]
    assert [name for name in more if name not in arms] == ["Magpie, random forest"]
    magpie._featurizer.cache_clear()
    monkeypatch.setitem(sys.modules, "matminer.featurizers.base", None)
    with pytest.raises(UsageError, match=r"atomprint\[magpie\]"):
        magpie.magpie_features(toy_crystals(2))
    magpie._featurizer.cache_clear()


def test_it_knows_the_formula_and_nothing_else(monkeypatch):
    """With a stand-in for matminer: each formula once, in the order of the crystals."""
    asked = []

    class Featurizer:
        def featurize(self, counts):
            asked.append(tuple(counts.items()))
            return [float(sum(counts.values())), float("nan"), float(len(asked))]

    monkeypatch.setattr(magpie, "_featurizer", lambda: (Featurizer(), dict))
    crystals = toy_crystals(30)
    rows = magpie.magpie_features([c.with_labels({}) for c in crystals])
    assert len(asked) == len({c.formula for c in crystals}) == len(set(asked))
    assert np.isfinite(rows).all()
    for one, row in zip(crystals, rows, strict=True):
        assert row[0] == sum(one.composition.values())
        assert (row == rows[[c.formula for c in crystals].index(one.formula)]).all()


def test_columns_that_both_have_agree():
    pytest.importorskip("matminer", reason="matminer is not installed (atomprint[magpie])")
    crystals = toy_crystals(20)
    theirs, ours = magpie.magpie_features(crystals), composition_features(crystals)
    featurizer, _ = magpie._featurizer()
    labels = featurizer.feature_labels()
    assert theirs.shape == (20, len(labels))
    for column, name in [
        ("0-norm", "norm.0"),
        ("7-norm", "norm.7"),
        ("MagpieData mean Number", "number.mean"),
        ("MagpieData avg_dev Electronegativity", "electronegativity.deviation"),
        ("MagpieData mode Row", "period.mode"),
        ("MagpieData range NpUnfilled", "p_unfilled.range"),
    ]:
        mine = ours[:, names().index(name)]
        assert np.allclose(theirs[:, labels.index(column)], mine, atol=1e-9), column
