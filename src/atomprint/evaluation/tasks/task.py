"""A task: a property of a set of crystals that models are judged on, described as data."""

import builtins
import difflib
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, model_validator

from atomprint.ground.errors import UsageError
from atomprint.ground.settings import Settings, validate
from atomprint.heads.metrics import metric_name
from atomprint.heads.target import Target

_TASKS = Path(__file__).with_name("tasks.yaml")


class TaskFile(Settings):
    """A file that holds a task's crystals, and where in it the property stands."""

    name: str = Field(description="name of the file in the data folder")
    column: str = Field(description="column or label that holds the property")
    transform: Literal["none", "log10"] = Field("none", description="from column to property")
    note: str = Field("", description="what a reader of results has to know of this file")
    layout: Literal["any", "layers", "adsorption"] = Field(
        "any", description="any that atomprint reads, or one of slabs.py"
    )

    @property
    def is_matbench(self) -> bool:
        """Whether it is a file as MatBench gives it out."""
        return self.name.endswith(".json.gz")


class Task(Settings):
    """A property of a set of crystals, where the set is from, and how it is divided."""

    name: str = Field(description="as given on the command line")
    title: str = Field(description="for headings")
    label: str = Field(description="name of the label that the crystals get")
    property: str = Field(description="what is predicted, in words")
    unit: str = Field(description="unit of the label; empty for none")
    classification: bool = Field(False, description="whether the label is a class, 0 or 1")
    n_crystals: int = Field(ge=0, description="crystals in the complete set; 0: that grows")
    files: tuple[TaskFile, ...] = Field(min_length=1, description="files, the best one first")
    matbench: str = Field("", description="its name in MatBench v0.1; empty for other sets")
    folds_sha256: str = Field("", description="checksum of the official folds")
    train_means: tuple[float, ...] = Field(
        (), description="mean label of the training part of each official fold"
    )
    url: str = Field("", description="where the first of the files can be had")
    sha256: str = Field("", description="checksum of that file")
    md5: str = Field("", description="or this one, where the source states no better")
    source: str = Field(description="who made the set")
    licence: str = Field(description="on what terms")
    citation: str = Field(description="what to cite")

    @model_validator(mode="after")
    def _matbench_is_complete(self) -> "Task":
        if self.matbench and not (self.folds_sha256 and self.train_means):
            raise ValueError(f"{self.name} is MatBench's but lacks what its folds are checked by")
        return self

    @builtins.property
    def has_official_folds(self) -> bool:
        """Whether everybody divides it in the same way."""
        return bool(self.matbench)

    @builtins.property
    def checksum(self) -> str:
        """``sha256:...``, ``md5:...`` or nothing, of the first of the files."""
        if self.sha256:
            return f"sha256:{self.sha256}"
        return f"md5:{self.md5}" if self.md5 else ""

    @builtins.property
    def target(self) -> Target:
        """What a model has to predict."""
        kind: Literal["regression", "classification"] = (
            "classification" if self.classification else "regression"
        )
        return Target(
            name=self.label, size=2 if self.classification else 1, unit=self.unit, task=kind
        )

    @builtins.property
    def metric(self) -> str:
        """The number that judges; lower is better."""
        return metric_name(self.target)

    def crystal_id(self, index: int) -> str:
        """MatBench's id of the crystal in row `index`, from 0: ``mb-phonons-0001``.

        As many digits as the number of crystals has.

        Raises
        ------
        UsageError
            If the set is none of MatBench's.
        """
        if not self.matbench:
            raise UsageError(f"{self.name} is none of MatBench's sets and has ids of its own")
        prefix = self.matbench.replace("matbench", "mb").replace("_", "-")
        return f"{prefix}-{index + 1:0{len(str(self.n_crystals))}d}"


@cache
def built_in_tasks() -> tuple[Task, ...]:
    """All tasks that atomprint knows, MatBench's first.

    Raises
    ------
    UsageError
        If the list in the package is wrong.
    """
    entries = yaml.safe_load(_TASKS.read_text(encoding="utf-8"))
    return tuple(validate(Task, entry, f"{_TASKS.name}, {entry['name']}") for entry in entries)


def find_task(name: str) -> Task:
    """Find a built-in task by its name, with or without ``matbench_`` before it.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    by_name = {task.name: task for task in built_in_tasks()}
    by_name |= {task.matbench: task for task in built_in_tasks() if task.matbench}
    wanted = name.strip().lower().replace("-", "_")
    if wanted in by_name:
        return by_name[wanted]
    close = difflib.get_close_matches(wanted, list(by_name), n=1)
    names = ", ".join(task.name for task in built_in_tasks())
    hint = f"did you mean {by_name[close[0]].name!r}?" if close else f"there are: {names}"
    raise UsageError(f"there is no task {name!r}; {hint}")
