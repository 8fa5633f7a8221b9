"""Dividing crystals into training, validation and test parts, the same way every time."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from atomprint.data.grouping import By, groups_of
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal

Part = float | str | os.PathLike[str]


@dataclass(frozen=True)
class Split:
    """Indices of the crystals in each part, ascending.

    Attributes
    ----------
    train, valid, test
        Every index is in exactly one of them.
    """

    train: list[int]
    valid: list[int]
    test: list[int]


def split(
    crystals: Sequence[Crystal] | Sequence[str],
    test: Part = 0.1,
    valid: Part = 0.1,
    seed: int = 0,
    by: By = "id",
) -> Split:
    """Divide crystals at random, or by files of ids.

    Where a crystal goes is decided by a hash of its id and the seed: the order of the input plays
    no part.

    Parameters
    ----------
    crystals
        Crystals, or only their ids.
    test, valid
        A fraction of all crystals (0 to 1), or a file of ids, one a line.
    seed
        Another seed, another split.
    by
        ``id``: every crystal for itself. ``composition``: crystals with the same reduced
        composition stay together, so that no polymorph of a test crystal is trained on.
        ``prototype``: and crystals of the same prototype, see
        :func:`atomprint.data.grouping.groups_of`. Fractions are then met as closely as whole
        groups allow.

    Raises
    ------
    UsageError
        If a fraction or a file is wrong, or `by` cannot be done.
    DataError
        If a file names ids that no crystal has, the same id is in both files, or a file divides
        crystals that stay together.
    """
    ids = [item if isinstance(item, str) else item.id for item in crystals]
    if not ids:
        raise UsageError("there are no crystals to split")
    _check_fractions(test, valid)
    groups = groups_of(crystals, by)

    parts: dict[str, list[str]] = {"test": [], "valid": []}
    taken: set[str] = set()
    for name, part in (("test", test), ("valid", valid)):
        if isinstance(part, float | int):
            continue
        wanted = _ids_in(part, ids)
        for key, members in groups.items():
            inside = [index for index in members if ids[index] in wanted]
            if not inside:
                continue
            if len(inside) < len(members):
                outside = next(index for index in members if ids[index] not in wanted)
                raise DataError(
                    f"{os.fspath(part)}: {ids[inside[0]]} is in the {name} part, but "
                    f"{ids[outside]}, of the same {by}, is not; add it or split by id"
                )
            if key in taken:
                raise DataError(f"{ids[inside[0]]} is in both the test and the validation file")
            taken.add(key)
            parts[name].append(key)

    order = sorted(groups, key=lambda key: rank(key, seed))
    for name, part in (("test", test), ("valid", valid)):
        if isinstance(part, float | int) and part > 0:
            free = [key for key in order if key not in taken]
            parts[name] = _take(free, groups, max(1, round(part * len(ids))), name)
            taken.update(parts[name])
    train = [key for key in order if key not in taken]
    if not train:
        raise UsageError("the test and validation parts leave nothing to train on")
    return Split(
        train=_indices(train, groups),
        valid=_indices(parts["valid"], groups),
        test=_indices(parts["test"], groups),
    )


def rank(text: str, seed: int) -> bytes:
    """Place of a name in an order that the seed decides."""
    return hashlib.sha256(f"{seed}\n{text}".encode()).digest()


def _take(free: list[str], groups: dict[str, list[int]], n_wanted: int, name: str) -> list[str]:
    """Groups in order until the number wanted is met; groups that overshoot are passed over."""
    total = 0
    chosen = []
    for key in free:
        if total >= n_wanted:
            break
        size = len(groups[key])
        if total + size - n_wanted <= abs(n_wanted - total):
            chosen.append(key)
            total += size
    if not chosen:
        raise UsageError(
            f"no group of crystals is small enough for a {name} part of {n_wanted}; "
            "ask for a larger part, or split by id"
        )
    return chosen


def _indices(keys: list[str], groups: dict[str, list[int]]) -> list[int]:
    return sorted(index for key in keys for index in groups[key])


def _check_fractions(test: Part, valid: Part) -> None:
    total = 0.0
    for name, part in (("test", test), ("valid", valid)):
        if isinstance(part, float | int):
            if not 0 <= part < 1:
                raise UsageError(
                    f"{name}={part:g} is no fraction; give a number from 0 to 1, or a file"
                )
            total += part
    if total >= 1:
        raise UsageError(f"test and valid together are {total:g}, which leaves nothing to train on")


def _ids_in(file: str | os.PathLike[str], ids: Sequence[str]) -> set[str]:
    path = Path(file)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise UsageError(f"{str(path)!r}, the file of ids, {reason}") from None
    wanted = [line.strip() for line in lines if line.strip()]
    if not wanted:
        raise UsageError(f"{str(path)!r}, the file of ids, is empty")
    unknown = sorted(set(wanted) - set(ids))
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise DataError(f"{path}: no crystal has the id {unknown[0]!r}{more}")
    return set(wanted)
