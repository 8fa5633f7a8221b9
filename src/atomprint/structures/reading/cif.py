"""CIF: cells, sites and symmetry, checked against the formula that the file declares."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, cast

import gemmi
import numpy as np
import numpy.typing as npt

from atomprint.structures.crystal import FloatArray
from atomprint.structures.reading.checks import (
    MAX_ATOMS,
    MIN_DISTANCE,
    build_crystal,
    close_pairs,
    plane_spacing,
)
from atomprint.structures.reading.disorder import FULL, draw
from atomprint.structures.reading.elements import (
    WATER,
    letters_of,
    number_of,
    numbers_of_label,
    symbol_of,
)
from atomprint.structures.reading.formula import check_formula, parse_formula
from atomprint.structures.reading.result import Found, Record, Refused, one_line
from atomprint.structures.reading.symmetry import (
    IDENTITY,
    MERGE_DISTANCE,
    Operations,
    expand,
    expand_distinct,
    operations_from_hall,
    operations_from_text,
    settings_from_name,
    settings_from_number,
)

IntArray = npt.NDArray[np.int64]

VOLUME_TOLERANCE = 0.05  # relative
_OPERATION_TAGS = (
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
_HALL_TAGS = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NAME_TAGS = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_space_group_name_h-m_ref",
)
_NUMBER_TAGS = ("_space_group_it_number", "_symmetry_int_tables_number")
_ABSENT = ("", "?", ".")


class Tags:
    """The values of one data block, by tag: lower case, CIF 2 dots read as underscores."""

    def __init__(self, block: gemmi.cif.Block) -> None:
        self.name = block.name
        self.columns: dict[str, list[str]] = {}
        for item in cast(Iterable[gemmi.cif.Item], block):
            if item.pair is not None:
                tag, value = cast(Any, item.pair)
                self.columns.setdefault(_normal(tag), [value])
            elif item.loop is not None:
                loop = item.loop
                width = loop.width()
                values = list(loop.values)
                for column, tag in enumerate(loop.tags):
                    self.columns.setdefault(_normal(tag), values[column::width])

    def texts(self, *names: str) -> list[str]:
        """All values of the first of some tags that is there, quotes removed."""
        for name in names:
            if name in self.columns:
                return [gemmi.cif.as_string(value).strip() for value in self.columns[name]]
        return []

    def text(self, *names: str) -> str:
        """The first known value among some tags; empty if none."""
        for name in names:
            for value in self.columns.get(name, [])[:1]:
                text = gemmi.cif.as_string(value).strip()
                if text not in _ABSENT:
                    return str(text)
        return ""

    def number(self, name: str) -> float:
        """A number without its uncertainty; nan if there is none."""
        values = self.columns.get(name)
        return float(gemmi.cif.as_number(values[0])) if values else math.nan

    def numbers(self, name: str) -> FloatArray:
        """A column of numbers; nan where there is none."""
        as_number = gemmi.cif.as_number
        return np.array([as_number(value) for value in self.columns[name]], dtype=np.float64)


def read_cif(data: bytes, ordering: int | None = None) -> Found:
    """Read every data block that holds a crystal.

    Blocks without atoms (bibliography, powder patterns) are passed over as long as another block
    has some. With ``ordering``, a seed, disordered crystals become ordered ones.
    """
    text = data.decode("utf-8", errors="replace").replace("\x00", " ")
    try:
        document = gemmi.cif.read_string(text)
    except (RuntimeError, ValueError) as error:
        raise Refused("broken", f"is no sound CIF: {one_line(error, 200)}") from None
    blocks = [Tags(block) for block in document]
    with_atoms = [block for block in blocks if _has_atoms(block)]
    if not with_atoms:
        raise Refused("empty", _why_empty(blocks))
    return Found(_records(with_atoms, ordering))


def _records(blocks: list[Tags], ordering: int | None) -> Iterator[Record | Refused]:
    for block in blocks:
        index = block.name if len(blocks) > 1 else ""
        try:
            record = crystal_of_block(block, ordering)
            record.index = index
            yield record
        except Refused as refusal:
            yield Refused(refusal.kind, refusal.reason, index=index)


def crystal_of_block(block: Tags, ordering: int | None = None) -> Record:
    """Read one crystal: the cell, the sites, the symmetry; then compare with the formula.

    Disorder is refused, unless ``ordering`` is the seed of an ordered crystal that stands for it.
    """
    if block.number("_cell_modulation_dimension") > 0:
        raise Refused("symmetry", "is a modulated structure, which repeats in no cell")
    parameters = [
        block.number(f"_cell_{name}")
        for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    ]
    cell = cell_from_parameters(parameters)
    _check_volume(block.number("_cell_volume"), cell)
    formula = parse_formula(block.text("_chemical_formula_sum"))
    labels = block.texts("_atom_site_label", "_atom_site_type_symbol")
    numbers = _elements(block, labels, formula)
    frac = np.stack([block.numbers(f"_atom_site_fract_{axis}") for axis in "xyz"], axis=-1)
    occupancy = _occupancies(block, labels)
    if ordering is None:
        _check_disorder_groups(block, labels)
    else:
        occupancy = _with_major_groups(block, labels, occupancy)
    missing = ~np.isfinite(frac).all(axis=1)
    present = occupancy > 0
    if (missing & present).any():
        site = int(np.flatnonzero(missing & present)[0])
        raise Refused("coordinates", f"site {labels[site]} has no coordinates")
    numbers, frac, occupancy = numbers[present], frac[present], occupancy[present]
    labels = [label for label, here in zip(labels, present, strict=True) if here]
    if len(numbers) == 0:
        raise Refused("empty", "every site is declared empty (occupancy 0)")

    accepted: list[tuple[str, Record]] = []
    refusals: list[Refused] = []
    texts = [text for text in block.texts(*_OPERATION_TAGS) if text not in _ABSENT]
    settings = _settings(block, texts, cell, parameters)
    for name, operations in settings:
        try:
            record, repeated, content = _ordered(
                labels, numbers, frac, occupancy, operations, cell, ordering
            )
            confirmed = check_formula(content, formula, block.number("_cell_formula_units_z"))
            if texts and not confirmed and not record.drawn:
                _check_completeness(block, parameters, frac, operations, cell, record)
            if repeated and not confirmed and len(np.asarray(record.numbers)) != len(frac):
                raise Refused("symmetry", repeated)
            if len(settings) > 1:
                build_crystal(record, "")  # overlaps, to tell the settings apart
            accepted.append((name, record))
        except Refused as refusal:
            refusals.append(refusal)
    if not accepted:
        raise refusals[0]
    if len(accepted) > 1:
        names = " or ".join(name for name, _ in accepted)
        raise Refused(
            "symmetry",
            f"has no symmetry operations, and its space group may mean {names}; write the "
            "operations into the file",
        )
    return accepted[0][1]


def cell_from_parameters(parameters: list[float]) -> FloatArray:
    """Lattice vectors as rows (Å) from lengths (Å) and angles (degrees); a along x, b in xy."""
    a, b, c, alpha, beta, gamma = parameters
    if not all(map(math.isfinite, parameters)):
        names = ("a", "b", "c", "alpha", "beta", "gamma")
        missing = ", ".join(
            n for n, p in zip(names, parameters, strict=True) if not math.isfinite(p)
        )
        raise Refused("cell", f"the cell is incomplete: {missing} missing")
    if min(a, b, c) <= 0 or not all(0 < angle < 180 for angle in (alpha, beta, gamma)):
        raise Refused(
            "cell",
            f"no cell has the lengths {a:g}, {b:g}, {c:g} Å and the angles "
            f"{alpha:g}, {beta:g}, {gamma:g}°",
        )
    cos_a, cos_b, cos_g = (
        0.0 if angle == 90 else math.cos(math.radians(angle)) for angle in (alpha, beta, gamma)
    )
    sin_g = 1.0 if gamma == 90 else math.sin(math.radians(gamma))
    y = (cos_a - cos_b * cos_g) / sin_g
    rest = 1 - cos_b * cos_b - y * y
    if rest <= 0:
        raise Refused("cell", f"no cell has the angles {alpha:g}, {beta:g}, {gamma:g}°")
    return np.array([[a, 0, 0], [b * cos_g, b * sin_g, 0], [c * cos_b, c * y, c * math.sqrt(rest)]])


def _settings(
    block: Tags, texts: list[str], cell: FloatArray, parameters: list[float]
) -> list[tuple[str, Operations]]:
    """The symmetry operations; several sets where the file leaves the setting open."""
    if texts:
        found = [("its operations", operations_from_text(tuple(texts)))]
    else:
        found = _named_settings(block, cell, parameters) or [("P 1", IDENTITY)]
    fitting = [(label, operations) for label, operations in found if operations.fit(cell)]
    if not fitting:
        raise Refused("symmetry", f"the cell does not have the symmetry of {found[0][0]}")
    return fitting


def _named_settings(
    block: Tags, cell: FloatArray, parameters: list[float]
) -> list[tuple[str, Operations]]:
    """What the Hall symbol, the Hermann-Mauguin symbol or the number may mean, in this order."""
    hall, name = block.text(*_HALL_TAGS), block.text(*_NAME_TAGS)
    code = block.text("_space_group_it_coordinate_system_code").upper()
    code = f":{code}" if code in ("1", "2", "H", "R") and ":" not in name else ""
    number = next((n for tag in _NUMBER_TAGS if math.isfinite(n := block.number(tag))), math.nan)
    if hall and (operations := operations_from_hall(hall)) is not None:
        return [(hall, operations)]
    if name and (named := settings_from_name(name + code, parameters[3], parameters[5])):
        return named
    if math.isfinite(number):
        if found := settings_from_number(int(number), cell):
            return found
        raise Refused("symmetry", f"space group number {number:g} does not fit the cell")
    if name or hall:
        raise Refused("symmetry", f"the space group {name or hall!r} is not known")
    return []


def _check_completeness(
    block: Tags,
    parameters: list[float],
    frac: FloatArray,
    operations: Operations,
    cell: FloatArray,
    record: Record,
) -> None:
    """Refuse a list of fewer operations than the space group has, unless all atoms are listed."""
    try:
        named = _named_settings(block, cell, parameters)
    except Refused:
        return  # the operations are what counts
    larger = [(name, group) for name, group in named if len(group) > len(operations)]
    if not named or len(larger) < len(named) or not any(group.fit(cell) for _, group in larger):
        return
    n_atoms = len(np.asarray(record.numbers))
    for _, group in larger:
        try:
            if len(expand_distinct(frac, group, cell)) == n_atoms:
                return
        except Refused:
            continue
    raise Refused(
        "symmetry",
        f"lists {len(operations)} symmetry operations, but {larger[0][0]} has "
        f"{len(larger[0][1])}, and the atoms are not all there",
    )


def _check_disorder_groups(block: Tags, labels: list[str]) -> None:
    groups = block.texts("_atom_site_disorder_group")[: len(labels)]
    set_ones = [group for group in groups if group not in (*_ABSENT, "0")]
    if len(set(set_ones)) > 1:
        at = groups.index(set_ones[0])
        raise Refused(
            "disorder", f"site {labels[at]} is one of several alternatives (disorder groups)"
        )


def _with_major_groups(block: Tags, labels: list[str], occupancy: FloatArray) -> FloatArray:
    """Of alternatives (disorder groups of an assembly) the likeliest is there, the others not.

    A group with a minus is disordered about a symmetry element: what is there of it is drawn.
    """
    groups = block.texts("_atom_site_disorder_group")
    if len(groups) != len(labels):
        return occupancy
    assemblies = block.texts("_atom_site_disorder_assembly")
    if len(assemblies) != len(labels):
        assemblies = [""] * len(labels)
    members: dict[str, dict[str, list[int]]] = {}
    for row, (assembly, group) in enumerate(zip(assemblies, groups, strict=True)):
        if group not in (*_ABSENT, "0") and not group.startswith("-"):
            members.setdefault(assembly, {}).setdefault(group, []).append(row)
    occupancy = occupancy.copy()
    for alternatives in members.values():
        if len(alternatives) < 2:
            continue
        major = max(alternatives, key=lambda name: float(occupancy[alternatives[name]].mean()))
        for name, rows in alternatives.items():
            occupancy[rows] = float(name == major)
    return occupancy


def _elements(block: Tags, labels: list[str], formula: dict[int, float]) -> IntArray:
    """Atomic numbers of the sites, from their type symbols or else from their labels."""
    types = block.texts("_atom_site_type_symbol")
    if len(types) != len(labels):
        types = [""] * len(labels)
    numbers = [
        number_of(declared) if declared not in _ABSENT else _element_of_label(label, formula)
        for declared, label in zip(types, labels, strict=True)
    ]
    attached = block.columns.get("_atom_site_attached_hydrogens", [])
    hidden = [
        label
        for label, value in zip(labels, attached, strict=False)
        if gemmi.cif.as_number(value) > 0
    ]
    if not hidden and not formula:
        hidden = [label for label in labels if letters_of(label).upper() in WATER]
    if hidden and 1 not in numbers:
        raise Refused(
            "formula", f"site {hidden[0]} stands for an atom with hydrogens that have no positions"
        )
    return np.array(numbers, dtype=np.int64)


def _element_of_label(label: str, formula: dict[int, float]) -> int:
    readings = numbers_of_label(label)
    if not readings:
        raise Refused("element", f"the site label {label!r} names no element")
    for number in readings:
        if number in formula:
            return number
    if len(readings) > 1 and label[1].isupper():
        either = " or ".join(symbol_of(number) for number in readings)
        raise Refused(
            "element", f"the site label {label!r} may mean {either}; add _atom_site_type_symbol"
        )
    return readings[0]


def _occupancies(block: Tags, labels: list[str]) -> FloatArray:
    if "_atom_site_occupancy" not in block.columns:
        return np.ones(len(labels))
    occupancy = block.numbers("_atom_site_occupancy")
    if len(occupancy) != len(labels):
        raise Refused("broken", f"has {len(labels)} sites but {len(occupancy)} values of occupancy")
    occupancy = np.where(np.isnan(occupancy), 1.0, occupancy)
    wrong = (occupancy < 0) | (occupancy > 2 - FULL)
    if wrong.any():
        site = int(np.flatnonzero(wrong)[0])
        raise Refused("disorder", f"site {labels[site]} has an occupancy of {occupancy[site]:g}")
    return occupancy


def _expanded(
    labels: list[str],
    numbers: IntArray,
    frac: FloatArray,
    occupancy: FloatArray,
    operations: Operations,
    cell: FloatArray,
) -> tuple[Record, str]:
    """Expand the sites, fold rows that describe one atom, and refuse disorder.

    Returns
    -------
    record, repeated
        ``repeated`` says which site is listed again although symmetry already gives it (empty if
        none): such a file may list every atom of another cell than the one it declares.
    """
    if len(frac) * len(operations) > 20 * MAX_ATOMS:
        raise Refused(
            "size", f"{len(frac):,} sites times {len(operations)} operations are too many"
        )
    try:
        all_frac, site = expand(frac, operations, cell)
    except Refused as refusal:
        raise Refused(
            refusal.kind,
            refusal.reason.replace(f"site {refusal.id}", f"site {labels[int(refusal.id)]}"),
        ) from None
    spacing, _, _ = plane_spacing(cell)
    filled = occupancy[site]
    keep = np.ones(len(site), dtype=bool)
    repeated, apart = "", False
    if len(all_frac) <= MAX_ATOMS and spacing.min() > 2 * MIN_DISTANCE:
        first, second, distance = close_pairs(all_frac, cell, spacing, MIN_DISTANCE)
        apart = len(first) == 0
        same = distance < MERGE_DISTANCE
        for i, j in zip(first[same].tolist(), second[same].tolist(), strict=True):
            i, j = min(i, j), max(i, j)
            if not (keep[i] and keep[j]):
                continue
            full = filled[i] >= FULL and filled[j] >= FULL
            if full and len(operations) == 1:
                continue  # nothing to fold: refused as overlapping
            if numbers[site[i]] != numbers[site[j]]:
                raise Refused(
                    "disorder",
                    f"sites {labels[site[i]]} and {labels[site[j]]} share one position "
                    f"({symbol_of(int(numbers[site[i]]))} and {symbol_of(int(numbers[site[j]]))})",
                )
            keep[j] = False
            if full:
                repeated = (
                    f"lists site {labels[site[j]]} although the symmetry already makes it from "
                    f"{labels[site[i]]}; either the sites or the symmetry are of another cell"
                )
            # Fe2+ and Fe3+ on one site are both iron; a full site listed twice is one atom.
            filled[i] = min(filled[i] + filled[j], 1.0)
    partial = np.flatnonzero(keep & (filled < FULL))
    if len(partial):
        where = site[partial[0]]
        raise Refused(
            "disorder",
            f"site {labels[where]} ({symbol_of(int(numbers[where]))}) is occupied only to "
            f"{filled[partial[0]]:g}",
        )
    record = Record(
        numbers=numbers[site][keep],
        cell=cell,
        frac=(all_frac - np.floor(all_frac))[keep],
        apart=apart,
    )
    return record, repeated


def _ordered(
    labels: list[str],
    numbers: IntArray,
    frac: FloatArray,
    occupancy: FloatArray,
    operations: Operations,
    cell: FloatArray,
    ordering: int | None,
) -> tuple[Record, str, dict[int, float]]:
    """As :func:`_expanded`, with atoms by element; a disordered crystal is drawn if it may be."""
    try:
        record, repeated = _expanded(labels, numbers, frac, occupancy, operations, cell)
    except Refused as refusal:
        if refusal.kind != "disorder" or ordering is None:
            raise
        all_frac, site = expand(frac, operations, cell)
        drawn = draw(all_frac, numbers[site], occupancy[site], cell, ordering)
        record = Record(drawn.numbers, drawn.cell, frac=drawn.frac, drawn=True)
        return record, "", drawn.expected
    return record, repeated, dict(Counter(np.asarray(record.numbers).tolist()))


def _check_volume(declared: float, cell: FloatArray) -> None:
    """Refuse a cell that is not the one whose volume the file states."""
    _, volume, _ = plane_spacing(cell)
    if declared > 0 and abs(volume / declared - 1) > VOLUME_TOLERANCE:
        raise Refused(
            "cell",
            f"the cell has {volume:.4g} Å³, but the file says {declared:.4g} Å³; correct "
            "whichever is wrong",
        )


def _has_atoms(block: Tags) -> bool:
    names = len(block.texts("_atom_site_label", "_atom_site_type_symbol"))
    rows = [len(block.columns.get(f"_atom_site_fract_{axis}", [])) for axis in "xyz"]
    return rows == [names] * 3 and names > 0


def _why_empty(blocks: list[Tags]) -> str:
    if not blocks:
        return "has no data block"
    if any(f"_atom_site_{kind}_x" in block.columns for block in blocks for kind in ("cartn",)):
        return "has only Cartesian atom sites (_atom_site_Cartn_x); write fractional ones"
    return "has no atom sites with fractional coordinates"


@lru_cache(4096)
def _normal(tag: str) -> str:
    return tag.lower().replace(".", "_")
