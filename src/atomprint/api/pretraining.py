"""The verb that pre-trains, and its settings file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import Field, field_validator

from atomprint.api.inputs import EMBEDDED, Data, PathInput, Progress, read_data
from atomprint.api.settings import load_settings
from atomprint.data.mixing import Corpus
from atomprint.data.selection import Measured, pick, sizes_of
from atomprint.data.store import Store, is_store
from atomprint.ground.documents import json_of
from atomprint.ground.errors import DataError, UsageError
from atomprint.ground.settings import validate
from atomprint.heads.terms import Terms, terms, terms_of_model, united, write_card
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import Problem
from atomprint.training.checkpoint import load_model
from atomprint.training.corpora import provenance_of
from atomprint.training.pretrain import STATE, PretrainResult, PretrainSettings
from atomprint.training.pretrain import pretrain as run_pretraining
from atomprint.training.processes import is_first

Mixture = Mapping[str, float | Corpus | Sequence[Crystal]]
"""Corpora that are mixed: a path and its weight, or a name and crystals or a :class:`Corpus`."""


class PretrainConfig(PretrainSettings):
    """A pre-training file: the data, the run folder, and every setting with its default."""

    data: str | tuple[str, ...] | dict[str, float] | None = Field(
        None,
        description="file, folder, glob or archive, or the word embedded; several in a list make "
        "one corpus; several with a weight behind each are mixed in shares proportional to weight, "
        "whatever their sizes",
    )
    source: str | None = Field(
        None,
        description="run, or checkpoint that comes with atomprint, whose network is the start; its "
        "shape is taken over",
    )
    out: str | None = Field(None, description="run folder to write")
    max_atoms: int | None = Field(
        None, ge=1, description="leave out crystals with more atoms in the cell"
    )

    @field_validator("data", mode="before")
    @classmethod
    def _weights_are_positive(cls, data: Any) -> Any:
        for name, weight in data.items() if isinstance(data, dict) else ():
            number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not number or not 0 < weight < float("inf"):
                raise ValueError(f"{name} has weight {weight!r}; give a positive number")
        return data


def pretrain(
    data: Data | Mixture | None = None,
    out: PathInput | None = None,
    *,
    source: PathInput | None = None,
    settings: PretrainConfig | None = None,
    config: PathInput | None = None,
    overrides: Sequence[str] = (),
    resume: PathInput | None = None,
    seed: int | None = None,
    device: str | None = None,
    devices: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> PretrainResult:
    """Pre-train a network; labels are looked at only by objectives that ask for them.

    Parameters
    ----------
    data
        The corpus; overrides the settings' ``data``. The word ``embedded`` stands for the
        generated crystals that come with the package. Several corpora are mixed by weight:
        ``{"mine.cif": 1.0, "embedded": 0.5}``, or ``{"a": crystals, "b": Corpus(others, 0.5)}``.
    out
        Run folder; overrides the settings' ``out``. None keeps the result in memory.
    source
        A run, or the name of a checkpoint that comes with the package, whose network is the start
        instead of random weights; overrides the settings' ``source``. The heads of the objectives
        begin anew.
    settings, config
        Settings, or a YAML file of them; the defaults otherwise.
    overrides
        ``key=value`` pairs over the file, keys with dots: ``loop.n_steps=2000``.
    resume
        A run folder to continue with its own settings, to the same weights as without a stop.
    seed, device, devices
        Shorthands for ``loop.seed``, ``loop.device`` and ``loop.devices``. A resumed run keeps seed
        and device, and may have another number of processes.
    strict
        Refuse if anything was left out on reading.
    progress
        See the module.
    """
    if resume is not None:
        others = (out, source, config, settings)
        if any(one is not None for one in others) or overrides:
            raise UsageError("a resumed run keeps its own folder and settings; give only resume")
        folder = Path(resume)
        chosen = settings_of_run(folder)
        # However many processes there were: now there are as many as were started now.
        loop = chosen.loop.model_copy(update={"devices": devices or 1})
        chosen = chosen.model_copy(update={"loop": loop})
        data = data if data is not None else chosen.data
    else:
        chosen = settings or load_config(config, overrides)
        given = (("seed", seed), ("device", device), ("devices", devices))
        updates = {name: value for name, value in given if value is not None}
        chosen = chosen.model_copy(update={"loop": chosen.loop.model_copy(update=updates)})
        data = data if data is not None else chosen.data
        if isinstance(data, str | Path):
            chosen = chosen.model_copy(update={"data": str(data)})
        elif isinstance(data, Mapping) and all(isinstance(v, int | float) for v in data.values()):
            chosen = chosen.model_copy(update={"data": dict(data)})
        if source is not None:
            chosen = chosen.model_copy(update={"source": str(source)})
        target = out if out is not None else chosen.out
        if target is not None:
            chosen = chosen.model_copy(update={"out": str(target)})
        folder = Path(target) if target is not None else None  # type: ignore[assignment]
    if data is None:
        raise UsageError("there is no corpus: give --data PATH, or data: in the settings file")
    start = None
    # A run that has a checkpoint goes on without the one that it started from.
    goes_on = resume is not None and (Path(resume) / STATE).is_file()
    if chosen.source is not None and not goes_on:
        start = load_model(Path(chosen.source))[0]
        if "model" in chosen.model_fields_set and chosen.model.backbone != start.settings.backbone:
            raise UsageError(
                f"{chosen.source}: its network is another than the settings' model.backbone; leave "
                "model out of the settings, its own is taken"
            )
        chosen = chosen.model_copy(update={"model": start.settings})
    corpora, problems = _read_corpora(data, chosen.max_atoms, strict, progress)

    def count(step: int, total: int, numbers: dict[str, float]) -> None:
        if progress is not None:
            progress("pretrain", step, total, numbers)

    known = _terms_of(corpora, data)
    if goes_on and resume is not None:
        known = _recorded(Path(resume))["data"].get("provenance", known)
    elif chosen.source is not None:
        known = united([*terms_of_model(chosen.source), *known])
    notes = {"problems": len(problems), "provenance": known}
    outcome = run_pretraining(
        corpora, chosen, folder, resume=resume is not None, start=start, progress=count, notes=notes
    )
    outcome.problems.extend(problems)
    if folder is not None and is_first():
        from atomprint.evaluation.corpus_index import write_index

        write_index(corpora, folder)
        write_card(
            folder,
            "pretrain",
            known,
            {"crystals": f"{outcome.n_crystals:,}", "steps": f"{chosen.loop.n_steps:,}"},
        )
    return outcome


def _terms_of(corpora: Sequence[Crystal] | Mapping[str, Corpus], data: Data | Mixture) -> Terms:
    """Where the crystals of all corpora are from, as stores say, or that nobody says."""
    from atomprint.data.sources.catalogue import EMBEDDED as CARD

    def of(crystals: Sequence[Crystal], name: str) -> Terms:
        if stated := provenance_of(crystals):
            return [terms(part.source, part.licence, part.citation) for part in stated]
        if name == EMBEDDED and not Path(EMBEDDED).exists():
            return [terms("atomprint's embedded corpus", CARD.licence, CARD.citation)]
        return [terms(name)]

    if isinstance(corpora, Mapping):
        return united(part for name, one in corpora.items() for part in of(one.crystals, name))
    if isinstance(data, str | Path):
        return of(corpora, str(data))
    paths = [str(one) for one in data if isinstance(one, str | Path)] if data else []
    return of(corpora, ", ".join(paths) or "crystals given in Python")


def _read_corpora(
    data: Data | Mixture, max_atoms: int | None, strict: bool, progress: Progress | None
) -> tuple[Sequence[Crystal] | dict[str, Corpus], list[Problem]]:
    """Crystals to pre-train on, without those that are too large: one corpus, or a mixture."""
    problems: list[Problem] = []

    def read(one: Data, what: str) -> Sequence[Crystal]:
        crystals: Sequence[Crystal]
        if isinstance(one, Measured):
            crystals = one
        elif is_store(one):
            # As large as it may be, it stays on disk.
            crystals = Store(cast("PathInput", one))
        else:
            result = read_data(one, None, strict, progress)
            problems.extend(result.problems)
            crystals = result.crystals
        kept: Sequence[Crystal] = crystals
        if max_atoms is not None:
            kept = pick(crystals, np.flatnonzero(sizes_of(crystals) <= max_atoms))
        if len(crystals) and not len(kept):
            raise DataError(
                f"{what}: no crystal has at most max_atoms = {max_atoms} atoms; raise max_atoms"
            )
        return kept

    if not isinstance(data, Mapping):
        return read(data, "the corpus"), problems
    corpora: dict[str, Corpus] = {}
    for name, given in data.items():
        if isinstance(given, Corpus):
            corpora[name] = Corpus(read(given.crystals, name), given.weight)
        elif isinstance(given, int | float):
            corpora[name] = Corpus(read(name, name), float(given))
        else:
            corpora[name] = Corpus(read(given, name))
    return corpora, problems


def load_config(config: PathInput | None, overrides: Sequence[str] = ()) -> PretrainConfig:
    """Read settings of pre-training; see :func:`load_settings`."""
    return load_settings(PretrainConfig, config, overrides)


def settings_of_run(folder: Path) -> PretrainConfig:
    """Read the settings that a run was started with.

    Raises
    ------
    UsageError
        If there is no run.
    """
    return validate(PretrainConfig, _recorded(folder)["settings"], str(folder / "run.json"))


def _recorded(folder: Path) -> dict[str, Any]:
    """Settings and data of a run, as they were written down when it began."""
    try:
        found: dict[str, Any] = json_of((folder / "run.json").read_text(encoding="utf-8"))
        _ = found["settings"], found["data"].get
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise UsageError(
            f"{folder}: there is no run to resume here (no readable run.json)"
        ) from None
    return found
