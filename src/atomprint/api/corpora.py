"""Verbs that get corpora: fetch one, list what there is."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from atomprint.api.inputs import PathInput, Progress
from atomprint.ground.errors import UsageError

if TYPE_CHECKING:
    from atomprint.data.sources import SourceBase
    from atomprint.data.sources.fetch import Fetched


def source_settings(kind: str, values: Mapping[str, Any] | None = None) -> "SourceBase":
    """Settings of a source of crystals.

    Parameters
    ----------
    kind
        Such as ``optimade``.
    values
        Settings that differ from the defaults.

    Raises
    ------
    UsageError
        For an unknown kind, or an unknown, missing or impossible setting.
    """
    import difflib

    from atomprint.data.sources import SOURCES
    from atomprint.ground.settings import validate

    wanted = kind.strip().lower().replace("-", "_")
    if wanted not in SOURCES:
        close = difflib.get_close_matches(wanted, SOURCES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(SOURCES)}"
        raise UsageError(f"there is no source {kind!r}; {hint}")
    return validate(SOURCES[wanted], dict(values or {}), f"source {wanted}")


def fetch_corpus(
    source: "SourceBase | str",
    out: PathInput,
    n: int | None = None,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> "Fetched":
    """Bring crystals of a source into a store; the same call goes on after an interruption.

    Parameters
    ----------
    source
        Its settings, or its kind if the defaults will do.
    out
        The store's folder.
    n
        Crystals to stop at; None for all. A larger number later adds to what is there.
    workers
        Processes, where crystals are computed.
    progress
        See the module; stage ``fetch`` counts crystals, ``download NAME`` bytes.
    tell
        Called with a sentence when a server has to be waited for.

    Raises
    ------
    UsageError
        If ``out`` is a store of something else, or something is missing that the source needs.
    DataError
        If the source cannot be reached, or gives no crystal.
    """
    from atomprint.data.sources import Surroundings
    from atomprint.data.sources.fetch import fetch
    from atomprint.data.sources.web import Web

    chosen = source_settings(source) if isinstance(source, str) else source

    def count(done: int, total: int) -> None:
        if progress is not None:
            progress("fetch", done, total, {})

    def download(name: str, done: int, total: int) -> None:
        if progress is not None:
            progress(f"download {name}", done, total, {})

    around = Surroundings(
        Web(per_second=chosen.per_second, tell=tell), progress=download, workers=workers
    )
    return fetch(chosen, out, n, around, count)
