"""Structures as OPTIMADE describes them: in answers of its servers, and in tables of its names,
such as LeMat-Bulk and LeMat-Traj.

Names and meanings: OPTIMADE 1.2, section "Structures Entries"
(https://specification.optimade.org). Cells and positions are in Å.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from atomprint.structures.reading.elements import number_of
from atomprint.structures.reading.labels import id_among
from atomprint.structures.reading.result import Record, Refused

CELL, POSITIONS, SPECIES = "lattice_vectors", "cartesian_site_positions", "species_at_sites"
FIELDS = (CELL, POSITIONS, SPECIES, "species", "dimension_types", "structure_features")
"""Properties that a crystal is made of."""

_FULL = 0.99
_STRUCTURE = {
    "elements", "nelements", "elements_ratios", "chemical_formula_anonymous",
    "chemical_formula_reduced", "chemical_formula_descriptive", "chemical_formula_hill",
    "dimension_types", "nperiodic_dimensions", "nsites", "species", "assemblies",
    "structure_features", "space_group_it_number", "space_group_symbol_hall",
    "space_group_symbol_hermann_mauguin", "space_group_symmetry_operations_xyz",
    "wyckoff_positions", "site_coordinate_span", "immutable_id",
}  # fmt: skip
"""Columns that say again what the structure is; no labels."""
_TENSORS = ("stress", "stress_tensor")


def is_optimade(names: Iterable[str]) -> bool:
    """Whether columns of these names hold structures."""
    return {CELL, POSITIONS, SPECIES} <= set(names)


def optimade_records(
    rows: Iterable[dict[str, Any]], id_column: str | None
) -> Iterator[Record | Refused]:
    """A record, or a refusal, for each row.

    The id is a column called like one, else ``immutable_id``, else the row. Columns that describe
    the structure once more are passed over; all others are labels.
    """
    for number, values in enumerate(rows):
        given, used = id_among(values, id_column)
        if not given and id_column is None:
            given = str(values.get("immutable_id") or "").strip()
        try:
            record = record_of(values)
        except Refused as refusal:
            yield Refused(refusal.kind, refusal.reason, given, str(number))
            continue
        record.id, record.index = given, str(number)
        record.labels.pop(used, None)
        yield record


def record_of(values: Mapping[str, Any]) -> Record:
    """Make a record, without an id, of a structure's properties by OPTIMADE's names.

    What is none of OPTIMADE's properties becomes a label.

    Raises
    ------
    Refused
        If a property is missing or not what it should be, or sites are shared or partly empty.
    """
    try:
        return _record(values)
    except (TypeError, ValueError, KeyError, AttributeError):
        raise Refused("broken", "is no complete OPTIMADE structure") from None


def _record(values: Mapping[str, Any]) -> Record:
    cell, positions, sites = (values.get(name) for name in (CELL, POSITIONS, SPECIES))
    features = values.get("structure_features")
    if features is not None and "disorder" in features:
        raise Refused("disorder", "is disordered, says its structure_features")
    if cell is None:
        raise Refused("cell", f"{CELL!r} is empty")
    if positions is None or not sites:
        raise Refused("coordinates", f"{POSITIONS!r} or {SPECIES!r} is empty")
    numbers = _numbers(sites, values.get("species"))
    labels = {
        name: value
        for name, value in values.items()
        if name not in _STRUCTURE and name not in (CELL, POSITIONS, SPECIES)
    }
    for name in _TENSORS:
        # Three rows, which in a crystal of three atoms are not one of each atom.
        if isinstance(labels.get(name), np.ndarray):
            labels[name] = list(labels[name])
    return Record(
        numbers, cell, positions=positions, labels=labels, pbc=_pbc(values.get("dimension_types"))
    )


def _pbc(types: Any) -> tuple[bool, bool, bool]:
    if types is None:
        return True, True, True
    flags = [bool(flag) for flag in types]
    if len(flags) != 3:
        raise Refused("pbc", f"'dimension_types' has {len(flags)} entries instead of 3")
    return flags[0], flags[1], flags[2]


def _numbers(sites: list[Any], species: Any) -> list[int]:
    """Atomic numbers of the sites: by the species' definitions where there are any."""
    text = species if isinstance(species, str) or species is None else json.dumps(species)
    defined = _defined(text) if text else {}
    return [defined[name] if name in defined else number_of(str(name)) for name in sites]


@lru_cache(maxsize=4096)
def _defined(text: str) -> dict[str, int]:
    """Atomic number by the name of a species.

    Raises
    ------
    Refused
        If one is mixed or partly vacant.
    """
    try:
        found = json.loads(text)
        parts = [(str(one["name"]), *_present(one), bool(one.get("attached"))) for one in found]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    numbers = {}
    for name, symbols, shares, attached in parts:
        if attached:
            raise Refused("disorder", f"species {name!r} has atoms attached without positions")
        if len(symbols) != 1 or not shares or shares[0] < _FULL:
            mixture = ", ".join(f"{s} {c:g}" for s, c in zip(symbols, shares, strict=False))
            raise Refused("disorder", f"species {name!r} is no single element ({mixture})")
        numbers[name] = number_of(symbols[0])
    return numbers


def _present(species: Mapping[str, Any]) -> tuple[list[str], list[float]]:
    """Symbols of a species with their concentrations, but for those of concentration 0."""
    symbols = [str(symbol) for symbol in species["chemical_symbols"]]
    shares = [float(share) for share in species.get("concentration") or [1.0] * len(symbols)]
    if not any(shares):
        return symbols, shares
    kept = [pair for pair in zip(symbols, shares, strict=True) if pair[1] > 0]
    return [symbol for symbol, _ in kept], [share for _, share in kept]
