"""The command that lists what can be judged on, and downloads it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomprint.cli.options import Json
from atomprint.cli.output import (
    note,
    print_json,
    print_places,
    print_table,
    stdout_for_the_answer,
)
from atomprint.cli.progress import Bars
from atomprint.ground.errors import UsageError

if TYPE_CHECKING:
    from atomprint.evaluation.tasks.places import TaskState


def tasks(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Only this one, in full.", show_default=False),
    ] = None,
    download: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Get this one's file; resumes, checks, keeps."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--files",
            "--data",
            metavar="DIR",
            help="Where files are and downloads go. Default: ATOMPRINT_DATA and a cache folder.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="With --download: ask how large it is, get nothing."),
    ] = False,
    json: Json = False,
) -> None:
    """List the built-in tasks: what there is, what is on disk, what a download would bring.

    evaluate --task takes their names.
    """
    if download is not None and name is not None:
        raise UsageError(f"give {name} to look at it, or --download {download}, not both")
    if dry_run and download is None:
        raise UsageError("--dry-run goes with --download NAME")
    if download is not None:
        answer = _size(download, folder) if dry_run else _download(download, folder)
        print_json(answer) if json else print_places(answer)
        return
    with stdout_for_the_answer():
        from atomprint import api
        from atomprint.evaluation.tasks import find_task
        from atomprint.evaluation.tasks.places import data_folders

        wanted = find_task(name) if name is not None else None
        found = [state for state in api.tasks(folder) if wanted in (None, state.task)]
        folders = data_folders(folder)
    if json:
        print_json({"tasks": [_described(state) for state in found], "folders": folders})
    elif wanted is not None:
        places = {key.replace("_", " "): value for key, value in _described(found[0]).items()}
        print_places({key: _shown(value) for key, value in places.items()})
    else:
        _print_list(found)
        note(f"looked in {', '.join(map(str, folders))}; --download NAME gets one, --files DIR")


def _print_list(found: "list[TaskState]") -> None:
    rows = [
        [
            f"{state.task.name}: {state.task.title}",
            f"{state.task.n_crystals:,}" if state.task.n_crystals else "grows",
            state.task.unit or "-",
            "official" if state.task.has_official_folds else "-",
            "here" if state.path else "download" if state.task.url else "-",
        ]
        for state in found
    ]
    print_table(["task", "crystals", "unit", "folds", "file"], rows)


def _described(state: "TaskState") -> dict[str, Any]:
    task = state.task
    return {
        "name": task.name,
        "title": task.title,
        "property": task.property,
        "label": task.label,
        "unit": task.unit,
        "metric": task.metric,
        "classification": task.classification,
        "crystals": task.n_crystals or None,
        "official_folds": task.has_official_folds,
        "matbench": task.matbench or None,
        "on_disk": state.path,
        "files": [file.name for file in task.files],
        "note": (state.file.note if state.file else "") or None,
        "url": task.url or None,
        "sha256": task.sha256 or None,
        "md5": task.md5 or None,
        "source": task.source,
        "licence": task.licence,
        "citation": task.citation,
    }


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value in (None, "") else value


def _size(name: str, folder: Path | None) -> dict[str, Any]:
    with stdout_for_the_answer():
        from atomprint.evaluation.tasks import find_task
        from atomprint.evaluation.tasks.download import download_size
        from atomprint.evaluation.tasks.places import download_folder

        task = find_task(name)
        n_bytes = download_size(task)
    size = "the server does not say" if n_bytes is None else f"{n_bytes / 1e6:.1f} MB"
    to = download_folder(folder) / task.files[0].name
    return {"task": task.name, "url": task.url, "size": size, "bytes": n_bytes, "to": to}


def _download(name: str, folder: Path | None) -> dict[str, Any]:
    with Bars() as bars, stdout_for_the_answer():
        from atomprint import api
        from atomprint.evaluation.tasks import find_task

        path = api.download_task(name, folder, bars)
        task = find_task(name)
    return {
        "task": task.name,
        "file": path,
        "bytes": path.stat().st_size,
        "sha256": task.sha256 or None,
        "md5": task.md5 or None,
        "licence": task.licence,
    }
