import math

import numpy as np
import pytest
import torch
from ase.build import bulk

from atomprint.fingerprints import SOAPSettings, channel_table
from atomprint.fingerprints.soap import _radial_table
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from tests.fingerprints.common import GOLDEN_NAMES, SAMPLES, golden, relative, values
from tests.reference import fingerprints as reference


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("cutoff_function", ["none", "cosine"])
def test_agrees_with_quadrature(name, cutoff_function):
    crystal = SAMPLES[name]
    settings = SOAPSettings(
        cutoff=3.0,
        n_max=3,
        l_max=3,
        sigma=0.4,
        channels=("one", "period"),
        cutoff_function=cutoff_function,
    )
    table = channel_table(settings.channels).numpy()[crystal.numbers]
    taper = cutoff_function == "cosine"
    wanted = [reference.soap(crystal, w, 3.0, 3, 3, 0.4, taper) for w in table.T]
    assert relative(values(settings, crystal), np.concatenate(wanted, axis=1)) < 1e-10


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_agrees_with_dscribe(name):
    crystal, arrays = golden(name)
    one = SOAPSettings(cutoff=5.0, n_max=5, l_max=4, sigma=0.5, channels=("one",))
    assert relative(values(one, crystal), arrays["soap_mu2"]) < 1e-11
    weighted = one.model_copy(update={"channels": ("Z",)})
    assert relative(values(weighted, crystal), arrays["soap_mu2_z"]) < 1e-11
    alike = SOAPSettings(cutoff=4.0, n_max=6, l_max=5, sigma=0.4, channels=("one",))
    assert relative(values(alike, crystal), arrays["soap_off_one_species"]) < 1e-11
    single = relative(values(one, crystal, torch.float32), arrays["soap_mu2"])
    assert single < 1e-5


@pytest.mark.parametrize("name", GOLDEN_NAMES)
@pytest.mark.parametrize("average", ["inner", "outer"])
def test_averages_agree_with_dscribe(name, average):
    crystal, arrays = golden(name)
    settings = SOAPSettings(n_max=5, l_max=4, channels=("one",), per="crystal", average=average)
    found, wanted = values(settings, crystal), arrays[f"soap_mu2_{average}"]
    assert found.shape == wanted.shape == (1, 75)
    assert relative(found, wanted) < 1e-11


def test_agrees_with_dscribe_at_the_usual_size():
    crystal, arrays = golden("eleven")
    settings = SOAPSettings(cutoff=6.0, channels=("one",))
    found = values(settings, crystal)[:4]
    assert relative(found, arrays["soap_mu2_large"]) < 1e-10
    assert relative(values(settings, crystal, torch.float32)[:4], arrays["soap_mu2_large"]) < 1e-5


def test_the_table_holds_the_integrals():
    """Halfway between its points, the piecewise cubic against the closed form of a finer table."""
    coarse, center = _radial_table(5.0, 0.5, 8, 6, 6.8)
    t = torch.tensor([1, 0.5, 0.25, 0.125], dtype=torch.float64)
    middle = torch.einsum("k,nkf->nf", t, coarse)
    # Over half the range the table's points are twice as dense: odd ones are those middles.
    fine, _ = _radial_table(5.0, 0.5, 8, 6, 3.4)
    assert float((middle[:1024] - fine[1::2, 0]).abs().max()) < 2e-11 * float(fine.abs().max())
    assert torch.equal(center, coarse[0, 0, :8])


def test_lone_atom():
    """Only the atom itself is left: p_nn'0 = π √8 c_n c_n', and nothing for l > 0."""
    cell = np.eye(3) * 40
    crystal = Crystal.make("lone", [14], cell, frac=[[0.3, 0.4, 0.5]])
    p = values(SOAPSettings(cutoff=4.0, n_max=3, l_max=2, channels=("one",)), crystal)[0]
    _, r0 = _radial_table(4.0, 0.5, 3, 2, 4.0 + 0.5 * math.sqrt(-2 * math.log(1e-3)))
    c = r0.numpy() / math.sqrt(4 * math.pi)
    wanted = [math.pi * math.sqrt(8) * c[n] * c[m] for n in range(3) for m in range(n, 3)]
    np.testing.assert_allclose(p[:6], wanted, rtol=1e-12)
    assert np.all(p[6:] == 0)


def test_inner_and_outer_average():
    crystal = SAMPLES["five"]
    rows = values(SOAPSettings(n_max=4, l_max=3), crystal)
    outer = values(SOAPSettings(n_max=4, l_max=3, per="crystal"), crystal)
    np.testing.assert_allclose(outer[0], rows.mean(0), rtol=1e-12)
    inner = values(SOAPSettings(n_max=4, l_max=3, per="crystal", average="inner"), crystal)
    assert relative(inner, outer) > 0.01
    # Where all atoms are alike, the mean of coefficients is every atom's own.
    atoms = bulk("Cu", "fcc", a=3.6).repeat(2)
    alike = Crystal.make("x", atoms.numbers, atoms.cell.array, positions=atoms.positions)
    inner = values(SOAPSettings(n_max=4, l_max=3, per="crystal", average="inner"), alike)
    assert relative(inner, values(SOAPSettings(n_max=4, l_max=3), alike)[:1]) < 1e-12


def test_cross_channels_hold_the_others():
    """All blocks together are the power spectrum of any mixture of the channels."""
    crystal = SAMPLES["five"]
    settings = SOAPSettings(n_max=3, l_max=2, channels=("one", "Z"), cross_channels=True)
    fingerprint = settings.build()
    names, rows = fingerprint.labels(), values(settings, crystal)
    column = {name: rows[:, k] for k, name in enumerate(names)}
    within = values(settings.model_copy(update={"cross_channels": False}), crystal)
    within_names = settings.model_copy(update={"cross_channels": False}).build().labels()
    for k, name in enumerate(within_names):
        np.testing.assert_allclose(column[name], within[:, k], rtol=1e-13)
    # A mixed density ρ_one + 2 ρ_Z, from a fingerprint whose table is mixed by hand.
    mixed = SOAPSettings(n_max=3, l_max=2, channels=("one",)).build()
    mixed.table.copy_((fingerprint.table @ torch.tensor([1.0, 2.0]).double())[:, None])
    graph = GraphBatch.from_crystals([crystal], mixed.cutoff, torch.float64)
    found = mixed(graph).numpy()
    for k, name in enumerate(mixed.labels()):
        _, _, place = name.split(".")
        n, m, degree = int(place[1]), int(place[3]), place[4:]
        wanted = (
            column[f"soap.one.{place}"] + 4 * column[f"soap.z.{place}"]
            + 2 * column[f"soap.one-z.n{n}n{m}{degree}"]
            + 2 * column[f"soap.one-z.n{m}n{n}{degree}"]
        )  # fmt: skip
        np.testing.assert_allclose(found[:, k], wanted, rtol=1e-10)


def test_number_of_features():
    assert SOAPSettings(channels=("one",)).build().n_features == 252
    three = SOAPSettings(cross_channels=True).build().n_features
    assert three == 3 * 252 + 3 * 7 * 64


def test_a_basis_that_float64_cannot_tell_apart_is_refused():
    with pytest.raises(UsageError, match="lower n_max"):
        SOAPSettings(cutoff=3.0, n_max=16).build()
    SOAPSettings(cutoff=6.0, n_max=9, l_max=9).build()
