import torch

from atomprint.fingerprints.tables import look_up

TABLE = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_evaluates_the_cubic_of_the_cell():
    position = torch.tensor([0.0, 0.3, 2.75, 5.999], dtype=torch.float64)
    found = look_up(position, TABLE)
    for x, row in zip(position.tolist(), found, strict=True):
        t = x - int(x)
        wanted = sum(TABLE[int(x), k] * t**k for k in range(4))
        torch.testing.assert_close(row, wanted)


def test_beyond_the_end_the_last_cubic_goes_on():
    end = look_up(torch.tensor([6.0], dtype=torch.float64), TABLE)
    torch.testing.assert_close(end[0], TABLE[5].sum(0))


def test_derivatives_of_every_order():
    position = torch.tensor([0.2, 1.5, 4.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: look_up(x, TABLE), position)
    assert torch.autograd.gradgradcheck(lambda x: look_up(x, TABLE), position)

    found = look_up(position, TABLE).sum()
    for _ in range(4):
        (found,) = torch.autograd.grad(found.sum(), position, create_graph=True)
    assert (found == 0).all()  # the fourth derivative of a cubic


def test_no_points():
    assert look_up(torch.zeros(0, dtype=torch.float64), TABLE).shape == (0, 3)
