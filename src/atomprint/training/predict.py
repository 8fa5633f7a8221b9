"""Run a trained network over crystals."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from atomprint.data.batching import BatchSettings, LabelSpec, batches_in_order
from atomprint.heads.ensemble import Ensemble
from atomprint.heads.model import Model
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import sum_by_index

Array = npt.NDArray[np.float64]
Counter = Callable[[int, int], None]

PREDICT_BATCH = BatchSettings(max_crystals=128, max_atoms=4_000, max_edges=600_000)


def label_specs(model: Model) -> list[LabelSpec]:
    """Labels that a batch must carry to train or judge a model; a class is one number."""
    return [LabelSpec(t.name, t.per, 1 if t.is_class else t.size) for t in model.targets]


@torch.inference_mode()
def predict(
    model: Model,
    crystals: Sequence[Crystal],
    device: torch.device | str = "cpu",
    progress: Counter | None = None,
) -> dict[str, Array]:
    """Predictions in the targets' own units.

    Returns
    -------
    dict
        By target: ``(n_crystals, size)``, or ``(n_atoms of all crystals, size)`` for a target per
        atom; probabilities of the classes for a classification.
    """
    return _members(model, [model], crystals, device, progress)[0]


@torch.inference_mode()
def predict_members(
    ensemble: Ensemble,
    crystals: Sequence[Crystal],
    device: torch.device | str = "cpu",
    progress: Counter | None = None,
) -> list[dict[str, Array]]:
    """Predictions of every member of an ensemble, each as :func:`predict` gives them."""
    return _members(ensemble, ensemble.models, crystals, device, progress)


def _members(
    whole: Model,
    members: Sequence[Model],
    crystals: Sequence[Crystal],
    device: torch.device | str,
    progress: Counter | None,
) -> list[dict[str, Array]]:
    whole.to(device).eval()
    rows: list[dict[str, list[Array]]] = [{t.name: [] for t in whole.targets} for _ in members]
    done = 0
    for batch in batches_in_order(crystals, whole.cutoff, PREDICT_BATCH):
        graph = batch.graph.to(device)
        for member, found in zip(members, rows, strict=True):
            for name, values in member.predict(graph).items():
                found[name].append(values.double().cpu().numpy())
        done += batch.graph.n_crystals
        if progress is not None:
            progress(done, len(crystals))
    return [
        {
            t.name: np.concatenate(found[t.name]) if found[t.name] else np.zeros((0, t.size))
            for t in whole.targets
        }
        for found in rows
    ]


@torch.inference_mode()
def embed(
    model: Model,
    crystals: Sequence[Crystal],
    per: str = "crystal",
    device: torch.device | str = "cpu",
    progress: Counter | None = None,
) -> Array:
    """Features of the backbone: the mean over the atoms of a crystal, or a row an atom.

    Returns
    -------
    ndarray
        ``(n_crystals, n_channels)`` or ``(n_atoms of all crystals, n_channels)``.
    """
    model = model.to(device).eval()
    rows: list[Array] = []
    done = 0
    for batch in batches_in_order(crystals, model.cutoff, PREDICT_BATCH):
        graph = batch.graph.to(device)
        scalars = model.backbone(graph).scalars
        if per == "crystal":
            total = sum_by_index(scalars, graph.crystal_index, graph.n_crystals)
            scalars = total / graph.n_atoms_per_crystal[:, None]
        rows.append(scalars.double().cpu().numpy())
        done += graph.n_crystals
        if progress is not None:
            progress(done, len(crystals))
    return np.concatenate(rows) if rows else np.zeros((0, model.backbone.n_channels))


def labels_of(crystals: Sequence[Crystal], name: str, per: str, size: int = 1) -> Array:
    """Known labels as rows like those of :func:`predict`; NaN where missing."""
    rows = []
    for crystal in crystals:
        n_rows = crystal.n_atoms if per == "atom" else 1
        value = crystal.labels.get(name)
        if value is None:
            rows.append(np.full((n_rows, size), np.nan))
        else:
            rows.append(np.asarray(value, dtype=np.float64).reshape(n_rows, size))
    return np.concatenate(rows) if rows else np.zeros((0, size))
