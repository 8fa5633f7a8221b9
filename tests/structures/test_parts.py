import numpy as np
import pytest
import torch

from atomprint.structures.parts import Part, divide


@pytest.mark.parametrize("n_parts", [1, 2, 3, 5])
def test_parts_are_a_partition_of_about_equal_cost(n_parts):
    rng = np.random.default_rng(n_parts)
    n_atoms = rng.integers(1, 40, size=64)
    costs = n_atoms * rng.uniform(20.0, 60.0, size=64)
    parts = [divide(n_atoms, costs, part, n_parts) for part in range(n_parts)]
    assert sorted(i for _, places in parts for i in places) == list(range(64))
    atoms = torch.cat([part.atoms for part, _ in parts])
    assert sorted(atoms.tolist()) == list(range(n_atoms.sum()))
    loads = [costs[places].sum() for _, places in parts]
    assert max(loads) < 1.05 * np.mean(loads)
    crystal_of_atom = np.repeat(np.arange(64), n_atoms)
    for part, places in parts:
        assert part.counts
        np.testing.assert_array_equal(np.unique(crystal_of_atom[part.atoms]), places)
        values = torch.arange(float(n_atoms.sum()))
        np.testing.assert_array_equal(part.of_atoms(values), np.flatnonzero(
            np.isin(crystal_of_atom, places)
        ))  # fmt: skip
        np.testing.assert_array_equal(part.of_crystals(torch.arange(64)), places)


def test_crystals_without_edges_are_shared_too():
    sizes = [len(divide([1] * 9, [0.0] * 9, part, 3)[1]) for part in range(3)]
    assert sizes == [3, 3, 3]


def test_fewer_crystals_than_parts():
    parts = [divide([4, 2], [8.0, 4.0], part, 4)[0] for part in range(4)]
    assert [part.counts for part in parts] == [True, True, False, False]
    assert all(len(part.atoms) for part in parts), "a network needs something to look at"


def test_a_whole_batch_has_all_rows():
    values = torch.arange(6.0)
    whole = Part(1, 3, 6)
    assert whole.of_atoms(values) is values
    assert whole.sum(values) is values
    assert whole.share(torch.tensor([0.0, 3.0])).tolist() == [0.0, 1.0]
