"""Labels: tables of them, joining them to crystals, and telling numbers from text."""

import csv
import difflib
import io
import math
import re
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import FloatArray, LabelValue
from atomprint.structures.reading.files import Entry
from atomprint.structures.reading.result import Problem, Refused

ID_NAMES = (
    "id",
    "material_id",
    "mp_id",
    "mpid",
    "jid",
    "structure_id",
    "crystal_id",
    "cif_id",
    "entry_id",
)
_ABSENT = {"", "nan", "na", "n/a", "none", "null", "-", "?", "."}
_DATE = re.compile(r"\s*\d{4}-\d\d-\d\d(\s*$|[T ])")
_NEARLY_NUMBER = re.compile(r"\s*[<>~≈≤≥]=?\s*[\d.+-]")


def id_among(values: Mapping[str, Any], id_column: str | None) -> tuple[str, str]:
    """Return the id among some values and the name it stands under (both empty if none)."""
    if id_column is not None:
        names = [id_column] if id_column in values else []
    else:
        by_lower = {name.lower(): name for name in reversed(list(values))}
        names = [by_lower[name] for name in ID_NAMES if name in by_lower]
    for name in names:
        value = values[name]
        if isinstance(value, str | int | np.integer) and str(value).strip():
            return str(value).strip(), name
    return "", ""


def number_or_text(value: Any) -> float | str | None:
    """A label's value: a number, the text that is there instead, or None where it is missing."""
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        return float(value)
    if isinstance(value, int | float | np.integer | np.floating):
        try:
            number = float(value)
        except OverflowError:
            return str(value)[:60]
    else:
        text = str(value).strip()
        if text.lower() in _ABSENT:
            return None
        if text in ("T", "True", "true", "F", "False", "false"):
            return float(text[0] in "Tt")
        try:
            number = float(text) if "_" not in text else math.inf
        except ValueError:
            return text
        if math.isinf(number):
            return text
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else str(value)


def units_described(metadata: Any) -> dict[str, str]:
    """Units by label name that the metadata of an ASE database state, in ``key_descriptions``.

    Each is a short and a long description and a unit; what has another form states none.
    """
    described = metadata.get("key_descriptions") if isinstance(metadata, Mapping) else None
    units: dict[str, str] = {}
    for name, value in described.items() if isinstance(described, Mapping) else ():
        if isinstance(value, list | tuple) and len(value) == 3 and isinstance(value[2], str):
            units[str(name)] = value[2].strip()
    return {name: unit for name, unit in units.items() if unit}


def rows_of(name: str, value: Any, n_atoms: int) -> FloatArray | None:
    """A label's value where it is an array: one row an atom, or of a stress a single row.

    A stress is what is called so (``stress``, ``dft_stress``, ``stress_tensor``) and has nine
    numbers, or the six of Voigt's order (xx, yy, zz, yz, xz, xy): ``(1, 9)``, by rows, also
    where a crystal has as many atoms as that array has rows. Everything else that is no row an
    atom is no label: None, as for single numbers and text.
    """
    if name.lower().removesuffix("_tensor").endswith("stress"):
        stress = _stress(value)
        if stress is not None:
            return stress
    if isinstance(value, np.ndarray) and value.ndim and len(value) == n_atoms:
        return value.astype(np.float64) if value.dtype.kind in "fiub" else None
    return None


_VOIGT = (0, 5, 4, 5, 1, 3, 4, 3, 2)
"""Places in Voigt's order of the elements of a symmetric matrix, by rows."""


def _stress(value: Any) -> FloatArray | None:
    if isinstance(value, str):
        value = re.split(r"[\s,\[\]]+", value.strip(" \t\n,[]"))
    try:
        numbers = np.array(value, dtype=np.float64).ravel()
    except (ValueError, TypeError):
        return None
    if numbers.size == len(_VOIGT):
        return numbers[None]
    return numbers[None, _VOIGT] if numbers.size == 6 else None


def years_of(text: str) -> float | None:
    """A date such as ``2019-04-02``, also with a time, as years: 2019.249; None of other text."""
    if not _DATE.match(text):
        return None
    try:
        moment = datetime.fromisoformat(text.strip()).replace(tzinfo=None)
        start = datetime(moment.year, 1, 1)
        return moment.year + (moment - start) / (datetime(moment.year + 1, 1, 1) - start)
    except (ValueError, OverflowError):
        return None


@dataclass
class Table:
    """Label values by id, from a CSV.

    Attributes
    ----------
    name
        The file, for messages.
    scope
        Only crystals from files whose name begins with this are meant.
    rows
        Values by id, then by label.
    named
        Whether the user named it: its labels are then taken from nowhere else.
    set_aside
        By label of a named table, how many crystals have a value of it elsewhere alone.
    """

    name: str
    scope: str = ""
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    named: bool = False
    set_aside: Counter[str] = field(default_factory=Counter)

    @cached_property
    def columns(self) -> frozenset[str]:
        """Names of the labels."""
        return frozenset(name for values in self.rows.values() for name in values)


def read_table(entry: Entry, id_column: str | None, scope: str = "") -> Table:
    """Read a CSV of labels: ids in the first column or one named like an id.

    A first row whose values are all numbers is data (CGCNN's ``id_prop.csv`` has no header):
    the labels are then called ``target``, ``target_2`` and so on.
    """
    text = entry.read().decode("utf-8-sig", errors="replace").replace("\x00", "")
    first_line = text.lstrip().split("\n", 1)[0]
    delimiter = next((mark for mark in ",;\t" if mark in first_line), ",")
    try:
        rows = [
            [cell.strip() for cell in row]
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
            if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise Refused("broken", f"is no sound CSV: {error}") from None
    if not rows:
        raise Refused("empty", "has no rows")
    if max(len(row) for row in rows) < 2:
        raise Refused("broken", "has one column only; a table of labels needs ids and values")
    table = Table(entry.name, scope)
    if _is_header(rows[0]):
        names = rows[0]
        position = _id_position(names, id_column, entry.name)
        rows = rows[1:]
    else:
        n_labels = len(rows[0]) - 1
        names = ["id", "target"] + [f"target_{i}" for i in range(2, n_labels + 1)]
        position = 0
        if id_column is not None:
            raise UsageError(f"{entry.name}: has no header, so no column {id_column!r}")
    for row in rows:
        key = row[position] if position < len(row) else ""
        values = {
            name: row[at]
            for at, name in enumerate(names)
            if at != position and name and at < len(row)
        }
        if key not in table.rows:
            table.rows[key] = values
        elif table.rows[key] != values:
            table.problems.append(
                Problem(
                    entry.name,
                    key,
                    "has a second row with other values; the first is used",
                    "label",
                )
            )
    table.rows.pop("", None)
    return table


def _is_header(row: list[str]) -> bool:
    return any(
        isinstance(number_or_text(cell), str) and not _NEARLY_NUMBER.match(cell) for cell in row[1:]
    )


def _id_position(names: list[str], id_column: str | None, where: str) -> int:
    if id_column is not None and id_column in names:
        return names.index(id_column)
    lower = [name.lower() for name in names]
    found = next((lower.index(name) for name in ID_NAMES if name in lower), None)
    if found is None and id_column is not None:
        close = difflib.get_close_matches(id_column, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names)[:200]}"
        raise UsageError(f"{where}: no column {id_column!r}; {hint}")
    return found or 0


def join(
    tables: list[Table], file: str, id: str, stem: str | None, labels: dict[str, Any]
) -> dict[str, Any]:
    """Add what the tables say of one crystal; a table overrides the file's own values.

    Labels of a table that the user named come from that table alone: who gives 300 labels means
    300, whatever else lies in the folder.

    Parameters
    ----------
    file
        The crystal's file.
    id
        Its id.
    stem
        The file's stem where the crystal is the only one in it.
    """
    for table in tables:
        if not file.startswith(table.scope):
            continue
        keys = [id] if stem is None else [id, stem, *_names(file)]
        for key in keys:
            if key in table.rows:
                table.used.add(key)
                found = table.rows[key]
                break
        else:
            found = {}
        if table.named:
            kept = {name: value for name, value in labels.items() if name not in table.columns}
            table.set_aside.update(labels.keys() - kept.keys() - found.keys())
            labels = kept
        labels = {**labels, **found}
    return labels


def aside_notes(tables: list[Table], names: Container[str]) -> list[str]:
    """Say which values of labels were not taken because a named table has others."""
    return [
        f"{name!r} is taken from {table.name} alone: {count:,} other "
        f"{'crystal has' if count == 1 else 'crystals have'} a value elsewhere, which is not used"
        for table in tables
        for name, count in sorted(table.set_aside.items())
        if name in names
    ]


def _names(file: str) -> list[str]:
    name = file.replace("\\", "/").rpartition("/")[2]
    return [name, name.rpartition(".")[0] or name]


def settle(
    raw: list[tuple[str, str, int, dict[str, Any]]],
) -> tuple[list[dict[str, LabelValue]], list[Problem], list[str]]:
    """Turn raw label values into numbers, column by column.

    A column where at least half of the values are numbers is a label; text in it is left out and
    reported. A column where at least half are dates (2019-04-02) is a label too, in years with
    their fraction. Other columns are text and only noted.

    Parameters
    ----------
    raw
        File, id, number of atoms and raw values of every crystal.

    Returns
    -------
    labels, problems, notes
        Labels in the order of ``raw``.
    """
    settled: list[dict[str, LabelValue]] = [{} for _ in raw]
    texts: dict[str, list[tuple[int, str]]] = {}
    n_numbers: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for at, (_, _, n_atoms, values) in enumerate(raw):
        for name, value in values.items():
            array = rows_of(name, value, n_atoms)
            if array is not None:
                n_numbers[name] = n_numbers.get(name, 0) + 1
                if np.isfinite(array).all():
                    settled[at][name] = array
                else:
                    texts.setdefault(name, []).append((at, "nan or inf"))
                continue
            if isinstance(value, np.ndarray | list | dict | tuple):
                shapes[name] = value.shape if isinstance(value, np.ndarray) else (len(value),)
                continue
            number = number_or_text(value)
            if isinstance(number, str):
                texts.setdefault(name, []).append((at, number))
            elif number is not None:
                settled[at][name] = number
                n_numbers[name] = n_numbers.get(name, 0) + 1
    problems: list[Problem] = []
    words: list[str] = []
    dates: list[str] = []
    for name, found in texts.items():
        if not n_numbers.get(name):
            years = {at: year for at, text in found if (year := years_of(text)) is not None}
            if 2 * len(years) >= len(found):
                dates.append(name)
                for at, year in years.items():
                    settled[at][name] = year
                n_numbers[name] = len(years)
                found = [(at, text) for at, text in found if at not in years]
        if n_numbers.get(name, 0) >= len(found):
            for at, text in found:
                file, id, _, _ = raw[at]
                problems.append(
                    Problem(
                        file,
                        id,
                        f"label {name!r} is {text[:60]!r}, not a number; left out",
                        "label",
                    )
                )
        else:
            words.append(name)
            for labels in settled:
                labels.pop(name, None)
    notes = []
    if dates:
        notes.append(f"dates, read as years: {', '.join(repr(name) for name in sorted(dates))}")
    if words:
        notes.append(f"text, not labels: {', '.join(repr(name) for name in sorted(words))}")
    if shapes:
        listed = ", ".join(f"{name!r} {shape}" for name, shape in sorted(shapes.items()))
        notes.append(f"no number a crystal, row an atom or stress, so not labels: {listed}")
    return settled, problems, notes
