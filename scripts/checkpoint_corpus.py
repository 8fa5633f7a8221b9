"""Choose the crystals that the shipped checkpoints are pre-trained on.

    python scripts/checkpoint_corpus.py --data DIR --out FOLDER

``DIR`` holds the public sets named below as Parquet (their structures; labels are not kept). Writes
one Parquet file a source into ``FOLDER``, for ``scripts/make_checkpoints.py --data``. Nothing of
it is part of the package: its crystals are the sources', under their licences.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from atomprint.structures.reading import read_crystals
from atomprint.structures.writing import write_parquet
from atomprint.training.run import hash_crystals


@dataclass(frozen=True)
class Part:
    """What is taken of a source: cells of at most ``max_atoms``, ``most`` of them at random."""

    file: str
    max_atoms: int
    most: int
    source: str
    licence: str


# Mostly inorganic crystals. Frameworks are few and small, because each costs as much as twenty
# others, and enough that they are not foreign.
PARTS = (
    Part("mp", 40, 100_000, "Materials Project (Jain et al. 2013)", "CC BY 4.0"),
    Part("qmof", 60, 1_500, "QMOF (Rosen et al. 2021)", "CC BY 4.0"),
    Part("perovskites_unlabelled", 5, 1_500, "Perov-5 (Castelli et al. 2012)", "MIT"),
)


def main() -> None:
    """Choose, strip the labels, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    written = []
    for part in PARTS:
        rows = [
            crystal.with_labels({})
            for crystal in read_crystals(given.data / f"{part.file}.parquet").crystals
            if crystal.n_atoms <= part.max_atoms
        ]
        chosen = np.random.default_rng(7).permutation(len(rows))[: part.most]
        rows = [rows[i] for i in np.sort(chosen)]
        write_parquet(given.out / f"{part.file}.parquet", rows, {})
        written.append({**asdict(part), "n_crystals": len(rows), "hash": hash_crystals(rows)})
        print(written[-1], flush=True)
    (given.out / "parts.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
