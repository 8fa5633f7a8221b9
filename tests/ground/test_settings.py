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
            "f.yaml: unknown setting 'model.backbone.cutof'; did you mean 'cutoff'?",
        ),
        (
            {"objectives": [{"kind": "masking"}, {"kind": "fingerprints", "clop": 3}]},
            "f.yaml: unknown setting 'objectives.1.clop'; did you mean 'clip'?",
        ),
        (
            {
                "objectives": [
                    {"kind": "fingerprints", "fingerprints": [{"kind": "ead", "lmax": 1}]}
                ]
            },
            "f.yaml: unknown setting 'objectives.0.fingerprints.0.lmax'; did you mean 'l_max'?",
        ),
        (
            {"model": {"backbone": {"cutoff": 3}}},
            "f.yaml: setting 'model.backbone' needs a kind; add kind: et or kind: painn",
        ),
        (
            {"objectives": [{"kind": "fingerprints", "fingerprints": [{"cutoff": 3}]}]},
            "f.yaml: setting 'objectives.0.fingerprints.0' needs a kind; add kind: acsf or kind: ",
        ),
        ({"objectives": [{"weight": 2}]}, "needs a kind; add kind: "),
        (
            {"objective": {"fingerprints": [{"kind": "ead"}]}},
            "f.yaml: unknown setting 'objective'; did you mean 'objectives'?",
        ),
        (
            {"objectives": [{"kind": "denoising"}], "perturbation": {"rattle": 0}},
            "f.yaml: denoising has nothing to predict where perturbation.rattle is 0; ",
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
