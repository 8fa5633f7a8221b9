"""The table of Gaussians against the densities that GPAW computed (tests/golden)."""

import json
from pathlib import Path

import numpy as np
import pytest

from atomprint.fingerprints import gmp_gaussians
from atomprint.fingerprints.gmp_gaussians import own_gaussians
from atomprint.ground import elements

GOLDEN = Path(__file__).parent.parent / "golden" / "free_atoms.npz"
TABLE = json.loads(Path(gmp_gaussians.__file__).with_suffix(".json").read_text(encoding="utf-8"))
ENTRIES = TABLE["elements"]
WORST = 0.01


@pytest.fixture(scope="module")
def computed():
    with np.load(GOLDEN) as file:
        return {name: file[name] for name in file.files}


def charges(entry):
    b, beta = np.array(entry["gaussians"]).T
    return b * (np.pi / beta) ** 1.5, beta


def test_every_element_up_to_nobelium_is_there_and_says_how_it_was_made():
    assert [entry["number"] for entry in ENTRIES.values()] == list(range(1, 103))
    assert list(ENTRIES) == list(elements.symbols[1:103])
    assert np.flatnonzero(own_gaussians().known).tolist() == list(range(1, 103))
    assert "GPAW 22.8.0" in TABLE["about"]["program"]


@pytest.mark.parametrize("symbol", ENTRIES)
def test_the_charge_is_that_of_the_valence_shells(symbol):
    entry = ENTRIES[symbol]
    shells = sum(float(shell[2:]) for shell in entry["valence"].split())
    assert entry["electrons"] == shells
    assert charges(entry)[0].sum() == pytest.approx(shells, abs=2e-6)


def test_shells_are_the_blocks_that_are_filled():
    wanted = {"H": "1s1", "O": "2s2 2p4", "K": "4s1", "Fe": "4s2 3d6", "Zn": "4s2 3d10"}
    wanted |= {"Ga": "4s2 4p1", "Pd": "4d10", "Yb": "6s2 4f14", "Lu": "6s2 5d1", "Pb": "6s2 6p2"}
    assert {symbol: ENTRIES[symbol]["valence"] for symbol in wanted} == wanted


@pytest.mark.parametrize("symbol", ENTRIES)
def test_fits_are_as_near_the_computed_densities_as_the_table_says(symbol, computed):
    entry = ENTRIES[symbol]
    r, weights, density = computed["r"], computed["weights"], computed[symbol]
    shell = 4 * np.pi * r**2 * weights
    electrons = entry["electrons"]
    assert (shell * density).sum() == pytest.approx(electrons, rel=1e-3)
    fitted = own_gaussians().density(entry["number"], r)
    misplaced = 0.5 * (shell * np.abs(fitted - density)).sum() / electrons
    assert misplaced == pytest.approx(entry["misplaced_by_fit"], rel=0.1, abs=1e-4)
    assert misplaced < WORST
    charge, beta = charges(entry)
    radius = (1.5 * charge / beta).sum() / electrons
    assert radius == pytest.approx((shell * r**2 * density).sum() / electrons, rel=0.04)


@pytest.mark.parametrize("symbol", ENTRIES)
def test_no_density_is_negative(symbol):
    r = 20 * np.linspace(0, 1, 2000) ** 2
    assert own_gaussians().density(ENTRIES[symbol]["number"], r).min() >= 0


def test_hydrogen_outside_its_cusp_is_nearly_the_exact_atom(computed):
    """PBE without spin polarisation: wider than exp(-2r) / π in Bohr, whose <r²> is 3 Bohr²."""
    bohr = 0.529177
    r = np.linspace(0.6, 2.0, 30)
    exact = np.exp(-2 * r / bohr) / np.pi / bohr**3
    np.testing.assert_allclose(own_gaussians().density(1, r), exact, atol=0.03)
    assert ENTRIES["H"]["mean_square_radius"] / bohr**2 == pytest.approx(3, rel=0.25)


def test_radii_follow_those_of_atoms_in_crystals():
    """The valence density's radius against covalent radii, elements of s, p and d blocks."""
    known = [z for z in range(3, 87) if not 57 <= z <= 71]
    size = np.sqrt([ENTRIES[elements.symbols[z]]["mean_square_radius"] for z in known])
    covalent = np.array(elements.covalent_radius)[known]
    assert np.corrcoef(size, covalent)[0, 1] > 0.75
