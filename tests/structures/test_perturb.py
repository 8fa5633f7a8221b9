"""Perturbed crystals: what was done to them can be taken back, and has the size asked for."""

import numpy as np
import pytest

from atomprint.structures.perturb import DISPLACEMENT, STRAIN, PerturbSettings, perturb
from tests.toy import toy_crystals


def perturbed(crystals, seed=0, **settings):
    rng = np.random.default_rng(seed)
    return [perturb(c, PerturbSettings(**settings), rng) for c in crystals]


def test_taking_back_displacement_and_strain_restores_the_crystal():
    crystals = toy_crystals(8)
    for before, after in zip(crystals, perturbed(crystals, rattle=0.1, strain=0.05), strict=True):
        displacement = after.labels[DISPLACEMENT]
        strain = np.reshape(after.labels[STRAIN], (3, 3))
        undo = np.linalg.inv(np.eye(3) + strain)
        np.testing.assert_allclose((after.positions - displacement) @ undo, before.positions)
        np.testing.assert_allclose(after.cell @ undo, before.cell, atol=1e-12)
        np.testing.assert_array_equal(strain, strain.T)  # no rotation
        assert np.abs(displacement).min() > 0
        assert np.abs(strain).min() > 0
        np.testing.assert_array_equal(after.numbers, before.numbers)
        assert after.labels["energy"] == before.labels["energy"]
        assert after.id == before.id
        # To first order the way back is minus the strain.
        np.testing.assert_allclose(undo, np.eye(3) - strain, atol=3 * np.abs(strain).max() ** 2)


def test_sizes_are_those_asked_for():
    """Within five standard errors; off the diagonal a strain is the mean of two components."""
    after = perturbed(toy_crystals(600), rattle=0.07, strain=0.03)
    moved = np.concatenate([c.labels[DISPLACEMENT] for c in after])
    strain = np.array([c.labels[STRAIN] for c in after]).reshape(-1, 3, 3)
    assert moved.std() == pytest.approx(0.07, rel=5 / np.sqrt(2 * moved.size))
    diagonal = strain[:, [0, 1, 2], [0, 1, 2]]
    other = strain[:, [0, 0, 1], [1, 2, 2]]
    assert diagonal.std() == pytest.approx(0.03, rel=5 / np.sqrt(2 * diagonal.size))
    assert other.std() == pytest.approx(0.03 / np.sqrt(2), rel=5 / np.sqrt(2 * other.size))
    for values, spread in ((moved, 0.07), (diagonal, 0.03), (other, 0.03)):
        assert abs(values.mean()) < 5 * spread / np.sqrt(values.size)


def test_the_clean_part_is_as_it_was():
    crystals = toy_crystals(600)
    after = perturbed(crystals, rattle=0.05, strain=0.02, clean=0.3)
    clean = [not np.any(c.labels[DISPLACEMENT]) for c in after]
    assert abs(np.mean(clean) - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 600)
    for before, now, is_clean in zip(crystals, after, clean, strict=True):
        assert np.any(now.labels[STRAIN]) == (not is_clean)
        same = np.array_equal(now.positions, before.positions)
        assert same == np.array_equal(now.cell, before.cell) == is_clean
    # All of the rest has the size asked for.
    moved = np.concatenate([c.labels[DISPLACEMENT] for c in after])
    assert moved[np.any(moved, axis=1)].std() == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "displaced", "strained"),
    [
        ({"rattle": 0.0}, False, False),
        ({"rattle": 0.0, "strain": 0.02}, False, True),
        ({"rattle": 0.05}, True, False),
    ],
)
def test_what_is_not_asked_for_is_zero(settings, displaced, strained):
    (after,) = perturbed(toy_crystals(1), **settings)
    assert after.labels[DISPLACEMENT].shape == (after.n_atoms, 3)
    assert np.shape(after.labels[STRAIN]) == (9,)
    assert np.any(after.labels[DISPLACEMENT]) == displaced
    assert np.any(after.labels[STRAIN]) == strained


def test_the_generator_decides():
    crystals = toy_crystals(3)
    first, again, other = (perturbed(crystals, seed, rattle=0.05) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        assert np.abs(a.positions - c.positions).min() > 0
