"""Every objective keeps the laws of objectives, and every law catches one that breaks it.

Who adds a kind adds small settings of it to MEMBERS; where a law cannot hold for them, EXEMPT says
why. Crystals come with the labels energy, gap, forces, stress and what perturbing them left.
"""

import copy
import typing
from dataclasses import fields
from typing import Literal

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from atomprint.fingerprints import EADSettings, RDFSettings
from atomprint.heads.target import Target
from atomprint.objectives import (
    ConditionedSettings,
    DenoisingSettings,
    DistillationSettings,
    FingerprintObjectiveSettings,
    ForcesSettings,
    LabelObjectiveSettings,
    MaskingSettings,
    Mixture,
    Objective,
    ObjectiveBase,
    ObjectiveSettings,
    Sample,
)
from atomprint.structures.graph import sum_by_index
from atomprint.structures.parts import divide
from tests.objectives.looks import (
    MODELS,
    batch,
    build,
    doubled,
    losses,
    perturbed,
    reversed_atoms,
    rotated,
)

EAD = EADSettings(cutoff=4.0, n_shells=3, l_max=1)
FINGERPRINTS = (EAD, RDFSettings(cutoff=3.0, n_bins=6, per="crystal"))
TEACHER = {"kind": "fingerprints", "fingerprints": (EAD,), "n_features": 4}

MEMBERS = {
    "fingerprints": FingerprintObjectiveSettings(fingerprints=FINGERPRINTS),
    "fingerprints-components": FingerprintObjectiveSettings(
        fingerprints=FINGERPRINTS, components=3, transform="root", loss="huber", layer=0
    ),
    "masking": MaskingSettings(fraction=0.4),
    "masking-some": MaskingSettings(fraction=0.5, crystals=0.6, properties=("mass",)),
    "denoising": DenoisingSettings(strain=True),
    "denoising-energy": DenoisingSettings(by="energy", strain=True),
    "conditioned": ConditionedSettings(),
    "conditioned-perturbed": ConditionedSettings(noise=0.0, drop=0.0),
    "forces": ForcesSettings(stress="stress"),
    "forces-direct": ForcesSettings(stress="stress", direct=True),
    "labels": LabelObjectiveSettings(names=("gap",)),
    "distillation": DistillationSettings(teacher=TEACHER, layers=(0, -1), loss="huber"),
    "distillation-relational": DistillationSettings(teacher=TEACHER, loss="relational"),
    "distillation-ema": DistillationSettings(teacher={"kind": "ema"}, hidden=0.4),
}

MASK = "which atoms are hidden is drawn by their place in the batch"
PAIRS = "an atom and its copy are a pair more"
NOISE = "noise is drawn in the axes and by the places of the batch"
EXEMPT = {
    ("masking", "order"): MASK,
    ("masking", "supercell"): MASK,
    ("masking-some", "order"): MASK,
    ("masking-some", "supercell"): MASK,
    ("conditioned", "rotation"): NOISE,
    ("conditioned", "order"): NOISE,
    ("conditioned", "supercell"): NOISE,
    ("distillation-relational", "supercell"): PAIRS,
    ("distillation-relational", "parts"): "pairs of atoms of different parts count; it says so",
    ("distillation-ema", "order"): MASK,
    ("distillation-ema", "supercell"): MASK,
}

UNION = typing.get_args(typing.get_args(ObjectiveSettings)[0])


class LawBroken(AssertionError):
    """An objective breaks a law."""


def crystals(labelled=True):
    """Perturbed crystals with labels of every sort."""
    rng = np.random.default_rng(1)
    found = perturbed(4)
    if not labelled:
        return [c.with_labels({k: v for k, v in c.labels.items() if "." in k}) for c in found]
    more = [
        {
            "energy": rng.normal() * c.n_atoms,
            "gap": rng.normal(),
            "forces": rng.normal(size=(c.n_atoms, 3)),
            "stress": (lambda s: (s + s.T).ravel())(rng.normal(size=(3, 3))),
        }
        for c in found
    ]
    return [c.with_labels({**c.labels, **m}) for c, m in zip(found, more, strict=True)]


def made(settings, model, seed=0):
    """Network and objective, fitted on the crystals; without anything drawn when training."""
    backbone, objective = build(settings, model, seed)
    objective.fit([Sample(*batch(crystals(), objective))])
    objective.follow(backbone)
    return backbone, objective


def close(found, expected, message):
    """Compare losses."""
    if found != pytest.approx(expected, rel=1e-6, abs=1e-9):
        raise LawBroken(f"{message}: {expected} became {found}")


def terms(settings, model):
    """A finite number for every term, and a gradient of every term for network and heads."""
    backbone, objective = made(settings, model)
    mixture = Mixture([objective], "fixed")
    graph, labels = batch(crystals(), objective)
    view = mixture._look(backbone, graph, labels, 0, 0.0)
    found = objective.losses(view)
    if not set(objective.terms) <= set(found) or len(set(objective.terms)) < len(objective.terms):
        raise LawBroken(f"losses {sorted(found)} for the terms {objective.terms}")
    weights = [p for p in backbone.parameters() if p.requires_grad]
    for name, loss in found.items():
        if loss.shape != () or not torch.isfinite(loss):
            raise LawBroken(f"{name} is not a finite number")
        if name not in objective.terms:
            continue
        slopes = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        size = sum(float(s.abs().sum()) for s in slopes if s is not None)
        if not 0 < size < float("inf"):
            raise LawBroken(f"{name} has no finite gradient in the network")
    total = sum(found[name] for name in objective.terms)
    own = dict(objective.named_parameters())
    own = {name: p for name, p in own.items() if p.requires_grad}
    slopes = torch.autograd.grad(total, list(own.values()), allow_unused=True) if own else ()
    for (name, weight), slope in zip(own.items(), slopes, strict=True):
        if slope is not None and not torch.isfinite(slope).all():
            raise LawBroken(f"the gradient of {name} is not finite")
        # Derivatives do not depend on the zero of an energy.
        if weight.ndim > 1 and (slope is None or not slope.any()):
            raise LawBroken(f"no gradient for {name}")


def rotation(settings, model):
    """Turned crystals, with labels that turn, have the same losses."""
    _same(settings, model, lambda c: rotated(c)[0], "a rotation")


def order(settings, model):
    """The order of atoms in the cell does not matter."""
    _same(settings, model, reversed_atoms, "the order of atoms")


def supercell(settings, model):
    """A repeated cell has the losses of the cell."""
    _same(settings, model, lambda c: doubled(c, extensive=("energy",)), "a supercell")


def _same(settings, model, change, what):
    backbone, objective = made(settings, model)
    objective.train(False)  # nothing withheld at random
    expected = losses(backbone, objective, crystals())
    close(losses(backbone, objective, change(crystals())), expected, f"{what} changes losses")


def seed(settings, model):
    """What is random is the seed's: the same again, whatever torch and numpy would draw."""
    backbone, objective = made(settings, model)
    expected = losses(backbone, objective, crystals(), seed=5)
    torch.manual_seed(1234)
    # The old generator of numpy is the one that code without one of its own would use.
    before, others = torch.random.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    if losses(backbone, objective, crystals(), seed=5) != expected:
        raise LawBroken("the same seed gives other losses")
    if not torch.equal(before, torch.random.get_rng_state()):
        raise LawBroken("it draws random numbers from torch's own generator")
    if str(np.random.get_state()) != others:  # noqa: NPY002
        raise LawBroken("it draws random numbers from numpy's own generator")


def state(settings, model):
    """A new objective with the state of a fitted one has its losses, to the last bit."""
    backbone, objective = made(settings, model)
    other, copied = build(settings, model, seed=9)
    other.load_state_dict(backbone.state_dict())
    copied.load_state_dict(objective.state_dict())
    if losses(other, copied, crystals()) != losses(backbone, objective, crystals()):
        raise LawBroken("what fitting or following left is not in the state")


def unlabelled(settings, model):
    """Labels that are missing do not count: without any, losses are finite, and so gradients."""
    backbone, objective = made(settings, model)
    graph, labels = batch(crystals(labelled=False), objective)
    total, log = Mixture([objective], "fixed").loss(backbone, graph, labels)
    weights = [*backbone.parameters(), *objective.parameters()]
    weights = [w for w in weights if w.requires_grad]
    slopes = torch.autograd.grad(total, weights, allow_unused=True)
    if not all(torch.isfinite(v).all() for v in [*log.values(), *slopes] if v is not None):
        raise LawBroken("missing labels make it infinite")


def watched(settings, model):
    """Losses that are only watched are there without gradients, and change nothing."""
    backbone, objective = made(settings, model)
    mixture = Mixture([objective], "balance").eval()
    graph, labels = batch(crystals(), objective)
    content = copy.deepcopy({**backbone.state_dict(), **mixture.state_dict()})
    with torch.no_grad():
        total, log = mixture.loss(backbone.eval(), graph, labels)
        _, again = mixture.loss(backbone, graph, labels)
    if not torch.isfinite(total) or {k: float(v) for k, v in log.items()} != {
        k: float(v) for k, v in again.items()
    }:
        raise LawBroken("watching twice gives two answers")
    for name, value in {**backbone.state_dict(), **mixture.state_dict()}.items():
        if not torch.equal(value, content[name]):
            raise LawBroken(f"watching changes {name}")


def untouched(settings, model):
    """The batch and the network's weights are only read."""
    backbone, objective = made(settings, model)
    graph, labels = batch(crystals(), objective)
    tensors = {f.name: getattr(graph, f.name) for f in fields(graph)} | labels
    tensors = {k: v for k, v in tensors.items() if isinstance(v, Tensor)} | backbone.state_dict()
    copies = {name: value.clone() for name, value in tensors.items()}
    Mixture([objective], "fixed").loss(backbone, graph, labels)[0].backward()
    for name, value in tensors.items():
        if not torch.allclose(value, copies[name], rtol=0, atol=0, equal_nan=True):
            raise LawBroken(f"{name} was changed")


def half(settings, model):
    """Under autocast losses are close to the exact ones."""
    backbone, objective = made(settings, model)
    backbone, objective = backbone.float().eval(), objective.float().eval()
    graph, labels = batch(crystals(), objective, torch.float32)
    mixture = Mixture([objective], "fixed").eval()
    _, exact = mixture.loss(backbone, graph, labels)
    with torch.autocast("cpu", torch.bfloat16):
        _, mixed = mixture.loss(backbone, graph, labels)
    for name, value in exact.items():
        if float(mixed[name]) != pytest.approx(float(value), rel=0.05, abs=0.02):
            raise LawBroken(f"{name} is {float(value)}, and {float(mixed[name])} in bfloat16")


def parts(settings, model):
    """Parts of a batch, weighed by their counts, have its losses and gradients together."""
    backbone, objective = made(settings, model)
    if objective.whole:
        raise LawBroken(objective.whole)
    weights = [w for w in [*backbone.parameters(), *objective.parameters()] if w.requires_grad]

    def looked(given, part):
        mixture = Mixture([objective], "fixed")
        view = mixture._look(backbone, *batch(given, objective), 5, 0.0, part)
        found = objective.losses(view)
        counts = {k: float(n) for k, n in objective.counts(view).items()}
        return {k: found[k] for k in objective.terms}, {k: counts[k] for k in objective.terms}

    # One without labels, so that parts know different numbers of them.
    given = [*crystals()[:3], *crystals(labelled=False)[3:], *crystals()[:1]]
    sizes = [c.n_atoms for c in given]
    divided = [divide(sizes, [1.0] * len(given), part, 2) for part in (0, 1)]
    each = [looked([given[i] for i in places], part) for part, places in divided]
    whole, _ = looked(given, None)
    for name, loss in whole.items():
        total = sum(counts[name] for _, counts in each)
        together = sum(found[name] * counts[name] / max(1, total) for found, counts in each)
        close(float(together), float(loss), f"{name} of parts")
        slopes = [
            torch.autograd.grad(one, weights, retain_graph=True, materialize_grads=True)
            for one in (together, loss)
        ]
        for one, other in zip(*slopes, strict=True):
            if not torch.allclose(one, other, rtol=1e-6, atol=1e-9):
                raise LawBroken(f"the gradient of {name} is not that of parts")


LAWS = {
    law.__name__: law
    for law in (
        terms, rotation, order, supercell, seed, state, unlabelled, watched, untouched, half,
        parts,
    )
}  # fmt: skip


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_keeps_the_laws(member, model, law):
    if (member, law) in EXEMPT:
        # A law that a member is exempt from is one that it breaks.
        with pytest.raises(LawBroken):
            LAWS[law](MEMBERS[member], model)
        pytest.skip(f"exempt: {EXEMPT[member, law]}")
    LAWS[law](MEMBERS[member], model)


def test_the_members_tested_are_those_of_the_union():
    assert {type(settings) for settings in MEMBERS.values()} == set(UNION)


@pytest.mark.parametrize("settings", MEMBERS.values(), ids=MEMBERS)
def test_settings_survive_json(settings):
    assert TypeAdapter(ObjectiveSettings).validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize("model", UNION)
def test_every_setting_is_described(model):
    for name, field in model.model_fields.items():
        if name != "kind":
            assert field.description, f"{model.__name__}.{name} has no description"


class SoundSettings(ObjectiveBase):
    """Settings of objectives that only this file knows: which way it is broken."""

    kind: Literal["sound"] = "sound"
    broken: str = ""

    def build(self, backbone, model):
        return {"": Sound, **BROKEN}[self.broken](self, backbone)


class Sound(Objective):
    """Says the mean distance to the neighbours, and nothing wrong with it."""

    terms = ("distance",)

    def __init__(self, settings, backbone):
        super().__init__()
        self.settings = settings
        self.head = nn.Linear(backbone.n_channels, 1)
        self.register_buffer("scale", torch.ones(()))

    def fit(self, samples):
        self.scale.copy_(torch.cat([s.graph.distances for s in samples]).mean())

    def wanted(self, view):
        graph = view.graph
        total = sum_by_index(graph.distances, graph.center_index, graph.n_atoms)
        return total / torch.bincount(graph.center_index, minlength=graph.n_atoms) / self.scale

    def counts(self, view):
        return dict.fromkeys(self.terms, view.graph.n_atoms)

    def losses(self, view):
        gap = self.head(view.features.scalars)[:, 0] - self.wanted(view)
        return self.change(view, gap.abs().mean())

    def change(self, view, loss):
        return {"distance": loss}


class TermsMissing(Sound):
    def change(self, view, loss):
        return {"length": loss}


class TermsShape(Sound):
    def change(self, view, loss):
        return {"distance": loss[None]}


class TermsDetached(Sound):
    def change(self, view, loss):
        return {"distance": self.head(view.features.scalars.detach()).mean()}


class TermsIdle(Sound):
    def __init__(self, settings, backbone):
        super().__init__(settings, backbone)
        self.idle = nn.Linear(2, 2)


class Rotation(Sound):
    def change(self, view, loss):
        return {"distance": loss + view.graph.edge_vectors[:, 0].square().mean()}


class Order(Sound):
    def change(self, view, loss):
        return {"distance": loss + view.graph.numbers[0]}


class Supercell(Sound):
    def change(self, view, loss):
        return {"distance": loss * view.graph.n_atoms}


class Seed(Sound):
    def change(self, view, loss):
        return {"distance": loss + torch.rand(())}


class SeedDraws(Sound):
    def change(self, view, loss):
        return {"distance": loss + 0 * torch.rand(())}


class SeedNumpy(Sound):
    def change(self, view, loss):
        return {"distance": loss + 0 * np.random.random()}  # noqa: NPY002


class State(Sound):
    """Remembers its scale where no checkpoint looks."""

    def fit(self, samples):
        super().fit(samples)
        self.kept = float(self.scale)

    def change(self, view, loss):
        return {"distance": loss * getattr(self, "kept", 1.0)}


class Unlabelled(Sound):
    labels = (Target(name="gap"),)

    def change(self, view, loss):
        return {"distance": loss + view.labels["gap"].mean()}


class Watched(Sound):
    def change(self, view, loss):
        self.scale.mul_(1.1)
        return {"distance": loss}


class Untouched(Sound):
    def change(self, view, loss):
        view.graph.numbers.data[0] += 1  # past autograd, which would notice
        return {"distance": loss}


class Half(Sound):
    """Small differences of large numbers."""

    def change(self, view, loss):
        large = torch.full((1, 1), 300.7, dtype=loss.dtype)
        gap = (large @ large - 300.7**2).squeeze()
        return {"distance": loss + gap.abs()}


class Parts(Sound):
    """A mean over atoms that says it is one over crystals."""

    def counts(self, view):
        return {"distance": view.graph.n_crystals}


BROKEN = {
    c.__name__: c
    for c in (
        TermsMissing, TermsShape, TermsDetached, TermsIdle, Rotation, Order, Supercell, Seed,
        SeedDraws, SeedNumpy, State, Unlabelled, Watched, Untouched, Half, Parts,
    )
}  # fmt: skip


@pytest.mark.parametrize("law", LAWS)
def test_a_sound_objective_keeps_every_law(law):
    LAWS[law](SoundSettings(), "painn")


@pytest.mark.parametrize("broken", BROKEN)
def test_every_law_catches_a_broken_member(broken):
    (law,) = (law for law in LAWS if broken.lower().startswith(law))
    with pytest.raises(LawBroken):
        LAWS[law](SoundSettings(broken=broken), "painn")


def test_every_law_has_a_broken_member():
    assert all(any(name.lower().startswith(law) for name in BROKEN) for law in LAWS)
