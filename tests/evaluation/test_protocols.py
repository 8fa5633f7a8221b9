"""Protocols divide a set as they say, in any order of the input."""

import numpy as np
import pytest

from atomprint.data.divisions import k_folds, write_divisions
from atomprint.evaluation.evaluate import write_about
from atomprint.evaluation.protocols import (
    Curve,
    Given,
    HeldOutElements,
    KFold,
    Later,
    MatBench,
    Paper,
    cases,
    divided_by,
    valid_fraction,
)
from atomprint.ground.elements import symbols
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from tests.evaluation.competitors import evaluation, labelled
from tests.toy import MOTIFS, toy_crystals


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


@pytest.mark.parametrize(
    "protocol",
    [
        KFold(),
        KFold(by="composition"),
        Paper(),
        Paper(by="composition"),
        Curve(n_labels=(10, 20)),
        HeldOutElements(elements=("Li", "Na")),
        Later(label="y"),
    ],
)
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


def ideal():
    """Undistorted crystals of four prototypes, of elements that no two prototypes share."""
    pools = {
        "rocksalt": ((3, 11, 19, 37), (9, 17)),
        "cscl": ((55, 81), (35, 53)),
        "zincblende": ((30, 48, 31), (16, 34)),
        "fluorite": ((20, 38, 56), (8, 1)),
    }
    return [
        Crystal.make(
            f"{name}-{a}-{b}",
            [a] + [b] * (len(MOTIFS[name][0]) - 1),
            MOTIFS[name][1] * (4 + 0.01 * a + 0.02 * b),
            frac=MOTIFS[name][0],
        )
        for name, (cations, anions) in pools.items()
        for a in cations
        for b in anions
    ]


@pytest.mark.parametrize("protocol", [KFold(n_folds=3), Paper(n_seeds=2), Curve(n_labels=(30,))])
def test_no_prototype_straddles(protocol):
    crystals = ideal()

    def straddling(by):
        found = cases(protocol.model_copy(update={"by": by}), crystals)
        prototypes = [
            [{crystals[i].id.split("-")[0] for i in part} for part in (case.train, case.test)]
            for case in found
        ]
        return [bool(train & test) for train, test in prototypes]

    # Every composition is there once, so that dividing by composition lets prototypes straddle.
    assert any(straddling("composition"))
    assert not any(straddling("prototype"))


def test_held_out_elements_are_never_seen():
    toys = toy_crystals(200)
    found = cases(HeldOutElements(n_elements=3, n_seeds=2), toys)
    assert len(found) == 6
    for case in found:
        element = list(symbols).index(case.name.split()[1])
        judged = [i for i, c in enumerate(toys) if element in c.numbers]
        assert list(case.test) == judged
        assert sorted([*case.train, *case.test]) == list(range(200))
        assert 10 <= len(judged) <= 100
    counts = [len(case.test) for case in found[::2]]
    assert counts == sorted(counts, reverse=True)
    names = [c.name for c in cases(HeldOutElements(elements=("Zn", "O")), toys)]
    assert names == ["without Zn", "without O"]
    with pytest.raises(UsageError, match="0 of 200 crystals contain Au"):
        cases(HeldOutElements(elements=("Au",)), toys)
    with pytest.raises(UsageError, match="no element is in 5 %"):
        cases(HeldOutElements(), [c for c in toys if c.formula == toys[0].formula] * 20)


def test_later_crystals_judge(crystals):
    dated = [c.with_labels({**c.labels, "year": 2000 + i % 10}) for i, c in enumerate(crystals)]
    (case,) = cases(Later(test=0.3), dated)
    assert {dated[i].labels["year"] for i in case.test} == {2007, 2008, 2009}
    assert {dated[i].labels["year"] for i in case.train} == set(range(2000, 2007))
    with pytest.raises(DataError, match="no label 'when'"):
        cases(Later(label="when"), dated)


def test_divisions_of_a_file_are_taken_as_they_are(crystals, tmp_path):
    wanted = k_folds(crystals, 3, seed=5)
    write_divisions(tmp_path / "splits.json", wanted, crystals)
    given = Given(file=str(tmp_path / "splits.json"))
    found = cases(given, crystals)
    assert [(c.name, list(c.train), list(c.test)) for c in found] == [
        (d.name, d.train, d.test) for d in wanted
    ]
    # Crystals without a label were divided too.
    fewer = [c for c in crystals if c.id not in ("c3", "c4")]
    for one, other in zip(cases(given, fewer), found, strict=True):
        assert ids(fewer, one.train) == ids(crystals, other.train) - {"c3", "c4"}
    with pytest.raises(DataError, match="a part has none"):
        cases(given, labelled(100)[60:])


def test_a_learning_curve_on_a_test_part_of_ones_own(crystals, tmp_path):
    mine = k_folds(crystals, 3, seed=5)[1]
    path = tmp_path / "splits.json"
    write_divisions(path, [mine], crystals)
    found = cases(Curve(n_labels=(10, 20), n_seeds=2, test=0.5, splits=str(path)), crystals)
    assert len(found) == 4
    for case in found:
        assert list(case.test) == mine.test
        assert set(case.train) < set(mine.train)
    assert set(found[0].train) < set(found[2].train)
    write_divisions(path, k_folds(crystals, 3), crystals)
    with pytest.raises(UsageError, match="holds 3 divisions"):
        cases(Curve(splits=str(path)), crystals)


def test_the_splits_of_another_evaluation_can_be_given(tmp_path):
    one = evaluation(n=40)
    write_about(one, tmp_path)
    found = cases(Given(file=str(tmp_path / "splits.json")), one.crystals)
    assert [(c.name, c.train, c.test) for c in found] == [
        (c.name, c.train, c.test) for c in one.cases
    ]


def test_ways_to_divide_in_a_word():
    assert divided_by("prototype", None) == ["protocol.kind=kfold", "protocol.by=prototype"]
    assert divided_by("composition", "curve") == ["protocol.kind=curve", "protocol.by=composition"]
    assert divided_by("composition", None, None) == ["protocol.by=composition"]
    assert divided_by("element", None) == ["protocol.kind=element"]
    assert divided_by("element=No, O", None)[1] == 'protocol.elements=["No", "O"]'
    assert divided_by("time=found", None) == ["protocol.kind=time", 'protocol.label="found"']
    assert divided_by("splits=a=b.json", None)[1] == 'protocol.file="a=b.json"'
    assert divided_by("splits=a.json", "curve")[1] == 'protocol.splits="a.json"'
    for by, kind, message in [
        ("formula", None, "is not known"),
        ("time", None, "time=LABEL"),
        ("id=3", None, "is not known"),
        ("composition", "matbench", "does not go with"),
        ("element", "kfold", "a protocol of its own"),
    ]:
        with pytest.raises(UsageError, match=message):
            divided_by(by, kind)
