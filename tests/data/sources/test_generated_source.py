"""The generator as a source: blocks that depend on seed and number alone."""

import json

import numpy as np
import pytest

from atomprint.data.sources import GeneratedSettings
from atomprint.data.sources.blocks import Block
from atomprint.data.sources.generated import GeneratorSettings
from atomprint.data.sources.generated import source as module
from atomprint.data.store.validate import validate_store
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.reading.result import Record
from tests.toy import toy_crystals


def toy_block(source, number, size):
    """In place of the generator, which takes a while."""
    crystals = toy_crystals(size, seed=100 * source.seed + number)
    records = [
        Record(c.numbers, c.cell, positions=c.positions, id=f"{source.seed}-{number * size + row}")
        for row, c in enumerate(crystals)
    ]
    return Block(records, {"implausible": 10 + number, "made before": 1})


def test_it_goes_on_where_it_stood(get, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 6)
    monkeypatch.setattr(module, "make_block", toy_block)
    first = get(GeneratedSettings(seed=5), tmp_path / "a", n=8)
    assert not first.exhausted
    more = get(GeneratedSettings(seed=5), tmp_path / "a", n=15)
    assert (more.resumed, more.problems) == (8, [])
    whole = get(GeneratedSettings(seed=5), tmp_path / "b", n=15).store
    assert [c.id for c in more.store] == [c.id for c in whole] == [f"5-{row}" for row in range(15)]
    for one, two in zip(more.store, whole, strict=True):
        np.testing.assert_array_equal(one.positions, two.positions)
    assert "generator, seed 5" in whole.provenance[0].source
    # Three blocks of six were looked into, each counted once however often it was begun.
    for folder in ("a", "b"):
        about = json.loads((tmp_path / folder / "source.json").read_text())
        assert about["rejected"] == {"implausible": 10 + 11 + 12, "made before": 3}


def test_a_source_that_has_no_more_is_not_asked_for_ever(get, tmp_path, monkeypatch):
    asked = []

    def same_block(source, number, size):
        asked.append(number)
        return toy_block(source, 0, size)

    monkeypatch.setattr(module, "BLOCK", 6)
    monkeypatch.setattr(module, "make_block", same_block)
    with pytest.raises(DataError, match="100 blocks in a row gave no new crystal"):
        get(GeneratedSettings(seed=5), tmp_path / "a", n=8)
    assert asked == list(range(101))


def test_crystals_in_the_midst_cannot_be_had_by_themselves(get, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 6)
    monkeypatch.setattr(module, "make_block", toy_block)
    monkeypatch.setattr(GeneratedSettings, "shard_crystals", 6)
    out = tmp_path / "a"
    get(GeneratedSettings(seed=5), out, n=18)
    (bad, *_) = sorted((out / "shards").iterdir())
    bad.write_bytes(bad.read_bytes()[:-3])
    validate_store(out, repair=True)
    with pytest.raises(UsageError, match="lacks crystals of damaged shards, which cannot be had"):
        get(GeneratedSettings(seed=5), out, n=24)


def test_without_a_number_it_would_never_end(get, tmp_path):
    with pytest.raises(UsageError, match="has no end"):
        get(GeneratedSettings(), tmp_path / "s")


@pytest.mark.slow
def test_a_block_depends_on_seed_and_number():
    pytest.importorskip("pymatgen")
    pytest.importorskip("smact")
    source = GeneratedSettings(seed=5, max_atoms=12)
    one, again = (module.make_block(source, 1, 4).records for _ in range(2))
    assert [record.id for record in one] == [f"gen-5-{row:07d}" for row in range(4, 8)]
    for first, second in zip(one, again, strict=True):
        np.testing.assert_array_equal(first.frac, second.frac)
        assert len(first.numbers) <= 12
    other = module.make_block(source, 2, 4).records
    assert any(len(a.numbers) != len(b.numbers) for a, b in zip(one, other, strict=True)) or any(
        (np.asarray(a.cell) != np.asarray(b.cell)).any() for a, b in zip(one, other, strict=True)
    )


def test_shares_say_how_crystals_are_made(monkeypatch):
    asked = []

    def generate(settings, rejected):
        asked.append(settings.route_share)
        return iter(())

    monkeypatch.setattr(module, "generate", generate)
    module.make_block(GeneratedSettings(), 0, 1)
    one = {"substitution": 0, "charge_balanced": 2, "ordered": 0, "intermetallic": 0}
    module.make_block(GeneratedSettings(shares=one), 0, 1)
    assert asked == [
        GeneratorSettings().route_share,
        # A share of 0 is left out: the generator would still draw of it now and then.
        {"charge-balanced": 2, "search": GeneratorSettings().route_share["search"]},
    ]
    with pytest.raises(ValueError, match="all shares are 0"):
        GeneratedSettings(shares=one | {"charge_balanced": 0, "search": 0})


@pytest.mark.slow
def test_a_route_alone_makes_its_own_kind():
    pytest.importorskip("pymatgen")
    pytest.importorskip("smact")
    alone = dict.fromkeys(module.GeneratedShares.model_fields, 0.0) | {"intermetallic": 1.0}
    made = module.make_block(GeneratedSettings(seed=5, max_atoms=12, shares=alone), 0, 20).records
    # Metals and their neighbours in the table: no oxides, no halides.
    assert not set(np.concatenate([record.numbers for record in made])) & {8, 9, 17, 35, 53}


def test_substitution_probabilities_are_those_of_pymatgen():
    pytest.importorskip("smact")
    prediction = pytest.importorskip(
        "pymatgen.core.structure_prediction.substitution_probability", reason="another pymatgen"
    )
    from atomprint.data.sources.generated.chemistry import load_chemistry

    chemistry = load_chemistry()
    table = prediction.SubstitutionProbability()
    known = {str(species) for species in table.species}
    rng = np.random.default_rng(0)
    for new, old in rng.integers(len(chemistry.species), size=(400, 2)):
        a, b = (chemistry.species[k].label for k in (new, old))
        expected = table.cond_prob(a, b) if {a, b} <= known else 0.0
        assert chemistry.conditional[new, old] == pytest.approx(expected, rel=1e-12), (a, b)
