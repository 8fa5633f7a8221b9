"""Find the runs in a folder and read what they wrote down."""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atomprint.ground.errors import DataError, UsageError


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes
    ----------
    path
        The folder.
    name
        Its path below the folder that was searched; the folder's own name at the top.
    kind
        ``pretrain`` or ``finetune``.
    about
        ``run.json``: settings, data, environment.
    history
        ``history.json``.
    results
        Rows of ``metrics.json`` (fine-tuning only).
    predictions
        Columns of ``predictions.csv`` as text (fine-tuning only).
    """

    path: Path
    name: str
    kind: str
    about: dict[str, Any]
    history: dict[str, Any]
    results: list[dict[str, Any]]
    predictions: dict[str, list[str]]


def find_runs(folder: Path) -> list[Run]:
    """Every finished run in a folder, itself or up to two levels down, sorted by name.

    Raises
    ------
    UsageError
        If there is no such folder, or no finished run in it.
    DataError
        If a run's files cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder; give the folder of a run")
    found = []
    for depth in ("", "*/", "*/*/"):
        for history in sorted(folder.glob(f"{depth}history.json")):
            found.append(_read_run(history.parent, folder))
    if not found:
        raise UsageError(
            f"{folder}: no finished run in here (no history.json); "
            "give a folder that pretrain, finetune or demo wrote"
        )
    return found


def _read_run(path: Path, top: Path) -> Run:
    name = str(path.relative_to(top)) if path != top else path.resolve().name
    metrics = path / "metrics.json"
    return Run(
        path,
        name,
        "finetune" if metrics.is_file() else "pretrain",
        read_json(path / "run.json") if (path / "run.json").is_file() else {},
        read_json(path / "history.json"),
        read_json(metrics)["results"] if metrics.is_file() else [],
        _columns(path / "predictions.csv"),
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that a run wrote.

    Raises
    ------
    DataError
        If the file cannot be read or holds none.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run the run again") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds no JSON object; run the run again")
    return value


def _columns(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def numbers(run: Run, column: str, part: str) -> list[float]:
    """Return one column of a run's predictions for one part; NaN where empty or text."""
    values = []
    for which, text in zip(run.predictions["part"], run.predictions[column], strict=True):
        if which == part:
            try:
                values.append(float(text))
            except ValueError:
                values.append(math.nan)
    return values
