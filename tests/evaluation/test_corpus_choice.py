"""Choosing a corpus: the one whose crystals are like the set's."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from atomprint.api import suggest_corpus
from atomprint.data.building import MixSettings, build
from atomprint.data.embedded import CORPUS
from atomprint.data.sources import SOURCES
from atomprint.data.sources.blocks import Block, BlockSource, need, record_of
from atomprint.evaluation import corpus_choice
from atomprint.evaluation.corpus_choice import suggest
from atomprint.evaluation.coverage import crystal_rows
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.reading import read_crystals
from atomprint.structures.writing import write_parquet
from tests.toy import toy_crystals

CORPORA = import_module("atomprint.api.corpora")
"""The package has a verb of that name."""


@pytest.fixture(scope="module")
def kinds():
    """Oxides and metals of the embedded corpus, each in two halves."""
    crystals = read_crystals(CORPUS).crystals[:1200]
    oxides = [c for c in crystals if 8 in c.numbers][:160]
    others = {8, 7, 9, 16, 17, 35, 53, 1, 6, 15}
    metals = [c for c in crystals if not others & set(c.numbers.tolist())][:160]
    return {"oxides": (oxides[::2], oxides[1::2]), "metals": (metals[::2], metals[1::2])}


def test_the_corpus_of_the_same_kind_is_chosen(kinds):
    corpora = {name: halves[0] for name, halves in kinds.items()}
    for name, (_, mine) in kinds.items():
        found = suggest(mine, corpora)
        assert found.candidates[0].name == name
        assert found.candidates[0].weight > 0.9
        assert found.candidates[0].covered > 0.8
        assert found.candidates[0].distance < found.candidates[1].distance


def test_a_mix_covers_what_its_parts_cover(kinds, monkeypatch):
    """And not what a candidate does that is no part of it."""
    monkeypatch.setattr(corpus_choice, "LEAST_SHARE", 0.2)
    corpora = {name: halves[0] for name, halves in kinds.items()}
    found = suggest(kinds["metals"][1] + kinds["oxides"][1][:8], corpora)
    assert [one.weight for one in found.candidates] == [1.0, 0.0]
    assert found.covered == found.candidates[0].covered < 1
    assert found.candidates[1].covered > 0


def test_a_set_of_two_kinds_gets_a_mix_in_their_shares(kinds):
    corpora = {name: halves[0] for name, halves in kinds.items()}
    mine = kinds["oxides"][1][:60] + kinds["metals"][1][:20]
    found = suggest(mine, corpora)
    weights = {one.name: one.weight for one in found.candidates}
    assert weights["oxides"] == pytest.approx(0.75, abs=0.1)
    assert sum(weights.values()) == pytest.approx(1)
    assert "covers" in found.sentence


@pytest.fixture(scope="module")
def known():
    """Crystals of the embedded corpus in random order, and their rows by id."""
    crystals = read_crystals(CORPUS).crystals
    order = np.random.default_rng(5).permutation(len(crystals))[:2200]
    chosen = [crystals[int(index)] for index in order]
    return chosen, {c.id: row for c, row in zip(chosen, crystal_rows(chosen), strict=True)}


@pytest.fixture
def drawn(known, monkeypatch):
    """Crystals whose rows are not computed again for each test."""
    chosen, rows = known
    monkeypatch.setattr(
        corpus_choice, "crystal_rows", lambda part, count: np.array([rows[c.id] for c in part])
    )
    return list(chosen)


def test_corpora_of_one_distribution_weigh_the_same_whatever_their_sizes(drawn):
    rng = np.random.default_rng(2)
    weights = []
    for _ in range(6):
        rng.shuffle(drawn)
        found = suggest(drawn[1600:1800], {"small": drawn[:100], "large": drawn[100:1600]}, seed=1)
        weights.append({one.name: one.weight for one in found.candidates}["small"])
    # One split has a standard deviation of 0.04, that of 100 crystals.
    assert np.mean(weights) == pytest.approx(0.5, abs=0.06)
    assert weights == pytest.approx([0.5] * 6, abs=0.15)


def test_distances_are_of_as_many_crystals_of_each(drawn):
    found = suggest(drawn[1600:1800], {"small": drawn[:100], "large": drawn[100:1600]})
    small, large = sorted(found.candidates, key=lambda one: one.n_crystals)
    assert small.distance == pytest.approx(large.distance, rel=0.05)
    assert (small.n_crystals, large.n_crystals) == (100, 1500)


def test_a_nearer_corpus_weighs_more_although_it_is_smaller(drawn):
    oxides = [c for c in drawn if 8 in c.numbers]
    others = [c for c in drawn if 8 not in c.numbers]
    corpora = {"few oxides": oxides[:60], "the rest": others[:1000]}
    found = suggest(oxides[100:200], corpora)
    assert found.candidates[0].name == "few oxides"
    assert found.candidates[0].weight > 0.9


def test_a_corpus_that_is_given_twice_counts_half(drawn):
    found = suggest(drawn[:100], {"one": drawn[100:400], "two": drawn[100:400]})
    assert [one.weight for one in found.candidates] == pytest.approx([0.5, 0.5])


def test_nothing_near_is_said(kinds):
    mine = [c.with_geometry(c.positions * 1.6, c.cell * 1.6) for c in kinds["oxides"][1]]
    found = suggest(mine, {"metals": kinds["metals"][0]})
    assert found.covered < 0.5
    assert found.sentence.startswith("No candidate is near")


def test_the_proposal_is_a_mix_that_can_be_built(kinds, tmp_path):
    import yaml

    paths = {}
    for name, (corpus, mine) in kinds.items():
        paths[name] = tmp_path / f"{name}.parquet"
        write_parquet(paths[name], corpus)
        write_parquet(tmp_path / f"my-{name}.parquet", mine)
    found = suggest_corpus(
        tmp_path / "my-metals.parquet", list(paths.values()), tmp_path / "mix.yaml"
    )
    text = (tmp_path / "mix.yaml").read_text()
    assert found.sentence in text
    mix = MixSettings.model_validate(yaml.safe_load(text))
    assert mix.parts["metals"].path == str(paths["metals"])
    assert mix.parts["metals"].weight > 0.9


def test_what_cannot_be_compared_is_refused(kinds):
    with pytest.raises(UsageError, match="no corpus to choose from"):
        suggest(kinds["oxides"][0], {})
    with pytest.raises(DataError, match="few: has 3 crystals"):
        suggest(kinds["oxides"][0], {"few": kinds["oxides"][1][:3]})
    with pytest.raises(DataError, match="no crystals"):
        suggest([], {"some": kinds["oxides"][0]})


MAKERS = ["generated", "derived", "slabs", "layers", "frameworks", "molecules"]


def wide(crystals):
    return [c.with_geometry(c.positions * 1.3, c.cell * 1.3) for c in crystals]


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Sources that make toy crystals, wide ones for layers, and a file of others that are wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(CORPORA, "SAMPLE", 30)

    def block(source, number):
        seed = 1000 * MAKERS.index(source.kind) + 10 * source.seed + number
        made = [replace(c, id=f"{number}-{c.id}") for c in toy_crystals(20, seed)]
        return Block([record_of(c) for c in (wide(made) if source.kind == "layers" else made)])

    for kind in MAKERS:
        monkeypatch.setattr(SOURCES[kind], "block", block)
        monkeypatch.setattr(SOURCES[kind], "prepare", BlockSource.prepare)
    write_parquet(tmp_path / "mine.parquet", wide(toy_crystals(40, seed=77)))
    return tmp_path / "mine.parquet"


def lacking(monkeypatch, kind):
    def prepare(source, around):
        need(("no_such_package",), "making these", "extra")

    monkeypatch.setattr(SOURCES[kind], "prepare", prepare)


def test_without_a_name_all_that_needs_no_network_is_judged(quick, monkeypatch):
    (quick.parent / "slabs").mkdir()  # of that name, but not meant
    lacking(monkeypatch, "molecules")
    notes, stages = [], []
    found = suggest_corpus(
        quick, tell=notes.append, progress=lambda stage, *_: stages.append(stage)
    )
    assert {one.name for one in found.candidates} == {"embedded", *MAKERS} - {"molecules"}
    assert found.candidates[0].name == "layers"
    assert {one.n_crystals for one in found.candidates} == {6500, 40}
    assert "make layers" in stages
    assert notes == [
        "molecules is passed over: making these needs no_such_package, which is not installed: "
        "pip install atomprint[extra]"
    ]


def test_the_proposal_names_the_kind_and_can_be_built(quick):
    import yaml

    found = suggest_corpus(quick, ["generated", "layers"], "mix.yaml", seed=3)
    assert found.candidates[0].weight > 0.9
    parts = yaml.safe_load((quick.parent / "mix.yaml").read_text())["parts"]
    assert parts["layers"]["source"] == {"kind": "layers", "seed": 3}
    built = build(MixSettings.model_validate({"parts": parts}), 25, quick.parent / "built")
    assert sum(c.id.startswith("layers/") for c in built.store) > 20


def test_what_is_made_is_a_function_of_the_seed(quick):
    names = ["derived", "layers"]
    first = suggest_corpus(quick, names, seed=1)
    assert suggest_corpus(quick, names, seed=1) == first
    assert suggest_corpus(quick, names, seed=2) != first


def test_a_kind_that_is_named_is_refused_where_it_cannot_be_had(quick, monkeypatch):
    lacking(monkeypatch, "molecules")
    with pytest.raises(UsageError, match=r"needs no_such_package.*atomprint\[extra\]"):
        suggest_corpus(quick, ["layers", "molecules"])
    with pytest.raises(UsageError, match="corpus fetch cod --n 500"):
        suggest_corpus(quick, ["cod"])
    with pytest.raises(UsageError, match="did you mean 'frameworks'"):
        suggest_corpus(quick, ["framework"])


def test_a_path_that_is_called_like_a_kind_is_the_path(quick):
    write_parquet(quick.parent / "other.parquet", toy_crystals(25))
    (quick.parent / "other.parquet").rename(quick.parent / "slabs")
    with pytest.raises(UsageError, match="'slabs' is of no known type"):
        suggest_corpus(quick, ["slabs"])


@pytest.mark.slow
def test_crystals_of_a_kind_are_really_made(tmp_path, monkeypatch):
    pytest.importorskip("pymatgen")
    pytest.importorskip("smact")
    monkeypatch.setattr(CORPORA, "SAMPLE", 20)
    monkeypatch.setattr("atomprint.data.sources.slabs.source.BLOCK", 20)
    mine = list(CORPORA._sample({"kind": "slabs", "seed": 4}, 1, lambda *_: None))
    write_parquet(tmp_path / "mine.parquet", mine)
    found = suggest_corpus(tmp_path / "mine.parquet", ["slabs", "embedded"])
    assert found.candidates[0].name == "slabs"
    assert found.candidates[0].weight > 0.8
