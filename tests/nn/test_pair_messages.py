"""Fused messages against plain ones: values, gradients, threads, and when they are not used."""

import numpy as np
import pytest
import torch

from atomprint.nn import pair_messages as module
from atomprint.nn.pair_messages import PairList, pair_messages, plain_pair_messages

N_BASIS = 5


def random_case(n_atoms=11, n_pairs=71, n_channels=16):
    """Pairs, some of an atom with itself, an atom without any, and all that a layer is given."""
    generator = torch.Generator().manual_seed(3)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    met = torch.combinations(torch.arange(1, n_atoms), with_replacement=True)
    chosen = torch.randint(0, len(met), (n_pairs,), generator=generator).sort().values
    pairs = PairList(*met[chosen].T.contiguous(), n_atoms)
    assert n_pairs < 9 or 0 < int((pairs.first == pairs.second).sum()) < n_pairs
    learned = (
        random(2 * n_channels, N_BASIS),
        random(n_channels, N_BASIS),
        random(n_atoms, 3 * n_channels),
        random(n_atoms, 3, n_channels),
    )
    bases = random(n_pairs, N_BASIS, 4)
    return pairs, bases, tuple(one.requires_grad_() for one in learned)


def one_by_one(pairs, bases, scalar_filter, vector_filter, context, vectors):
    """The formula, a message at a time."""
    n = len(vector_filter)
    to_scalars, to_vectors = torch.zeros(pairs.n_atoms, n), torch.zeros(pairs.n_atoms, 3, n)
    to_scalars, to_vectors = to_scalars.to(bases), to_vectors.to(bases)
    for first, second, basis in zip(pairs.first, pairs.second, bases, strict=True):
        f1, f2 = (scalar_filter @ basis[:, 0]).chunk(2)
        f3 = (vector_filter @ basis[:, 1:]).T
        ways = [(first, second, f3), (second, first, -f3)][: 1 if first == second else 2]
        for receiver, sender, direction in ways:
            x1, x2, x3 = context[sender].chunk(3)
            to_scalars[receiver] += f1 * x1
            to_vectors[receiver] += f2 * x2 * vectors[sender] + direction * x3
    return to_scalars, to_vectors


def values_and_gradients(function, case):
    pairs, bases, learned = case
    made = function(pairs, bases, *learned)
    given = [torch.linspace(-1, 1, one.numel(), dtype=one.dtype).view_as(one) for one in made]
    return [*made, *torch.autograd.grad(made, learned, given)]


@pytest.fixture
def only_fused(monkeypatch):
    """Fail where the plain messages are taken."""

    def refuse(*given):
        raise AssertionError("the plain messages were taken")

    monkeypatch.setattr(module, "plain_pair_messages", refuse)


# More pairs than stay in the cache at a time, and chunks that end with one pair or two.
@pytest.mark.parametrize("n_pairs", [1, 2, 71, 72, 193])
def test_fused_and_plain_messages_are_the_formula(only_fused, n_pairs):
    case = random_case(n_pairs=n_pairs)
    wanted = values_and_gradients(one_by_one, case)
    for function in (pair_messages, plain_pair_messages):
        for one, other in zip(values_and_gradients(function, case), wanted, strict=True):
            assert (one - other).abs().max() <= 1e-13 * max(1.0, float(other.detach().abs().max()))


def test_float32_is_float64_rounded(only_fused):
    pairs, bases, learned = random_case()
    fine = values_and_gradients(pair_messages, (pairs, bases, learned))
    coarse = values_and_gradients(
        pair_messages,
        (
            pairs,
            bases.float(),
            tuple(one.detach().float().requires_grad_() for one in learned),
        ),
    )
    for one, other in zip(coarse, fine, strict=True):
        assert (one.double() - other).abs().max() / other.abs().max() < 1e-5


def test_the_gradient_is_that_of_the_values(only_fused):
    pairs, bases, learned = random_case(n_atoms=4, n_pairs=9, n_channels=8)
    assert torch.autograd.gradcheck(lambda *some: pair_messages(pairs, bases, *some), learned)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_change_nothing(only_fused, n_threads):
    alone = values_and_gradients(pair_messages, random_case(n_channels=40))
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        together = values_and_gradients(pair_messages, random_case(n_channels=40))
    finally:
        torch.set_num_threads(before)
    for one, two in zip(alone, together, strict=True):
        assert torch.equal(one, two)


def test_an_atom_without_pairs_hears_nothing(only_fused):
    pairs, bases, learned = random_case()
    to_scalars, to_vectors = pair_messages(pairs, bases, *learned)
    assert 0 not in pairs.first
    assert 0 not in pairs.second
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
    bases = bases.float()
    learned = [one.detach().float().requires_grad_() for one in learned]
    wide = pair_messages(pairs, bases, *learned)
    learned[2] = learned[2].bfloat16()
    for one, other in zip(pair_messages(pairs, bases, *learned), wide, strict=True):
        assert one.dtype == torch.float32
        assert 0 < (one - other).abs().max() / other.abs().max() < 0.02


def test_gradients_of_gradients_come_from_the_plain_messages():
    pairs, bases, learned = random_case(n_atoms=3, n_pairs=5, n_channels=8)
    bases.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda *some: pair_messages(pairs, bases, *some), learned)


def test_a_width_that_is_no_multiple_of_eight_is_computed_plainly():
    case = random_case(n_channels=6)
    for one, other in zip(
        values_and_gradients(pair_messages, case),
        values_and_gradients(plain_pair_messages, case),
        strict=True,
    ):
        assert torch.equal(one, other)
