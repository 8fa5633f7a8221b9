"""Verbs that get corpora: list what there is, fetch, choose, build."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from atomprint.api.inputs import EMBEDDED, Data, PathInput, Progress, read_data
from atomprint.api.settings import load_settings
from atomprint.data.store import Store, is_store
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal

if TYPE_CHECKING:
    from atomprint.data.building import Built, MixSettings
    from atomprint.data.sources import SourceBase
    from atomprint.data.sources.base import Page
    from atomprint.data.sources.catalogue import Listed
    from atomprint.data.sources.fetch import Fetched
    from atomprint.evaluation.corpus_choice import Suggestion

SAMPLE = 200
"""Crystals of a kind that are made, at least, to judge it: about a minute's work for each."""


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
    ray: str | None = None,
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
    ray
        Address of a Ray cluster that computes them instead (``auto``, ``ray://host:10001``).
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
        Web(per_second=chosen.per_second, tell=tell), progress=download, workers=workers,
        ray=ray or "",
    )  # fmt: skip
    if ray and not chosen.endless:
        raise UsageError(
            f"--ray: crystals of {chosen.card.title} are fetched, not computed; leave it out"
        )
    return fetch(chosen, out, n, around, count)


def corpora() -> "list[Listed]":
    """List where crystals can be had: what each source has, on what terms, and its worth."""
    from atomprint.data.sources.catalogue import catalogue

    return catalogue()


def build_corpus(
    mix: "MixSettings | PathInput",
    n: int,
    out: PathInput,
    *,
    workers: int = 1,
    ray: str | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> "Built":
    """Build a corpus of several parts; the same call goes on after an interruption.

    Parameters
    ----------
    mix
        What it is made of, or a YAML file that says so.
    n
        Crystals in all.
    out
        The store's folder.
    workers
        Parts that are gathered at once, and processes of the generator.
    ray
        Address of a Ray cluster that computes what is generated.
    progress
        See the module; a stage is a part, and ``write``.
    tell
        Called with a sentence when a server has to be waited for.

    Raises
    ------
    UsageError
        For an unknown or impossible setting, or if ``out`` is a store of something else.
    DataError
        If a part cannot be had.
    """
    from atomprint.data.building import MixSettings, build

    chosen = mix if isinstance(mix, MixSettings) else load_settings(MixSettings, mix)

    def count(stage: str, done: int, total: int) -> None:
        if progress is not None:
            progress(stage, done, total, {})

    return build(
        chosen, n, Path(out), workers=workers, ray=ray or "", tell=tell, progress=count
    )  # fmt: skip


def suggest_corpus(
    data: Data,
    candidates: Sequence[PathInput] = (),
    out: PathInput | None = None,
    *,
    seed: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> "Suggestion":
    """Score corpora by how they cover one's own crystals, and propose a mix of them.

    Parameters
    ----------
    data
        One's own crystals; labels are not looked at.
    candidates
        Stores, files, the word ``embedded``, or kinds of sources that make crystals, such as
        ``generated``, of which some are made. None of them: ``embedded`` and all these kinds.
    out
        YAML file to write for :func:`build_corpus`. A store that was fetched from a source with
        more crystals stands in it as that source, and so does a kind.
    seed
        Of the choice of crystals that are looked at, and of those that are made.
    workers
        Processes that make crystals.
    progress
        See the module; stage ``make KIND`` counts crystals that are made.
    tell
        Called with a sentence on every kind that is passed over, because packages are missing that
        it needs and it was not asked for.

    Raises
    ------
    UsageError
        If there is no such candidate, it lacks a package, or the file cannot be written.
    DataError
        If something cannot be read, or a candidate has too few crystals.
    """
    from atomprint.evaluation.corpus_choice import suggest

    def read(one: Data) -> Sequence[Crystal]:
        if is_store(one):
            return Store(cast("PathInput", one))
        return read_data(one, None, False, progress).crystals

    def count(stage: str, done: int, total: int) -> None:
        if progress is not None:
            progress(stage, done, total, {})

    own = read(data)
    names = [str(one) for one in candidates] or [EMBEDDED, *_makers()]
    # Where nothing was asked for, a folder that is called like a kind is not meant.
    kinds = [name for name in names if _is_kind(name)] if candidates else _makers()
    corpora = {name: read(name) for name in names if name not in kinds}
    sources = {kind: {"kind": kind, "seed": seed} for kind in kinds}
    for name, source in sources.items():
        try:
            corpora[name] = _sample(source, workers, count)
        except UsageError as error:
            if candidates:
                raise
            if tell is not None:
                tell(f"{name} is passed over: {error}")
    found = suggest(own, corpora, seed, count)
    if out is not None:
        weights = {one.name: one.weight for one in found.candidates if one.weight}
        _write_mix(Path(out), weights, sources, found.sentence)
    return found


def _makers() -> list[str]:
    """Kinds of sources that make crystals: without a network, and with nothing to be set."""
    from atomprint.data.sources import SOURCES
    from atomprint.data.sources.blocks import BlockSource

    return [kind for kind, source in SOURCES.items() if issubclass(source, BlockSource)]


def _is_kind(name: str) -> bool:
    """Whether a candidate is a kind that crystals can be made of here, and no path.

    Raises
    ------
    UsageError
        If it is another kind, or nearly a kind.
    """
    import difflib

    from atomprint.data.sources import SOURCES

    if Path(name).exists():
        return False
    makers = _makers()
    if name in SOURCES and name not in makers:
        raise UsageError(
            f"{name}: only kinds that are made here can be judged by name ({', '.join(makers)}); "
            f"get some hundred crystals first (atomprint corpus fetch {name} --n 500 --out STORE) "
            "and name that store"
        )
    if name not in makers and (close := difflib.get_close_matches(name, makers, 1, 0.8)):
        raise UsageError(f"{name}: there is no such path or kind; did you mean {close[0]!r}?")
    return name in makers


def _sample(
    settings: Mapping[str, Any], workers: int, count: Callable[[str, int, int], None]
) -> list[Crystal]:
    """Make some crystals of a kind, the same ones every time."""
    from atomprint.data.sources import Surroundings
    from atomprint.data.sources.fetch import BARREN

    kind = settings["kind"]
    source = source_settings(kind, settings)
    crystals: list[Crystal] = []
    count(f"make {kind}", 0, SAMPLE)
    with closing(cast("Generator[Page]", source.pages(Surroundings(workers=workers)))) as pages:
        # Whole blocks: the first crystals of one need not be like the others.
        for page in islice(pages, BARREN):
            crystals += [item for item in page.items if isinstance(item, Crystal)]
            count(f"make {kind}", min(len(crystals), SAMPLE), SAMPLE)
            if len(crystals) >= SAMPLE:
                return crystals
    raise DataError(f"{kind}: only {len(crystals):,} crystals in {BARREN} blocks")


def _write_mix(
    path: Path,
    weights: Mapping[str, float],
    sources: Mapping[str, dict[str, Any]],
    sentence: str,
) -> None:
    import yaml

    parts: dict[str, dict[str, Any]] = {}
    for name, weight in weights.items():
        short = Path(name).name.partition(".")[0] or "part"
        while short in parts:
            short += "-too"
        source = sources.get(name) or _source_of(Path(name))
        place = {"path": name} if source is None else {"source": source}
        parts[short] = {"weight": round(weight, 3), **place}
    text = yaml.safe_dump({"parts": parts}, sort_keys=False, allow_unicode=True)
    try:
        path.write_text(f"# {sentence}\n{text}", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None


def _source_of(store: Path) -> dict[str, Any] | None:
    """Settings of the source that a store is a part of; None where it is all there is."""
    from atomprint.data.sources.fetch import SETTINGS

    try:
        about = json.loads((store / SETTINGS).read_text(encoding="utf-8"))
        return None if about["exhausted"] else dict(about["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
