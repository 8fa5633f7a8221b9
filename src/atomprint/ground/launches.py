"""Who started this process beside others: torchrun, Ray Train, SLURM, or nobody."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from atomprint.ground.errors import UsageError

# What torchrun sets for every process, and Ray Train and `loop.devices` too.
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Launch:
    """How this process was started beside others.

    Attributes
    ----------
    rank, n_processes
        Its number, and of how many.
    n_local
        Processes on each machine.
    by
        Whose environment variables say so.
    """

    rank: int
    n_processes: int
    n_local: int
    by: Literal["torchrun", "slurm"]

    @property
    def n_nodes(self) -> int:
        """Machines."""
        return self.n_processes // self.n_local


def launched(environment: Mapping[str, str] | None = None) -> Launch | None:
    """How a launcher started this process; None if it was started alone.

    torchrun, Ray Train and whoever sets their variables are known, and SLURM's ``srun``. A batch
    script of SLURM that starts a program without ``srun`` starts one process.

    Raises
    ------
    UsageError
        If machines do not have equally many processes.
    """
    values = os.environ if environment is None else environment
    if all(name in values for name in _TORCHRUN):
        n_processes, n_local = int(values["WORLD_SIZE"]), int(values["LOCAL_WORLD_SIZE"])
        found = Launch(int(values["RANK"]), n_processes, n_local, "torchrun")
    elif "SLURM_STEP_ID" in values and "SLURM_NTASKS" in values and "SLURM_PROCID" in values:
        n_processes = int(values["SLURM_NTASKS"])
        n_nodes = int(values.get("SLURM_STEP_NUM_NODES", values.get("SLURM_NNODES", "1")))
        n_local = int(values.get("SLURM_NTASKS_PER_NODE", str(n_processes // n_nodes)))
        found = Launch(int(values["SLURM_PROCID"]), n_processes, n_local, "slurm")
    else:
        return None
    if found.n_local < 1 or found.n_processes % found.n_local:
        raise UsageError(
            f"{found.n_processes} processes are not {found.n_local} on every machine; start "
            "equally many on each (torchrun --nproc-per-node, srun --ntasks-per-node)"
        )
    return found if found.n_processes > 1 else None
