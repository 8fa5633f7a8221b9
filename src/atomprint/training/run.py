"""Run folders: what ran, with what, on what."""

import hashlib
import logging
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

import atomprint
from atomprint.ground.errors import UsageError
from atomprint.ground.launches import Launch
from atomprint.structures.crystal import Crystal
from atomprint.training.checkpoint import write_json
from atomprint.training.fsdp import shard_task
from atomprint.training.memory import keep_memory
from atomprint.training.processes import environment_of, leave_at_exit
from atomprint.training.settings import LoopSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LOCK = ".lock"
_PACKAGES = ("torch", "numpy", "ase", "numba", "lightning-fabric", "safetensors", "pydantic")


def hash_crystals(crystals: Iterable[Crystal]) -> str:
    """Short hash of ids, elements, geometry (to 1e-5 Å) and labels of crystals, in their order."""
    digest = hashlib.sha256()
    for crystal in crystals:
        digest.update(crystal.id.encode())
        digest.update(crystal.numbers.tobytes())
        for array in (crystal.positions, crystal.cell):
            # Adding zero turns -0.0 into 0.0, which prints the same and must hash the same.
            digest.update((np.round(array, 5) + 0.0).tobytes())
        for name in sorted(crystal.labels):
            digest.update(name.encode())
            digest.update(np.asarray(crystal.labels[name], dtype=np.float64).tobytes())
    return digest.hexdigest()[:16]


def hash_text(text: str) -> str:
    """Short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def environment() -> dict[str, Any]:
    """Versions, platform and commit, for the record."""
    versions = {"atomprint": atomprint.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "command": sys.argv,
        "versions": versions,
        "commit": _commit(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _commit() -> str | None:
    """Return the commit of atomprint's own checkout, if it runs from one."""
    root = Path(atomprint.__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True
    )
    return asked.stdout.strip() or None


def make_folder(path: Path) -> Path:
    """Create the folder of a new run.

    Raises
    ------
    UsageError
        If it exists with something in it, or cannot be made.
    """
    if path.is_dir() and any(entry.name != LOCK for entry in path.iterdir()):
        raise UsageError(f"{path}: the folder is not empty; give another --out or remove it")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot make the folder ({error.strerror}); choose another --out"
        ) from None
    return path


@contextmanager
def locked(path: Path | None) -> Iterator[None]:
    """Keep other processes from writing into a run folder, made if it is not there.

    The operating system lets go of the lock when the process ends, however that ends.

    Raises
    ------
    UsageError
        If another process is writing there, or the folder cannot be written.
    """
    if path is None:
        yield
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"{path}: another process is writing to this run folder; wait until it has ended, or "
            "choose another --out"
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or error}); choose another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()


def record(
    path: Path, settings: dict[str, Any], data: dict[str, Any], name: str = "run.json"
) -> None:
    """Write what this run is: resolved settings, data with their hash, versions and commit."""
    write_json(path / name, {"settings": settings, "data": data, "environment": environment()})


def make_fabric(
    settings: LoopSettings, folder: Path | None, launch: Launch | None = None
) -> "Fabric":
    """Return a Fabric on the device asked for, logging to CSV and TensorBoard in the folder.

    Parameters
    ----------
    settings
        Of the loop.
    folder
        Of the run; None: nothing is logged.
    launch
        How this process was started beside others, all of which must call this; None: it is alone,
        whatever environment it runs in.

    Raises
    ------
    UsageError
        If the device is not there.
    """
    # Fabric takes seconds to import, and reading or predicting does not need it.
    from lightning_fabric import Fabric
    from lightning_fabric.loggers.csv_logs import CSVLogger
    from lightning_fabric.loggers.logger import Logger
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.strategy import Strategy
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    loggers: list[Logger] = []
    if folder is not None and (launch is None or launch.rank == 0):
        loggers = [
            CSVLogger(folder, name="logs", flush_logs_every_n_steps=1),
            TensorBoardLogger(folder, name="logs"),
        ]
    strategy: Strategy | str = "auto"
    environment = LightningEnvironment() if launch is None else environment_of(launch)
    if launch is not None:
        # Objectives that are not at work leave their heads without gradients; statistics are
        # fitted once, and copied then.
        strategy = DDPStrategy(
            cluster_environment=environment, find_unused_parameters=True, broadcast_buffers=False
        )
        if settings.strategy == "fsdp":
            from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

            n = launch.n_local * launch.n_nodes
            strategy = ModelParallelStrategy(shard_task, n, tensor_parallel_size=1)
            strategy.cluster_environment = environment
    # It would tell of every process that it has begun.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        fabric = Fabric(
            accelerator=settings.device,
            devices=1 if launch is None else launch.n_local,
            num_nodes=1 if launch is None else launch.n_nodes,
            strategy=strategy,
            precision=settings.precision,
            loggers=loggers,
            plugins=[environment] if launch is None else [],
        )
        fabric.launch()
        if fabric.world_size > 1:
            leave_at_exit()
        if fabric.device.type == "cpu":
            keep_memory()
    except (ValueError, RuntimeError, ImportError, MisconfigurationException) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"device {settings.device!r} cannot be used: {first}") from None
    return fabric
