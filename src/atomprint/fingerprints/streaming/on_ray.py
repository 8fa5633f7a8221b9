"""Parts computed by a Ray cluster.

The command reads and writes; the cluster computes and needs no common disk. Parts are plain tasks
and not Ray Data's, which wants to know how many there are before the first is read, and waited
without end for the part of a machine that was lost (docs/decisions.md).
"""

from collections.abc import Callable, Iterator

from atomprint.fingerprints.streaming.job import Job, Part, PartInfo, job_text, make_part_of
from atomprint.ground.cluster import need_ray, on_cluster


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
        yield from on_cluster(address, _make, ((text, part) for part in parts))

    return compute


def _make(which: tuple[str, Part]) -> tuple[PartInfo, bytes]:
    """What the cluster runs."""
    text, part = which
    return part.info, make_part_of(text, part)
