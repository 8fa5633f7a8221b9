"""Batches: within their limits, complete, and the same for a seed always."""

import itertools

import numpy as np
import pytest
import torch

from atomprint.data.batching import (
    BatchSettings,
    BatchStream,
    LabelSpec,
    batches_in_order,
    collate,
    estimate_edges,
    plan_batches,
)
from atomprint.ground.errors import DataError
from atomprint.structures.crystal import Crystal
from atomprint.structures.perturb import DISPLACEMENT, STRAIN, PerturbSettings
from tests.toy import toy_crystals


def huge(n: int) -> Crystal:
    """A simple cubic crystal of n³ atoms."""
    grid = np.array(list(itertools.product(range(n), repeat=3))) * 2.5
    return Crystal.make(f"huge-{n}", [29] * n**3, np.eye(3) * 2.5 * n, positions=grid)


def test_every_limit_holds_and_nothing_is_lost():
    crystals = [*toy_crystals(50), huge(3), huge(4)]
    for limits in (
        BatchSettings(max_crystals=7),
        BatchSettings(max_atoms=40),
        BatchSettings(max_edges=1500),
    ):
        batches = list(plan_batches(crystals, range(len(crystals)), 5.0, limits))
        assert sorted(i for batch in batches for i in batch) == list(range(len(crystals)))
        for batch in batches:
            if len(batch) == 1:
                continue
            assert len(batch) <= limits.max_crystals
            assert sum(crystals[i].n_atoms for i in batch) <= limits.max_atoms
            assert sum(estimate_edges(crystals[i], 5.0) for i in batch) <= limits.max_edges


def test_one_huge_cell_gets_a_batch_of_its_own():
    crystals = [*toy_crystals(5), huge(6), *toy_crystals(5, seed=1)]
    limits = BatchSettings(max_atoms=100)
    batches = list(plan_batches(crystals, range(11), 5.0, limits))
    assert [5] in batches
    assert len(batches) == 3


def test_the_estimate_of_edges_is_close_for_a_uniform_crystal():
    crystal = huge(4)
    graph = collate([crystal], 6.0).graph
    assert estimate_edges(crystal, 6.0) == pytest.approx(graph.n_edges, rel=0.15)


def test_a_stream_continues_as_if_it_had_never_stopped():
    def stream(seed: int = 3) -> BatchStream:
        limits = BatchSettings(max_crystals=4)
        return BatchStream(toy_crystals(10), 4.0, limits, seed, (), PerturbSettings(rattle=0.05))

    whole = [b.graph for b in stream().batches(0, 9)]
    rest = [b.graph for b in stream().batches(5, 9)]
    for a, b in zip(whole[5:], rest, strict=True):
        assert a.ids == b.ids
        torch.testing.assert_close(a.positions, b.positions, rtol=0, atol=0)
    # Another epoch rattles and orders anew; another seed does so from the start.
    assert whole[0].ids != whole[3].ids
    assert [g.ids for g in whole] != [b.graph.ids for b in stream(4).batches(0, 9)]


def test_steps_and_seeds_of_batches_are_the_same_after_a_restart():
    """And differ between steps and runs: what is drawn in one is drawn in no other."""

    def stream(seed=3):
        limits = BatchSettings(max_crystals=4)
        perturbation = PerturbSettings(rattle=0.05, clean=0.5)
        return BatchStream(toy_crystals(10), 4.0, limits, seed, (), perturbation)

    whole = list(stream().batches(0, 12))
    assert [b.step for b in whole] == list(range(12))
    rest = list(stream().batches(7, 12))
    assert [(b.step, b.seed) for b in rest] == [(b.step, b.seed) for b in whole[7:]]
    assert len({b.seed for b in [*whole, *stream(4).batches(0, 12)]}) == 24
    moved = whole[0].to("cpu")
    assert (moved.step, moved.seed) == (whole[0].step, whole[0].seed)


def test_what_perturbing_did_goes_with_the_batch():
    """Labels in the order of the atoms, in the same step again the same."""
    labels = [LabelSpec(DISPLACEMENT, "atom", 3), LabelSpec(STRAIN, "crystal", 9)]
    crystals = {c.id: c for c in toy_crystals(6)}
    how = PerturbSettings(rattle=0.05, strain=0.02)
    limits = BatchSettings(max_crystals=3)
    stream = BatchStream(list(crystals.values()), 4.0, limits, 0, labels, how)
    for batch in stream.batches(0, 2):
        graph = batch.graph
        strain = batch.labels[STRAIN].view(-1, 3, 3)[graph.crystal_index]
        undo = torch.linalg.inv(torch.eye(3) + strain)
        back = torch.einsum("ai,aij->aj", graph.positions - batch.labels[DISPLACEMENT], undo)
        before = np.concatenate([crystals[id].positions for id in graph.ids])
        cells = torch.from_numpy(np.stack([crystals[id].cell for id in graph.ids])).float()
        # Up to the lattice: positions in a graph are wrapped into the cell.
        apart = torch.linalg.solve(
            cells[graph.crystal_index].mT, (back - torch.from_numpy(before))[:, :, None].float()
        )
        torch.testing.assert_close(apart, apart.round(), atol=1e-5, rtol=0)


def test_an_epoch_passes_once_over_everything():
    stream = BatchStream(toy_crystals(10), 4.0, BatchSettings(max_crystals=4), 0)
    seen = [c for b in stream.batches(0, 3) for c in b.graph.ids]
    assert sorted(seen) == sorted(c.id for c in toy_crystals(10))


class Watched(list):
    """Crystals that remember which of them were asked for."""

    def __init__(self, crystals):
        super().__init__(crystals)
        self.read = set()

    def __getitem__(self, index):
        self.read.add(index)
        return super().__getitem__(index)


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_processes_share_every_batch_without_overlap(world_size):
    """Together they have what one process has: crystals, perturbations, labels, places, seed."""
    how = PerturbSettings(rattle=0.05, strain=0.02, clean=0.3)
    labels = [LabelSpec("energy", "crystal", 1), LabelSpec(DISPLACEMENT, "atom", 3)]

    def stream(crystals, rank=0, world_size=1):
        limits = BatchSettings(max_crystals=4)
        return BatchStream(crystals, 4.0, limits, 5, labels, how, rank, world_size)

    whole = list(stream(toy_crystals(10)).batches(0, 6))
    given = [Watched(toy_crystals(10)) for _ in range(world_size)]
    ranks = [
        list(stream(crystals, rank, world_size).batches(0, 6))
        for rank, crystals in enumerate(given)
    ]
    seen = 0
    for step, batch in enumerate(whole):
        positions = torch.full_like(batch.graph.positions, torch.nan)
        moved = torch.full_like(batch.labels[DISPLACEMENT], torch.nan)
        energies = torch.full_like(batch.labels["energy"], torch.nan)
        ids = [""] * batch.graph.n_crystals
        for own in (rank[step] for rank in ranks):
            assert (own.step, own.seed) == (batch.step, batch.seed)
            assert (own.part.n_crystals, own.part.n_atoms) == (len(ids), batch.graph.n_atoms)
            if not own.part.counts:
                continue
            seen += own.graph.n_crystals
            assert positions[own.part.atoms].isnan().all(), "an atom has two owners"
            positions[own.part.atoms] = own.graph.positions
            moved[own.part.atoms] = own.labels[DISPLACEMENT]
            energies[own.part.crystals] = own.labels["energy"]
            for place, id in zip(own.part.crystals.tolist(), own.graph.ids, strict=True):
                ids[place] = id
        assert tuple(ids) == tuple(batch.graph.ids)
        assert torch.equal(positions, batch.graph.positions)
        assert torch.equal(moved, batch.labels[DISPLACEMENT])
        assert torch.equal(energies, batch.labels["energy"])
    assert seen == sum(batch.graph.n_crystals for batch in whole)
    if world_size == 2:
        # An epoch has ten crystals; nobody reads those of the other.
        assert sum(len(crystals.read) for crystals in given) < 2 * 10


def test_labels_stay_out_of_the_graph_and_missing_ones_are_nan():
    crystals = toy_crystals(3)
    crystals[1] = crystals[1].with_labels({})
    batch = collate(crystals, 4.0, [LabelSpec("energy", "crystal", 1)])
    assert torch.isnan(batch.labels["energy"]).squeeze(-1).tolist() == [False, True, False]
    assert not any("energy" in name for name in vars(batch.graph))


def test_a_label_of_the_wrong_size_is_named():
    crystal = toy_crystals(1)[0].with_labels({"forces": np.zeros((5, 3))})
    with pytest.raises(DataError, match=r"id 'toy-0': label 'forces' has 15 numbers where 6"):
        collate([crystal], 4.0, [LabelSpec("forces", "atom", 3)])


def test_batches_in_order_keep_the_order():
    crystals = toy_crystals(9)
    limits = BatchSettings(max_crystals=2)
    ids = [i for b in batches_in_order(crystals, 4.0, limits) for i in b.graph.ids]
    assert ids == [c.id for c in crystals]


def test_nothing_to_train_on_is_an_error():
    with pytest.raises(DataError, match="no crystal to train on"):
        BatchStream([], 4.0, BatchSettings(), 0)
