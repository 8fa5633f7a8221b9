"""The checks that every format shares, against slow sums over images."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atomprint.structures.reading import checks
from atomprint.structures.reading.checks import build_crystal, close_pairs
from atomprint.structures.reading.elements import number_of
from atomprint.structures.reading.result import Record, Refused
from atomprint.structures.reading.symmetry import expand, operations_from_text

CUBE = 4 * np.eye(3)


def slow_pairs(frac, cell, limit, reach=8):
    """Every pair (i <= j) that comes closer than the limit in some image."""
    grid = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    found = set()
    for i in range(len(frac)):
        for j in range(i, len(frac)):
            length = np.linalg.norm((frac[j] - frac[i] + grid) @ cell, axis=1)
            if i == j:
                length = length[np.any(grid != 0, axis=1)]
            if (length < limit).any():
                found.add((i, j))
    return found


def fast_pairs(frac, cell, limit):
    spacing = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    first, second, _ = close_pairs(frac, cell, spacing, limit)
    return {(min(pair), max(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)}


CELLS = {
    "cube": 3 * np.eye(3),
    "skewed": np.array([[3.0, 0, 0], [2.6, 1.5, 0], [1.3, 0.8, 2.0]]),
    "very skewed": np.array([[1.0, 0, 0], [2.9, 0.4, 0], [1.3, 0.2, 2.0]]),
    "thin": np.array([[0.55, 0, 0], [0, 3.0, 0], [0, 0, 3.0]]),
    "short": np.array([[0.25, 0, 0], [0, 3.0, 0], [0, 0, 3.0]]),
}


@pytest.mark.parametrize("bins_above", [0, 100])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_close_pairs_match_slow_search(monkeypatch, cell, bins_above):
    monkeypatch.setattr(checks, "BINS_ABOVE", bins_above)
    rng = np.random.default_rng(3)
    n_found = 0
    for _ in range(8):
        frac = rng.uniform(-1, 2, size=(12, 3))
        frac[3] = frac[0] + 0.08 * rng.normal(size=3) + [1, -2, 0]
        expected = slow_pairs(frac, cell, 0.3)
        n_found += len(expected)
        assert fast_pairs(frac, cell, 0.3) == expected
    assert n_found > 0


def test_close_pairs_at_the_edges_of_the_bins(monkeypatch):
    monkeypatch.setattr(checks, "BINS_ABOVE", 0)
    frac = np.array([[0.001, 0.5, 0.5], [0.999, 0.5, 0.5], [0.5, 0.999, 0], [0.5, 0.001, 0]])
    assert fast_pairs(frac, 10 * np.eye(3), 0.3) == {(0, 1), (2, 3)}


def test_a_large_crystal_is_checked_quickly():
    side = 30
    grid = np.stack(np.meshgrid(*[np.arange(side) / side] * 3), -1).reshape(-1, 3)
    record = Record(np.full(side**3, 6), np.eye(3) * side * 2.0, frac=grid)
    assert build_crystal(record, "x").n_atoms == 27_000
    record.frac[5] = record.frac[77] + 0.001
    with pytest.raises(Refused, match="closer than"):
        build_crystal(record, "x")


def test_a_heap_of_atoms_in_one_place_is_refused_quickly():
    frac = np.random.default_rng(0).normal(scale=1e-4, size=(20_000, 3))
    with pytest.raises(Refused, match="closer than"):
        build_crystal(Record(np.full(20_000, 6), 100 * np.eye(3), frac=frac), "x")


def test_positions_and_orientation_are_kept():
    cell = np.array([[0, 4.0, 0], [4.0, 0, 0], [0, 0, 4.0]])  # left-handed
    positions = np.array([[-1.0, 9.0, 0.5]])
    crystal = build_crystal(Record([6], cell, positions=positions, id="a"), "where")
    np.testing.assert_array_equal(crystal.cell, cell)
    np.testing.assert_array_equal(crystal.positions, positions)
    assert (crystal.id, crystal.source, crystal.numbers.dtype) == ("a", "where", np.int64)


BAD = {
    "no atoms": (Record([], CUBE, frac=[]), "empty"),
    "atomic number 0": (Record([0], CUBE, frac=[[0, 0, 0]]), "element"),
    "float numbers": (Record([6.5], CUBE, frac=[[0, 0, 0]]), "element"),
    "nan cell": (Record([6], CUBE * np.nan, frac=[[0, 0, 0]]), "cell"),
    "zero cell": (Record([6], CUBE * 0, frac=[[0, 0, 0]]), "cell"),
    "coplanar": (Record([6], np.ones((3, 3)), frac=[[0, 0, 0]]), "cell"),
    "8 numbers": (Record([6], np.ones(8), frac=[[0, 0, 0]]), "cell"),
    "text cell": (Record([6], ["a"] * 9, frac=[[0, 0, 0]]), "cell"),
    "in nm": (Record([6, 8], CUBE / 10, frac=[[0, 0, 0], [0.5, 0.5, 0.5]]), "cell"),
    "infinite": (Record([6], CUBE, positions=[[np.inf, 0, 0]]), "coordinates"),
    "two numbers": (Record([6], CUBE, frac=[[0, 0]]), "coordinates"),
    "own image": (Record([6], np.diag([0.25, 9, 9]), frac=[[0, 0, 0]]), "overlap"),
    "far": (Record([6], CUBE, frac=[[1e9, 0, 0]]), "coordinates"),
    "slab": (Record([6], CUBE, frac=[[0, 0, 0]], pbc=(True, True, False)), "pbc"),
}


@pytest.mark.parametrize(("record", "kind"), BAD.values(), ids=BAD)
def test_impossible_crystals(record, kind):
    with pytest.raises(Refused) as caught:
        build_crystal(record, "x")
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("text", "number"),
    [("Fe", 26), ("FE", 26), ("fe", 26), ("Fe3+", 26), ("Fe+3", 26), ("O2-", 8), ("O-2", 8),
     ("D", 1), ("Cl-", 17), ("Na1+", 11), ("Fe0+", 26), ("Mn2.5+", 25), ("Og", 118)],
)  # fmt: skip
def test_symbols(text, number):
    assert number_of(text) == number


@pytest.mark.parametrize(
    "text", ["", "?", "OH", "X", "T", "Qq", "H2O", "NH4", "Fe2O3", "1", "Vac", "CN", "NO3"]
)
def test_no_symbols(text):
    with pytest.raises(Refused):
        number_of(text)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.integers(0, 7))
def test_orbits_are_closed_under_the_group(x, which):
    """Whatever the site, the expanded set is mapped onto itself by every operation."""
    groups = [
        ("x,y,z", "-x,-y,-z"),
        ("x,y,z", "-y,x,z+1/4", "-x,-y,z+1/2", "y,-x,z+3/4"),
        ("x,y,z", "x+1/2,y+1/2,z", "x+1/2,y,z+1/2", "x,y+1/2,z+1/2"),
        ("x,y,z", "z,x,y", "y,z,x"),
    ]
    operations = operations_from_text(groups[which % 4])
    cell = 6 * np.eye(3)
    site = np.array([x])
    if which >= 4:
        site = np.round(site * 8) / 8
    try:
        frac, index = expand(site, operations, cell)
    except Refused:
        return  # close to a special position, but not on it
    assert len(operations) % len(frac) == 0
    assert (index == 0).all()
    for rotation, shift in zip(operations.rotations, operations.translations, strict=True):
        moved = frac @ rotation.T + shift
        delta = moved[:, None] - frac[None]
        distance = np.linalg.norm((delta - np.round(delta)) @ cell, axis=-1)
        assert distance.min(axis=1).max() < 1e-9
