"""Checkpoints of training: the state of an unfinished run.

It is one file, ``state.safetensors``, whose header carries the counters as JSON, so that it is
replaced in one piece or not at all. Models themselves are read and written by
:mod:`atomprint.heads.saved`, whose names stand here too.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from atomprint.ground.documents import json_of
from atomprint.ground.errors import DataError, UsageError
from atomprint.heads.saved import FORMAT, ModelInfo, load_model, save_model, write_json
from atomprint.training.fsdp import gathered, shard_like, shards_like
from atomprint.training.loop import Trainer, TrainState

__all__ = [
    "FORMAT",
    "ModelInfo",
    "load_model",
    "load_state",
    "save_model",
    "save_state",
    "write_json",
]


def save_state(path: Path, trainer: Trainer) -> None:
    """Write everything that a trainer needs to continue exactly where it stands.

    Of several processes all must call it, and the first writes: a file has whole tensors, however
    they are sharded.

    Raises
    ------
    UsageError
        If it cannot be written; the file before it is what it was.
    """
    tensors: dict[str, Tensor] = {}
    for group, values in (
        ("task", trainer.task.state_dict()),
        ("averaged", trainer.averaged),
        ("best", trainer.best_weights),
    ):
        tensors |= {f"{group}/{k}": v.detach() for k, v in values.items()}
    described: dict[str, Any] = trainer.optimizer.state_dict()
    for index, values in described["state"].items():
        for name, value in values.items():
            tensors[f"optimizer/{index}/{name}"] = torch.as_tensor(value)
    tensors = gathered(tensors)
    if not trainer.fabric.is_global_zero:
        return
    tensors = {name: value.cpu().clone() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    header = {"format": str(FORMAT), "state": json.dumps(asdict(trainer.state))}
    try:
        save_file(tensors, part, metadata=header)
        # Else a power cut could leave a name without the bytes.
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        kept = "the checkpoint before it is intact" if path.is_file() else "there is none yet"
        raise UsageError(
            f"{path}: the checkpoint of step {trainer.state.step} cannot be written ({reason}); "
            f"{kept}: make room and resume the run"
        ) from None


def load_state(path: Path, trainer: Trainer) -> None:
    """Bring a fresh trainer of the same settings to where a saved one stood.

    Raises
    ------
    DataError
        If the file is broken or belongs to another network.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            header = opened.metadata()
        tensors = load_file(path)
        trainer.state = TrainState(**json_of(header["state"]))
        groups: dict[str, dict[str, Tensor]] = {"task": {}, "averaged": {}, "best": {}}
        optimizer: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            group, _, rest = name.partition("/")
            if group == "optimizer":
                index, _, key = rest.partition("/")
                optimizer.setdefault(int(index), {})[key] = value
            else:
                groups[group][rest] = value
        held = trainer.task.state_dict()
        trainer.task.load_state_dict(shards_like(groups["task"], held))
        # States of before 2026-12 hold what is not trained among the averages, too.
        averaged = {k: groups["averaged"][k] for k in trainer.averaged}
        trainer.averaged = shards_like(averaged, held)
        trainer.best_weights = shards_like(groups["best"], held)
        described: dict[str, Any] = trainer.optimizer.state_dict()
        trained = [p for group in trainer.optimizer.param_groups for p in group["params"]]
        for number, moments in optimizer.items():
            # Steps are counted by a number that is not sharded.
            moments |= {k: shard_like(v, trained[number]) for k, v in moments.items() if v.ndim}
        described["state"] = optimizer
        trainer.optimizer.load_state_dict(described)
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DataError(
            f"{path}: the state of the run cannot be read ({first}); start the run afresh"
        ) from None
