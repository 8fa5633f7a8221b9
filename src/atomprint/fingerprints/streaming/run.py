"""Reading, computing and committing parts, and going on after a kill."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from atomprint.fingerprints.streaming.job import (
    PART_ATOMS,
    PART_BYTES,
    PART_CRYSTALS,
    Job,
    Part,
    PartInfo,
    make_part,
)
from atomprint.fingerprints.streaming.merge import merge
from atomprint.fingerprints.streaming.parts import PartFolder
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.files import PathInput
from atomprint.structures.reading.result import Problem
from atomprint.structures.reading.stream import CrystalStream, Place, Read

Progress = Callable[[str, int, int, dict[str, float]], None]
Computer = Callable[[Iterator[Part]], Iterator[tuple[PartInfo, bytes]]]


@runtime_checkable
class Source(Protocol):
    """Where crystals are from: what a stream of files offers."""

    problems: list[Problem]
    n_files: int

    def __enter__(self) -> "Source":
        """Open."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""

    def key(self) -> str:
        """Hash of what is read."""

    def read(self, start: Place = (0, 0), known_ids: Iterable[str] = ()) -> Iterator[Read]:
        """Read on from a place."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    out
        The file.
    rows, crystals, atoms
        How many it holds.
    resumed
        Crystals that an earlier, unfinished command had done.
    seconds
        This command's time, reading included.
    problems
        What was left out, each with file, id and reason.
    """

    out: Path
    rows: int
    crystals: int
    atoms: int
    resumed: int
    seconds: float
    problems: list[Problem] = field(default_factory=list)

    @property
    def crystals_per_second(self) -> float:
        """Of this command, without what was done before."""
        return (self.crystals - self.resumed) / max(self.seconds, 1e-9)


def stream(
    job: Job,
    paths: "PathInput | Sequence[PathInput] | Source",
    out: Path,
    *,
    threads: int | None = None,
    workers: int = 1,
    ray: str | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Write the fingerprints of any number of crystals, in bounded memory.

    Killed at any moment, the same call goes on where it stood: parts that are done are neither
    redone nor lost. The file is the same, bit for bit, whatever computes it.

    Parameters
    ----------
    job
        What to compute.
    paths
        Files, folders, patterns or archives of crystals, or a source of crystals.
    out
        A .parquet, .csv, .npz or .npy; unfinished work is in the folder ``OUT.parts`` beside it.
    threads
        Of this process; worker processes have one each.
    workers
        Processes that compute; 1 computes in this one.
    ray
        Address of a Ray cluster that computes (``auto``, ``local``, ``ray://host:10001``).
    strict
        Refuse if anything is left out on reading.
    progress
        Called as ``progress(stage, done, total, numbers)``.

    Raises
    ------
    UsageError
        If something cannot be, or the folder of unfinished work belongs to something else.
    DataError
        If no crystal could be read; with ``strict``, if one could not.
    """
    started = time.perf_counter()
    if workers < 1:
        raise UsageError(f"workers={workers} is not above 0; leave it out for one")
    compute_parts = _computer(job, threads, workers, ray)
    with paths if isinstance(paths, Source) else CrystalStream(paths) as source:
        about = {**job.plain(), "inputs": source.key()}
        folder = PartFolder(out, about)
        try:
            if folder.summary is not None and out.is_file():
                return _earlier(folder, out)
            run = _Run(job, source, folder, strict, progress or _ignore, started)
            for info, data in compute_parts(run.parts()):
                folder.add(info.index, data)
                run.count(info)
            return run.finish(out)
        finally:
            folder.close()


def _ignore(stage: str, done: int, total: int, numbers: dict[str, float]) -> None:
    """Take progress and do nothing."""


def _computer(job: Job, threads: int | None, workers: int, ray: str | None) -> Computer:
    """Choose what computes parts: this process, some processes, or a cluster."""
    if ray is not None:
        from atomprint.fingerprints.streaming.on_ray import on_ray

        return on_ray(job, ray)
    if workers > 1:
        from atomprint.fingerprints.streaming.processes import on_processes

        return on_processes(job, workers)

    def here(parts: Iterator[Part]) -> Iterator[tuple[PartInfo, bytes]]:
        for part in parts:
            yield part.info, make_part(job, part, threads)

    return here


def _earlier(folder: PartFolder, out: Path) -> Written:
    """Clean up after a command that was killed when all but that was done."""
    summary: dict[str, Any] = dict(folder.summary or {})
    problems = [Problem(**problem) for problem in summary.pop("problems")]
    folder.remove()
    return Written(out, **summary, resumed=summary["crystals"], seconds=0.0, problems=problems)


class _Run:
    """One command at work: what is read, what is done, what was left out."""

    def __init__(
        self, job: Job, source: Source, folder: PartFolder, strict: bool,
        progress: Progress, started: float,
    ) -> None:  # fmt: skip
        self.job, self.source, self.folder, self.strict = job, source, folder, strict
        self.progress, self.started = progress, started
        self.infos: dict[int, PartInfo] = {}
        self.n_read = self.n_done = self.atoms_done = self.resumed = 0
        self.late: list[Problem] = []

    def parts(self) -> Iterator[Part]:
        """Read, cut into parts, and hand on those that are not done."""
        self.progress("read", 0, self.source.n_files, {})
        place: Place = (0, 0)
        ids: set[str] = set()
        for info in self.folder.done():
            ids |= self.folder.ids(info.index)
            place = info.end
            self._known(info)
        self._refuse(self.source.problems)
        for info in self.infos.values():
            self._refuse(info.problems)
        yield from self._cut(place, ids)

    def _cut(self, start: Place, ids: set[str]) -> Iterator[Part]:
        crystals: list[Crystal] = []
        problems: list[Problem] = []
        # Since the last crystal: they belong to the part of the next one.
        pending: list[Problem] = []
        atoms, file, index = 0, start[0], len(self.infos)
        end = start
        per_atom = self.job.rows_per == "atom"
        for read in self.source.read(start, ids):
            if read.after[0] != file:
                file = read.after[0]
                self.progress("read", file, self.source.n_files, {})
            if isinstance(read.item, Problem):
                self._refuse([read.item])
                pending.append(read.item)
                continue
            n = read.item.n_atoms
            rows = atoms + n if per_atom else len(crystals) + 1
            full = (
                len(crystals) == PART_CRYSTALS
                or atoms + n > PART_ATOMS
                or rows * self.job.row_bytes() > PART_BYTES
            )
            if crystals and full:
                info = PartInfo(index, start, end, len(crystals), atoms, tuple(problems))
                yield from self._hand_on(Part(info, crystals))
                index, start, crystals, problems, atoms = index + 1, end, [], [], 0
            crystals.append(read.item)
            problems += pending
            atoms, end, pending = atoms + n, read.after, []
            self.n_read += 1
        if crystals:
            info = PartInfo(index, start, end, len(crystals), atoms, tuple(problems))
            yield from self._hand_on(Part(info, crystals))
        self.late = pending
        self.progress("read", self.source.n_files, self.source.n_files, {})

    def _hand_on(self, part: Part) -> Iterator[Part]:
        """Pass over a part that an earlier command did out of turn."""
        known = self.folder.info(part.info.index)
        if known == part.info:
            self.n_read -= part.info.n_crystals
            self._known(known)
        else:
            yield part

    def _known(self, info: PartInfo) -> None:
        self.infos[info.index] = info
        self.n_read += info.n_crystals
        self.n_done += info.n_crystals
        self.resumed += info.n_crystals

    def _refuse(self, problems: Sequence[Problem]) -> None:
        if self.strict and problems:
            raise DataError(f"{problems[0]}")

    def count(self, info: PartInfo) -> None:
        """A part is done: say so, with the rate."""
        self.infos[info.index] = info
        self.n_done += info.n_crystals
        self.atoms_done += info.n_atoms
        seconds = time.perf_counter() - self.started
        rates = {
            "crystals/s": (self.n_done - self.resumed) / seconds,
            "atoms/s": self.atoms_done / seconds,
        }
        self.progress("fingerprint", self.n_done, self.n_read, rates)

    def finish(self, out: Path) -> Written:
        """Merge the parts, and remove them."""
        infos = [self.infos[index] for index in range(len(self.infos))]
        problems = [*self.source.problems, *(p for info in infos for p in info.problems)]
        problems += self.late
        if not infos:
            self.folder.remove()
            first = f"; the first: {problems[0]}" if problems else ""
            raise DataError(f"no crystal could be read{first}")
        files = [self.folder.file(info.index) for info in infos]
        rows = merge(self.job, files, out, self.folder.path / f"merged{out.suffix}.tmp")
        counts = {
            "rows": rows,
            "crystals": sum(info.n_crystals for info in infos),
            "atoms": sum(info.n_atoms for info in infos),
        }
        self.folder.finish({**counts, "problems": [asdict(problem) for problem in problems]})
        self.folder.remove()
        self.progress("fingerprint", counts["crystals"], counts["crystals"], {})
        seconds = time.perf_counter() - self.started
        return Written(out, **counts, resumed=self.resumed, seconds=seconds, problems=problems)
