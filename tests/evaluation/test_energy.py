"""Counters of energy: what is counted, that none begins anew unseen, and what is said without."""

import threading
import time
from types import SimpleNamespace

import pytest

from atomprint.evaluation import energy
from atomprint.evaluation.energy import Counter, EnergyMeter, nvidia_counters, rapl_counters


def stepping(*values):
    """A counter that has these values one after the other."""
    left = list(values)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_differences_add_up_over_devices():
    counters = [
        Counter("cpu", stepping(10.0, 25.0)),
        Counter("cpu", stepping(100.0, 101.5)),
        Counter("gpu", stepping(0.0, 7.0)),
    ]
    with EnergyMeter(counters) as meter:
        pass
    assert meter.to_dict() == {"joules": 23.5, "cpu_joules": 16.5, "gpu_joules": 7.0, "note": ""}


def test_a_counter_that_begins_anew():
    with EnergyMeter([Counter("cpu", stepping(95.0, 3.0), wraps_at=100.0)]) as meter:
        pass
    assert meter.to_dict()["joules"] == 8.0


def test_a_counter_that_begins_anew_many_times():
    start = time.perf_counter()

    def read():
        # 100 W, and anew after 10 J: every 0.1 s.
        return 100 * (time.perf_counter() - start) % 10

    with EnergyMeter([Counter("cpu", read, wraps_at=10.0)], every=0.01) as meter:
        began = time.perf_counter()
        time.sleep(0.45)
        seconds = time.perf_counter() - began
    assert meter.to_dict()["joules"] == pytest.approx(100 * seconds, rel=0.1)
    assert not [t for t in threading.enumerate() if t is meter._thread]


def test_what_cannot_be_read_is_said():
    def gone():
        raise OSError("no longer")

    with EnergyMeter([Counter("cpu", gone), Counter("gpu", stepping(1.0, 2.0))]) as meter:
        pass
    found = meter.to_dict()
    assert (found["cpu_joules"], found["joules"]) == (None, 1.0)
    assert found["note"] == "not told by this machine: energy of the processor"
    with EnergyMeter([]) as meter:
        pass
    assert meter.to_dict()["joules"] is None
    assert meter.to_dict()["note"].endswith("the processor and the GPU")


def domain(folder, name, kind, microjoules):
    place = folder / name
    place.mkdir()
    (place / "name").write_text(kind + "\n")
    (place / "max_energy_range_uj").write_text("262143328850\n")
    if microjoules is not None:
        (place / "energy_uj").write_text(f"{microjoules}\n")


def test_packages_and_memory_count_and_their_parts_do_not(tmp_path):
    domain(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    domain(tmp_path, "intel-rapl:0:0", "core", 3_000_000)
    domain(tmp_path, "intel-rapl:0:1", "dram", 250_000)
    domain(tmp_path, "intel-rapl:1", "package-1", 1_000_000)
    domain(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    found = rapl_counters(tmp_path)
    assert [c.read() for c in found] == [5.0, 0.25, 1.0]
    assert [c.wraps_at for c in found] == pytest.approx([262143.32885] * 3)
    domain(tmp_path, "intel-rapl:3", "package-2", None)
    # One that cannot be read would leave too small a sum.
    assert rapl_counters(tmp_path) == []
    assert rapl_counters(tmp_path / "none") == []


class Driver:
    """NVIDIA's library as far as it is asked: a device by its name, and its counter."""

    def __init__(self, millijoules, code=0):
        self.millijoules, self.code, self.names = millijoules, code, []

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetHandleByUUID(self, name, device):
        self.names.append(name)
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, device, found):
        found._obj.value = self.millijoules.pop(0)
        return self.code


@pytest.fixture
def gpu(monkeypatch):
    """A GPU, and a driver that is given."""
    import torch

    properties = SimpleNamespace(uuid="1234")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    return lambda driver: monkeypatch.setattr(energy.ctypes, "CDLL", lambda _: driver)


def test_a_gpu_counts_in_millijoules(gpu):
    driver = Driver([100, 5_000, 12_500])
    gpu(driver)
    (counter,) = nvidia_counters()
    assert (counter.kind, driver.names) == ("gpu", [b"GPU-1234"])
    with EnergyMeter([counter]) as meter:
        pass
    assert meter.to_dict()["gpu_joules"] == 7.5


def test_gpus_that_do_not_count_and_machines_without_the_library(gpu, monkeypatch):
    gpu(Driver([0], code=3))
    assert nvidia_counters() == []

    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(energy.ctypes, "CDLL", missing)
    assert nvidia_counters() == []
