"""What is computed, and one part of it: the rows of some crystals as Parquet in memory."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import atomprint
from atomprint.fingerprints.base import Fingerprint, FingerprintSpec, Path, Per, fingerprint_id
from atomprint.fingerprints.blocks import Dtype
from atomprint.fingerprints.compute import check_options, compute
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading.result import Problem
from atomprint.structures.reading.stream import Place

# A part is closed by the first of these that is reached; the cuts are the same whatever computes.
PART_CRYSTALS = 2000
PART_ATOMS = 20_000
PART_BYTES = 32 << 20


@dataclass(frozen=True)
class Job:
    """Fingerprints side by side, with all that decides the numbers.

    Parameters
    ----------
    settings
        Of each fingerprint; of different kinds.
    per
        A row an atom or a row a crystal, for all; None where the settings agree.
    dtype, path, memory, device
        See :func:`atomprint.fingerprints.compute.compute`.

    Raises
    ------
    UsageError
        If two are of one kind, some are per atom and some per crystal, or settings are impossible,
        and for options that :func:`~atomprint.fingerprints.compute.check_options` refuses.
    """

    settings: tuple[FingerprintSpec, ...]
    per: Per | None = None
    dtype: Dtype = "float64"
    path: Path = "auto"
    memory: float | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        kinds = [fp.kind for fp in self.fingerprints]
        if not kinds:
            raise UsageError("there is no fingerprint to compute; give at least one kind")
        if len(set(kinds)) < len(kinds):
            raise UsageError(f"kinds {', '.join(kinds)}: give each kind once")
        if len({fp.per for fp in self.fingerprints}) > 1:
            said = ", ".join(f"{fp.kind} a row per {fp.per}" for fp in self.fingerprints)
            raise UsageError(f"the kinds differ ({said}); give --per atom or --per crystal for all")
        check_options(
            self.fingerprints, dtype=self.dtype, path=self.path, memory=self.memory,
            device=self.device,
        )  # fmt: skip

    @cached_property
    def fingerprints(self) -> list[Fingerprint]:
        """The fingerprints, made once."""
        made: list[Fingerprint] = []
        for one in self.settings:
            fingerprint: Fingerprint = one.build()
            made.append(fingerprint if self.per is None else fingerprint.with_per(self.per))
        return made

    @property
    def rows_per(self) -> Per:
        """What a row is."""
        return self.fingerprints[0].per

    @cached_property
    def columns(self) -> list[str]:
        """Names of all columns of numbers, in order."""
        return [label for fp in self.fingerprints for label in fp.labels()]

    @property
    def units(self) -> dict[str, str]:
        """Unit of every column by name."""
        units = [unit for fp in self.fingerprints for unit in fp.units]
        return dict(zip(self.columns, units, strict=True))

    def about(self) -> dict[str, Any]:
        """What travels with the numbers: settings, their ids, what a row is, units."""
        specs = [fp.settings for fp in self.fingerprints]
        described = [
            {"kind": fp.kind, "settings": fp.settings.model_dump(mode="json"), "id": fp.id}
            for fp in self.fingerprints
        ]
        one = len(specs) == 1
        return {
            "fingerprint_id": fingerprint_id(specs[0] if one else specs),
            **({"settings": described[0]["settings"]} if one else {}),
            "fingerprints": described,
            "per": self.rows_per,
            "dtype": self.dtype,
            "units": self.units,
            "version": atomprint.__version__,
        }

    def plain(self) -> dict[str, Any]:
        """All that decides the numbers, as plain values."""
        return {
            "fingerprints": self.about()["fingerprints"],
            "dtype": self.dtype,
            "path": self.path,
            "memory": self.memory,
            "device": self.device,
            "version": atomprint.__version__,
            "part": [PART_CRYSTALS, PART_ATOMS, PART_BYTES],
        }

    def schema(self) -> pa.Schema:
        """Columns of the table: ids, with a row an atom its index, then the numbers."""
        real = pa.float64() if self.dtype == "float64" else pa.float32()
        fields = [("id", pa.string())]
        if self.rows_per == "atom":
            fields.append(("atom", pa.int32()))
        return pa.schema([*fields, *((name, real) for name in self.columns)])

    def row_bytes(self) -> int:
        """Bytes of the numbers of one row."""
        return len(self.columns) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class PartInfo:
    """What a part holds; it stands in the part's own file.

    Attributes
    ----------
    index
        Number of the part.
    start, end
        Where reading stood before and after it.
    n_crystals, n_atoms
        In the part.
    problems
        What was left out on the way.
    """

    index: int
    start: Place
    end: Place
    n_crystals: int
    n_atoms: int
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> str:
        """As text, for the metadata of the part."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "PartInfo":
        """Read what :meth:`to_json` wrote."""
        values = json.loads(text)
        values["start"], values["end"] = tuple(values["start"]), tuple(values["end"])
        values["problems"] = tuple(Problem(**problem) for problem in values["problems"])
        return cls(**values)


@dataclass(frozen=True)
class Part:
    """Work to do: the crystals of a part."""

    info: PartInfo
    crystals: Sequence[Crystal]


def make_part(job: Job, part: Part, threads: int | None = 1) -> bytes:
    """Compute a part; the bytes of its Parquet file, the same wherever it is computed."""
    blocks = compute(
        job.fingerprints, part.crystals, dtype=job.dtype, path=job.path, threads=threads,
        memory=job.memory, device=job.device,
    )  # fmt: skip
    columns: list[Any] = []
    ids = pa.array([crystal.id for crystal in part.crystals], pa.string())
    if job.rows_per == "atom":
        counts = np.array([crystal.n_atoms for crystal in part.crystals])
        columns.append(ids.take(pa.array(np.repeat(np.arange(len(counts)), counts))))
        columns.append(np.concatenate([np.arange(n, dtype=np.int32) for n in counts]))
    else:
        columns.append(ids)
    for block in blocks:
        columns += list(np.ascontiguousarray(block.T))
    schema = job.schema().with_metadata({"atomprint_part": part.info.to_json()})
    sink = io.BytesIO()
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=schema)
    # Not a dictionary: numbers hardly repeat, and building one costs more than it saves.
    pq.write_table(table, sink, compression="zstd", use_dictionary=["id"])
    return sink.getvalue()


@lru_cache(maxsize=4)
def job_of(text: str) -> Job:
    """Make the job that :func:`job_text` described; a process makes each once."""
    from pydantic import TypeAdapter

    from atomprint.fingerprints import FingerprintSettings

    values = json.loads(text)
    adapter: TypeAdapter[Any] = TypeAdapter(FingerprintSettings)
    values["settings"] = tuple(adapter.validate_python(one) for one in values["settings"])
    return Job(**values)


def job_text(job: Job) -> str:
    """Describe a job for another process."""
    return json.dumps(
        {
            "settings": [one.model_dump(mode="json") for one in job.settings],
            "per": job.per,
            "dtype": job.dtype,
            "path": job.path,
            "memory": job.memory,
            "device": job.device,
        }
    )


def make_part_of(text: str, part: Part) -> bytes:
    """Compute a part of a described job, on one thread; what worker processes run."""
    import torch

    torch.set_num_threads(1)
    return make_part(job_of(text), part)
