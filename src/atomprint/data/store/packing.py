"""Crystals as flat arrays of a shard, and back."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from atomprint.data.store.layout import Header, Rows
from atomprint.ground.elements import MAX_Z
from atomprint.ground.errors import DataError
from atomprint.structures.crystal import Crystal, LabelValue

AnyArray = npt.NDArray[Any]
LABEL = "label:"
_MAX_ATOMS = 2**32 - 1
_MAX_ROW = 2**20


def hash_id(id: str) -> int:
    """64-bit hash of an id: two of a billion ids collide with a probability of 3 %."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "little")


def pack(
    crystals: Sequence[Crystal], exact: bool, where: str
) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """Flat arrays of some crystals, and what a header must say of their labels.

    Arrays
    ------
    ``atom_stops`` (n,), ``numbers`` (n_atoms,), ``cells`` (n, 3, 3) in Å, ``positions``
    (n_atoms, 3) in Å, ``ids`` and ``id_stops`` (UTF-8), ``id_hashes`` (n,), and of every label
    ``label:NAME``: (n,) numbers, NaN where missing; or, of labels with several numbers, all of
    them one after the other, with ``label:NAME:stops`` (n,).

    Parameters
    ----------
    crystals
        At least one.
    exact
        Keep geometry in float64.
    where
        For messages.

    Raises
    ------
    DataError
        If a label is a number in one crystal and an array in another, or arrays differ in shape.
    """
    real = np.float64 if exact else np.float32
    ids = [crystal.id.encode() for crystal in crystals]
    atom_stops = np.cumsum([crystal.n_atoms for crystal in crystals])
    if atom_stops[-1] > _MAX_ATOMS:
        raise DataError(f"{where}: {atom_stops[-1]:,} atoms are too many for one shard")
    arrays: dict[str, AnyArray] = {
        "atom_stops": atom_stops.astype(np.uint32),
        "numbers": np.concatenate([c.numbers for c in crystals]).astype(np.uint8),
        "cells": np.stack([c.cell for c in crystals]).astype(real),
        "positions": np.concatenate([c.positions for c in crystals]).astype(real),
        "ids": np.frombuffer(b"".join(ids), np.uint8),
        "id_stops": np.cumsum([len(id) for id in ids]).astype(np.uint32),
        "id_hashes": np.array([hash_id(c.id) for c in crystals], np.uint64),
    }
    tails: dict[str, list[int] | None] = {}
    for name in sorted({name for crystal in crystals for name in crystal.labels}):
        values = [crystal.labels.get(name) for crystal in crystals]
        tails[name] = _pack_label(name, values, arrays, where)
    return arrays, {"labels": tails, "n_crystals": len(crystals), "n_atoms": int(atom_stops[-1])}


def misfit(header: Header) -> str:
    """What in a shard's header is not as :func:`pack` makes it; empty if nothing.

    Damage is told by checksums; this is for a stranger's file, whose checksums may be right.
    """
    n, n_atoms = header.n_crystals, header.n_atoms
    if not n:
        return ""
    real = ("<f4", "<f8")
    wanted: dict[str, tuple[tuple[int | None, ...], tuple[str, ...]]] = {
        "atom_stops": ((n,), ("<u4",)),
        "numbers": ((n_atoms,), ("|u1",)),
        "cells": ((n, 3, 3), real),
        "positions": ((n_atoms, 3), real),
        "ids": ((None,), ("|u1",)),
        "id_stops": ((n,), ("<u4",)),
        "id_hashes": ((n,), ("<u8",)),
    }
    labels = header.about.get("labels")
    if not isinstance(labels, dict):
        return "labels"
    if not isinstance(header.about.get("units", {}), dict):
        return "units"
    for name, tail in labels.items():
        if name != name.encode("utf-8", "replace").decode():
            return "labels"
        if tail is None:
            wanted[LABEL + name] = ((n,), ("<f8",))
            continue
        if not isinstance(tail, list) or not all(type(m) is int and 0 < m < _MAX_ROW for m in tail):
            return f"label {name}"
        wanted[LABEL + name] = ((None,), ("<f8",))
        wanted[f"{LABEL}{name}:stops"] = ((n,), ("<u4",))
    for name, (shape, dtypes) in wanted.items():
        place = header.arrays.get(name)
        if place is None or place.dtype not in dtypes or len(place.shape) != len(shape):
            return name
        if any(b is not None and a != b for a, b in zip(place.shape, shape, strict=True)):
            return name
    return ""


def _pack_label(
    name: str, values: Sequence[LabelValue | None], arrays: dict[str, AnyArray], where: str
) -> list[int] | None:
    """Add the arrays of a label; return the shape of a row of it, None of single numbers."""
    known = [value for value in values if value is not None]
    shapes = {value.shape[1:] if isinstance(value, np.ndarray) else None for value in known}
    if len(shapes) > 1:
        raise DataError(
            f"{where}: label {name!r} has one shape in some crystals and another in others; "
            "give them different names"
        )
    shape = shapes.pop()
    if shape is None:
        column = [np.nan if value is None else value for value in values]
        arrays[LABEL + name] = np.array(column, np.float64)
        return None
    flat = [np.zeros(0) if v is None else np.asarray(v, np.float64).ravel() for v in values]
    arrays[LABEL + name] = np.concatenate(flat)
    arrays[f"{LABEL}{name}:stops"] = np.cumsum([len(row) for row in flat]).astype(np.uint32)
    return list(shape)


def unpack(
    arrays: Mapping[str, AnyArray | Rows],
    labels: Mapping[str, tuple[str, list[int] | None]],
    row: int,
    source: str,
) -> Crystal:
    """Crystal of a row of a shard.

    Parameters
    ----------
    arrays
        Of the shard.
    labels
        Those wanted: of each its column, and the shape of its rows, None of single numbers.
    row
        In the shard.
    source
        Of the crystal, for messages.
    """
    start, stop = _bounds(arrays["atom_stops"], row, len(arrays["numbers"]))
    found: dict[str, LabelValue] = {}
    for name, (at, tail) in labels.items():
        column = arrays[LABEL + at]
        if tail is None:
            value = float(column[row])
            if value == value:
                found[name] = value
            continue
        first, last = _bounds(arrays[f"{LABEL}{at}:stops"], row, len(column))
        if last > first:
            found[name] = column[first:last].reshape(-1, *tail).astype(np.float64)
    return Crystal(
        id_at(arrays, row),
        arrays["numbers"][start:stop].astype(np.int64),
        arrays["positions"][start:stop].astype(np.float64),
        arrays["cells"][row].astype(np.float64),
        found,
        source,
    )


def id_at(arrays: Mapping[str, AnyArray | Rows], row: int) -> str:
    """Id of a row."""
    start, stop = _bounds(arrays["id_stops"], row, len(arrays["ids"]))
    return bytes(arrays["ids"][start:stop]).decode()


def counts_of(stops: AnyArray) -> npt.NDArray[np.int64]:
    """How many belong to each row, from where each row's end."""
    ends: npt.NDArray[np.int64] = stops.astype(np.int64)
    starts = np.zeros_like(ends)
    starts[1:] = ends[:-1]
    return ends - starts


def contradiction(arrays: Mapping[str, AnyArray], header: Header) -> str:
    """What in a shard cannot be, though its header fits: where rows end, and elements; else empty.

    Cheap enough for every shard that is opened: what is counted with and indexed by is right then.
    """
    lengths = {"atom_stops": header.n_atoms, "id_stops": len(arrays["ids"])}
    for name in arrays:
        if name.startswith(LABEL) and name.endswith(":stops"):
            lengths[name] = len(arrays[name[: -len(":stops")]])
    for name, total in lengths.items():
        stops = arrays[name]
        if int(stops[-1]) != total or (stops[1:] < stops[:-1]).any():
            return f"{name} do not add up to {total:,}"
    stops = arrays["atom_stops"]
    if int(stops[0]) < 1 or (stops[1:] == stops[:-1]).any():
        return "it has a crystal without atoms"
    numbers = arrays["numbers"]
    if numbers.min() < 1 or numbers.max() > MAX_Z:
        return f"it has atomic numbers that are none (1 to {MAX_Z})"
    return ""


def _bounds(stops: AnyArray | Rows, row: int, n: int) -> tuple[int, int]:
    """Where a row's part of ``n`` values begins and ends."""
    start, stop = int(stops[row - 1]) if row else 0, int(stops[row])
    if not start <= stop <= n:
        raise ValueError(f"its values would lie from {start} to {stop} of {n}")
    return start, stop
