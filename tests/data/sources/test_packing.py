"""Packing: the gradient, and spheres whose packing is known."""

import numpy as np
from scipy.optimize import approx_fprime

from atomprint.data.sources import packing
from atomprint.data.sources.packing import Springs, relax, shortest_cell

NONE = Springs(*(np.zeros(0, int),) * 2, np.zeros((0, 3), int), np.zeros(0), np.zeros(0))


def test_the_gradient_is_that_of_the_value():
    rng = np.random.default_rng(0)
    n = 5
    cell = 4 * np.eye(3) + rng.normal(0, 0.3, (3, 3))
    positions = rng.uniform(0, 4, (n, 3))
    pairs = np.array([[0, 1], [2, 3], [1, 4]])
    shift = np.array([[0, 0, 0], [1, 0, -1], [0, 1, 0]])
    near = packing._contacts(positions, cell, np.full(n, 1.2), 0.5, np.zeros(0, int))

    springs = Springs(*np.ascontiguousarray(pairs.T), shift, np.full(3, 1.5), np.ones(3))

    def value(x):
        return packing._value(x, cell, 0.1, springs, near, np.full(len(near[0]), 2.6), 0.3, 0.02)

    x = np.concatenate([positions.ravel(), rng.normal(0, 0.1, 9)])
    numeric = approx_fprime(x, lambda y: value(y)[0], 1e-6)
    np.testing.assert_allclose(value(x)[1], numeric, atol=2e-4)


def test_pairs_are_each_listed_once():
    rng = np.random.default_rng(1)
    cell = np.array([[2.9, 0, 0], [1, 3.1, 0], [0.5, -0.4, 3.5]])
    positions = rng.uniform(0, 3, (4, 3))
    i, j, shift = packing._contacts(positions, cell, np.full(4, 1.5), 0.0, np.zeros(0, int))
    found = {(a, b, *s) for a, b, s in zip(i.tolist(), j.tolist(), shift.tolist(), strict=True)} | {
        (b, a, *[-c for c in s])
        for a, b, s in zip(i.tolist(), j.tolist(), shift.tolist(), strict=True)
    }
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    atoms = Atoms("H4", positions, cell=cell, pbc=True)
    a, b, s = neighbor_list("ijS", atoms, 3.0)
    assert found == {(p, q, *r) for p, q, r in zip(a.tolist(), b.tolist(), s.tolist(), strict=True)}
    assert len(i) * 2 == len(a)


def test_a_sphere_under_pressure_packs_densely():
    no = np.zeros(1, bool)
    _, cell, closest = relax(
        np.zeros((1, 3)), np.array([[2.4, 0.3, 0], [0, 2.3, 0.2], [0.4, 0, 2.5]]), np.array([1.0]),
        NONE, no, no, pressure=1e-3,
    )  # fmt: skip
    # spheres of diameter 2 have 8 Å³ each in a simple cubic lattice, and never less than 4 sqrt(2)
    assert 0.95 * 4 * np.sqrt(2) < abs(np.linalg.det(cell)) < 8
    assert 0.97 < closest <= 1


def test_a_molecule_keeps_its_bonds_under_pressure():
    springs = Springs(
        np.array([0]), np.array([1]), np.zeros((1, 3), int), np.array([1.4]), np.ones(1)
    )
    no = np.zeros(2, bool)
    positions, _, _ = relax(
        np.array([[0, 0, 0], [1.6, 0, 0]]), 5 * np.eye(3), np.full(2, 1.5), springs, no, no,
        pressure=1e-3,
    )  # fmt: skip
    assert abs(np.linalg.norm(positions[1] - positions[0]) - 1.4) < 0.03


def test_the_shortest_cell_is_the_same_crystal():
    cell = np.array([[4.0, 0, 0], [8.1, 4, 0], [0, 0.1, 5]])
    positions = np.array([[0.1, 0.2, 0.3], [9, 2, 1]])
    moved, short = shortest_cell(positions, cell)
    np.testing.assert_allclose(abs(np.linalg.det(short)), abs(np.linalg.det(cell)), rtol=1e-4)
    assert np.linalg.norm(short, axis=1).max() < 5.1
    steps = np.linalg.solve(cell.T, (moved - positions).T).T
    steps -= steps[0]
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
