"""Crystals derived from parents: what is done to them, and that nothing else is."""

import json
from collections import Counter
from functools import cache

import numpy as np
import pytest

from atomprint.data.load import load_crystals
from atomprint.data.sources import DerivedSettings
from atomprint.data.sources.base import Surroundings
from atomprint.data.sources.derived.source import BLOCK, DerivedShares
from atomprint.data.sources.derived.supercells import draw_supercell, supercell
from atomprint.ground import elements
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.writing import write_parquet
from tests.data.test_generated import brute_force_distances, needs_tools
from tests.toy import toy_crystals

N = 60


def only(route, **settings):
    return DerivedSettings(shares=DerivedShares(**{**NONE, route: 1.0}), **settings)


NONE = dict.fromkeys(DerivedShares.model_fields, 0.0)


@cache
def made(route):
    source = only(route)
    return [source.derive(index) for index in range(N)]


def counts(crystal):
    return Counter(crystal.numbers.tolist())


@needs_tools
def test_a_crystal_is_a_function_of_seed_and_index():
    source = DerivedSettings(seed=4)
    first = source.derive(BLOCK + 2)
    block = source.block(1).records
    assert len(block) == BLOCK
    assert block[2].id == first.crystal.id == f"derived-4-{BLOCK + 2:07d}"
    np.testing.assert_array_equal(block[2].cell, first.crystal.cell)
    np.testing.assert_array_equal(block[2].frac, first.crystal.frac)
    other = DerivedSettings(seed=5).derive(BLOCK + 2).crystal
    assert other.n_atoms != first.crystal.n_atoms or (other.cell != first.crystal.cell).any()
    assert {source.derive(index).route for index in range(40)} == set(NONE)


def test_workers_and_interruptions_change_nothing(get, tmp_path):
    write_parquet(tmp_path / "parents.parquet", toy_crystals(20))
    source = only("strained", parents=str(tmp_path / "parents.parquet"), closest=0.5)
    n = 2 * BLOCK + 60
    here = get(source, tmp_path / "a", n=n).store
    get(source, tmp_path / "b", n=BLOCK - 30)
    there = get(source, tmp_path / "b", n=n, workers=2)
    assert there.resumed == BLOCK - 30
    assert [c.id for c in there.store] == [c.id for c in here]
    for one, other in zip(there.store, here, strict=True):
        np.testing.assert_array_equal(one.numbers, other.numbers)
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.cell, other.cell)
    told = [json.loads((tmp_path / x / "source.json").read_text())["rejected"] for x in "ab"]
    assert told[0] == told[1]
    assert told[0]["too close"] > 0
    assert [p.licence for p in here.provenance][1] == "not stated"


@needs_tools
@pytest.mark.parametrize("route", NONE)
def test_no_atoms_are_too_close(route):
    for one in made(route):
        crystal = one.crystal
        distance = brute_force_distances(crystal.cell, crystal.frac, 4.0).min(axis=2)
        r = elements.covalent_radius[crystal.numbers]
        assert (distance >= 0.7 * (r[:, None] + r[None])).all()
        assert crystal.n_atoms <= 40


def test_strained_crystals_are_their_parents_within_bounds():
    factors = []
    for one in made("strained"):
        assert counts(one.crystal) == counts(one.parent)
        factors.append(one.crystal.volume / one.parent.volume)
        # Symmetric: the strain turns nothing.
        strain = np.linalg.solve(one.parent.cell, one.crystal.cell) - np.eye(3)
        np.testing.assert_allclose(strain, strain.T, atol=1e-3)
        assert np.abs(np.diag(strain)).max() <= 0.0402
        assert np.abs(strain - np.diag(np.diag(strain))).max() <= 0.0202
        moved = one.crystal.positions @ np.linalg.inv(one.crystal.cell) - one.parent.frac
        moved = (moved - np.round(moved)) @ one.crystal.cell
        # Standard deviations are at most 0.1 Å; 5 of them hardly ever.
        assert 1e-4 < np.abs(moved).max() < 0.5
    assert 0.92**3 <= min(factors) < 0.98
    assert 1.02 < max(factors) <= 1.08**3


def balances(numbers):
    """Whether states of SMACT's list add up to 0, atoms of one element having one or two."""
    from smact import Element

    left = Counter(numbers.tolist())
    states = {z: Element(elements.symbols[z]).oxidation_states_icsd24 for z in left}
    for mixed in left:
        totals = {0}
        for z, n in left.items():
            if z == mixed:
                own = {a * k + b * (n - k) for a in states[z] for b in states[z] for k in range(n)}
            else:
                own = {a * n for a in states[z]}
            totals = {t + o for t in totals for o in own}
        if 0 in totals:
            return True
    return False


@needs_tools
def test_vacancies_are_few_and_leave_charges_balanced():
    n_ionic = 0
    for one in made("vacancies"):
        gone = counts(one.parent)
        gone.subtract(counts(one.crystal))
        assert min(gone.values()) >= 0
        assert 1 <= gone.total() <= 0.125 * one.parent.n_atoms
        assert set(one.crystal.numbers) == set(one.parent.numbers)
        if set(one.parent.numbers.tolist()) & {8, 9, 17}:
            assert balances(one.crystal.numbers), one.crystal.formula
            n_ionic += 1
    assert n_ionic > 10


@needs_tools
def test_antisites_keep_the_composition():
    for one in made("antisites"):
        assert counts(one.crystal) == counts(one.parent)
        changed = one.crystal.numbers != one.parent.numbers
        assert 2 <= changed.sum() <= max(2, 0.125 * one.parent.n_atoms)
        assert len(set(one.crystal.numbers[changed])) == 2


@needs_tools
def test_one_element_becomes_one_other():
    whole = 0
    for one in made("substituted"):
        changed = one.crystal.numbers != one.parent.numbers
        (old,), (new,) = set(one.parent.numbers[changed]), set(one.crystal.numbers[changed])
        assert new not in one.parent.numbers
        whole += old not in one.crystal.numbers
        # Iodides have 2.6 times the volume of fluorides (LiF 16.3, LiI 40.9 Å³).
        assert 0.35 < one.crystal.volume / one.parent.volume < 2.9
    assert 0.3 * N < whole < 0.95 * N


@needs_tools
def test_larger_ions_make_larger_cells():
    from atomprint.data.sources.derived.defects import _growth
    from atomprint.data.sources.derived.tables import load_tables

    # NaCl 2.82 Å, KCl 3.15 Å, NaBr 2.99 Å, LiCl 2.57 Å: half the lattice constants.
    half = 2.82
    frac = [[0, 0, 0], [0.5, 0.5, 0.5]]
    salt = Crystal.make("NaCl", [11, 17], half * (np.ones((3, 3)) - np.eye(3)), frac=frac)
    states = {11: 1, 17: -1, 19: 1, 35: -1, 3: 1}
    for numbers, known in (([19, 17], 3.15), ([11, 35], 2.99), ([3, 17], 2.57)):
        grown = _growth(salt, np.array(numbers), states, load_tables())
        assert half * grown == pytest.approx(known, rel=0.04)


def test_supercells_are_whole_and_the_same_crystal():
    rng = np.random.default_rng(0)
    for parent in toy_crystals(30, seed=3):
        whole = draw_supercell(parent, 1, 40, rng)
        matrix = whole.cell @ np.linalg.inv(parent.cell)
        np.testing.assert_allclose(matrix, np.round(matrix), atol=1e-9)
        n = round(np.linalg.det(matrix))
        assert whole.n_atoms == n * parent.n_atoms
        assert whole.composition == parent.composition
        # Every atom sees what its original sees.
        few = brute_force_distances(parent.cell, parent.frac, 4.0)
        many = brute_force_distances(whole.cell, whole.frac, 4.0)
        seen = [np.sort(few[k][few[k] < 4.0]) for k in range(parent.n_atoms)]
        for k in range(whole.n_atoms):
            np.testing.assert_allclose(
                np.sort(many[k][many[k] < 4.0]), seen[k % parent.n_atoms], atol=1e-9
            )
    skew = supercell(parent, np.array([[2, 0, 0], [1, 2, 0], [0, 1, 1]]))
    assert skew.n_atoms == 4 * parent.n_atoms


@needs_tools
def test_parents_that_allow_nothing_are_an_error(tmp_path):
    salt = Crystal.make(
        "NaCl", [11, 17], 2.82 * (np.ones((3, 3)) - np.eye(3)), frac=[[0, 0, 0], [0.5] * 3]
    )
    write_parquet(tmp_path / "salt.parquet", [salt])
    source = only("antisites", parents=str(tmp_path / "salt.parquet"))
    with pytest.raises(UsageError, match=r"shares\.antisites to 0"):
        source.derive(0)
    write_parquet(tmp_path / "large.parquet", toy_crystals(4)[3:])
    large = only("strained", parents=str(tmp_path / "large.parquet"), max_atoms=2)
    with pytest.raises(UsageError, match="no crystal has at most 2 atoms"):
        large.prepare(Surroundings())


def test_another_set_of_parents_is_another_source(tmp_path):
    write_parquet(tmp_path / "a.parquet", toy_crystals(4))
    a = DerivedSettings(parents=str(tmp_path / "a.parquet"))
    assert a.identity() == DerivedSettings(parents=str(tmp_path / "a.parquet")).identity()
    before = a.identity()
    write_parquet(tmp_path / "a.parquet", toy_crystals(5))
    assert a.identity() != before
    assert len(load_crystals(a.parents).crystals) == 5
