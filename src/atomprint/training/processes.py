"""Several processes that train one network: who started them, and what they tell each other."""

import atexit
import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from atomprint.ground.documents import json_of
from atomprint.ground.errors import AtomprintError, UsageError
from atomprint.ground.launches import Launch, launched
from atomprint.training.fsdp import is_sharded

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment


class ProcessLost(AtomprintError):
    """Another process of the run has ended, so that this one cannot go on.

    Its exit status is the system's for what may work when it is tried again (``EX_TEMPFAIL``).
    """

    exit_status = 75


def launch_for(devices: int) -> Launch | None:
    """How this process was started, which must fit ``loop.devices``.

    Raises
    ------
    UsageError
        If it was started alone and several are wanted, or with another number of them.
    """
    found = launched()
    if found is None and devices > 1:
        raise UsageError(
            f"loop.devices is {devices} and nothing has started so many processes; use the command "
            "atomprint pretrain, or run the script by torchrun --nproc-per-node"
        )
    if found is not None and devices not in (1, found.n_local):
        raise UsageError(
            f"loop.devices is {devices} and {found.n_local} processes were started on every "
            "machine; leave out loop.devices, the launcher says how many there are"
        )
    return found


def environment_of(launch: Launch) -> "ClusterEnvironment":
    """What Fabric asks for ranks and for the address of the first process."""
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    return SLURMEnvironment(False) if launch.by == "slurm" else TorchElasticEnvironment()


@cache
def leave_at_exit() -> None:
    """End the backend's threads before the interpreter ends, once however often asked.

    One that lets go of a tensor a moment after the last exchange needs Python's lock for it. If the
    interpreter is ending by then, the process is ended by SIGABRT, with all its work done: seen on
    busy machines with gloo.
    """

    def leave() -> None:
        if distributed.is_initialized():
            # The threads are joined when the last one lets go of the group: networks do so here.
            gc.collect()
            distributed.destroy_process_group()

    atexit.register(leave)


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def tell_all(value: Any, fabric: "Fabric") -> list[Any]:
    """What every process has to say, in the order of ranks; plain values that JSON can carry.

    Every process must call it.
    """
    if fabric.world_size == 1:
        return [value]
    content = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
    content = content.to(fabric.device)
    size = torch.tensor([len(content)], device=fabric.device)
    sizes = [torch.zeros_like(size) for _ in range(fabric.world_size)]
    distributed.all_gather(sizes, size)
    longest = max(int(n) for n in sizes)
    padded = content.new_zeros(longest)
    padded[: len(content)] = content
    texts = [torch.zeros_like(padded) for _ in sizes]
    distributed.all_gather(texts, padded)
    return [
        json_of(bytes(text[: int(n)].cpu().tolist())) for text, n in zip(texts, sizes, strict=True)
    ]


def add_up(numbers: dict[str, float], fabric: "Fabric") -> dict[str, float]:
    """Sum of what processes found, by name; every process must call it."""
    total: dict[str, float] = {}
    for found in tell_all(numbers, fabric):
        for name, value in found.items():
            total[name] = total.get(name, 0.0) + value
    return total


def largest(number: int, fabric: "Fabric") -> int:
    """Return the largest number of all processes; every process must call it."""
    if fabric.world_size == 1:
        return number
    value = torch.tensor([number], device=fabric.device)
    distributed.all_reduce(value, distributed.ReduceOp.MAX)
    return int(value)


@torch.no_grad()
def copy_from_first(module: torch.nn.Module, fabric: "Fabric") -> None:
    """Give every process the parameters and buffers of the first one.

    Of sharded parameters each has its shard already: all drew the same from the
    run's seed.
    """
    if fabric.world_size > 1:
        for value in module.state_dict().values():
            if not is_sharded(value):
                distributed.broadcast(value, 0)


@contextmanager
def told_of_losses(fabric: "Fabric", how_to_go_on: Callable[[], str]) -> Iterator[None]:
    """Turn what a backend says when another process is gone into one sentence.

    Parameters
    ----------
    fabric
        Of the run.
    how_to_go_on
        What to do then.

    Raises
    ------
    ProcessLost
        If so.
    """
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or not _says_that_one_is_gone(error):
            raise
        raise ProcessLost(
            f"another of the {fabric.world_size} processes of this run has ended before its time; "
            f"{how_to_go_on()}"
        ) from None


def _says_that_one_is_gone(error: RuntimeError) -> bool:
    # gloo raises plain RuntimeErrors, which name its source files.
    return isinstance(error, distributed.DistError) or "gloo/" in str(error)
