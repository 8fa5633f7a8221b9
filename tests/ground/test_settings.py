"""Settings: unknown keys, wrong values and missing kinds are one sentence with a way out."""

import pytest

from atomprint.ground.errors import UsageError
from atomprint.ground.settings import validate
from atomprint.training.pretrain import PretrainSettings


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"loop": {"n_step": 5}}, "f.yaml: unknown setting 'loop.n_step'; did you mean 'n_steps'?"),
        ({"lop": {}}, "f.yaml: unknown setting 'lop'; did you mean 'loop'?"),
        (
            {"model": {"backbone": {"kind": "painn", "cutof": 3}}},
            "did you mean 'cutoff'?",
        ),
        (
            {"model": {"backbone": {"cutoff": 3}}},
            "f.yaml: setting 'model.backbone' needs a kind; add kind: et or kind: painn",
        ),
        (
            {"objective": {"fingerprints": [{"cutoff": 3}]}},
            "needs a kind; add kind: acsf or kind: adf or ",
        ),
        ({"loop": {"n_steps": -5}}, "f.yaml: setting 'loop.n_steps': Input should be greater"),
        ({"loop": {"n_steps": "many"}}, "f.yaml: setting 'loop.n_steps': Input should be a valid"),
    ],
)
def test_mistakes_are_one_sentence(values, words):
    with pytest.raises(UsageError) as caught:
        validate(PretrainSettings, values, "f.yaml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
