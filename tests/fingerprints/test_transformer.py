"""The scikit-learn transformer: a well-behaved estimator over structures."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from ase.build import bulk

from atomprint.fingerprints import SOAP
from atomprint.fingerprints.transformer import FingerprintTransformer
from atomprint.ground.errors import UsageError
from tests.toy import as_ase, toy_crystals

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

SMALL = {"cutoff": 3.5, "n_max": 3, "l_max": 2}


def test_rows_and_names():
    crystals = toy_crystals(6)
    step = FingerprintTransformer("soap", **SMALL)
    rows = step.fit_transform(crystals)
    wanted = SOAP(**SMALL, per="crystal")
    assert (rows == wanted.compute(crystals)).all()
    assert tuple(step.get_feature_names_out()) == wanted.labels()
    assert step.n_features_out_ == rows.shape[1]
    atoms = FingerprintTransformer("soap", per="atom", dtype="float32", **SMALL)
    assert atoms.fit(crystals).transform(crystals).shape[0] == sum(c.n_atoms for c in crystals)
    array = np.empty(6, dtype=object)
    array[:] = crystals
    assert (step.transform(array) == rows).all()


def test_structures_of_pymatgen_and_ase_and_ours_have_the_same_rows():
    core = pytest.importorskip("pymatgen.core", reason="pymatgen is not installed")
    crystals = toy_crystals(4)
    structures = [
        core.Structure(c.cell, list(c.numbers), c.positions, coords_are_cartesian=True)
        for c in crystals
    ]
    step = FingerprintTransformer("soap", per="atom", **SMALL)
    rows = step.fit_transform(structures)
    assert np.allclose(rows, step.transform(crystals), atol=1e-10)
    assert np.allclose(rows, step.transform([as_ase(c) for c in crystals]), atol=1e-10)
    # An array of structures, as a column of a table is: sites must not become a dimension.
    column = np.empty(len(structures), dtype=object)
    column[:] = structures
    assert np.array_equal(step.transform(column), rows)


def test_pandas_out():
    pytest.importorskip("pandas")
    step = FingerprintTransformer("ead", cutoff=3.0).set_output(transform="pandas")
    table = step.fit_transform([bulk("Cu"), bulk("Al")])
    assert list(table.columns) == list(step.get_feature_names_out())
    assert len(table) == 2


def test_a_search_over_settings_in_a_pipeline():
    crystals = toy_crystals(24)
    energies = [c.labels["energy"] for c in crystals]
    model = make_pipeline(FingerprintTransformer(**SMALL), StandardScaler(), Ridge())
    grid = {"fingerprinttransformer__l_max": [0, 2], "ridge__alpha": [1e-3, 1.0]}
    search = GridSearchCV(model, grid, cv=3).fit(crystals, energies)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.5
    names = search.best_estimator_[:-1].get_feature_names_out()
    assert names[0].startswith("soap.")


def test_parameters():
    step = FingerprintTransformer("soap", l_max=3, sigma=0.4)
    given = step.get_params(deep=False)
    assert (given["l_max"], given["sigma"], given["kind"]) == (3, 0.4, "soap")
    assert "n_max" not in given
    assert "n_max" in step.get_params()
    copy = clone(step.fit([]))
    assert copy.get_params() == step.get_params()
    assert not hasattr(copy, "settings_")
    assert copy.set_params(l_max=1).fit([]).settings_.l_max == 1
    assert copy.set_params(kind="rdf", n_bins=10) is copy
    with pytest.raises(ValueError, match="Invalid parameter 'lmax'"):
        step.set_params(lmax=3)
    with pytest.raises(UsageError, match="did you mean 'l_max'"):
        FingerprintTransformer(l_mx=3).fit([])
    with pytest.raises(UsageError, match="unknown fingerprint 'sop'"):
        FingerprintTransformer("sop").fit([])
    with pytest.raises(NotFittedError):
        step.set_params(kind="soap") and FingerprintTransformer().transform([bulk("Cu")])


def test_it_can_be_pickled():
    step = FingerprintTransformer(**SMALL).fit([])
    rows = step.transform(toy_crystals(2))
    again = pickle.loads(pickle.dumps(step))
    assert (again.transform(toy_crystals(2)) == rows).all()
    assert b"Tensor" not in pickle.dumps(step)


@pytest.mark.parametrize(
    "check",
    [
        "check_estimator_cloneable",
        "check_estimator_tags_renamed",
        "check_no_attributes_set_in_init",
        "check_get_params_invariance",
        "check_set_params",
        "check_estimator_repr",
        "check_parameters_default_constructible",
        "check_valid_tag_types",
    ],
)
def test_estimator_checks(check):
    """Those of scikit-learn's checks that do not feed arrays of numbers."""
    getattr(estimator_checks, check)("FingerprintTransformer", FingerprintTransformer())


def test_without_scikit_learn():
    code = (
        "import sys; sys.modules['sklearn'] = sys.modules['sklearn.base'] = None\n"
        "from atomprint.fingerprints.transformer import FingerprintTransformer as T\n"
        "try: T()\nexcept Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "atomprint[sklearn]" in done.stdout
