"""Laws of every way to divide a set: nothing in two parts, everything in one, in any order."""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atomprint.data.divisions import (
    Division,
    by_element,
    by_time,
    k_folds,
    read_divisions,
    write_divisions,
)
from atomprint.data.grouping import groups_of, prototype_of
from atomprint.data.splits import split
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from tests.toy import FCC, toy_crystals

SOME = toy_crystals(90, seed=3)


def ids(crystals, indices):
    return {crystals[i].id for i in indices}


def is_division(division, n):
    both = [*division.train, *division.test]
    return sorted(both) == list(range(n)) and len(division.train) > 0 and len(division.test) > 0


@pytest.mark.parametrize("by", ["id", "composition", "prototype"])
@pytest.mark.parametrize("n_folds", [2, 5])
def test_folds_share_out_the_set_and_keep_groups_whole(by, n_folds):
    few = toy_crystals(40, seed=1) + [
        Crystal.make(f"solo-{z}", [z], np.eye(3) * z, frac=[[0, 0, 0]]) for z in range(3, 8)
    ]
    groups = groups_of(few, by)
    if len(groups) < n_folds:
        with pytest.raises(UsageError, match="too few"):
            k_folds(few, n_folds, by=by)
        return
    folds = k_folds(few, n_folds, by=by)
    assert sorted(i for fold in folds for i in fold.test) == list(range(len(few)))
    for fold in folds:
        assert is_division(fold, len(few))
        for members in groups.values():
            assert len(set(members) & set(fold.test)) in (0, len(members))


def test_folds_of_single_crystals_are_of_one_size():
    sizes = [len(fold.test) for fold in k_folds(SOME, 7)]
    assert max(sizes) - min(sizes) <= 1


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.sampled_from(["id", "composition", "prototype"]))
def test_the_order_of_the_crystals_plays_no_part(source, by):
    some = SOME[:30]
    shuffled = some[:]
    source.shuffle(shuffled)
    parts, other = (split(order, 0.2, 0.2, by="id") for order in (some, shuffled))
    assert ids(some, parts.test) == ids(shuffled, other.test)
    for one, two in zip(k_folds(some, 2, by=by), k_folds(shuffled, 2, by=by), strict=True):
        assert ids(some, one.test) == ids(shuffled, two.test)
    assert set(groups_of(some, by)) == set(groups_of(shuffled, by))


def test_another_seed_gives_other_folds():
    first, second = (k_folds(SOME, 5, seed=seed)[0].test for seed in (0, 1))
    assert first != second


def rocksalt(id, numbers, length, **more):
    return Crystal.make(id, numbers, FCC * length, frac=[[0, 0, 0], [0.5, 0.5, 0.5]], **more)


def zincblende(id, numbers, length):
    return Crystal.make(id, numbers, FCC * length, frac=[[0, 0, 0], [0.25, 0.25, 0.25]])


def caesium_chloride(id, numbers, length):
    return Crystal.make(id, numbers, np.eye(3) * length, frac=[[0, 0, 0], [0.5, 0.5, 0.5]])


def test_prototypes_are_those_of_the_textbook():
    pytest.importorskip("spglib", reason="spglib is not installed")
    perovskite = Crystal.make(
        "p", [38, 22, 8, 8, 8], np.eye(3) * 3.9,
        frac=[[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    )  # fmt: skip
    assert prototype_of(perovskite) == "1-1-3 221"
    assert prototype_of(rocksalt("r", [11, 17], 5.64)) == "1-1 225"
    assert prototype_of(zincblende("z", [30, 16], 5.41)) == "1-1 216"
    assert prototype_of(caesium_chloride("c", [55, 17], 4.12)) == "1-1 221"
    diamond = zincblende("d", [6, 6], 3.57)
    assert prototype_of(diamond) == "1 227"


def test_prototypes_do_not_know_elements_origin_axes_or_the_cell_that_was_chosen():
    pytest.importorskip("spglib", reason="spglib is not installed")
    one = rocksalt("a", [11, 17], 5.64)
    moved = Crystal.make("b", [9, 3], FCC * 4.03, frac=one.frac + 0.3)
    double = np.diag([2, 1, 1])
    frac = [[(x + k) / 2, y, z] for k in (0, 1) for x, y, z in one.frac]
    doubled = Crystal.make("c", [11, 17] * 2, double @ one.cell, frac=frac)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turned = Crystal.make("d", one.numbers, one.cell @ turn, frac=one.frac)
    rattled = one.with_geometry(one.positions + np.eye(3)[:2] / 100, one.cell)
    assert {prototype_of(c) for c in (one, moved, doubled, turned, rattled)} == {"1-1 225"}


def test_by_prototype_neither_polymorphs_nor_prototypes_straddle():
    pytest.importorskip("spglib", reason="spglib is not installed")
    crystals = [
        rocksalt("NaCl", [11, 17], 5.64),
        rocksalt("KBr", [19, 35], 6.6),
        caesium_chloride("KBr high pressure", [19, 35], 3.9),
        caesium_chloride("CsCl", [55, 17], 4.12),
        zincblende("ZnS", [30, 16], 5.41),
        zincblende("GaAs", [31, 33], 5.65),
    ]
    groups = [ids(crystals, group) for group in groups_of(crystals, "prototype").values()]
    # NaCl and CsCl share nothing but are linked by the two forms of KBr.
    assert sorted(groups, key=len) == [
        {"ZnS", "GaAs"}, {"NaCl", "KBr", "KBr high pressure", "CsCl"},
    ]  # fmt: skip
    for fold in k_folds(crystals, 2, by="prototype"):
        assert ids(crystals, fold.test) in groups


def test_without_spglib_prototypes_say_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "spglib", None)
    with pytest.raises(UsageError, match=r"atomprint\[symmetry\]"):
        split(SOME, by="prototype")


def test_an_element_that_is_held_out_is_in_no_training_crystal():
    divisions = by_element(SOME, ["Li", "O"])
    assert [d.name for d in divisions] == ["without Li", "without O"]
    for division, number in zip(divisions, (3, 8), strict=True):
        assert is_division(division, len(SOME))
        assert all(number not in SOME[i].numbers for i in division.train)
        assert all(number in SOME[i].numbers for i in division.test)
    with pytest.raises(UsageError, match="'Xx' is no element"):
        by_element(SOME, ["Xx"])
    with pytest.raises(UsageError, match="0 of 90 crystals contain Au"):
        by_element(SOME, ["Au"])


def test_what_judges_came_later_than_everything_that_was_trained_on():
    rng = random.Random(0)
    crystals = [c.with_labels({"year": float(rng.randrange(2000, 2020))}) for c in SOME]
    division = by_time(crystals, "year", test=0.25)
    assert is_division(division, len(SOME))
    past = max(crystals[i].labels["year"] for i in division.train)
    assert past < min(crystals[i].labels["year"] for i in division.test)
    assert len(division.test) == pytest.approx(0.25 * len(SOME), abs=5)
    mirrored = by_time(crystals[::-1], "year", test=0.25)
    assert ids(crystals, division.test) == ids(crystals[::-1], mirrored.test)


def test_dates_are_ordered_as_dates():
    dates = ["2019-04-02", "2009-12-31", "2019-04-10T12:00:00", "2019-04-09", "2018-01-01"]
    times = {c.id: date for c, date in zip(SOME, dates, strict=False)}
    division = by_time(SOME[:5], times, test=0.4)
    assert ids(SOME, division.test) == {SOME[2].id, SOME[3].id}
    with pytest.raises(DataError, match=r"toy-5 has no time"):
        by_time(SOME[:6], times)
    with pytest.raises(DataError, match="'May 2019'; give dates as 2019-04-02"):
        by_time(SOME[:5], {**times, SOME[0].id: "May 2019"})
    with pytest.raises(UsageError, match="of one moment"):
        by_time(SOME[:5], {c.id: "2019-04-02" for c in SOME})
    with pytest.raises(DataError, match="no label 'year'"):
        by_time(SOME, "year")
    with pytest.raises(UsageError, match="no fraction"):
        by_time(SOME[:5], times, test=1.0)


def test_divisions_come_back_from_a_file_for_the_crystals_in_any_order(tmp_path):
    path = tmp_path / "splits.json"
    folds = k_folds(SOME, 4)
    digest = write_divisions(path, folds, SOME)
    assert read_divisions(path, SOME) == folds
    turned = SOME[::-1]
    for one, other in zip(folds, read_divisions(path, turned), strict=True):
        assert ids(SOME, one.test) == ids(turned, other.test)
        assert ids(SOME, one.train) == ids(turned, other.train)
    content = json.loads(path.read_text())
    assert content["hash"] == digest
    assert list(content["splits"][0]) == ["name", "train", "test"]
    assert write_divisions(path, k_folds(SOME, 4, seed=1), SOME) != digest


def test_a_file_that_was_changed_or_is_of_other_crystals_is_refused(tmp_path):
    path = tmp_path / "splits.json"
    write_divisions(path, k_folds(SOME, 4), SOME)
    with pytest.raises(DataError, match="no crystal has the id"):
        read_divisions(path, SOME[1:])
    content = json.loads(path.read_text())
    content["splits"][0]["test"].append(content["splits"][0]["train"].pop())
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="its hash does not fit"):
        read_divisions(path, SOME)
    write_divisions(path, [Division("both", [0, 1], [1, 2])], SOME)
    with pytest.raises(DataError, match="both: 'toy-1' is there twice"):
        read_divisions(path, SOME)
    path.write_text("[1, 2]")
    with pytest.raises(DataError, match="no file of divisions"):
        read_divisions(path, SOME)
    with pytest.raises(UsageError, match="cannot be read"):
        read_divisions(tmp_path / "nowhere.json", SOME)


def test_wrong_requests_are_refused():
    with pytest.raises(UsageError, match="2 at least"):
        k_folds(SOME, 1)
    with pytest.raises(UsageError, match="too few for 91 folds"):
        k_folds(SOME, 91)
    with pytest.raises(UsageError, match="'id' or 'composition' or 'prototype'"):
        k_folds(SOME, by="formula")
    with pytest.raises(UsageError, match="needs the crystals"):
        k_folds(["a", "b"], 2, by="prototype")
