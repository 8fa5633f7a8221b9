"""What is in a store, counted shard by shard."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from atomprint.data.store.layout import DamagedShard
from atomprint.data.store.packing import counts_of
from atomprint.data.store.store import Store
from atomprint.ground.elements import mass, symbols
from atomprint.ground.errors import DataError

_TO_G_PER_CM3 = 1.66053906660
"""Of u/Å³ (CODATA 2018)."""


@dataclass(frozen=True)
class StoreStats:
    """Counts and ranges.

    Attributes
    ----------
    n_crystals, n_atoms, n_shards, n_bytes
        In all.
    bytes_per_crystal
        On disk, everything counted.
    elements
        Crystals with each element, the most frequent first.
    sizes
        Atoms a cell: min, median, mean, max.
    density
        g/cm³: 5 %, median, 95 %.
    labels
        By name: count, min, mean, max, unit; ranges over all numbers of array labels.
    """

    n_crystals: int
    n_atoms: int
    n_shards: int
    n_bytes: int
    bytes_per_crystal: float
    elements: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    density: dict[str, float] = field(default_factory=dict)
    labels: dict[str, dict[str, float | str]] = field(default_factory=dict)


def store_stats(store: Store, progress: Callable[[int, int], None] | None = None) -> StoreStats:
    """Count what is in a store.

    Parameters
    ----------
    store
        The store.
    progress
        Called with the number of shards done and of all shards.

    Raises
    ------
    DataError
        If it holds no crystal.
    """
    if not len(store):
        raise DataError(f"{store.path}: holds no crystal")
    masses = np.array(mass, np.float64)
    with_element = np.zeros(256, np.int64)
    densities = []
    sums: dict[str, list[float]] = {}
    for shard, (file, header) in enumerate(store.headers):
        arrays = store.arrays(shard)
        counts = counts_of(arrays["atom_stops"])
        if (counts < 1).any() or int(counts.sum()) != header.n_atoms:
            raise DamagedShard(
                f"{file}: the numbers of atoms do not add up; look for damage with: "
                f"atomprint data validate {store.path}"
            )
        owner = np.repeat(np.arange(header.n_crystals), counts)
        numbers = arrays["numbers"]
        pairs = np.unique(owner * 256 + numbers)
        with_element += np.bincount(pairs % 256, minlength=256)
        weight = np.bincount(owner, masses[numbers], header.n_crystals)
        volume = np.abs(np.linalg.det(arrays["cells"].astype(np.float64)))
        densities.append(weight / volume * _TO_G_PER_CM3)
        for name, values, count in store.label_values(shard):
            low, high, total, n, known = sums.get(name, [np.inf, -np.inf, 0.0, 0, 0])
            if len(values):
                low, high = min(low, float(values.min())), max(high, float(values.max()))
            sums[name] = [low, high, total + float(values.sum()), n + len(values), known + count]
        if progress is not None:
            progress(shard + 1, len(store.headers))
    sizes = store.sizes
    density = np.concatenate(densities)
    n_bytes = sum(header.n_bytes for _, header in store.headers)
    order = [int(z) for z in np.argsort(-with_element, kind="stable") if with_element[z]]
    low, mid, high = (float(v) for v in np.quantile(density, [0.05, 0.5, 0.95]))
    return StoreStats(
        len(store),
        store.n_atoms,
        len(store.headers),
        n_bytes,
        n_bytes / len(store),
        {symbols[z]: int(with_element[z]) for z in order},
        {
            "min": float(sizes.min()),
            "median": float(np.median(sizes)),
            "mean": float(sizes.mean()),
            "max": float(sizes.max()),
        },
        {"5 %": low, "median": mid, "95 %": high},
        {
            name: {
                "count": int(known), "min": low, "mean": total / n, "max": high,
                "unit": store.units.get(name, ""),
            }
            for name, (low, high, total, n, known) in sorted(sums.items()) if n
        },
    )  # fmt: skip
