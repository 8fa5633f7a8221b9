"""Coverage: what is far is far for the corpus itself, and says so after saving and loading too."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.spatial import cKDTree
from scipy.stats import spearmanr

from atomprint import api
from atomprint.data.embedded import CORPUS
from atomprint.data.mixing import Corpus
from atomprint.evaluation import corpus_index
from atomprint.evaluation.coverage import CoverageIndex, verdict_of
from atomprint.evaluation.distance_errors import error_against_distance, spearman
from atomprint.evaluation.neighbours import mean_distances
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from tests.toy import toy_crystals

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def corpus():
    return read_crystals(CORPUS).crystals


@pytest.fixture(scope="module")
def index(corpus):
    return CoverageIndex.fit(corpus[::2][:1500])


@pytest.fixture(scope="module")
def others(corpus):
    return corpus[1::2][:500]


def rotated(crystal, seed):
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return crystal.with_geometry(crystal.positions @ turn + 0.3, crystal.cell @ turn)


def doubled(crystal):
    cell = crystal.cell * np.array([2.0, 1.0, 1.0])[:, None]
    positions = np.concatenate([crystal.positions, crystal.positions + crystal.cell[0]])
    return Crystal.make(crystal.id, np.tile(crystal.numbers, 2), cell, positions=positions)


@pytest.mark.parametrize("leave_one_out", [True, False])
def test_distances_are_those_of_a_tree(leave_one_out):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(700, 6))
    rows = points if leave_one_out else rng.normal(size=(650, 6))
    found = mean_distances(rows, points, 5, leave_one_out)
    nearest, _ = cKDTree(points).query(rows, k=6 if leave_one_out else 5)
    wanted = nearest[:, 1:].mean(1) if leave_one_out else nearest.mean(1)
    assert found == pytest.approx(wanted, rel=1e-12)


def test_small_distances_keep_their_digits():
    points = 1e3 + np.arange(6.0)[:, None] * 1e-6 * np.ones((6, 2))
    assert mean_distances(points[:1], points, 2)[0] == pytest.approx(0.5e-6 * 2**0.5, rel=1e-6)


def test_held_out_crystals_of_the_corpus_cannot_be_told_from_it(index, others):
    found = index.measure(others)
    assert found.verdict == "inside"
    assert found.beyond_95 == pytest.approx(0.05, abs=0.03)
    assert found.auc == pytest.approx(0.5, abs=0.04)
    # Percentiles of like from like are spread evenly.
    assert np.quantile(found.percentiles, [0.25, 0.5, 0.75]) == pytest.approx(
        [0.25, 0.5, 0.75], abs=0.08
    )


def test_auc_is_that_of_scikit_learn(index, others):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    found = index.measure(others)
    is_other = np.r_[np.ones(len(others)), np.zeros(len(index.own))]
    wanted = metrics.roc_auc_score(is_other, np.r_[found.distances, index.own])
    assert found.auc == pytest.approx(wanted)


def test_cell_setting_and_direction_play_no_part(index, others):
    few = others[:12]
    wanted = index.measure(few).distances
    turned = [rotated(doubled(c), i) for i, c in enumerate(few)]
    assert index.measure(turned).distances == pytest.approx(wanted, rel=1e-5)


def test_order_of_the_corpus_plays_no_part(corpus, others):
    one = CoverageIndex.fit(corpus[:300]).measure(others[:20])
    other = CoverageIndex.fit(corpus[:300][::-1]).measure(others[:20])
    assert one.distances == pytest.approx(other.distances, rel=1e-6)


@pytest.mark.parametrize("change", ["chemistry", "structure"])
def test_chemistry_and_structure_both_count(index, corpus, change):
    nacl = toy_crystals(1)[0]
    rocksalts = [
        Crystal.make(str(a), [z, 17], nacl.cell * a, frac=[[0, 0, 0], [0.5, 0.5, 0.5]])
        for z in (11, 19)
        for a in np.linspace(0.95, 1.05, 15)
    ]
    index = CoverageIndex.fit(rocksalts)
    # As dense as the others, with other elements; or of the same elements, blown up.
    numbers, factor = ([56, 8], 1.0) if change == "chemistry" else ([11, 17], 1.6)
    far = Crystal.make("far", numbers, nacl.cell * factor, frac=rocksalts[0].frac)
    assert index.measure([far]).percentiles[0] == 1.0
    assert index.measure([far]).distances[0] > 3 * index.own[-1]


def test_a_corpus_of_one_element_finds_others_far(corpus):
    shape = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    frac = [[0, 0, 0], [0.25, 0.25, 0.25]]
    edges = np.linspace(3.5, 3.7, 25)
    carbon = [Crystal.make(f"{a}", [6, 6], a * shape, frac=frac) for a in edges]
    index = CoverageIndex.fit(carbon)
    silicon = Crystal.make("si", [14, 14], carbon[12].cell, frac=carbon[12].frac)
    assert index.measure([silicon]).distances[0] > 10 * index.own[-1]
    assert index.measure([carbon[12]]).distances[0] <= index.own[-1]


@pytest.mark.parametrize(
    ("beyond_95", "beyond_99", "n", "wanted"),
    [
        (0.05, 0.01, 1000, "inside"),
        (0.19, 0.09, 1000, "inside"),
        (0.20, 0.09, 1000, "edge"),
        (0.20, 0.10, 1000, "outside"),
        # One of five, and two of ten, may well be chance.
        (0.20, 0.20, 5, "inside"),
        (0.20, 0.00, 10, "inside"),
        (1.00, 1.00, 5, "outside"),
    ],
)
def test_verdict(beyond_95, beyond_99, n, wanted):
    assert verdict_of(beyond_95, beyond_99, n) == wanted


def test_saved_and_loaded(index, others, tmp_path):
    index.save(tmp_path)
    loaded = CoverageIndex.load(tmp_path)
    assert loaded.about == index.about
    one, other = index.measure(others[:30]), loaded.measure(others[:30])
    assert other.distances == pytest.approx(one.distances, rel=1e-4)
    assert (tmp_path / "coverage.npz").stat().st_size < 2e6


def test_a_broken_index_is_refused(tmp_path):
    (tmp_path / "coverage.npz").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match=r"coverage\.npz: no readable"):
        CoverageIndex.load(tmp_path)


def test_few_crystals_are_refused(corpus, index):
    with pytest.raises(DataError, match="19 crystals"):
        CoverageIndex.fit(corpus[:19])
    with pytest.raises(DataError, match="no crystals"):
        index.measure([])


def test_a_mixture_counts_by_its_weights(corpus, monkeypatch):
    monkeypatch.setattr(corpus_index, "MOST", 100)
    mixture = {"a": Corpus(corpus[:200], 3.0), "b": Corpus(corpus[200:400], 1.0)}
    index = corpus_index.index_of_corpora(mixture)
    assert len(index.points) == 100
    assert index.about == {"n_corpus": 400, "mixture": ["a", "b"]}


class TestRuns:
    """Where the index of a run comes from."""

    def test_pretraining_leaves_it(self, tiny_runs, others):
        index = corpus_index.index_for(tiny_runs / "pretrain")
        assert index.about["n_corpus"] == 40
        assert index.measure(others[:20]).verdict == "outside"

    def test_a_fine_tuned_model_has_that_of_its_source(self, tiny_runs):
        one = corpus_index.index_for(tiny_runs / "tuned-0")
        assert np.array_equal(one.points, corpus_index.index_for(tiny_runs / "pretrain").points)

    def test_an_older_run_gets_one(self, tiny_runs, tmp_path):
        wanted = corpus_index.index_for(tiny_runs / "pretrain")
        (tmp_path / "run.json").write_text((tiny_runs / "pretrain" / "run.json").read_text())
        found = corpus_index.index_for(tmp_path)
        assert found.points == pytest.approx(wanted.points, abs=1e-5)
        assert (tmp_path / "coverage.npz").is_file()

    def test_a_run_without_a_corpus_is_refused(self, tmp_path):
        with pytest.raises(UsageError, match="no run here"):
            corpus_index.index_for(tmp_path)
        about = {"settings": {}, "data": {"source": None}}
        (tmp_path / "run.json").write_text(json.dumps(about))
        with pytest.raises(UsageError, match="from scratch"):
            corpus_index.index_for(tmp_path)

    def test_command(self, shell, tiny_runs, tiny_data, tmp_path):
        out = tmp_path / "far.csv"
        words = ["coverage", tiny_runs / "pretrain", tiny_data / "toy.parquet"]
        status, said, _ = shell(*words, "--out", out)
        assert status == 0
        assert said.startswith("Inside the corpus: ")
        assert len(out.read_text().splitlines()) == 41
        status, said, _ = shell(*words, "--json")
        answer = json.loads(said)
        assert answer["verdict"] == "inside"
        assert len(answer["farthest"]) == 5
        assert said.count("\n") == 1

    def test_api(self, tiny_runs, others):
        found, problems = api.coverage(tiny_runs / "pretrain", others[:30])
        assert found.sentence.startswith("Warning, outside the corpus: ")
        assert found.farthest(1)[0]["distance"] == found.distances.max()
        assert problems == []


class TestErrors:
    """Error against distance."""

    def unit(self, errors):
        ids = [f"c{i}" for i in range(len(errors))]
        return {
            "ids": ids,
            "wanted": [[0.0]] * len(ids),
            "predicted": [[e] for e in errors],
        }

    def test_rank_correlation_is_that_of_scipy(self):
        rng = np.random.default_rng(0)
        one, other = rng.integers(0, 8, 60).astype(float), rng.normal(size=60)
        assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)

    def test_bins_by_hand(self):
        distances = {f"c{i}": float(i) for i in range(10)}
        found = error_against_distance([self.unit([1.0] * 5 + [3.0] * 5)], distances, n_bins=2)
        assert [(b.low, b.high, b.error, b.n) for b in found.bins] == [
            (0, 4, 1.0, 5), (5, 9, 3.0, 5)
        ]  # fmt: skip

    def test_a_crystal_judged_twice_counts_once(self):
        distances = {f"c{i}": float(i) for i in range(10)}
        units = [self.unit([1.0] * 10), self.unit([3.0] * 10)]
        found = error_against_distance(units, distances, n_bins=1)
        assert (found.n, found.bins[0].error) == (10, 2.0)

    def test_the_interval_holds_the_truth_as_often_as_it_says(self):
        rng = np.random.default_rng(1)
        # Of a binormal pair with correlation r, Spearman's is 6 / pi asin(r / 2).
        truth, hits = 6 / np.pi * np.arcsin(0.25), 0
        for _ in range(100):
            a = rng.normal(size=150)
            b = 0.5 * a + 0.75**0.5 * rng.normal(size=150)
            distances = {f"c{i}": float(v) for i, v in enumerate(a)}
            found = error_against_distance([self.unit(b + 10)], distances, n_draws=200)
            assert found.correlation.low is not None
            hits += found.correlation.low <= truth <= found.correlation.high
        assert 88 <= hits <= 100

    def test_classes_count_what_the_right_one_lacked(self):
        unit = {"ids": [str(i) for i in range(10)], "wanted": [[1.0]] * 10,
                "predicted": [[0.3, 0.7]] * 10}  # fmt: skip
        found = error_against_distance([unit], {str(i): i for i in range(10)}, n_bins=1)
        assert found.bins[0].error == pytest.approx(0.3)


@pytest.mark.data
@pytest.mark.skipif(
    not DATA.is_dir(), reason="the real data sets are not beside the checkout (../shared/data)"
)
def test_real_sets(tmp_path):
    def some(name, n):
        # Only what is drawn is read as crystals: a set has up to tens of thousands.
        table = pq.read_table(DATA / f"{name}.parquet")
        order = np.random.default_rng(0).permutation(len(table))
        pq.write_table(table.take(order[:n]), tmp_path / f"{name}.parquet")
        crystals = read_crystals(tmp_path / f"{name}.parquet").crystals
        assert len(crystals) > 0.95 * n
        return crystals

    mp = some("mp", 6000)
    index = CoverageIndex.fit(mp[:5000])
    assert index.measure(mp[5000:]).verdict == "inside"
    for name, wanted in (
        ("matbench_phonons", "inside"),
        ("mp_elastic", "inside"),
        ("carbon", "outside"),
        ("qmof", "outside"),
    ):
        assert index.measure(some(name, 300)).verdict == wanted, name
