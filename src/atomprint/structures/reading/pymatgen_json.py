"""JSON as pymatgen writes it: structures, entries, and tables of them. pymatgen is not needed."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from atomprint.structures.crystal import FloatArray
from atomprint.structures.reading.disorder import FULL, Drawn, draw
from atomprint.structures.reading.elements import number_of
from atomprint.structures.reading.labels import id_among, rows_of
from atomprint.structures.reading.result import Found, NotCrystals, Record, Refused

_NO_LABEL = ("structure", "@module", "@class", "@version", "parameters", "energy_adjustments")


def read_json(data: bytes, id_column: str | None, ordering: int | None = None) -> Found:
    """Read one structure or entry, a list of them, ``{id: structure}``, or a table of them.

    The table is what pandas writes with ``orient="split"`` (MatBench's files): ``columns`` with
    one of structures, ``index`` and ``data``. With ``ordering``, a seed, disordered structures
    become ordered ones.
    """
    try:
        content = json.loads(data.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError) as error:
        raise Refused("broken", f"is no sound JSON: {str(error)[:150]}") from None
    items = list(_items(content))
    if not items:
        raise NotCrystals("holds no pymatgen structure")
    return Found(records_of(items, id_column, ordering))


def _items(content: Any) -> Iterator[tuple[str, str, Any]]:
    """Id, index and dictionary of everything that has a structure or should have."""
    if isinstance(content, dict):
        if _is_crystal(content):
            yield "", "", content
        elif isinstance(content.get("columns"), list) and isinstance(content.get("data"), list):
            names = [str(name) for name in content["columns"]]
            index = content.get("index", [])
            index = index if isinstance(index, list) else []
            for row, values in enumerate(content["data"]):
                if isinstance(values, list) and len(values) == len(names):
                    key = index[row] if row < len(index) else ""
                    named = dict(zip(names, values, strict=True))
                    if any(_is_structure(value) for value in values):
                        yield key if isinstance(key, str) else "", str(row), _unnested(named)
        elif any(_is_crystal(value) for value in content.values()):
            for key, value in content.items():
                yield str(key), str(key), value
    elif isinstance(content, list) and any(_is_crystal(value) for value in content):
        for row, value in enumerate(content):
            yield "", str(row), value


def _is_structure(value: Any) -> bool:
    return isinstance(value, dict) and "lattice" in value and "sites" in value


def _is_crystal(value: Any) -> bool:
    return _is_structure(value) or (
        isinstance(value, dict) and _is_structure(value.get("structure"))
    )


def _unnested(values: dict[str, Any]) -> dict[str, Any]:
    """The same with the column of structures called ``structure``."""
    name = next(name for name, value in values.items() if _is_structure(value))
    return {("structure" if key == name else key): value for key, value in values.items()}


def records_of(
    items: Iterable[tuple[str, str, Any]],
    id_column: str | None = None,
    ordering: int | None = None,
) -> Iterator[Record | Refused]:
    """Read structures or entries, each given with its id and its index, either of them empty."""
    for id, index, item in items:
        try:
            if not _is_crystal(item):
                raise Refused("broken", "is no pymatgen structure or entry")
            record = _record(item, id_column, ordering)
            record.id = id or record.id
            record.index = index
            yield record
        except Refused as refusal:
            yield Refused(refusal.kind, refusal.reason, id, index)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError):
            yield Refused("broken", "is no complete pymatgen structure", id, index)


def _record(item: dict[str, Any], id_column: str | None, ordering: int | None) -> Record:
    structure = item if _is_structure(item) else item["structure"]
    lattice, sites = structure["lattice"], structure["sites"]
    if not isinstance(lattice, dict) or "matrix" not in lattice:
        raise Refused("cell", "its lattice has no matrix")
    if not sites:
        raise Refused("empty", "has no sites")
    pbc = lattice.get("pbc") or (True, True, True)
    drawn: Drawn | None = None
    try:
        numbers = np.array([_number(site, row) for row, site in enumerate(sites)], dtype=np.int64)
    except Refused as refusal:
        if refusal.kind != "disorder" or ordering is None:
            raise
        drawn = _drawn(sites, lattice["matrix"], ordering)
    labels: dict[str, Any] = {}
    if drawn is None:  # labels of sites are none of drawn atoms
        labels |= _site_labels(sites)
    labels |= _plain(structure.get("properties"))
    if structure is not item:
        labels |= _plain(item.get("data"))
        labels |= _plain(item)
    given, used = id_among(labels, id_column)
    labels.pop(used, None)
    periodic = (bool(pbc[0]), bool(pbc[1]), bool(pbc[2]))
    if drawn is not None:
        return Record(
            drawn.numbers, drawn.cell, drawn.frac, id=given, labels=labels, pbc=periodic, drawn=True
        )
    record = Record(numbers, lattice["matrix"], labels=labels, pbc=periodic, id=given)
    if all("abc" in site for site in sites):
        record.frac = [site["abc"] for site in sites]
    elif all("xyz" in site for site in sites):
        record.positions = [site["xyz"] for site in sites]
    else:
        raise Refused("coordinates", "a site has neither abc nor xyz")
    return record


def _drawn(sites: list[dict[str, Any]], matrix: Any, ordering: int) -> Drawn:
    """Draw an ordered structure of a disordered one."""
    cell = np.asarray(matrix, dtype=np.float64).reshape(3, 3)
    rows = [
        (site["abc"], number_of(str(one["element"])), float(one.get("occu", 1)))
        for site in sites
        for one in site["species"]
    ]
    frac, numbers, occupancy = (np.array(column) for column in zip(*rows, strict=True))
    return draw(frac.astype(np.float64), numbers, occupancy, cell, ordering)


def _number(site: dict[str, Any], row: int) -> int:
    species = site["species"]
    numbers = {number_of(str(one["element"])) for one in species}
    total = sum(float(one.get("occu", 1)) for one in species)
    if len(numbers) > 1:
        names = " and ".join(str(one["element"]) for one in species)
        raise Refused("disorder", f"site {row} is shared by {names}")
    if len(numbers) == 0 or not FULL <= total <= 2 - FULL:
        raise Refused("disorder", f"site {row} is occupied to {total:g}")
    return numbers.pop()


def _plain(values: Any) -> dict[str, Any]:
    """Numbers and texts of a dictionary, and stresses; other nested things are no labels."""
    if not isinstance(values, dict):
        return {}
    return {
        str(name): value
        for name, value in values.items()
        if name not in _NO_LABEL
        and (isinstance(value, bool | int | float | str) or _is_stress(str(name), value))
    }


def _is_stress(name: str, value: Any) -> bool:
    return isinstance(value, list) and rows_of(name, value, 0) is not None


def _site_labels(sites: list[dict[str, Any]]) -> dict[str, Any]:
    """Site properties that every site has as numbers, as labels per atom."""
    first = sites[0].get("properties")
    labels: dict[str, Any] = {}
    for name in first if isinstance(first, dict) else ():
        values = [(site.get("properties") or {}).get(name) for site in sites]
        array = _array(values)
        if array is not None:
            labels[str(name)] = array
    return labels


def _array(values: list[Any]) -> FloatArray | None:
    if any(isinstance(value, bool | str | dict | None) for value in values):
        return None
    if isinstance(values[0], list) and any(isinstance(part, bool) for part in values[0]):
        return None
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
