"""From names to an evaluation: what is read, what is refused, what leaks."""

import csv
import json

import pytest
from ase import Atoms

from atomprint.evaluation.prepare import EvaluateSettings, prepare
from atomprint.ground.errors import UsageError
from tests.toy import toy_crystals


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("user")
    (path / "crystals").mkdir()
    (path / "corpus").mkdir()
    with (path / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "gap"])
        for index, crystal in enumerate(toy_crystals(30)):
            atoms = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)
            atoms.write(path / "crystals" / f"{crystal.id}.cif")
            if index % 10 == 0:
                atoms.repeat((1, 1, 2)).write(path / "corpus" / f"other-{index}.cif")
            if index != 7:
                table.writerow([crystal.id, crystal.labels["energy"]])
    return path


def prepared(folder, sources=("atomprint/tiny",), corpus=None, **settings):
    return prepare(
        EvaluateSettings.model_validate(settings),
        sources,
        data=folder / "crystals",
        labels=folder / "labels.csv",
        target="gap",
        corpus=corpus,
    )


def test_a_set_of_ones_own(folder):
    found = prepared(folder)
    assert len(found.crystals) == 29
    assert [arm.name for arm in found.arms] == ["from scratch", "atomprint/tiny"]
    assert found.arms[0].model_settings == found.arms[1].model_settings
    assert len(found.units()) == 10


def test_sources_of_two_shapes_have_a_twin_each(folder):
    found = prepared(folder, ["atomprint/tiny", "atomprint/small"])
    twins = [arm for arm in found.arms if arm.kind == "scratch"]
    assert len({arm.name for arm in twins}) == 2
    assert {arm.model_settings for arm in twins} == {
        arm.model_settings for arm in found.arms if arm.kind == "pretrained"
    }


def test_paper_validates_on_a_quarter_of_the_rest(folder):
    found = prepared(folder, protocol={"kind": "paper"})
    assert found.arms[0].settings.valid_fraction == 0.25
    assert not found.arms[0].settings.refit


def test_crystals_of_the_corpus_are_named_and_left_out(folder):
    wanted = {"toy-0", "toy-10", "toy-20"}
    named = prepared(folder, corpus=folder / "corpus")
    assert set(named.extra["leakage"]["ids"]) == wanted
    judged = {named.crystals[i].id for case in named.cases for i in case.test}
    assert wanted < judged
    without = prepared(folder, corpus=folder / "corpus", exclude_leaks=True)
    assert {without.crystals[i].id for c in without.cases for i in c.test} == judged - wanted
    assert [c.train for c in without.cases] == [c.train for c in named.cases]


def test_what_cannot_be_is_refused(folder):
    with pytest.raises(UsageError, match="either --task NAME"):
        prepare(EvaluateSettings(), [])
    with pytest.raises(UsageError, match="give --corpus PATH"):
        prepared(folder, exclude_leaks=True)
    with pytest.raises(UsageError, match="nothing to evaluate"):
        prepared(folder, networks=False)
    with pytest.raises(UsageError, match="no official folds"):
        prepared(folder, protocol={"kind": "matbench"})


def test_one_file_with_structures_and_labels(folder):
    """It divides as the folder and its table of labels do, and so does every word of --by."""
    rows = dict(list(csv.reader((folder / "labels.csv").open()))[1:])
    with (folder / "mine.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["gap", "id", "cif"])
        for path in sorted((folder / "crystals").iterdir(), reverse=True):
            table.writerow([rows.get(path.stem, ""), path.stem, path.read_text()])
    settings = EvaluateSettings.model_validate({"protocol": {"kind": "kfold", "by": "composition"}})
    one = prepare(settings, [], data=folder / "mine.csv", target="gap")
    other = prepared(folder, [], protocol={"kind": "kfold", "by": "composition"})
    assert len(one.crystals) == 29
    assert [{one.crystals[i].id for i in c.test} for c in one.cases] == [
        {other.crystals[i].id for i in c.test} for c in other.cases
    ]


@pytest.mark.parametrize(
    ("words", "splits"),
    [
        (["--by", "composition"], 5),
        (["--by", "composition", "--protocol", "paper"], 5),
        (["--by", "prototype", "--protocol", "kfold", "protocol.n_folds=2"], 2),
        (["--by", "element=O,S"], 2),
        (["--by", "time=gap"], 1),
        (["--by", "splits=splits.json", "protocol.n_seeds=2"], 4),
        (["--by", "splits=lists/splits.json", "--protocol", "curve", "protocol.n_seeds=2"], 2),
        (["protocol.n_folds=3"], 3),
        (["protocol.n_folds=3", "--protocol", "probe", "--from", "atomprint/tiny"], 3),
    ],
)
def test_ways_to_divide_on_the_command_line(folder, shell, monkeypatch, words, splits):
    monkeypatch.chdir(folder)
    shell("data", "split", "crystals", "--out", ".", "--folds", "2")
    shell("data", "split", "crystals", "--out", "lists")
    common = ["--data", "crystals", "--labels", "labels.csv", "--target", "gap"]
    command = ["evaluate", *common, "--out", "none", "--dry-run", "--json", "--baselines"]
    status, out, err = shell(*command, *words, "networks=false")
    assert status == 0, err
    assert len({unit["split"] for unit in json.loads(out)["units"]}) == splits
    status, _, err = shell(*command, "--by", "element", "--protocol", "curve")
    assert status == 2
    assert "leave out --protocol" in err


def test_the_protocol_probe_trains_no_network(folder, shell, monkeypatch):
    monkeypatch.chdir(folder)
    command = [
        "evaluate", "--data", "crystals", "--labels", "labels.csv", "--target", "gap",
        "--protocol", "probe", "--from", "atomprint/tiny", "--out", "none", "--dry-run",
    ]  # fmt: skip
    status, out, err = shell(*command)
    assert status == 0, err
    assert out.splitlines()[-1] == "20 of 20 units to do, no network among them: seconds each"
    plan = json.loads(shell(*command, "--json")[1])
    assert plan["n_other"] == plan["n_units"] == 20
    wanted = ("ridge", "kernel ridge", "kNN", "boosted trees")
    assert {u["arm"] for u in plan["units"]} == {f"atomprint/tiny, {name} probe" for name in wanted}
