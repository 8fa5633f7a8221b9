"""What is fuzzed: functions of bytes that must end well, or with one of atomprint's errors."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from atomprint.api import load_config
from atomprint.data.store import Store
from atomprint.data.store.stats import store_stats
from atomprint.data.store.store import DESCRIPTION, SHARDS, Description
from atomprint.data.store.validate import validate_store
from atomprint.ground.errors import AtomprintError
from atomprint.heads.saved import load_model
from atomprint.structures.reading import ReadResult, read_crystals
from fuzz.seeds import poscar

Check = Callable[[bytes], None]


class Surprise(AssertionError):
    """The code itself says that it met what it did not expect."""


def allowed(do: Callable[[], Any]) -> Any:
    """Do something that may end with one of atomprint's errors, which must be one sentence."""
    try:
        return do()
    except AtomprintError as error:
        text = str(error)
        if "Traceback" in text or not text.strip():
            raise Surprise(f"no sentence: {text!r}") from None
        return None


def sound(result: ReadResult | None) -> None:
    """Crystals that were read are crystals; nothing was left out for an unforeseen reason."""
    if result is None:
        return
    for problem in result.problems:
        if "unexpected" in problem.reason:
            raise Surprise(problem.reason)
    for crystal in result.crystals:
        if not (np.isfinite(crystal.positions).all() and crystal.volume > 0):
            raise Surprise(f"a crystal that is none: {crystal.id}")


DISORDERED = (".cif", ".json")
"""Formats of which orderings are drawn."""


def reading(suffix: str) -> Callable[[Path], Check]:
    """Read a file of a format."""

    def make(folder: Path) -> Check:
        path = folder / f"input{suffix}"

        def check(data: bytes) -> None:
            path.write_bytes(data)
            sound(allowed(lambda: read_crystals(path)))
            if suffix in DISORDERED:
                sound(allowed(lambda: read_crystals(path, ordering=0)))

        return check

    return make


def labels(folder: Path) -> Check:
    """Join a table of labels to crystals."""
    crystals = folder / "crystals"
    crystals.mkdir(exist_ok=True)
    for name in "abc":
        (crystals / f"{name}.vasp").write_bytes(poscar()[0])
    path = folder / "labels.csv"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        sound(allowed(lambda: read_crystals(crystals, labels=path)))

    return check


def store(folder: Path) -> Check:
    """Open, draw from, describe and validate a store of one shard, as it is and resealed."""
    path = folder / "s"
    (path / SHARDS).mkdir(parents=True, exist_ok=True)
    (path / DESCRIPTION).write_text(json.dumps(Description().model_dump(mode="json")))
    shard = path / SHARDS / "00000000.shard"

    def look() -> None:
        opened = Store(path)
        for index in range(min(len(opened), 20)):
            # The errors of one crystal are not those of the next.
            allowed(lambda index=index: opened[index])
        allowed(lambda: list(zip(range(20), opened.ids(), strict=False)))
        allowed(lambda: store_stats(opened))

    def check(data: bytes) -> None:
        for content in (data, resealed(data)):
            shard.write_bytes(content)
            allowed(look)
            allowed(lambda: validate_store(path))

    return check


def resealed(data: bytes) -> bytes:
    """Give a changed header its checksum: damage is told by it, malice is not."""
    if len(data) < 24:
        return data
    length = min(int.from_bytes(data[16:24], "little"), len(data) - 24)
    checksum = zlib.crc32(data[8:12] + data[24 : 24 + length])
    sizes = checksum.to_bytes(4, "little") + length.to_bytes(8, "little")
    return data[:12] + sizes + data[24:]


def checkpoint(folder: Path) -> Check:
    """Load a model; ``model.json`` and the weights are what a stranger gave."""

    def check(data: bytes) -> None:
        length = min(int.from_bytes(data[:4], "little"), len(data))
        (folder / "model.json").write_bytes(data[4 : 4 + length])
        (folder / "model.safetensors").write_bytes(data[4 + length :])
        allowed(lambda: load_model(folder))

    return check


def settings(folder: Path) -> Check:
    """Read a settings file."""
    path = folder / "settings.yaml"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        allowed(lambda: load_config(path))

    return check


TARGETS: dict[str, Callable[[Path], Check]] = {
    "cif": reading(".cif"),
    "poscar": reading(".vasp"),
    "extxyz": reading(".extxyz"),
    "json": reading(".json"),
    "store": store,
    "checkpoint": checkpoint,
    "yaml": settings,
    "labels": labels,
    "table": reading(".csv"),
    "archive": reading(".zip"),
}
