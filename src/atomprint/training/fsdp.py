"""Fully sharded data parallelism: processes hold shards of the weights instead of all of them.

PyTorch's FSDP2 (``fully_shard``), with one group for the whole task: gradients, the optimiser's
moments and running means are sharded, and so are the weights but from the begin of a step's forward
pass to the end of its backward pass.

PyTorch takes two seconds to import it, so that it is imported where something is sharded.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, distributed, nn

from atomprint.ground.errors import UsageError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor


def shard_task(module: nn.Module, mesh: "DeviceMesh") -> nn.Module:
    """Shard what is trained of ``module.task`` among the processes of a mesh.

    What is not trained (teachers, fixed factors) stays whole. The task's ``loss`` puts its weights
    together, whoever calls it.

    Raises
    ------
    UsageError
        If something is not trained, and this torch cannot leave it whole.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    task = module.get_submodule("task")
    frozen = {value for value in task.parameters() if not value.requires_grad}
    but: dict[str, Any] = {"ignored_params": frozen} if frozen else {}
    try:
        fully_shard(task, mesh=mesh["data_parallel"], reshard_after_forward=False, **but)
    except TypeError:
        raise UsageError(
            f"loop.strategy fsdp: torch {torch.__version__} cannot leave whole what is not "
            "trained, which these objectives have; install a newer one, or leave out loop.strategy"
        ) from None
    register_fsdp_forward_method(task, "loss")
    return module


def is_sharded(value: Tensor) -> bool:
    """Whether a tensor is one that processes hold shards of."""
    return hasattr(value, "full_tensor")


def gathered(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put sharded tensors together, others stay as they are; every process must call it."""
    return {
        name: cast("DTensor", value).full_tensor() if is_sharded(value) else value
        for name, value in values.items()
    }


def shard_like(value: Tensor, like: Tensor) -> Tensor:
    """Return this process's shard of a whole tensor, sharded as another; nothing is exchanged."""
    if not is_sharded(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    sharded = cast("DTensor", like)
    placed = value.to(like.device)
    return distribute_tensor(placed, sharded.device_mesh, sharded.placements, src_data_rank=None)


def shards_like(values: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Shard whole tensors as those of the same names are; others stay as they are."""
    return {k: shard_like(v, like[k]) if k in like else v for k, v in values.items()}


@contextmanager
def unsharded(task: nn.Module) -> Iterator[None]:
    """Keep the weights in one piece, so that processes may compute each as often as it likes."""
    if not _is_fsdp(task):
        yield
        return
    module = cast("FSDPModule", task)
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


def reached_alike(loss: Tensor, task: nn.Module) -> Tensor:
    """Let the loss reach the same weights in every process; every process must call it.

    FSDP adds up the gradients that there are, and waits without end where processes have those of
    other weights: an objective may find nothing to do in one part of a batch (no label, no hidden
    atom). Such weights get a gradient of zero; those that no process reaches get none, as with one
    process.
    """
    if not _is_fsdp(task):
        return loss
    trained = [value for value in task.parameters() if value.requires_grad]
    own = _reached(loss)
    wanted = torch.tensor([float(id(value) in own) for value in trained], device=loss.device)
    distributed.all_reduce(wanted, distributed.ReduceOp.MAX)
    for value, want in zip(trained, wanted.tolist(), strict=True):
        if want and id(value) not in own:
            loss = loss + value.sum() * 0
    return loss


def _is_fsdp(task: nn.Module) -> bool:
    return hasattr(task, "unshard")


def _reached(loss: Tensor) -> set[int]:
    """Ids of the leaves that a gradient of the loss would reach."""
    found: set[int] = set()
    seen = {loss.grad_fn}
    waiting = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        for other, _ in node.next_functions:
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return found
