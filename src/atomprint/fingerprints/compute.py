"""The engine: fingerprints of any number of crystals, in bounded memory, on all threads.

Crystals are cut into blocks, a huge crystal into runs of its atoms. A block is searched for
neighbours once, at the largest cutoff of the fingerprints asked for, and handed to the fused kernel
of each. Blocks are what threads share; while they compute, the next crystals are made ready.
Fingerprints without a fused kernel are computed from graphs in plain PyTorch, and on another device
all are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import SimpleQueue
from threading import Condition, Thread
from typing import Any

import numpy as np
import torch

from atomprint.fingerprints.base import Fingerprint, Path, Per
from atomprint.fingerprints.blocks import Array, Dtype, Flat, Run, edge_block, plan
from atomprint.fingerprints.pooling import Pooler
from atomprint.ground.errors import UsageError
from atomprint.structures.convert import as_crystals, count_atoms, listed
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch

DEFAULT_MEMORY = 256
"""MiB of working memory, beside the input and the result."""

# Bytes an edge costs: in the fused path its vector, its atom and element, and what kernels make of
# them; in the reference path every intermediate of a radial and angular expansion.
_FUSED_EDGE = 96
_REFERENCE_EDGE = 6000
# Small blocks stay in the caches between the search and the kernels.
_BLOCK_EDGES = 60_000
# A block has a price of its own, that of some thousand edges.
_FEWEST_EDGES = 16_000.0
# Blocks that the memory must hold at once.
_BLOCKS_AT_ONCE = 8
# Structures converted at a time: few enough that threads do not wait for the first ones.
_CHUNK = 256

Sums = list[Array | None]
"""Of each fused fingerprint what a run of a cut crystal adds to its pools; None for all others."""


def compute(
    fingerprints: Sequence[Fingerprint],
    crystals: Sequence[Crystal],
    *,
    dtype: Dtype = "float64",
    per: Per | None = None,
    path: Path | None = None,
    threads: int | None = None,
    memory: float | None = None,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> list[Array]:
    """Compute fingerprints of crystals with one search for neighbours.

    Parameters
    ----------
    fingerprints
        What to compute.
    crystals
        In the order of the rows.
    dtype
        Float type of the numbers and of the computation. Distances are float64 until they are
        rounded to it.
    per
        A row an atom or a row a crystal; None takes each fingerprint's own setting.
    path
        ``reference`` or ``fused`` forces one; None takes each fingerprint's own.
    threads
        How many; None takes PyTorch's number. The numbers do not depend on it.
    memory
        Working memory in MiB, :data:`DEFAULT_MEMORY` by default; an estimate, not a guarantee. In
        plain PyTorch one crystal is computed as a whole, however large it is.
    device
        Where to compute; only plain PyTorch computes elsewhere than on ``cpu``.
    progress
        Called with the number of crystals done.

    Returns
    -------
    list
        An array a fingerprint, ``(n_atoms | n_crystals, n_features)``.

    Raises
    ------
    UsageError
        If the fused path is asked for and a fingerprint has none, or a number makes no sense.
    """
    chunks = (crystals[k : k + _CHUNK] for k in range(0, len(crystals), _CHUNK))
    return _compute(
        fingerprints, chunks, [c.n_atoms for c in crystals], dtype=dtype, per=per, path=path,
        threads=threads, memory=memory, device=device, progress=progress,
    )  # fmt: skip


def compute_many(
    fingerprints: Sequence[Fingerprint], structures: Any, *, per: Per | None = None, **options: Any
) -> list[Array]:
    """Compute several fingerprints of structures with one neighbour list.

    Parameters
    ----------
    fingerprints
        What to compute.
    structures
        One or many of ASE Atoms, pymatgen Structures or Molecules, and crystals.
    per
        A row an atom or a row a crystal; None takes each fingerprint's own setting.
    options
        See :func:`compute`.

    Returns
    -------
    list
        An array a fingerprint, ``(n_atoms | n_structures, n_features)``.

    Raises
    ------
    UsageError
        See :func:`compute`; or if a fingerprint is normalised by the density, and a structure does
        not repeat in all directions and so has none.
    DataError
        If a structure has no atoms, disorder, or a flat cell.
    """
    if not fingerprints:
        raise UsageError("there is no fingerprint to compute; give at least one")
    given = listed(structures)
    reach = max(fp.cutoff for fp in fingerprints)

    def chunks() -> Iterator[Sequence[Crystal]]:
        for first in range(0, len(given), _CHUNK):
            converted = as_crystals(given[first : first + _CHUNK], reach, first)
            refuse_boxed(fingerprints, converted.boxed, first)
            yield converted.crystals

    counts = [count_atoms(structure, index) for index, structure in enumerate(given)]
    return _compute(fingerprints, chunks(), counts, per=per, **options)


def refuse_boxed(
    fingerprints: Sequence[Fingerprint], boxed: Sequence[bool], first: int = 0
) -> None:
    """Refuse structures that have no density where a fingerprint divides by it.

    Parameters
    ----------
    fingerprints
        What is to be computed.
    boxed
        Whether each structure was given a box.
    first
        Index of the first of them, for messages.

    Raises
    ------
    UsageError
        With the first such structure.
    """
    if not any(boxed):
        return
    for fp in fingerprints:
        if fp.needs_volume:
            raise UsageError(
                f"fingerprint {fp.kind}: structure {first + list(boxed).index(True)} does not "
                "repeat in all directions and has no density to divide by; give it a cell and "
                "pbc=True, or settings that do not divide by the density"
            )


def _compute(
    fingerprints: Sequence[Fingerprint], chunks: Iterable[Sequence[Crystal]],
    counts: Sequence[int], *, dtype: Dtype = "float64", per: Per | None = None,
    path: Path | None = None, threads: int | None = None, memory: float | None = None,
    device: str = "cpu", progress: Callable[[int], None] | None = None,
) -> list[Array]:  # fmt: skip
    """Do what :func:`compute` does with crystals that come in chunks, of so many atoms each."""
    wanted = [fp if per is None else fp.with_per(per) for fp in fingerprints]
    check_options(wanted, dtype=dtype, path=path, threads=threads, memory=memory, device=device)
    n_threads = threads or torch.get_num_threads()
    budget = (memory or DEFAULT_MEMORY) * 2**20
    fused = [_is_fused(fp, path or fp.path, device) for fp in wanted]
    fast = [fp for fp, is_fused in zip(wanted, fused, strict=True) if is_fused]
    plain = [fp for fp, is_fused in zip(wanted, fused, strict=True) if not is_fused]
    report = progress or _ignore
    flats = _flats(wanted, chunks)
    with torch.inference_mode():
        if plain:  # they need the crystals once more
            kept = list(flats)
            # Progress counts crystals once, in the slower of the two programs.
            quick = _compute_fused(fast, iter(kept), counts, dtype, n_threads, budget, _ignore)
            slow = _compute_plain(plain, kept, dtype, n_threads, budget, device, report)
        else:
            quick = _compute_fused(fast, flats, counts, dtype, n_threads, budget, report)
            slow = []
    return [quick.pop(0) if is_fused else slow.pop(0) for is_fused in fused]


def check_options(
    fingerprints: Sequence[Fingerprint], *, dtype: str, path: Path | None = None,
    threads: int | None = None, memory: float | None = None, device: str = "cpu",
) -> None:  # fmt: skip
    """Refuse what :func:`compute` cannot do, before anything is read or written.

    Raises
    ------
    UsageError
        For an unknown float type or path, a path that a fingerprint does not have, or a limit
        that is not above zero.
    """
    for name, value in (("threads", threads), ("memory", memory)):
        if value is not None and not value > 0:
            raise UsageError(f"{name}={value} is not above 0; leave it out for the default")
    if dtype not in ("float32", "float64"):
        raise UsageError(f"dtype {dtype!r} is not known; choose float32 or float64")
    for fp in fingerprints:
        _is_fused(fp, path or fp.path, device)


def _flats(
    fingerprints: Sequence[Fingerprint], chunks: Iterable[Sequence[Crystal]]
) -> Iterator[Flat]:
    """Make crystals ready chunk by chunk, when their elements are known to all fingerprints."""
    before = 0
    for crystals in chunks:
        flat = Flat.of(crystals, before)
        present = torch.from_numpy(np.unique(flat.numbers))
        for fp in fingerprints:
            fp.check_elements(present)
        before += len(crystals)
        yield flat


def _ignore(done: int) -> None:
    """Take progress and do nothing."""


def _is_fused(fingerprint: Fingerprint, path: Path, device: str) -> bool:
    """Whether the fused kernel computes; refuses where it was asked for and there is none."""
    if path not in ("auto", "reference", "fused"):
        raise UsageError(f"path {path!r} is not known; choose auto, reference or fused")
    missing = ""
    if device != "cpu":
        missing = f"kernels run on the processor, not on {device!r}"
    elif path != "reference" and fingerprint.kernel is None:
        missing = "these settings have no fused kernel"
    if missing and path == "fused":
        raise UsageError(f"fingerprint {fingerprint.kind}: path 'fused' cannot be taken: {missing}")
    return path != "reference" and not missing


def _compute_fused(
    fingerprints: Sequence[Fingerprint], flats: Iterator[Flat], counts: Sequence[int],
    dtype: Dtype, n_threads: int, budget: float, report: Callable[[int], None],
) -> list[Array]:  # fmt: skip
    """Rows by the fused kernels, blocks shared by threads."""
    if not fingerprints:
        return []
    # Made before threads start, so that each is made once.
    kernels = [kernel for fp in fingerprints if (kernel := fp.kernel) is not None]
    poolers = [Pooler(fp, counts, dtype) for fp in fingerprints]
    cutoff = max(fp.cutoff for fp in fingerprints)
    width = sum(max(fp.n_features, fp.n_summands) for fp in fingerprints)
    row_bytes = 2.0 * np.dtype(dtype).itemsize * width + 64
    n_atoms = sum(counts)
    cut: list[Run] = []

    def runs_of(flat: Flat) -> list[Run]:
        edges = flat.expected_edges(cutoff)
        most = float(_BLOCK_EDGES)
        if n_threads > 1:
            # Larger, for threads wait for Python's lock between blocks; smaller where there are
            # few, so that no thread waits long for another's last.
            of_all = edges.sum() * n_atoms / len(flat.numbers)
            most = min(2 * most, max(of_all / (8 * n_threads), _FEWEST_EDGES))
        limit = budget / _BLOCKS_AT_ONCE
        runs = plan(flat, edges, row_bytes, _FUSED_EDGE, limit, most, split=_BLOCK_EDGES)
        return list(runs)

    def work(run: Run, passing: int) -> Sums:
        block = edge_block(run, cutoff, dtype)
        pairs = zip(poolers, kernels, strict=True)
        return [pooler.take(kernel, block, run, passing) for pooler, kernel in pairs]

    def merge(groups: Iterator[Sequence[Run]], passing: int) -> Iterator[Run]:
        for run, sums in _in_order(lambda run: work(run, passing), groups, n_threads, budget):
            for pooler, part in zip(poolers, sums, strict=True):
                if part is not None:
                    pooler.merge(part, run, passing)
            yield run

    for run in merge(map(runs_of, flats), passing=0):
        if run.is_cut:
            cut.append(run)
        report(run.flat.before + run.last)
    if any(pooler.needs_moments for pooler in poolers):  # now that the means are known
        for _ in merge(iter([cut]), passing=1):
            pass
    return [pooler.result() for pooler in poolers]


def _in_order(
    work: Callable[[Run], Sums], groups: Iterator[Sequence[Run]], n_threads: int, budget: float
) -> Iterator[tuple[Run, Sums]]:
    """Do work on threads and give the results in order; never more at a time than the budget."""
    if n_threads <= 1:
        for group in groups:
            for run in group:
                yield run, work(run)
        return
    shared = _Shared(groups, n_threads, budget)
    results: SimpleQueue[tuple[int, Run, Sums] | BaseException | None] = SimpleQueue()

    def serve() -> None:
        try:
            while (taken := shared.take()) is not None:
                index, run = taken
                sums = work(run)
                shared.release(run)
                results.put((index, run, sums))
            results.put(None)
        except BaseException as error:  # it is raised again where the results are wanted
            results.put(error)

    helpers = [Thread(target=serve, name=f"atomprint-{k}", daemon=True) for k in range(n_threads)]
    for helper in helpers:
        helper.start()
    early: dict[int, tuple[Run, Sums]] = {}
    wanted, working = 0, n_threads
    try:
        while working:
            found = results.get()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                working -= 1
                continue
            index, run, sums = found
            early[index] = run, sums
            while wanted in early:
                yield early.pop(wanted)
                wanted += 1
    finally:
        shared.stop()
        for helper in helpers:
            helper.join()


class _Shared:
    """Runs that threads take one after the other.

    Crystals are made ready, a group of runs at a time, by a thread that finds few runs left; the
    others go on with those.
    """

    def __init__(self, groups: Iterator[Sequence[Run]], n_threads: int, budget: float) -> None:
        self._groups, self._few, self._budget = groups, n_threads, budget
        self._ready: deque[tuple[int, Run]] = deque()
        self._n_made, self._in_work = 0, 0.0
        self._making = self._exhausted = self._stopped = False
        self._changed = Condition()

    def take(self) -> tuple[int, Run] | None:
        """Give the next run when the budget has room for it, with its number; None: no more."""
        with self._changed:
            while not self._stopped:
                if len(self._ready) <= self._few and not self._making and not self._exhausted:
                    self._make()
                elif self._ready and self._has_room(self._ready[0][1]):
                    index, run = self._ready.popleft()
                    self._in_work += run.size
                    return index, run
                elif not self._ready and self._exhausted:
                    return None
                else:
                    self._changed.wait()
            return None

    def release(self, run: Run) -> None:
        """Give back the room of a run."""
        with self._changed:
            self._in_work -= run.size
            self._changed.notify_all()

    def stop(self) -> None:
        """Give no more runs."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _has_room(self, run: Run) -> bool:
        return not self._in_work or self._in_work + run.size <= self._budget

    def _make(self) -> None:
        """Make the next group ready, without the lock, so that others can go on."""
        self._making = True
        self._changed.release()
        group: Sequence[Run] | None = None
        try:
            group = next(self._groups, None)
        finally:  # after an error nothing more can come
            self._changed.acquire()
            self._making, self._exhausted = False, group is None
            self._ready.extend(enumerate(group or (), self._n_made))
            self._n_made += len(group or ())
            self._changed.notify_all()


def _compute_plain(
    fingerprints: Sequence[Fingerprint], flats: Sequence[Flat], dtype: Dtype, n_threads: int,
    budget: float, device: str, report: Callable[[int], None],
) -> list[Array]:  # fmt: skip
    """Rows in plain PyTorch, from one graph a block."""
    cutoff = max(fp.cutoff for fp in fingerprints)
    real = torch.float64 if dtype == "float64" else torch.float32
    row_bytes = 3.0 * np.dtype(dtype).itemsize * max(fp.n_features for fp in fingerprints) + 64
    modules = [fp.to(device) for fp in fingerprints]
    parts: list[list[Array]] = [[] for _ in modules]
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        for flat in flats:
            edges = flat.expected_edges(cutoff)
            for run in plan(flat, edges, row_bytes, _REFERENCE_EDGE, budget, np.inf, split=None):
                graph = GraphBatch.from_crystals(flat.crystals[run.first : run.last], cutoff, real)
                graph = graph.to(device)
                for module, rows in zip(modules, parts, strict=True):
                    rows.append(module.reference(graph).cpu().numpy())
                report(flat.before + run.last)
    finally:
        torch.set_num_threads(before)
    return [
        np.concatenate(rows) if rows else np.zeros((0, module.n_features), dtype=dtype)
        for module, rows in zip(modules, parts, strict=True)
    ]
