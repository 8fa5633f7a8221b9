"""The estimate of a dry run is steps times the time of one, whatever is done once."""

from types import SimpleNamespace

import pytest

from atomprint.evaluation import evaluate
from atomprint.evaluation.evaluate import estimate
from atomprint.evaluation.networks import Network, networks
from atomprint.training.finetune import FinetuneSettings
from tests.evaluation.competitors import Mean, evaluation


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("once", [0.0, 100.0])
def test_what_is_done_once_does_not_count(tmp_path, monkeypatch, once, refit):
    clock = [0.0]
    compiled = []

    def fit_predict(self, train, test, target, seed, progress=None):
        # The very first call compiles.
        assert not self.settings.refits
        clock[0] += once + 0.5 * self.settings.n_steps + (0 if compiled else 1000)
        compiled.append(True)

    monkeypatch.setattr(Network, "fit_predict", fit_predict)
    monkeypatch.setattr(evaluate, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    settings = FinetuneSettings(n_steps=300, learning_rates=(1e-3, 2e-3), refit=refit, n_members=3)
    arms = [Mean(), *networks(["atomprint/tiny"], settings)]
    found = estimate(evaluation(arms=arms), tmp_path)
    # 4 folds x 2 networks x 300 steps x 2 rates, and three members, of which one is of the grid
    # where nothing is trained once more.
    assert found["seconds"] == pytest.approx(4 * 2 * 300 * 0.5 * (2 + (3 if refit else 2)))
    assert (found["n_units"], found["n_pending"], found["n_other"]) == (12, 12, 4)
