"""The verbs: what a person does with atomprint, from Python; the shell has the same ones.

Everything here reads crystals from whatever the user has, does one thing, and returns data;
nothing prints. ``progress`` is called as ``progress(stage, done, total, numbers)``.
"""

from atomprint.api.applying import embed, predict
from atomprint.api.catalogue import checkpoints, download_task, tasks
from atomprint.api.columns import Columns
from atomprint.api.corpora import (
    build_corpus,
    corpora,
    fetch_corpus,
    source_settings,
    suggest_corpus,
)
from atomprint.api.finetuning import finetune, split_for_test
from atomprint.api.fingerprinting import (
    Kinds,
    fingerprint,
    fingerprint_file,
    fingerprint_settings,
    fingerprint_specs,
)
from atomprint.api.inputs import EMBEDDED, Data, PathInput, Progress
from atomprint.api.judging import coverage, demo, evaluate, plan_evaluation, report
from atomprint.api.pretraining import (
    Mixture,
    PretrainConfig,
    load_config,
    pretrain,
    settings_of_run,
)
from atomprint.api.settings import load_settings
from atomprint.data.inspect import inspect
from atomprint.data.mixing import Corpus
from atomprint.structures.reading import read_crystals

__all__ = [
    "EMBEDDED",
    "Columns",
    "Corpus",
    "Data",
    "Kinds",
    "Mixture",
    "PathInput",
    "PretrainConfig",
    "Progress",
    "build_corpus",
    "checkpoints",
    "corpora",
    "coverage",
    "demo",
    "download_task",
    "embed",
    "evaluate",
    "fetch_corpus",
    "finetune",
    "fingerprint",
    "fingerprint_file",
    "fingerprint_settings",
    "fingerprint_specs",
    "inspect",
    "load_config",
    "load_settings",
    "plan_evaluation",
    "predict",
    "pretrain",
    "read_crystals",
    "report",
    "settings_of_run",
    "source_settings",
    "split_for_test",
    "suggest_corpus",
    "tasks",
]
