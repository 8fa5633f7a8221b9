"""MBTR, LMBTR and the fingerprint of Valle and Oganov."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from pydantic import TypeAdapter

from atomprint.fingerprints import (
    FingerprintSettings,
    LMBTRSettings,
    MBTRSettings,
    ValleOganovSettings,
    channel_table,
    manybody,
)
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from atomprint.testing.fingerprints import sample_crystals
from tests.fingerprints.common import SAMPLES, golden, relative, values
from tests.reference import mbtr as reference

with np.load(Path(__file__).parent.parent / "golden" / "mbtr.npz") as _file:
    GOLDEN = {key: _file[key] for key in _file.files}
CASES = json.loads(str(GOLDEN["settings"]))
SPECIES = ("Li", "N", "O", "Ti", "Ba")
NUMBERS = [3, 7, 8, 22, 56]


@pytest.mark.parametrize("case", CASES)
def test_is_dscribe(case):
    settings = TypeAdapter(FingerprintSettings).validate_python(CASES[case])
    for name in ("one", "two", "five"):
        crystal, _ = golden(name)
        key = f"{case}/{name}"
        wanted = np.zeros((len(GOLDEN[f"{key}/values"]), int(GOLDEN[f"{key}/width"])))
        wanted[:, GOLDEN[f"{key}/places"]] = GOLDEN[f"{key}/values"]
        assert np.abs(wanted).max() > 0
        found = values(settings, crystal)
        assert found.shape == wanted.shape
        # Straight angles, of which these cells have many, dscribe has to 1e-6 degrees.
        assert relative(found, wanted) < (2e-8 if "angle" in case else 1e-13)
        assert relative(values(settings, crystal, torch.float32), wanted) < 1e-5


def made(kind, geometry, weighting, **more):
    grid = {"grid_min": -0.3, "grid_max": 5.0, "n_points": 11, "sigma": 0.4}
    if geometry == "angle":
        grid = {"grid_min": 0.0, "grid_max": 180.0, "n_points": 11, "sigma": 12.0}
    settings = kind(geometry=geometry, weighting=weighting, cutoff=4.2, **grid, **more)
    return settings, tuple(grid.values())


@pytest.mark.parametrize("weighting", ["exp", "inverse_square"])
@pytest.mark.parametrize("geometry", ["distance", "inverse_distance"])
def test_pairs_agree_with_the_slow_loop(geometry, weighting):
    crystal, weights = SAMPLES["five"], (weighting, 4.2, 1e-3)
    settings, grid = made(MBTRSettings, geometry, weighting, species=SPECIES, normalization="none")
    wanted = reference.mbtr_k2(crystal, NUMBERS, geometry, weights, grid)
    assert relative(values(settings, crystal), wanted[None]) < 1e-13
    settings, grid = made(LMBTRSettings, geometry, weighting, species=SPECIES)
    wanted = reference.lmbtr_k2(crystal, NUMBERS, geometry, weights, grid)
    assert relative(values(settings, crystal), wanted) < 1e-13


@pytest.mark.parametrize(("weighting", "parameter"), [("exp", 1e-2), ("smooth_cutoff", 3)])
def test_angles_agree_with_the_slow_loop(weighting, parameter):
    crystal, weights = SAMPLES["five"], (weighting, 4.2, parameter)
    name = "threshold" if weighting == "exp" else "sharpness"
    more = {"species": SPECIES, name: parameter}
    settings, grid = made(MBTRSettings, "angle", weighting, normalization="none", **more)
    wanted = reference.mbtr_k3(crystal, NUMBERS, "angle", weights, grid)
    assert relative(values(settings, crystal), wanted[None]) < 1e-13
    settings, grid = made(LMBTRSettings, "angle", weighting, **more)
    wanted = reference.lmbtr_k3(crystal, NUMBERS, "angle", weights, grid)
    assert relative(values(settings, crystal), wanted) < 1e-13


@pytest.mark.parametrize("geometry", ["atomic_number", "distance", "cosine"])
def test_channels_are_weighted_sums_over_blocks_of_species(geometry):
    """Every combination of elements, times the product of their channels."""
    common = {"geometry": geometry, "cutoff": 4.0, "n_points": 9, "normalization": "none"}
    blocks = MBTRSettings(species=SPECIES, **common)
    rows = values(blocks, SAMPLES["five"]).reshape(-1, 9)
    names = [label.split(".")[1].split("-") for label in blocks.build().labels()[::9]]
    table = channel_table(("electronegativity", "mass")).numpy()
    number = dict(zip(SPECIES, NUMBERS, strict=True))
    products = np.array([np.prod([table[number[s]] for s in name], axis=0) for name in names])
    found = values(
        MBTRSettings(channels=("electronegativity", "mass"), **common), SAMPLES["five"]
    ).reshape(2, 9)
    np.testing.assert_allclose(found, products.T @ rows, rtol=1e-12)


def test_local_channels_are_weighted_sums_over_blocks_of_species():
    common = {"geometry": "angle", "weighting": "smooth_cutoff", "cutoff": 3.9, "n_points": 9}
    settings = LMBTRSettings(species=SPECIES, **common)
    rows = values(settings, SAMPLES["five"]).reshape(5, -1, 9)
    table = dict(zip(SPECIES, channel_table(("Z",)).numpy()[NUMBERS, 0], strict=True))
    wanted = np.zeros((5, 2, 9))
    for b, label in enumerate(settings.build().labels()[::9]):
        a, x, c = label.split(".")[1].split("-")
        weight = np.prod([table[s] for s in (a, x, c) if s != "X"])
        wanted[:, 0 if x == "X" else 1] += weight * rows[:, b]
    found = values(LMBTRSettings(channels=("Z",), **common), SAMPLES["five"]).reshape(5, 2, 9)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_atoms_of_a_crystal_add_up():
    """Every pair is in two rows of LMBTR, every angle once with X in the middle, twice at an end"""
    common = {"weighting": "smooth_cutoff", "geometry": "cosine", "n_points": 7, "cutoff": 4.0}
    crystal = SAMPLES["five"]
    whole = values(MBTRSettings(channels=("one",), normalization="none", **common), crystal)[0]
    rows = values(LMBTRSettings(channels=("one",), **common), crystal).reshape(5, 2, 7)
    np.testing.assert_allclose(rows[:, 0].sum(0), whole, rtol=1e-12)
    np.testing.assert_allclose(rows[:, 1].sum(0), 2 * whole, rtol=1e-12)
    common = {"geometry": "inverse_distance", "n_points": 7, "cutoff": 4.0, "channels": ("one",)}
    whole = values(MBTRSettings(normalization="none", **common), crystal)[0]
    rows = values(LMBTRSettings(**common), crystal)
    np.testing.assert_allclose(rows.sum(0), 2 * whole, rtol=1e-12)


def test_valle_oganov_tends_to_one():
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    crystal = Crystal.make("x", atoms.numbers, atoms.cell.array, positions=atoms.positions)
    settings = ValleOganovSettings(cutoff=24.0, n_points=49, sigma=0.8, species=("Cl", "Na"))
    rows = values(settings, crystal).reshape(3, 49)
    np.testing.assert_allclose(rows[:, 20:44].mean(1), 1, atol=0.02)
    settings = settings.model_copy(update={"species": None, "channels": ("Z", "mass")})
    rows = values(settings, crystal).reshape(2, 49)
    np.testing.assert_allclose(rows[:, 20:44].mean(1), 1, atol=0.02)


def test_rattled_angles_in_parts_are_the_same_with_gradients(monkeypatch):
    fingerprint = MBTRSettings(geometry="angle", cutoff=3.6, n_points=10).build()
    graph = GraphBatch.from_crystals(sample_crystals(), fingerprint.cutoff, torch.float64)

    def run():
        positions = graph.positions.clone().requires_grad_()
        rows = fingerprint(graph.with_geometry(positions))
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(rows.shape, generator=generator, dtype=torch.float64)
        return rows.detach(), torch.autograd.grad((rows * noise).sum(), positions)[0]

    whole = run()
    monkeypatch.setattr(manybody, "_PART", 300)
    sizes = [len(first) for first, _ in manybody._parts_of_angles(graph, 30)]
    assert len(sizes) > 10
    assert max(sizes) < 100
    for found, wanted in zip(run(), whole, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-13)


def test_a_straight_angle_has_a_finite_gradient():
    atoms = bulk("Cu", "fcc", a=3.6)
    crystal = Crystal.make("x", atoms.numbers, atoms.cell.array, positions=atoms.positions)
    fingerprint = LMBTRSettings(geometry="angle", cutoff=4.0).build()
    graph = GraphBatch.from_crystals([crystal], fingerprint.cutoff, torch.float64)
    cells = graph.cells.clone().requires_grad_()
    fingerprint(graph.with_geometry(graph.positions, cells)).square().sum().backward()
    assert torch.isfinite(cells.grad).all()


def test_scale_sets_the_cutoff():
    assert MBTRSettings(scale=1.0, threshold=1e-3).build().cutoff == pytest.approx(6.907755)
    angles = LMBTRSettings(geometry="cosine", scale=0.5, threshold=1e-4).build()
    assert angles.cutoff == pytest.approx(9.210340)


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (MBTRSettings, {"species": ("Fe", "Xx")}, "no element"),
        (MBTRSettings, {"species": ("Fe", "Fe")}, "given twice"),
        (MBTRSettings, {"weighting": "smooth_cutoff"}, "not for distance"),
        (MBTRSettings, {"geometry": "angle", "weighting": "inverse_square"}, "not for angle"),
        (MBTRSettings, {"grid_min": 3.0, "grid_max": 2.0}, "grid_min"),
        (MBTRSettings, {"pool": ("sum",)}, "pool"),
        (
            MBTRSettings,
            {"geometry": "atomic_number", "normalization": "valle_oganov"},
            "pairs and angles",
        ),
        (MBTRSettings, {"per": "atom"}, "crystal"),
        (LMBTRSettings, {"geometry": "atomic_number"}, "no neighbours"),
        (ValleOganovSettings, {"pool": ("sum",)}, "pool"),
        (ValleOganovSettings, {"species": ("Q",)}, "no element"),
        (ValleOganovSettings, {"cutoff": 0.0}, "greater than 0"),
    ],
)
def test_bad_settings_are_refused(kind, wrong, said):
    with pytest.raises(ValueError, match=said):
        kind(**wrong)


def test_an_element_not_in_species_is_named():
    with pytest.raises(UsageError, match="Ba, which is not in species"):
        values(LMBTRSettings(species=("Li", "N", "O", "Ti")), SAMPLES["five"])


def test_units():
    assert MBTRSettings().build().units[0] == "1/Å"
    assert MBTRSettings(weighting="inverse_square").build().units[0] == "1/Å^3"
    assert MBTRSettings(geometry="inverse_distance").build().units[0] == "Å"
    assert ValleOganovSettings().build().units[0] == "1"
    assert ValleOganovSettings(function="angle").build().units[0] == "Å^3/deg"
    assert LMBTRSettings(normalization="l2").build().units[0] == "1"
