"""Slabs: whole repeats of their parents with vacuum, cut where little breaks."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from atomprint.data.sources import SlabsSettings
from atomprint.data.sources.slabs.cut import (
    both_sides_alike,
    dipole,
    look_along,
    oriented,
    planes,
)
from atomprint.data.sources.slabs.source import BLOCK
from atomprint.ground import elements
from atomprint.structures.crystal import Crystal
from atomprint.structures.writing import write_parquet
from tests.data.test_generated import brute_force_distances, needs_tools

N = 60
FCC = np.ones((3, 3)) - np.eye(3)
SALT = Crystal.make("NaCl", [11, 17], 2.82 * FCC, frac=[[0, 0, 0], [0.5] * 3])


@cache
def made():
    source = SlabsSettings(seed=2)
    return [source.cut(index) for index in range(N)]


@needs_tools
def test_a_slab_is_a_function_of_seed_and_index():
    again = SlabsSettings(seed=2)
    np.testing.assert_array_equal(again.cut(7).crystal.positions, made()[7].crystal.positions)
    block = again.block(1).records
    assert block[3].id == f"slab-2-{BLOCK + 3:07d}"
    np.testing.assert_array_equal(block[3].frac, again.cut(BLOCK + 3).crystal.frac)


@needs_tools
def test_slabs_have_vacuum_and_the_composition_of_their_parents():
    for slab in made():
        crystal = slab.crystal
        expected = {z: slab.n_repeats * n for z, n in Counter(slab.parent.numbers.tolist()).items()}
        assert Counter(crystal.numbers.tolist()) == expected
        assert crystal.n_atoms <= 60
        # c along z, a and b in the plane.
        np.testing.assert_allclose(crystal.cell[2, :2], 0.0, atol=1e-9)
        np.testing.assert_allclose(crystal.cell[:2, 2], 0.0, atol=1e-9)
        heights = np.sort(crystal.positions[:, 2])
        empty = crystal.cell[2, 2] - (heights[-1] - heights[0])
        assert empty == pytest.approx(slab.vacuum, abs=0.5)  # the rattle
        assert 19.5 <= slab.vacuum <= 28.0
        # The volume without vacuum is that of the parents' cells that lie on each other.
        area = np.linalg.norm(np.cross(crystal.cell[0], crystal.cell[1]))
        spacing = slab.parent.volume / area
        assert 4.9 <= slab.n_repeats * spacing <= 15.1
        distance = brute_force_distances(crystal.cell, crystal.frac, 4.0).min(axis=2)
        r = elements.covalent_radius[crystal.numbers]
        assert (distance >= 0.7 * (r[:, None] + r[None])).all()


@needs_tools
def test_inside_a_slab_atoms_see_what_they_saw_in_the_parent():
    source = SlabsSettings(rattle=0, min_thickness=10, max_thickness=18)
    compared = 0
    for index in range(25):
        slab = source.cut(index)
        crystal, parent = slab.crystal, slab.parent
        few = brute_force_distances(parent.cell, parent.frac, 3.5)
        seen = {}
        for k, z in enumerate(parent.numbers):
            seen.setdefault(z, []).append(np.sort(few[k][few[k] < 3.5]))
        many = brute_force_distances(crystal.cell, crystal.frac, 3.5)
        heights = crystal.positions[:, 2]
        inside = (heights > heights.min() + 3.6) & (heights < heights.max() - 3.6)
        for k in np.flatnonzero(inside):
            own = np.sort(many[k][many[k] < 3.5])
            alike = [s for s in seen[crystal.numbers[k]] if abs(len(s) - len(own)) <= 1]
            # Distances at the cutoff fall to either side by rounding.
            n = min([len(own), *map(len, alike)])
            assert any(np.allclose(s[:n], own[:n], atol=2e-3) for s in alike), index
            compared += 1
    assert compared > 50


def test_planes_are_planes():
    assert len(planes(1)) == 13
    for plane in planes(2):
        matrix = oriented(SALT.cell, plane)
        assert abs(round(np.linalg.det(matrix))) == 1
        np.testing.assert_array_equal(matrix @ np.array(plane), [0, 0, 1])


def test_rock_salt_is_cut_as_it_cleaves():
    """(100) of the cubic cell is neutral and alike on both sides, (111) is polar (Tasker)."""
    charges = np.array([1.0, -1.0])
    # In the primitive cell, (1 1 0) is (001) of the cubic one and (1 1 1) is (111).
    cleaved, polar = (look_along(SALT, p, charges) for p in ((1, 1, 0), (1, 1, 1)))
    assert cleaved.spacing == pytest.approx(2.82)
    assert polar.spacing == pytest.approx(2 * 2.82 / np.sqrt(3))
    assert len(cleaved.cuts) == 1
    assert len(polar.cuts) == 2
    assert dipole(cleaved, cleaved.cuts[0], charges) == pytest.approx(0.0, abs=1e-9)
    assert both_sides_alike(cleaved, cleaved.cuts[0])
    for cut in polar.cuts:
        # Half a spacing between planes of opposite charge.
        assert dipole(polar, cut, charges) == pytest.approx(2.82 / np.sqrt(3), abs=1e-6)
    # One bond an atom, two atoms on a square of the nearest neighbours: 1 / 2.82² of a strength.
    strength = np.exp((elements.covalent_radius[[11, 17]].sum() - 2.82) / 0.37)
    assert cleaved.broken[0] == pytest.approx(strength / 2.82**2, rel=1e-6)
    assert polar.broken.min() > cleaved.broken[0]


def test_layers_part_where_they_are_held_by_nothing():
    """CdI2 is cut between iodine and iodine, never between cadmium and iodine."""
    cell = [[4.24, 0, 0], [-2.12, 4.24 * np.sqrt(3) / 2, 0], [0, 0, 6.84]]
    frac = [[0, 0, 0], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
    found = look_along(Crystal.make("CdI2", [48, 53, 53], cell, frac=frac), (0, 0, 1))
    assert found.broken.min() == 0.0
    assert found.cuts[np.argmin(found.broken)] == pytest.approx(0.5)
    assert (found.broken > 0).sum() == 2


@needs_tools
def test_what_is_polar_is_counted_and_can_be_kept(tmp_path):
    write_parquet(tmp_path / "salt.parquet", [SALT])
    settings = {"parents": str(tmp_path / "salt.parquet"), "rattle": 0.0}
    slabs = [SlabsSettings(**settings).cut(index) for index in range(40)]
    assert sum(slab.rejected["polar"] for slab in slabs) > 0
    assert all(slab.alike for slab in slabs)
    # The (111) planes of the cubic cell, in the primitive one.
    polar = {(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)}
    assert not polar & {slab.plane for slab in slabs}
    kept = [SlabsSettings(polar=True, **settings).cut(index) for index in range(40)]
    assert polar & {slab.plane for slab in kept}
