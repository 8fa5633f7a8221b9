"""SOAP has the numbers of dscribe and of featomic; tests/golden/make_soap.py made theirs."""

import numpy as np
import pytest

from atomprint.fingerprints import SOAPSettings
from tests.fingerprints.common import GOLDEN, GOLDEN_NAMES, golden, relative, values

GTO = {"cutoff": 4.0, "n_max": 4, "l_max": 3, "sigma": 0.4}
POLYNOMIAL = {"cutoff": 4.5, "n_max": 4, "l_max": 3, "sigma": 0.5, "basis": "polynomial"}
POLY = {"function": "poly", "r0": 4.2, "c": 1.3, "m": 2}
POW = {"function": "pow", "r0": 1.7, "c": 1.1, "d": 0.6, "m": 3}
EXP = {"function": "exp", "r0": 1.2, "c": 1.1, "d": 0.6}
INNER = {"per": "crystal", "average": "inner"}
# Settings and resolution by species (none: the one channel, dscribe's mu2).
DSCRIBE = {
    "gto_off": (GTO, "full"),
    "gto_mu1nu1": (GTO, "mu1nu1"),
    "gto_crossover": (GTO, "crossover"),
    "gto_large": ({"cutoff": 6.0, "n_max": 8, "l_max": 6, "sigma": 0.5}, None),
    "gto_narrow": (GTO | {"sigma": 0.2}, None),
    "polynomial_mu2": (POLYNOMIAL, None),
    "polynomial_off": (POLYNOMIAL, "full"),
    "polynomial_narrow": (POLYNOMIAL | {"sigma": 0.15, "n_max": 3}, None),
    "polynomial_six": (POLYNOMIAL | {"n_max": 6}, None),
    "poly": (GTO | {"weighting": POLY}, None),
    "poly_within": (GTO | {"weighting": POLY | {"r0": 3.1}}, "crossover"),
    "poly_w0": (GTO | {"weighting": POLY, "center_weight": 0.3}, None),
    "w0": (GTO | {"center_weight": 0.3}, None),
    "pow": (GTO | {"weighting": POW}, None),
    "exp": (GTO | {"weighting": EXP}, None),
    "polynomial_pow": (POLYNOMIAL | {"weighting": POW, "center_weight": 0.5}, "crossover"),
    "gto_inner": (GTO | INNER, "full"),
    "gto_outer": (GTO | {"per": "crystal"}, "full"),
    "mu1nu1_inner": (GTO | INNER, "mu1nu1"),
    "polynomial_inner": (POLYNOMIAL | {"weighting": POLY} | INNER, "crossover"),
}
# dscribe's six polynomials are orthonormal to 5e-9 only (the next test): all it can agree to.
TOLERANCES = {"polynomial_six": 5e-9}

FEATOMIC = {
    "smooth": {"cutoff": 4.0, "cutoff_width": 0.5, "sigma": 0.4, "n_max": 4, "l_max": 4},
    "step": {"cutoff": 4.5, "cutoff_function": "none", "sigma": 0.3, "n_max": 5, "l_max": 3},
    "center": {"cutoff": 3.5, "sigma": 0.5, "n_max": 3, "l_max": 3, "center_weight": 0.3},
    "large": {"cutoff": 6.0, "cutoff_width": 0.5, "sigma": 0.5, "n_max": 8, "l_max": 6},
}


def peer(name, case):
    with np.load(GOLDEN.parent / "soap.npz") as file:
        return file[f"{name}/{case}"]


@pytest.mark.parametrize("case", DSCRIBE)
@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_numbers_of_dscribe(name, case):
    crystal, _ = golden(name)
    keywords, resolution = DSCRIBE[case]
    if resolution:
        species = crystal.numbers.tolist()
        keywords = keywords | {"resolution": resolution, "species": species}
    found, wanted = values(SOAPSettings(**keywords), crystal), peer(name, case)
    assert found.shape[1] == wanted.shape[1]
    assert relative(found[: len(wanted)], wanted) < TOLERANCES.get(case, 2e-10)


@pytest.mark.parametrize("case", [*FEATOMIC, "species"])
@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_numbers_of_featomic(name, case):
    crystal, _ = golden(name)
    keywords = {"convention": "featomic", "cutoff_function": "cosine"}
    keywords |= FEATOMIC["smooth" if case == "species" else case]
    if case == "species":
        keywords |= {"resolution": "full", "species": crystal.numbers.tolist()}
    settings = SOAPSettings(**keywords)
    wanted = peer(name, f"featomic_{case}")
    columns = settings.build().columns
    picked = wanted[:, columns.pair, columns.degree, columns.first, columns.second]
    assert relative(values(settings, crystal)[: len(wanted)], picked) < 2e-10
    # What is left out within one species are copies: n and n' exchanged.
    same = columns.left[columns.pair] == columns.right[columns.pair]
    copies = wanted[:, columns.pair, columns.degree, columns.second, columns.first]
    np.testing.assert_allclose(copies[:, same], picked[:, same], rtol=1e-13, atol=1e-15)


def test_columns_of_featomic_go_by_pair_and_degree():
    settings = SOAPSettings(
        convention="featomic", resolution="full", species=["Ti", "O"], n_max=2, l_max=1
    )
    labels = [label.removeprefix("soap.") for label in settings.build().labels()]
    assert labels[:6] == ["O.n0n0l0", "O.n0n1l0", "O.n1n1l0", "O.n0n0l1", "O.n0n1l1", "O.n1n1l1"]
    assert labels[6:10] == ["O-Ti.n0n0l0", "O-Ti.n0n1l0", "O-Ti.n1n0l0", "O-Ti.n1n1l0"]
    assert len(labels) == 6 + 8 + 6
