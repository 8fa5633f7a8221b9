"""Pre-trained networks that come with the package: ``atomprint/small`` and the like.

Each has a folder here: ``model.json`` and ``model.safetensors`` as in any run folder,
``checkpoint.json`` (what it is, and the checksums of both) and ``card.md``, the same for people.
``scripts/make_checkpoints.py`` makes them.
"""

import difflib
import hashlib
from pathlib import Path
from typing import Any

from pydantic import Field

from atomprint.ground.documents import json_of
from atomprint.ground.errors import DataError, UsageError
from atomprint.ground.settings import Settings, validate

FOLDER = Path(__file__).parent
PREFIX = "atomprint/"
FILES = ("model.json", "model.safetensors")
DESCRIPTION = "checkpoint.json"


class Shipped(Settings):
    """What is known of a shipped network: the content of its ``checkpoint.json``."""

    name: str = Field(description="as --from takes it")
    summary: str = Field(description="what it is, in a sentence")
    licence: str = Field(description="of the weights")
    data: str = Field(description="what it was trained on")
    data_licence: str = Field(description="of that")
    n_crystals: int = Field(description="of the corpus")
    corpus_hash: str = Field(description="as in a run's record")
    n_parameters: int = Field(description="of the network")
    n_bytes: int = Field(description="of the weights' file")
    sha256: dict[str, str] = Field(description="by file")
    recipe: dict[str, Any] = Field(description="all settings of the pre-training")
    cost: dict[str, Any] = Field(description="what pre-training took")
    results: tuple[dict[str, Any], ...] = Field(description="a row a set of labels")
    limits: tuple[str, ...] = Field(description="what it is not good for, a sentence each")
    made_with: dict[str, Any] = Field(description="versions, processor, commit")

    @property
    def gains(self) -> str:
        """What it gained over from-scratch twins, in a few words."""
        if not self.results:
            return "not measured"
        return "; ".join(
            f"{row['set']}, {row['n_labels']} labels: {row['gain']:+.1%} over {row['n_seeds']} "
            f"seed{'s' if row['n_seeds'] > 1 else ''}"
            for row in self.results
        )


def names(folder: Path = FOLDER) -> list[str]:
    """Names of the networks that come with the package."""
    return sorted(PREFIX + path.parent.name for path in folder.glob(f"*/{DESCRIPTION}"))


def describe(name: str, folder: Path = FOLDER) -> Shipped:
    """Read what is known of a network, by its name.

    Raises
    ------
    UsageError
        If there is none of this name.
    DataError
        If the description is broken.
    """
    return read_description(_folder_of(name, folder))


def read_description(folder: Path) -> Shipped:
    """Read ``checkpoint.json`` of a folder."""
    path = folder / DESCRIPTION
    try:
        return validate(Shipped, json_of(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError, UsageError):
        raise DataError(
            f"{path}: the description of the checkpoint is broken; install atomprint again"
        ) from None


def locate(given: Path, folder: Path = FOLDER) -> Path:
    """Folder of a model, given that folder or the name of a shipped network.

    A folder that exists goes before a name. A folder with checksums is given only if they fit.

    Raises
    ------
    UsageError
        For a name that looks like that of a shipped network and is none.
    DataError
        If a file is not the one whose checksum was written down.
    """
    found = given
    if not given.exists() and given.as_posix().startswith(PREFIX):
        found = _folder_of(given.as_posix(), folder)
    if (found / DESCRIPTION).is_file():
        check(found)
    return found


def suggestion(given: Path, folder: Path = FOLDER) -> str:
    """Name of the shipped network that was probably meant, or an empty text."""
    known = names(folder)
    text = given.as_posix()
    if PREFIX + text in known:
        return PREFIX + text
    close = difflib.get_close_matches(text, known, n=1, cutoff=0.7)
    return close[0] if close else ""


def sha256(path: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(folder: Path) -> None:
    """Refuse files that are not the ones described.

    Raises
    ------
    DataError
        With the file.
    """
    wanted = read_description(folder).sha256
    for name in FILES:
        path = folder / name
        try:
            found = sha256(path)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}); install atomprint again"
            ) from None
        if found != wanted.get(name):
            raise DataError(
                f"{path}: the file is not the one that came with atomprint (its sha256 begins "
                f"with {found[:12]} and not {str(wanted.get(name))[:12]}); install atomprint again"
            )


def _folder_of(name: str, folder: Path) -> Path:
    known = names(folder)
    if name in known:
        return folder / name.removeprefix(PREFIX)
    # Without what all names begin with, which would make everything look alike.
    short = [one.removeprefix(PREFIX) for one in known]
    close = difflib.get_close_matches(name.removeprefix(PREFIX), short, n=1)
    hint = (
        f"did you mean {PREFIX + close[0]!r}?"
        if close
        else f"there are: {', '.join(known) or 'none'}"
    )
    raise UsageError(f"{name}: no checkpoint of this name comes with atomprint; {hint}")
