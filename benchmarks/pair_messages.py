"""Processor time of PaiNN's messages, fused and plain, on batches of real crystals.

    python benchmarks/pair_messages.py --data DIR

One layer of 128 channels, forwards and backwards, float32, one thread; batches of 32 crystals of at
most 30 atoms of ``mp.parquet``, 6 Å. Both take turns on every batch; medians with quartiles, and
the median of their ratios. Writes ``benchmarks/results/pair_messages.json``.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atomprint.backbones import PaiNNSettings
from atomprint.nn.pair_bases import pair_bases
from atomprint.nn.pair_messages import pair_messages, plain_pair_messages
from atomprint.nn.radial import BesselBasis
from atomprint.structures.graph import GraphBatch
from atomprint.structures.reading import read_crystals
from atomprint.training.checkpoint import write_json
from atomprint.training.run import environment

OUT = Path(__file__).parent / "results" / "pair_messages.json"
N_CHANNELS, CRYSTALS, MAX_ATOMS = 128, 32, 30


def milliseconds(function: Callable[..., Any], given: tuple[Any, ...], learned: list[Any]) -> float:
    """Processor time of one call with its gradient."""
    started = time.process_time()
    made = function(*given, *learned)
    torch.autograd.grad(made, learned, [torch.ones_like(one) for one in made])
    return 1e3 * (time.process_time() - started)


def quartiles(values: list[float]) -> dict[str, float]:
    """Median with quartiles."""
    names = ("lower", "median", "upper")
    found = np.quantile(values, (0.25, 0.5, 0.75))
    return {name: round(float(value), 3) for name, value in zip(names, found, strict=True)}


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=40)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_crystals(given.data / "mp.parquet").crystals
    rows = [crystal for crystal in rows if crystal.n_atoms <= MAX_ATOMS]
    order = np.random.default_rng(0).permutation(len(rows))
    settings = PaiNNSettings(n_channels=N_CHANNELS)
    torch.manual_seed(0)
    n_basis = settings.n_radial + 1
    radial = BesselBasis(settings.n_radial, settings.cutoff)
    times: dict[str, list[float]] = {"fused": [], "plain": []}
    sizes = []
    for batch in range(given.batches + 1):
        chosen = [rows[i] for i in order[batch * CRYSTALS : (batch + 1) * CRYSTALS]]
        graph = GraphBatch.from_crystals(chosen, settings.cutoff)
        pairs, bases = pair_bases(graph, radial, settings.cutoff)
        n, n_pairs = graph.n_atoms, len(bases)
        shapes = ((2 * N_CHANNELS, n_basis), (N_CHANNELS, n_basis))
        shapes += ((n, 3 * N_CHANNELS), (n, 3, N_CHANNELS))
        learned = [torch.randn(shape, requires_grad=True) for shape in shapes]
        arguments = (pairs, bases)
        fused = milliseconds(pair_messages, arguments, learned)
        plain = milliseconds(plain_pair_messages, arguments, learned)
        if batch:  # The first call compiles.
            times["fused"].append(fused)
            times["plain"].append(plain)
            sizes.append((n, n_pairs))
    ratios = [b / a for a, b in zip(times["fused"], times["plain"], strict=True)]
    found = {name: quartiles(values) for name, values in times.items()}
    found |= {"ratio": quartiles(ratios)}
    counts = {
        "n_atoms": np.median([a for a, _ in sizes]),
        "n_pairs": np.median([p for _, p in sizes]),
    }
    about = {k: v for k, v in environment().items() if k != "command"}
    write_json(
        OUT,
        {
            "milliseconds": found,
            **counts,
            "n_batches": given.batches,
            "threads": 1,
            "environment": about,
        },
    )
    print(found, counts)


if __name__ == "__main__":
    main()
