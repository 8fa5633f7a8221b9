"""How fast a run says it is."""

import csv
import json

import pytest

from atomprint.training import loop
from atomprint.training.pretrain import pretrain
from tests.toy import toy_crystals
from tests.training.tiny import tiny_pretraining


class Clock:
    """A clock that goes on only when told to."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


def test_speeds_are_those_of_steps_alone(tmp_path, monkeypatch):
    """A step takes 2 s here, and validation and checkpoints 100 s each, which do not count."""
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    taken, validate, sums = [], loop.Trainer._validate, loop._Speed.count

    def slow(self, evaluate):
        clock.now += 100
        return validate(self, evaluate)

    def step(self, batch):
        clock.now += 2
        taken.append((batch.graph.n_crystals, batch.graph.n_atoms))
        sums(self, batch)

    monkeypatch.setattr(loop.Trainer, "_validate", slow)
    monkeypatch.setattr(loop._Speed, "count", step)
    save = "atomprint.training.pretrain.save_state"
    monkeypatch.setattr(save, lambda *_: setattr(clock, "now", clock.now + 100))
    settings = tiny_pretraining(n_steps=6)
    every = {"log_every": 3, "evaluate_every": 2, "checkpoint_every": 2}
    settings = settings.model_copy(update={"loop": settings.loop.model_copy(update=every)})
    seen = []
    pretrain(toy_crystals(40), settings, tmp_path / "run", progress=lambda *told: seen.append(told))

    speeds = [numbers for _, _, numbers in seen if "crystals/s" in numbers]
    assert len(speeds) == 2
    for k, numbers in enumerate(speeds):
        crystals, atoms = map(sum, zip(*taken[3 * k : 3 * k + 3], strict=True))
        assert numbers["crystals/s"] == pytest.approx(crystals / 6)
        assert numbers["atoms/s"] == pytest.approx(atoms / 6)

    (log,) = (tmp_path / "run").glob("logs/*/metrics.csv")
    with log.open() as file:
        logged = [row for row in csv.DictReader(file) if row["crystals/s"]]
    assert [float(row["crystals/s"]) for row in logged] == pytest.approx(
        [numbers["crystals/s"] for numbers in speeds]
    )
    history = json.loads((tmp_path / "run" / "history.json").read_text())["rows"]
    assert not any("crystals/s" in row for row in history)  # the same in every run
