"""Runs that one process and several must end with the same weights of.

RANK=0 WORLD_SIZE=2 ... python -m tests.training.shared_runs FOLDER
"""

import sys
from pathlib import Path

import numpy as np

from atomprint.data.mixing import Corpus
from atomprint.training.loop import Trainer
from atomprint.training.pretrain import PretrainSettings, pretrain
from tests.toy import toy_crystals
from tests.training.tiny import tiny_pretraining

N_STEPS = 14


def crystals():
    """Toy crystals with labels of every sort, of which some lack some."""
    rng = np.random.default_rng(0)
    found = []
    for index, crystal in enumerate(toy_crystals(30)):
        labels = {
            "energy": crystal.n_atoms * rng.normal(),
            "forces": rng.normal(size=(crystal.n_atoms, 3)),
            "features": rng.normal(size=(crystal.n_atoms, 5)),
            "gap": rng.normal(),
        }
        if index % 3 == 0:
            labels = {name: labels[name] for name in ("energy",)}
        found.append(crystal.with_labels(labels))
    return found


def settings_of(objectives, **more):
    """A tiny run on these objectives."""
    values = tiny_pretraining(n_steps=N_STEPS).model_dump()
    values["perturbation"] = {"rattle": 0.05, "strain": 0.02, "clean": 0.2}
    loop = values["loop"] | more.pop("loop", {})
    return PretrainSettings.model_validate(values | {"objectives": objectives, "loop": loop} | more)


FINGERPRINTS = {**tiny_pretraining().objectives[0].model_dump()}
MANY = [
    {**FINGERPRINTS, "components": 4},
    {"kind": "masking", "fraction": 0.3, "start": 0.3},
    {"kind": "denoising", "by": "energy", "strain": True, "stop": 0.6},
    {"kind": "conditioned"},
    {"kind": "labels", "names": ["gap"]},
    {"kind": "distillation", "teacher": {"kind": "ema"}, "hidden": 0.3},
]
RUNS = {
    "many": settings_of(MANY),
    "balanced": settings_of(MANY, task_weights="balance"),
    "forces": settings_of(
        [
            {"kind": "forces"},
            {
                "kind": "distillation",
                "teacher": {"kind": "label", "name": "features", "n_features": 5},
            },
        ],
        perturbation={"rattle": 0.0},
        task_weights="fixed",
    ),
    # The last batch of an epoch is smaller than the number of processes.
    "few": settings_of([FINGERPRINTS, {"kind": "denoising"}], loop={"batch": {"max_crystals": 1}}),
    "patient": settings_of(
        [FINGERPRINTS],
        loop={
            "evaluate_every": 2,
            "patience": 1,
            "optimizer": {"learning_rate": 0.3, "ema_decay": 0.9},
        },
    ),
}
# Those that are run by processes that hold shards of the weights, too.
SHARDED = ("many", "balanced", "forces", "few", "patient")


class Halt(Exception):
    """Ends a run as a crash would."""


def halt(step, total, numbers):
    """Crash after a checkpoint."""
    if step == 8:
        raise Halt


def start(out):
    """Half a run, which ends after its checkpoint of step 5."""
    try:
        pretrain(crystals(), RUNS["many"], out / "many", progress=halt)
    except Halt:
        return
    raise SystemExit("nothing halted")


def finish(out, strategy="ddp"):
    """The rest of it."""
    return pretrain(crystals(), by_strategy("many", strategy), out / "many", resume=True)


def by_strategy(name, strategy):
    """Settings of a run whose processes hold shards, or all."""
    loop = RUNS[name].loop.model_copy(update={"strategy": strategy})
    return RUNS[name].model_copy(update={"loop": loop})


def main_sharded(out, halves):
    """Runs of several processes with a shard of the weights each, and the rest of a begun one."""
    trainers = []
    init = Trainer.__init__

    def watched(self, *args):
        init(self, *args)
        trainers.append(self)

    Trainer.__init__ = watched
    for name in SHARDED:
        pretrain(crystals(), by_strategy(name, "fsdp"), out / name)
    finish(halves, "fsdp")
    for trainer in trainers:
        held = [p for group in trainer.optimizer.param_groups for p in group["params"]]
        moments = [trainer.optimizer.state[p]["exp_avg_sq"] for p in held if p.grad is not None]
        for values in (held, list(trainer.averaged.values()), moments):
            own = sum(v.to_local().numel() for v in values)
            assert 0.3 < own / sum(v.numel() for v in values) < 0.7, (own, len(values))


def main(out, halves):
    """All runs, a run of two corpora, and the rest of one that another process began."""
    for name, settings in RUNS.items():
        result = pretrain(crystals(), settings, out / name)
        assert len(result.history) > 1
    half = len(crystals()) // 2
    corpora = {"a": Corpus(crystals()[:half], 2.0), "b": Corpus(crystals()[half:])}
    pretrain(corpora, settings_of([FINGERPRINTS]), out / "mixed")
    finish(halves)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    main(folder / "two", folder / "elastic")
    main_sharded(folder / "sharded", folder / "elastic-sharded")
