"""The coverage index of what a model was pre-trained on, wherever that is to be found."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from atomprint.data.embedded import CORPUS
from atomprint.data.mixing import Corpus
from atomprint.data.selection import pick
from atomprint.data.splits import rank
from atomprint.evaluation.coverage import FEWEST, FILE, MOST, CoverageIndex
from atomprint.ground.errors import DataError, UsageError
from atomprint.heads.shipped import DESCRIPTION, locate
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals

EMBEDDED = "embedded"
MOST_LOOKED_AT = 200_000
"""Crystals of a corpus; of more, so many at random."""


def index_for(run: Path) -> CoverageIndex:
    """Index of the corpus behind a model.

    A pre-training's folder and shipped checkpoints: their ``coverage.npz``. Without one, made of
    the embedded corpus for a shipped checkpoint, and otherwise of the corpus that ``run.json``
    names, and left in the folder. A fine-tuned model: that of the model it came from.

    Parameters
    ----------
    run
        Folder of a run, or the name of a shipped checkpoint.

    Raises
    ------
    UsageError
        If there is no run, or it had no corpus, or nothing says where that is.
    DataError
        If the corpus cannot be read, or is too small.
    """
    if (found := index_at_hand(run)) is not None:
        return found
    folder = locate(run)
    data, settings = _record(run)
    if data.get("source") is not None:
        return index_for(Path(data["source"]))
    if not settings.get("data"):
        raise UsageError(
            f"{run}: run.json does not say where the corpus is, and there is no {FILE}; "
            "pre-train again, or give another run"
        )
    index = _index_of_paths(settings["data"], settings.get("max_atoms"))
    # A folder that cannot be written to still answers, only slower each time.
    with contextlib.suppress(OSError):
        index.save(folder)
    return index


def index_at_hand(run: Path) -> CoverageIndex | None:
    """The same without reading a corpus: None where it would have to be made.

    Raises
    ------
    UsageError
        If there is no run, or it had no corpus.
    DataError
        If its index is broken.
    """
    folder = locate(run)
    if (folder / FILE).is_file():
        return CoverageIndex.load(folder)
    if made_of_embedded(run):
        return embedded_index()
    data, _ = _record(run)
    if "source" not in data:
        return None
    if data["source"] is None:
        raise UsageError(f"{run}: this model was trained from scratch and has no corpus")
    return index_at_hand(Path(data["source"]))


def made_of_embedded(run: Path) -> bool:
    """Whether a model is a shipped checkpoint that was trained on the embedded corpus.

    Those of another corpus come with that corpus's index.
    """
    folder = locate(run)
    return (folder / DESCRIPTION).is_file() and not (folder / FILE).is_file()


def _record(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Data and settings of ``run.json``."""
    try:
        about = json.loads((locate(run) / "run.json").read_text(encoding="utf-8"))
        return about["data"], about["settings"]
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"{run}: there is no run here (no readable run.json); give a run folder, or the name "
            "of a checkpoint that comes with atomprint"
        ) from None


def index_of_corpora(corpora: Sequence[Crystal] | Mapping[str, Corpus]) -> CoverageIndex:
    """Index of one corpus, or of a mixture: of each corpus as many crystals as its share says."""
    if not isinstance(corpora, Mapping):
        return CoverageIndex.fit(corpora)
    total = sum(corpus.weight for corpus in corpora.values())
    chosen: list[Crystal] = []
    for corpus in corpora.values():
        ranked = sorted(corpus.crystals, key=lambda crystal: rank(crystal.id, 0))
        chosen += ranked[: max(1, int(MOST * corpus.weight / total))]
    n_corpus = sum(len(corpus.crystals) for corpus in corpora.values())
    return CoverageIndex.fit(chosen, {"n_corpus": n_corpus, "mixture": list(corpora)})


def write_index(corpora: Sequence[Crystal] | Mapping[str, Corpus], folder: Path) -> bool:
    """Leave the index in the folder of a pre-training, unless it is there or makes no sense.

    Returns
    -------
    bool
        Whether it is there now; a corpus of very few crystals has none.
    """
    if (folder / FILE).is_file():
        return True
    parts = [c.crystals for c in corpora.values()] if isinstance(corpora, Mapping) else [corpora]
    if sum(map(len, parts)) < FEWEST:
        return False
    if isinstance(corpora, Mapping):
        thinned = {n: Corpus(_thinned(c.crystals), c.weight) for n, c in corpora.items()}
        index_of_corpora(thinned).save(folder)
    else:
        index_of_corpora(_thinned(corpora)).save(folder)
    return True


def _thinned(crystals: Sequence[Crystal]) -> Sequence[Crystal]:
    """A random part of a corpus that is too large to look at every crystal's id."""
    if len(crystals) <= MOST_LOOKED_AT:
        return crystals
    chosen = np.random.default_rng(0).choice(len(crystals), MOST_LOOKED_AT, replace=False)
    return pick(crystals, np.sort(chosen))


@cache
def embedded_index() -> CoverageIndex:
    """Index of the embedded corpus; made once."""
    return CoverageIndex.fit(read_crystals(CORPUS).crystals, {"corpus": EMBEDDED})


def _index_of_paths(data: Any, max_atoms: int | None) -> CoverageIndex:
    def read(paths: Any) -> list[Crystal]:
        named = str(paths) == EMBEDDED and not Path(EMBEDDED).exists()
        crystals = read_crystals(CORPUS if named else paths).crystals
        kept = [c for c in crystals if max_atoms is None or c.n_atoms <= max_atoms]
        if not kept:
            raise DataError(f"{paths}: no crystal of the corpus could be read")
        return kept

    if isinstance(data, dict):
        mixture = {name: Corpus(read(name), float(weight)) for name, weight in data.items()}
        return index_of_corpora(mixture)
    return index_of_corpora(read(data))
