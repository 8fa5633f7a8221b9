"""A Ray cluster, for what can be computed elsewhere."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from atomprint.ground.errors import AtomprintError, UsageError

_AHEAD = 2
"""Tasks that wait, for each processor of the cluster."""
_RETRIES = 5

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def need_ray() -> Any:
    """Import Ray.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise UsageError("--ray needs Ray: pip install 'atomprint[ray]'") from None
    return ray


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster, and no longer so at the end; a connection that is there stays.

    Parameters
    ----------
    address
        As ``ray.init`` takes it: ``auto``, ``local``, ``host:6379``, ``ray://host:10001``.

    Raises
    ------
    UsageError
        If Ray is not installed, or there is no cluster at this address.
    """
    ray = need_ray()
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"--ray {address}: no cluster there ({first})") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def on_cluster(
    address: str, work: Callable[[Argument], Result], arguments: Iterable[Argument]
) -> Iterator[Result]:
    """Results of a function that a cluster computes, in the order of its arguments.

    A few arguments are taken ahead of what is asked for, whose results wait in the cluster. What a
    machine was computing, or had computed and not yet handed over, when it was lost is computed
    again by another.

    Parameters
    ----------
    address
        As ``ray.init`` takes it.
    work
        A function of one argument, which every machine of the cluster can import.
    arguments
        As many as there are; taken one by one.

    Raises
    ------
    UsageError
        If Ray is not installed, or there is no cluster at this address.
    AtomprintError
        What ``work`` raised there.
    """
    with connected(address) as ray:
        task = ray.remote(work).options(num_cpus=1, max_retries=_RETRIES)
        left = iter(arguments)
        waiting: deque[Any] = deque()
        while True:
            room = _AHEAD * n_processors(ray) - len(waiting)
            waiting.extend(task.remote(argument) for argument in islice(left, max(1, room)))
            if not waiting:
                return
            try:
                result: Result = ray.get(waiting.popleft())
            except ray.exceptions.RayTaskError as error:
                cause = error.cause if isinstance(error.cause, AtomprintError) else error
                raise cause from None
            yield result


def n_processors(ray: Any) -> int:
    """Processors of the cluster, at least 1."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))
