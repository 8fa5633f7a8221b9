"""A tiny network with random weights, and four crystals."""

import pytest
import torch

from tests.objectives.looks import MODELS, batch
from tests.objectives.sums import Sum
from tests.toy import toy_crystals


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return MODELS["painn"].backbone.build().double()


@pytest.fixture(scope="module")
def graph():
    return batch(toy_crystals(4), Sum(1.0))[0]
