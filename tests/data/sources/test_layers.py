"""Layers: connected in two directions, with vacuum in the third."""

from functools import cache

import numpy as np
import pytest

from atomprint.data.sources import LayersSettings
from atomprint.data.sources.bonded import basis, components, reduced
from atomprint.data.sources.layers.lengths import fit_to_lengths
from atomprint.data.sources.layers.peeling import peel
from atomprint.data.sources.layers.source import (
    BLOCK,
    ROUTES,
    LayersShares,
    _Attempt,
    _Flat,
)
from atomprint.data.sources.layers.types import covalent_types, ionic_types
from atomprint.ground import elements
from atomprint.structures.crystal import Crystal
from atomprint.structures.writing import write_parquet
from tests.data.sources.test_derived import balances
from tests.data.test_generated import brute_force_distances, needs_tools

N = 30
NONE = dict.fromkeys(ROUTES, 0.0)
CDI2 = Crystal.make(
    "CdI2",
    [48, 53, 53],
    [[4.24, 0, 0], [-2.12, 4.24 * np.sqrt(3) / 2, 0], [0, 0, 6.84]],
    frac=[[0, 0, 0], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]],
)


def dimensions(crystal):
    """ASE's components by dimension, with bonds up to 1.3 times the sum of covalent radii."""
    from ase import Atoms
    from ase.geometry.dimensionality import isolate_components

    atoms = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)
    return {kind: len(parts) for kind, parts in isolate_components(atoms, kcutoff=1.3).items()}


@cache
def made(route):
    source = LayersSettings(seed=3, shares=LayersShares(**{**NONE, route: 1.0}))
    return source.make(range(N))[0]


@needs_tools
def test_a_layer_is_a_function_of_seed_and_index():
    source = LayersSettings(seed=6)
    block = source.block(1)
    assert sum(block.rejected.values()) > 0
    # Alone or beside others, and after a block that nobody made.
    (last, first), _ = source.make([BLOCK + 17, BLOCK + 2])
    for layer, k in ((first, 2), (last, 17)):
        assert block.records[k].id == layer.crystal.id == f"layer-6-{BLOCK + k:07d}"
        np.testing.assert_array_equal(block.records[k].numbers, layer.crystal.numbers)
        np.testing.assert_array_equal(block.records[k].cell, layer.crystal.cell)
        np.testing.assert_array_equal(block.records[k].frac, layer.crystal.frac)


@needs_tools
@pytest.mark.parametrize("route", ROUTES)
def test_layers_are_one_component_in_two_directions(route):
    for layer in made(route):
        crystal = layer.crystal
        assert dimensions(crystal) == {"2D": 1}, layer.prototype
        heights = crystal.positions[:, 2]
        assert crystal.cell[2, 2] - np.ptp(heights) == pytest.approx(layer.vacuum, abs=0.3)
        assert 19.5 <= layer.vacuum <= 28.0
        distance = brute_force_distances(crystal.cell, crystal.frac, 4.0).min(axis=2)
        r = elements.covalent_radius[crystal.numbers]
        assert (distance >= 0.7 * (r[:, None] + r[None])).all()
    assert len({layer.crystal.formula for layer in made(route)}) > N / 2


@pytest.mark.parametrize(("apart", "reason"), [(0.0, ""), (4.5, "not one layer")])
def test_two_sheets_are_no_layer(apart, reason):
    """Carbon sheets: one over the other at more than a bond is two layers."""
    sheet = np.array([[0, 0, 0], [1.23, 0.71, 0]])
    n_sheets = 2 if apart else 1
    positions = np.concatenate([sheet + np.array([0, 0, k * apart]) for k in range(n_sheets)])
    cell = np.array([[2.46, 0, 0], [-1.23, 2.13, 0], [0, 0, 30.0]])
    flat = Crystal("flat", np.full(2 * n_sheets, 6), positions, cell)
    attempt = _Attempt(LayersSettings(rattle=0.0), 0)
    found, layer = attempt.finish(_Flat(flat, "sheets"))
    assert (found, layer is None) == (reason, bool(reason))


@needs_tools
def test_ionic_layers_are_charge_balanced():
    for layer in made("ionic"):
        assert balances(layer.crystal.numbers), layer.crystal.formula


@needs_tools
def test_known_layers_come_out_as_they_are_known():
    """Types as they are written down fit the model that their decorations are fitted by."""
    from atomprint.data.sources.generated.chemistry import load_chemistry
    from atomprint.data.sources.generated.decoration import Candidate, Decorator
    from atomprint.data.sources.generated.relaxation import relax
    from atomprint.data.sources.layers.source import _REPULSION, _ionic_layer

    chemistry = load_chemistry()
    species = {(s.symbol, s.charge): k for k, s in enumerate(chemistry.species)}
    decorator = Decorator(chemistry, ionic_types(), np.random.default_rng(0), 40, 1)
    # Lattice constants of the layers in their bulk crystals, Å.
    known = {"2H-MoS2": 3.16, "1T-TiS2": 3.41, "1T-CdI2": 4.24, "BiOCl": 3.88, "CrI3": 6.87}
    for kind in ionic_types():
        if kind.name not in known:
            continue
        orbit = [species[e, q] for e, q in zip(kind.element, kind.charge, strict=True)]
        unique = sorted(set(orbit))
        which = np.array([unique.index(k) for k in orbit])[kind.orbit]
        draft = decorator._ionic_draft(kind.cell, kind.frac, np.array(unique), which)
        fitted = relax([draft], n_steps=150, repulsion=_REPULSION, evenness=0.5)[0]
        element = chemistry.species_element[np.array(unique)][which]
        layer = _ionic_layer(Candidate(draft, element, kind.name, "", 0), fitted)
        assert not isinstance(layer, str), kind.name
        assert layer.crystal.cell[0, 0] == pytest.approx(known[kind.name], rel=0.06), kind.name


def test_types_are_layers_as_they_are_written_down():
    for kind in covalent_types():
        numbers = [elements.symbols.index(e) for e in kind.native]
        crystal = Crystal.make(kind.name, numbers, kind.cell, positions=kind.positions)
        assert dimensions(crystal) == {"2D": 1}, kind.name
        assert set("".join(kind.labels)) - set("12") == set("".join(kind.choices)), kind.name


def test_bonds_get_the_lengths_that_radii_give_them():
    kinds = {kind.name: kind for kind in covalent_types()}
    flat, gase = kinds["graphene"], kinds["GaSe"]
    # Native elements: nothing moves.
    numbers = np.array([5, 7])
    positions, cell, misfit = fit_to_lengths(flat.positions, flat.cell, numbers, numbers)
    np.testing.assert_allclose(cell, flat.cell, atol=1e-6)
    assert misfit < 1e-9
    # AlN for BN: one kind of bond, longer by the difference of radii (1.21 - 0.84 Å).
    positions, cell, _ = fit_to_lengths(flat.positions, flat.cell, numbers, np.array([13, 7]))
    assert cell[0, 0] == pytest.approx(2.5 + np.sqrt(3) * (1.21 - 0.84), abs=1e-3)
    np.testing.assert_allclose(positions[:, 2], positions[0, 2], atol=1e-6)
    # InSe for GaSe: known with a = 4.0 Å, and In-In of 2.8 Å.
    native, new = np.array([31, 31, 34, 34]), np.array([49, 49, 34, 34])
    positions, cell, misfit = fit_to_lengths(gase.positions, gase.cell, native, new)
    assert cell[0, 0] == pytest.approx(4.0, rel=0.03)
    assert abs(positions[0, 2] - positions[1, 2]) == pytest.approx(2.8, rel=0.05)
    assert misfit < 0.02
    np.testing.assert_allclose(
        cell[1], [-cell[0, 0] / 2, cell[0, 0] * np.sqrt(3) / 2, 0], atol=1e-3
    )


@needs_tools
def test_a_layered_crystal_is_peeled_and_another_is_not(tmp_path):
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    # The same crystal in a skew cell, turned, with two layers in it.
    matrix = np.array([[1, 1, 0], [0, 1, 0], [1, 2, 2]])
    many = Crystal.make(
        "CdI2",
        np.tile(CDI2.numbers, 2),
        matrix @ CDI2.cell @ turned,
        positions=np.concatenate([CDI2.positions, CDI2.positions + CDI2.cell[2]]) @ turned,
    )
    for parent in (CDI2, many):
        layer = peel(parent, 20.0, rng)
        assert layer.composition == CDI2.composition
        assert layer.n_atoms == 3
        area = np.linalg.norm(np.cross(layer.cell[0], layer.cell[1]))
        assert area == pytest.approx(4.24**2 * np.sqrt(3) / 2)
        assert layer.cell[2, 2] == pytest.approx(20.0 + 2 * 0.25 * 6.84)
    salt = Crystal.make("NaCl", [11, 17], 2.82 * (np.ones((3, 3)) - np.eye(3)),
                        frac=[[0, 0, 0], [0.5] * 3])  # fmt: skip
    assert peel(salt, 20.0, rng) is None
    write_parquet(tmp_path / "parents.parquet", [salt, CDI2])
    source = LayersSettings(
        parents=str(tmp_path / "parents.parquet"), shares=LayersShares(**{**NONE, "peeled": 1})
    )
    assert {layer.prototype for layer in source.make(range(5))[0]} == {"CdI2"}


def test_components_are_those_of_ase():
    rng = np.random.default_rng(1)
    for _ in range(40):
        n = int(rng.integers(1, 7))
        cell = np.diag(rng.uniform(2.0, 7.0, 3)) + rng.normal(0, 0.4, (3, 3))
        crystal = Crystal.make("x", rng.choice([6, 14, 16], n), cell, frac=rng.random((n, 3)))
        ours = [f"{part.dimension}D" for part in components(crystal)]
        assert {kind: ours.count(kind) for kind in set(ours)} == dimensions(crystal)


def test_bases_span_what_they_should():
    rng = np.random.default_rng(2)
    for _ in range(50):
        some = rng.integers(-3, 4, (4, 3)) * np.array([1, 1, rng.integers(0, 2)])
        found = basis(some)
        assert len(found) == np.linalg.matrix_rank(some)
        if len(found) == 0:
            continue
        # Every vector is a whole combination of the basis, and the basis of them (same minors).
        whole = some @ np.linalg.pinv(found)
        np.testing.assert_allclose(whole, np.round(whole), atol=1e-8)
        np.testing.assert_allclose(np.round(whole) @ found, some, atol=1e-8)
    first, second = reduced(np.array([1.0, 0, 0]), np.array([7.1, 0.5, 0]))
    assert (first @ first, second @ second) == pytest.approx((0.26, 1.0))
