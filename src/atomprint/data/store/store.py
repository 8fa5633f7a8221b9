"""A store: any number of crystals on disk that behave like a list of them and cost no memory."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

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
    map_arrays,
    read_array,
    read_header,
)
from atomprint.data.store.packing import LABEL, counts_of, id_at, misfit, unpack
from atomprint.ground.documents import json_of
from atomprint.ground.errors import DataError, UsageError
from atomprint.ground.settings import Settings
from atomprint.structures.crystal import Crystal

DESCRIPTION = "store.json"
SHARDS = "shards"
FORMAT = 1


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
    inputs: str = Field("", description="hash of the files that an unfinished conversion reads")
    complete: bool = Field(True, description="whether a conversion into it has ended")


def is_store(path: object) -> bool:
    """Whether a path is the folder of a store."""
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
    file = path / DESCRIPTION
    try:
        values = json_of(file.read_text(encoding="utf-8"))
    except OSError:
        raise UsageError(
            f"{path}: is no store (there is no {DESCRIPTION}); make one with: "
            f"atomprint data convert FILES --out {path}"
        ) from None
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


class Store(Measured):
    """Crystals on disk, in a sequence: ``store[7]``, ``len(store)``, ``for crystal in store``.

    Opening reads the shards' headers only. Crystals are made when asked for, from files mapped
    into memory, which all processes of a machine share. It can be sent to other processes.

    Parameters
    ----------
    path
        The store's folder.

    Raises
    ------
    UsageError
        If it is no store.
    DataError
        If it is not whole.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.description = read_description(self.path)
        try:
            found = [(file, read_header(file)) for file in shard_paths(self.path)]
            for file, header in found:
                if header.n_crystals and (name := misfit(header)):
                    raise DamagedShard(f"{file}: its {name} is not as atomprint writes it")
        except DamagedShard as error:
            raise DamagedShard(
                f"{error}; repair the store with: atomprint data validate {self.path} --repair"
            ) from None
        # A shard without crystals only says what was left out.
        self._files = [file for file, header in found if header.n_crystals]
        self._headers = [header for _, header in found if header.n_crystals]
        self._stops = np.cumsum([header.n_crystals for header in self._headers], dtype=np.int64)
        self._arrays: dict[int, dict[str, AnyArray]] = {}
        self._labels = [self._labels_of(header) for header in self._headers]

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

    def __reduce__(self) -> tuple[type["Store"], tuple[Path]]:
        """Send the path: the other process maps the files itself."""
        return Store, (self.path,)

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
        name = f"{self.path.name}/{self._files[shard].name}#{row}"
        try:
            return unpack(self.arrays(shard), self._labels[shard], row, name)
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

    def arrays(self, shard: int) -> dict[str, AnyArray]:
        """Arrays of a shard, mapped into memory."""
        if shard not in self._arrays:
            self._arrays[shard] = map_arrays(self._files[shard], self._headers[shard])
        return self._arrays[shard]

    @property
    def headers(self) -> list[tuple[Path, Header]]:
        """Every shard's file and header."""
        return list(zip(self._files, self._headers, strict=True))

    def id(self, index: int) -> str:
        """Id of a crystal, without making the crystal."""
        shard, row = self.where(index)
        try:
            return id_at(self.arrays(shard), row)
        except (ValueError, IndexError) as error:
            raise self._damaged(shard, row, error) from None

    def _damaged(self, shard: int, row: int, error: Exception) -> DamagedShard:
        return DamagedShard(
            f"{self._files[shard]}: crystal {row} cannot be read ({error}); look for damage with: "
            f"atomprint data validate {self.path}"
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
        for at, file, header in self._places():
            found[at] = counts_of(read_array(file, header, "atom_stops"))
        return found

    @cached_property
    def _volumes(self) -> npt.NDArray[np.float64]:
        found = np.empty(len(self), np.float64)
        for at, file, header in self._places():
            cells = read_array(file, header, "cells").astype(np.float64)
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
