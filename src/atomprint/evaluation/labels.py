"""From the name of a label to what a network is asked to predict."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from atomprint.ground.errors import DataError, UsageError
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import Problem, ReadResult

_LOGARITHM = re.compile(r"log10\((?P<label>.+)\)")


def with_logarithms(
    target: str | Sequence[str] | Sequence[Target], result: ReadResult
) -> ReadResult:
    """Add the labels ``log10(NAME)`` that are asked for, where ``NAME`` is a label.

    Numbers that have no logarithm are problems of the result; their crystals stay, without the
    label.
    """
    wanted = [target] if isinstance(target, str) else list(target)
    crystals, units, problems = list(result.crystals), dict(result.units), list(result.problems)
    for name in wanted:
        match = _LOGARITHM.fullmatch(name) if isinstance(name, str) else None
        if match is None or any(name in crystal.labels for crystal in crystals):
            continue
        base = match["label"]
        for row, crystal in enumerate(crystals):
            if base not in crystal.labels:
                continue
            values = np.asarray(crystal.labels[base], dtype=np.float64)
            if not (values > 0).all():
                reason = f"label {base!r} is {values.min():g}, which has no logarithm; left out"
                problems.append(Problem(crystal.source, crystal.id, reason, "label"))
                continue
            logarithm = np.log10(values)
            value = float(logarithm) if values.ndim == 0 else logarithm
            crystals[row] = crystal.with_labels({**crystal.labels, str(name): value})
        if base in units:
            units[str(name)] = f"log10({units[base]})" if units[base] else ""
    return replace(result, crystals=crystals, units=units, problems=problems)


def describe_targets(
    target: str | Sequence[str] | Sequence[Target], result: ReadResult, task: str
) -> list[Target]:
    """Describe the labels asked for: what they belong to, their size, their unit.

    Parameters
    ----------
    target
        Name of a label, or of several; a :class:`Target` is taken as it is.
    result
        The crystals, with the units that their labels were given.
    task
        ``regression`` or ``classification``.

    Raises
    ------
    UsageError
        If no crystal has the label.
    DataError
        If classes are no whole numbers from 0 on.
    """
    wanted = [target] if isinstance(target, str) else list(target)
    known: dict[str, int] = {}
    for crystal in result.crystals:
        for name in crystal.labels:
            known[name] = known.get(name, 0) + 1
    described = []
    for item in wanted:
        if isinstance(item, Target):
            described.append(item)
            continue
        if not isinstance(item, str) or item not in known:
            match = _LOGARITHM.fullmatch(str(item))
            if match is not None and match["label"] in known:
                raise DataError(f"label {match['label']!r} is nowhere above zero: no logarithm")
            close = difflib.get_close_matches(match["label"] if match else str(item), known, n=1)
            names = ", ".join(sorted(known)) or "none"
            hint = f"did you mean {close[0]!r}?" if close else f"labels found: {names}"
            raise UsageError(f"no crystal has a label {item!r}; {hint}")
        holders = [c for c in result.crystals if item in c.labels]
        first = np.asarray(holders[0].labels[item])
        per: Literal["atom", "crystal"] = "atom" if first.ndim >= 1 and all(
            np.ndim(c.labels[item]) >= 1 and len(np.asarray(c.labels[item])) == c.n_atoms
            for c in holders
        ) else "crystal"  # fmt: skip
        size = first.size // (holders[0].n_atoms if per == "atom" else 1)
        if task == "classification":
            size = _count_classes(item, holders)
        described.append(
            Target(
                name=item,
                per=per,
                size=size,
                unit=result.units.get(item, ""),
                task="classification" if task == "classification" else "regression",
            )
        )
    return described


def _count_classes(name: str, holders: Sequence[Crystal]) -> int:
    values = np.concatenate([np.ravel(c.labels[name]) for c in holders])
    values = values[np.isfinite(values)]
    if (values < 0).any() or (values != np.round(values)).any():
        bad = next(float(v) for v in values if v < 0 or v != round(v))
        raise DataError(f"label {name!r} holds {bad:g}; classes are whole numbers from 0 on")
    return max(2, int(values.max()) + 1)
