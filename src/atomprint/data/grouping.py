"""What stays together when crystals are divided: each for itself, a composition, a prototype."""

import os
from collections.abc import Sequence
from typing import Any, Literal, get_args

from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal

By = Literal["id", "composition", "prototype"]

BY = (
    "id: every crystal for itself; composition: crystals of one reduced formula stay together; "
    "prototype: and those of one structure prototype too"
)

SYMMETRY_TOLERANCE = 0.1
"""Å; how far an atom may be from where a symmetry wants it."""


def groups_of(crystals: Sequence[Crystal] | Sequence[str], by: By) -> dict[str, list[int]]:
    """Indices of crystals that stay together, by a name of the group.

    The groups and their names follow from the crystals, not from their order.

    Parameters
    ----------
    crystals
        Crystals; mere ids with ``by="id"``.
    by
        ``id``: every id for itself. ``composition``: one reduced composition, so that polymorphs
        are on one side. ``prototype``: one composition or one prototype, see :func:`prototype_of`;
        two crystals stay together where a chain of others links them, so that on one side there
        is neither a polymorph nor a crystal with the same arrangement of other elements.

    Raises
    ------
    UsageError
        If `by` is not known, needs more than ids, or spglib is missing.
    """
    if by not in get_args(By):
        raise UsageError(f"by={by!r} is not known; it is {' or '.join(map(repr, get_args(By)))}")
    groups: dict[str, list[int]] = {}
    if by == "id":
        for index, item in enumerate(crystals):
            name = item.id if isinstance(item, Crystal) else str(item)
            groups.setdefault(name, []).append(index)
        return groups
    whole = [item for item in crystals if isinstance(item, Crystal)]
    if len(whole) < len(crystals):
        raise UsageError(f"by={by!r} needs the crystals, not only their ids")
    compositions = [str(tuple(crystal.composition.items())) for crystal in whole]
    if by == "composition":
        names = compositions
    else:
        names = _linked(compositions, [prototype_of(crystal) for crystal in whole])
    for index, name in enumerate(names):
        groups.setdefault(name, []).append(index)
    return groups


def prototype_of(crystal: Crystal) -> str:
    """Anonymous formula and number of the space group, such as ``1-1-3 221`` of a perovskite.

    Coarser than the prototypes of AFLOW, which tell apart which Wyckoff positions are taken: too
    much may stay together, too little does not. A crystal for which spglib finds no symmetry
    counts with those of its anonymous formula that have none.

    Raises
    ------
    UsageError
        If spglib is not installed. There is no substitute for it on purpose: the same call must
        divide the same crystals in the same way everywhere.
    """
    try:
        import spglib
    except ModuleNotFoundError:
        raise UsageError(
            "prototypes need spglib; install it with pip install 'atomprint[symmetry]'"
        ) from None
    # spglib writes to standard error what it also says by giving None.
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    anonymous = "-".join(map(str, sorted(crystal.composition.values())))
    try:
        cell: Any = (crystal.cell, crystal.frac, crystal.numbers)
        found = spglib.get_symmetry_dataset(cell, symprec=SYMMETRY_TOLERANCE)
    # spglib has exceptions of its own from version 3 on, and gives None before.
    except Exception:
        found = None
    return f"{anonymous} {found.number if found is not None else 1}"


def _linked(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Names of the groups in which items are linked by an equal first or an equal second."""
    parents: dict[tuple[int, str], tuple[int, str]] = {}

    def root(node: tuple[int, str]) -> tuple[int, str]:
        parents.setdefault(node, node)
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for one, other in zip(first, second, strict=True):
        # The smaller name becomes the root, so that the order of items leaves no trace.
        low, high = sorted((root((0, one)), root((1, other))))
        parents[high] = low
    return [root((0, one))[1] for one in first]
