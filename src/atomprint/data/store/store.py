"""A store: any number of crystals on disk that behave like a list of them and cost no memory."""

import hashlib
import json
import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from atomprint.data.selection import Measured, Selection
from atomprint.data.store.columns import YEARS
from atomprint.data.store.layout import (
    SUFFIX,
    AnyArray,
    DamagedShard,
    Header,
    Rows,
    map_arrays,
    open_rows,
    read_array,
    read_header,
)
from atomprint.data.store.packing import (
    LABEL,
    contradiction,
    counts_of,
    id_at,
    misfit,
    unpack,
)
from atomprint.data.store.remote import RemoteShards, is_remote
from atomprint.ground.documents import json_of
from atomprint.ground.errors import AtomprintWarning, DataError, UsageError
from atomprint.ground.settings import Settings
from atomprint.structures.crystal import Crystal

DESCRIPTION = "store.json"
SHARDS = "shards"
FORMAT = 1
_MOST_MAPPED = 256 << 20
"""Bytes of a store that is mapped into memory as a whole; of a larger one rows are read."""
_MAPPED = 2
_OPENED = 256
T = TypeVar("T")


class Provenance(Settings):
    """Where some crystals of a store are from."""

    source: str = Field(description="files, data base or generator")
    licence: str = Field("", description="what one may do with them")
    citation: str = Field("", description="what to cite")


class Description(Settings):
    """What stands in ``store.json``: everything that belongs to no single shard."""

    format: int = Field(FORMAT, description="of this file")
    exact: bool = Field(False, description="whether geometry is kept in float64")
    units: dict[str, str] = Field(default_factory=dict, description="of labels, by name")
    not_labels: tuple[str, ...] = Field((), description="columns that turned out to be text")
    dates: tuple[str, ...] = Field((), description="labels that are dates, in years")
    provenance: tuple[Provenance, ...] = Field((), description="where the crystals are from")
    inputs: str = Field("", description="hash of what it is made of, where a command made it")
    complete: bool = Field(True, description="whether that command has come to its end")
    holes: bool = Field(
        False, description="whether shards were set aside whose crystals were not read again"
    )
    ordering: int | None = Field(
        None, description="seed with which disordered crystals were made ordered ones, if they were"
    )
    shards: tuple[str, ...] = Field(
        (), description="their names, for readers that cannot list a folder (web servers)"
    )


LOST = "is not there, though store.json names it"
"""What is wrong with a shard that was removed, or not copied."""


def lost_shards(path: Path, description: Description, files: Sequence[Path]) -> list[Path]:
    """Shards that the description of a store names and that are not among its files."""
    there = {file.name for file in files}
    return [path / SHARDS / name for name in description.shards if name not in there]


def is_store(path: object) -> bool:
    """Whether a path is the folder of a store, or an address, which only stores have."""
    if is_remote(path):
        return True
    return isinstance(path, str | os.PathLike) and (Path(path) / DESCRIPTION).is_file()


def read_description(path: Path) -> Description:
    """Read ``store.json``.

    Raises
    ------
    UsageError
        If there is none.
    DataError
        If it is not what atomprint writes.
    """
    try:
        text = (path / DESCRIPTION).read_bytes()
    except OSError:
        raise UsageError(
            f"{path}: is no store (there is no {DESCRIPTION}); make one with: "
            f"atomprint data convert FILES --out {path}"
        ) from None
    return _described(text, str(path))


def _described(text: bytes, path: str) -> Description:
    file = f"{path}/{DESCRIPTION}"
    try:
        values = json_of(text)
    except ValueError:
        raise DataError(
            f"{file}: is no JSON; repair it with: atomprint data validate {path} --repair"
        ) from None
    if isinstance(values, dict) and isinstance(n := values.get("format"), int) and n > FORMAT:
        raise DataError(f"{file}: has format {n}, this atomprint reads {FORMAT}; install a newer")
    try:
        return Description.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{file}: {place or 'content'}: {first['msg']}; repair the file") from None


def shard_paths(path: Path) -> list[Path]:
    """Shards of a store in their order."""
    return sorted((path / SHARDS).glob(f"*{SUFFIX}"))


def lacking(description: Description) -> str:
    """Why crystals are missing in a store, and what to do; empty if none are."""
    if not description.complete:
        return "is unfinished: what made it was interrupted; give that command again"
    if description.holes:
        return "lacks crystals of damaged shards; give the command that made it again"
    return ""


def refuse_holes(path: Path, description: Description) -> None:
    """Refuse to go on in order where crystals in the midst are gone.

    Raises
    ------
    UsageError
        If shards were set aside.
    """
    if description.holes:
        raise UsageError(
            f"{path}: lacks crystals of damaged shards, which cannot be had by themselves; choose "
            "another --out"
        )


def _again(path: Path | str) -> "Store":
    return Store(path, unfinished=True)


class Store(Measured):
    """Crystals on disk, in a sequence: ``store[7]``, ``len(store)``, ``for crystal in store``.

    Opening reads the shards' headers only. Crystals are made when asked for, from files mapped
    into memory, which all processes of a machine share. It can be sent to other processes.

    Parameters
    ----------
    path
        The store's folder; or its address (``s3://...``, ``gs://...``, ``https://...``,
        ``hf://...``), from where shards are fetched when they are needed, see
        :mod:`atomprint.data.store.remote`.
    unfinished
        Do not warn of a store that lacks crystals because what made it was interrupted.

    Raises
    ------
    UsageError
        If it is no store; of an address, also if a package for it is missing.
    DataError
        If it is not whole, or cannot be reached.

    Warns
    -----
    AtomprintWarning
        If it is unfinished.
    """

    def __init__(self, path: str | os.PathLike[str], *, unfinished: bool = False) -> None:
        self._remote = RemoteShards(path) if isinstance(path, str) and is_remote(path) else None
        self.path: Path | str = Path(path) if self._remote is None else self._remote.url
        try:
            found = self._found(self._remote)
            for file, header in found:
                if name := misfit(header):
                    raise DamagedShard(f"{file}: its {name} is not as atomprint writes it")
        except DamagedShard as error:
            if self._remote is not None:
                raise
            raise DamagedShard(
                f"{error}; repair the store with: atomprint data validate {self.path} --repair"
            ) from None
        # A shard without crystals only says what was left out.
        self._files = [file for file, header in found if header.n_crystals]
        self._headers = [header for _, header in found if header.n_crystals]
        self._stops = np.cumsum([header.n_crystals for header in self._headers], dtype=np.int64)
        self._arrays: OrderedDict[int, dict[str, AnyArray]] = OrderedDict()
        self._opened: OrderedDict[int, dict[str, Rows]] = OrderedDict()
        self._checked: set[int] = set()
        self._lock = RLock()
        self._labels = [self._labels_of(header) for header in self._headers]
        self._sources = [f"{Path(self.path).name}/{file.name}" for file in self._files]
        n_bytes = sum(header.n_bytes for header in self._headers)
        self._is_large = n_bytes > _MOST_MAPPED and hasattr(os, "pread")
        if not unfinished and (reason := lacking(self.description)):
            warnings.warn(f"{self.path}: {reason}", AtomprintWarning, stacklevel=2)

    def _found(self, remote: RemoteShards | None) -> list[tuple[Path, Header]]:
        """Read the description and every shard's header."""
        if remote is None:
            self.description = read_description(Path(self.path))
            files = shard_paths(Path(self.path))
            for file in lost_shards(Path(self.path), self.description, files):
                raise DamagedShard(f"{file}: {LOST}")
            return [(file, read_header(file)) for file in files]
        text = remote.description()
        if text is None:
            raise UsageError(f"{self.path}: is no store (there is no {DESCRIPTION})")
        self.description = _described(text, remote.url)
        names = remote.names(self.description.shards)
        pairs = zip(names, remote.headers(names), strict=True)
        return [(Path(name), header) for name, header in pairs]

    def _labels_of(self, header: Header) -> dict[str, tuple[str, list[int] | None]]:
        """Labels of a shard: the column of each, and the shape of its rows."""
        described = self.description
        columns: dict[str, Any] = header.about["labels"]
        found: dict[str, tuple[str, list[int] | None]] = {}
        for name, tail in columns.items():
            if name.endswith(YEARS):
                label = name[: -len(YEARS)]
                if label in described.dates:
                    found[label] = (name, tail)
            elif name not in described.not_labels and name not in described.dates:
                found[name] = (name, tail)
        return found

    def __reduce__(self) -> tuple["Callable[[Path | str], Store]", tuple[Path | str]]:
        """Send the path: the other process maps the files itself, and was warned here."""
        return _again, (self.path,)

    def __len__(self) -> int:
        """Number of crystals."""
        return int(self._stops[-1]) if len(self._stops) else 0

    def __iter__(self) -> Iterator[Crystal]:
        """Yield the crystals in their order."""
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Crystal: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Crystal]: ...
    def __getitem__(self, index: int | slice) -> Crystal | Sequence[Crystal]:
        """Crystal of an index, or a lazy part of the store."""
        if isinstance(index, slice):
            return Selection(self, np.arange(len(self))[index])
        shard, row = self.where(int(index))
        try:
            arrays, labels = self._rows(shard), self._labels[shard]
            return unpack(arrays, labels, row, f"{self._sources[shard]}#{row}")
        except (ValueError, IndexError) as error:
            raise self._damaged(shard, row, error) from None

    def where(self, index: int) -> tuple[int, int]:
        """Number of the shard that a crystal is in, and its row there.

        Raises
        ------
        IndexError
            If there is no such crystal.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path} has {len(self):,} crystals and none at {index}")
        index %= len(self)
        shard = int(np.searchsorted(self._stops, index, side="right"))
        return shard, index - (int(self._stops[shard - 1]) if shard else 0)

    def id_hashes(self) -> npt.NDArray[np.uint64]:
        """Hash of every crystal's id, in their order."""
        found = [self.arrays(shard)["id_hashes"] for shard in range(len(self._files))]
        return np.concatenate(found).astype(np.uint64) if found else np.zeros(0, np.uint64)

    def arrays(self, shard: int) -> dict[str, AnyArray]:
        """Arrays of a shard, mapped into memory."""

        def opened() -> dict[str, AnyArray]:
            arrays = map_arrays(self._local(shard), self._headers[shard])
            self._check(shard, arrays)
            return arrays

        return self._kept(self._arrays, shard, opened, _MAPPED if self._is_large else None)

    def _rows(self, shard: int) -> Mapping[str, AnyArray | Rows]:
        """Arrays of a shard to take rows of: mapped, or, of a large store, read from the file."""
        if not self._is_large:
            return self.arrays(shard)

        def opened() -> dict[str, Rows]:
            self.arrays(shard)  # looked through once
            return open_rows(self._local(shard), self._headers[shard])

        return self._kept(self._opened, shard, opened, _OPENED)

    def _local(self, shard: int) -> Path:
        """File of a shard on this machine."""
        file = self._files[shard]
        if self._remote is None:
            return file
        return self._remote.fetch(file.name, self._headers[shard])

    def _check(self, shard: int, arrays: dict[str, AnyArray]) -> None:
        if shard not in self._checked:
            if reason := contradiction(arrays, self._headers[shard]):
                raise self._damage(shard, reason)
            self._checked.add(shard)

    def _kept(
        self, known: OrderedDict[int, T], shard: int, make: Callable[[], T], most: int | None
    ) -> T:
        """What is known of a shard, else made; what was asked for longest ago is forgotten."""
        with self._lock:
            if shard in known:
                if most is not None:
                    known.move_to_end(shard)
                return known[shard]
            made = make()
            if most is not None and len(known) >= most:
                known.popitem(last=False)
            known[shard] = made
            return made

    def _array(self, file: Path, header: Header, name: str) -> AnyArray:
        """One array of a shard, in memory of its own."""
        if self._remote is not None:
            return self._remote.array(file.name, header, name)
        return read_array(file, header, name)

    @property
    def headers(self) -> list[tuple[Path, Header]]:
        """Every shard's file and header."""
        return list(zip(self._files, self._headers, strict=True))

    def id(self, index: int) -> str:
        """Id of a crystal, without making the crystal."""
        shard, row = self.where(index)
        try:
            return id_at(self._rows(shard), row)
        except (ValueError, IndexError) as error:
            raise self._damaged(shard, row, error) from None

    def _damaged(self, shard: int, row: int, error: Exception) -> DamagedShard:
        return self._damage(shard, f"crystal {row} cannot be read ({error})")

    def _damage(self, shard: int, reason: str) -> DamagedShard:
        return DamagedShard(
            f"{self._files[shard]}: {reason}; look for damage with: atomprint data validate "
            f"{self.path}"
        )

    def ids(self) -> Iterator[str]:
        """Yield all ids in their order."""
        for shard, header in enumerate(self._headers):
            arrays = self.arrays(shard)
            for row in range(header.n_crystals):
                try:
                    yield id_at(arrays, row)
                except (ValueError, IndexError) as error:
                    raise self._damaged(shard, row, error) from None

    @property
    def sizes(self) -> npt.NDArray[np.int32]:
        """Atoms of every crystal, ``(n_crystals,)``."""
        return self._sizes

    @property
    def volumes(self) -> npt.NDArray[np.float64]:
        """Volume of every cell, ``(n_crystals,)``, Å³."""
        return self._volumes

    @cached_property
    def _sizes(self) -> npt.NDArray[np.int32]:
        found = np.empty(len(self), np.int32)
        for shard, (at, file, header) in enumerate(self._places()):
            stops = self._array(file, header, "atom_stops")
            counts = counts_of(stops)
            if int(stops[-1]) != header.n_atoms or counts.min() < 1:
                raise self._damage(shard, f"atom_stops do not add up to {header.n_atoms:,}")
            found[at] = counts
        return found

    @cached_property
    def _volumes(self) -> npt.NDArray[np.float64]:
        found = np.empty(len(self), np.float64)
        for at, file, header in self._places():
            cells = self._array(file, header, "cells").astype(np.float64)
            found[at] = np.abs(np.linalg.det(cells))
        return found

    def _places(self) -> Iterator[tuple[slice, Path, Header]]:
        """Yield every shard with the indices of its crystals."""
        for stop, (file, header) in zip(self._stops, self.headers, strict=True):
            yield slice(int(stop) - header.n_crystals, int(stop)), file, header

    def label_values(self, shard: int) -> Iterator[tuple[str, npt.NDArray[np.float64], int]]:
        """Yield of every label of a shard: name, all known numbers, crystals that have it."""
        arrays = self.arrays(shard)
        for label, (at, tail) in self._labels[shard].items():
            column = arrays[LABEL + at]
            if tail is None:
                known = column[~np.isnan(column)]
                yield label, known, len(known)
            else:
                counts = counts_of(arrays[f"{LABEL}{at}:stops"])
                yield label, column, int((counts > 0).sum())

    @property
    def n_atoms(self) -> int:
        """Number of atoms in all."""
        return sum(header.n_atoms for header in self._headers)

    @property
    def labels(self) -> list[str]:
        """Names of all labels, in order of the alphabet."""
        return sorted({name for labels in self._labels for name in labels})

    @property
    def label_shapes(self) -> dict[str, list[int] | None]:
        """Shape of a row of every label that is an array, None of single numbers."""
        found: dict[str, list[int] | None] = {}
        for labels in self._labels:
            for name, (_, tail) in labels.items():
                found.setdefault(name, tail)
        return dict(sorted(found.items()))

    @property
    def units(self) -> dict[str, str]:
        """Unit of every label; the empty string where none is stated."""
        return {name: self.description.units.get(name, "") for name in self.labels}

    @property
    def provenance(self) -> tuple[Provenance, ...]:
        """Where the crystals are from."""
        return self.description.provenance

    def hash(self) -> str:
        """Short hash of the content, from the shards' checksums; nothing else is read."""
        digest = hashlib.sha256(json.dumps(self.labels).encode())
        for header in self._headers:
            for name in sorted(header.arrays):
                place = header.arrays[name]
                digest.update(f"{name} {place.dtype} {place.shape} {place.crc32};".encode())
        return digest.hexdigest()[:16]
