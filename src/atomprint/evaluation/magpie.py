"""The field's own statistics of a formula: Magpie as matminer computes it, where it is installed.

Ward, Agrawal, Choudhary, Wolverton, npj Comput. Mater. 2, 16028 (2016): stoichiometric norms,
statistics of 22 properties of the elements, valence electrons and ionic character. matminer brings
much along (and pins pandas), so that nothing else here needs it; without it
:mod:`atomprint.evaluation.composition` stands in.
"""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.ground.elements import symbols
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal

Array = npt.NDArray[np.float64]


def matminer_is_here() -> bool:
    """Whether matminer can be imported."""
    return find_spec("matminer") is not None


def matminer_version() -> str:
    """Its version; empty without it."""
    try:
        return version("matminer")
    except PackageNotFoundError:
        return ""


def magpie_features(crystals: Sequence[Crystal]) -> Array:
    """Magpie's statistics of each crystal's formula, ``(n_crystals, 149)`` with matminer 0.10.

    What a table lacks of an element is taken as its mean over the elements, as matminer does.

    Raises
    ------
    UsageError
        If matminer is not installed.
    """
    featurizer, composition = _featurizer()
    known: dict[str, list[float]] = {}
    for crystal in crystals:
        if crystal.formula not in known:
            counts = {str(symbols[z]): n for z, n in crystal.composition.items()}
            known[crystal.formula] = featurizer.featurize(composition(counts))
    rows = np.array([known[crystal.formula] for crystal in crystals], dtype=np.float64)
    return np.nan_to_num(rows.reshape(len(crystals), -1))


@cache
def _featurizer() -> tuple[Any, Any]:
    try:
        from matminer.featurizers.base import MultipleFeaturizer
        from matminer.featurizers.composition import (
            ElementProperty,
            IonProperty,
            Stoichiometry,
            ValenceOrbital,
        )
        from pymatgen.core.composition import Composition
    except ModuleNotFoundError:
        raise UsageError(
            "Magpie's statistics need matminer; install it with pip install 'atomprint[magpie]'"
        ) from None
    parts = [
        Stoichiometry(),
        ElementProperty.from_preset("magpie", impute_nan=True),
        ValenceOrbital(impute_nan=True),
        IonProperty(fast=True, impute_nan=True),
    ]
    return MultipleFeaturizer(parts), Composition
