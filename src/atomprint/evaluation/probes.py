"""Probes: what simple models make of a frozen network's features, in seconds."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch

from atomprint.data.batching import batches_in_order
from atomprint.evaluation.arms import Arm, ArmKind, Array
from atomprint.evaluation.baselines import TableArm
from atomprint.evaluation.features import CACHE
from atomprint.evaluation.networks import hash_weights
from atomprint.evaluation.regressors import GRIDS, GRIDS_OF_CLASSES, RegressorName
from atomprint.ground.errors import UsageError
from atomprint.heads.model import Model
from atomprint.structures.crystal import Crystal
from atomprint.training.predict import PREDICT_BATCH

Layers = Literal["last", "all"]
PROBED: tuple[RegressorName, ...] = ("ridge", "kernel", "knn", "boosting")
_WORDS = {"ridge": "ridge", "kernel": "kernel ridge", "knn": "kNN", "boosting": "boosted trees"}


class Probe(TableArm):
    """A model of scikit-learn on pooled features of a frozen backbone.

    Parameters
    ----------
    source_name
        What the network is called.
    model
        The pre-trained network; its heads play no part, and it is not changed.
    regressor
        ``ridge``, ``kernel``, ``knn`` or ``boosting``; for classes their counterparts.
    layers
        Features after the ``last`` layer, or after ``all`` of them side by side.
    """

    kind: ArmKind = "probe"

    def __init__(
        self, source_name: str, model: Model, regressor: RegressorName, layers: Layers = "all"
    ) -> None:
        if regressor not in PROBED or layers not in get_args(Layers):
            raise UsageError(
                f"a probe is one of {', '.join(PROBED)} on layers last or all, and not "
                f"{regressor!r} on {layers!r}"
            )
        self.name = f"{source_name}, {_WORDS[regressor]} probe"
        self.model = model
        self.regressor = regressor
        self.layers: Layers = layers
        self._weights = hash_weights(model)

    def identity(self) -> dict[str, Any]:
        """A hash of the weights, the model, and all settings that are tried."""
        return {
            "weights": self._weights,
            "layers": self.layers,
            "pooling": ["mean", "deviation", "maximum"],
            "model": self.regressor,
            "tried": GRIDS[self.regressor],
            "tried_for_classes": GRIDS_OF_CLASSES[self.regressor],
        }

    def features(self, crystals: Sequence[Crystal]) -> Array:
        """Rows of crystals, ``(n_crystals, n_layers * 3 * n_channels)``."""
        rows = CACHE.rows(
            f"embedding {self._weights} {self.model.settings.backbone!r}",
            crystals,
            lambda some: pooled_layers(self.model, some),
        )
        return rows[:, -3 * self.model.backbone.n_channels :] if self.layers == "last" else rows


@torch.inference_mode()
def pooled_layers(model: Model, crystals: Sequence[Crystal]) -> Array:
    """Mean, standard deviation and maximum over the atoms of a crystal of every layer's features.

    Returns
    -------
    ndarray
        ``(n_crystals, n_layers * 3 * n_channels)``: layer by layer, the last one last.
    """
    model = model.to("cpu").eval()
    rows: list[Array] = []
    for batch in batches_in_order(crystals, model.cutoff, PREDICT_BATCH):
        features = model.backbone(batch.graph)
        layers = torch.cat(features.layers or (features.scalars,), dim=1).double().numpy()
        stops = np.cumsum(batch.graph.n_atoms_per_crystal.numpy())[:-1]
        for atoms in np.split(layers, stops):
            pooled = np.stack([atoms.mean(0), atoms.std(0), atoms.max(0)])
            # (3, n_layers * n_channels) to layer by layer.
            n_layers = layers.shape[1] // model.backbone.n_channels
            rows.append(pooled.reshape(3, n_layers, -1).transpose(1, 0, 2).ravel())
    return np.stack(rows) if rows else np.zeros((0, 0))


def probes(name: str, model: Model) -> list[Arm]:
    """The default set of probes of a pre-trained network.

    Parameters
    ----------
    name
        What the network is called.
    model
        The network.
    """
    return [Probe(name, model, regressor) for regressor in PROBED]
