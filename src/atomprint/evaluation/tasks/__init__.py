"""What can be judged on: built-in tasks as data, where their files lie, their official folds."""

from atomprint.evaluation.tasks.folds import official_folds
from atomprint.evaluation.tasks.load import TaskData, load_task
from atomprint.evaluation.tasks.record import (
    RecordedFold,
    record_evaluation,
    write_matbench_record,
)
from atomprint.evaluation.tasks.task import Task, TaskFile, built_in_tasks, find_task

__all__ = [
    "RecordedFold",
    "Task",
    "TaskData",
    "TaskFile",
    "built_in_tasks",
    "find_task",
    "load_task",
    "official_folds",
    "record_evaluation",
    "write_matbench_record",
]
