"""Fused messages against plain ones: values, gradients, threads, and when they are not used."""

import numpy as np
import pytest
import torch

from atomprint.nn import pair_messages as module
from atomprint.nn.pair_messages import PairList, pair_messages, plain_pair_messages

N_BASIS = 5


def random_case(n_atoms=11, n_pairs=70, n_channels=16):
    """Pairs that are not symmetric, an atom without any, and everything that a layer is given."""
    generator = torch.Generator().manual_seed(3)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    center = torch.randint(1, n_atoms, (n_pairs,), generator=generator).sort().values
    neighbor = torch.randint(0, n_atoms - 1, (n_pairs,), generator=generator)
    pairs = PairList(center, neighbor, n_atoms)
    bases = (random(n_pairs, N_BASIS), random(n_pairs, 3, N_BASIS))
    learned = (
        random(2 * n_channels, N_BASIS),
        random(n_channels, N_BASIS),
        random(n_atoms, 3 * n_channels),
        random(n_atoms, 3, n_channels),
    )
    return pairs, bases, tuple(one.requires_grad_() for one in learned)


def values_and_gradients(function, case):
    pairs, bases, learned = case
    made = function(pairs, *bases, *learned)
    given = [torch.linspace(-1, 1, one.numel(), dtype=one.dtype).view_as(one) for one in made]
    return [*made, *torch.autograd.grad(made, learned, given)]


@pytest.fixture
def only_fused(monkeypatch):
    """Fail where the plain messages are taken."""

    def refuse(*given):
        raise AssertionError("the plain messages were taken")

    monkeypatch.setattr(module, "plain_pair_messages", refuse)


def test_fused_messages_are_the_plain_ones(only_fused):
    fused = values_and_gradients(pair_messages, random_case())
    plain = values_and_gradients(plain_pair_messages, random_case())
    for one, other in zip(fused, plain, strict=True):
        assert (one - other).abs().max() / other.abs().max() < 1e-13


def test_float32_is_float64_rounded(only_fused):
    pairs, bases, learned = random_case()
    fine = values_and_gradients(pair_messages, (pairs, bases, learned))
    coarse = values_and_gradients(
        pair_messages,
        (
            pairs,
            tuple(one.float() for one in bases),
            tuple(one.detach().float().requires_grad_() for one in learned),
        ),
    )
    for one, other in zip(coarse, fine, strict=True):
        assert (one.double() - other).abs().max() / other.abs().max() < 1e-5


def test_the_gradient_is_that_of_the_values(only_fused):
    pairs, bases, learned = random_case(n_atoms=4, n_pairs=9, n_channels=8)
    assert torch.autograd.gradcheck(lambda *some: pair_messages(pairs, *bases, *some), learned)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_change_only_rounding(only_fused, n_threads):
    alone = values_and_gradients(pair_messages, random_case())
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        together = values_and_gradients(pair_messages, random_case())
        again = values_and_gradients(pair_messages, random_case())
    finally:
        torch.set_num_threads(before)
    for one, two, same in zip(alone, together, again, strict=True):
        assert torch.equal(two, same)
        assert (one - two).abs().max() / one.abs().max() < 1e-13


def test_an_atom_without_pairs_hears_nothing(only_fused):
    pairs, bases, learned = random_case()
    to_scalars, to_vectors = pair_messages(pairs, *bases, *learned)
    assert 0 not in pairs.center
    assert not to_scalars[0].any()
    assert not to_vectors[0].any()


def test_no_pairs_at_all(only_fused):
    pairs, bases, learned = random_case(n_pairs=0)
    for value in values_and_gradients(pair_messages, (pairs, bases, learned)):
        assert not value.any()
        assert np.isfinite(value.detach().numpy()).all()


def test_arrays_of_another_layout_are_read_right(only_fused):
    pairs, bases, learned = random_case()
    wanted = values_and_gradients(pair_messages, (pairs, bases, learned))
    turned = tuple(
        one.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_()
        for one in learned
    )
    assert not any(one.is_contiguous() for one in turned)
    for one, other in zip(
        values_and_gradients(pair_messages, (pairs, bases, turned)), wanted, strict=True
    ):
        assert torch.equal(one, other)


def test_half_precision_of_a_layer_is_widened(only_fused):
    pairs, bases, learned = random_case()
    bases = tuple(one.float() for one in bases)
    learned = [one.detach().float().requires_grad_() for one in learned]
    wide = pair_messages(pairs, *bases, *learned)
    learned[2] = learned[2].bfloat16()
    for one, other in zip(pair_messages(pairs, *bases, *learned), wide, strict=True):
        assert one.dtype == torch.float32
        assert 0 < (one - other).abs().max() / other.abs().max() < 0.02


def test_gradients_of_gradients_come_from_the_plain_messages():
    pairs, bases, learned = random_case(n_atoms=3, n_pairs=5, n_channels=8)
    bases = tuple(one.requires_grad_() for one in bases)
    assert torch.autograd.gradgradcheck(lambda *some: pair_messages(pairs, *bases, *some), learned)


def test_a_width_that_is_no_multiple_of_eight_is_computed_plainly():
    case = random_case(n_channels=6)
    for one, other in zip(
        values_and_gradients(pair_messages, case),
        values_and_gradients(plain_pair_messages, case),
        strict=True,
    ):
        assert torch.equal(one, other)
