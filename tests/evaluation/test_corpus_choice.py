"""Choosing a corpus: the one whose crystals are like the set's."""

import pytest

from atomprint.api import suggest_corpus
from atomprint.data.building import MixSettings
from atomprint.data.embedded import CORPUS
from atomprint.evaluation.corpus_choice import suggest
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.reading import read_crystals
from atomprint.structures.writing import write_parquet


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


def test_a_set_of_two_kinds_gets_a_mix_in_their_shares(kinds):
    corpora = {name: halves[0] for name, halves in kinds.items()}
    mine = kinds["oxides"][1][:60] + kinds["metals"][1][:20]
    found = suggest(mine, corpora)
    weights = {one.name: one.weight for one in found.candidates}
    assert weights["oxides"] == pytest.approx(0.75, abs=0.1)
    assert sum(weights.values()) == pytest.approx(1)
    assert "covers" in found.sentence


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
