"""Verbs that say what a pre-trained network is worth, and for what."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomprint.api.columns import Columns
from atomprint.api.inputs import Data, PathInput, Progress, read_data
from atomprint.structures.reading import Problem

if TYPE_CHECKING:
    from atomprint.evaluation.coverage import Coverage
    from atomprint.evaluation.demo import DemoOutcome
    from atomprint.evaluation.prepare import EvaluateSettings
    from atomprint.evaluation.summary_rows import Summary


def coverage(
    run: PathInput,
    data: Data,
    out: PathInput | None = None,
    *,
    strict: bool = False,
    progress: Progress | None = None,
) -> "tuple[Coverage, list[Problem]]":
    """How far crystals lie from what a model was pre-trained on, before any training.

    Parameters
    ----------
    run
        Folder of a model, or the name of one that comes with the package; see
        :func:`atomprint.evaluation.corpus_index.index_for`.
    data
        Crystals, or where to read them from.
    out
        A .csv or .parquet to write: ``distance`` and ``percentile`` of every crystal.
    strict, progress
        As elsewhere.

    Returns
    -------
    tuple
        What was found, and what was left out on reading.
    """
    from atomprint.evaluation.corpus_index import index_for

    index = index_for(Path(run))
    result = read_data(data, None, strict, progress)

    def count(done: int, total: int) -> None:
        if progress is not None:
            progress("fingerprint", done, total, {})

    found = index.measure(result.crystals, count)
    if out is not None:
        values = {"distance": found.distances, "percentile": found.percentiles}
        units = dict.fromkeys(values, "1")
        Columns(found.ids, values, units, "crystal", {"model": str(run)}).write(out)
    return found, result.problems


def evaluate(
    out: PathInput,
    sources: Sequence[PathInput] = (),
    *,
    settings: "EvaluateSettings | None" = None,
    n_workers: int = 1,
    ray: str | None = None,
    progress: Progress | None = None,
    **chosen: Any,
) -> "Summary":
    """Measure what pre-training buys on a task or a set of one's own, beside from-scratch twins.

    Parameters
    ----------
    out
        Folder of the evaluation; units that are done in it are not done again.
    sources
        Pre-trained runs, or names of those that come with the package.
    settings
        Protocol, competitors, fine-tuning.
    n_workers
        Processes that share the units.
    ray
        Address of a Ray cluster that does them; needs ``atomprint[ray]``.
    progress
        See the module.
    **chosen
        ``task``, or ``data`` and ``target``, and the rest of what
        :func:`atomprint.evaluation.prepare.prepare` takes.

    Raises
    ------
    UsageError, DataError
        See there.
    """
    from atomprint.evaluation.evaluate import run, run_in_processes, write_about
    from atomprint.evaluation.prepare import EvaluateSettings, prepare
    from atomprint.evaluation.set_and_corpus import beside_corpora
    from atomprint.evaluation.summary import summarize_evaluation

    arguments = {
        "settings": settings or EvaluateSettings(),
        "sources": [str(source) for source in sources],
        **chosen,
    }
    folder = Path(out)
    evaluation = prepare(**arguments)
    write_about(evaluation, folder)
    evaluation.extra.update(beside_corpora(evaluation, arguments["sources"], folder, progress))
    write_about(evaluation, folder)
    if ray is not None:
        from atomprint.evaluation.on_ray import run_on_ray

        run_on_ray(evaluation, folder, ray, progress)
    elif n_workers > 1:
        run_in_processes(prepare, arguments, folder, n_workers)
    run(evaluation, folder, progress)
    return summarize_evaluation(folder)


def plan_evaluation(
    out: PathInput,
    sources: Sequence[PathInput] = (),
    *,
    settings: "EvaluateSettings | None" = None,
    **chosen: Any,
) -> dict[str, Any]:
    """What :func:`evaluate` would do, and how long its networks would take; nothing is written.

    Returns
    -------
    dict
        ``units`` (``arm``, ``split``, ``n_labels``, ``n_test``, ``done``), and what
        :func:`atomprint.evaluation.evaluate.estimate` returns.
    """
    from atomprint.evaluation.evaluate import estimate
    from atomprint.evaluation.prepare import EvaluateSettings, prepare

    names = [str(source) for source in sources]
    evaluation = prepare(settings or EvaluateSettings(), names, **chosen)
    folder = Path(out)
    pending = {unit.file for unit in evaluation.pending(folder)}
    units = [
        {
            "arm": unit.arm.name,
            "split": unit.case.name,
            "n_labels": len(unit.case.train),
            "n_test": len(unit.case.test),
            "done": unit.file not in pending,
        }
        for unit in evaluation.units()
    ]
    return {"units": units, **estimate(evaluation, folder)}


def report(folder: PathInput, *, crystals: bool = True) -> Path:
    """Write ``report.html`` over every run in a folder, or over an evaluation; return its path.

    Parameters
    ----------
    folder
        Of runs, or of an evaluation.
    crystals
        Whether the page of an evaluation has ids and labels of single crystals.
    """
    # The figures' library takes a second to import.
    from atomprint.evaluation.report import write_report

    return write_report(Path(folder), crystals)


def demo(
    out: PathInput | None = None,
    *,
    quick: bool = False,
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "auto",
    progress: Progress | None = None,
) -> "DemoOutcome":
    """Run the main job on the embedded data; see :func:`atomprint.evaluation.demo.run_demo`."""
    from atomprint.evaluation.demo import run_demo

    folder = Path(out) if out is not None else Path("atomprint-demo")
    return run_demo(folder, quick=quick, seeds=seeds, device=device, progress=progress)
