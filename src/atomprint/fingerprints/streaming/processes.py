"""Parts computed by several processes of this machine."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from atomprint.fingerprints.streaming.job import Job, Part, PartInfo, job_text, make_part_of
from atomprint.ground.errors import AtomprintError
from atomprint.ground.processes import end_with_parent

# Parts in work or waiting, for each process: one to compute, one to begin with at once.
_AHEAD = 2


def on_processes(
    job: Job, n_workers: int
) -> Callable[[Iterator[Part]], Iterator[tuple[PartInfo, bytes]]]:
    """Compute parts on processes, in whatever order they are done.

    Reading waits for the processes, so that no more than two parts a process are in memory.

    Raises
    ------
    AtomprintError
        If a process was killed (by the system, for memory).
    """
    text = job_text(job)

    def compute(parts: Iterator[Part]) -> Iterator[tuple[PartInfo, bytes]]:
        jobs: dict[Future[bytes], PartInfo] = {}
        # Not forked: a fork of a process with threads may hang.
        with ProcessPoolExecutor(
            n_workers, mp_context=get_context("spawn"), initializer=end_with_parent
        ) as pool:
            try:
                for part in parts:
                    jobs[pool.submit(make_part_of, text, part)] = part.info
                    if len(jobs) >= _AHEAD * n_workers:
                        yield from _collect(jobs)
                while jobs:
                    yield from _collect(jobs)
            except BrokenProcessPool:
                raise AtomprintError(
                    "a worker process was killed, perhaps for memory; what is done is kept: give "
                    "the same command again, with fewer workers"
                ) from None
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    return compute


def _collect(jobs: dict["Future[bytes]", PartInfo]) -> Iterator[tuple[PartInfo, bytes]]:
    """Hand on what is done, at least one."""
    done, _ = wait(jobs, return_when=FIRST_COMPLETED)
    for job in done:
        yield jobs.pop(job), job.result()
