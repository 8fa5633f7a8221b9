"""Dividing a whole set into training and test parts: folds, held-out elements, time; and on file.

Where a crystal goes follows from its id, its group and the seed, never from the order in which
the crystals are given.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from atomprint.data.grouping import By, groups_of
from atomprint.data.splits import rank
from atomprint.ground.documents import json_of
from atomprint.ground.elements import symbols
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal

Time = float | str


@dataclass(frozen=True)
class Division:
    """A set in two parts.

    Attributes
    ----------
    name
        Such as ``fold 0``.
    train, test
        Indices of crystals, ascending; every one is in exactly one of them.
    """

    name: str
    train: list[int]
    test: list[int]


def k_folds(
    crystals: Sequence[Crystal] | Sequence[str], n_folds: int = 5, seed: int = 0, by: By = "id"
) -> list[Division]:
    """Divide into k parts, each of which is the test part once.

    Groups go, the largest first and those of one size in an order drawn from their names and the
    seed, to the part that is smallest so far.

    Raises
    ------
    UsageError
        If there are fewer groups than folds, or a setting is wrong.
    """
    if n_folds < 2:
        raise UsageError(f"{n_folds} folds divide nothing; 2 at least")
    groups = groups_of(crystals, by)
    if len(groups) < n_folds:
        raise UsageError(
            f"{len(crystals)} crystals are {len(groups)} groups by {by}, too few for {n_folds} "
            "folds"
        )
    parts: list[list[int]] = [[] for _ in range(n_folds)]
    for name in sorted(groups, key=lambda name: (-len(groups[name]), rank(name, seed))):
        min(parts, key=len).extend(groups[name])
    return [_division(f"fold {fold}", part, len(crystals)) for fold, part in enumerate(parts)]


def by_element(
    crystals: Sequence[Crystal], elements: Sequence[str], least: int = 1
) -> list[Division]:
    """Hold out all crystals that contain an element, for one element after the other.

    Raises
    ------
    UsageError
        If an element is not known, or fewer than `least` crystals have it or lack it.
    """
    found = []
    for element in elements:
        if element not in symbols[1:]:
            raise UsageError(f"{element!r} is no element; give symbols such as Li")
        number = list(symbols).index(element)
        test = [i for i, crystal in enumerate(crystals) if number in crystal.numbers]
        if min(len(test), len(crystals) - len(test)) < max(least, 1):
            raise UsageError(
                f"{len(test)} of {len(crystals)} crystals contain {element}; holding it out leaves "
                "too few to judge or to train on"
            )
        found.append(_division(f"without {element}", test, len(crystals)))
    return found


def by_time(
    crystals: Sequence[Crystal], times: str | Mapping[str, Time], test: float = 0.2
) -> Division:
    """Train on the past, judge on what came later; crystals of one moment stay together.

    Parameters
    ----------
    crystals
        The set.
    times
        Name of a label with a year (2019, 2019.5) or another number that grows with time; or a
        number or an ISO date (``2019-04-02``) by id.
    test
        Fraction that judges, met as closely as moments allow.

    Raises
    ------
    UsageError
        If the fraction is none, or all crystals are of one moment.
    DataError
        If a crystal has no time, or one that cannot be read.
    """
    if not 0 < test < 1:
        raise UsageError(f"test={test:g} is no fraction; give a number between 0 and 1")
    moments = np.array([_moment(crystal, times) for crystal in crystals])
    distinct, counts = np.unique(moments, return_counts=True)
    if len(distinct) < 2:
        raise UsageError("all crystals are of one moment; they cannot be divided by time")
    # Number of crystals that judge if the test part begins with each moment but the first.
    later = np.cumsum(counts[::-1])[::-1][1:]
    begin = distinct[1:][int(np.argmin(np.abs(later - test * len(crystals))))]
    return _division("later", np.flatnonzero(moments >= begin).tolist(), len(crystals))


def write_divisions(
    path: str | os.PathLike[str],
    divisions: Sequence[Division],
    crystals: Sequence[Crystal] | Sequence[str],
) -> str:
    """Write divisions as JSON: ``{"hash", "splits": [{"name", "train": [ids], "test": [ids]}]}``.

    Returns
    -------
    str
        The hash, of names and ids in their order.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    ids = _ids(crystals)
    splits = [
        {"name": d.name, "train": [ids[i] for i in d.train], "test": [ids[i] for i in d.test]}
        for d in divisions
    ]
    digest = hash_of(splits)
    try:
        Path(path).write_text(json.dumps({"hash": digest, "splits": splits}), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{os.fspath(path)}: cannot be written ({reason})") from None
    return digest


def read_divisions(
    path: str | os.PathLike[str],
    crystals: Sequence[Crystal] | Sequence[str],
    partial: bool = False,
) -> list[Division]:
    """Read divisions of these crystals; those that a division leaves out are in neither part.

    Parameters
    ----------
    path
        The file.
    crystals
        The set that was divided, or what is left of it.
    partial
        Pass over ids that no crystal has, as long as both parts keep some.

    Raises
    ------
    UsageError
        If there is no such file.
    DataError
        If it is no file of divisions, was changed by hand, names an unknown crystal, has one
        in two parts, or nothing is left of a part.
    """
    where = os.fspath(path)
    try:
        content = json_of(Path(path).read_text(encoding="utf-8"))
        splits = [
            {"name": str(s["name"]), "train": list(s["train"]), "test": list(s["test"])}
            for s in content["splits"]
        ]
        stated = content["hash"]
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where}: no file of divisions ({error!r})") from None
    if stated != hash_of(splits):
        raise DataError(f"{where}: its hash does not fit; it was changed after it was written")
    place = {id: index for index, id in enumerate(_ids(crystals))}
    found = []
    for one in splits:
        named = [*one["train"], *one["test"]]
        unknown = next((id for id in named if id not in place), None)
        if unknown is not None and not partial:
            raise DataError(f"{where}: {one['name']}: no crystal has the id {unknown!r}")
        if len(set(named)) < len(named):
            twice = next(id for id in named if named.count(id) > 1)
            raise DataError(f"{where}: {one['name']}: {twice!r} is there twice")
        train, test = ([place[id] for id in one[part] if id in place] for part in ("train", "test"))
        if unknown is not None and not (train and test):
            raise DataError(f"{where}: {one['name']}: a part has none of these crystals")
        found.append(Division(str(one["name"]), train, test))
    return found


def hash_of(splits: Sequence[Mapping[str, object]]) -> str:
    """Short hash of names and ids in their order; `splits` as they stand in the file."""
    plain = [{key: split[key] for key in ("name", "train", "test")} for split in splits]
    return hashlib.sha256(repr(plain).encode()).hexdigest()[:16]


def _division(name: str, test: Sequence[int], n: int) -> Division:
    judged = set(test)
    return Division(name, [i for i in range(n) if i not in judged], sorted(test))


def _ids(crystals: Sequence[Crystal] | Sequence[str]) -> list[str]:
    return [item if isinstance(item, str) else item.id for item in crystals]


def _moment(crystal: Crystal, times: str | Mapping[str, Time]) -> float:
    """Number that grows with time: as given, or days since 1970 of a date."""
    if isinstance(times, str):
        given: object = crystal.labels.get(times)
        what = f"label {times!r}"
    else:
        given, what = times.get(crystal.id), "time"
    if isinstance(given, str):
        try:
            date = datetime.fromisoformat(given.strip())
        except ValueError:
            raise DataError(
                f"{crystal.id} has the {what} {given!r}; give dates as 2019-04-02, or numbers"
            ) from None
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() / 86400
    if given is None or np.ndim(given) or not math.isfinite(float(given)):  # type: ignore[arg-type]
        raise DataError(f"{crystal.id} has no {what}; without one it cannot be divided by time")
    return float(given)  # type: ignore[arg-type]
