"""Vectors of elements at the start: alike elements are alike, or none is."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from atomprint.backbones import ETSettings, PaiNNSettings
from atomprint.backbones.elements import LAST, PROPERTIES, element_embedding
from atomprint.ground import elements

BACKBONES = (PaiNNSettings, ETSettings)


def vectors(start, n_channels=4096):
    torch.manual_seed(0)
    return element_embedding(start, n_channels).weight.detach().double().numpy()


def properties():
    """Every element's properties at mean 0 and spread 1, element by element."""
    rows = [[getattr(elements, name)[z] for name in PROPERTIES] for z in range(1, LAST + 1)]
    return (np.array(rows) - np.mean(rows, axis=0)) / np.std(rows, axis=0)


def test_distances_between_elements_are_those_between_their_properties():
    # A projection onto many channels keeps distances to within 1 / sqrt(n_channels) or so.
    rows = vectors("properties")[1 : LAST + 1]
    wanted = properties()
    one, other = np.triu_indices(LAST, 1)
    found = ((rows[one] - rows[other]) ** 2).mean(axis=1)
    expected = ((wanted[one] - wanted[other]) ** 2).mean(axis=1)
    assert np.abs(found - expected).max() < 0.1 * expected.max()
    assert np.corrcoef(found, expected)[0, 1] > 0.995


def test_properties_start_with_as_many_directions_as_there_are_properties():
    assert np.linalg.matrix_rank(vectors("properties")[1:], tol=1e-3) == len(PROPERTIES)
    assert np.linalg.matrix_rank(vectors("random")[1:], tol=1e-3) == elements.MAX_Z


@pytest.mark.parametrize("start", ["random", "properties"])
def test_vectors_have_spread_one(start):
    rows = vectors(start)[1 : LAST + 1]
    assert np.sqrt((rows**2).mean()) == pytest.approx(1.0, abs=0.05)
    assert np.isfinite(rows).all()


def test_kin_are_nearer_than_strangers():
    rows = vectors("properties", 128)

    def distance(one, other):
        a, b = (rows[elements.atomic_number[symbol]] for symbol in (one, other))
        return np.linalg.norm(a - b)

    for one, kin, stranger in (("Na", "K", "Cl"), ("La", "Ce", "O"), ("Zr", "Hf", "S")):
        assert distance(one, kin) < 0.4 * distance(one, stranger)


@pytest.mark.parametrize("settings", BACKBONES)
def test_backbones_start_as_their_setting_says(settings):
    torch.manual_seed(3)
    told = settings(elements="properties").build()
    rank = torch.linalg.matrix_rank(told.embedding.weight.detach(), atol=1e-3)
    assert rank == len(PROPERTIES)
    torch.manual_seed(3)
    again = settings(elements="properties").build()
    assert torch.equal(told.embedding.weight, again.embedding.weight)
    assert told.embedding.weight.requires_grad
    plain = settings().build()
    assert torch.linalg.matrix_rank(plain.embedding.weight.detach(), atol=1e-3) > 60


def test_the_transformers_second_vectors_are_told_too():
    neighborhood = ETSettings(elements="properties").build().neighborhood
    rank = torch.linalg.matrix_rank(neighborhood.embedding.weight.detach(), atol=1e-3)
    assert rank == len(PROPERTIES)


@pytest.mark.parametrize("settings", BACKBONES)
def test_another_word_is_refused(settings):
    with pytest.raises(ValidationError, match="properties"):
        settings(elements="learned")
