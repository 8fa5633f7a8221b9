"""Time several programs on the same data in turn: a busy machine is then busy for all of them."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from ase import Atoms

Program = Callable[[list[Atoms]], Any]


def interleaved(
    programs: Mapping[str, Program], parts: list[list[Atoms]]
) -> dict[str, dict[str, list[float]]]:
    """Seconds of every program on every part, wall clock and processor.

    Every part is new to all programs; within a part they take turns, and who begins changes from
    part to part.

    Parameters
    ----------
    programs
        By name.
    parts
        Crystals, each part timed as one call.
    """
    names = list(programs)
    seconds: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in names}
    for index, part in enumerate(parts):
        turn = index % len(names)
        for name in names[turn:] + names[:turn]:
            gc.collect()
            cpu, wall = time.process_time(), time.perf_counter()
            result = programs[name](part)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            del result
            seconds[name]["wall"].append(wall)
            seconds[name]["cpu"].append(cpu)
    return seconds


def spread(values: list[float], digits: int = 4) -> dict[str, float]:
    """Median, quartiles and extremes."""
    if len(values) > 1:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    else:
        low = high = values[0]
    found = {
        "median": statistics.median(values),
        "lower_quartile": low,
        "upper_quartile": high,
        "least": min(values),
        "most": max(values),
    }
    return {name: float(f"{value:.{digits}g}") for name, value in found.items()}


def ratios(slow: list[float], fast: list[float]) -> list[float]:
    """How many times as long one took as the other, part by part."""
    return [a / b for a, b in zip(slow, fast, strict=True)]
