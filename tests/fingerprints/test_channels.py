import numpy as np
import pytest
import torch

from atomprint.fingerprints import channel_table
from atomprint.fingerprints.channels import SCALES, SHORT_NAMES
from atomprint.ground import elements

ALL = tuple(SCALES)


def test_every_element_has_every_channel():
    table = channel_table(ALL)
    assert table.shape == (119, len(ALL))
    assert torch.isfinite(table).all()
    assert (table[0] == 0).all()
    assert (table[1:] > 0).all()


def test_channels_are_of_order_one():
    table = channel_table(ALL)[1:104]
    assert float(table.max()) < 3.5
    assert ((table.mean(0) > 0.5) & (table.mean(0) < 2)).all()


def test_values():
    table = channel_table(("one", "Z", "electronegativity", "covalent_radius"), scaled=False)
    np.testing.assert_allclose(table[8], [1, 8, 3.44, 0.66])
    scaled = channel_table(("electronegativity",))
    np.testing.assert_allclose(scaled[8], [3.44 / 2])


def test_short_names_are_distinct_and_fit_a_label():
    assert len(set(SHORT_NAMES.values())) == len(SHORT_NAMES) == len(SCALES)
    assert not any(set(".-") & set(name) for name in SHORT_NAMES.values())


def test_the_default_channels_tell_nearly_all_elements_apart():
    from atomprint.fingerprints.channels import DEFAULT_CHANNELS

    rows = {tuple(row.tolist()) for row in channel_table(DEFAULT_CHANNELS)[1:97]}
    assert len(rows) >= 94


def test_symbols_and_numbers():
    assert elements.symbols[26] == "Fe"
    assert elements.atomic_number["Og"] == 118 == elements.MAX_Z


@pytest.mark.parametrize("name", ["group", "period", "electronegativity", "covalent_radius"])
def test_arrays_cannot_be_changed(name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(elements, name)[1] = 0
