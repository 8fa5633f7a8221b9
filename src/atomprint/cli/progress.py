"""Progress bars on standard error, if someone is watching."""

import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# The numbers shown beside a bar, by the names that the loop gives them, in this order.
SHOWN = {
    "train/loss": "loss",
    "valid/value": "validation",
    "crystals/s": "crystals/s",
    "atoms/s": "atoms/s",
}


class Bars:
    """One bar a stage, with time left and the latest losses; silent unless on a terminal.

    Calling it reports progress: ``bars(stage, done, total, numbers)``, as the verbs do.
    """

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._numbers: dict[str, dict[str, float]] = {}

    def __enter__(self) -> "Bars":
        """Show that something is happening, from the first moment."""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[numbers]}", style="dim"),
                console=Console(file=sys.stderr),
                transient=True,
                redirect_stdout=False,
            )
            self._progress.start()
            self._tasks["start"] = self._progress.add_task("starting", total=None, numbers="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bars away."""
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Report progress of a stage."""
        if self._progress is None:
            return
        if "start" in self._tasks:
            self._progress.remove_task(self._tasks.pop("start"))
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, numbers="")
        latest = self._numbers.setdefault(stage, {})
        latest |= {SHOWN[name]: value for name, value in numbers.items() if name in SHOWN}
        text = "  ".join(f"{n} {latest[n]:.4g}" for n in SHOWN.values() if n in latest)
        self._progress.update(self._tasks[stage], completed=done, total=total, numbers=text)

    def stage(self, name: str) -> Callable[[int, int], None]:
        """Return the callback ``(done, total)`` of a verb that has one stage only."""

        def report(done: int, total: int) -> None:
            self(name, done, total, {})

        return report
