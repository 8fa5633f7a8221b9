"""How often a run validates."""

import pytest

from atomprint.training.pretrain import pretrain
from atomprint.training.settings import LoopSettings
from tests.toy import toy_crystals
from tests.training.tiny import tiny_pretraining


@pytest.mark.parametrize(
    ("n_steps", "evaluate_every", "expected"),
    [(15_000, 0, 375), (400, 0, 10), (100, 0, 10), (100, 7, 7), (15_000, 50, 50)],
)
def test_forty_times_unless_the_settings_say_otherwise(n_steps, evaluate_every, expected):
    loop = LoopSettings(n_steps=n_steps, evaluate_every=evaluate_every)
    assert loop.validation_interval == expected


def test_a_run_validates_when_its_settings_say_and_at_its_end():
    settings = tiny_pretraining(n_steps=25)
    loop = settings.loop.model_copy(update={"evaluate_every": 0})
    history = pretrain(toy_crystals(20), settings.model_copy(update={"loop": loop})).history
    assert [int(line["step"]) for line in history if "valid/value" in line] == [10, 20, 25]
