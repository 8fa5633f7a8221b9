"""The verbs: what a person does with atomprint, from Python; the shell has the same ones.

Everything here reads crystals from whatever the user has, does one thing, and returns data;
nothing prints. ``progress`` is called as ``progress(stage, done, total, numbers)``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import yaml
from pydantic import Field, field_validator

from atomprint.data.embedded import CORPUS
from atomprint.data.inspect import inspect
from atomprint.data.mixing import Corpus
from atomprint.data.splits import split
from atomprint.evaluation.labels import describe_targets
from atomprint.evaluation.twin import Outcome, prediction_columns, run_twins, split_labelled
from atomprint.ground.errors import DataError, UsageError
from atomprint.ground.settings import Settings, validate
from atomprint.heads.model import ModelSettings
from atomprint.heads.shipped import Shipped, describe, names
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import Problem, ReadResult, read_crystals
from atomprint.training import predict as inference
from atomprint.training.checkpoint import load_model
from atomprint.training.finetune import FinetuneSettings
from atomprint.training.pretrain import PretrainResult, PretrainSettings
from atomprint.training.pretrain import pretrain as run_pretraining
from atomprint.training.run import hash_crystals, make_folder, record

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from atomprint.evaluation.coverage import Coverage
    from atomprint.evaluation.demo import DemoOutcome
    from atomprint.evaluation.prepare import EvaluateSettings
    from atomprint.evaluation.summary import Summary
    from atomprint.evaluation.tasks.places import TaskState
    from atomprint.fingerprints.streaming import Job, Written

EMBEDDED = "embedded"
"""In place of a path: the generated crystals that come with the package."""

PathInput = str | Path
Data = PathInput | Sequence[PathInput] | Sequence[Crystal]
Mixture = Mapping[str, float | Corpus | Sequence[Crystal]]
"""Corpora that are mixed: a path and its weight, or a name and crystals or a :class:`Corpus`."""

Kinds = str | Settings | Sequence[str | Settings]
Progress = Callable[[str, int, int, dict[str, float]], None]
SettingsT = TypeVar("SettingsT", bound=Settings)

__all__ = [
    "Columns",
    "Corpus",
    "PretrainConfig",
    "checkpoints",
    "coverage",
    "demo",
    "download_task",
    "embed",
    "evaluate",
    "finetune",
    "fingerprint",
    "fingerprint_file",
    "inspect",
    "plan_evaluation",
    "predict",
    "pretrain",
    "read_crystals",
    "report",
    "tasks",
]


class PretrainConfig(PretrainSettings):
    """A pre-training file: the data, the run folder, and every setting with its default."""

    data: str | tuple[str, ...] | dict[str, float] | None = Field(
        None,
        description="file, folder, glob or archive, or the word embedded; several in a list make "
        "one corpus; several with a weight behind each are mixed in shares proportional to weight, "
        "whatever their sizes",
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


@dataclass(frozen=True)
class Columns:
    """Named numbers, a row a crystal or an atom: fingerprints, predictions or embeddings.

    Attributes
    ----------
    ids
        Of the crystal that each row belongs to.
    values
        By column name, each ``(n_rows,)``.
    units
        By column name.
    per
        What a row is.
    about
        What made them: settings, the id of the settings, the model.
    problems
        Crystals and labels left out, each with file, id and reason.
    atoms
        With a row an atom, its index in the crystal; None where it is not kept.
    """

    ids: list[str]
    values: dict[str, "npt.NDArray[np.float64]"]
    units: dict[str, str]
    per: str
    about: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    atoms: "npt.NDArray[np.int64] | None" = None

    def array(self) -> "npt.NDArray[np.float64]":
        """All columns side by side, ``(n_rows, n_columns)``."""
        import numpy as np

        return np.stack(list(self.values.values()), axis=1)

    def to_arrow(self) -> "pa.Table":
        """An Arrow table: ``id``, then the columns, with units and origin in the metadata."""
        import json

        import pyarrow as pa

        columns: dict[str, Any] = {"id": self.ids}
        if self.atoms is not None:
            columns["atom"] = self.atoms.astype("int32")
        columns |= self.values
        about = {**self.about, "per": self.per, "units": self.units}
        return pa.table(columns).replace_schema_metadata({"atomprint": json.dumps(about)})

    def write(self, path: PathInput) -> Path:
        """Write Parquet or CSV, by the ending of the name.

        Raises
        ------
        UsageError
            If the name ends otherwise, or the file cannot be written.
        """
        import pyarrow.csv as pc
        import pyarrow.parquet as pq

        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".parquet":
                pq.write_table(self.to_arrow(), path, compression="zstd")
            elif path.suffix == ".csv":
                pc.write_csv(self.to_arrow(), path)
            else:
                raise UsageError(f"{path}: give a name that ends in .parquet or .csv")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from None
        return path


def _read(
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
    result = read_crystals(paths, labels=labels, strict=strict, progress=count)
    if not result.crystals:
        first = f"; the first: {result.problems[0]}" if result.problems else ""
        raise DataError(f"{data}: no crystal could be read{first}")
    return result


def fingerprint(
    data: "Data | Sequence[Any]",
    kind: Kinds = "soap",
    out: PathInput | None = None,
    *,
    per: Literal["atom", "crystal"] | None = None,
    device: str = "auto",
    double: bool = True,
    path: Literal["auto", "reference", "fused"] = "auto",
    threads: int | None = None,
    memory: float | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> Columns:
    """Compute fingerprints of crystals, all in memory; for more see :func:`fingerprint_file`.

    Parameters
    ----------
    data
        Crystals, ASE Atoms or pymatgen Structures, or where to read crystals from.
    kind
        The kind, such as ``soap``; several (``"soap,adf"`` or a list) give their columns side by
        side; or complete settings.
    out
        A .parquet or .csv to write.
    per
        A row an atom or a row a crystal; None takes the fingerprint's default.
    device
        ``auto``, ``cpu`` or ``cuda``.
    double
        Compute in float64.
    path
        Which program computes: ``auto``, ``reference`` or ``fused``.
    threads
        How many; None takes PyTorch's number.
    memory
        Working memory in MiB.
    strict
        Refuse if anything was left out on reading.
    progress
        See the module.
    settings
        Settings of the fingerprint (``cutoff=5.0``) where they differ from the defaults; with
        several kinds, of each (``soap={"cutoff": 5.0}``).
    """
    import numpy as np

    from atomprint.fingerprints.compute import compute
    from atomprint.fingerprints.streaming import Job

    chosen = fingerprint_specs(kind, settings)
    where = str(_device(device))
    job = Job(chosen, per, "float64" if double else "float32", path, memory, where)
    result = _read_structures(data, job, strict, progress)
    crystals = result.crystals

    def count(done: int) -> None:
        if progress is not None:
            progress("fingerprint", done, len(crystals), {})

    blocks = compute(
        job.fingerprints, crystals, dtype=job.dtype, path=path, threads=threads, memory=memory,
        device=where, progress=count,
    )  # fmt: skip
    columns = (column for block in blocks for column in block.T.astype(np.float64))
    atoms = None
    if job.rows_per == "atom":
        atoms = np.concatenate([np.arange(c.n_atoms) for c in crystals])
    table = Columns(
        _row_ids(crystals, job.rows_per),
        dict(zip(job.columns, columns, strict=True)),
        job.units,
        job.rows_per,
        {k: v for k, v in job.about().items() if k not in ("per", "units")},
        result.problems,
        atoms,
    )
    if out is not None:
        table.write(out)
    return table


def _read_structures(data: Any, job: "Job", strict: bool, progress: Progress | None) -> ReadResult:
    """Read crystals, or convert structures in hand."""
    from atomprint.fingerprints.compute import refuse_boxed
    from atomprint.structures.convert import as_crystals, is_structure

    given = [data] if is_structure(data) else data
    if isinstance(given, str | Path) or not all(is_structure(one) for one in given):
        return _read(given, None, strict, progress)
    converted = as_crystals(given, max(fp.cutoff for fp in job.fingerprints))
    refuse_boxed(job.fingerprints, converted.boxed)
    return ReadResult(converted.crystals, [], {})


def fingerprint_file(
    data: PathInput | Sequence[PathInput],
    kind: Kinds,
    out: PathInput,
    *,
    per: Literal["atom", "crystal"] | None = None,
    device: str = "auto",
    dtype: Literal["float32", "float64"] = "float64",
    path: Literal["auto", "reference", "fused"] = "auto",
    threads: int | None = None,
    workers: int = 1,
    ray: str | None = None,
    memory: float | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> "tuple[Written, Job]":
    """Write fingerprints of any number of crystals to a file, in bounded memory.

    Killed at any moment, the same call goes on where it stood.

    Parameters
    ----------
    data
        Where to read crystals from.
    kind, per, device, path, threads, memory, strict, progress, settings
        See :func:`fingerprint`.
    out
        A .parquet, .csv, .npz or .npy.
    dtype
        Float type of the computation and of the file.
    workers
        Processes that compute, one thread each.
    ray
        Address of a Ray cluster that computes; needs ``atomprint[ray]``.

    Returns
    -------
    tuple
        What was written, and what it was made of.

    Raises
    ------
    UsageError
        If something cannot be, or unfinished work of something else is in the way.
    DataError
        If no crystal could be read; with ``strict``, if one could not.
    """
    from atomprint.fingerprints.streaming import Job, stream
    from atomprint.fingerprints.streaming.merge import ENDINGS

    out = Path(out)
    if out.suffix not in ENDINGS:
        raise UsageError(f"{out}: give a name that ends in {', '.join(ENDINGS)}")
    job = Job(fingerprint_specs(kind, settings), per, dtype, path, memory, str(_device(device)))
    paths: Any = CORPUS if str(data) == EMBEDDED and not Path(EMBEDDED).exists() else data
    written = stream(
        job, paths, out, threads=threads, workers=workers, ray=ray, strict=strict,
        progress=progress,
    )  # fmt: skip
    return written, job


def fingerprint_settings(kind: str | Settings, settings: dict[str, Any]) -> Any:
    """Complete the settings of a fingerprint, given its kind and what differs from the defaults."""
    if isinstance(kind, Settings):
        return kind.model_copy(update=settings) if settings else kind
    members = _fingerprint_kinds()
    if kind not in members:
        raise UsageError(f"unknown fingerprint {kind!r}; choose from {', '.join(sorted(members))}")
    return validate(members[kind], {"kind": kind, **settings}, f"fingerprint {kind}")


def _fingerprint_kinds() -> dict[str, type[Settings]]:
    """Settings class of every kind."""
    from typing import get_args

    from atomprint.fingerprints import FingerprintSettings

    return {m.model_fields["kind"].default: m for m in get_args(get_args(FingerprintSettings)[0])}


def fingerprint_specs(kinds: Kinds, settings: dict[str, Any]) -> tuple[Any, ...]:
    """Complete the settings of one or several fingerprints.

    Parameters
    ----------
    kinds
        One kind, several with commas between, a list, or complete settings.
    settings
        What differs from the defaults, under the kind's name where there are several.

    Raises
    ------
    UsageError
        If a kind is not known, or it is not clear which one a setting is of.
    """
    if isinstance(kinds, str):
        kinds = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    wanted = [kinds] if isinstance(kinds, Settings) else list(kinds)
    names = [one.kind if isinstance(one, Settings) else one for one in wanted]  # type: ignore[attr-defined]
    own = {name: settings[name] for name in names if isinstance(settings.get(name), dict)}
    shared = {key: value for key, value in settings.items() if key not in own}
    if shared and len(wanted) > 1:
        key = next(iter(shared))
        if key in _fingerprint_kinds():
            raise UsageError(f"{key!r} is none of the kinds asked for: {', '.join(names)}")
        raise UsageError(f"setting {key!r}: say of which kind, for instance {names[0]}.{key}")
    return tuple(
        fingerprint_settings(one, {**shared, **own.get(name, {})})
        for one, name in zip(wanted, names, strict=True)
    )


def _device(device: str) -> Any:
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


def pretrain(
    data: Data | Mixture | None = None,
    out: PathInput | None = None,
    *,
    settings: PretrainConfig | None = None,
    config: PathInput | None = None,
    overrides: Sequence[str] = (),
    resume: PathInput | None = None,
    seed: int | None = None,
    device: str | None = None,
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
    settings, config
        Settings, or a YAML file of them; the defaults otherwise.
    overrides
        ``key=value`` pairs over the file, keys with dots: ``loop.n_steps=2000``.
    resume
        A run folder to continue with its own settings, to the same weights as without a stop.
    seed, device
        Shorthands for ``loop.seed`` and ``loop.device``.
    strict
        Refuse if anything was left out on reading.
    progress
        See the module.
    """
    if resume is not None:
        if out is not None or config is not None or settings is not None or overrides:
            raise UsageError("a resumed run keeps its own folder and settings; give only resume")
        folder = Path(resume)
        chosen = _settings_of_run(folder)
        data = data if data is not None else chosen.data
    else:
        chosen = settings or load_config(config, overrides)
        updates = {k: v for k, v in (("seed", seed), ("device", device)) if v is not None}
        if updates:
            chosen = chosen.model_copy(update={"loop": chosen.loop.model_copy(update=updates)})
        data = data if data is not None else chosen.data
        if isinstance(data, str | Path):
            chosen = chosen.model_copy(update={"data": str(data)})
        elif isinstance(data, Mapping) and all(isinstance(v, int | float) for v in data.values()):
            chosen = chosen.model_copy(update={"data": dict(data)})
        target = out if out is not None else chosen.out
        if target is not None:
            chosen = chosen.model_copy(update={"out": str(target)})
        folder = Path(target) if target is not None else None  # type: ignore[assignment]
    if data is None:
        raise UsageError("there is no corpus: give --data PATH, or data: in the settings file")
    corpora, problems = _read_corpora(data, chosen.max_atoms, strict, progress)

    def count(step: int, total: int, numbers: dict[str, float]) -> None:
        if progress is not None:
            progress("pretrain", step, total, numbers)

    notes = {"problems": len(problems)}
    outcome = run_pretraining(
        corpora, chosen, folder, resume=resume is not None, progress=count, notes=notes
    )
    outcome.problems.extend(problems)
    if folder is not None:
        from atomprint.evaluation.corpus_index import write_index

        write_index(corpora, folder)
    return outcome


def _read_corpora(
    data: Data | Mixture, max_atoms: int | None, strict: bool, progress: Progress | None
) -> tuple[list[Crystal] | dict[str, Corpus], list[Problem]]:
    """Crystals to pre-train on, without those that are too large: one corpus, or a mixture."""
    problems: list[Problem] = []

    def read(one: Data, what: str) -> list[Crystal]:
        result = _read(one, None, strict, progress)
        problems.extend(result.problems)
        kept = [c for c in result.crystals if max_atoms is None or c.n_atoms <= max_atoms]
        if result.crystals and not kept:
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


def load_settings(
    model: type[SettingsT], config: PathInput | None, overrides: Sequence[str] = ()
) -> SettingsT:
    """Read settings from YAML and ``key=value`` pairs; both may be missing.

    Raises
    ------
    UsageError
        For a file that is not there or not YAML, or an unknown or impossible setting.
    """
    values: dict[str, Any] = {}
    where = "settings"
    if config is not None:
        where = str(config)
        try:
            loaded = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{config}: cannot be read ({error.strerror})") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            first = str(error).replace("\n", " ")
            raise UsageError(f"{config}: not YAML ({first})") from None
        if loaded is not None and not isinstance(loaded, dict):
            raise UsageError(f"{config}: settings are key: value lines, this is something else")
        values = loaded or {}
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign:
            raise UsageError(f"{override!r}: give key=value, for instance loop.n_steps=2000")
        *parents, last = key.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UsageError(f"{override!r}: {parent!r} is a value, not a group of settings")
        try:
            place[last] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UsageError(f"{override!r}: the value is not YAML") from None
    return validate(model, values, where)


def _settings_of_run(folder: Path) -> PretrainConfig:
    import json

    try:
        described = json.loads((folder / "run.json").read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"{folder}: there is no run to resume here (no readable run.json)"
        ) from None
    return validate(PretrainConfig, described, str(folder / "run.json"))


def finetune(
    source: PathInput | None,
    data: Data,
    target: str | Sequence[str] | Sequence[Target],
    out: PathInput | None = None,
    *,
    labels: PathInput | None = None,
    n_train: int | None = None,
    test: float | PathInput = 0.2,
    twin: bool = False,
    task: Literal["regression", "classification"] = "regression",
    seed: int = 0,
    device: str = "auto",
    settings: FinetuneSettings | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Fine-tune a pre-trained network on labels, and test it on crystals set aside.

    Parameters
    ----------
    source
        Folder of the pre-trained model, or the name of one that comes with the package
        (``atomprint/small``, see :func:`checkpoints`); None trains from scratch.
    data
        Crystals with labels, or where to read them from.
    target
        Name of the label, or of several at once.
    out
        Run folder to write.
    labels
        A CSV with ids and labels.
    n_train
        Labels to use for training and validation together; None uses all but the test part.
    test
        Part set aside for the test (a fraction), or a file of ids, one a line.
    twin
        Train the from-scratch twin too, with the same data, seed, steps and grid.
    task
        Whether the labels are numbers or classes 0, 1, ...
    seed
        Of the split, the heads, the order.
    device
        ``auto``, ``cpu``, ``cuda``.
    settings
        Of fine-tuning.
    strict
        Refuse if anything was left out on reading.
    progress
        See the module.
    """
    pretrained = load_model(Path(source))[0] if source is not None else None
    result = _read(data, labels, strict, progress)
    targets = describe_targets(target, result, task)
    labelled = [c for c in result.crystals if any(t.name in c.labels for t in targets)]
    parts = split_for_test(labelled, test, seed)
    chosen = settings or FinetuneSettings()
    loop = chosen.loop.model_copy(update={"seed": seed, "device": device})
    chosen = chosen.model_copy(update={"loop": loop})
    split_parts = split_labelled(parts[0], parts[1], n_train, chosen.valid_fraction, seed)
    model_settings = pretrained.settings if pretrained is not None else ModelSettings()
    folder = None
    if out is not None:
        folder = make_folder(Path(out))
        about = {
            "hash": hash_crystals(labelled),
            "n_labelled": len(labelled),
            "n_test": len(split_parts.test),
            "problems": len(result.problems),
            "source": str(source) if source is not None else None,
        }
        record(folder, chosen.model_dump(mode="json"), about)

    def count(step: int, total: int, numbers: dict[str, float]) -> None:
        if progress is not None:
            progress("finetune", step, total, numbers)

    outcome = run_twins(
        split_parts,
        targets,
        chosen,
        model_settings,
        pretrained,
        twin=twin,
        out=folder,
        notes={"source": str(source) if source is not None else None},
        progress=count,
    )
    outcome.problems.extend(result.problems)
    return outcome


def split_for_test(
    labelled: Sequence[Crystal], test: float | PathInput, seed: int
) -> tuple[list[Crystal], list[Crystal]]:
    """Set the test part aside: (the others, the test part)."""
    parts = split(labelled, test=test, valid=0.0, seed=seed)
    return [labelled[i] for i in parts.train], [labelled[i] for i in parts.test]


def predict(
    run: PathInput,
    data: Data,
    out: PathInput | None = None,
    *,
    per: Literal["atom", "crystal"] | None = None,
    interval: float | None = None,
    device: str = "auto",
    strict: bool = False,
    progress: Progress | None = None,
) -> Columns:
    """Predict the properties of crystals with a fine-tuned model.

    Parameters
    ----------
    run
        Folder of a fine-tuned model.
    data
        Crystals, or where to read them from.
    out
        A .parquet or .csv to write.
    per
        Which targets, where a model has some per atom and some per crystal.
    interval
        Probability with which a label shall lie between two more columns, 0.9 for instance; see
        :mod:`atomprint.evaluation.intervals`. Targets that are numbers per crystal only.
    device, strict, progress
        As elsewhere.

    Returns
    -------
    Columns
        ``<target>_predicted`` for every target; a row a crystal (a row an atom, if the model's
        targets are per atom); with `interval` also ``<target>_low`` and ``<target>_high``.

    Raises
    ------
    UsageError
        If the model has nothing to predict, or too few held-out crystals for the interval.
    """
    model, info = load_model(Path(run))
    if info.made_by != "finetune":
        raise UsageError(
            f"{run}: this model was only pre-trained and has no targets to predict; "
            "fine-tune it on labels first, or use embed"
        )
    kinds = sorted({target.per for target in model.targets})
    if per is None:
        if len(kinds) > 1:
            raise UsageError(f"{run}: the model predicts per atom and per crystal; give per one")
        per = kinds[0]
    if per not in kinds:
        raise UsageError(f"{run}: the model predicts nothing per {per}; leave per out")
    held_out = {}
    if interval is not None:
        from atomprint.evaluation.intervals import read_held_out

        numeric = [t.name for t in model.targets if t.per == per == "crystal" and not t.is_class]
        if not numeric:
            raise UsageError(f"{run}: intervals are for numbers per crystal, and it predicts none")
        held_out = {name: read_held_out(Path(run), name, interval) for name in numeric}
    result = _read(data, None, strict, progress)

    def count(done: int, total: int) -> None:
        if progress is not None:
            progress("predict", done, total, {})

    predicted = inference.predict(model, result.crystals, _device(device), count)
    import numpy as np

    values: dict[str, Any] = {}
    units: dict[str, str] = {}

    for target in model.targets:
        if target.per != per:
            continue
        parts = {"predicted": predicted[target.name]}
        if interval is not None and target.name in held_out:
            ends = held_out[target.name].interval(parts["predicted"], interval)
            parts |= {"low": ends[0], "high": ends[1]}
        for suffix, part in parts.items():
            for name, column in prediction_columns(target, part, suffix).items():
                values[name] = np.asarray(column, dtype=np.float64)
                units[name] = target.unit
    about: dict[str, Any] = {"model": str(run)}
    if interval is not None:
        about["interval"] = interval
    table = Columns(_row_ids(result.crystals, per), values, units, per, about, result.problems)
    if out is not None:
        table.write(out)
    return table


def embed(
    run: PathInput,
    data: Data,
    out: PathInput | None = None,
    *,
    per: Literal["atom", "crystal"] = "crystal",
    device: str = "auto",
    strict: bool = False,
    progress: Progress | None = None,
) -> Columns:
    """Features that a trained backbone has of crystals (the mean over atoms) or of atoms.

    ``run`` is the folder of a model, or the name of one that comes with the package.
    """
    model, _ = load_model(Path(run))
    result = _read(data, None, strict, progress)

    def count(done: int, total: int) -> None:
        if progress is not None:
            progress("embed", done, total, {})

    values = inference.embed(model, result.crystals, per, _device(device), count)
    names = [f"e{i}" for i in range(values.shape[1])]
    table = Columns(
        _row_ids(result.crystals, per),
        {name: values[:, i] for i, name in enumerate(names)},
        dict.fromkeys(names, "1"),
        per,
        {"model": str(run)},
        result.problems,
    )
    if out is not None:
        table.write(out)
    return table


def _row_ids(crystals: Sequence[Crystal], per: str) -> list[str]:
    if per == "crystal":
        return [c.id for c in crystals]
    return [c.id for c in crystals for _ in range(c.n_atoms)]


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
    result = _read(data, None, strict, progress)

    def count(done: int, total: int) -> None:
        if progress is not None:
            progress("fingerprint", done, total, {})

    found = index.measure(result.crystals, count)
    if out is not None:
        values = {"distance": found.distances, "percentile": found.percentiles}
        units = dict.fromkeys(values, "1")
        Columns(found.ids, values, units, "crystal", {"model": str(run)}).write(out)
    return found, result.problems


def checkpoints() -> list[Shipped]:
    """Describe the pre-trained networks that come with the package."""
    return [describe(name) for name in names()]


def evaluate(
    out: PathInput,
    sources: Sequence[PathInput] = (),
    *,
    settings: "EvaluateSettings | None" = None,
    n_workers: int = 1,
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
    from atomprint.evaluation.summary import summarize_evaluation

    arguments = {
        "settings": settings or EvaluateSettings(),
        "sources": [str(source) for source in sources],
        **chosen,
    }
    folder = Path(out)
    evaluation = prepare(**arguments)
    write_about(evaluation, folder)
    if n_workers > 1:
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


def tasks(folder: PathInput | None = None) -> "list[TaskState]":
    """List the built-in tasks: what each is, and which file of it is on disk.

    Parameters
    ----------
    folder
        Where to look; None looks where ATOMPRINT_DATA says and in the user's cache.

    Raises
    ------
    UsageError
        If a folder that was named is not there.
    """
    from atomprint.evaluation.tasks.places import task_states

    return task_states(folder)


def download_task(
    name: str, folder: PathInput | None = None, progress: Progress | None = None
) -> Path:
    """Get the file of a built-in task; see :mod:`atomprint.evaluation.tasks.download`.

    Parameters
    ----------
    name
        Of the task.
    folder
        Where to; None takes the folder of ATOMPRINT_DATA, else the user's cache.
    progress
        See the module; counts bytes.
    """
    from atomprint.evaluation.tasks import find_task
    from atomprint.evaluation.tasks.download import download_task as download

    def count(done: int, total: int) -> None:
        if progress is not None:
            progress("download", done, total, {})

    return download(find_task(name), folder, count)


def report(folder: PathInput) -> Path:
    """Write ``report.html`` over every run in a folder and return its path."""
    # The figures' library takes a second to import.
    from atomprint.evaluation.report import write_report

    return write_report(Path(folder))


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
