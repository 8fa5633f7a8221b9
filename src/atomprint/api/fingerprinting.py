"""Verbs that compute fingerprints."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from atomprint.api.columns import Columns, row_ids
from atomprint.api.inputs import EMBEDDED, Data, PathInput, Progress, choose_device, read_data
from atomprint.data.embedded import CORPUS
from atomprint.data.store import Store, is_store
from atomprint.data.store.stream import StoreStream
from atomprint.ground.errors import UsageError
from atomprint.ground.settings import Settings, validate
from atomprint.structures.reading import ReadResult

if TYPE_CHECKING:
    from atomprint.fingerprints.streaming import Job, Written

Kinds = str | Settings | Sequence[str | Settings]


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
    where = str(choose_device(device))
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
        row_ids(crystals, job.rows_per),
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
        return read_data(given, None, strict, progress)
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
    job = Job(
        fingerprint_specs(kind, settings), per, dtype, path, memory, str(choose_device(device))
    )
    paths: Any = CORPUS if str(data) == EMBEDDED and not Path(EMBEDDED).exists() else data
    if is_store(data):
        paths = StoreStream(Store(cast("PathInput", data)))
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
