import json
import math

import numpy as np
import pytest
import torch
from ase.build import bulk

from atomprint.fingerprints import GMPSettings
from atomprint.fingerprints.base import fingerprint_id
from atomprint.fingerprints.gmp import taper
from atomprint.fingerprints.gmp_gaussians import own_gaussians, read_gpsp
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from tests.fingerprints.common import SAMPLES
from tests.reference import gmp as reference


def values_by(fingerprint, path, crystal):
    fingerprint.path = path
    graph = GraphBatch.from_crystals([crystal], fingerprint.cutoff, torch.float64)
    with torch.no_grad():
        return fingerprint(graph).numpy()


def values(settings, crystal):
    """By the plain program; the fused one is compared with it below."""
    return values_by(settings.build(), "reference", crystal)


def rows_of(gaussians):
    """The Gaussians of every element as a list of (B, β)."""
    return {
        int(z): list(zip(gaussians.heights[z], gaussians.exponents[z], strict=True))
        for z in np.flatnonzero(gaussians.known)
    }


def lone(number, side=40.0):
    return Crystal.make("lone", [number], np.eye(3) * side, frac=[[0.5, 0.5, 0.5]])


PLAIN = {"softening": 0.0, "sigmas": (0.5, 1.0), "orders": (-1, 0, 1, 2, 3, 4)}


@pytest.mark.parametrize(("name", "width"), [("two", None), ("two", 1.5), ("five", 1.5)])
def test_agrees_with_cartesian_harmonics_on_a_grid(name, width):
    crystal = SAMPLES[name]
    settings = GMPSettings(cutoff=3.6, taper=width, **PLAIN)
    columns = [(-1, 0.0)] + [(order, sigma) for order in range(5) for sigma in settings.sigmas]
    found = values(settings, crystal)
    squares = values(settings.model_copy(update={"square": True}), crystal)
    np.testing.assert_allclose(squares, found**2, rtol=1e-12)
    for k in (0, 1, 4, 5, 8, 9, 10):
        order, sigma = columns[k]
        wanted = reference.gmp(
            crystal, rows_of(own_gaussians()), 3.6, width, order, sigma, reach=3.0 + 3 * sigma
        )
        np.testing.assert_allclose(found[:, k], wanted, rtol=1e-6, err_msg=f"{columns[k]}")


def test_an_atom_alone():
    """Monopoles are overlaps with the probe, all else is zero; a wide probe counts electrons."""
    settings = GMPSettings(orders=(-1, 0, 1, 2), sigmas=(0.3, 5.0), softening=0.0)
    heights, exponents = own_gaussians().heights[26], own_gaussians().exponents[26]
    row = values(settings, lone(26))[0]
    assert row[0] == pytest.approx(heights.sum(), rel=1e-12)
    for k, sigma in enumerate(settings.sigmas):
        # A Gaussian under a Gaussian of width σ: 1 / (1 + 2 β σ²)^(3/2) of it.
        wanted = (heights * (1 + 2 * exponents * sigma**2) ** -1.5).sum()
        assert row[1 + k] == pytest.approx(wanted, rel=1e-12)
    assert row[2] * (5 * math.sqrt(2 * math.pi)) ** 3 == pytest.approx(8, rel=0.15)
    assert (row[3:] == 0).all()


def test_only_the_multipoles_of_the_symmetry_are_left():
    copper = bulk("Cu", "fcc", a=3.61)
    crystal = Crystal.make("Cu", [29], copper.cell.array, positions=copper.positions)
    row = values(GMPSettings(orders=(0, 1, 2, 3, 4), sigmas=(1.0,), softening=0.0), crystal)[0]
    assert (row[[0, 4]] > 0.1).all()
    assert (row[1:4] < 1e-12).all()  # l = 1 and 3 by inversion, 2 by the cubic axes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["64", "32"])
@pytest.mark.parametrize("path", ["reference", "fused"])
@pytest.mark.parametrize("settings", [GMPSettings(), GMPSettings(softening=0.0)], ids=["soft", "0"])
def test_gradients_are_finite_where_multipoles_vanish(settings, path, dtype):
    salt = bulk("NaCl", "rocksalt", a=5.64)
    cubic = Crystal.make("NaCl", salt.numbers, salt.cell.array, positions=salt.positions)
    # So far apart that in float32 squares of what is left are exactly zero.
    pair = Crystal.make("pair", [2, 2], np.eye(3) * 40, positions=[[5, 5, 5], [5, 5, 12.9]])
    fingerprint = settings.build()
    fingerprint.path = path
    graph = GraphBatch.from_crystals([cubic, lone(26), pair], fingerprint.cutoff, dtype)
    positions = graph.positions.clone().requires_grad_()
    rows = fingerprint(graph.with_geometry(positions))
    assert dtype == torch.float64 or (rows[-1] == 0).any()
    (gradient,) = torch.autograd.grad(rows.sum(), positions)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() < 20  # a length changes as fast as its vector, at most


def test_softening_takes_off_no_more_than_itself():
    hard, soft = (values(GMPSettings(softening=s), SAMPLES["two"]) for s in (0.0, 1e-3))
    np.testing.assert_allclose(soft[:, 1:], np.hypot(hard[:, 1:], 1e-3) - 1e-3, rtol=1e-10)
    np.testing.assert_array_equal(soft[:, 0], hard[:, 0])  # the density is no length
    default = values(GMPSettings(), SAMPLES["two"])
    assert 0 < (hard - default)[:, 1:].max() < 1.001e-8


def many_elements():
    """Every element that has Gaussians, four in a crystal, in general position."""
    rng = np.random.default_rng(1)
    places = np.array([[0, 0, 0], [0.5, 0.5, 0.02], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    return [
        Crystal.make(
            str(k),
            (np.arange(4) + 4 * k) % 102 + 1,
            np.eye(3) * 4.2 + rng.normal(0, 0.2, (3, 3)),
            frac=places + rng.normal(0, 0.03, (4, 3)),
        )
        for k in range(26)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"square": True},
        {"softening": 0.0, "taper": None},
        {"cutoff": 5.3, "taper": 1.7, "orders": (0, 4)},
        {"orders": (-1,), "sigmas": (), "cutoff": 4.0},
        {"orders": (-1, 2), "sigmas": (0.3,), "square": True, "cutoff": 5.0, "taper": 5.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["64", "32"])
def test_the_fused_kernel_agrees_for_every_element(changes, dtype):
    fingerprint = GMPSettings(**changes).build()
    graph = GraphBatch.from_crystals(many_elements(), fingerprint.cutoff, dtype)
    rows, gradients = {}, {}
    for path in ("reference", "fused"):
        fingerprint.path = path
        positions = graph.positions.clone().requires_grad_()
        values = fingerprint(graph.with_geometry(positions))
        weights = torch.linspace(0.5, 1.5, values.numel(), dtype=dtype).view_as(values)
        weights = weights / values.detach().abs().amax(0)
        (gradients[path],) = torch.autograd.grad((values * weights).sum(), positions)
        rows[path] = values.detach()
    error = (rows["fused"] - rows["reference"]).abs() / rows["reference"].abs().amax(0)
    assert error.max() < (1e-10 if dtype == torch.float64 else 3e-6)
    gap = (gradients["fused"] - gradients["reference"]).abs().max()
    # Slopes of cubics are an order worse than values.
    assert gap < (2e-9 if dtype == torch.float64 else 1e-5) * gradients["reference"].abs().max()


def test_tables_of_the_kernel_grow_with_the_elements():
    fingerprint = GMPSettings(cutoff=4.0).build()
    first = values_by(fingerprint, "fused", SAMPLES["one"])
    values_by(fingerprint, "fused", SAMPLES["five"])
    np.testing.assert_allclose(values_by(fingerprint, "fused", SAMPLES["one"]), first, rtol=1e-12)
    wanted = values_by(fingerprint, "reference", SAMPLES["two"])
    np.testing.assert_allclose(
        values_by(fingerprint, "fused", SAMPLES["two"]), wanted, rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("path", ["reference", "fused"])
def test_an_element_without_gaussians_is_named(path):
    fingerprint = GMPSettings().build()
    with pytest.raises(UsageError, match=r"'atomprint' have no Lr, Og; leave those crystals out"):
        values_by(
            fingerprint,
            path,
            Crystal.make("a", [103, 8, 118], np.eye(3) * 5, frac=np.eye(3) / 2),
        )


def test_taper():
    r = torch.linspace(0, 9, 901, dtype=torch.float64)
    fade = taper(r, 8.0, 2.0)
    assert (fade[:601] == 1).all()
    assert fade[700] == pytest.approx(0.5)
    assert (fade[800:] == 0).all()
    assert (taper(r, 8.0, None) == (r < 8.0)).all()


def test_without_a_cutoff_overlaps_end_at_the_threshold():
    threshold = 1e-6
    settings = GMPSettings(
        cutoff=None, taper=None, overlap_threshold=threshold, sigmas=(0.5, 1.0), orders=(-1, 0, 3)
    )
    gaussians = own_gaussians()
    reach = gaussians.reach(1.0, 3, threshold)
    assert settings.build().cutoff == pytest.approx(reach, rel=1e-12)
    size, decay = gaussians.probed(1.0, 3)
    overlaps = np.abs(size) * reach**3 * np.exp(-decay * reach**2)
    assert overlaps.max() == pytest.approx(threshold, rel=1e-6)
    near = values(settings, SAMPLES["two"])
    far = values(settings.model_copy(update={"cutoff": reach + 6}), SAMPLES["two"])
    assert 0 < np.abs(near - far).max() < 1e3 * threshold


def test_what_the_default_cutoff_leaves_out():
    """Against densities followed to 1e-9: small for narrow probes, more for the widest."""
    full = GMPSettings(cutoff=None, taper=None, overlap_threshold=1e-9)
    for name in ("two", "five"):
        whole, cut = values(full, SAMPLES[name]), values(GMPSettings(), SAMPLES[name])
        error = np.abs(cut - whole).max(0) / whole.max(0)
        wide = np.array([label.endswith("s1.5") for label in GMPSettings().build().labels()])
        assert error[~wide].max() < 2e-3
        assert 1e-5 < error[wide].max() < 5e-2


def test_columns():
    fingerprint = GMPSettings(orders=(-1, 0, 3, 4), sigmas=(0.5, 1.25)).build()
    assert fingerprint.labels() == (
        *("gmp.rho", "gmp.l0s0.5", "gmp.l0s1.25"),
        *("gmp.l3s0.5", "gmp.l3s1.25", "gmp.l4s0.5", "gmp.l4s1.25"),
    )
    assert fingerprint.units == ("e/Å^3",) * 3 + ("e",) * 2 + ("e Å",) * 2
    assert GMPSettings(orders=(1, 3), square=True).build().units[::5] == ("(e/Å^2)^2", "e^2")
    assert GMPSettings().build().n_features == 21


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"orders": (0, 0)}, "orders must ascend"),
        ({"orders": (-2,)}, "greater than or equal to -1"),
        ({"orders": (5,)}, "less than or equal to 4"),
        ({"sigmas": (1.0, 0.5)}, "sigmas must ascend"),
        ({"sigmas": ()}, "without sigmas there is the order -1 only"),
        ({"cutoff": 3.0, "taper": 3.5}, "taper must not be longer"),
        ({"softening": -1.0}, "greater than or equal to 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GMPSettings(**wrong)


GPSP = """# a comment
! 3 elements
****
X\t0\t1
0.0\t1.0
****
Na 11 2
-0.25 3.5
0.75 0.9
****
Cl 17 1
1.5e0 2.0
"""


def test_published_files_are_read(tmp_path):
    path = tmp_path / "some.gpsp"
    path.write_text(GPSP)
    gaussians = read_gpsp(path)
    assert np.flatnonzero(gaussians.known).tolist() == [11, 17]
    assert rows_of(gaussians) == {
        11: [(-0.25, 3.5), (0.75, 0.9)],
        17: [(1.5, 2.0), (0.0, 1.0)],
    }
    settings = GMPSettings(gaussians=str(path), cutoff=3.6, taper=None, **PLAIN)
    found = values(settings, SAMPLES["two"])
    for k, order, sigma in ((0, -1, 0.0), (3, 1, 0.5)):
        wanted = reference.gmp(SAMPLES["two"], rows_of(gaussians), 3.6, None, order, sigma, 4.5)
        np.testing.assert_allclose(found[:, k], wanted, rtol=1e-9)
    with pytest.raises(UsageError, match="have no Cu"):
        values(settings, SAMPLES["one"])


def test_the_id_is_of_what_the_file_holds(tmp_path):
    path = tmp_path / "some.gpsp"
    path.write_text(GPSP)
    before = GMPSettings(gaussians=str(path), **PLAIN)
    kept = before.model_dump(mode="json")
    assert GMPSettings.model_validate(kept) == before
    path.write_text(GPSP.replace("0.75 0.9", "0.75 0.8"))
    after = GMPSettings(gaussians=str(path), **PLAIN)
    assert fingerprint_id(before) != fingerprint_id(after)
    with pytest.raises(ValueError, match="is not the file that these settings were made with"):
        GMPSettings.model_validate(kept)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.75 0.9\n", "", "line 9: 1 Gaussians of Na are missing"),
        ("0.75 0.9", "0.75 -0.9", "line 9: a height must be finite"),
        ("Na 11", "Na 12", "line 7: element 12 is not Na"),
        ("Cl 17 1", "Na 11 1", "line 11: Na is there twice"),
        ("0.75 0.9", "0.75", "line 9: "),
        ("Cl 17 1", "Cl 17 2", "the last 1 Gaussians are missing"),
        ("1.5e0 2.0", "1.5e0 2.0\n1.0 1.0", "line 13: more Gaussians than were announced"),
    ],
)
def test_damaged_files_are_refused_with_the_line(tmp_path, old, new, message):
    path = tmp_path / "some.gpsp"
    path.write_text(GPSP.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_gpsp(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*nothing\.gpsp"):
        GMPSettings(gaussians=str(tmp_path / "nothing.gpsp")).build()


def test_it_travels_through_json():
    settings = GMPSettings(sigmas=(0.4, 0.8))
    assert GMPSettings.model_validate(json.loads(settings.model_dump_json())) == settings
