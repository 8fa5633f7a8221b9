"""From crystals to batches, bounded by crystals, atoms and edges, the same for a seed always."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from atomprint.data.mixing import Mix
from atomprint.data.selection import IntArray, Measured, shuffled, sizes_of, volumes_of
from atomprint.ground.errors import DataError
from atomprint.ground.settings import Settings
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from atomprint.structures.parts import Part, divide
from atomprint.structures.perturb import PerturbSettings, draw_change

_BLOCK = 1 << 16


class BatchSettings(Settings):
    """How large a batch may be; the first limit that is reached closes it."""

    max_crystals: int = Field(32, ge=1, description="crystals a batch")
    max_atoms: int = Field(4_000, ge=1, description="atoms a batch")
    max_edges: int = Field(400_000, ge=1, description="estimated edges a batch")


@dataclass(frozen=True)
class LabelSpec:
    """A label that batches carry: its name, what it belongs to, and its size."""

    name: str
    per: str
    size: int


@dataclass(frozen=True)
class Batch:
    """Graphs and, apart from them, labels.

    Attributes
    ----------
    graph
        What a network may see.
    labels
        By name, ``(n_crystals | n_atoms, size)``; NaN where missing.
    step
        Of the stream that it is from.
    seed
        For random choices in this step: another one in every step, the same in every process.
    part
        Of a batch that several processes share: which part this is. None: it is whole.
    """

    graph: GraphBatch
    labels: dict[str, Tensor]
    step: int = 0
    seed: int = 0
    part: Part | None = None

    def to(self, device: torch.device | str) -> "Batch":
        """Move everything to a device."""
        labels = {k: v.to(device) for k, v in self.labels.items()}
        part = None if self.part is None else self.part.to(device)
        return replace(self, graph=self.graph.to(device), labels=labels, part=part)


def estimate_edges(crystal: Crystal, cutoff: float) -> float:
    """Edges that a crystal of uniform density would have within the cutoff (Å)."""
    return crystal.n_atoms**2 / crystal.volume * 4 / 3 * np.pi * cutoff**3


class Extents:
    """Atoms and estimated edges of many crystals, without making those of a store.

    Of a store nothing is copied: among many millions of crystals every array counts.

    Parameters
    ----------
    crystals
        Any number.
    cutoff
        Of the graphs, Å.
    """

    def __init__(self, crystals: Sequence[Crystal], cutoff: float) -> None:
        self.crystals, self.cutoff = crystals, cutoff
        self._known = isinstance(crystals, Measured)
        if not self._known:
            self._n_atoms, self._volumes = sizes_of(crystals), volumes_of(crystals)

    def n_atoms(self, indices: IntArray) -> npt.NDArray[np.int32]:
        """Atoms of some crystals."""
        return sizes_of(self.crystals, indices) if self._known else self._n_atoms[indices]

    def n_edges(self, indices: IntArray) -> npt.NDArray[np.float64]:
        """Edges that they would have if they were of uniform density."""
        volumes = volumes_of(self.crystals, indices) if self._known else self._volumes[indices]
        squares = self.n_atoms(indices).astype(np.float64) ** 2
        found: npt.NDArray[np.float64] = squares / volumes * 4 / 3 * np.pi * self.cutoff**3
        return found

    def fit(self, limits: BatchSettings) -> npt.NDArray[np.bool_]:
        """Whether each crystal has a place in a batch, ``(n_crystals,)``."""
        fits = np.empty(len(self.crystals), np.bool_)
        for start in range(0, len(fits), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(fits)))
            small = self.n_atoms(rows) <= limits.max_atoms
            fits[rows] = small & (self.n_edges(rows) <= limits.max_edges)
        return fits


def plan_batches(
    crystals: Sequence[Crystal], order: Sequence[int], cutoff: float, limits: BatchSettings
) -> Iterator[list[int]]:
    """Cut an order of crystals into batches within the limits, one after the other.

    A crystal that exceeds a limit by itself gets a batch of its own.
    """
    return _cut(Extents(crystals, cutoff), order, limits)


def _cut(
    extents: Extents, order: Sequence[int] | IntArray, limits: BatchSettings
) -> Iterator[list[int]]:
    current: list[int] = []
    atoms, edges = 0, 0.0
    for index, more_atoms, more_edges in _in_blocks(extents, order):
        full = (
            len(current) + 1 > limits.max_crystals
            or atoms + more_atoms > limits.max_atoms
            or edges + more_edges > limits.max_edges
        )
        if current and full:
            yield current
            current, atoms, edges = [], 0, 0.0
        current.append(index)
        atoms += more_atoms
        edges += more_edges
    if current:
        yield current


def _in_blocks(
    extents: Extents, order: Sequence[int] | IntArray
) -> Iterator[tuple[int, int, float]]:
    """Yield index, atoms and edges of each crystal of an order."""
    for start in range(0, len(order), _BLOCK):
        rows = np.asarray(order[start : start + _BLOCK])
        lists = (rows.tolist(), extents.n_atoms(rows).tolist(), extents.n_edges(rows).tolist())
        yield from zip(*lists, strict=True)


def collate(crystals: Sequence[Crystal], cutoff: float, labels: Sequence[LabelSpec] = ()) -> Batch:
    """Build one batch with the labels asked for; a crystal without one gets NaN.

    Raises
    ------
    DataError
        If a label has another size than the specification says.
    """
    graph = GraphBatch.from_crystals(crystals, cutoff)
    columns: dict[str, Tensor] = {}
    for spec in labels:
        rows = []
        for crystal in crystals:
            n_rows = crystal.n_atoms if spec.per == "atom" else 1
            value = crystal.labels.get(spec.name)
            if value is None:
                rows.append(np.full((n_rows, spec.size), np.nan))
                continue
            array = np.asarray(value, dtype=np.float64)
            if array.size != n_rows * spec.size:
                raise DataError(
                    f"{crystal.source or 'data'}, id {crystal.id!r}: label {spec.name!r} has "
                    f"{array.size} numbers where {n_rows * spec.size} belong "
                    f"({spec.size} per {spec.per}); correct it or leave it out"
                )
            rows.append(array.reshape(n_rows, spec.size))
        columns[spec.name] = torch.from_numpy(np.concatenate(rows)).to(torch.float32)
    return Batch(graph, columns)


class BatchStream:
    """An endless, seeded stream of batches in which step ``n`` is always the same batch.

    Nothing of the stream needs saving: the order of an epoch is a function of (seed, epoch) and
    the perturbation of a batch a function of (seed, step), so a resumed run continues exactly,
    with as many processes as there are then.

    Parameters
    ----------
    crystals
        What to draw from; every epoch passes once over all of them, if they are not mixed.
    cutoff
        Of the graphs, Å.
    limits
        Sizes of a batch.
    seed
        Of order and perturbation.
    labels
        Labels that the batches carry.
    perturbation
        Applied to every crystal anew each time it is drawn, or None.
    rank, world_size
        With several processes each takes its part of every batch: they have the same steps, with
        the same crystals, perturbed alike, whatever their number.
    mix
        In which order corpora among the crystals are drawn; None: they are one corpus.
    """

    def __init__(
        self,
        crystals: Sequence[Crystal],
        cutoff: float,
        limits: BatchSettings,
        seed: int,
        labels: Sequence[LabelSpec] = (),
        perturbation: PerturbSettings | None = None,
        rank: int = 0,
        world_size: int = 1,
        mix: Mix | None = None,
    ) -> None:
        if not crystals:
            raise DataError("there is no crystal to train on; every one was skipped or held out")
        self.crystals = crystals
        self.cutoff = cutoff
        self.limits = limits
        self._extents = Extents(crystals, cutoff)
        self.seed = seed
        self.labels = tuple(labels)
        self.perturbation = perturbation
        self.rank = rank
        self.world_size = world_size
        self.mix = mix

    def epoch(self, epoch: int) -> Iterator[list[int]]:
        """Yield the batches of one epoch, as indices of crystals."""
        if self.mix is not None:
            order: IntArray = self.mix.order(epoch)
        else:
            order = shuffled(len(self.crystals), np.random.default_rng((self.seed, 0, epoch)))
        return _cut(self._extents, order, self.limits)

    def plan(self, start: int = 0) -> Iterator[tuple[int, list[int]]]:
        """Yield (step, indices) of whole batches from a step on, without end."""
        step, epoch = 0, 0
        while True:
            for indices in self.epoch(epoch):
                if step >= start:
                    yield step, indices
                step += 1
            epoch += 1

    def build(self, step: int, indices: Sequence[int]) -> Batch:
        """Build this process's part of the batch of a step; only its own crystals are read."""
        part, places = None, np.arange(len(indices))
        rows = np.asarray(indices)
        n_atoms = self._extents.n_atoms(rows).tolist()
        if self.world_size > 1:
            part, places = divide(
                np.array(n_atoms), self._extents.n_edges(rows), self.rank, self.world_size
            )
        chosen = {int(place): self.crystals[indices[int(place)]] for place in places}
        rng = np.random.default_rng((self.seed, 1, step))
        if self.perturbation is not None:
            for place, size in enumerate(n_atoms):
                # Drawn for crystals of other processes too, so that the numbers are the same.
                change = draw_change(size, self.perturbation, rng)
                if place in chosen:
                    chosen[place] = change.apply(chosen[place])
        batch = collate(list(chosen.values()), self.cutoff, self.labels)
        return replace(batch, step=step, seed=int(rng.integers(2**31)), part=part)

    def batches(self, start: int, stop: int, ahead: int = 2) -> Iterator[Batch]:
        """Yield the batches of steps ``start`` to ``stop - 1``, built ahead in a thread."""
        plan = self.plan(start)
        waiting: list[Future[Batch]] = []
        with ThreadPoolExecutor(max_workers=1) as pool:
            for _ in range(start, min(stop, start + ahead)):
                waiting.append(pool.submit(self.build, *next(plan)))
            for step in range(start, stop):
                batch = waiting.pop(0).result()
                if step + ahead < stop:
                    waiting.append(pool.submit(self.build, *next(plan)))
                yield batch


def batches_in_order(
    crystals: Sequence[Crystal],
    cutoff: float,
    limits: BatchSettings,
    labels: Sequence[LabelSpec] = (),
) -> Iterator[Batch]:
    """Yield every crystal once, in the order given, unperturbed."""
    for indices in plan_batches(crystals, range(len(crystals)), cutoff, limits):
        yield collate([crystals[i] for i in indices], cutoff, labels)
