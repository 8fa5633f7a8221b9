"""What tests of objectives share: tiny networks, views of them, crystals moved and repeated."""

import numpy as np
import torch

from atomprint.backbones import ETSettings, PaiNNSettings
from atomprint.data.batching import LabelSpec, collate
from atomprint.heads.model import ModelSettings
from atomprint.objectives import Mixture
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from atomprint.structures.perturb import DISPLACEMENT, STRAIN, PerturbSettings, perturb
from tests.toy import toy_crystals

MODELS = {
    "painn": ModelSettings(
        backbone=PaiNNSettings(cutoff=4.0, n_channels=8, n_layers=2, n_radial=4), n_hidden=8
    ),
    "et": ModelSettings(
        backbone=ETSettings(cutoff=4.0, n_channels=8, n_layers=2, n_heads=2, n_radial=6), n_hidden=8
    ),
}
VECTORS = (DISPLACEMENT, "forces")
TENSORS = (STRAIN, "stress")


def perturbed(n=4, seed=0, **settings):
    """Toy crystals, displaced and strained."""
    rng = np.random.default_rng(seed)
    how = PerturbSettings(**({"rattle": 0.05, "strain": 0.02} | settings))
    return [perturb(c, how, rng) for c in toy_crystals(n, seed)]


def rotated(crystals, seed=3):
    """Crystals with the vectors and tensors among their labels, turned; and the rotation."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    return [
        c.with_geometry(c.positions @ turn, c.cell @ turn).with_labels(
            {name: _turn(name, value, turn) for name, value in c.labels.items()}
        )
        for c in crystals
    ], torch.tensor(turn)


def _turn(name, value, turn):
    if name in VECTORS:
        return value @ turn
    if name in TENSORS:
        return (turn.T @ np.reshape(value, (3, 3)) @ turn).ravel()
    return value


def reversed_atoms(crystals):
    """The atoms of every crystal in reverse order."""
    return [
        Crystal.make(
            c.id,
            c.numbers[::-1],
            c.cell,
            positions=c.positions[::-1],
            labels={k: v[::-1] if k in VECTORS else v for k, v in c.labels.items()},
        )
        for c in crystals
    ]


def doubled(crystals, extensive=()):
    """Supercells of two cells along the first lattice vector."""
    return [
        Crystal.make(
            c.id,
            np.tile(c.numbers, 2),
            c.cell * [[2], [1], [1]],
            positions=np.concatenate([c.positions, c.positions + c.cell[0]]),
            labels={
                k: np.tile(v, (2, 1)) if k in VECTORS else v * 2 if k in extensive else v
                for k, v in c.labels.items()
            },
        )
        for c in crystals
    ]


def build(settings, model="painn", seed=0):
    """Backbone and objective in float64, with random weights that a seed gives."""
    torch.manual_seed(seed)
    backbone = MODELS[model].backbone.build().double()
    return backbone, settings.build(backbone, MODELS[model]).double()


def batch(crystals, objective, dtype=torch.float64):
    """Graph and labels as a run makes them, in float64."""
    specs = [LabelSpec(t.name, t.per, t.size) for t in objective.labels]
    made = collate(crystals, 4.0, specs)
    graph = GraphBatch.from_crystals(crystals, 4.0, dtype)
    return graph, {name: value.to(dtype) for name, value in made.labels.items()}


def look(backbone, objective, crystals, seed=0):
    """The view that a mixture would show the objective."""
    graph, labels = batch(crystals, objective)
    mixture = Mixture([objective], "fixed")
    return mixture._look(backbone, graph, labels, seed, 0.0)


def losses(backbone, objective, crystals, seed=0):
    """Its losses as plain numbers."""
    found = objective.losses(look(backbone, objective, crystals, seed))
    return {name: float(value.detach()) for name, value in found.items()}


def gradients_reach(backbone, objective, crystals):
    """Names of the backbone's parameters without a gradient, and of the objective's."""
    total = sum(objective.losses(look(backbone, objective, crystals)).values())
    total.backward()

    def idle(module):
        return [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]

    return idle(backbone), idle(objective)
