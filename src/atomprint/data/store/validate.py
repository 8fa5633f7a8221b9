"""Looking for damage in a store, and mending what can be mended."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shutil import copyfile

import numpy as np

from atomprint.data.store.convert import QUARANTINE, read_quarantine
from atomprint.data.store.layout import (
    AnyArray,
    DamagedShard,
    Header,
    check_arrays,
    map_arrays,
    read_header,
    write_shard,
)
from atomprint.data.store.packing import LABEL, contradiction, counts_of, hash_id, id_at, misfit
from atomprint.data.store.remote import is_remote
from atomprint.data.store.seen import SeenIds
from atomprint.data.store.store import (
    DESCRIPTION,
    LOST,
    Description,
    Provenance,
    lacking,
    lost_shards,
    read_description,
    shard_paths,
)
from atomprint.data.store.writer import StoreWriter, write_text
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.reading.result import Problem

DAMAGED = "damaged"
_CHANGED = "bytes were changed in: "
_HASHES = f"{_CHANGED}id_hashes"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong.

    Attributes
    ----------
    file
        The shard, or ``store.json``.
    reason
        What is wrong with it.
    ids
        Crystals that are concerned, where that can still be read.
    repaired
        What was done about it; empty if nothing.
    lost
        Whether crystals are no longer in the store.
    """

    file: Path
    reason: str
    ids: tuple[str, ...] = ()
    repaired: str = ""
    lost: bool = False


@dataclass(frozen=True)
class Validation:
    """What was found.

    Attributes
    ----------
    damages
        What is wrong; empty for a sound store.
    n_shards, n_crystals, n_bytes
        Of all shards that could be read.
    """

    damages: list[Damage] = field(default_factory=list)
    n_shards: int = 0
    n_crystals: int = 0
    n_bytes: int = 0


def validate_store(
    path: str | Path, *, repair: bool = False, progress: Progress | None = None
) -> Validation:
    """Read every byte of a store and compare it with what was written.

    Found are: shards that are cut off, changed, no shards or missing; counts that contradict each
    other; ids that stand for two crystals; a description that cannot be read; and that what made
    the store never came to its end, which only that command mends. Repairing moves
    damaged shards to the folder ``damaged`` and notes their ids, where they can be read, in
    ``quarantine.jsonl``; of a shard whose labels alone are damaged it keeps the crystals, unless
    the command that made the store can read them once more; takes out the later one of two
    crystals with one id; and makes the description anew from the shards.

    Parameters
    ----------
    path
        The store.
    repair
        Whether to change anything.
    progress
        Called with the number of shards done and of all shards.

    Raises
    ------
    UsageError
        If there is no store, or another process is writing to it.
    """
    if is_remote(path):
        raise UsageError(
            f"{path}: only stores on this machine can be checked; shards from elsewhere are "
            "checked when they arrive"
        )
    folder = Path(path)
    files = shard_paths(folder)
    if not files and not (folder / DESCRIPTION).is_file():
        raise UsageError(f"{folder}: is no store (it has neither {DESCRIPTION} nor shards)")
    if not repair:
        return _look(folder, files, False, progress)
    if _description_damage(folder) is not None:
        _new_description(folder, files)
        found = _repaired(folder, progress)
        made = Damage(folder / DESCRIPTION, "cannot be read", (), "made anew from the shards")
        found.damages.insert(0, made)
        return found
    return _repaired(folder, progress)


def _repaired(folder: Path, progress: Progress | None) -> Validation:
    """Repair while nobody else writes."""
    # A writer looks at every shard; those that are damaged are out of its way first.
    damages = []
    for file in shard_paths(folder):
        if (reason := _unreadable(file)) is not None:
            damages.append(_set_aside(folder, file, reason, ()))
    with StoreWriter(folder) as writer:
        found = _look(folder, shard_paths(folder), True, progress)
        moved = {damage.file for damage in damages}
        found.damages[:] = [*damages, *(d for d in found.damages if d.file not in moved)]
        # A store that no command made is what it is.
        if writer.description.inputs and any(damage.lost for damage in found.damages):
            writer.describe(holes=True)
    return found


def _unreadable(file: Path) -> str | None:
    try:
        read_header(file)
    except DataError as error:
        return str(error)
    return None


def _description_damage(folder: Path) -> str | None:
    try:
        read_description(folder)
    except (DataError, UsageError) as error:
        return str(error)
    return None


def _look(folder: Path, files: list[Path], repair: bool, progress: Progress | None) -> Validation:
    damages: list[Damage] = []
    # Whether a command can read once more what is set aside.
    again = True
    if (reason := _description_damage(folder)) is not None:
        damages.append(Damage(folder / DESCRIPTION, reason))
    else:
        again = bool(read_description(folder).inputs)
        # The writer that repairs lists the shards anew when it ends.
        said = "no longer named there" if repair else ""
        description = read_description(folder)
        damages += [
            Damage(file, LOST, (), said, lost=True)
            for file in lost_shards(folder, description, files)
        ]
        if reason := lacking(description):
            damages.append(Damage(folder / DESCRIPTION, reason))
    seen = SeenIds()
    n_crystals = n_bytes = n_shards = 0
    for done, file in enumerate(files, start=1):
        damage, header = _damage_of(file)
        if damage is not None and repair:
            damage, header = _mended(folder, file, damage, again)
        if damage is not None:
            damages.append(damage)
        if header is not None and header.n_crystals:
            damage, header = _doubled(file, header, seen, repair)
            damages += [damage] if damage is not None else []
        if header is not None:
            n_shards += 1
            n_crystals += header.n_crystals
            n_bytes += file.stat().st_size
        if progress is not None:
            progress(done, len(files))
    return Validation(damages, n_shards, n_crystals, n_bytes)


def _damage_of(file: Path) -> tuple[Damage | None, Header | None]:
    """What is wrong with a shard by itself, else its header."""
    try:
        header = read_header(file)
        broken = check_arrays(file, header)
    except DamagedShard as error:
        return Damage(file, str(error)), None
    if header.n_crystals and (name := misfit(header)):
        return Damage(file, f"its {name} is not as atomprint writes it"), None
    arrays = map_arrays(file, header)
    if broken:
        ids = () if {"ids", "id_stops"} & set(broken) else tuple(_ids(arrays, header))
        return Damage(file, _CHANGED + ", ".join(broken), ids), None
    if reason := _contradiction(arrays, header):
        return Damage(file, reason, ()), None
    return None, header


def _mended(folder: Path, file: Path, damage: Damage, again: bool) -> tuple[Damage, Header | None]:
    """Mend a shard, or set it aside, and say so; its header, if it is still there."""
    if damage.reason == _HASHES:
        # They follow from the ids: nothing is lost.
        return _rehashed(file)
    if not again and (names := _damaged_labels(file)):
        return _unlabelled(folder, file, damage, names)
    return _set_aside(folder, file, damage.reason, damage.ids), None


def _rehashed(file: Path) -> tuple[Damage, Header]:
    """Write a shard anew with hashes of its ids."""
    header = read_header(file)
    arrays = {name: np.array(array) for name, array in map_arrays(file, header).items()}
    arrays["id_hashes"] = np.array([hash_id(id) for id in _ids(arrays, header)], np.uint64)
    return Damage(file, _HASHES, (), "made anew from the ids"), write_shard(
        file, arrays, header.about
    )


def _damaged_labels(file: Path) -> frozenset[str]:
    """Names of the damaged labels of a shard that has no other damage, else none."""
    try:
        header = read_header(file)
        broken = set(check_arrays(file, header))
    except DamagedShard:
        return frozenset()
    names = {name: {LABEL + name, f"{LABEL}{name}:stops"} for name in header.about["labels"]}
    damaged = frozenset(name for name, arrays in names.items() if arrays & broken)
    whole = broken <= set().union(*(names[name] for name in damaged))
    return damaged if whole else frozenset()


def _unlabelled(
    folder: Path, file: Path, damage: Damage, names: frozenset[str]
) -> tuple[Damage, Header | None]:
    """Write a shard anew without some of its labels; it is kept as it was, too."""
    header = read_header(file)
    gone = {LABEL + name for name in names} | {f"{LABEL}{name}:stops" for name in names}
    arrays = {k: np.array(v) for k, v in map_arrays(file, header).items() if k not in gone}
    about = dict(header.about)
    for what in ("labels", "units"):
        about[what] = {k: v for k, v in about.get(what, {}).items() if k not in names}
    reason = _contradiction(arrays, header)
    if reason:
        return _set_aside(folder, file, reason, ()), None
    aside = folder / DAMAGED / file.name
    try:
        aside.parent.mkdir(exist_ok=True)
        copyfile(file, aside)
    except OSError as error:
        raise UsageError(f"{aside}: cannot be written ({error.strerror or error})") from None
    said = f"its crystals lost {', '.join(sorted(names))} and are kept; as it was: {aside}"
    return replace(damage, repaired=said), write_shard(file, arrays, about)


def _contradiction(arrays: dict[str, AnyArray], header: Header) -> str:
    """What does not fit together in a shard whose bytes are as they were written."""
    if not header.n_crystals:
        return ""
    if reason := contradiction(arrays, header):
        return reason
    pairs = zip(_ids(arrays, header), arrays["id_hashes"], strict=True)
    try:
        if any(hash_id(id) != int(known) for id, known in pairs):
            return "ids and their hashes do not belong together"
    except UnicodeDecodeError:
        return "it has ids that are no text"
    return ""


def _ids(arrays: dict[str, AnyArray], header: Header) -> Iterator[str]:
    return (id_at(arrays, row) for row in range(header.n_crystals))


def _doubled(
    file: Path, header: Header, seen: SeenIds, repair: bool
) -> tuple[Damage | None, Header]:
    """Look for crystals whose id an earlier one has."""
    arrays = map_arrays(file, header)
    keep = np.array([seen.add(int(value)) for value in arrays["id_hashes"]], np.bool_)
    if keep.all():
        return None, header
    ids = tuple(id_at(arrays, int(row)) for row in np.flatnonzero(~keep))
    done = ""
    if repair:
        header = write_shard(file, *_without(arrays, header, keep))
        done = "the later ones were taken out"
    return Damage(file, f"{len(ids):,} ids stand for two crystals", ids, done), header


def _without(
    arrays: dict[str, AnyArray], header: Header, keep: AnyArray
) -> tuple[dict[str, AnyArray], dict[str, object]]:
    """Arrays and header of a shard without some of its crystals."""
    counts = {
        "atom": counts_of(arrays["atom_stops"]),
        "id": counts_of(arrays["id_stops"]),
    }
    of_atoms, of_ids = np.repeat(keep, counts["atom"]), np.repeat(keep, counts["id"])
    kept: dict[str, AnyArray] = {}
    for name, array in arrays.items():
        if name.endswith("_stops"):
            kept[name] = np.cumsum(counts[name[: -len("_stops")]][keep]).astype(np.uint32)
        elif name in ("numbers", "positions"):
            kept[name] = array[of_atoms]
        elif name == "ids":
            kept[name] = array[of_ids]
        elif f"{name}:stops" in arrays:
            sizes = counts_of(arrays[f"{name}:stops"])
            kept[name] = array[np.repeat(keep, sizes)]
        elif name.startswith(LABEL) and name.endswith(":stops"):
            sizes = counts_of(array)
            kept[name] = np.cumsum(sizes[keep]).astype(np.uint32)
        else:
            kept[name] = array[keep]
    about = {
        **header.about, "n_crystals": int(keep.sum()), "n_atoms": int(counts["atom"][keep].sum())
    }  # fmt: skip
    return kept, about


def _set_aside(folder: Path, file: Path, reason: str, ids: tuple[str, ...]) -> Damage:
    """Move a damaged shard out of the store, and note whom it held."""
    aside = folder / DAMAGED
    try:
        aside.mkdir(exist_ok=True)
        file.replace(aside / file.name)
    except OSError as error:
        raise UsageError(f"{file}: cannot be moved ({error.strerror or error})") from None
    lost = [Problem(file.name, id, f"was in a damaged shard: {reason}", "broken") for id in ids]
    lost = lost or [Problem(file.name, "", f"is damaged: {reason}", "broken")]
    rows = [*read_quarantine(folder), *lost]
    lines = [json.dumps(asdict(problem), ensure_ascii=False) for problem in rows]
    write_text(folder / QUARANTINE, "".join(f"{line}\n" for line in lines))
    return Damage(file, reason, ids, f"moved to {aside / file.name}", lost=True)


def _new_description(folder: Path, files: list[Path]) -> None:
    """Make ``store.json`` from what the shards say."""
    units: dict[str, str] = {}
    exact = False
    provenance: dict[Provenance, None] = {}
    inputs = ""
    for file in files:
        if _unreadable(file) is None:
            header = read_header(file)
            units |= header.about.get("units", {})
            place = header.arrays.get("positions")
            exact |= place is not None and place.dtype == "<f8"
            known = header.about.get("provenance", [])
            provenance |= dict.fromkeys(Provenance.model_validate(one) for one in known)
            inputs = header.about.get("inputs", inputs)
    # Whether all of it is there only the command that made it can find out.
    description = Description(
        units=units, exact=exact, provenance=tuple(provenance), inputs=inputs,
        holes=bool(inputs),
    )  # fmt: skip
    write_text(folder / DESCRIPTION, description.model_dump_json(indent=1) + "\n")
