"""Which crystals train and which judge: the protocols of an evaluation, as lists of cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from atomprint.data.splits import split
from atomprint.ground.errors import UsageError
from atomprint.ground.settings import Settings
from atomprint.structures.crystal import Crystal

By = Literal["id", "composition"]
BY = "id: every crystal for itself; composition: crystals of one reduced formula stay together"


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


Protocol = Annotated[MatBench | Paper | KFold | Curve, Field(discriminator="kind")]


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
            Case(f"seed {seed}", tuple(parts.train), tuple(parts.test), seed)
            for seed in range(protocol.n_seeds)
            for parts in [split(crystals, test=0.2, valid=0.0, seed=seed)]
        ]
    if isinstance(protocol, KFold):
        return _k_folds(protocol, crystals)
    return _curve(protocol, crystals)


def _k_folds(protocol: KFold, crystals: Sequence[Crystal]) -> list[Case]:
    """Parts are cut off one after another, each a fair share of what is left."""
    left = list(range(len(crystals)))
    found = []
    for fold in range(protocol.n_folds):
        share = 1 / (protocol.n_folds - fold)
        part = left
        if share < 1:
            some = [crystals[i] for i in left]
            chosen = split(some, test=share, valid=0.0, seed=protocol.seed, by=protocol.by)
            part, left = [left[i] for i in chosen.test], [left[i] for i in chosen.train]
        judged = set(part)
        train = tuple(i for i in range(len(crystals)) if i not in judged)
        found.append(Case(f"fold {fold}", train, tuple(part), 0, fold))
    return found


def _curve(protocol: Curve, crystals: Sequence[Crystal]) -> list[Case]:
    share = min(protocol.test, protocol.most_test / len(crystals))
    parts = split(crystals, test=share, valid=0.0, seed=0, by=protocol.by)
    # Sorted, so that the order of the input plays no part in what is drawn.
    pool = sorted(parts.train, key=lambda index: crystals[index].id)
    found = []
    for n_labels in sorted({min(n, len(pool)) for n in protocol.n_labels}):
        # All labels can be drawn in one way only; seeds still vary the rest.
        for seed in range(protocol.n_seeds):
            order = np.random.default_rng((seed, 4)).permutation(len(pool))[:n_labels]
            train = tuple(pool[i] for i in order)
            found.append(Case(f"{n_labels} labels seed {seed}", train, tuple(parts.test), seed))
    return found
