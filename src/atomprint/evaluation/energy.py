"""Energy that a unit of work took, where the machine counts it.

Processors: the counters of RAPL, which Linux shows under /sys/class/powercap (package and, where it
is apart, memory; Intel, and AMD since Linux 5.8). Many systems let only root read them. GPUs:
NVIDIA's own counter, by way of the driver's library (NVML). Both count all that the machine does in
the meantime, other programs too.
"""

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

POWERCAP = Path("/sys/class/powercap")
EVERY_SECONDS = 60.0
"""How often counters are looked at: they begin anew after as little as half an hour under load."""

Reader = Callable[[], float]


@dataclass(frozen=True)
class Counter:
    """A counter of joules.

    Attributes
    ----------
    kind
        ``cpu`` or ``gpu``.
    read
        Joules since some moment; raises OSError where it can no longer be read.
    wraps_at
        Joules after which it begins anew; None if it does not.
    """

    kind: str
    read: Reader
    wraps_at: float | None = None


class EnergyMeter:
    """Joules used between entering and leaving a ``with`` block.

    Parameters
    ----------
    counters
        What to read; by default all that this machine has.
    every
        Seconds between two looks at the counters, so that none begins anew unseen.
    """

    def __init__(self, counters: list[Counter] | None = None, every: float = EVERY_SECONDS) -> None:
        self._counters = machine_counters() if counters is None else counters
        self._every = every
        self._joules: dict[str, float] = {}
        self._last: list[float] = []
        self._failed: set[str] = set()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "EnergyMeter":
        """Begin to count."""
        self._last = [self._read(counter) for counter in self._counters]
        self._joules = {c.kind: 0.0 for c in self._counters if c.kind not in self._failed}
        if self._counters:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End to count."""
        self._done.set()
        if self._counters:
            self._thread.join()
            self._look()

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: ``cpu_joules``, ``gpu_joules``, and their sum as ``joules``.

        Each is None where nothing tells; the sum then leaves it out, and ``note`` says so.
        """
        known = {k: round(v, 3) for k, v in self._joules.items() if k not in self._failed}
        devices = {"cpu": "processor", "gpu": "GPU"}
        silent = [device for kind, device in devices.items() if kind not in known]
        said = f"not told by this machine: energy of the {' and the '.join(silent)}"
        return {
            "joules": round(sum(known.values()), 3) if known else None,
            "cpu_joules": known.get("cpu"),
            "gpu_joules": known.get("gpu"),
            "note": said if silent else "",
        }

    def _watch(self) -> None:
        while not self._done.wait(self._every):
            self._look()

    def _look(self) -> None:
        with self._lock:
            for place, counter in enumerate(self._counters):
                now = self._read(counter)
                if counter.kind in self._failed:
                    continue
                used = now - self._last[place]
                if used < 0 and counter.wraps_at is not None:
                    used += counter.wraps_at
                self._joules[counter.kind] += max(used, 0.0)
                self._last[place] = now

    def _read(self, counter: Counter) -> float:
        try:
            return counter.read()
        except (OSError, ValueError):
            self._failed.add(counter.kind)
            return 0.0


def machine_counters() -> list[Counter]:
    """All counters of this machine that can be read."""
    return [*rapl_counters(), *nvidia_counters()]


def rapl_counters(folder: Path = POWERCAP) -> list[Counter]:
    """Counters of packages and of memory beside them; none if one of them cannot be read."""
    found = []
    for place in sorted(folder.glob("intel-rapl:*")):
        try:
            name = (place / "name").read_text(encoding="ascii").strip()
            # Cores and graphics are parts of a package; psys counts everything once more.
            if not name.startswith("package") and name != "dram":
                continue
            most = float((place / "max_energy_range_uj").read_text(encoding="ascii")) * 1e-6
            read = _rapl_reader(place / "energy_uj")
            read()
        except (OSError, ValueError):
            return []
        found.append(Counter("cpu", read, most))
    return found


def _rapl_reader(path: Path) -> Reader:
    return lambda: float(path.read_text(encoding="ascii")) * 1e-6


def nvidia_counters() -> list[Counter]:
    """The counter of the GPU that PyTorch computes on, if it does and the GPU has one."""
    import torch

    if not torch.cuda.is_available():
        return []
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        name = f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
        device = ctypes.c_void_p()
        if nvml.nvmlInit_v2() != 0:
            return []
        if nvml.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(device)) != 0:
            return []
    except (OSError, AttributeError):
        return []

    def read() -> float:
        millijoules = ctypes.c_ulonglong()
        if nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(millijoules)) != 0:
            raise OSError("the GPU does not count its energy")
        return millijoules.value * 1e-3

    try:
        read()
    except OSError:
        return []
    return [Counter("gpu", read)]
