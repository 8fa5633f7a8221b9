"""What verbs are given: data to read, and where to compute."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from atomprint.data.embedded import CORPUS
from atomprint.data.load import load_crystals
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import ReadResult

EMBEDDED = "embedded"
"""In place of a path: the generated crystals that come with the package."""

PathInput = str | Path
Data = PathInput | Sequence[PathInput] | Sequence[Crystal]
Progress = Callable[[str, int, int, dict[str, float]], None]


def read_data(
    data: Data, labels: PathInput | None, strict: bool, progress: Progress | None
) -> ReadResult:
    """Read crystals from paths, or pass on crystals already in hand."""
    if not isinstance(data, str | Path) and all(isinstance(item, Crystal) for item in data):
        if labels is not None:
            raise UsageError("labels from a file go with crystals from files; attach them instead")
        return ReadResult([c for c in data if isinstance(c, Crystal)], [], {})

    def count(done: int, total: int) -> None:
        if progress is not None:
            progress("read", done, total, {})

    paths: Any = data
    if str(data) == EMBEDDED and not Path(EMBEDDED).exists():
        paths = CORPUS
    result = load_crystals(paths, labels=labels, strict=strict, progress=count)
    if not result.crystals:
        first = f"; the first: {result.problems[0]}" if result.problems else ""
        raise DataError(f"{data}: no crystal could be read{first}")
    return result


def choose_device(device: str) -> Any:
    """Device that ``auto``, ``cpu`` or ``cuda`` stands for, checked to be there."""
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"device {device!r} cannot be used: {first}") from None
    return chosen
