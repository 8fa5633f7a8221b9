"""`read_crystals`: any file, folder or archive in, crystals and named problems out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from atomprint.ground.errors import AtomprintError, DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.arrow import read_arrow
from atomprint.structures.reading.ase_db import read_ase_db
from atomprint.structures.reading.atompack import read_atompack
from atomprint.structures.reading.checks import build_crystal
from atomprint.structures.reading.cif import read_cif
from atomprint.structures.reading.extxyz import read_extxyz
from atomprint.structures.reading.files import BROKEN_FILE, Entry, Inventory, PathInput, find_files
from atomprint.structures.reading.labels import Table, aside_notes, join, read_table, settle
from atomprint.structures.reading.lmdb import read_lmdb
from atomprint.structures.reading.parquet import read_parquet
from atomprint.structures.reading.poscar import read_poscar
from atomprint.structures.reading.pymatgen_json import read_json
from atomprint.structures.reading.result import (
    Found,
    NotCrystals,
    Problem,
    ReadResult,
    Record,
    Refused,
    in_utf8,
    one_line,
)
from atomprint.structures.reading.tabular import read_csv

# RuntimeError: encrypted members of a zip.
BROKEN = (*BROKEN_FILE, RuntimeError, MemoryError)


def read_crystals(
    path: PathInput | Sequence[PathInput],
    *,
    labels: PathInput | None = None,
    id_column: str | None = None,
    ordering: int | None = None,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ReadResult:
    """Read crystals and their labels from files, folders, patterns or archives.

    What cannot be read, or would be read wrongly, is left out and named in ``problems``.

    Parameters
    ----------
    path
        A file, a folder (searched through), a pattern such as ``runs/*/CONTCAR``, an archive
        (.tar, .tar.gz, .zip), or several of these.
    labels
        A CSV with ids and label columns, joined by id or file name; its labels are taken from
        nowhere else. An ``id_prop.csv`` beside the crystals is found by itself.
    id_column
        The column or field that holds the id, where it has an unusual name.
    ordering
        A seed: disordered crystals (partial occupancy, mixed sites; CIF and pymatgen JSON) become
        ordered ones that stand for them, see :mod:`atomprint.structures.reading.disorder`. None
        leaves them out.
    strict
        Raise on the first problem list instead of leaving things out.
    progress
        Called with the number of files done and of all files.

    Raises
    ------
    UsageError
        If there is nothing to read: no such file, unknown type, empty folder.
    DataError
        With ``strict``, if anything is wrong; always, if two files state different units.
    """
    with ExitStack() as stack:
        inventory = find_files(path, stack)
        reader = _Reader(inventory, id_column, ordering)
        if labels is not None:
            reader.add_labels(Path(labels))
        for done, entry in enumerate(inventory.entries, start=1):
            reader.read(entry)
            if progress is not None:
                progress(done, len(inventory.entries))
    result = reader.result()
    if strict and result.problems:
        more = len(result.problems) - 1
        raise DataError(f"{result.problems[0]}" + (f" (and {more:,} more)" if more else ""))
    if not result.crystals and not result.problems:
        raise UsageError(f"{path}: no crystals there; " + "; ".join(result.notes))
    return result


class _Reader:
    """Collects crystals, problems and labels over all files."""

    def __init__(self, inventory: Inventory, id_column: str | None, ordering: int | None) -> None:
        self.id_column, self.ordering = id_column, ordering
        self.n_drawn = 0
        self.inventory = inventory
        self.crystals: list[Crystal] = []
        self.raw_labels: list[tuple[str, str, int, dict[str, Any]]] = []
        self.problems: list[Problem] = list(inventory.problems)
        self.units: dict[str, tuple[str, str]] = {}
        self.ids: dict[str, str] = {}
        self.tables: list[Table] = []
        for entry in inventory.tables:
            self._add_table(entry, scope=entry.name[: -len("id_prop.csv")])

    def add_labels(self, path: Path) -> None:
        """Add the table of labels that the user named."""
        table = named_table(path, self.id_column)
        self.tables = [*(t for t in self.tables if t.name != table.name), table]

    def _add_table(self, entry: Entry, scope: str) -> None:
        try:
            self.tables.append(read_table(entry, None, scope))
        except Refused as refusal:
            self.problems.append(Problem(entry.name, "", refusal.reason, "label"))
        except BROKEN as error:
            self.problems.append(Problem(entry.name, "", f"cannot be read ({error})", "label"))

    def read(self, entry: Entry) -> None:
        """Read one file."""
        usual_id = entry.stem if entry.format in ("cif", "poscar") else ""
        try:
            with ExitStack() as stack:
                found = open_entry(entry, self.id_column, stack, self.ordering)
                self._add(entry, found)
        except Refused as refusal:
            self._refuse(entry, refusal, usual_id)
        except NotCrystals as other:
            if entry.by_name:
                self._refuse(entry, Refused("broken", str(other)), "")
            else:
                self.inventory.pass_over(entry.name)
        except BROKEN as error:
            self._refuse(entry, unreadable(error), usual_id)
        except AtomprintError:
            raise
        except Exception as error:
            # No file, however strange, ends the reading of ten thousand others.
            reason = f"cannot be read (unexpected {type(error).__name__}: {error}; please report)"
            self._refuse(entry, Refused("broken", reason), usual_id)

    def _add(self, entry: Entry, found: Found) -> None:
        # One record ahead, so that a file's only crystal can be named after the file.
        records = until_broken(found.records)
        first = next(records, None)
        second = next(records, None) if first is not None else None
        if first is None:
            raise Refused("empty", "has no crystals")
        alone = second is None
        self._add_record(entry, first, alone)
        if second is not None:
            self._add_record(entry, second, alone)
        for record in records:
            self._add_record(entry, record, alone)
        for name, unit in found.units.items():
            if not unit:
                continue
            known, where = self.units.setdefault(name, (unit, entry.name))
            if known != unit:
                raise DataError(
                    f"label {name!r} is in {known} in {where} and in {unit} in {entry.name}; "
                    "convert one of them"
                )

    def _add_record(self, entry: Entry, record: Record | Refused, alone: bool) -> None:
        mark = "" if alone or not record.index else f"#{record.index}"
        # A file that breaks off is refused as a file, not as a record with an id.
        whole_file = isinstance(record, Refused) and not record.index and not alone
        id = in_utf8(record.id) or ("" if whole_file else entry.stem + mark)
        if isinstance(record, Refused):
            self._refuse(entry, record, id)
            return
        source = entry.name + mark
        try:
            if id in self.ids:
                raise Refused("duplicate", f"the id {id!r} was read before, from {self.ids[id]}")
            crystal = build_crystal(replace(record, id=id), source)
        except Refused as refusal:
            self._refuse(entry, refusal, id)
            return
        self.ids[id] = source
        self.n_drawn += record.drawn
        values = join(self.tables, entry.name, id, entry.stem if alone else None, record.labels)
        self.crystals.append(crystal)
        self.raw_labels.append((entry.name, id, crystal.n_atoms, values))

    def _refuse(self, entry: Entry, refusal: Refused, id: str) -> None:
        self.problems.append(Problem(entry.name, id, refusal.reason, refusal.kind))
        # The labels of a refused crystal are accounted for with it.
        join(self.tables, entry.name, id, entry.stem, {})

    def result(self) -> ReadResult:
        """Settle the labels and gather everything."""
        labels, problems, notes = settle(self.raw_labels)
        for table in self.tables:
            problems += table.problems
            for key in table.rows:
                if key not in table.used:
                    problems.append(Problem(table.name, key, "no crystal has this id", "label"))
        crystals = [
            crystal.with_labels(values) if values else crystal
            for crystal, values in zip(self.crystals, labels, strict=True)
        ]
        names = sorted({name for values in labels for name in values})
        units = {name: self.units.get(name, ("", ""))[0] for name in names}
        if self.inventory.passed_over:
            listed = ", ".join(
                f"{count} × {suffix}"
                for suffix, count in sorted(self.inventory.passed_over.items())
            )
            notes.append(f"files of other types passed over: {listed}")
        notes += aside_notes(self.tables, names)
        if self.n_drawn:
            notes.append(drawn_note(self.n_drawn, self.ordering))
        return ReadResult(crystals, self.problems + problems, units, notes)


def drawn_note(n: int, ordering: int | None) -> str:
    """A sentence on disordered crystals that were not left out."""
    what = "crystal is an ordering" if n == 1 else "crystals are orderings"
    return f"{n:,} {what} of disordered ones, drawn with seed {ordering}"


def named_table(path: Path, id_column: str | None) -> Table:
    """Read the table of labels that the user named.

    Raises
    ------
    UsageError
        If it does not exist or is no table.
    """
    if not path.is_file():
        raise UsageError(f"{str(path)!r}, the table of labels, does not exist")
    entry = Entry(str(path), "table", True, path, lambda: path.open("rb"))
    try:
        table = read_table(entry, id_column)
    except Refused as refusal:
        raise UsageError(f"{path}: {refusal.reason}") from None
    table.named = True
    return table


def until_broken(records: Iterable[Record | Refused]) -> Iterator[Record | Refused]:
    """Hand on the records; a file that breaks off ends with a refusal."""
    try:
        yield from records
    except Refused as refusal:
        yield refusal
    except BROKEN as error:
        yield unreadable(error)


def unreadable(error: Exception) -> Refused:
    """What a file that could not be read becomes."""
    text = one_line(error, 150) or type(error).__name__
    return Refused("broken", f"cannot be read ({text})")


def open_entry(
    entry: Entry, id_column: str | None, stack: ExitStack, ordering: int | None = None
) -> Found:
    """Begin to read a file by its format; the stack closes it."""

    def open_named(named: Entry, inner: ExitStack) -> Found:
        return open_entry(named, None, inner, ordering)

    if entry.format == "cif":
        return read_cif(entry.read(), ordering)
    if entry.format == "poscar":
        return read_poscar(entry.read())
    if entry.format == "json":
        return read_json(entry.read(), id_column, ordering)
    if entry.format == "ase":
        return read_ase_db(entry.path, id_column)
    if entry.format == "lmdb":
        return read_lmdb(entry.path, id_column)
    if entry.format == "atompack":
        return read_atompack(entry.path, id_column)
    file = stack.enter_context(entry.open())
    if entry.format == "extxyz":
        return read_extxyz(file, id_column)
    if entry.format == "parquet":
        return read_parquet(file, entry, id_column, open_named)
    if entry.format == "arrow":
        return read_arrow(file, entry, id_column, open_named)
    if entry.format == "csv":
        return read_csv(file, entry, id_column, open_named)
    raise NotCrystals("is of no known type")
