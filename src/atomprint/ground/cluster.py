"""A Ray cluster, for what can be computed elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from atomprint.ground.errors import UsageError


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


def n_processors(ray: Any) -> int:
    """Processors of the cluster, at least 1."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))
