"""Stores made of stores."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from atomprint.data.selection import Selection
from atomprint.data.store.convert import QUARANTINE
from atomprint.data.store.packing import hash_id
from atomprint.data.store.store import (
    Store,
    is_store,
    lacking,
    read_description,
    shard_paths,
)
from atomprint.data.store.writer import StoreWriter, write_text
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.result import Problem

Progress = Callable[[int, int], None]
_EVERY = 1000
_SAME = 1e-4
"""Å; crystals of two stores, of which one may be in float32, are the same within this."""


@dataclass(frozen=True)
class Copied:
    """What was written.

    Attributes
    ----------
    n_written
        Crystals of the new store.
    problems
        Crystals left out because an earlier one has their id; also in ``quarantine.jsonl``.
    resumed
        Crystals that were there from an interrupted call before.
    """

    n_written: int
    problems: tuple[Problem, ...] = ()
    resumed: int = 0


def merge_stores(
    stores: Sequence[Store],
    out: str | Path,
    *,
    rename: bool = False,
    progress: Progress | None = None,
) -> Copied:
    """Write the crystals of several stores into a new one, one store after the other.

    Units, provenance and licences come along. Geometry is kept in float64 if one of them does. Of
    one crystal that several stores have under one id the first is kept. Interrupted, the same call
    goes on.

    Parameters
    ----------
    stores
        At least one.
    out
        The new store.
    rename
        Call crystals ``STORE/ID``, by the names of the stores' folders.
    progress
        Called with crystals done and in all.

    Raises
    ------
    UsageError
        If there is no store, or ``out`` is something else; if one id stands for different
        crystals, or with ``rename`` two folders have one name.
    DataError
        If two stores state different units of a label.
    """
    if not stores:
        raise UsageError("there is no store to merge; name at least one")
    names = [Path(store.path).name for store in stores]
    if rename and len(set(names)) < len(names):
        raise UsageError(
            f"two stores are called {max(names, key=names.count)!r}; rename a folder, as crystals "
            "are to be called after it"
        )
    problems = [] if rename else list(_doubled(stores))
    prefixes = [f"{name}/" if rename else "" for name in names]
    made_of = ["merge", rename, *(store.hash() for store in stores)]
    return _copy(stores, stores, Path(out), made_of, progress, prefixes, problems)


def sample_store(
    store: Store, n: int, out: str | Path, seed: int = 0, progress: Progress | None = None
) -> Copied:
    """Write ``n`` crystals of a store, drawn at random, into a new one, in their order.

    Interrupted, the same call goes on.

    Raises
    ------
    UsageError
        If there are fewer crystals, or ``out`` is something else.
    """
    if n > len(store):
        raise UsageError(f"{store.path} has {len(store):,} crystals; ask for at most so many")
    chosen = np.random.default_rng((seed, 6)).choice(len(store), n, replace=False)
    return select_store(store, np.sort(chosen), out, progress)


def select_store(
    store: Store,
    indices: npt.NDArray[np.int64],
    out: str | Path,
    progress: Progress | None = None,
    beside: Mapping[str, str] | None = None,
) -> Copied:
    """Write crystals of a store at some indices into a new one.

    Interrupted, the same call goes on.

    Parameters
    ----------
    store, indices
        What to take.
    out
        The new store.
    progress
        Called with crystals done and in all.
    beside
        Texts of files, by name, that belong to the new store.

    Raises
    ------
    UsageError
        If ``out`` is something else.
    """
    chosen = hashlib.sha256(np.ascontiguousarray(indices, "<i8").tobytes()).hexdigest()
    made_of = ["select", store.hash(), chosen]
    return _copy([Selection(store, indices)], [store], Path(out), made_of, progress, beside=beside)


def _doubled(stores: Sequence[Store]) -> Iterator[Problem]:
    """Crystals whose id an earlier one has; refuses ids that stand for different crystals."""
    hashes = np.concatenate([store.id_hashes() for store in stores])
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    stops = np.cumsum([len(store) for store in stores])

    def crystal_at(row: int) -> tuple[Crystal, Store]:
        number = int(np.searchsorted(stops, row, side="right"))
        store = stores[number]
        return store[row - (int(stops[number - 1]) if number else 0)], store

    for row in np.flatnonzero(first[inverse] != np.arange(len(hashes))):
        (one, kept), (other, left) = crystal_at(int(first[inverse[row]])), crystal_at(int(row))
        if not _same(one, other):
            raise UsageError(
                f"the id {other.id!r} stands for one crystal in {kept.path} and for another in "
                f"{left.path}; give --rename, and crystals are called STORE/ID"
            )
        labels = sorted(other.labels.keys() - one.labels.keys())
        lost = f"; its labels {', '.join(labels)} are not taken" if labels else ""
        reason = f"{kept.path} has the same crystal under this id{lost}"
        yield Problem(str(left.path), other.id, reason, "duplicate")


def _same(one: Crystal, other: Crystal) -> bool:
    return (
        one.n_atoms == other.n_atoms
        and bool((one.numbers == other.numbers).all())
        and np.allclose(one.cell, other.cell, rtol=0, atol=_SAME)
        and np.allclose(one.positions, other.positions, rtol=0, atol=_SAME)
    )


def _copy(
    parts: Sequence[Store | Selection], stores: Sequence[Store], out: Path,
    made_of: Sequence[object], progress: Progress | None, prefixes: Sequence[str] = ("",),
    problems: Sequence[Problem] = (), beside: Mapping[str, str] | None = None,
) -> Copied:  # fmt: skip
    inputs = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    if is_store(out):
        old = read_description(out)
        if old.inputs != inputs and (old.inputs or shard_paths(out)):
            raise UsageError(
                f"{out}: is a store of something else (or what it was made of has changed); choose "
                "another --out"
            )
        if old.inputs == inputs and not lacking(old):
            n = len(Store(out))
            return Copied(n, tuple(problems), n)
    total = sum(map(len, parts))
    done = written = 0
    with StoreWriter(out, exact=any(store.description.exact for store in stores)) as writer:
        writer.describe(inputs=inputs, complete=False)
        for store in stores:
            writer.state(store.description.units, store.provenance)
        resumed = len(writer.seen)
        for part, prefix in zip(parts, prefixes, strict=True):
            for crystal in part:
                named = replace(crystal, id=prefix + crystal.id) if prefix else crystal
                # There already: from an earlier store, or from before an interruption.
                if hash_id(named.id) not in writer.seen:
                    writer.add(named)
                    written += 1
                done += 1
                if progress is not None and (done % _EVERY == 0 or done == total):
                    progress(done, total)
        writer.commit()
        if problems:
            lines = [json.dumps(asdict(problem), ensure_ascii=False) for problem in problems]
            write_text(out / QUARANTINE, "".join(f"{line}\n" for line in lines))
        for name, text in (beside or {}).items():
            write_text(out / name, text)
        writer.describe(complete=True, holes=False)
    return Copied(written + resumed, tuple(problems), resumed)
