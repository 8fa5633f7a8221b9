"""A crystal is found again in other cells, orders and places, and others are left alone."""

import numpy as np
import pytest

from atomprint.data.embedded import CORPUS
from atomprint.data.store import Store, StoreWriter
from atomprint.evaluation.duplicates import find_duplicates
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals


def again(crystal, rng, id):
    """The same crystal: rotated, in a supercell, shifted, its atoms in another order."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    times = np.diag([1, 2, 1]) + np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0]])
    cell = times @ crystal.cell
    grid = np.array([[i, j, k] for i in range(-2, 4) for j in range(-2, 4) for k in range(-2, 4)])
    inside = {}
    for shift in grid @ crystal.cell:
        for z, xyz in zip(crystal.numbers, crystal.positions + shift, strict=True):
            frac = np.linalg.solve(cell.T, xyz)
            key = (int(z), *np.round(frac - np.floor(frac + 1e-6), 4) + 0.0)
            inside.setdefault(key, (int(z), frac - np.floor(frac + 1e-6)))
    atoms = list(inside.values())
    assert len(atoms) == 2 * crystal.n_atoms
    order = rng.permutation(len(atoms))
    numbers = [atoms[i][0] for i in order]
    frac = np.array([atoms[i][1] for i in order]) + rng.random(3)
    return Crystal.make(id, numbers, cell @ q, frac=frac)


@pytest.fixture(scope="module")
def rows():
    every = [c for c in read_crystals(CORPUS).crystals if c.n_atoms <= 8]
    some = every[:150]
    # The corpus's own likenesses are not the subject here.
    alike = {d.index for d in find_duplicates(some)}
    return [c for i, c in enumerate(some) if i not in alike]


def test_copies_are_found_and_nothing_else(rows):
    rng = np.random.default_rng(0)
    chosen = [3, 17, 40, 77]
    copies = [again(rows[i], rng, f"again-{i}") for i in chosen]
    found = find_duplicates([*rows, *copies])
    assert [(d.id, d.kept_id) for d in found] == [(f"again-{i}", rows[i].id) for i in chosen]
    assert [d.index for d in found] == list(range(len(rows), len(rows) + 4))
    # Changed by a little they are near, and no exact copies any more.
    shaken = [
        c.with_geometry(c.positions + rng.normal(scale=0.01, size=(c.n_atoms, 3)), c.cell)
        for c in copies
    ]
    assert len(find_duplicates([*rows, *shaken])) == 4
    assert find_duplicates([*rows, *shaken], same=0) == []


def test_the_first_of_several_is_kept(rows):
    rng = np.random.default_rng(1)
    three = [again(rows[5], rng, f"copy-{i}") for i in range(3)]
    found = find_duplicates([three[0], *rows[:5], three[1], rows[5], three[2]])
    assert {d.kept_id for d in found} == {"copy-0"}
    assert [d.id for d in found] == ["copy-1", rows[5].id, "copy-2"]


def test_another_element_or_volume_is_another_crystal(rows):
    one = rows[0]
    other = Crystal.make("z", np.where(one.numbers == one.numbers[0], 2, one.numbers), one.cell,
                         positions=one.positions)  # fmt: skip
    large = Crystal.make("v", one.numbers, one.cell * 1.2, positions=one.positions * 1.2)
    assert find_duplicates([one, other, large]) == []


def test_structure_matcher_agrees(rows):
    pytest.importorskip("pymatgen.analysis.structure_matcher")
    rng = np.random.default_rng(2)
    copies = [again(rows[i], rng, f"again-{i}") for i in (1, 9)]
    assert len(find_duplicates([*rows[:20], *copies], confirm=True)) == 2


def test_of_a_store_without_its_crystals_in_memory(rows, tmp_path, shell):
    rng = np.random.default_rng(3)
    with StoreWriter(tmp_path / "s", shard_crystals=20) as writer:
        writer.extend(rows[:50])
        writer.add(again(rows[7], rng, "again"))
    status, _, err = shell("data", "dedupe", tmp_path / "s", "--out", tmp_path / "t")
    assert status == 0, err
    assert [c.id for c in Store(tmp_path / "t")] == [c.id for c in rows[:50]]
    assert '"id": "again"' in (tmp_path / "t" / "duplicates.jsonl").read_text()
