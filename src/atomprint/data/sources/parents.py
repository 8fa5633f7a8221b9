"""Crystals that others are made from: a store, files, or those that come with the package."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from atomprint.data.embedded import CORPUS
from atomprint.data.load import load_crystals
from atomprint.data.selection import sizes_of
from atomprint.data.store import Provenance, Store, is_store
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.stream import CrystalStream

EMBEDDED = "embedded"
"""The word for what comes with the package."""


@lru_cache(maxsize=4)
def open_parents(path: str) -> Sequence[Crystal]:
    """Crystals of a store (read as they are drawn), of files, or the embedded ones (in memory).

    Raises
    ------
    UsageError, DataError
        If there is nothing to read.
    """
    if is_store(path):
        return Store(path)
    return load_crystals(_file(path)).crystals


@lru_cache(maxsize=4)
def small_enough(path: str, max_atoms: int) -> tuple[int, ...]:
    """Indices of parents with at most so many atoms.

    Raises
    ------
    UsageError
        If there is none.
    """
    sizes = sizes_of(open_parents(path))
    found = tuple(index for index, n in enumerate(sizes.tolist()) if n <= max_atoms)
    if not found:
        raise UsageError(
            f"{path}: no crystal has at most {max_atoms} atoms (the smallest has {sizes.min()}); "
            "raise max_atoms"
        )
    return found


def parents_key(path: str) -> str:
    """What must be the same for an interrupted fetch to go on."""
    if is_store(path):
        return Store(path).hash()
    file = _file(path)
    if file is CORPUS:
        return hashlib.sha256(CORPUS.read_bytes()).hexdigest()[:16]
    with CrystalStream(file, check_ids=False) as stream:
        return stream.key()


def parents_provenance(path: str) -> tuple[Provenance, ...]:
    """Where parents are from, as far as they say."""
    if is_store(path):
        return Store(path).provenance
    if _file(path) is CORPUS:
        return (
            Provenance(
                source="atomprint's embedded corpus",
                licence="MIT, like the package",
                citation="atomprint, docs/corpus.md",
            ),
        )
    return (Provenance(source=path, licence="not stated", citation=""),)


def _file(path: str) -> str | Path:
    return CORPUS if path == EMBEDDED and not Path(path).exists() else path
