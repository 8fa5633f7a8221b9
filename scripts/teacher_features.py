"""Features of every atom from CHGNet, for distillation from a label.

    pip install chgnet atomprint
    python scripts/teacher_features.py crystals/ --out with-chgnet.parquet

CHGNet (Deng et al. 2023, doi 10.1038/s42256-023-00716-3) comes with its weights; nothing is
downloaded. Its 64 features of an atom after the last convolution are invariant. They are written as
the label ``chgnet`` into a Parquet file of the crystals, which every command reads::

    objectives:
      - kind: distillation
        teacher: {kind: label, name: chgnet, n_features: 64}

Crystals that CHGNet cannot take (elements beyond plutonium, atoms without neighbours within 6 Å)
are kept without the label, and named.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from atomprint.structures.writing import write_parquet

NAME = "chgnet"
# Of crystals whose graphs are held at once.
CHUNK = 256
# CHGNet has an embedding for each of these.
MAX_Z = 94


def features(
    model: Any, crystals: Sequence[Crystal], batch_size: int
) -> Iterable[tuple[np.ndarray | None, str]]:
    """Features ``(n_atoms, 64)`` of each crystal in order, or None and why there are none."""
    from pymatgen.core import Lattice, Structure

    for start in range(0, len(crystals), CHUNK):
        found: list[tuple[np.ndarray | None, str]] = []
        graphs, places = [], []
        for crystal in crystals[start : start + CHUNK]:
            found.append((None, ""))
            if crystal.numbers.max() > MAX_Z:
                found[-1] = (None, f"has an element beyond Z = {MAX_Z}")
                continue
            structure = Structure(Lattice(crystal.cell), crystal.numbers, crystal.frac)
            try:
                graphs.append(model.graph_converter(structure))
            except ValueError as error:
                found[-1] = (None, " ".join(str(error).split())[:150])
                continue
            places.append(len(found) - 1)
        # Of one graph alone CHGNet returns no list.
        made = model.predict_graph(
            graphs, task="e", return_atom_feas=True, batch_size=batch_size
        ) if graphs else []  # fmt: skip
        for place, prediction in zip(places, made if len(graphs) != 1 else [made], strict=True):
            found[place] = (np.asarray(prediction["atom_fea"], dtype=float), "")
        yield from found


def main() -> None:
    """Read, compute, write, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", help="crystals: files, folders or archives")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--limit", type=int, help="only so many crystals")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=16, help="crystals at once")
    arguments = parser.parse_args()
    try:
        from chgnet.model import CHGNet
    except ImportError:
        sys.exit("CHGNet is not installed here; pip install chgnet")
    warnings.filterwarnings("ignore", module="chgnet|pymatgen")
    torch.set_grad_enabled(False)
    crystals = read_crystals(arguments.data).crystals[: arguments.limit]
    model = CHGNet.load(use_device=arguments.device, verbose=False)
    began = time.perf_counter()
    labelled = []
    for crystal, (values, why) in zip(
        crystals, features(model, crystals, arguments.batch_size), strict=True
    ):
        if values is None:
            print(f"{crystal.id}: no features: {why}", file=sys.stderr)
            labelled.append(crystal)
            continue
        if not np.isfinite(values).all() or len(values) != crystal.n_atoms:
            sys.exit(f"{crystal.id}: CHGNet returned {values.shape} features, or not numbers")
        labelled.append(crystal.with_labels({**crystal.labels, NAME: values}))
        if len(labelled) % CHUNK == 0:
            print(f"{len(labelled):,} of {len(crystals):,}", file=sys.stderr)
    seconds = time.perf_counter() - began
    version = str(getattr(model, "version", ""))
    write_parquet(arguments.out, labelled, metadata={"teacher": f"CHGNet {version}"})
    n_done = sum(NAME in crystal.labels for crystal in labelled)
    print(f"{n_done:,} of {len(crystals):,} crystals in {seconds:.1f} s: {arguments.out}")


if __name__ == "__main__":
    main()
