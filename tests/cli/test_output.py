"""JSON that every reader takes."""

import json
from pathlib import Path

import numpy as np
import pytest

from atomprint.cli.output import print_json, print_table


def test_what_json_does_not_know(capsys):
    value = {
        "nan": float("nan"),
        "infinite": np.float64("-inf"),
        "array": np.array([1.5, np.nan]),
        "count": np.int64(3),
        "path": Path("a") / "b",
        "angstrom": "eV/Å",
        "rows": ({"known": True, "missing": None},),
    }
    print_json(value)
    text = capsys.readouterr().out

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    assert text.isascii()
    assert json.loads(text, parse_constant=refuse) == {
        "nan": None,
        "infinite": None,
        "array": [1.5, None],
        "count": 3,
        "path": "a/b",
        "angstrom": "eV/Å",
        "rows": [{"known": True, "missing": None}],
    }


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match="object"):
        print_json({"thing": object()})


LICENCE = "CC BY 4.0, and for a part of it that was taken from elsewhere the terms of each of " * 3


@pytest.mark.parametrize("columns", [40, 80, 160])
def test_names_show_beside_words_of_any_length(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = [["perovskites", "1,234", LICENCE], ["base", "66", "MIT"]]
    print_table(["part", "crystals", "licence"], rows, words=(0, 2))
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert max(map(len, lines)) <= columns
    for name, number, _ in rows:
        assert any(line.split()[:2] == [name, number] for line in lines)
    # The licence is all there, folded.
    assert all(word in shown for word in LICENCE.split())
