"""The element numbers against ASE's and pymatgen's own tables."""

import math
import warnings

import numpy as np
import pytest
from ase.data import atomic_masses, chemical_symbols, covalent_radii

from atomprint.ground import elements


def test_against_ase():
    assert list(elements.symbols) == chemical_symbols[:119]
    # Radii are tabulated where Cordero et al. have them, masses to six digits.
    np.testing.assert_allclose(elements.covalent_radius[1:97], covalent_radii[1:97])
    np.testing.assert_allclose(elements.mass[1:], atomic_masses[1:119], rtol=1e-5)


def test_against_pymatgen():
    core = pytest.importorskip("pymatgen.core", reason="pymatgen is not installed")
    for z in range(1, 119):
        element = core.Element(elements.symbols[z])
        assert elements.period[z] == element.row
        assert elements.group[z] == element.group
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns about the elements without a value
            pauling = element.X
        if not math.isnan(pauling):
            assert elements.electronegativity[z] == pytest.approx(pauling, abs=0.005)
        else:
            assert z in (2, 10, 18) or z >= 104


def test_missing_values_follow_the_stated_rules():
    assert elements.electronegativity[[2, 10, 18]].tolist() == [4.16, 4.79, 3.24]
    assert set(elements.electronegativity[104:]) == {1.3}
    assert set(elements.covalent_radius[97:]) == {1.69}


def test_valence():
    wanted = {
        "H": 1,
        "He": 2,
        "C": 4,
        "O": 6,
        "Ne": 8,
        "Na": 1,
        "Fe": 8,
        "Zn": 12,
        "Ga": 3,
        "Gd": 3,
    }
    for symbol, valence in wanted.items():
        assert elements.valence[elements.atomic_number[symbol]] == valence


def test_no_number_is_missing():
    for name in ("group", "period", "electronegativity", "covalent_radius", "mass", "valence"):
        values = getattr(elements, name)
        assert values.shape == (119,)
        assert np.all(values[1:] > 0)
        assert values[0] == 0
