"""Bars are for people who watch; nobody else sees a byte of them."""

import io

import pytest

from atomprint.cli.progress import Bars


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self):
        return True


def test_nothing_where_nobody_watches(capsys):
    with Bars() as bars:
        bars("pretrain", 1, 2, {"train/loss": 0.5})
    assert capsys.readouterr() == ("", "")


def test_a_bar_with_the_losses_on_a_terminal(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with Bars() as bars:
        bars("pretrain", 0, 7, {})
        bars("pretrain", 3, 7, {"train/loss": 0.5, "valid/value": 0.25, "train/other": 9.0})
        bars("pretrain", 4, 7, {"train/loss": 0.375})
        bars._progress.refresh()
    shown = stream.getvalue()
    assert "4/7" in shown
    assert "loss 0.375  validation 0.25" in shown
    assert "9" not in shown.rpartition("validation 0.25")[2].partition("\n")[0]


@pytest.mark.parametrize("command", ["pretrain", "fingerprint"])
def test_the_verbs_report_up_to_the_end(shell, tiny_data, tmp_path, monkeypatch, command):
    seen = []
    monkeypatch.setattr(Bars, "__call__", lambda self, *event: seen.append(event))
    words = ["--data", tiny_data / "toy.parquet", "--out", tmp_path / "run"]
    if command == "fingerprint":
        words = [tiny_data / "toy.parquet", "--out", tmp_path / "f.csv", "--kind", "rdf"]
    else:
        words = [tiny_data / "tiny.yaml", *words]
    assert shell(command, *words)[0] == 0
    stages = [stage for stage, *_ in seen]
    assert stages[0] == "read"
    assert stages[-1] == command
    assert seen[-1][1] == seen[-1][2] > 0
