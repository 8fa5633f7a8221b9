"""Principal components of unit spread, against a singular value decomposition."""

import numpy as np
import pytest
import torch

from atomprint.objectives.whitening import Whitener


def sample(n=400, size=6, seed=0):
    """Correlated columns of very different size, about means that are not zero."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, size)) * [3, 2, 1.5, 1, 0.7, 0.4] @ rng.normal(size=(size, size))
    return mixed * 10.0 ** np.arange(-3, 3) + np.arange(size) - 2.0


def fitted(values, n_components):
    whitener = Whitener(values.shape[1], n_components).double()
    whitener.fit(torch.tensor(values))
    return whitener


def by_svd(values, n_components):
    """The same by numpy: scores of the standardised columns, each divided by its spread."""
    standard = (values - values.mean(0)) / values.std(0)
    left, sizes, right = np.linalg.svd(standard, full_matrices=False)
    # Rows of ``left`` times the root of their number have unit spread.
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])
    return (left * signs * np.sqrt(len(values)))[:, :n_components], sizes


@pytest.mark.parametrize("n_components", [1, 4, 6])
def test_components_are_uncorrelated_and_of_unit_spread(n_components):
    values = sample()
    found = fitted(values, n_components)(torch.tensor(values))
    assert found.shape == (400, n_components)
    covariance = found.T @ found / len(found)
    unit = torch.eye(n_components, dtype=torch.float64)
    torch.testing.assert_close(covariance, unit, atol=1e-9, rtol=0)
    assert float(found.mean(0).abs().max()) < 1e-9


@pytest.mark.parametrize("n_components", [2, 6])
def test_components_are_those_of_a_singular_value_decomposition(n_components):
    values = sample()
    found = fitted(values, n_components)(torch.tensor(values)).numpy()
    expected, _ = by_svd(values, n_components)
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_new_rows_are_measured_against_the_sample():
    """By its mean, its spread and its components, not their own."""
    values = sample()
    whitener = fitted(values, 6)
    both = whitener(torch.tensor(values))
    torch.testing.assert_close(whitener(torch.tensor(values[7:8])), both[7:8])


def test_the_sign_is_that_of_the_largest_entry_whatever_the_order_of_rows():
    values = sample()
    spread = torch.tensor(values.std(0))
    for rows in (values, values[::-1].copy(), np.concatenate([values, values])):
        directions = fitted(rows, 6).directions * spread[:, None]
        largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
        assert (largest > 0).all()
        torch.testing.assert_close(fitted(rows, 6).directions, fitted(values, 6).directions)


def test_units_of_columns_do_not_matter():
    values = sample()
    scaled = values * [1e-6, 1, 3, 100, 1, 1e4]
    found = fitted(scaled, 5)(torch.tensor(scaled))
    torch.testing.assert_close(found, fitted(values, 5)(torch.tensor(values)), atol=1e-7, rtol=1e-7)


def test_constant_columns_change_nothing():
    """Neither in the sample nor where they have another value later."""
    values = sample()
    more = np.insert(values, [0, 3, 6], [0.0, 5.0, 1e6], axis=1)
    more[:, 4] += 1e-9 * np.sin(np.arange(400))  # rounding is no spread
    whitener = fitted(more, 6)
    expected = fitted(values, 6)(torch.tensor(values))
    torch.testing.assert_close(whitener(torch.tensor(more)), expected, atol=1e-9, rtol=1e-9)
    more[:, [0, 4, 8]] += 17.0
    torch.testing.assert_close(whitener(torch.tensor(more)), expected, atol=1e-9, rtol=1e-9)


def test_components_that_the_sample_does_not_have_are_zero():
    """Five rows about their mean span four directions; two equal columns span one."""
    few = sample(n=5)
    found = fitted(few, 6)(torch.tensor(sample()))
    assert (found[:, :4].abs().amax(0) > 1e-3).all()
    assert not found[:, 4:].any()
    twins = np.repeat(sample()[:, :2], 2, axis=1)
    found = fitted(twins, 4)(torch.tensor(twins))
    assert (found[:, :2].std(0, correction=0) > 0.99).all()
    assert not found[:, 2:].any()


def test_all_constant_gives_zeros_and_nothing_infinite():
    whitener = fitted(np.full((10, 3), 2.0), 2)
    found = whitener(torch.tensor([[2.0, 2.0, 2.0], [5.0, 1.0, 0.0]], dtype=torch.float64))
    assert not found.any()
    assert torch.isfinite(whitener.directions).all()


def test_it_travels_in_a_state():
    values = torch.tensor(sample())
    first = fitted(values.numpy(), 3)
    second = Whitener(6, 3).double()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(values), second(values))
