"""Units: done once, whoever does them, and never mistaken for others."""

import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from atomprint.evaluation.evaluate import run, run_in_processes, write_about
from atomprint.evaluation.networks import Network
from atomprint.evaluation.units import do_unit, is_done
from atomprint.ground.errors import UsageError
from atomprint.heads.model import Model, ModelSettings
from atomprint.training.finetune import FinetuneSettings
from tests.evaluation.competitors import TARGET, Mean, evaluation, labelled


def do(folder, **arm):
    one = evaluation(**arm)
    write_about(one, folder)
    run(one, folder)
    return one


def test_a_unit_holds_what_the_arm_said(tmp_path):
    one = do(tmp_path, shift=0.5)
    case = one.cases[0]
    row = json.loads((tmp_path / "units" / "mean--fold-0.json").read_text(encoding="utf-8"))
    mean = np.mean([one.crystals[i].labels["y"] for i in case.train]) + 0.5
    wanted = [one.crystals[i].labels["y"] for i in case.test]
    assert row["ids"] == [one.crystals[i].id for i in case.test]
    assert row["formulas"][0] == one.crystals[case.test[0]].formula
    assert row["n_labels"] == 30
    assert row["value"] == pytest.approx(np.mean(np.abs(np.array(wanted) - mean)))
    assert np.ravel(row["wanted"]).tolist() == wanted
    assert row["unit"] == "eV"


def test_finished_units_are_not_done_again(tmp_path):
    log = tmp_path / "log"
    folder = tmp_path / "out"
    do(folder, log=log)
    (folder / "units" / "mean--fold-2.json").unlink()
    do(folder, log=log)
    lines = log.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5


def test_a_unit_of_other_settings_is_refused(tmp_path):
    do(tmp_path)
    with pytest.raises(UsageError, match="done with other data or settings"):
        do(tmp_path, shift=1.0)


def test_another_set_is_refused_and_other_arms_are_added(tmp_path):
    do(tmp_path)
    with pytest.raises(UsageError, match="other data"):
        write_about(evaluation(n=44), tmp_path)
    write_about(evaluation(name="other"), tmp_path)
    about = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert [arm["name"] for arm in about["arms"]] == ["mean", "other"]


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds other things"):
        write_about(evaluation(), tmp_path)


def test_a_folder_that_was_just_begun_is_gone_on_with(tmp_path):
    # What a kill leaves that falls into the first write.
    (tmp_path / "evaluation.json.part").write_text('{"format', encoding="utf-8")
    do(tmp_path)
    assert (tmp_path / "units" / "mean--fold-0.json").is_file()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"e: cannot be written \(Not a directory\); choose"):
        write_about(evaluation(), tmp_path / "file" / "e")
    write_about(evaluation(), tmp_path / "e")
    (tmp_path / "e" / "units").touch()
    with pytest.raises(UsageError, match=r"mean--fold-0.json: cannot be written .* go on"):
        run(evaluation(), tmp_path / "e")


def _prepare(log):
    return evaluation(log=log, seconds=0.05)


def test_processes_share_the_list(tmp_path):
    folder, log = tmp_path / "out", tmp_path / "log"
    write_about(_prepare(log), folder)
    run_in_processes(_prepare, {"log": log}, folder, 2)
    lines = [line.split() for line in log.read_text(encoding="utf-8").splitlines()]
    assert sorted(line[3] for line in lines) == sorted({line[3] for line in lines})
    assert len(lines) == 4
    assert not _prepare(log).pending(folder)


def test_a_unit_that_another_has_just_done_is_not_done_again(tmp_path):
    log = tmp_path / "log"
    one = evaluation(log=log)
    unit = one.units()[0]
    assert do_unit(unit, tmp_path, one.crystals, TARGET)
    assert do_unit(unit, tmp_path, one.crystals, TARGET)
    assert len(log.read_text(encoding="utf-8").splitlines()) == 1


def _slow(folder):
    run(evaluation(log=folder / "log", seconds=60), folder / "out")


def test_a_killed_process_leaves_nothing_locked(tmp_path):
    folder, log = tmp_path / "out", tmp_path / "log"
    write_about(evaluation(), folder)
    worker = multiprocessing.get_context("spawn").Process(target=_slow, args=(tmp_path,))
    worker.start()
    while not log.is_file():
        assert worker.is_alive()
        time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert run(evaluation(), folder) == 4


def test_networks_are_known_by_settings_and_weights():
    shape = ModelSettings.model_validate({"backbone": {"kind": "painn", "n_channels": 8}})
    settings = FinetuneSettings()
    source = Model(shape, [TARGET])
    one = Network("a", settings, shape, source).identity()
    loop = settings.loop.model_copy(update={"seed": 5, "device": "cpu"})
    assert Network("b", settings.model_copy(update={"loop": loop}), shape, source).identity() == one
    longer = settings.model_copy(update={"n_steps": 7})
    assert Network("a", longer, shape, source).identity() != one
    assert Network("a", settings, shape, Model(shape, [TARGET])).identity() != one


def test_is_done_only_when_it_is(tmp_path):
    one = do(tmp_path)
    unit = one.units()[0]
    assert is_done(unit, tmp_path, one.crystals, TARGET)
    (tmp_path / "units" / unit.file).unlink()
    assert not is_done(unit, tmp_path, one.crystals, TARGET)


def test_a_network_learns_and_keeps_what_it_did_not_fit(tmp_path):
    shape = ModelSettings.model_validate(
        {"backbone": {"kind": "painn", "n_channels": 8, "n_layers": 1, "cutoff": 4.0}}
    )
    settings = FinetuneSettings(learning_rates=(5e-3,), n_steps=60, n_members=2)
    crystals = labelled(48)
    train, test = crystals[:40], [c.with_labels({}) for c in crystals[40:]]
    fitted = Network("net", settings, shape).fit_predict(train, test, TARGET, 0)
    wanted = np.array([[c.labels["y"]] for c in crystals[40:]])
    mean = Mean().fit_predict(train, test, TARGET, 0).predicted
    assert np.abs(fitted.predicted - wanted).mean() < 0.6 * np.abs(mean - wanted).mean()
    predicted, known = fitted.held_out
    assert len(predicted) == 6 == fitted.about["n_valid"]
    assert np.isin(known, [[c.labels["y"]] for c in train]).all()
    one = sum(p.numel() for p in Model(shape, [TARGET]).parameters())
    assert fitted.n_parameters == 2 * one
