"""Networks as competitors: fine-tuned from a pre-trained one, or its from-scratch twin."""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atomprint.evaluation.arms import Arm, ArmKind, Fitted, Progress
from atomprint.evaluation.twin import split_labelled
from atomprint.heads.model import Model, ModelSettings
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.training.checkpoint import load_model
from atomprint.training.finetune import FinetuneSettings, finetune
from atomprint.training.predict import labels_of, predict


class Network(Arm):
    """A graph network: the grid of learning rates, validation, and then the crystals judged.

    Parameters
    ----------
    name
        As people see it.
    settings
        Of fine-tuning, the same for all networks of an evaluation.
    model_settings
        Of the network; the source's, if there is one.
    source
        Pre-trained model whose backbone is the start; None trains from scratch.
    """

    def __init__(
        self,
        name: str,
        settings: FinetuneSettings,
        model_settings: ModelSettings,
        source: Model | None = None,
    ) -> None:
        self.name = name
        self.kind: ArmKind = "scratch" if source is None else "pretrained"
        self.settings = settings
        self.model_settings = model_settings
        self.source = source

    def identity(self) -> dict[str, Any]:
        """Settings, and a hash of the weights it starts from."""
        settings = self.settings.model_dump(mode="json")
        # Each unit has a seed of its own, and where it runs does not change what it is.
        for name in ("seed", "device"):
            settings["loop"].pop(name)
        return {
            "finetuning": settings,
            "model": self.model_settings.model_dump(mode="json"),
            "weights": None if self.source is None else hash_weights(self.source),
        }

    def fit_predict(
        self,
        train: Sequence[Crystal],
        test: Sequence[Crystal],
        target: Target,
        seed: int,
        progress: Progress | None = None,
    ) -> Fitted:
        """Fine-tune on a part of ``train``, validate on the rest of it, predict ``test``."""
        parts = split_labelled(train, [], None, self.settings.valid_fraction, seed)
        loop = self.settings.loop.model_copy(update={"seed": seed})
        result = finetune(
            parts.train,
            parts.valid,
            [target],
            self.model_settings,
            self.settings.model_copy(update={"loop": loop}),
            self.source,
            progress,
        )
        started = time.perf_counter()
        predicted = predict(result.model, test)[target.name]
        seconds = time.perf_counter() - started
        size = 1 if target.is_class else target.size
        wanted = labels_of(parts.valid, target.name, "crystal", size)
        trial = result.trials[result.chosen]
        return Fitted(
            predicted,
            (result.held_out[target.name], wanted),
            sum(p.numel() for p in result.model.parameters()),
            {
                "learning_rate": trial.learning_rate,
                "step": trial.step,
                "valid_value": trial.valid_value,
                "n_valid": len(parts.valid),
                "seconds_per_crystal": seconds / len(test),
            },
        )


def hash_weights(model: Model) -> str:
    """Short hash of all weights of a model, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def networks(
    sources: Sequence[str], settings: FinetuneSettings, scratch: bool = True
) -> list[Network]:
    """Fine-tuned networks, and one from-scratch twin for every kind of network among them.

    Parameters
    ----------
    sources
        Run folders, or names of checkpoints that come with the package.
    settings
        Of fine-tuning.
    scratch
        Whether to train the twins. Without sources there is one, of the default network.
    """
    models = [(source, load_model(Path(source))[0]) for source in sources]
    shapes: list[ModelSettings] = []
    for _, model in models:
        if model.settings not in shapes:
            shapes.append(model.settings)
    twins = [
        Network(f"from scratch, {_shape(shape)}" if len(shapes) > 1 else "from scratch",
                settings, shape)
        for shape in (shapes or [ModelSettings()])
    ]  # fmt: skip
    arms = twins if scratch else []
    for source, model in models:
        arms.append(Network(source_name(source), settings, model.settings, model))
    return arms


def source_name(source: str) -> str:
    """How a run is called: a shipped checkpoint's name, or the last two parts of a path."""
    return "/".join(Path(source).parts[-2:]) if Path(source).is_dir() else source


def _shape(settings: ModelSettings) -> str:
    backbone = settings.backbone
    return f"{backbone.kind} {backbone.n_channels}x{backbone.n_layers}"
