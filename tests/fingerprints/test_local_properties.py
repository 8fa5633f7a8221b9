"""Local properties: loops over the definition, compositions, limits."""

import math

import numpy as np
import pytest
from ase.build import bulk

from atomprint.fingerprints import LocalProperties, LocalPropertiesSettings, channel_table
from atomprint.ground import elements
from atomprint.structures.crystal import Crystal
from tests.fingerprints.common import SAMPLES, values
from tests.reference.fingerprints import cosine_cutoff, neighbors


def by_loops(crystal, cutoff, widths, channels):
    """From the definition, one neighbour after the other."""
    table = channel_table(channels).numpy()
    radii = elements.covalent_radius
    rows = []
    for i, (vectors, indices) in enumerate(neighbors(crystal, cutoff)):
        own = table[crystal.numbers[i]]
        blocks = [own]
        for width in widths:
            near, apart, total = 0.01 * own, np.zeros_like(own), 0.01
            for vector, j in zip(vectors, indices, strict=True):
                r = float(np.linalg.norm(vector))
                touching = radii[crystal.numbers[i]] + radii[crystal.numbers[j]]
                weight = math.exp(-((max(0.0, r - touching) / width) ** 2))
                weight *= cosine_cutoff(r, cutoff)
                other = table[crystal.numbers[j]]
                near = near + weight * other
                apart = apart + weight * np.abs(other - own)
                total += weight
            blocks += [near / total, apart / total]
        rows.append(np.concatenate(blocks))
    return np.array(rows)


@pytest.mark.parametrize("name", SAMPLES)
def test_agrees_with_the_slow_loop(name):
    crystal = SAMPLES[name]
    settings = LocalPropertiesSettings(
        cutoff=4.5, widths=(0.7, 1.6), channels=("electronegativity", "group", "period")
    )
    wanted = by_loops(crystal, 4.5, (0.7, 1.6), settings.channels)
    np.testing.assert_allclose(values(settings, crystal), wanted, rtol=1e-11, atol=1e-13)


def test_a_salt_is_surrounded_by_its_other_ion():
    """With a narrow width only neighbours in contact count: all of the other element."""
    fingerprint = LocalProperties(channels=("electronegativity",), widths=(0.1,))
    rows = fingerprint.compute(bulk("NaCl", "rocksalt", a=5.64))
    sodium, chlorine = 0.93 / 2, 3.16 / 2
    assert fingerprint.labels() == (
        "local_properties.en.own", "local_properties.en.near0.1",
        "local_properties.en.difference0.1",
    )  # fmt: skip
    # 6 neighbours at 2.82 Å (contact 2.68 Å), what is next is beyond ten widths.
    weight = 6 * math.exp(-(((2.82 - 2.68) / 0.1) ** 2)) * cosine_cutoff(2.82, 6.0)
    for row, own, other in ((rows[0], sodium, chlorine), (rows[1], chlorine, sodium)):
        near = (weight * other + 0.01 * own) / (weight + 0.01)
        gap = weight * abs(other - own) / (weight + 0.01)
        np.testing.assert_allclose(row, [own, near, gap], rtol=1e-6)


def test_a_lone_atom_is_its_own_surroundings():
    lone = Crystal.make("lone", [26], np.eye(3) * 30, frac=[[0, 0, 0]])
    own = channel_table(LocalPropertiesSettings().channels).numpy()[26]
    zero = np.zeros_like(own)
    wanted = np.concatenate([own, own, zero, own, zero])[None]
    np.testing.assert_allclose(values(LocalPropertiesSettings(), lone), wanted, rtol=1e-12)


def test_an_element_differs_from_nothing():
    rows = LocalProperties().compute(bulk("Cu"))
    differences = [".difference" in label for label in LocalProperties().labels()]
    assert np.abs(rows[:, differences]).max() == 0
    assert np.abs(rows[:, ~np.array(differences)]).min() > 0


def test_pooled_it_is_the_statistics_of_a_composition():
    """Mean and variance over atoms, as of Magpie's, here by hand."""
    pooled = LocalProperties(per="crystal", pool=("mean", "variance"), channels=("Z",))
    atoms = bulk("MgO", "rocksalt", a=4.21) * (1, 1, 2)
    row = dict(zip(pooled.labels(), pooled.compute(atoms)[0], strict=True))
    z = atoms.numbers / 50
    assert row["local_properties.z.own.mean"] == pytest.approx(z.mean())
    assert row["local_properties.z.own.variance"] == pytest.approx(z.var())
