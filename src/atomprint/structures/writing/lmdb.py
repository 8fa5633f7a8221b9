"""An ASE database in LMDB (.aselmdb): what fairchem trains on.

The layout is that of ASE's backend (``ase-db-backends``), which `atomprint.structures.reading.lmdb`
describes; of arrays, those that belong to ASE are plain lists, which older versions of fairchem
read too.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from ase.db.core import now
from ase.stress import full_3x3_to_voigt_6_stress

from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal, LabelValue
from atomprint.structures.writing.ase_db import is_key, key_descriptions
from atomprint.structures.writing.whole import (
    Progress,
    check_crystals,
    counted,
    label_names,
    stress_of,
    strict_json,
    written_whole,
)

MAP_BYTES = 64 << 20
"""Of a file at first; it is doubled as often as the crystals need it."""
_BATCH_BYTES = 1 << 20  # of rows, compressed, that one transaction writes
_NUMBERS = ("energy", "free_energy", "magmom")
_WIDTHS = {"forces": (3,), "charges": (), "magmoms": ()}  # of a row of ASE's own labels per atom
_SEPARATORS = (",", ":")


def write_lmdb(
    path: str | os.PathLike[str],
    crystals: Sequence[Crystal],
    units: Mapping[str, str] | None = None,
    *,
    labels: Mapping[str, bool] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write crystals and labels; `read_crystals` gives them back to the last digit.

    Energies, forces, stresses, charges and magnetic moments are ASE's own; other labels that are
    numbers, where ASE allows their name, stand among a row's key-value pairs; all others
    and the id in its ``data``. Nothing is converted. Units stand in the database's metadata, in
    ``key_descriptions``. The file is complete or not there.

    Parameters
    ----------
    path
        Where to; an existing file is replaced.
    crystals
        With different ids; read once.
    units
        Unit by label name.
    labels
        Names of the labels, and whether each is an array, where that is known; otherwise the
        crystals are read once more for it.
    progress
        Called with crystals done and in all.

    Raises
    ------
    UsageError
        If there are no crystals, a label is called ``id``, or the package lmdb is not installed.
    DataError
        If two crystals have the same id, a label is per atom in one and per crystal in another, or
        one is infinite or not a number.
    """
    path = Path(path)
    lmdb = _package(path)
    check_crystals(path, crystals)
    kinds = label_names(path, crystals) if labels is None else dict(labels)
    if "id" in kinds:
        raise UsageError(f"{path}: a label cannot be called 'id'; rename it")
    keys = {name for name, is_array in kinds.items() if not is_array and is_key(name)}
    with written_whole(path) as partial:
        try:
            with closing(
                # Nothing is kept of a file that is not whole, so that only its end must be safe.
                lmdb.open(str(partial), map_size=MAP_BYTES, subdir=False, lock=False, sync=False)
            ) as database:
                moment = now()  # type: ignore[no-untyped-call]
                for batch in _batches(_rows(path, counted(crystals, progress), keys, moment)):
                    _put(lmdb, database, batch)
                last = {
                    "nextid": len(crystals) + 1,
                    "deleted_ids": [],
                    "metadata": {"key_descriptions": key_descriptions(units)},
                }
                _put(
                    lmdb, database, [(key.encode(), _packed(value)) for key, value in last.items()]
                )
                database.sync(True)
        except lmdb.Error as error:
            raise UsageError(f"{path} cannot be written: {error}") from None


def _package(path: Path) -> Any:
    try:
        import lmdb
    except ModuleNotFoundError:
        raise UsageError(
            f"{path}: needs the package lmdb; install it with: pip install 'atomprint[lmdb]'"
        ) from None
    return lmdb


def _put(lmdb: Any, database: Any, rows: list[tuple[bytes, bytes]]) -> None:
    """Write rows in one transaction, and once more wherever the map was too small for them."""
    while True:
        try:
            with database.begin(write=True) as transaction:
                for key, value in rows:
                    transaction.put(key, value)
            return
        except lmdb.MapFullError:
            database.set_mapsize(2 * database.info()["map_size"])


def _batches(rows: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    batch, size = [], 0
    for row in rows:
        batch.append(row)
        size += len(row[1])
        if size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


def _rows(
    path: Path, crystals: Iterable[Crystal], keys: set[str], moment: float
) -> Iterator[tuple[bytes, bytes]]:
    for number, crystal in enumerate(crystals, start=1):
        text = strict_json(path, crystal, _row(crystal, keys, moment))
        yield b"%d" % number, zlib.compress(text.encode())


def _packed(value: Any) -> bytes:
    return zlib.compress(json.dumps(value, separators=_SEPARATORS).encode())


def _row(crystal: Crystal, keys: set[str], moment: float) -> dict[str, Any]:
    results: dict[str, Any] = {}
    pairs: dict[str, float] = {}
    data: dict[str, Any] = {"id": crystal.id}
    for name, value in crystal.labels.items():
        stress = stress_of(name, value)
        if _is_own(name, value, crystal.n_atoms):
            results[name] = value.tolist() if isinstance(value, np.ndarray) else float(value)
        elif stress is not None:
            if name == "stress":
                results[name] = full_3x3_to_voigt_6_stress(stress).tolist()  # type: ignore[no-untyped-call]
            if name != "stress" or (stress != stress.T).any():  # which ASE's six numbers lose
                data[name] = stress.tolist()
        elif isinstance(value, np.ndarray):
            flat = np.asarray(value, np.float64).ravel().tolist()
            data[name] = {"__ndarray__": [list(value.shape), "float64", flat]}
        elif name in keys:
            pairs[name] = float(value)
        else:
            data[name] = float(value)
    return {
        "numbers": crystal.numbers.tolist(),
        "positions": crystal.positions.tolist(),
        "cell": crystal.cell.tolist(),
        "pbc": [True, True, True],
        **results,
        "calculator": "unknown",
        "calculator_parameters": {},
        "key_value_pairs": pairs,
        "data": data,
        "ctime": moment,
        "mtime": moment,
        "user": "",
        "unique_id": hashlib.sha256(crystal.id.encode()).hexdigest()[:32],
    }


def _is_own(name: str, value: LabelValue, n_atoms: int) -> bool:
    """Whether a label is ASE's property of that name; a stress is told apart by itself."""
    if not isinstance(value, np.ndarray):
        return name in _NUMBERS
    return name in _WIDTHS and value.shape == (n_atoms, *_WIDTHS[name])
