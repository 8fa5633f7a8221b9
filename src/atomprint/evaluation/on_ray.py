"""Units done by a Ray cluster: this process keeps the list and the folder, the cluster computes.

A unit that is handed out is locked as if this process did it, so that other processes on the folder
leave it alone; its result is written here, and the cluster needs no common disk.
"""

from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from atomprint.evaluation.evaluate import Evaluation, Progress
from atomprint.evaluation.networks import Network
from atomprint.evaluation.units import Claim, Unit, claim, measure
from atomprint.ground.cluster import connected, n_processors
from atomprint.ground.errors import AtomprintError


def run_on_ray(
    evaluation: Evaluation, folder: Path, address: str, progress: Progress | None = None
) -> int:
    """Have a cluster do every unit that is not done and that no other process is at.

    Parameters
    ----------
    evaluation
        What to do.
    folder
        Where results are and go, on this machine.
    address
        As ``ray.init`` takes it: ``auto``, ``local``, ``host:6379``, ``ray://host:10001``.
    progress
        Called as ``progress("units", done, total, {})``.

    Returns
    -------
    int
        Units that this call did.

    Raises
    ------
    UsageError
        If Ray is not installed, or there is no cluster at this address.
    DataError
        If an arm cannot do a unit; what was done is kept.
    """
    total = len(evaluation.units())
    pending = deque(evaluation.pending(folder))
    n_done = 0
    with ExitStack() as stack:
        ray = stack.enter_context(connected(address))
        size = n_processors(ray)
        has_gpus = ray.cluster_resources().get("GPU", 0) > 0
        # The crystals travel once, not with every unit.
        shared = ray.put((list(evaluation.crystals), evaluation.target))
        task = ray.remote(_work)
        at_work: dict[Any, Claim] = {}
        stack.callback(_release, at_work)
        while pending or at_work:
            # One for each processor, and one more that waits until it is free.
            while pending and len(at_work) < 2 * size:
                unit = pending.popleft()
                claimed = claim(unit, folder, evaluation.crystals, evaluation.target)
                if claimed is None:
                    continue
                gpus = 1 if has_gpus and _wants_gpu(unit) else 0
                asked = task.options(num_cpus=1, num_gpus=gpus, max_retries=3)
                at_work[asked.remote(unit, shared)] = claimed
            if not at_work:
                break
            (ready, *_), _ = ray.wait(list(at_work), num_returns=1)
            try:
                result = ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause if isinstance(error.cause, AtomprintError) else error
                raise cause from None
            at_work.pop(ready).write(result)
            n_done += 1
            if progress is not None:
                progress("units", total - len(pending) - len(at_work), total, {})
    return n_done


def _work(unit: Unit, shared: Any) -> dict[str, Any]:
    crystals, target = shared
    return measure(unit, crystals, target)


def _release(at_work: dict[Any, Claim]) -> None:
    for claimed in at_work.values():
        claimed.release()


def _wants_gpu(unit: Unit) -> bool:
    return isinstance(unit.arm, Network) and unit.arm.settings.loop.device != "cpu"
