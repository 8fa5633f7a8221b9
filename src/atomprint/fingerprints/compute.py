"""The engine: fingerprints of any number of crystals, in bounded memory, on all threads.

Crystals are cut into blocks, a huge crystal into runs of its atoms. A block is searched for
neighbours once, at the largest cutoff of the fingerprints asked for, and handed to the fused kernel
of each. Blocks are what threads share. Fingerprints without a fused kernel are computed from graphs
in plain PyTorch, and on another device all are.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from atomprint.fingerprints.base import Fingerprint, Path, Per
from atomprint.fingerprints.pooling import Pooler
from atomprint.ground.elements import MAX_Z
from atomprint.ground.errors import UsageError
from atomprint.structures.convert import as_crystals
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch

if TYPE_CHECKING:
    from atomprint.fingerprints.kernels.edges import EdgeBlock

Array = npt.NDArray[Any]
Dtype = Literal["float32", "float64"]
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


@dataclass(frozen=True, slots=True)
class _Run:
    """Crystals ``first`` to ``last``, or atoms ``start`` to ``stop`` of a single one; in bytes."""

    first: int
    last: int
    start: int
    stop: int
    size: float


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
    wanted = [fp if per is None else fp.with_per(per) for fp in fingerprints]
    for name, value in (("threads", threads), ("memory", memory)):
        if value is not None and not value > 0:
            raise UsageError(f"{name}={value} is not above 0; leave it out for the default")
    if dtype not in ("float32", "float64"):
        raise UsageError(f"dtype {dtype!r} is not known; choose float32 or float64")
    n_threads = threads or torch.get_num_threads()
    numbers = [c.numbers for c in crystals] or [np.ones(0, dtype=np.int64)]
    present = torch.from_numpy(np.unique(np.concatenate(numbers)))
    for fp in wanted:
        fp.check_elements(present)
    budget = (memory or DEFAULT_MEMORY) * 2**20
    fused = [k for k, fp in enumerate(wanted) if _is_fused(fp, path or fp.path, device)]
    plain = [k for k in range(len(wanted)) if k not in fused]
    results: list[Array] = [np.zeros((0, fp.n_features), dtype=dtype) for fp in wanted]
    # Progress counts crystals once, in the slower of the two programs.
    report = progress or _ignore
    with torch.inference_mode():
        if fused:
            done = _compute_fused(
                [wanted[k] for k in fused], crystals, dtype, n_threads, budget,
                _ignore if plain else report,
            )  # fmt: skip
            for k, rows in zip(fused, done, strict=True):
                results[k] = rows
        if plain:
            done = _compute_plain(
                [wanted[k] for k in plain], crystals, dtype, n_threads, budget, device, report
            )
            for k, rows in zip(plain, done, strict=True):
                results[k] = rows
    return results


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
    converted = as_crystals(structures, max(fp.cutoff for fp in fingerprints))
    refuse_boxed(fingerprints, converted.boxed)
    return compute(fingerprints, converted.crystals, per=per, **options)


def refuse_boxed(fingerprints: Sequence[Fingerprint], boxed: Sequence[bool]) -> None:
    """Refuse structures that have no density where a fingerprint divides by it.

    Raises
    ------
    UsageError
        With the first such structure.
    """
    for fp in fingerprints:
        if fp.needs_volume and any(boxed):
            raise UsageError(
                f"fingerprint {fp.kind}: structure {list(boxed).index(True)} does not repeat in "
                "all directions and has no density to divide by; give it a cell and pbc=True, or "
                "settings that do not divide by the density"
            )


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


def _estimate_edges(crystals: Sequence[Crystal], cutoff: float) -> Array:
    """Edges of every crystal if its density were uniform, ``(n_crystals,)``, at least its atoms."""
    counts = np.array([c.n_atoms for c in crystals], dtype=np.float64)
    cells = np.stack([c.cell for c in crystals]) if crystals else np.zeros((0, 3, 3))
    volumes = np.maximum(np.abs(np.linalg.det(cells)), 1e-3)
    return np.asarray(np.maximum(counts**2 / volumes * 4.19 * cutoff**3, counts))


def _plan(
    crystals: Sequence[Crystal], edges: Array, row_bytes: float, edge_bytes: float, limit: float,
    most_edges: float, split: float | None,
) -> Iterator[_Run]:  # fmt: skip
    """Cut crystals into runs that stay below a limit of bytes and of edges, in order.

    A crystal of more than ``split`` edges is cut into runs of its atoms, None: never. Where it is
    cut does not depend on the threads, so that sums over its atoms do not either.
    """
    first, used, used_edges = 0, 0.0, 0.0
    for index, crystal in enumerate(crystals):
        size = crystal.n_atoms * row_bytes + edges[index] * edge_bytes
        if index > first and (used + size > limit or used_edges + edges[index] > most_edges):
            yield _Run(first, index, 0, -1, used)
            first, used, used_edges = index, 0.0, 0.0
        if split is not None and (size > limit or edges[index] > split):
            parts = max(size / limit, edges[index] / split)
            step = max(1, int(crystal.n_atoms / parts))
            for start in range(0, crystal.n_atoms, step):
                stop = min(start + step, crystal.n_atoms)
                yield _Run(index, index + 1, start, stop, size * (stop - start) / crystal.n_atoms)
            first, used, used_edges = index + 1, 0.0, 0.0
            continue
        used, used_edges = used + size, used_edges + edges[index]
    if first < len(crystals):
        yield _Run(first, len(crystals), 0, -1, used)


def _compute_fused(
    fingerprints: Sequence[Fingerprint], crystals: Sequence[Crystal], dtype: Dtype,
    n_threads: int, budget: float, report: Callable[[int], None],
) -> list[Array]:  # fmt: skip
    """Rows by the fused kernels, blocks shared by threads."""
    # Made before threads start, so that each is made once.
    kernels = [fp.kernel for fp in fingerprints]
    cutoff = max(fp.cutoff for fp in fingerprints)
    flat = _Flat.of(crystals)
    edges = _estimate_edges(crystals, cutoff)
    row_bytes = 2.0 * np.dtype(dtype).itemsize * sum(fp.n_features for fp in fingerprints) + 64
    limit = budget / _BLOCKS_AT_ONCE
    # Threads share blocks: with several of them, blocks are smaller, so that none waits long.
    shared = max(edges.sum() / (8 * n_threads), _FEWEST_EDGES)
    most = float(_BLOCK_EDGES) if n_threads == 1 else min(float(_BLOCK_EDGES), shared)
    poolers = [Pooler(fp, crystals, dtype) for fp in fingerprints]

    def rows_of(run: _Run) -> list[Array]:
        block = edge_block(flat, cutoff, dtype, run)
        return [kernel.rows(block, 1) for kernel in kernels if kernel is not None]

    for passing in range(max(pooler.n_passes for pooler in poolers)):
        runs = _plan(crystals, edges, row_bytes, _FUSED_EDGE, limit, most, split=_BLOCK_EDGES)
        if passing:  # only of crystals that were cut into runs the rows are wanted again
            runs = (run for run in runs if run.stop >= 0)
        for run, blocks in _in_order(rows_of, runs, n_threads, budget):
            for pooler, rows in zip(poolers, blocks, strict=True):
                pooler.add(rows, run.first, run.last, run.start, passing)
            if passing == 0:
                report(run.last)
        for pooler in poolers:
            pooler.end_pass(passing)
        if not any(pooler.needs_more for pooler in poolers):
            break
    return [pooler.values for pooler in poolers]


def _in_order(
    work: Callable[[_Run], list[Array]], runs: Iterator[_Run], n_threads: int, budget: float
) -> Iterator[tuple[_Run, list[Array]]]:
    """Do work on threads and give the results in order; never more at a time than the budget."""
    if n_threads <= 1:
        for run in runs:
            yield run, work(run)
        return
    waiting: deque[tuple[_Run, Future[list[Array]]]] = deque()
    in_work = 0.0
    with ThreadPoolExecutor(n_threads, thread_name_prefix="atomprint") as pool:

        def collect() -> tuple[_Run, list[Array]]:
            run, job = waiting.popleft()
            return run, job.result()

        try:
            for run in runs:
                while waiting and (in_work + run.size > budget or len(waiting) >= 2 * n_threads):
                    in_work -= waiting[0][0].size
                    yield collect()
                waiting.append((run, pool.submit(work, run)))
                in_work += run.size
            while waiting:
                yield collect()
        finally:
            for _, job in waiting:
                job.cancel()


@dataclass(frozen=True, slots=True)
class _Flat:
    """All crystals one after the other: blocks are views of these."""

    numbers: Array
    positions: Array
    cells: Array
    first_atom: Array
    volumes: Array

    @classmethod
    def of(cls, crystals: Sequence[Crystal]) -> "_Flat":
        counts = np.array([c.n_atoms for c in crystals], dtype=np.int64)
        cells = np.stack([c.cell for c in crystals]) if crystals else np.zeros((0, 3, 3))
        numbers = [c.numbers for c in crystals] or [np.zeros(0, dtype=np.int64)]
        positions = [c.positions for c in crystals] or [np.zeros((0, 3))]
        flat = np.concatenate(positions)
        crystal_index = np.repeat(np.arange(len(crystals)), counts)
        # Atoms far outside their cells are brought back, so that they cost no digits.
        frac = np.einsum("ai,aij->aj", flat, np.linalg.inv(cells)[crystal_index])
        outside = np.floor(frac)
        if outside.any():
            flat = flat - np.einsum("ai,aij->aj", outside, cells[crystal_index])
        return cls(
            numbers=np.concatenate(numbers),
            positions=flat,
            cells=cells,
            first_atom=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            volumes=np.abs(np.linalg.det(cells)),
        )


def edge_block(flat: _Flat, cutoff: float, dtype: Dtype, run: _Run) -> "EdgeBlock":
    """Search for the neighbours of a run of crystals or atoms, without making a graph.

    Parameters
    ----------
    flat
        All crystals.
    cutoff
        In Å.
    dtype
        Float type of the edges' vectors.
    run
        Which of them.
    """
    from atomprint.fingerprints.kernels.edges import EdgeBlock
    from atomprint.structures.search import search

    begin, end = int(flat.first_atom[run.first]), int(flat.first_atom[run.last])
    first_atom = flat.first_atom[run.first : run.last + 1] - begin
    start, stop = run.start, end - begin if run.stop < 0 else run.stop
    numbers = flat.numbers[begin:end]
    found = search(
        flat.positions[begin:end], flat.cells[run.first : run.last], first_atom, cutoff,
        start=start, stop=stop, dtype=dtype, with_shifts=False,
    )  # fmt: skip
    n_crystals = run.last - run.first
    crystal_index = np.repeat(np.arange(n_crystals), np.diff(first_atom))
    elements = crystal_index * (MAX_Z + 1) + numbers
    composition = np.bincount(elements, minlength=n_crystals * (MAX_Z + 1))
    return EdgeBlock(
        numbers=numbers[start:stop],
        first=found.first,
        neighbor_numbers=numbers[found.neighbor_index],
        vectors=found.vectors,
        cutoff=cutoff,
        crystal_index=crystal_index[start:stop],
        composition=composition.reshape(n_crystals, MAX_Z + 1),
        volumes=flat.volumes[run.first : run.last],
    )


def _compute_plain(
    fingerprints: Sequence[Fingerprint], crystals: Sequence[Crystal], dtype: Dtype,
    n_threads: int, budget: float, device: str, report: Callable[[int], None],
) -> list[Array]:  # fmt: skip
    """Rows in plain PyTorch, from one graph a block."""
    cutoff = max(fp.cutoff for fp in fingerprints)
    real = torch.float64 if dtype == "float64" else torch.float32
    edges = _estimate_edges(crystals, cutoff)
    width = max(fp.n_features for fp in fingerprints)
    row_bytes = 3.0 * np.dtype(dtype).itemsize * width + 64
    runs = _plan(crystals, edges, row_bytes, _REFERENCE_EDGE, budget, np.inf, split=None)
    modules = [fp.to(device) for fp in fingerprints]
    parts: list[list[Array]] = [[] for _ in modules]
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        for run in runs:
            graph = GraphBatch.from_crystals(crystals[run.first : run.last], cutoff, real)
            graph = graph.to(device)
            for module, rows in zip(modules, parts, strict=True):
                rows.append(module.reference(graph).cpu().numpy())
            report(run.last)
    finally:
        torch.set_num_threads(before)
    return [
        np.concatenate(rows) if rows else np.zeros((0, module.n_features), dtype=dtype)
        for module, rows in zip(modules, parts, strict=True)
    ]
