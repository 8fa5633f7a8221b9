"""Errors are one sentence and an exit status."""

import os
import signal
import subprocess
import sys
import time

import pytest


def sentence(result, status):
    """Check that a command failed as it should, and return what it said."""
    found, out, err = result
    assert (found, out) == (status, "")
    assert err.startswith("atomprint: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


def test_no_command(shell):
    status, _, err = shell()
    assert status == 2
    assert "Usage: atomprint" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pretrian"], "pretrian"),
        (["pretrain", "--ouput", "x"], "--out"),
        (["predict"], "RUN"),
        (["demo", "--seed", "-1"], "seed"),
        (["data", "inspect", "nowhere"], "nowhere"),
        (["data", "inspect", "*.nothing"], "*.nothing"),
        (["data", "inspect", *[f"{i}.cif" for i in range(99)]], "or a pattern in quotes"),
        (["fingerprint", "x.cif", "--out", "f.txt"], ".parquet or .csv"),
        (["fingerprint", "x.cif", "--kind", "sopa", "--out", "f.csv"], "soap"),
        (["fingerprint", "x.cif", "cutof=3", "--out", "f.csv"], "did you mean 'cutoff'"),
        (["fingerprint", "x.cif", "cutoff=-3", "--out", "f.csv"], "cutoff"),
        (["pretrain", "nowhere.yaml", "--out", "run"], "nowhere.yaml"),
        (["pretrain", "--out", "run"], "--data"),
        (["pretrain", "--data", "x.cif"], "--out"),
        (["pretrain", "loop.n_step=3", "--data", "x.cif", "--out", "r"], "did you mean 'n_steps'"),
        (["pretrain", "loop.n_steps=0", "--data", "x.cif", "--out", "r"], "loop.n_steps"),
        (["pretrain", "--resume", "nowhere"], "nowhere"),
        (["predict", "nowhere", "x.cif", "--out", "p.csv"], "nowhere"),
        (["embed", "nowhere", "x.cif", "--out", "p.csv"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
    ],
)
def test_bad_use(shell, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in sentence(shell(*words), 2)
    assert list(tmp_path.iterdir()) == [], "something was written"


def test_a_file_without_a_readable_crystal_is_bad_data(shell, tmp_path):
    (tmp_path / "broken.cif").write_text("data_x\nloop_\n")
    for words in (
        ["fingerprint", tmp_path / "broken.cif", "--out", tmp_path / "f.csv"],
        ["pretrain", "--data", tmp_path / "broken.cif", "--out", tmp_path / "run"],
    ):
        assert "broken.cif" in sentence(shell(*words), 1)


def test_strict_refuses_what_is_otherwise_skipped(shell, tiny_data, tmp_path):
    (tmp_path / "ids.csv").write_text("id,price\ntoy-0,1.5\ntoy-1,much\nnobody,2\n")
    words = ["data", "inspect", tiny_data / "toy.parquet", "--labels", tmp_path / "ids.csv"]
    assert shell(*words)[0] == 0
    assert "much" in sentence(shell(*words, "--strict"), 1)


def test_a_folder_that_is_taken_is_left_alone(shell, tiny_data, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    words = ["pretrain", "--data", tiny_data / "toy.parquet", "--out", tmp_path]
    assert "not empty" in sentence(shell(*words), 2)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_unknown_target_and_too_few_labels(shell, tiny_data, tiny_runs, tmp_path):
    words = ["finetune", "--from", tiny_runs / "pretrain", "--data", tiny_data / "toy.parquet"]
    words += ["--out", tmp_path / "run"]
    assert "did you mean 'energy'" in sentence(shell(*words, "--target", "enrgy"), 2)
    assert "33" in sentence(shell(*words, "--target", "energy", "--n-train", "33"), 1)


def test_predicting_with_a_model_that_saw_no_label(shell, tiny_data, tiny_runs, tmp_path):
    words = ["predict", tiny_runs / "pretrain", tiny_data / "toy.parquet"]
    assert "fine-tune" in sentence(shell(*words, "--out", tmp_path / "p.csv"), 2)


def test_a_bug_is_one_sentence_too_and_a_traceback_on_request(shell, monkeypatch, tmp_path):
    def break_down(*args, **more):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("atomprint.api.report", break_down)
    assert "ZeroDivisionError" in sentence(shell("report", tmp_path), 1)
    monkeypatch.setenv("ATOMPRINT_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        shell("report", tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_says_how_to_go_on(tiny_data, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-c", "from atomprint.cli.main import main; main()", "pretrain"]
    command += [tiny_data / "tiny.yaml", "loop.n_steps=1000000", "loop.checkpoint_every=2"]
    command += ["--data", tiny_data / "toy.parquet", "--out", run]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background inherit "ignore interrupts"; a person's shell does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 240
    while not (run / "state.safetensors").is_file() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == (f"atomprint: interrupted; continue with: atomprint pretrain --resume {run}\n")
