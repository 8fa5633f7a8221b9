"""An evaluation: arms x cases, done unit by unit into a folder that says all about them."""

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from atomprint.evaluation.arms import Arm
from atomprint.evaluation.networks import Network
from atomprint.evaluation.protocols import Case, Protocol
from atomprint.evaluation.runs import read_json
from atomprint.evaluation.units import Unit, do_unit, is_done
from atomprint.ground.errors import UsageError
from atomprint.ground.processes import end_with_parent
from atomprint.heads.metrics import metric_name
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.training.checkpoint import write_json
from atomprint.training.run import environment, hash_crystals, hash_text

FORMAT = 1
POLL_SECONDS = 2.0
PROBE_STEPS = (10, 40)
"""Steps of the two short runs that tell what a step takes."""
Progress = Callable[[str, int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Evaluation:
    """What is to be evaluated.

    Attributes
    ----------
    about
        The task in words: ``name``, ``property``, ``source``, ``licence``, ``citation``, ``notes``.
    crystals
        The labelled set, in its order.
    target
        What is predicted.
    protocol, cases
        How the set is divided, and the divisions.
    arms
        The competitors.
    extra
        Whatever else goes into ``evaluation.json`` (leakage, coverage).
    """

    about: dict[str, Any]
    crystals: Sequence[Crystal]
    target: Target
    protocol: Protocol
    cases: Sequence[Case]
    arms: Sequence[Arm]
    extra: dict[str, Any] = field(default_factory=dict)

    def units(self) -> list[Unit]:
        """All units: case by case, so that what is compared is done side by side."""
        return [Unit(arm, case) for case in self.cases for arm in self.arms]

    def pending(self, folder: Path) -> list[Unit]:
        """Units whose result is not in the folder yet."""
        return [u for u in self.units() if not is_done(u, folder, self.crystals, self.target)]


def write_about(evaluation: Evaluation, folder: Path) -> None:
    """Write ``evaluation.json`` and ``splits.json``; arms are added to those already there.

    Raises
    ------
    UsageError
        If the folder holds an evaluation of another set, protocol or target, or cannot be written.
    """
    lock = filelock.FileLock(folder / "evaluation.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another --out"
        ) from None
    try:
        _write_about(evaluation, folder)
    finally:
        lock.release()


def _write_about(evaluation: Evaluation, folder: Path) -> None:
    crystals = evaluation.crystals
    splits = [
        {
            "name": case.name,
            "train": [crystals[i].id for i in case.train],
            "test": [crystals[i].id for i in case.test],
        }
        for case in evaluation.cases
    ]
    digest = hash_text(repr(splits))
    target = evaluation.target
    described = {
        "format": FORMAT,
        "task": {
            **evaluation.about,
            "label": target.name,
            "unit": "" if target.is_class else target.unit,
            "metric": metric_name(target),
            "classification": target.is_class,
        },
        "protocol": evaluation.protocol.model_dump(mode="json"),
        "splits_hash": digest,
        "splits": [
            {
                "name": case.name,
                "fold": case.fold,
                "seed": case.seed,
                "n_train": len(case.train),
                "n_test": len(case.test),
                "n_labels": len(case.train),
            }
            for case in evaluation.cases
        ],
        "data": {"hash": hash_crystals(crystals), "n_crystals": len(crystals)},
    }
    path = folder / "evaluation.json"
    before = read_json(path) if path.is_file() else None
    # Killed in its first moment, an evaluation leaves a part of this file.
    begun = ("evaluation.lock", "evaluation.json.part")
    if before is None and any(p.name not in begun for p in folder.iterdir()):
        raise UsageError(f"{folder}: holds other things; give another --out or remove it")
    arms = {arm["name"]: arm for arm in (before or {}).get("arms", [])}
    for key in ("data", "splits_hash", "task"):
        if before is not None and before[key] != described[key]:
            what = {"data": "data", "splits_hash": "splits", "task": "target"}[key]
            raise UsageError(f"{folder}: holds an evaluation with other {what}; give another --out")
    for arm in evaluation.arms:
        arms[arm.name] = {"name": arm.name, "kind": arm.kind, "about": arm.identity()}
    extra = {key: (before or {}).get(key) for key in ("leakage", "coverage")}
    extra |= evaluation.extra
    more = {"arms": list(arms.values()), "environment": environment(), **extra}
    write_json(path, described | more)
    write_json(folder / "splits.json", {"hash": digest, "splits": splits})


def run(
    evaluation: Evaluation, folder: Path, progress: Progress | None = None, wait: bool = True
) -> int:
    """Do every unit that is not done, sharing the list with any other process on the folder.

    Parameters
    ----------
    evaluation
        What to do.
    folder
        Where results are and go.
    progress
        Called as ``progress(stage, step, n_steps, numbers)``; the stages are the unit at work and
        ``units``, all of them.
    wait
        Whether to wait for units that other processes are doing.

    Returns
    -------
    int
        Units that are done.
    """
    say = progress or (lambda *_: None)
    total = len(evaluation.units())
    while pending := evaluation.pending(folder):
        busy = 0
        for unit in pending:

            def count(
                step: int, n_steps: int, numbers: dict[str, float], name: str = unit.name
            ) -> None:
                say(name, step, n_steps, numbers)

            done = do_unit(unit, folder, evaluation.crystals, evaluation.target, count)
            busy += not done
            say("units", total - len(evaluation.pending(folder)), total, {})
        if busy and not wait:
            break
        if busy:
            time.sleep(POLL_SECONDS)
    return total - len(evaluation.pending(folder))


def run_in_processes(
    prepare: Callable[..., Evaluation],
    arguments: dict[str, Any],
    folder: Path,
    n_workers: int,
) -> None:
    """Let several processes share the units.

    Parameters
    ----------
    prepare, arguments
        Each process makes the evaluation by ``prepare(**arguments)``; both must pickle.
    folder
        See `run`.
    n_workers
        Processes beside this one.

    Raises
    ------
    UsageError
        If a process ends badly; what it had done is kept.
    """
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_work, args=(prepare, arguments, folder), daemon=True)
        for _ in range(n_workers)
    ]
    for worker in workers:
        worker.start()
    with _ended(workers):
        for worker in workers:
            worker.join()
    if bad := [w.exitcode for w in workers if w.exitcode]:
        raise UsageError(
            f"{len(bad)} of {n_workers} processes ended with status {bad[0]}; run the same command "
            "again, with --workers 1 to see why"
        )


@contextlib.contextmanager
def _ended(workers: Sequence[Any]) -> Iterator[None]:
    """End the processes with this one."""
    try:
        yield
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()


def _work(prepare: Callable[..., Evaluation], arguments: dict[str, Any], folder: Path) -> None:
    end_with_parent()
    run(prepare(**arguments), folder, wait=False)


def estimate(evaluation: Evaluation, folder: Path) -> dict[str, float | int | None]:
    """How long the pending units will take, from a few steps of one network of each shape.

    Returns
    -------
    dict
        ``n_units`` and ``n_pending``; ``seconds`` for the networks among the pending ones (None
        without networks), ``n_other``: pending units of baselines and probes, which are short
        beside networks and not estimated.
    """
    pending = evaluation.pending(folder)
    networks = [(u.arm, u.case) for u in pending if isinstance(u.arm, Network)]
    a_step: dict[str, float] = {}
    seconds = 0.0
    for arm, case in networks:
        shape = arm.model_settings.model_dump_json()
        if shape not in a_step:
            a_step[shape] = _seconds_a_step(arm, case, evaluation)
        n_steps = arm.settings.steps_for(len(case.train)) * arm.settings.n_runs
        seconds += a_step[shape] * n_steps
    return {
        "n_units": len(evaluation.units()),
        "n_pending": len(pending),
        "n_other": len(pending) - len(networks),
        "seconds": round(seconds, 1) if networks else None,
    }


def _seconds_a_step(arm: Network, case: Case, evaluation: Evaluation) -> float:
    """Seconds of one step of a network, its share of validation included.

    What a longer run takes more than a shorter one: what is done once (graphs, compiled loops, the
    first step) is in both, and small beside the whole of a real run.
    """
    train = [evaluation.crystals[i] for i in case.train[:200]]

    def seconds(n_steps: int) -> float:
        short = arm.settings.model_copy(
            update={
                "n_steps": n_steps,
                "learning_rates": arm.settings.learning_rates[:1],
                "refit": False,
                "n_members": 1,
            }
        )
        probe = Network(arm.name, short, arm.model_settings, arm.source)
        started = time.perf_counter()
        probe.fit_predict(train, train[:1], evaluation.target, 0)
        return time.perf_counter() - started

    seconds(2)
    few, many = PROBE_STEPS
    return max(seconds(many) - seconds(few), 0.0) / (many - few)
