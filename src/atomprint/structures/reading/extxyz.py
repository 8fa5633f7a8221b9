"""Extended XYZ: one or many frames; numbers in the comment line and extra columns are labels."""

import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from atomprint.structures.crystal import FloatArray
from atomprint.structures.reading.checks import MAX_ATOMS
from atomprint.structures.reading.elements import number_of
from atomprint.structures.reading.labels import id_among
from atomprint.structures.reading.result import Found, Record, Refused

MAX_LINE = 1 << 20
_NO_LABEL = {"lattice", "properties", "pbc", "virtual_origin", "origin"}
_PAIR = re.compile(
    r"""\s*(?P<key>"[^"]*"|'[^']*'|[^\s="'{}\[\]]+)
        (?:\s*=\s*(?P<value>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\{[^{}]*\}|\[[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\]|[^\s]+))?""",
    re.VERBOSE,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def read_extxyz(file: BinaryIO, id_column: str | None) -> Found:
    """Read every frame, one at a time; a broken frame is refused and ends the file."""
    return Found(_frames(file, id_column))


def _frames(file: BinaryIO, id_column: str | None) -> Iterator[Record | Refused]:
    with io.BufferedReader(file) if not hasattr(file, "readline") else file as lines:  # type: ignore[type-var]
        index = 0
        while True:
            line = _line(lines)
            if line is None:
                return
            if not line.strip():
                continue
            try:
                n_atoms = int(line)
            except ValueError:
                raise Refused(
                    "broken",
                    f"frame {index} begins with {line.strip()[:40]!r}, not a number of atoms",
                ) from None
            if not 0 <= n_atoms <= MAX_ATOMS:
                raise Refused(
                    "size" if n_atoms > 0 else "broken", f"frame {index} has {n_atoms:,} atoms"
                )
            comment = _line(lines)
            rows = [_line(lines) for _ in range(n_atoms)]
            if comment is None or any(row is None for row in rows):
                raise Refused("broken", f"ends within frame {index}")
            info = parse_comment(comment)
            given, used = id_among(info, id_column)
            info.pop(used, None)
            try:
                record = _record(info, [row for row in rows if row is not None])
            except Refused as refusal:
                yield Refused(refusal.kind, refusal.reason, given, str(index))
            else:
                record.id, record.index = given, str(index)
                yield record
            index += 1


def _line(lines: BinaryIO) -> str | None:
    raw = lines.readline(MAX_LINE)
    if len(raw) >= MAX_LINE:
        raise Refused("size", f"has a line longer than {MAX_LINE:,} characters")
    return raw.decode("utf-8", errors="replace") if raw else None


def _record(info: dict[str, Any], rows: list[str]) -> Record:
    if not rows:
        raise Refused("empty", "has no atoms")
    lower = {key.lower(): key for key in info}
    if "lattice" not in lower:
        raise Refused(
            "cell", 'has no cell; a crystal needs Lattice="ax ay az bx ..." in its comment line'
        )
    cell = _floats(info[lower["lattice"]], "Lattice")
    pbc = _flags(info[lower["pbc"]]) if "pbc" in lower else (True, True, True)
    columns = _columns(
        info[lower["properties"]] if "properties" in lower else "species:S:1:pos:R:3"
    )
    table = [row.split() for row in rows]
    width = sum(size for _, _, size in columns)
    for number, row in enumerate(table):
        if len(row) < width:
            raise Refused("coordinates", f"atom {number} has {len(row)} columns instead of {width}")
    numbers: Any = None
    positions: Any = None
    labels: dict[str, Any] = {}
    start = 0
    for name, kind, size in columns:
        cells = [row[start : start + size] for row in table]
        start += size
        if name.lower() in ("species", "symbols"):
            numbers = np.array([number_of(cell_[0]) for cell_ in cells], dtype=np.int64)
        elif kind in "RI":
            values = _table(cells, name)
            if name.lower() in ("pos", "positions"):
                positions = values
            elif name.lower() in ("z", "numbers") and size == 1:
                if not np.array_equal(values, np.round(values)):
                    raise Refused("element", f"column {name!r} holds no whole numbers")
                if numbers is None:
                    numbers = np.clip(values[:, 0], -1, 1000).astype(np.int64)
            else:
                labels[name] = values[:, 0] if size == 1 else values
    if numbers is None or positions is None:
        raise Refused("coordinates", "Properties names no species or no pos column")
    for key, value in info.items():
        if key.lower() not in _NO_LABEL:
            labels[key] = value
    return Record(numbers, cell, positions=positions, labels=labels, pbc=pbc)


def parse_comment(text: str) -> dict[str, Any]:
    r"""Split ``key=value key="several words" flag`` into text values by key; flags are "T".

    In quotes a backslash stands before a quote or a backslash; ``\n`` is the end of a line.
    """
    found: dict[str, Any] = {}
    for match in _PAIR.finditer(text):
        key, value = match["key"], match["value"]
        key = key[1:-1] if key[0] in "\"'" else key
        if value is None:
            found[key] = "T"
        elif value[0] in "\"'" and len(value) >= 2:
            found[key] = _ESCAPED.sub(_meant, value[1:-1])
        elif value[0] in "{[" and len(value) >= 2:
            found[key] = value[1:-1]
        else:
            found[key] = value
    return found


def _meant(escaped: re.Match[str]) -> str:
    return "\n" if escaped[1] == "n" else escaped[1]


def _floats(text: str, what: str) -> FloatArray:
    try:
        return np.array([float(part) for part in re.split(r"[\s,\[\]]+", text.strip()) if part])
    except ValueError:
        raise Refused(
            "cell", f"{what} {text[:60]!r} holds something that is not a number"
        ) from None


def _flags(text: str) -> tuple[bool, bool, bool]:
    parts = [part.lower() for part in re.split(r"[\s,\[\]]+", text.strip()) if part]
    if len(parts) == 1:
        parts *= 3
    if len(parts) != 3 or not all(part in ("t", "f", "true", "false", "1", "0") for part in parts):
        raise Refused("pbc", f"pbc {text[:40]!r} cannot be read; write three of T and F")
    return tuple(part in ("t", "true", "1") for part in parts)  # type: ignore[return-value]


def _columns(text: str) -> list[tuple[str, str, int]]:
    parts = text.strip().split(":")
    try:
        if len(parts) % 3:
            raise ValueError
        found = [
            (parts[i], parts[i + 1].upper(), int(parts[i + 2])) for i in range(0, len(parts), 3)
        ]
        if not all(kind in ("S", "R", "I", "L") and 0 < size <= 1000 for _, kind, size in found):
            raise ValueError
    except ValueError:
        raise Refused("broken", f"Properties {text[:60]!r} cannot be read") from None
    return found


def _table(cells: list[list[str]], name: str) -> FloatArray:
    try:
        return np.array(cells, dtype=np.float64).reshape(len(cells), -1)
    except ValueError:
        raise Refused(
            "coordinates", f"column {name!r} holds something that is not a number"
        ) from None
