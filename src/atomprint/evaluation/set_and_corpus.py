"""What an evaluation records of its set and the corpora behind its runs: distance, and overlap."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from atomprint.data.embedded import CORPUS
from atomprint.evaluation.corpus_index import EMBEDDED, index_at_hand, made_of_embedded
from atomprint.evaluation.coverage import CoverageIndex
from atomprint.evaluation.evaluate import Evaluation
from atomprint.evaluation.leakage import find_leaks, summarize_leaks
from atomprint.evaluation.networks import source_name
from atomprint.evaluation.runs import read_json
from atomprint.ground.errors import AtomprintError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals

Progress = Callable[[str, int, int, dict[str, float]], None]


def beside_corpora(
    evaluation: Evaluation,
    sources: Sequence[str],
    folder: Path,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Distances of all judged crystals from every corpus, and those that the embedded one has.

    Corpora are not read for it: a run and a shipped checkpoint have their ``coverage.npz``, or the
    checkpoint has the embedded corpus. What the folder has of the same crystals already is not
    computed again.

    Parameters
    ----------
    evaluation
        Its crystals and cases.
    sources
        Runs, or names of shipped checkpoints.
    folder
        Of the evaluation.
    progress
        Called as ``progress(stage, done, total, numbers)``.

    Returns
    -------
    dict
        ``coverage``: one entry a corpus, with ``runs`` (names of arms), what
        :meth:`atomprint.evaluation.coverage.Coverage.to_dict` says, and ``distances`` and
        ``percentiles`` by id. An entry without a ``verdict`` says why. ``leakage``: only if a
        checkpoint was trained on the embedded corpus and the evaluation knows of no corpus yet.
    """
    judged = sorted({i for case in evaluation.cases for i in case.test})
    crystals = [evaluation.crystals[i] for i in judged]
    known = read_json(folder / "evaluation.json") if _is_there(folder) else {}
    found = _still_right(known.get("coverage"), {crystal.id for crystal in crystals})
    entries: dict[int, dict[str, Any]] = {}
    for source in sources:
        name = source_name(source)
        if any(name in entry["runs"] for entry in found):
            continue
        index, why = _index(source)
        if index is None:
            found.append({"runs": [name], "verdict": None, "sentence": f"Not measured: {why}"})
            continue
        if id(index) not in entries:
            entries[id(index)] = _entry(index, crystals, progress)
        entry = entries[id(index)]
        same = [one for one in found if _content(one) == _content(entry)]
        if same:
            same[0]["runs"].append(name)
        else:
            found.append({"runs": [name], **entry})
    extra: dict[str, Any] = {"coverage": found} if found else {}
    embedded = any(made_of_embedded(Path(source)) for source in sources)
    if embedded and "leakage" not in evaluation.extra and not known.get("leakage"):
        corpus = read_crystals(CORPUS).crystals
        leaks = summarize_leaks(find_leaks(crystals, corpus), len(crystals), len(corpus))
        extra["leakage"] = leaks | {"corpus": EMBEDDED, "excluded": False}
    return extra


def _index(source: str) -> tuple[CoverageIndex | None, str]:
    """The index of a run, or why there is none."""
    try:
        index = index_at_hand(Path(source))
    except AtomprintError as error:
        return None, str(error)
    return index, (
        f"{source} has no coverage.npz; 'atomprint coverage {source} DATA' makes it from the corpus"
    )


def _entry(
    index: CoverageIndex, crystals: Sequence[Crystal], progress: Progress | None
) -> dict[str, Any]:
    def count(done: int, total: int) -> None:
        if progress is not None:
            progress("coverage", done, total, {})

    measured = index.measure(crystals, count)
    pairs = list(zip(measured.ids, measured.distances, measured.percentiles, strict=True))
    return {
        **measured.to_dict(),
        "corpus": index.about,
        "distances": {id: round(float(far), 4) for id, far, _ in pairs},
        "percentiles": {id: round(float(share), 4) for id, _, share in pairs},
    }


def _content(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "runs"}


def _is_there(folder: Path) -> bool:
    return (folder / "evaluation.json").is_file()


def _still_right(entries: Any, ids: set[str]) -> list[dict[str, Any]]:
    """Entries of an earlier start of the same evaluation that are of these crystals."""
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if set(entry.get("distances", ())) == ids]
