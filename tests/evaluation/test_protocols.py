"""Protocols divide a set as they say, in any order of the input."""

import numpy as np
import pytest

from atomprint.evaluation.protocols import Curve, KFold, MatBench, Paper, cases, valid_fraction
from atomprint.ground.errors import UsageError
from tests.evaluation.competitors import labelled


@pytest.fixture(scope="module")
def crystals():
    return labelled(60)


def ids(crystals, indices):
    return {crystals[i].id for i in indices}


@pytest.mark.parametrize("by", ["id", "composition"])
def test_each_crystal_is_judged_in_one_fold(crystals, by):
    found = cases(KFold(n_folds=5, by=by), crystals)
    judged = [i for case in found for i in case.test]
    assert sorted(judged) == list(range(60))
    for case in found:
        assert not set(case.train) & set(case.test)
        assert len(case.train) + len(case.test) == 60
        if by == "id":
            assert len(case.test) == 12


def test_no_composition_straddles_folds(crystals):
    found = cases(KFold(n_folds=4, by="composition"), crystals)
    for case in found:
        formulas = [{crystals[i].formula for i in part} for part in (case.train, case.test)]
        assert not formulas[0] & formulas[1]
    # By id, the same crystals do straddle: the law above is no accident of this set.
    loose = cases(KFold(n_folds=4), crystals)[0]
    assert {crystals[i].formula for i in loose.train} & {crystals[i].formula for i in loose.test}


@pytest.mark.parametrize("protocol", [KFold(), Paper(), Curve(n_labels=(10, 20))])
def test_order_of_the_input_plays_no_part(crystals, protocol):
    order = np.random.default_rng(3).permutation(len(crystals))
    shuffled = [crystals[i] for i in order]
    for one, other in zip(cases(protocol, crystals), cases(protocol, shuffled), strict=True):
        assert ids(crystals, one.test) == ids(shuffled, other.test)
        assert ids(crystals, one.train) == ids(shuffled, other.train)


def test_curve_has_nested_labels_and_one_test_part(crystals):
    found = cases(Curve(n_labels=(10, 20, 1000), n_seeds=2, test=0.25), crystals)
    assert len({case.test for case in found}) == 1
    sizes = [len(case.train) for case in found]
    assert sizes == [10, 10, 20, 20, 45, 45]
    for seed in (0, 1):
        ten, twenty, everything = (set(c.train) for c in found if c.seed == seed)
        assert ten < twenty < everything
    assert set(found[0].train) != set(found[1].train)


def test_curve_judges_no_more_than_asked(crystals):
    assert len(cases(Curve(n_labels=(10,), test=0.5, most_test=12), crystals)[0].test) == 12


def test_paper_is_60_20_20(crystals):
    found = cases(Paper(), crystals)
    assert [len(c.test) for c in found] == [12] * 5
    assert len(found[0].train) * valid_fraction(Paper()) == 12
    assert len({c.test for c in found}) == 5


def test_matbench_takes_the_folds_it_is_given(crystals):
    folds = [(list(range(30)), list(range(30, 60))), (list(range(30, 60)), list(range(30)))]
    found = cases(MatBench(folds=(1, 0), n_seeds=2), crystals, folds)
    assert [(c.name, c.fold, c.test[0]) for c in found] == [
        ("fold 1 seed 0", 1, 0),
        ("fold 1 seed 1", 1, 0),
        ("fold 0 seed 0", 0, 30),
        ("fold 0 seed 1", 0, 30),
    ]
    with pytest.raises(UsageError, match="no official folds"):
        cases(MatBench(), crystals)
    with pytest.raises(UsageError, match="no fold 2"):
        cases(MatBench(folds=(0, 2)), crystals, folds)


def test_too_few_crystals_are_refused(crystals):
    with pytest.raises(UsageError, match="9 labelled crystals are too few"):
        cases(KFold(), crystals[:9])
