"""A tiny student with any teacher, for the tests of distillation."""

import torch

from atomprint.data.batching import BatchStream, LabelSpec
from atomprint.fingerprints import EADSettings
from atomprint.heads.model import Model
from atomprint.heads.saved import ModelInfo, save_model
from atomprint.objectives import DistillationSettings, Mixture, Sample
from tests.toy import toy_crystals
from tests.training.tiny import TINY_MODEL, tiny_loop

EAD = EADSettings(cutoff=4.0, n_shells=4, l_max=2)
FINE = {"kind": "fingerprints", "fingerprints": (EAD,), "n_features": 6}
EMA = {"kind": "ema", "decay": 0.9, "first_decay": 0.5, "n_ramp": 3}
PER_ATOM = {"kind": "label", "name": "features", "n_features": 3}


def build(model=TINY_MODEL, **settings):
    """A network and the objective, both with the same weights every time."""
    torch.manual_seed(0)
    network = Model(model, ())
    return network.backbone, DistillationSettings(**settings).build(network.backbone, model)


def batch_of(crystals, objective, perturbation=None):
    """One batch with what the objective asks for."""
    labels = [LabelSpec(t.name, t.per, t.size) for t in objective.labels]
    stream = BatchStream(
        crystals, max(4.0, objective.cutoff), tiny_loop().batch, 0, labels, perturbation
    )
    return stream.build(0, range(len(crystals)))


def loss(objective, backbone, batch, seed=0, training=True, weighting="fixed"):
    """Loss of the objective alone, in a mixture."""
    return (
        Mixture([objective], weighting)
        .train(training)
        .loss(backbone, batch.graph, batch.labels, seed=seed)
    )


def fitted(n=8, **settings):
    """A network, the objective fitted on a batch, and the batch."""
    backbone, objective = build(**settings)
    batch = batch_of(toy_crystals(n), objective)
    objective.fit([Sample(batch.graph, batch.labels)])
    return backbone, objective, batch


def saved_teacher(folder):
    """A random network, written into a folder."""
    torch.manual_seed(5)
    model = Model(TINY_MODEL, ())
    save_model(folder, model, model.state_dict(), ModelInfo("pretrain"))
    return model
