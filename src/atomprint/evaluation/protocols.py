"""Which crystals train and which judge: the protocols of an evaluation, as lists of cases."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import Field

from atomprint.data.divisions import Division, by_element, by_time, k_folds, read_divisions
from atomprint.data.grouping import BY, By
from atomprint.data.splits import split
from atomprint.ground.elements import symbols
from atomprint.ground.errors import UsageError
from atomprint.ground.settings import Settings
from atomprint.structures.crystal import Crystal


@dataclass(frozen=True)
class Case:
    """One division of a set: an arm learns from ``train`` and is judged on ``test``.

    Attributes
    ----------
    name
        Such as ``fold 0``.
    train, test
        Indices of crystals. Whatever validates is taken from ``train`` by the arm.
    seed
        Of all that an arm draws.
    fold
        Number of the fold, where the case is one of several that share out a set.
    """

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]
    seed: int
    fold: int | None = None


class MatBench(Settings):
    """The official five folds; test folds decide nothing, arms validate within the others."""

    kind: Literal["matbench"] = "matbench"
    folds: tuple[int, ...] = Field((0, 1, 2, 3, 4), description="which of the five to do")
    n_seeds: int = Field(1, ge=1, description="runs a fold, differing in their seed")


class Paper(Settings):
    """Random 60/20/20 for training, validation and test, repeated with other seeds."""

    kind: Literal["paper"] = "paper"
    n_seeds: int = Field(5, ge=1, description="random divisions")
    by: By = Field("id", description=BY)


class KFold(Settings):
    """A set of one's own in k parts, each of which judges once."""

    kind: Literal["kfold"] = "kfold"
    n_folds: int = Field(5, ge=2, description="parts")
    seed: int = Field(0, ge=0, description="of the division")
    by: By = Field("id", description=BY)


class Curve(Settings):
    """Learning curve: one test part, more and more labels, several draws of each number."""

    kind: Literal["curve"] = "curve"
    n_labels: tuple[int, ...] = Field(
        (30, 100, 300, 1000, 3000),
        min_length=1,
        description="labels, validation included; numbers beyond what there is become all there is",
    )
    n_seeds: int = Field(3, ge=1, description="draws of labels for each number")
    test: float = Field(0.2, gt=0, lt=1, description="part that judges all of them")
    most_test: int = Field(1000, ge=10, description="crystals that judge, at most")
    by: By = Field("id", description=BY)
    splits: str | None = Field(
        None,
        description="splits.json of one division: its test part judges and labels are drawn from "
        "its training part, instead of `test`, `most_test` and `by`",
    )


class HeldOutElements(Settings):
    """One element after the other is never seen in training; all crystals that have it judge."""

    kind: Literal["element"] = "element"
    elements: tuple[str, ...] | None = Field(
        None,
        description="symbols; none: the most frequent ones among those that 5 % to 50 % of the "
        "crystals contain, and at least 10",
    )
    n_elements: int = Field(5, ge=1, description="how many, where none are named")
    n_seeds: int = Field(1, ge=1, description="runs an element, differing in their seed")


class Later(Settings):
    """Train on what was known, be judged on what came later."""

    kind: Literal["time"] = "time"
    label: str = Field("year", description="a label that grows with time: a year, a date, a number")
    test: float = Field(0.2, gt=0, lt=1, description="part that judges, the latest")
    n_seeds: int = Field(1, ge=1, description="runs, differing in their seed")


class Given(Settings):
    """Divisions from a file that ``atomprint data split`` or an evaluation wrote."""

    kind: Literal["splits"] = "splits"
    file: str = Field(description="splits.json: training and test ids with a hash")
    n_seeds: int = Field(1, ge=1, description="runs a division, differing in their seed")


Protocol = Annotated[
    MatBench | Paper | KFold | Curve | HeldOutElements | Later | Given,
    Field(discriminator="kind"),
]
GROUPED = ("paper", "kfold", "curve")
"""Protocols that can keep groups of crystals together."""


def divided_by(by: str, kind: str | None, default: str | None = "kfold") -> list[str]:
    """Settings of a protocol, as ``key=value``, for how a person wants a set divided.

    Parameters
    ----------
    by
        ``id``, ``composition``, ``prototype``; ``element`` or ``element=Li,O``; ``time=LABEL``;
        ``splits=FILE``.
    kind
        The protocol that was asked for, if any.
    default
        The protocol to divide by groups where none was asked for; None leaves it to a file.

    Raises
    ------
    UsageError
        If `by` is not known, or does not go with the protocol.
    """
    way, _, value = by.partition("=")
    names = {"element": "elements", "time": "label", "splits": "file"}
    known = (*get_args(By), "element", "element=Li,O", "time=LABEL", "splits=FILE")
    if way in get_args(By) and not value:
        if kind is not None and kind not in GROUPED:
            raise UsageError(f"--by {by} does not go with --protocol {kind}, which says it already")
        kind = kind or default
        return [*([f"protocol.kind={kind}"] if kind else []), f"protocol.by={way}"]
    if way not in names or (not value and way != "element"):
        raise UsageError(f"--by {by!r} is not known; give {', '.join(known)}")
    if (way, kind) == ("splits", "curve"):
        return ["protocol.kind=curve", f"protocol.splits={json.dumps(value)}"]
    if kind is not None:
        raise UsageError(f"--by {by} is a protocol of its own; leave out --protocol {kind}")
    found = [f"protocol.kind={way}"]
    if value:
        words = [one.strip() for one in value.split(",")] if way == "element" else value
        found.append(f"protocol.{names[way]}={json.dumps(words)}")
    return found


def valid_fraction(protocol: Protocol) -> float | None:
    """Part of an arm's training crystals that validates, where the protocol says so."""
    return 0.25 if isinstance(protocol, Paper) else None


def cases(
    protocol: Protocol,
    crystals: Sequence[Crystal],
    folds: Sequence[tuple[Sequence[int], Sequence[int]]] | None = None,
) -> list[Case]:
    """Divide a set.

    Parameters
    ----------
    protocol
        How.
    crystals
        The labelled set.
    folds
        Official folds, for ``matbench``: (training, test) indices of each.

    Raises
    ------
    UsageError
        If official folds are asked for of a set that has none, or the set is too small.
    """
    if len(crystals) < 10:
        raise UsageError(
            f"{len(crystals)} labelled crystals are too few to evaluate on; 10 at least"
        )
    if isinstance(protocol, MatBench):
        if folds is None:
            raise UsageError(
                "this set has no official folds; use --protocol kfold, curve or paper instead"
            )
        if wrong := [f for f in protocol.folds if not 0 <= f < len(folds)]:
            raise UsageError(f"there is no fold {wrong[0]}; folds go from 0 to {len(folds) - 1}")
        return [
            Case(f"fold {fold}" + (f" seed {seed}" if protocol.n_seeds > 1 else ""),
                 tuple(folds[fold][0]), tuple(folds[fold][1]), seed, fold)
            for fold in protocol.folds
            for seed in range(protocol.n_seeds)
        ]  # fmt: skip
    if isinstance(protocol, Paper):
        return [
            Case(f"seed {seed}", tuple(chosen.train), tuple(chosen.test), seed)
            for seed in range(protocol.n_seeds)
            for chosen in [split(crystals, test=0.2, valid=0.0, seed=seed, by=protocol.by)]
        ]
    if isinstance(protocol, KFold):
        parts = k_folds(crystals, protocol.n_folds, protocol.seed, protocol.by)
        return [
            Case(part.name, tuple(part.train), tuple(part.test), 0, fold)
            for fold, part in enumerate(parts)
        ]
    if isinstance(protocol, Curve):
        return _curve(protocol, crystals)
    if isinstance(protocol, HeldOutElements):
        elements = protocol.elements or frequent_elements(crystals, protocol.n_elements)
        return _repeated(by_element(crystals, elements), protocol.n_seeds)
    if isinstance(protocol, Later):
        return _repeated([by_time(crystals, protocol.label, protocol.test)], protocol.n_seeds)
    # Crystals without the label were divided too, and are no longer here.
    return _repeated(read_divisions(protocol.file, crystals, partial=True), protocol.n_seeds)


def frequent_elements(crystals: Sequence[Crystal], n: int) -> list[str]:
    """Elements to hold out: the most frequent of those that enough crystals have, and lack.

    Raises
    ------
    UsageError
        If there is none.
    """
    counts = Counter(z for crystal in crystals for z in crystal.composition)
    least, most = max(10, len(crystals) / 20), len(crystals) / 2
    fit = sorted((-k, z) for z, k in counts.items() if least <= k <= most)
    if not fit:
        raise UsageError(
            "no element is in 5 % to 50 % of the crystals; name some with --by element=Li,O"
        )
    return [str(symbols[z]) for _, z in fit[:n]]


def _repeated(divisions: Sequence[Division], n_seeds: int) -> list[Case]:
    """Every division with several seeds."""
    return [
        Case(
            one.name + (f" seed {seed}" if n_seeds > 1 else ""),
            tuple(one.train),
            tuple(one.test),
            seed,
        )
        for one in divisions
        for seed in range(n_seeds)
    ]


def _curve(protocol: Curve, crystals: Sequence[Crystal]) -> list[Case]:
    train, test = _pool_and_judges(protocol, crystals)
    # Sorted, so that the order of the input plays no part in what is drawn.
    pool = sorted(train, key=lambda index: crystals[index].id)
    found = []
    for n_labels in sorted({min(n, len(pool)) for n in protocol.n_labels}):
        # All labels can be drawn in one way only; seeds still vary the rest.
        for seed in range(protocol.n_seeds):
            order = np.random.default_rng((seed, 4)).permutation(len(pool))[:n_labels]
            drawn = tuple(pool[i] for i in order)
            found.append(Case(f"{n_labels} labels seed {seed}", drawn, tuple(test), seed))
    return found


def _pool_and_judges(
    protocol: Curve, crystals: Sequence[Crystal]
) -> tuple[Sequence[int], Sequence[int]]:
    """What labels of a learning curve are drawn from, and what judges all of them."""
    if protocol.splits is None:
        share = min(protocol.test, protocol.most_test / len(crystals))
        parts = split(crystals, test=share, valid=0.0, seed=0, by=protocol.by)
        return parts.train, parts.test
    given = read_divisions(protocol.splits, crystals, partial=True)
    if len(given) != 1:
        raise UsageError(
            f"{protocol.splits}: holds {len(given)} divisions; a learning curve has one test part, "
            "give a file of one (atomprint data split without --folds)"
        )
    return given[0].train, given[0].test
