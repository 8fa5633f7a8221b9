"""Parts computed by a Ray cluster, with Ray Data.

The command reads and writes; the cluster computes and needs no common disk. Ray Data takes finite
data, and how many parts there are is known only when all is read: so parts go in waves, and while
the cluster computes one, the next is read.
"""

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import import_module
from itertools import islice
from typing import Any

from atomprint.fingerprints.streaming.job import Job, Part, PartInfo, job_text, make_part_of
from atomprint.ground.cluster import connected, n_processors, need_ray

# Parts in a wave, for each processor of the cluster.
_PER_PROCESSOR = 4


def on_ray(job: Job, address: str) -> Callable[[Iterator[Part]], Iterator[tuple[PartInfo, bytes]]]:
    """Compute parts on a Ray cluster.

    Parameters
    ----------
    job
        What to compute.
    address
        As ``ray.init`` takes it: ``auto``, ``local``, ``host:6379``, ``ray://host:10001``.

    Raises
    ------
    UsageError
        If Ray is not installed, or there is no cluster at this address.
    """
    need_ray()
    text = job_text(job)

    def compute(parts: Iterator[Part]) -> Iterator[tuple[PartInfo, bytes]]:
        with ExitStack() as stack:
            ray = stack.enter_context(connected(address))
            import_module("ray.data").DataContext.get_current().enable_progress_bars = False
            size = _PER_PROCESSOR * n_processors(ray)
            reader = stack.enter_context(ThreadPoolExecutor(1))

            def read() -> list[Part]:
                return list(islice(parts, size))

            wave = read()
            while wave:
                following = reader.submit(read)
                yield from _wave(ray, text, wave)
                wave = following.result()

    return compute


def _wave(ray: Any, text: str, wave: list[Part]) -> Iterator[tuple[PartInfo, bytes]]:
    """Compute some parts, a task each."""

    def work(row: dict[str, Any]) -> dict[str, Any]:
        part: Part = pickle.loads(row["part"])
        return {"index": row["index"], "data": make_part_of(text, part)}

    rows = [{"index": k, "part": pickle.dumps(part)} for k, part in enumerate(wave)]
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(work)
    for row in data.iter_rows():
        yield wave[row["index"]].info, row["data"]
