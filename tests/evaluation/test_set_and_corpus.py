"""What an evaluation records of the corpora behind its runs, and what is said of it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from atomprint.data.embedded import CORPUS
from atomprint.evaluation import set_and_corpus
from atomprint.evaluation.coverage import CoverageIndex
from atomprint.evaluation.evaluate import Evaluation, run, write_about
from atomprint.evaluation.protocols import KFold, cases
from atomprint.evaluation.set_and_corpus import beside_corpora
from atomprint.evaluation.summary import summarize_evaluation
from atomprint.evaluation.summary_rows import ArmRow, CoverageRow
from atomprint.evaluation.verdict import verdict
from atomprint.structures.reading import read_crystals
from tests.evaluation.competitors import TARGET, labelled
from tests.evaluation.folder import Noisy
from tests.toy import toy_crystals


@pytest.fixture(scope="module")
def index():
    return CoverageIndex.fit(toy_crystals(80))


@pytest.fixture
def source(index, tmp_path):
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    index.save(folder)
    return str(folder)


def evaluation(crystals):
    protocol = KFold(n_folds=4)
    truth = {c.id: c.labels["y"] for c in crystals}
    arms = [
        Noisy("from scratch", "scratch", truth, 1.0),
        Noisy("runs/mine", "pretrained", truth, 0.7),
    ]
    return Evaluation({"name": "t"}, crystals, TARGET, protocol, cases(protocol, crystals), arms)


def known(n, seed):
    """Crystals of the corpus's kind: no warning."""
    return [c.with_labels({"y": c.labels["energy"]}) for c in toy_crystals(n, seed)]


def numbered(crystals):
    return [replace(c, id=f"c-{i:04d}") for i, c in enumerate(crystals)]


def test_every_judged_crystal_has_its_distance(source, tmp_path):
    crystals = labelled(40)
    found = beside_corpora(evaluation(crystals), [source], tmp_path)
    (entry,) = found["coverage"]
    assert entry["runs"] == ["runs/mine"]
    assert entry["corpus"]["n_corpus"] == 80
    wanted = CoverageIndex.load(tmp_path / "runs" / "mine").measure(crystals)
    for id, far, share in zip(wanted.ids, wanted.distances, wanted.percentiles, strict=True):
        assert entry["distances"][id] == pytest.approx(far, abs=1e-4)
        assert entry["percentiles"][id] == pytest.approx(share, abs=1e-4)
    assert "leakage" not in found
    json.dumps(found)


def test_runs_of_one_corpus_share_an_entry_and_nothing_is_done_twice(
    source, tmp_path, monkeypatch, index
):
    one = evaluation(labelled(40))
    other = tmp_path / "runs" / "other"
    other.mkdir()
    index.save(other)
    alone = tmp_path / "runs" / "alone"
    alone.mkdir()
    (alone / "run.json").write_text(json.dumps({"data": {}, "settings": {"data": "x.cif"}}))
    folder = tmp_path / "out"
    one.extra.update(beside_corpora(one, [source, str(other), str(alone)], folder))
    write_about(one, folder)
    about = json.loads((folder / "evaluation.json").read_text())
    assert [entry["runs"] for entry in about["coverage"]] == [
        ["runs/mine", "runs/other"],
        ["runs/alone"],
    ]
    assert about["coverage"][1]["verdict"] is None
    assert "atomprint coverage" in about["coverage"][1]["sentence"]
    # What cannot be said is asked again, as the file may be there by then; what is known is not.
    asked = []
    monkeypatch.setattr(set_and_corpus, "index_at_hand", lambda path: asked.append(path.name))
    again = beside_corpora(one, [source, str(other), str(alone)], folder)
    assert asked == ["alone"]
    assert again["coverage"][0] == about["coverage"][0]


def test_leaks_into_shipped_checkpoints_are_looked_for(tmp_path, monkeypatch, index):
    monkeypatch.setattr(set_and_corpus, "index_at_hand", lambda path: index)
    stolen = read_crystals(CORPUS).crystals[17]
    crystals = [*labelled(20), stolen.with_labels({"y": 1.0})]
    found = beside_corpora(evaluation(numbered(crystals)), ["atomprint/tiny"], tmp_path)
    assert found["leakage"]["ids"] == ["c-0020"]
    assert found["leakage"]["corpus"] == "embedded"
    one = evaluation(numbered(crystals))
    one.extra["leakage"] = {"n_leaked": 0}
    assert "leakage" not in beside_corpora(one, ["atomprint/tiny"], tmp_path)


@pytest.mark.parametrize("outside", [True, False])
def test_the_verdict_warns_of_sets_that_lie_outside(source, tmp_path, outside):
    crystals = numbered(labelled(60) if outside else known(60, 5))
    one = evaluation(crystals)
    folder = tmp_path / "out"
    one.extra.update(beside_corpora(one, [source], folder))
    write_about(one, folder)
    run(one, folder)
    summary = summarize_evaluation(folder)
    (row,) = summary.coverage
    assert (row.verdict == "outside") == outside
    warnings = [text for text in summary.verdict if "outside the corpus" in text]
    assert warnings == ([f"runs/mine. {row.sentence}"] if outside else [])
    # Errors by distance: fifths of the crystals, whose mean is the mean error.
    assert [(r.corpus, r.arm, r.n_crystals) for r in summary.by_distance] == [
        (0, a.arm, 60) for a in summary.rows
    ]
    for one_row, arm in zip(summary.by_distance, summary.rows, strict=True):
        assert [b.n_crystals for b in one_row.bins] == [12] * 5
        assert np.mean([b.value for b in one_row.bins]) == pytest.approx(arm.value)
        assert all(a.high <= b.low for a, b in zip(one_row.bins, one_row.bins[1:], strict=False))


def test_only_sets_outside_are_warned_of():
    row = ArmRow(
        arm="a", kind="baseline", n_labels=5, n_splits=1, value=1.0, spread=None, values={},
        seconds=1, cpu_seconds=1, seconds_per_label=1, peak_mib=1, n_parameters=0,
    )  # fmt: skip
    coverage = [
        CoverageRow(
            runs=(f"run {kind}",), verdict=kind, sentence="S.", n_corpus=9,
            beyond_95=None, beyond_99=None, auc=None,
        )
        for kind in ("inside", "edge", "outside", None)
    ]  # fmt: skip
    task = {"unit": "eV", "metric": "MAE"}
    said = verdict([row], [], [], 1, task, False, coverage)
    assert [text for text in said if "run" in text] == ["run outside. S."]
