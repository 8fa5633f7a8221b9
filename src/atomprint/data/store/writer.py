"""Adding crystals to a store, shard by shard."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from atomprint.data.store.layout import SUFFIX, AnyArray, map_arrays, read_header, write_shard
from atomprint.data.store.packing import hash_id, pack
from atomprint.data.store.seen import SeenIds
from atomprint.data.store.store import (
    DESCRIPTION,
    SHARDS,
    Description,
    Provenance,
    read_description,
    shard_paths,
)
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal

SHARD_ATOMS = 2_000_000
SHARD_CRYSTALS = 100_000


class StoreWriter:
    """Adds crystals to a store, new or not; what is committed is never touched again.

    Use as a context: on a clean exit the last shard is committed; after an error what was not
    committed is dropped. A reader sees only whole shards.

    Parameters
    ----------
    path
        The store's folder; made if it is not there.
    exact
        Keep geometry in float64; float32 rounds a cell of 10 Å by less than 1e-6 Å and halves the
        files. A store is one or the other.
    units
        Of labels, by name.
    provenance
        Where these crystals are from; added to what the store says already.
    shard_atoms, shard_crystals
        A shard is closed by the first of these that is reached.

    Raises
    ------
    UsageError
        If the folder cannot be written or another process is writing; if the folder holds
        something else, or the store has the other precision.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        exact: bool | None = None,
        units: Mapping[str, str] | None = None,
        provenance: Sequence[Provenance] = (),
        shard_atoms: int = SHARD_ATOMS,
        shard_crystals: int = SHARD_CRYSTALS,
    ) -> None:
        self.path = Path(path)
        self.shard_atoms, self.shard_crystals = shard_atoms, shard_crystals
        make_store_folder(self.path)
        self._lock = FileLock(self.path / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"{self.path}: another process is writing to this store; wait until it has ended"
            ) from None
        except OSError as error:
            raise UsageError(
                f"{self.path}: cannot be written ({error.strerror or error})"
            ) from None
        try:
            self._open(exact, units or {}, provenance)
        except BaseException:
            self._lock.release()
            raise
        self._crystals: list[Crystal] = []
        self._n_atoms = 0

    def _open(
        self, exact: bool | None, units: Mapping[str, str], provenance: Sequence[Provenance]
    ) -> None:
        if (self.path / DESCRIPTION).is_file():
            old = read_description(self.path)
            if exact is not None and exact != old.exact:
                kept = "float64" if old.exact else "float32"
                raise UsageError(f"{self.path}: the store keeps {kept}; write to another one")
        else:
            old = Description(exact=bool(exact))
        self.description = old
        self.state(units, provenance)
        self.seen = SeenIds()
        self._number = 0
        for file in shard_paths(self.path):
            header = read_header(file)
            if header.n_crystals:
                self.seen.add_all(map_arrays(file, header)["id_hashes"])
            self._number = int(file.name[: -len(SUFFIX)]) + 1
        for left in self.path.rglob(".*.part"):
            left.unlink(missing_ok=True)

    def state(self, units: Mapping[str, str], provenance: Sequence[Provenance]) -> None:
        """Add units and provenance to what the store says.

        Raises
        ------
        DataError
            If the store has a label in another unit.
        """
        old = self.description
        for name, unit in units.items():
            if old.units.get(name, unit) != unit:
                raise DataError(
                    f"{self.path}: label {name!r} is in {old.units[name]} in the store and in "
                    f"{unit} in what is added; convert one of them"
                )
        new = [part for part in provenance if part not in old.provenance]
        self.describe(units={**old.units, **units}, provenance=(*old.provenance, *new))

    def __enter__(self) -> "StoreWriter":
        """Hand on the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Commit what is left, if nothing went wrong, and let others write."""
        try:
            if kind is None:
                self.commit()
                names = tuple(file.name for file in shard_paths(self.path))
                if names != self.description.shards:
                    self.describe(shards=names)
        finally:
            self._lock.release()

    def __contains__(self, id: object) -> bool:
        """Whether a crystal of this id is in the store, or waits to be committed."""
        return isinstance(id, str) and hash_id(id) in self.seen

    def add(self, crystal: Crystal) -> None:
        """Add a crystal; a full shard is committed.

        Raises
        ------
        DataError
            If the store has a crystal of this id.
        """
        self.hold(crystal)
        if self.full:
            self.commit()

    def hold(self, crystal: Crystal) -> None:
        """Add a crystal that waits for a call of :meth:`commit`, however many there are."""
        if not self.seen.add(hash_id(crystal.id)):
            raise DataError(
                f"{crystal.source or self.path}: the id {crystal.id!r} is in the store already; "
                "leave it out or rename it"
            )
        self._crystals.append(crystal)
        self._n_atoms += crystal.n_atoms

    def extend(self, crystals: Iterable[Crystal]) -> None:
        """Add crystals one after the other."""
        for crystal in crystals:
            self.add(crystal)

    @property
    def n_waiting(self) -> int:
        """Crystals that are not committed yet."""
        return len(self._crystals)

    @property
    def full(self) -> bool:
        """Whether what waits makes a shard."""
        return self._n_atoms >= self.shard_atoms or len(self._crystals) >= self.shard_crystals

    def commit(self, about: Mapping[str, Any] | None = None) -> None:
        """Write what waits as one shard, with notes for its header.

        Nothing waiting and no notes: nothing is written.
        """
        if not self._crystals and not about:
            return
        arrays: dict[str, AnyArray] = {}
        described: dict[str, Any] = {"labels": {}, "n_crystals": 0, "n_atoms": 0}
        if self._crystals:
            arrays, described = pack(self._crystals, self.description.exact, str(self.path))
        # Should store.json be lost, the shards still say where their crystals are from.
        origin = self.description.model_dump(mode="json", include={"provenance", "inputs"})
        path = self.path / SHARDS / f"{self._number:08d}{SUFFIX}"
        write_shard(path, arrays, {**described, **origin, **(about or {})})
        self._number += 1
        self._crystals, self._n_atoms = [], 0

    def describe(self, **changes: Any) -> None:
        """Change what ``store.json`` says."""
        self.description = self.description.model_copy(update=changes)
        self.write_description()

    def write_description(self) -> None:
        """Write ``store.json``, whole or not at all."""
        write_text(self.path / DESCRIPTION, self.description.model_dump_json(indent=1) + "\n")


def make_store_folder(path: Path) -> None:
    """Make the folder of a store; refuse one that holds something else."""
    if path.is_file():
        raise UsageError(f"{path}: is a file; a store is a folder: choose another --out")
    found = [e for e in path.iterdir() if not e.name.startswith(".")] if path.is_dir() else []
    # What an interruption in the first moment leaves: a folder for shards, and none in it.
    begun = (
        [e.name for e in found] == [SHARDS] and found[0].is_dir() and not any(found[0].iterdir())
    )
    if found and not begun and not (path / DESCRIPTION).is_file():
        raise UsageError(f"{path}: the folder holds something else; choose another --out")
    try:
        (path / SHARDS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot make the folder ({error.strerror}); choose another --out"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write a small file; at every moment it is the old one or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or error}); what was committed is kept: "
            "make room, and give the command again"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
