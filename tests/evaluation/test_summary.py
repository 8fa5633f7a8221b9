"""The summary says what the units hold, the most important first."""

import json

import numpy as np
import pytest

from atomprint.evaluation.arms import Fitted
from atomprint.evaluation.chemistry import anion_class, heaviest_period
from atomprint.evaluation.evaluate import run, write_about
from atomprint.evaluation.protocols import Curve, KFold
from atomprint.evaluation.summary import _spread, summarize_evaluation
from atomprint.ground.errors import UsageError
from tests.evaluation.competitors import Mean, evaluation


class Oracle(Mean):
    """Knows the law of the toy labels; its error falls with the number of labels as asked."""

    def __init__(self, name, kind, error):
        super().__init__(name)
        self.kind, self.error = kind, error

    def identity(self):
        return {"model": "one", "error": self.name}

    def fit_predict(self, train, test, target, seed, progress=None):
        truth = np.array([[np.mean(c.numbers)] for c in test])
        sign = np.where(np.arange(len(test)) % 2, 1.0, -1.0)[:, None]
        wrong = self.error(len(train)) * (1 + 0.01 * seed)
        return Fitted(truth + sign * wrong, n_parameters=7)


def arms(scratch=0.4, pretrained=0.3, baseline=0.8):
    return [
        Oracle("from scratch", "scratch", lambda n: scratch),
        Oracle("run", "pretrained", lambda n: pretrained),
        Oracle("forest", "baseline", lambda n: baseline),
    ]


def summarized(folder, competitors, protocol=None, n=40, stop=None):
    one = evaluation(n=n, arms=competitors, protocol=protocol or KFold(n_folds=5))
    write_about(one, folder)
    run(one, folder)
    if stop:
        (folder / "units" / stop).unlink()
    return summarize_evaluation(folder)


def test_rows_are_the_units(tmp_path):
    summary = summarized(tmp_path, arms())
    assert [row.arm for row in summary.rows] == ["run", "from scratch", "forest"]
    best = summary.rows[0]
    assert best.value == pytest.approx(0.3)
    assert (best.n_labels, best.n_splits, best.n_parameters) == (32, 5, 7)
    assert best.twin == "from scratch"
    assert best.gain.value == pytest.approx(0.25)
    assert (best.n_won, best.n_compared) == (5, 5)
    assert summary.rows[1].gain is None
    assert summary.complete
    assert summary.verdict[0].startswith("run, beside its from-scratch twin: better in 5 of 5")
    written = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert written == summary.model_dump(mode="json")


def test_a_baseline_that_wins_comes_first(tmp_path):
    summary = summarized(tmp_path, arms(baseline=0.1))
    assert summary.verdict[0] == (
        "A cheap baseline wins: forest has MAE 0.1 eV, the best network (run) 0.3 eV."
    )


def test_what_is_missing_is_said_before_all(tmp_path):
    summary = summarized(tmp_path, arms(), stop="run--fold-3.json")
    assert not summary.complete
    assert summary.missing == ("run, fold 3",)
    assert summary.verdict[0].startswith("Not finished: 1 of 15 units")
    # The others are compared on what both have.
    assert summary.rows[0].n_compared == 4


def test_labels_saved_by_hand(tmp_path):
    # Error 8 / n from scratch and 2 / n pre-trained: a quarter of the labels.
    competitors = [
        Oracle("from scratch", "scratch", lambda n: 8 / n),
        Oracle("run", "pretrained", lambda n: 2 / n),
    ]
    protocol = Curve(n_labels=(10, 20, 40, 80), n_seeds=3)
    summary = summarized(tmp_path, competitors, protocol, n=100)
    (saved,) = summary.saved
    assert saved.n_labels == 80
    assert saved.needed.value == pytest.approx(20, rel=1e-6)
    assert saved.share.value == pytest.approx(0.25, rel=1e-6)
    # Seeds differ by 1 % in error, and so by 1 % in labels.
    assert (
        "run needs 20 (95 % interval 20 to 20) labels for the error that its twin has with 80."
        in summary.verdict
    )
    assert saved.needed.low < 20 < saved.needed.high
    assert {row.n_labels for row in summary.rows} == {10, 20, 40, 80}


@pytest.mark.parametrize(
    ("baseline", "sentence"),
    [
        (
            lambda n: 0.1,
            "A cheap baseline wins with 10 and 20 labels, and with 80 the best network (run): "
            "0.02525 eV, against 0.101 eV of forest.",
        ),
        (
            lambda n: 1 / n,
            "A cheap baseline wins with 10, 20 and 80 labels: forest has MAE 0.01262 eV with 80, "
            "the best network (run) 0.02525 eV.",
        ),
        (lambda n: 1 / (n - 70) if n > 70 else 9, None),
    ],
)
def test_where_on_a_curve_a_baseline_wins(tmp_path, baseline, sentence):
    competitors = [
        Oracle("from scratch", "scratch", lambda n: 8 / n),
        Oracle("run", "pretrained", lambda n: 2 / n),
        Oracle("forest", "baseline", baseline),
    ]
    protocol = Curve(n_labels=(10, 20, 80), n_seeds=3)
    summary = summarized(tmp_path, competitors, protocol, n=100)
    if sentence is None:
        assert not any("cheap baseline wins" in text for text in summary.verdict)
        assert "The best cheap baseline, forest, has 0.101 eV." in summary.verdict
    else:
        assert summary.verdict[0] == sentence
    assert any(
        text.startswith("run, beside its from-scratch twin with 80 labels: better in 3 of 3")
        for text in summary.verdict
    )


def test_a_spread_is_none_of_one_and_zero_of_rounding():
    assert _spread([0.3]) is None
    assert _spread([0.26923295991069457, 0.2692329599106945]) == 0
    assert _spread([1.0, 2.0]) == pytest.approx(0.5**0.5)


def test_errors_by_chemistry(tmp_path):
    summary = summarized(tmp_path, arms())
    mine = [row for row in summary.chemistry if row.arm == "run"]
    # The toy's crystals are oxides, but for one of oxygen and oxygen.
    assert {row.group for row in mine if row.by == "anion"} <= {"oxides", "elements", "fluorides"}
    for by in ("anion", "heaviest element"):
        assert sum(row.n_crystals for row in mine if row.by == by) == 40
    assert all(row.value == pytest.approx(0.3) for row in mine)


@pytest.mark.parametrize(
    ("formula", "anion", "period"),
    [
        ("SrTiO3", "oxides", "period 5"),
        ("LiCoO2F", "fluorides", "period 4"),
        ("GaN", "nitrides", "period 4"),
        ("Cu3Au", "intermetallics and the rest", "period 6"),
        ("Si", "elements", "period 3"),
    ],
)
def test_classes_of_compounds(formula, anion, period):
    assert (anion_class(formula), heaviest_period(formula)) == (anion, period)


def test_a_folder_without_an_evaluation_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no evaluation"):
        summarize_evaluation(tmp_path)
