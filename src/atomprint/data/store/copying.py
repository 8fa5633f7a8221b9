"""Stores made of stores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from atomprint.data.selection import Selection
from atomprint.data.store.packing import hash_id
from atomprint.data.store.store import Store, is_store
from atomprint.data.store.writer import StoreWriter
from atomprint.ground.errors import UsageError

Progress = Callable[[int, int], None]
_EVERY = 1000


@dataclass(frozen=True)
class Copied:
    """What was written.

    Attributes
    ----------
    n_written
        Crystals.
    n_doubled
        Crystals left out because an earlier one has their id.
    """

    n_written: int
    n_doubled: int = 0


def merge_stores(
    stores: Sequence[Store], out: str | Path, progress: Progress | None = None
) -> Copied:
    """Write the crystals of several stores into a new one, one store after the other.

    Units, provenance and licences come along. Geometry is kept in float64 if one of them does.

    Parameters
    ----------
    stores
        At least one.
    out
        The new store.
    progress
        Called with crystals done and in all.

    Raises
    ------
    UsageError
        If there is no store, or ``out`` exists.
    DataError
        If two stores state different units of a label.
    """
    if not stores:
        raise UsageError("there is no store to merge; name at least one")
    return _copy(stores, stores, Path(out), progress)


def sample_store(
    store: Store, n: int, out: str | Path, seed: int = 0, progress: Progress | None = None
) -> Copied:
    """Write ``n`` crystals of a store, drawn at random, into a new one, in their order.

    Raises
    ------
    UsageError
        If there are fewer crystals, or ``out`` exists.
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
) -> Copied:
    """Write crystals of a store at some indices into a new one.

    Raises
    ------
    UsageError
        If ``out`` exists.
    """
    return _copy([Selection(store, indices)], [store], Path(out), progress)


def _copy(
    parts: Sequence[Store | Selection], stores: Sequence[Store], out: Path,
    progress: Progress | None,
) -> Copied:  # fmt: skip
    if is_store(out):
        raise UsageError(f"{out}: is there already; choose another --out")
    total = sum(map(len, parts))
    done = written = 0
    with StoreWriter(out, exact=any(store.description.exact for store in stores)) as writer:
        for store in stores:
            writer.state(store.description.units, store.provenance)
        for part in parts:
            for crystal in part:
                if hash_id(crystal.id) not in writer.seen:
                    writer.add(crystal)
                    written += 1
                done += 1
                if progress is not None and (done % _EVERY == 0 or done == total):
                    progress(done, total)
    return Copied(written, total - written)
