"""The same crystal is found in any cell; others are not."""

import numpy as np
import pytest
from ase.build import bulk, make_supercell

from atomprint.evaluation.leakage import exclude, find_leaks, summarize_leaks
from atomprint.structures.crystal import Crystal
from tests.toy import toy_crystals


def crystal_of(atoms, name):
    return Crystal.make(name, atoms.numbers, np.array(atoms.cell), positions=atoms.positions)


@pytest.fixture(scope="module")
def corpus():
    return [
        crystal_of(bulk("NaCl", "rocksalt", a=5.64), "halite"),
        crystal_of(bulk("NaCl", "cesiumchloride", a=3.45), "b2"),
        crystal_of(bulk("ZnS", "zincblende", a=5.41), "sphalerite"),
        crystal_of(bulk("ZnS", "wurtzite", a=3.82, c=6.26), "wurtzite"),
        *toy_crystals(12),
    ]


def disguised(atoms, seed):
    """Another cell, turned, shifted, rattled by 0.01 Å and strained by up to 1 %."""
    rng = np.random.default_rng(seed)
    atoms = make_supercell(atoms, [[1, 1, 0], [0, 1, 0], [0, 1, 2]])
    atoms.rotate(rng.uniform(0, 180), rng.normal(size=3), rotate_cell=True)
    atoms.positions += rng.normal(size=3)
    atoms.rattle(0.01, seed=seed)
    strain = np.eye(3) + 0.01 * (lambda m: (m + m.T) / 2)(rng.uniform(-1, 1, (3, 3)))
    atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "found"),
    [
        (bulk("NaCl", "rocksalt", a=5.64), "halite"),
        (bulk("NaCl", "cesiumchloride", a=3.45), "b2"),
        (bulk("ZnS", "wurtzite", a=3.82, c=6.26), "wurtzite"),
        (bulk("ZnS", "zincblende", a=5.41), "sphalerite"),
    ],
)
def test_a_disguised_crystal_is_found_and_no_polymorph(corpus, atoms, found):
    for seed in range(3):
        leaks = find_leaks([crystal_of(disguised(atoms, seed), "mine")], corpus)
        assert [leak.corpus_id for leak in leaks] == [found]


def test_other_elements_or_volumes_are_others(corpus):
    others = [
        crystal_of(bulk("KCl", "rocksalt", a=5.64), "element"),
        crystal_of(bulk("NaCl", "rocksalt", a=6.1), "volume"),
        crystal_of(bulk("NaCl", "zincblende", a=5.64), "structure"),
    ]
    assert find_leaks(others, corpus) == []


def test_a_corpus_is_found_in_itself_and_can_be_left_out(corpus):
    leaks = find_leaks(corpus, corpus)
    assert {(leak.test_id, leak.corpus_id) for leak in leaks} >= {(c.id, c.id) for c in corpus}
    first = [leak for leak in leaks if leak.test_id == "halite"]
    assert first[0].distance == pytest.approx(0, abs=1e-6)
    rest = exclude(corpus, find_leaks(corpus[:2], corpus))
    assert [c.id for c in rest] == [c.id for c in corpus[2:]]
    assert summarize_leaks(leaks, len(corpus), len(corpus))["share"] == 1.0
