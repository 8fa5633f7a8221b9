"""What is in some files: a first look before anything is trained on them."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from atomprint.data.load import load_crystals
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.elements import symbol_of
from atomprint.structures.reading.files import PathInput

WIDE = 1e4
"""Labels above zero whose largest is more than so many times their smallest are wide."""


@dataclass(frozen=True)
class Inspection:
    """What reading some files gave.

    Attributes
    ----------
    read
        Crystals read.
    skipped
        Crystals or files left out.
    problems
        ``file``, ``id``, ``reason`` and ``kind`` of everything left out, labels included.
    kinds
        Problems counted by kind.
    elements
        Number of crystals that hold each element, by symbol, in order of atomic number.
    atoms
        ``min``, ``median``, ``max`` atoms in a cell and the ``total``; zeros if nothing was read.
    labels
        By name: ``count`` of crystals that have it, ``min``, ``max``, ``mean``, ``std`` (of the
        values, those of all atoms for labels per atom), ``unit`` and ``per`` (atom or crystal).
    notes
        Sentences on what was passed over without being a problem.
    """

    read: int
    skipped: int
    problems: list[dict[str, str]]
    kinds: dict[str, int]
    elements: dict[str, int]
    atoms: dict[str, float]
    labels: dict[str, dict[str, Any]]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def inspect(
    path: PathInput | Sequence[PathInput],
    labels: PathInput | None = None,
    strict: bool = False,
    *,
    id_column: str | None = None,
    ordering: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Read crystals and labels and say what is there and what is wrong.

    Parameters
    ----------
    path, labels, strict, id_column, ordering, progress
        As for `atomprint.structures.reading.read_crystals`.
    """
    result = load_crystals(
        path, labels=labels, id_column=id_column, ordering=ordering, strict=strict,
        progress=progress,
    )  # fmt: skip
    crystals = result.crystals
    elements = Counter(
        number for crystal in crystals for number in np.unique(crystal.numbers).tolist()
    )
    found = {name: _label(name, unit, crystals) for name, unit in result.units.items()}
    return Inspection(
        read=len(crystals),
        skipped=result.n_skipped,
        problems=[
            {"file": p.file, "id": p.id, "reason": p.reason, "kind": p.kind}
            for p in result.problems
        ],
        kinds=result.counts(),
        elements={symbol_of(number): elements[number] for number in sorted(elements)},
        atoms=_atoms(crystals),
        labels=found,
        notes=[*result.notes, *_on_wide_labels(found)],
    )


def _on_wide_labels(labels: dict[str, dict[str, Any]]) -> list[str]:
    """What to do with labels over many orders of magnitude, of which means know the largest."""
    return [
        f"label {name!r} goes over {np.log10(label['max'] / label['min']):.0f} orders of "
        f"magnitude; --target 'log10({name})' learns its logarithm"
        for name, label in labels.items()
        if label["min"] > 0 and label["max"] / label["min"] > WIDE
    ]


def _atoms(crystals: list[Crystal]) -> dict[str, float]:
    counts = [crystal.n_atoms for crystal in crystals] or [0]
    return {
        "min": min(counts),
        "median": float(np.median(counts)),
        "max": max(counts),
        "total": sum(counts),
    }


def _label(name: str, unit: str, crystals: list[Crystal]) -> dict[str, Any]:
    values = [crystal.labels[name] for crystal in crystals if name in crystal.labels]
    flat = np.concatenate([np.ravel(value) for value in values])
    per_atom = any(isinstance(value, np.ndarray) for value in values)
    return {
        "count": len(values),
        "min": float(flat.min()),
        "max": float(flat.max()),
        "mean": float(flat.mean()),
        "std": float(flat.std()),
        "unit": unit,
        "per": "atom" if per_atom else "crystal",
    }
