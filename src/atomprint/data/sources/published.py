"""Sources that are published as files: each is downloaded, read from disk, and removed again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from atomprint.data.sources.base import BEGINNING, Page, Surroundings, made
from atomprint.data.sources.download import RemoteFile, download
from atomprint.ground.errors import DataError
from atomprint.structures.reading.result import Record, Refused


@dataclass(frozen=True)
class Published:
    """A file with crystals, somewhere.

    Attributes
    ----------
    name
        That it gets on disk.
    remote
        Where it is, and its checksum.
    """

    name: str
    remote: RemoteFile


def pages_of_files(
    files: Sequence[Published],
    read: Callable[[Path], Iterable[Record | Refused]],
    around: Surroundings,
    start: str = BEGINNING,
    place: Callable[[int], str] = str,
) -> Iterator[Page]:
    """Yield a page for each file, in their order.

    Parameters
    ----------
    files
        All of them.
    read
        From a file on disk to records with ids.
    around
        Where to download to.
    start
        Number of the file to begin with.
    place
        From the number of a file to its place, where that says more.

    Raises
    ------
    DataError
        If there are no files, or one cannot be had.
    """
    if not files:
        raise DataError("no file of this source was found; check its settings")
    for number in range(int(start or 0), len(files)):
        file = files[number]

        def told(done: int, total: int, name: str = file.name) -> None:
            around.progress(name, done, total)

        path = download(
            file.remote, around.folder / file.name, told,
            timeout=around.web.timeout, waits=around.web.waits,
        )  # fmt: skip

        def remove(path: Path = path) -> None:
            path.unlink(missing_ok=True)
            path.with_name(path.name + ".lock").unlink(missing_ok=True)

        after = place(number + 1) if number + 1 < len(files) else None
        yield Page(made(_read(read, path), file.remote.url), after, done=remove)


def _read(
    read: Callable[[Path], Iterable[Record | Refused]], path: Path
) -> Iterator[Record | Refused]:
    """Records of a file; opening it is part of reading, and may fail as that."""
    yield from read(path)
