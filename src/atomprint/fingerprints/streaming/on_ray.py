"""Parts computed by a Ray cluster, with Ray Data.

The command reads and writes; the cluster computes and needs no common disk. Ray Data takes finite
data, and how many parts there are is known only when all is read: so parts go in waves, and while
the cluster computes one, the next is read.
"""

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from typing import Any

from atomprint.fingerprints.streaming.job import Job, Part, PartInfo, job_text, make_part_of
from atomprint.ground.errors import UsageError

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
    try:
        import ray
        import ray.data
    except ImportError:
        raise UsageError("--ray needs Ray: pip install 'atomprint[ray]'") from None
    text = job_text(job)

    def compute(parts: Iterator[Part]) -> Iterator[tuple[PartInfo, bytes]]:
        with ExitStack() as stack:
            if not ray.is_initialized():
                _connect(ray, address)
                stack.callback(ray.shutdown)
            ray.data.DataContext.get_current().enable_progress_bars = False
            size = _PER_PROCESSOR * max(1, int(ray.cluster_resources().get("CPU", 1)))
            reader = stack.enter_context(ThreadPoolExecutor(1))

            def read() -> list[Part]:
                return list(islice(parts, size))

            wave = read()
            while wave:
                following = reader.submit(read)
                yield from _wave(ray, text, wave)
                wave = following.result()

    return compute


def _connect(ray: Any, address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"--ray {address}: no cluster there ({first})") from None


def _wave(ray: Any, text: str, wave: list[Part]) -> Iterator[tuple[PartInfo, bytes]]:
    """Compute some parts, a task each."""

    def work(row: dict[str, Any]) -> dict[str, Any]:
        part: Part = pickle.loads(row["part"])
        return {"index": row["index"], "data": make_part_of(text, part)}

    rows = [{"index": k, "part": pickle.dumps(part)} for k, part in enumerate(wave)]
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(work)
    for row in data.iter_rows():
        yield wave[row["index"]].info, row["data"]
