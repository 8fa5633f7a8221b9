import pytest
import torch

from atomprint.fingerprints.sums import Chunks


@pytest.mark.parametrize(
    "counts", [[3, 3, 3], [0, 5, 0, 1], [200, 1, 1, 1, 0, 2, 1], [0, 0], [1], []]
)
def test_sums_outer_products(counts):
    index = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts).long())
    generator = torch.Generator().manual_seed(1)
    left = torch.randn(len(index), 3, generator=generator, dtype=torch.float64)
    right = torch.randn(len(index), 4, generator=generator, dtype=torch.float64)
    chunks = Chunks(index, len(counts))
    found = chunks.sum_outer(chunks.pack(left), chunks.pack(right))
    wanted = torch.zeros(len(counts), 3, 4, dtype=torch.float64)
    for e, i in enumerate(index):
        wanted[i] += torch.outer(left[e], right[e])
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_one_crowded_atom_does_not_make_every_other_as_large():
    counts = torch.ones(1000, dtype=torch.int64)
    counts[3] = 500
    chunks = Chunks(torch.repeat_interleave(torch.arange(1000), counts), 1000)
    n_slots = chunks.pack(torch.ones(int(counts.sum()), 1)).shape[0]
    assert n_slots < 20 * int(counts.sum())
