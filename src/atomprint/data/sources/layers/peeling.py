"""Layers peeled from layered crystals: parts that are bonded in two directions only."""

import numpy as np

from atomprint.data.sources.bonded import components, reduced
from atomprint.data.sources.vacuum import in_vacuum
from atomprint.structures.crystal import Crystal


def peel(parent: Crystal, vacuum: float, rng: np.random.Generator) -> Crystal | None:
    """One of the layers of a crystal that consists of layers alone; None for any other crystal."""
    parts = components(parent)
    if any(part.dimension != 2 for part in parts):
        return None
    part = parts[int(rng.integers(len(parts)))]
    positions = parent.positions[part.atoms] + part.offsets @ parent.cell
    first, second = reduced(*(part.translations @ parent.cell))
    positions, cell = in_vacuum(positions, first, second, vacuum)
    return Crystal(parent.id, parent.numbers[part.atoms], positions, cell)
