"""Building a corpus of parts: so many crystals of each source, store or file, in one store.

Every part becomes a store of its own first, by the same resumable means as a single fetch; then
crystals are drawn from each by a seed and written in a fixed order. So the store is a function of
the mix, the number and the parts, however often it was interrupted.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree

import numpy as np
from pydantic import Field, field_validator, model_validator

from atomprint.data.embedded import CORPUS
from atomprint.data.sources import FilesSettings, SourceBase, SourceSettings, Surroundings
from atomprint.data.sources.catalogue import EMBEDDED
from atomprint.data.sources.fetch import fetch
from atomprint.data.sources.web import Web
from atomprint.data.store import Provenance, Store, StoreWriter, is_store
from atomprint.data.store.store import read_description, refuse_holes
from atomprint.data.store.writer import write_text
from atomprint.ground.cluster import connected
from atomprint.ground.errors import DataError, UsageError
from atomprint.ground.settings import Settings

PARTS = ".parts"
"""Folder in the store that holds the parts while they are gathered."""
RECORD = "mix.json"
"""File in the store that says what it was made of."""

Progress = Callable[[str, int, int], None]
_EVERY = 1000


class Part(Settings):
    """One part of a mix: a path, or a source."""

    weight: float = Field(1.0, gt=0, description="its share, in any unit")
    path: str = Field(
        "", description="a store, or a file, folder or archive of crystals, or the word embedded"
    )
    source: SourceSettings | None = Field(
        None, description="a source, as atomprint corpus fetch takes it, with its kind"
    )
    pool: int | None = Field(
        None,
        ge=1,
        description="crystals to get from a source, of which as many as are needed are drawn at "
        "random; none: just as many as are needed, the first that come",
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> "Part":
        if bool(self.path) == (self.source is not None):
            raise ValueError("a part needs a path or a source, and not both")
        return self


class MixSettings(Settings):
    """A file for `atomprint corpus build`: what a corpus is made of."""

    parts: dict[str, Part] = Field(min_length=1, description="parts by name; names become ids")
    seed: int = Field(0, ge=0, description="of the choice of crystals")

    @field_validator("parts")
    @classmethod
    def _names_are_names(cls, parts: dict[str, Part]) -> dict[str, Part]:
        for name in parts:
            if not name or name.startswith(".") or "/" in name or "\\" in name:
                raise ValueError(f"{name!r} is no name for a part; give letters and numbers")
        return parts


@dataclass(frozen=True)
class Taken:
    """What a part gave.

    Attributes
    ----------
    name
        Of the part.
    asked, taken
        Crystals that its share comes to, and that it had.
    provenance
        Where they are from.
    """

    name: str
    asked: int
    taken: int
    provenance: tuple[Provenance, ...]


@dataclass(frozen=True)
class Built:
    """A corpus that was built.

    Attributes
    ----------
    store
        The store.
    parts
        What each part gave.
    resumed
        Crystals that an earlier, interrupted call had written.
    """

    store: Store
    parts: list[Taken]
    resumed: int = 0


def quotas(weights: Sequence[float], n: int) -> list[int]:
    """Whole numbers in proportion to weights, in sum ``n``: the largest remainders round up."""
    exact = np.asarray(weights, np.float64) / np.sum(weights) * n
    found = np.floor(exact).astype(int)
    order = np.argsort(-(exact - found), kind="stable")
    found[order[: n - int(found.sum())]] += 1
    return [int(value) for value in found]


def build(
    mix: MixSettings,
    n: int,
    out: str | Path,
    *,
    workers: int = 1,
    ray: str = "",
    tell: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Built:
    """Build a corpus; the same call goes on after an interruption, to the same store.

    Parameters
    ----------
    mix
        Its parts.
    n
        Crystals in all; fewer if a part has not as many as its share.
    out
        The store's folder.
    workers
        Parts that are gathered at once, and processes of the generator.
    ray
        Address of a Ray cluster that computes what is generated; empty for none.
    tell
        Called with a sentence when a server has to be waited for.
    progress
        Called as ``progress(stage, done, total)``.

    Raises
    ------
    UsageError
        If ``out`` is a store of something else, or a part cannot be had.
    DataError
        If a source cannot be reached, or there is no crystal.
    """
    out = Path(out)
    shares = dict(
        zip(mix.parts, quotas([part.weight for part in mix.parts.values()], n), strict=True)
    )
    inputs = _identity(mix, n)
    if is_store(out):
        old = read_description(out)
        if old.inputs != inputs:
            raise UsageError(_why_not(out, mix, n, old.inputs))
        refuse_holes(out, old)
        if old.complete:
            store = Store(out)
            return Built(store, read_record(out), len(store))
    job = _Build(mix, out, workers, ray, tell, progress or _ignore)
    # One connection for all parts, of which each would close its own.
    with connected(ray) if ray else nullcontext():
        stores = job.gather(shares)
    taken = [
        Taken(name, shares[name], min(shares[name], len(store)), store.provenance)
        for name, store in stores.items()
    ]
    if not any(part.taken for part in taken):
        raise DataError(f"{out}: there is no crystal in any part; raise --n")
    with StoreWriter(
        out, exact=any(store.description.exact for store in stores.values())
    ) as writer:
        known = [part for one in taken if one.taken for part in one.provenance]
        writer.describe(inputs=inputs, complete=False, provenance=tuple(dict.fromkeys(known)))
        resumed = len(writer.seen)
        record = [
            {
                "name": one.name,
                "asked": one.asked,
                "taken": one.taken,
                "part": mix.parts[one.name].model_dump(mode="json"),
                "provenance": [part.model_dump() for part in one.provenance],
            }
            for one in taken
        ]
        write_text(
            out / RECORD, json.dumps({"n": n, "seed": mix.seed, "parts": record}, indent=1) + "\n"
        )
        job.write(writer, stores, shares, resumed)
        writer.commit()
        writer.describe(complete=True)
    rmtree(out / PARTS, ignore_errors=True)
    return Built(Store(out), taken, resumed)


def read_record(out: Path) -> list[Taken]:
    """What the parts of a corpus gave."""
    try:
        parts = json.loads((out / RECORD).read_text(encoding="utf-8"))["parts"]
        return [
            Taken(
                part["name"],
                part["asked"],
                part["taken"],
                tuple(Provenance(**one) for one in part["provenance"]),
            )
            for part in parts
        ]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{out / RECORD}: cannot be read; build the corpus anew") from None


def _ignore(stage: str, done: int, total: int) -> None:
    """Take progress and do nothing."""


def _identity(mix: MixSettings, n: int) -> str:
    stores = [Store(p.path).hash() for p in mix.parts.values() if p.path and is_store(p.path)]
    text = json.dumps([mix.model_dump(mode="json"), n, stores])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _why_not(out: Path, mix: MixSettings, n: int, inputs: str) -> str:
    """Say why a mix does not go into a store that is there."""
    try:
        before = json.loads((out / RECORD).read_text(encoding="utf-8"))["n"]
        only_n = _identity(mix, before) == inputs
    except (OSError, ValueError, KeyError, TypeError):
        only_n = False
    if only_n:
        # Which crystals are drawn depends on the number: the store cannot be added to.
        return (
            f"{out}: is of this mix with --n {before}, and cannot be made one with --n {n}; give "
            "the same number, or choose another --out"
        )
    return f"{out}: is a store of something else (or the mix has changed); choose another --out"


class _Stopped(Exception):
    """Another part failed, or the user has had enough."""


class _Build:
    """Gathering parts, and drawing from them."""

    def __init__(
        self,
        mix: MixSettings,
        out: Path,
        workers: int,
        ray: str,
        tell: Callable[[str], None] | None,
        progress: Progress,
    ) -> None:
        self.mix, self.out, self.workers, self.ray = mix, out, workers, ray
        self.tell, self.progress = tell, progress
        self._stop = threading.Event()

    def gather(self, shares: Mapping[str, int]) -> dict[str, Store]:
        """Stores of all parts that are asked for anything, several at once."""
        names = [name for name, share in shares.items() if share]
        if self.workers == 1 or len(names) == 1:
            return {name: self._store(name, shares[name]) for name in names}
        with ThreadPoolExecutor(self.workers) as pool:
            futures = {name: pool.submit(self._store, name, shares[name]) for name in names}
            try:
                return {name: future.result() for name, future in futures.items()}
            except BaseException:
                self._stop.set()
                for future in futures.values():
                    future.cancel()
                raise

    def _store(self, name: str, share: int) -> Store:
        part = self.mix.parts[name]
        if part.path and is_store(part.path):
            return Store(part.path)
        source = part.source or _files(part.path)
        # Files are at hand, and often sorted: all of them are read, and drawn from.
        wanted = None if isinstance(source, FilesSettings) else share
        if part.pool is not None:
            wanted = max(part.pool, share)

        def count(done: int, total: int) -> None:
            if self._stop.is_set():
                raise _Stopped
            self.progress(name, done, total)

        def download(file: str, done: int, total: int) -> None:
            if self._stop.is_set():
                raise _Stopped
            self.progress(f"{name}: {file}", done, total)

        around = Surroundings(
            Web(per_second=source.per_second, tell=self.tell),
            progress=download,
            workers=self.workers,
            ray=self.ray,
        )
        return fetch(source, self.out / PARTS / name, wanted, around, count).store

    def write(
        self, writer: StoreWriter, stores: Mapping[str, Store], shares: Mapping[str, int], skip: int
    ) -> None:
        """Write what was drawn, part after part, but for what is there already."""
        total = sum(min(shares[name], len(store)) for name, store in stores.items())
        done = 0
        for number, (name, store) in enumerate(stores.items()):
            rng = np.random.default_rng((self.mix.seed, 7, number))
            n_taken = min(shares[name], len(store))
            for index in np.sort(rng.choice(len(store), n_taken, replace=False)):
                done += 1
                if done > skip:
                    crystal = store[int(index)]
                    writer.add(replace(crystal, id=f"{name}/{crystal.id}", labels={}))
                if done % _EVERY == 0 or done == total:
                    self.progress("write", done, total)


def _files(path: str) -> SourceBase:
    """A path as a source; what comes with the package says where it is from."""
    if path == "embedded" and not Path(path).exists():
        return FilesSettings(
            path=str(CORPUS),
            source="atomprint's embedded corpus",
            licence=EMBEDDED.licence,
            citation=EMBEDDED.citation,
        )
    return FilesSettings(path=path)
