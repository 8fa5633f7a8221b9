"""Pre-train graph neural networks for materials on structural fingerprints.

The verbs (:func:`fingerprint`, :func:`pretrain`, :func:`finetune`, :func:`predict`,
:func:`embed`, :func:`report`) live in :mod:`atomprint.api` and are reached from here
without importing torch until one of them is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from atomprint.api import (
        checkpoints,
        demo,
        embed,
        finetune,
        fingerprint,
        fingerprint_file,
        inspect,
        predict,
        pretrain,
        read_crystals,
        report,
    )

__all__ = [
    "__version__",
    "checkpoints",
    "demo",
    "embed",
    "finetune",
    "fingerprint",
    "fingerprint_file",
    "inspect",
    "predict",
    "pretrain",
    "read_crystals",
    "report",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("atomprint.api"), name)
    raise AttributeError(f"module 'atomprint' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
