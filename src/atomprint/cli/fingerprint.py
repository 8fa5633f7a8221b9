"""The command that writes fingerprints of any number of crystals."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from atomprint.cli.errors import Interrupted
from atomprint.cli.options import Crystals, Device, Json, Per, Strict, check_file, parse_settings
from atomprint.cli.output import (
    listed,
    note_problems,
    print_json,
    print_places,
    stdout_for_the_answer,
)
from atomprint.cli.progress import Bars
from atomprint.ground.errors import UsageError


class Dtype(StrEnum):
    """Float types."""

    float32 = "float32"
    float64 = "float64"


class Program(StrEnum):
    """Which program computes."""

    auto = "auto"
    reference = "reference"
    fused = "fused"


def fingerprint(
    path: Crystals,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="File to write: .parquet, .csv, .npz or .npy.",
            show_default=False,
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[key=value ...]",
            help="Settings that differ from the defaults, like --set.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(metavar="KIND,...", help="Such as soap; several give columns side by side."),
    ] = "soap",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting: cutoff=5.0, or soap.cutoff=5.0 where there are several kinds; "
            "may be repeated.",
            show_default=False,
        ),
    ] = None,
    per: Annotated[
        Per | None,
        typer.Option(
            metavar="atom|crystal", help="A row an atom or a crystal; else as the kind prefers."
        ),
    ] = None,
    dtype: Annotated[
        Dtype, typer.Option(metavar="float32|float64", help="Float type of the numbers.")
    ] = Dtype.float64,
    program: Annotated[
        Program,
        typer.Option(
            "--path", metavar="auto|reference|fused", help="Plain PyTorch, or fused kernels."
        ),
    ] = Program.auto,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Processes that compute.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Threads, with one worker; else all.", show_default=False
        ),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            metavar="MIB", min=1, help="Working memory of a process; 256.", show_default=False
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Compute on a Ray cluster: auto, local, ray://host:10001.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Write fingerprints of any number of crystals.

    Killed or interrupted, the same command goes on where it stood.
    """
    check_file(out, ".parquet", ".csv", ".npz", ".npy")
    chosen = parse_settings([*(settings or []), *(set_ or [])])
    if "kind" in chosen:
        raise UsageError("the kind is given as an option: --kind")
    if taken := chosen.keys() & {"data", "out", "per", "device", "dtype", "path"}:
        raise UsageError(f"{min(taken)!r} is given as an option: --{min(taken)}")
    with Bars() as bars, stdout_for_the_answer():
        from atomprint import api

        try:
            written, job = api.fingerprint_file(
                path,
                kind,
                out,
                per=per.value if per is not None else None,
                device=device,
                dtype=dtype.value,
                path=program.value,
                threads=threads,
                workers=workers,
                ray=ray,
                memory=memory,
                strict=strict,
                progress=bars,
                **chosen,
            )
        except KeyboardInterrupt:
            raise Interrupted("interrupted; the same command goes on from there") from None
    note_problems(written.problems)
    if json:
        answer: dict[str, Any] = {
            "out": out,
            "rows": written.rows,
            "crystals": written.crystals,
            "atoms": written.atoms,
            "resumed": written.resumed,
            "seconds": written.seconds,
            "crystals_per_second": written.crystals_per_second,
            "columns": job.columns,
            "skipped": len(written.problems),
            "problems": listed(written.problems),
            **job.about(),
        }
        print_json(answer)
        return
    rows = f"{written.rows:,} rows, one {'an atom' if job.rows_per == 'atom' else 'a crystal'}"
    rate = f"{written.crystals - written.resumed:,} crystals in {written.seconds:.1f} s"
    if written.resumed:
        rate += f"; {written.resumed:,} were done before"
    print_places(
        {"written": out, "holds": f"{rows}; {len(job.columns):,} columns", "computed": rate}
    )
