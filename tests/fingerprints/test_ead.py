import math

import numpy as np
import pytest
import torch

from atomprint.fingerprints import EADSettings, channel_table
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from tests.fingerprints.common import GOLDEN_NAMES, SAMPLES, golden, relative, values
from tests.reference import fingerprints as reference

SHELLS = (1.0, 2.2, 3.4)


@pytest.mark.parametrize("name", SAMPLES)
def test_agrees_with_the_slow_loop(name):
    crystal = SAMPLES[name]
    settings = EADSettings(cutoff=4.2, shells=SHELLS, eta=0.7, l_max=4, channels=("one", "valence"))
    found = values(settings, crystal).reshape(crystal.n_atoms, 2, 5, 3)
    for channel, w in enumerate(channel_table(settings.channels).numpy()[crystal.numbers].T):
        wanted = reference.ead(crystal, w, 4.2, SHELLS, 0.7, 4)
        np.testing.assert_allclose(found[:, channel], wanted, rtol=1e-10, atol=1e-12)
        pyxtal = values(settings.model_copy(update={"convention": "pyxtal"}), crystal)
        pyxtal = pyxtal.reshape(crystal.n_atoms, 2, 5, 3)[:, channel]
        np.testing.assert_allclose(pyxtal, reference.ead_pyxtal(wanted, 4.2), rtol=1e-10)


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_agrees_with_pyxtal_ff(name):
    crystal, arrays = golden(name)
    settings = EADSettings(
        cutoff=5.0,
        shells=SHELLS,
        eta=0.7,
        channels=("Z",),
        scale_channels=False,
        convention="pyxtal",
    )
    exact = values(settings, crystal, path="reference")
    np.testing.assert_allclose(exact, arrays["pyxtal_ead"], rtol=1e-13)
    tabulated = values(settings, crystal, path="fused")
    np.testing.assert_allclose(tabulated, arrays["pyxtal_ead"], rtol=1e-10)
    paper = values(settings.model_copy(update={"convention": "paper"}), crystal)
    assert relative(paper, arrays["pyxtal_ead"]) > 1  # the conventions do differ


def test_dimer():
    """One neighbour: block L is (Z g)² r^2L."""
    r = 1.7
    xyz = [[0, 0, 0], [r * 0.6, r * 0.64, r * 0.48]]
    dimer = Crystal.make("dimer", [6, 8], np.eye(3) * 30, positions=xyz)
    settings = EADSettings(channels=("Z",), scale_channels=False, shells=(1.5,), eta=2.0)
    g = math.exp(-2.0 * (r - 1.5) ** 2) * 0.5 * (math.cos(math.pi * r / 6) + 1)
    wanted = [[(z * g) ** 2 * r ** (2 * degree) for degree in range(4)] for z in (8, 6)]
    for path, tolerance in (("reference", 1e-12), ("fused", 1e-10)):
        found = values(settings, dimer, path=path)
        np.testing.assert_allclose(found, wanted, rtol=tolerance)


def test_default_shells_stand_one_spacing_apart_below_the_cutoff():
    fingerprint = EADSettings(cutoff=5.0, n_shells=4, first_shell=1.0).build()
    assert fingerprint.shells.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert fingerprint.eta == 1.0


def test_learnable_weights_start_at_the_channels_and_get_gradients():
    graph = GraphBatch.from_crystals(list(SAMPLES.values()), 6.0)
    fixed, learned = EADSettings().build(), EADSettings(learnable=True).build()
    assert not list(fixed.parameters())
    torch.testing.assert_close(learned(graph), fixed.reference(graph))
    learned(graph).log1p().sum().backward()
    (weights,) = learned.parameters()
    present = torch.unique(graph.numbers)
    assert (weights.grad[present] != 0).all()
    absent = torch.ones(len(weights), dtype=torch.bool).index_fill(0, present, False)
    assert (weights.grad[absent] == 0).all()


def test_units():
    assert EADSettings(channels=("one",), n_shells=1).build().units == ("1", "Å^2", "Å^4", "Å^6")
    assert set(EADSettings(convention="pyxtal").build().units) == {"1"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shells": (1.5,)}, "give eta too"),
        ({"shells": ()}, "at least 1 item"),
        ({"cutoff": 1.0}, "first_shell must be below"),
        ({"channels": ("colour",)}, "Input should be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        EADSettings(**wrong)
