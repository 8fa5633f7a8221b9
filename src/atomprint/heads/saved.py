"""A model on disk: safetensors for numbers, JSON for settings; reading one runs no code from it.

A model is a folder with ``model.json`` (format, settings, targets; readable without the weights)
and ``model.safetensors``.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import atomprint
from atomprint.ground.documents import json_of
from atomprint.ground.errors import DataError, UsageError
from atomprint.ground.settings import validate
from atomprint.heads.ensemble import Ensemble
from atomprint.heads.model import Model, ModelSettings
from atomprint.heads.shipped import locate, suggestion
from atomprint.heads.target import Target

FORMAT = 1
"""Number of the checkpoint format; :data:`UPGRADES` brings older ones up to it."""

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""One function a step: ``UPGRADES[n]`` turns the JSON of format n into format n + 1."""


@dataclass(frozen=True)
class ModelInfo:
    """What ``model.json`` says beside settings and targets.

    Attributes
    ----------
    made_by
        ``pretrain`` or ``finetune``.
    notes
        Anything the maker wrote down: seed, steps, hash of the data, the parent run.
    """

    made_by: str
    notes: dict[str, Any] = field(default_factory=dict)


def write_json(path: Path, value: Any) -> None:
    """Write JSON in one piece: a reader sees the old file or the new one, never half.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    with _in_one_piece(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def _in_one_piece(path: Path) -> Iterator[Path]:
    """Hand on the name to write to; then it becomes the file, or nothing of it is left."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        # Else a power cut could leave a name without the bytes.
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UsageError(
            f"{path}: cannot be written ({reason}); make room or choose another --out, and give "
            "the command again"
        ) from None


def save_model(folder: Path, model: Model, weights: dict[str, Tensor], info: ModelInfo) -> None:
    """Write a model into a folder; ``weights`` is a state dict of ``model``.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _in_one_piece(folder / "model.safetensors") as part:
        save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, part)
    write_json(
        folder / "model.json",
        {
            "format": FORMAT,
            "atomprint": atomprint.__version__,
            "made_by": info.made_by,
            "settings": model.settings.model_dump(mode="json"),
            "targets": [t.model_dump(mode="json") for t in model.targets],
            "n_members": len(model.members) if isinstance(model, Ensemble) else 0,
            "notes": info.notes,
        },
    )


def load_model(folder: Path) -> tuple[Model, ModelInfo]:
    """Read a model from a folder, or one that comes with the package (``atomprint/small``).

    Raises
    ------
    UsageError
        If the folder holds no checkpoint, or nothing of that name comes with the package.
    DataError
        If the checkpoint is broken, its checksum is another, or it is newer than this version of
        atomprint.
    """
    folder = locate(folder)
    described, info = _described(folder)
    try:
        weights = load_file(folder / "model.safetensors")
        _check_shapes(described, weights)
        model = described.build()
        model.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError, ValueError, OverflowError) as error:
        first = str(error).splitlines()[0]
        raise DataError(
            f"{folder / 'model.safetensors'}: the weights cannot be read ({first}); copy them again"
        ) from None
    return model.eval(), info


def load_info(folder: Path) -> ModelInfo:
    """Read what a model's folder, or one that comes with the package, says of it.

    Raises
    ------
    UsageError, DataError
        As :func:`load_model`, but for the weights, which are not read.
    """
    return _described(locate(folder))[1]


@dataclass(frozen=True)
class _Description:
    """What a model is made from; ``n_members`` is 0 for a network that is no ensemble."""

    settings: ModelSettings
    targets: list[Target]
    n_members: int

    def build(self) -> Model:
        models = [Model(self.settings, self.targets) for _ in range(self.n_members or 1)]
        return Ensemble(models) if self.n_members else models[0]


def _described(folder: Path) -> tuple[_Description, ModelInfo]:
    meta = folder / "model.json"
    if not meta.is_file():
        close = suggestion(folder)
        hint = (
            f"did you mean {close!r}, which comes with atomprint?"
            if close
            else "give the folder that a pretrain or finetune run wrote"
        )
        raise UsageError(f"{folder}: there is no atomprint model here (no model.json); {hint}")
    try:
        described = json_of(meta.read_text(encoding="utf-8"))
        described = _upgrade(described, meta)
        settings = validate(ModelSettings, described["settings"], str(meta))
        targets = [validate(Target, t, str(meta)) for t in described["targets"]]
        # Files of before 2026-12 do not say.
        n_members = int(described.get("n_members", 0))
        info = ModelInfo(described["made_by"], described["notes"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(
            f"{meta}: not a readable model description ({error}); copy it again"
        ) from None
    return _Description(settings, targets, n_members), info


def _check_shapes(described: _Description, weights: dict[str, Tensor]) -> None:
    """Refuse a description of another network than the weights are of, before one is made of it.

    A file of a few bytes could describe a network that no machine has room for.

    Raises
    ------
    ValueError
        If it does.
    """
    sizes = (described.settings.backbone.n_layers, len(described.targets), described.n_members)
    if max(sizes) > len(weights) or described.n_members < 0:
        raise ValueError("model.json describes a larger network")
    with torch.device("meta"):
        wanted = described.build().state_dict()
    if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in weights.items()}:
        raise ValueError("model.json describes another network")


def _upgrade(described: dict[str, Any], where: Path) -> dict[str, Any]:
    number = int(described["format"])
    if number > FORMAT:
        raise DataError(
            f"{where}: checkpoint format {number} is newer than this atomprint reads ({FORMAT}); "
            "upgrade atomprint"
        )
    while number < FORMAT:
        described = UPGRADES[number](described)
        number += 1
    return described
